"""Computes the energy of an analog array's rows, cells, bitlines, bias currents and latches.

row      E = (C_word * columns * k + C_driver * bits [if more than one]) V^2
cell     E = (C_multiplier k + C_capacitor [cells that have one]) V^2
bitline  E = C_bit k V^2 a cell
bias     E = I k V t a cell, in cells that are read by a current
latch    E = C_latch k V^2 a bit
"""

from __future__ import annotations

from compiler.target.parts.silicon import Silicon


def row_fj(silicon: Silicon, columns: float, input_bits: float) -> float:
    """Computes the energy of driving one row of so many cells with so many bits at once.

    One bit is the word line itself and takes no converter.
    """
    digits = silicon.values["driver_bit_ff"] * input_bits if input_bits > 1 else 0.0
    word = silicon.fj(silicon.values["wordline_ff"] * columns)
    return silicon.driven * (word + silicon.metal_fj(digits))


def latches_fj(silicon: Silicon, bits: float) -> float:
    """Computes the energy of holding so many input bits while they are used."""
    return bits * silicon.register_activity * silicon.fj(silicon.values["latch_bit_ff"])


def cells_fj(silicon: Silicon, cells: float, has_capacitor: bool) -> float:
    """Computes the energy of the products of so many cells; a capacitor is metal."""
    product = silicon.fj(silicon.values["multiplier_ff"])
    if has_capacitor:
        product += silicon.metal_fj(silicon.values["capacitor_ff"])
    return cells * silicon.conducting * product


def bitlines_fj(silicon: Silicon, cells: float) -> float:
    """Computes the energy of the column wires along so many cells."""
    return cells * silicon.conducting * silicon.fj(silicon.values["bitline_ff"])


def bias_fj(silicon: Silicon, cells: float, step_ns: float) -> float:
    """Computes the energy of the current of so many cells in a step (uA * V * ns = fJ)."""
    current_ua = silicon.values["bias_ua"] * silicon.scale
    return cells * silicon.conducting * current_ua * silicon.supply_v * step_ns


def leakage_fj(silicon: Silicon, cells: float, step_ns: float) -> float:
    """Computes the leakage of so many cells in a step (pW * ns = 1e-6 fJ)."""
    return silicon.values["leakage_pw"] * cells * step_ns * 1e-6
