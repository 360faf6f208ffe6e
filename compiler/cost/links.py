"""Computes what sending a value from one engine to another takes."""

from __future__ import annotations

from compiler.cost.step import NOTHING, StepCost, clock_time, with_static
from compiler.target.chip import Target


def link_cost(size_bytes: int, source: str, sink: str, target: Target) -> StepCost:
    """Computes sending bytes from one engine to another: bytes * pJ per byte of their link.

    The time is bytes / bytes_per_cycle in whole cycles, with static power over it. NOTHING where
    the chip file has no link between the two, or where they are the same.
    """
    link = target.links.get((source, sink))
    if link is None or not size_bytes:
        return NOTHING
    time_ns = clock_time(link.bytes_per_cycle.estimate.inverse(size_bytes), target.cycle)
    energy = link.pj_per_byte.estimate.times(size_bytes)
    sent = StepCost(time_ns, {"link": energy})
    return with_static(sent, target.chip.static_mw.estimate)
