"""Computes what sending a value from one engine to another takes."""

from __future__ import annotations

from compiler.cost.step import NOTHING, StepCost, clocked, with_static
from compiler.target.chip import Target


def link_cost(size_bytes: int, source: str, sink: str, target: Target) -> StepCost:
    """Computes sending bytes from one engine to another: bytes * pJ per byte of their link.

    The time is bytes / bytes_per_cycle in whole cycles, with static power over it. NOTHING where
    the chip file has no link between the two, or where they are the same.
    """
    link = target.links.get((source, sink))
    if link is None or not size_bytes:
        return NOTHING
    latency_ns = size_bytes / link.bytes_per_cycle.value * target.cycle_ns
    energy = link.pj_per_byte.estimate.times(size_bytes)
    sent = clocked(StepCost(latency_ns, {"link": energy}), target.cycle_ns)
    return with_static(sent, target.chip.static_mw.estimate)
