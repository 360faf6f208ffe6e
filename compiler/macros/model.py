"""Computes the energy of a one-bit MAC in an in-memory-computing macro, from its parameters alone.

The unit of work is one output of one step: `rows` inputs of `input_bits` bits each, in each of
`summed_columns`, times the `weight_bits` that one conversion (or one adder tree) sums. It does
rows * summed_columns * input_bits * weight_bits one-bit MACs. With k the gate pitch's ratio to
28 nm and V the supply:

    analog   drivers     = rows * row / outputs that share the drive
             bitlines, cells, bias: those of rows * summed_columns * weight_cells cells
                           [bias: cells that are read by a current, while they work]
             converter   = the cheaper of SAR and flash for cells that add charge, else sense
                           amplifiers (ramp, time)
             recombination = an accumulator of b + 3 bits
    digital  drivers, cells: those of all one-bit products
             adders      = input_bits trees of `rows` inputs, or a chain of adders in the cells:
                           rows * input_bits * (weight_bits + log2 rows)
             accumulator = input_bits accumulators of weight_bits + log2 rows + input_bits
    both     input latches, leakage; then control and system as shares of the sum.

What a row, a cell, a conversion, a tree and an accumulator take is in parts/cell_array.py,
converter.py and adders.py. b is the resolution that the sum can have: the converter's bits, at most
log2(levels of the sum).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import log2
from typing import Literal

from compiler.target.parts.adders import (
    GUARD_BITS,
    accumulator_fj,
    adders_fj,
    multipliers_fj,
    multiply_accumulate_fj,
    registers_fj,
    tree_adders,
)
from compiler.target.parts.cell_array import (
    bias_fj,
    bitlines_fj,
    cells_fj,
    latches_fj,
    leakage_fj,
    row_fj,
)
from compiler.target.parts.constants import Components
from compiler.target.parts.converter import conversion_fj, least_conversion_fj
from compiler.target.parts.resistive import clamped_bitlines_fj, current_fj
from compiler.target.parts.silicon import Silicon, over_intervals, silicon_at
from compiler.units import Estimate

# Where the adders, or the converter and its cells, are.
Kind = Literal["charge", "current", "adder tree", "adder chain", "mac array"]
DIGITAL: tuple[Kind, ...] = ("adder tree", "adder chain", "mac array")

# What holds a weight: transistors, resistances (ReRAM, PCM, MRAM), or floating gates.
Cell = Literal["sram", "resistive", "flash"]

# Whose distance from silicon is stated apart, by the constant `spread_` and this name.
SPREADS = ("charge", "current", "resistive", "digital", "system")

# Bits that a sum grows by when steps and slices are added up, beyond those of the conversion.
GROWTH_BITS = 3


@dataclass(frozen=True)
class Macro:
    """The parameters of a macro; the unit ends each name. All are positive.

    `weight_cells` are the cells that hold the weight bits of one output (None: one a bit),
    `working_ns` is how long cells and converters work in a step (None: all of it).
    """

    kind: Kind
    node_nm: float
    supply_v: float
    array_rows: float
    columns: float
    rows: float  # that one output sums
    input_bits: float  # in one step
    weight_bits: float  # in one conversion or one adder tree
    converters: float  # that work at once
    converter_bits: float
    step_ns: float
    has_capacitor: bool = False
    is_system: bool = False
    summed_columns: float = 1.0  # whose charges or currents one conversion takes together
    cell: Cell = "sram"
    weight_cells: float | None = None
    working_ns: float | None = None
    is_flash_allowed: bool = True  # whether charge is converted in the cheapest way

    @property
    def spread(self) -> str:
        """The name of the constant that says how far silicon of this kind lies from its sum."""
        if self.is_system:
            return "spread_system"
        if self.kind in DIGITAL:
            return "spread_digital"
        return f"spread_{self.kind if self.cell == 'sram' else 'resistive'}"

    @property
    def typical(self) -> str:
        """The name of the constant that says what a one-bit MAC of such chips takes."""
        is_resistive = self.cell != "sram"
        return "typical_resistive_fj" if is_resistive else "typical_transistor_fj"

    @property
    def one_bit_macs(self) -> float:
        """The work of one output in one step."""
        return self.products * self.input_bits * self.weight_bits

    @property
    def products(self) -> float:
        """The inputs times weights that one output sums."""
        return self.rows * self.summed_columns

    @property
    def resolution_bits(self) -> float:
        """The bits that a conversion decides: no more than the levels that the sum can have."""
        return max(1.0, min(self.converter_bits, level_bits(self)))

    @property
    def sharing_outputs(self) -> float:
        """The outputs that one drive of the rows serves.

        They are all columns, converted together or one after the other.
        """
        return max(1.0, self.converters, self.columns / (self.weight_bits * self.summed_columns))


def level_bits(macro: Macro) -> float:
    """Computes the bits of the levels that the sum of an output can have in one step."""
    inputs = 2.0 ** min(macro.input_bits, 64) - 1
    weights = max(1.0, 2.0 ** min(macro.weight_bits, 64) - 1)
    return log2(macro.products * inputs * weights + 1)


def _analog(macro: Macro, silicon: Silicon) -> dict[str, float]:
    bits = macro.resolution_bits
    cells = macro.products * (macro.weight_cells or macro.weight_bits)
    share = macro.rows / macro.sharing_outputs
    working_ns = macro.working_ns or macro.step_ns
    parts = {
        "drivers": share * row_fj(silicon, macro.columns, macro.input_bits),
        "bitlines": bitlines_fj(silicon, cells),
        "cells": cells_fj(silicon, cells, macro.has_capacitor),
        "converter": _conversion_fj(macro, silicon),
        "recombination": accumulator_fj(silicon, bits + GROWTH_BITS),
        "registers": share * latches_fj(silicon, macro.input_bits),
        "leakage": leakage_fj(silicon, macro.array_rows * macro.columns, working_ns)
        / macro.converters,
    }
    if macro.kind == "charge":
        return parts
    if macro.cell == "sram":
        return {**parts, "bias": bias_fj(silicon, cells, working_ns)}
    # A resistive cell has no gate that multiplies, and its bitline hardly moves.
    return {
        **parts,
        "bitlines": clamped_bitlines_fj(silicon, cells),
        "cells": 0.0,
        "bias": current_fj(silicon, cells, working_ns, macro.cell == "flash"),
    }


def _conversion_fj(macro: Macro, silicon: Silicon) -> float:
    bits = macro.resolution_bits
    if macro.kind != "charge":
        return conversion_fj(silicon, "sense", bits)
    if macro.is_flash_allowed:
        return least_conversion_fj(silicon, bits)
    return conversion_fj(silicon, "sar", bits)


def _digital(macro: Macro, silicon: Silicon) -> dict[str, float]:
    growth = log2(max(1.0, macro.rows))
    work = macro.one_bit_macs
    width = macro.weight_bits + growth
    outputs = max(1.0, macro.columns / macro.weight_bits)
    cells_in_all = macro.array_rows * macro.columns
    parts = {
        "drivers": work * silicon.activity * silicon.fj(silicon.values["wordline_ff"]),
        "cells": multipliers_fj(silicon, work),
        "registers": macro.rows * latches_fj(silicon, macro.input_bits) / outputs,
        "leakage": leakage_fj(silicon, cells_in_all, macro.step_ns) / outputs,
    }
    if macro.kind == "adder chain":
        # A ripple through the array glitches: every adder is taken to switch, and every cell holds
        # a register.
        glitching = replace(silicon, input_toggle=1.0, weight_density=1.0)
        parts["adders"] = adders_fj(glitching, macro.rows * macro.input_bits * width)
        parts["accumulator"] = registers_fj(silicon, work)
    else:
        parts["adders"] = macro.input_bits * adders_fj(
            silicon, tree_adders(macro.rows, macro.weight_bits)
        )
        parts["accumulator"] = macro.input_bits * accumulator_fj(silicon, width + macro.input_bits)
    return parts


def _mac_array(macro: Macro, silicon: Silicon) -> dict[str, float]:
    bits = macro.input_bits + macro.weight_bits + GUARD_BITS
    parts = multiply_accumulate_fj(silicon, macro.input_bits, macro.weight_bits)
    return {**parts, "leakage": leakage_fj(silicon, bits, macro.step_ns)}


FORMULAS: dict[Kind, Callable[[Macro, Silicon], dict[str, float]]] = {
    "charge": _analog,
    "current": _analog,
    "adder tree": _digital,
    "adder chain": _digital,
    "mac array": _mac_array,
}


def energy_fj(macro: Macro, silicon: Silicon) -> dict[str, float]:
    """Computes the parts of one one-bit MAC, in fJ; they add up to the whole."""
    parts = FORMULAS[macro.kind](macro, silicon)
    parts = {name: part / macro.one_bit_macs for name, part in parts.items()}
    array = sum(parts.values())
    control = silicon.values["control_share"] * array
    system = silicon.values["system_share"] * (array + control) if macro.is_system else 0.0
    return {**parts, "control": control, "system": system}


def silicon_of(macro: Macro, components: Components) -> Silicon:
    """Returns the conditions of a macro, with the constants at their values."""
    return silicon_at(components, macro.node_nm, macro.supply_v)


def one_bit_mac(macro: Macro, components: Components) -> dict[str, Estimate]:
    """Computes the parts of one one-bit MAC in fJ, each over the intervals of its constants."""
    supply_v = Estimate.exact(macro.supply_v)
    return over_intervals(partial(energy_fj, macro), components, macro.node_nm, supply_v)
