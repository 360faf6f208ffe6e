"""Computes how long the plan may take, from its steps' times with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.lowering.form_steps import StepDraft
from backends.lowering.layout import Layout, tasks_of
from backends.lowering.schedule import schedule
from compiler.units import Estimate, total


@dataclass(frozen=True)
class Latencies:
    """Times in ns with their intervals: of each step, of the plan, and of all steps one by one."""

    steps: tuple[Estimate, ...]
    plan: Estimate
    serial: Estimate


def latencies(drafts: Sequence[StepDraft], layout: Layout) -> Latencies:
    """Computes the times of steps that are scheduled.

    The ends of the plan's interval are the schedules with all steps at that end: in an order that
    stays, no step that takes longer lets the last one end earlier.
    """
    times = [cost.time_ns.plain for cost in layout.costs]
    low, high = (
        schedule(tasks_of(drafts, ends)).latency_ns
        for ends in ([time.low for time in times], [time.high for time in times])
    )
    plan = Estimate(layout.times.latency_ns, low, high)
    return Latencies(tuple(times), plan, total(times))
