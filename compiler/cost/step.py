"""Holds the cost of one step: energy by part and the time it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil

from compiler.units import ZERO, Estimate, TracedEstimate, total

# compute: MACs, cells, vector units. conversion: row drivers and converters. memory: activations in
# and out. link: values sent from engine to engine. weight_load: weights to where they are used.
# host: cycles of the host. static: the chip's common power while the step runs.
PARTS = ("compute", "conversion", "memory", "link", "weight_load", "host", "static")


@dataclass(frozen=True)
class StepCost:
    """Energy in pJ by part, and time in ns, of one step.

    A part that the step does nothing in is left out and counts 0.
    """

    time_ns: Estimate
    parts: Mapping[str, Estimate] = field(default_factory=dict)

    @property
    def latency_ns(self) -> float:
        """The time without its interval."""
        return self.time_ns.value

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
        return StepCost(self.time_ns + other.time_ns, parts)


NOTHING = StepCost(ZERO)


def whole_cycles(cycles: Estimate) -> TracedEstimate:
    """Rounds cycles up to whole ones, value and ends each."""
    value, low, high = (_rounded_up(one) for one in (cycles.value, cycles.low, cycles.high))
    return TracedEstimate(value, low, high, value * _assumed_share(cycles))


def clock_time(cycles: Estimate, cycle_ns: Estimate) -> Estimate:
    """Computes the time (ns) of work that is counted in cycles, which end with a clock's edge."""
    return whole_cycles(cycles) * cycle_ns


def until_next_edge(time_ns: Estimate, cycle_ns: Estimate) -> Estimate:
    """Rounds a time that does not follow the clock up to the edge at which its results are read.

    Where the clock has an interval, some clock in it may have an edge at the very end, and another
    one almost a cycle later.
    """
    value = _rounded_up(time_ns.value / cycle_ns.value) * cycle_ns.value
    assumed = value * _assumed_share(time_ns)
    if cycle_ns.is_exact:
        low, high = (
            _rounded_up(end / cycle_ns.value) * cycle_ns.value
            for end in (time_ns.low, time_ns.high)
        )
        return TracedEstimate(value, low, high, assumed)
    high = time_ns.high + cycle_ns.high if time_ns.high else 0.0
    return TracedEstimate(value, min(time_ns.low, value), max(high, value), assumed)


def _rounded_up(cycles: float) -> int:
    whole = round(cycles)
    # A difference of less is what floats add up to.
    return ceil(cycles) if abs(cycles - whole) > 1e-6 else whole


def _assumed_share(estimate: Estimate) -> float:
    return estimate.assumed / estimate.value if estimate.value else 0.0


def with_power(cost: StepCost, part: str, power_mw: Estimate) -> StepCost:
    """Adds a power over a step's time to one of its parts (1 mW * 1 ns = 1 pJ).

    Its interval is from the low power over the low time to the high power over the high time.
    """
    spent = cost.parts.get(part, ZERO) + power_mw * cost.time_ns
    return StepCost(cost.time_ns, {**cost.parts, part: spent})


def with_static(cost: StepCost, static_mw: Estimate) -> StepCost:
    """Adds the chip's common power over a step's time."""
    return with_power(cost, "static", static_mw)
