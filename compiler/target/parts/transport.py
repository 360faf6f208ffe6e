"""Computes the energy of moving bits over a chip: wires by length, routers by hop.

link     E = toggle * C_wire * length V^2 a bit
router   E = C_router k V^2 a bit and hop
"""

from __future__ import annotations

from compiler.target.parts.silicon import Silicon

UM_PER_MM = 1000.0


def link_fj(silicon: Silicon, bits: float, length_mm: float) -> float:
    """Computes the energy of so many bits over a wire.

    Wires of any node have the same capacitance a length.
    """
    toggle = silicon.input_toggle
    if toggle is None:
        toggle = silicon.values["link_toggle"]
    capacitance = silicon.values["wire_ff_per_um"] * length_mm * UM_PER_MM
    return bits * toggle * silicon.metal_fj(capacitance)


def router_fj(silicon: Silicon, bits: float, hops: float) -> float:
    """Computes the energy of so many bits through so many routers."""
    return bits * hops * silicon.fj(silicon.values["router_bit_ff"])
