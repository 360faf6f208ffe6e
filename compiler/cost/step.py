"""Holds the cost of one step: energy by part and the time it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from compiler.units import ZERO, Estimate, total

# compute: MACs, cells, vector units. conversion: row drivers and converters. memory: activations in
# and out. link: values sent from engine to engine. weight_load: weights to where they are used.
# host: cycles of the host. static: the chip's common power while the step runs.
PARTS = ("compute", "conversion", "memory", "link", "weight_load", "host", "static")


@dataclass(frozen=True)
class StepCost:
    """Energy in pJ by part, and latency in ns, of one step.

    A part that the step does nothing in is left out and counts 0.
    """

    latency_ns: float
    parts: Mapping[str, Estimate] = field(default_factory=dict)

    @cached_property
    def energy_pj(self) -> Estimate:
        """The sum of the parts, in the order of PARTS."""
        return total([self.parts[part] for part in PARTS if part in self.parts])

    def __add__(self, other: StepCost) -> StepCost:
        """Adds two costs, one step after the other."""
        if self is NOTHING:
            return other
        if other is NOTHING:
            return self
        parts = {
            part: self.parts.get(part, ZERO) + other.parts.get(part, ZERO)
            for part in PARTS
            if part in self.parts or part in other.parts
        }
        return StepCost(self.latency_ns + other.latency_ns, parts)


NOTHING = StepCost(0.0)


def clocked(cost: StepCost, cycle_ns: float) -> StepCost:
    """Rounds a step's time up to whole clock cycles: its results are read at the next edge."""
    cycles = cost.latency_ns / cycle_ns
    whole = round(cycles)
    if abs(cycles - whole) > 1e-6:  # more than what floats add up to
        whole = ceil(cycles)
    return StepCost(whole * cycle_ns, cost.parts)


def with_power(cost: StepCost, part: str, power_mw: Estimate) -> StepCost:
    """Adds a power over a step's time to one of its parts (1 mW * 1 ns = 1 pJ)."""
    spent = cost.parts.get(part, ZERO) + power_mw.times(cost.latency_ns)
    return StepCost(cost.latency_ns, {**cost.parts, part: spent})


def with_static(cost: StepCost, static_mw: Estimate) -> StepCost:
    """Adds the chip's common power over a step's time."""
    return with_power(cost, "static", static_mw)
