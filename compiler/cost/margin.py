"""Computes how much more one way of running a node takes than another, and how sure that is.

What both ways rest on moves together and cannot turn the margin round. Of the energy, parts of the
same name move together where they are the same numbers of the chip: those of memories, links and
host always, all of them where both ways run on one engine. Static energy is one power over two
times. Parts of different engines, and their times, move apart:

    together   [least, greatest] of (other - one) at low, value and high
    apart      [other low - one high, other high - one low]
    static     the power's interval times that of the difference of the times

That is an approximation: two memories are taken as one, and a clock with an interval as two.
"""

from __future__ import annotations

from collections.abc import Iterable

from compiler.cost.step import PARTS, StepCost
from compiler.units import ZERO, Estimate

SHARED = ("memory", "link", "host")


def energy_margin(other: StepCost, one: StepCost, *, same_engine: bool) -> Estimate:
    """Computes the energy (pJ) that `other` takes more than `one`; negative where it takes less."""
    margins = [_static_margin(other, one, same_engine)]
    for part in PARTS:
        pair = other.parts.get(part, ZERO), one.parts.get(part, ZERO)
        if part != "static":
            margins.append(_margin(*pair, together=same_engine or part in SHARED))
    return _sum(margins)


def time_margin(other: StepCost, one: StepCost, *, same_engine: bool) -> Estimate:
    """Computes the time (ns) that `other` takes more than `one`; negative where it takes less."""
    return _margin(other.time_ns, one.time_ns, together=same_engine)


def is_open(margin: Estimate) -> bool:
    """Whether the margin's interval leaves open which of the two takes less."""
    return margin.low < 0 < margin.high


def _margin(other: Estimate, one: Estimate, *, together: bool) -> Estimate:
    value = other.value - one.value
    if together:
        ends = (value, other.low - one.low, other.high - one.high)
        return Estimate(value, min(ends), max(ends))
    return Estimate(value, other.low - one.high, other.high - one.low)


def _static_margin(other: StepCost, one: StepCost, same_engine: bool) -> Estimate:
    """Computes the margin of the chip's common power over two times."""
    timed = other if other.time_ns.value else one
    power_mw = [
        energy / time if time else 0.0
        for energy, time in zip(
            _numbers(timed.parts.get("static", ZERO)), _numbers(timed.time_ns), strict=True
        )
    ]
    longer = time_margin(other, one, same_engine=same_engine)
    ends = [power * end for power in power_mw for end in (longer.low, longer.high)]
    value = other.parts.get("static", ZERO).value - one.parts.get("static", ZERO).value
    return Estimate(value, min(value, *ends), max(value, *ends))


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.value, estimate.low, estimate.high


def _sum(margins: Iterable[Estimate]) -> Estimate:
    value = low = high = 0.0
    for margin in margins:
        value, low, high = value + margin.value, low + margin.low, high + margin.high
    return Estimate(value, low, high)
