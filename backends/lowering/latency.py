"""Computes how long steps and the plan may take: intervals from those of the chip's own times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backends.lowering.form_steps import StepDraft
from backends.lowering.layout import Layout, costs_there, tasks_of
from backends.lowering.schedule import schedule
from compiler.ir.graph import Graph
from compiler.target.change import with_quantities
from compiler.target.chip import Target
from compiler.target.quantity import Quantity
from compiler.units import Estimate

End = Literal["low", "high"]

# The numbers of a chip file that are times, or cycles for some work.
TIME_KEY = re.compile(r"_ns(_per_[a-z]+)?$|^cycles_per_|_cycles$")


@dataclass(frozen=True)
class Latencies:
    """Times in ns with their intervals: of each step, of the plan, and of all steps one by one."""

    steps: tuple[Estimate, ...]
    plan: Estimate
    serial: Estimate


def latencies(
    drafts: Sequence[StepDraft], graph: Graph, layout: Layout, target: Target
) -> Latencies:
    """Computes the times of steps that are scheduled, at their places.

    The ends of an interval are the times on a chip whose own times are all at that end: they count
    as correlated, which never understates the spread. The order of the steps stays.
    """
    values = [cost.latency_ns for cost in layout.costs]
    plans = [layout.times.latency_ns]
    ends: list[list[float]] = []
    for end in ("low", "high"):
        costs = costs_there(drafts, graph, layout, with_times_at(end, target))
        ends.append([cost.latency_ns for cost in costs])
        plans.append(schedule(tasks_of(drafts, costs)).latency_ns)
    steps = tuple(_interval(*each) for each in zip(values, *ends, strict=True))
    serial = _interval(*(sum(column) for column in (values, *ends)))
    return Latencies(steps, _interval(*plans), serial)


def with_times_at(end: End, target: Target) -> Target:
    """Returns the chip with every time that has an interval at one end of it."""

    def at_end(key: str, quantity: Quantity) -> Quantity:
        if not TIME_KEY.search(key):
            return quantity
        return quantity.model_copy(update={"value": getattr(quantity.estimate, end)})

    return with_quantities(target, at_end)


def _interval(value: float, low: float, high: float) -> Estimate:
    """An estimate; whole cycles can round an end past the value."""
    return Estimate(value, min(low, value), max(high, value))
