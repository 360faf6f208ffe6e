"""Computes the energy and time of cells that hold a weight as a conductance or a charge.

read    E = t d G U^2 T          of a cell, over a step's read time T
write   E = E_write / b          of a bit, where a cell holds b bits
load    T = T_write * columns / cells_at_once

In published macros, where the current comes from the supply through what holds the bitline:
current E = I V T a cell, I = G U of ReRAM (PCM's is the same) or that of flash
bitline E = C_bit k V U a cell
"""

from __future__ import annotations

from typing import Literal, get_args

from compiler.target.parts.cell_array import bitlines_fj
from compiler.target.parts.constants import Components
from compiler.target.parts.silicon import FJ_PER_PJ, Silicon
from compiler.units import Estimate

ResistiveKind = Literal["reram", "pcm", "flash", "mram"]
RESISTIVE_KINDS: tuple[str, ...] = get_args(ResistiveKind)


def read_fj(silicon: Silicon, kind: ResistiveKind, read_ns: float) -> float:
    """Computes the energy of one cell read for so long (uS * V^2 * ns = fJ).

    Neither the chip's node nor its supply enters: a cell is read at a voltage of its own.
    """
    conductance, voltage = silicon.values[f"{kind}_read_us"], silicon.values[f"{kind}_read_v"]
    return silicon.conducting * conductance * voltage**2 * read_ns


def current_fj(silicon: Silicon, cells: float, read_ns: float, is_flash: bool) -> float:
    """Computes what the supply gives to so many cells while they are sensed (uA * V * ns = fJ).

    The current is the device's, at any node.
    """
    kind = "flash" if is_flash else "reram"
    current_ua = silicon.values[f"{kind}_read_us"] * silicon.values[f"{kind}_read_v"]
    return cells * silicon.conducting * current_ua * silicon.supply_v * read_ns


def clamped_bitlines_fj(silicon: Silicon, cells: float) -> float:
    """Computes the energy of column wires that swing to the voltage resistive cells are read at."""
    swing = min(1.0, silicon.values["reram_read_v"] / silicon.supply_v)
    return bitlines_fj(silicon, cells) * swing


def write_bit_fj(silicon: Silicon, kind: ResistiveKind, bits_per_cell: float) -> float:
    """Computes the energy of writing one of a cell's bits, with all pulses and checks."""
    return silicon.values[f"{kind}_write_pj"] * FJ_PER_PJ / bits_per_cell


def load_row_ns(
    silicon: Silicon, kind: ResistiveKind, columns: float, cells_at_once: float
) -> dict[str, float]:
    """Computes the time of writing a row of cells, `cells_at_once` of them together."""
    groups = max(1.0, columns / cells_at_once)
    return {"write": silicon.values[f"{kind}_write_ns"] * groups}


def levels_shown(kind: str, components: Components) -> Estimate:
    """Finds how many levels a kind of cell has been shown with."""
    return components.constants[f"{kind}_levels"].estimate


def left_out(kind: str, components: Components) -> str:
    """Writes what a plan does not count of such cells: their spread and their drift."""
    spread = components.constants[f"{kind}_spread"].estimate
    drift = components.constants[f"{kind}_drift"].estimate
    percent = spread.times(100)
    told = (
        f"spread of {kind} cells after programming ({percent.value:.2g} % of the largest "
        f"conductance, {percent.low:.2g} to {percent.high:.2g})"
    )
    if drift.high:
        told += f" and their drift (exponent {drift.value:g}, {drift.low:g} to {drift.high:g})"
    return told
