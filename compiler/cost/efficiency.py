"""Computes operations per second (TOPS) and per joule (TOPS/W).

A multiply-accumulate is two operations. Operations per ns are 1e9 a second, 1e-3 of a TOPS;
operations per pJ are 1e12 a joule, a TOPS/W.
"""

from __future__ import annotations

from math import inf

from compiler.target.parts.silicon import FJ_PER_PJ
from compiler.units import Estimate

OPERATIONS_PER_MAC = 2
TOPS_PER_WATT_AT_ONE_FJ = OPERATIONS_PER_MAC * FJ_PER_PJ  # what a MAC has that takes one fJ


def tops(macs: float, time_ns: Estimate) -> Estimate:
    """Computes TOPS from multiply-accumulates and the time they take."""
    return _over(OPERATIONS_PER_MAC * macs / 1e3, time_ns)


def tops_per_watt(macs: float, energy_pj: Estimate) -> Estimate:
    """Computes TOPS/W from multiply-accumulates and the energy they take."""
    return _over(OPERATIONS_PER_MAC * macs, energy_pj)


def _over(amount: float, cost: Estimate) -> Estimate:
    """Divides an amount by a cost; a cost of zero gives infinity."""
    value, low, high = (amount / end if end else inf for end in (cost.value, cost.high, cost.low))
    return Estimate(value, low, high)
