"""What one multiplication of one input bit by one weight bit costs in an in-memory-computing macro, from its parameters alone.

The unit of work is one output of one step: `rows` inputs of `input_bits` bits each, times the `weight_bits` that one conversion (or one
adder tree) sums. It does rows * input_bits * weight_bits one-bit MACs. With k the gate pitch's ratio to 28 nm and V the supply:

    analog   drivers   = rows (C_word * columns * k + C_driver * input_bits [if > 1]) V^2 / outputs that share the drive
             bitlines  = rows weight_bits C_bit k V^2
             cells     = rows weight_bits (C_multiplier k + C_capacitor [cells that have one]) V^2
             bias      = rows weight_bits I_bias k V t                     [cells that are read by a current]
             converter = (C_sar b + C_level 4^b) k V^2  [SAR],  C_sense b k V^2  [sense amplifiers, ramp, time, or one bit]
             recombine = activity (C_adder + C_register) (b + 3) k V^2
    digital  tree      = rows input_bits activity C_adder (weight_bits + 1) k V^2, or in a chain of adders in the cells
                         rows input_bits C_adder (weight_bits + log2 rows) k V^2
             accumulate= input_bits activity (C_adder + C_register) (weight_bits + log2 rows + input_bits) k V^2
    both     registers, leakage; then control and system as shares of the sum.

b is the resolution that the sum can have: the converter's bits, at most log2(levels of the sum).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2
from typing import Literal

from compiler.cost.macro_constants import Components
from compiler.units import Estimate

# Where the adders, or the converter and its cells, are.
Kind = Literal["charge", "current", "adder tree", "adder chain", "mac array"]
DIGITAL: tuple[Kind, ...] = ("adder tree", "adder chain", "mac array")

# Bits that a sum grows by when steps and slices are added up, beyond those of the conversion.
GROWTH_BITS = 3
# Bits that a multiply-accumulate unit keeps beyond those of its product.
GUARD_BITS = 8


@dataclass(frozen=True)
class Macro:
    """The parameters of a macro; the unit ends each name. All are positive."""

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

    @property
    def one_bit_macs(self) -> float:
        """The work of one output in one step."""
        return self.rows * self.input_bits * self.weight_bits

    @property
    def resolution_bits(self) -> float:
        """The bits that a conversion decides: no more than the levels that the sum can have."""
        inputs = 2.0 ** min(self.input_bits, 64) - 1
        weights = max(1.0, 2.0 ** min(self.weight_bits, 64) - 1)
        return max(1.0, min(self.converter_bits, log2(self.rows * inputs * weights + 1)))

    @property
    def sharing_outputs(self) -> float:
        """The outputs that one drive of the rows serves: all columns, converted together or one after the other."""
        return max(1.0, self.converters, self.columns / self.weight_bits)


Values = Mapping[str, float]


def _analog(macro: Macro, values: Values, scale: float) -> dict[str, float]:
    square = macro.supply_v**2
    bits = macro.resolution_bits
    cells = macro.rows * macro.weight_bits
    charge = macro.kind == "charge"
    word = values["wordline_ff"] * macro.columns * scale
    digits = values["driver_bit_ff"] * macro.input_bits if macro.input_bits > 1 else 0.0
    latches = values["register_bit_ff"] * values["activity"] * macro.input_bits * scale
    capacitor = values["capacitor_ff"] if macro.has_capacitor else 0.0
    sar = values["sar_bit_ff"] * bits + values["sar_level_ff"] * 4**bits
    converter = sar if charge and bits > 1 else values["sense_ff"] * bits
    adders = values["activity"] * (values["full_adder_ff"] + values["register_bit_ff"])
    cells_in_all = macro.array_rows * macro.columns
    parts = {
        "drivers": macro.rows * (word + digits) * square / macro.sharing_outputs,
        "bitlines": cells * values["bitline_ff"] * scale * square,
        "cells": cells * (values["multiplier_ff"] * scale + capacitor) * square,
        "converter": converter * scale * square,
        "recombination": adders * (bits + GROWTH_BITS) * scale * square,
        "registers": macro.rows * latches * square / macro.sharing_outputs,
        "leakage": _leakage(values, cells_in_all, macro) / macro.converters,
    }
    if not charge:
        parts["bias"] = cells * values["bias_ua"] * scale * macro.supply_v * macro.step_ns
    return parts


def _digital(macro: Macro, values: Values, scale: float) -> dict[str, float]:
    square = macro.supply_v**2 * scale
    activity = values["activity"]
    adder, register = values["full_adder_ff"], values["register_bit_ff"]
    growth = log2(max(1.0, macro.rows))
    work = macro.one_bit_macs
    width = macro.weight_bits + growth
    parts = {
        "drivers": work * activity * values["wordline_ff"] * square,
        "cells": work * activity * values["multiplier_ff"] * square,
        "registers": macro.rows * macro.input_bits * activity * register * square
        / max(1.0, macro.columns / macro.weight_bits),
        "leakage": _leakage(values, macro.array_rows * macro.columns, macro)
        / max(1.0, macro.columns / macro.weight_bits),
    }  # fmt: skip
    if macro.kind == "adder chain":
        # A ripple through the array glitches: every adder is taken to switch, and every cell holds a register.
        parts["adders"] = macro.rows * macro.input_bits * adder * width * square
        parts["accumulator"] = work * register * square
    else:
        count = macro.rows * macro.input_bits * (macro.weight_bits + 1)
        parts["adders"] = count * activity * adder * square
        each = activity * (adder + register)
        parts["accumulator"] = macro.input_bits * each * (width + macro.input_bits) * square
    return parts


def _mac_array(macro: Macro, values: Values, scale: float) -> dict[str, float]:
    """One multiply-accumulate unit: a multiplier of input_bits * weight_bits adders, its accumulator and its operands' registers."""
    square = macro.supply_v**2 * scale
    operands = macro.input_bits + macro.weight_bits
    product = macro.input_bits * macro.weight_bits
    activity = values["activity"]
    adder, register = values["full_adder_ff"], values["register_bit_ff"]
    return {
        "cells": product * activity * values["multiplier_ff"] * square,
        "adders": product * activity * adder * square,
        "accumulator": activity * (adder + register) * (operands + GUARD_BITS) * square,
        "registers": register * operands * square,
        "leakage": _leakage(values, operands + GUARD_BITS, macro),
    }


def _leakage(values: Values, cells: float, macro: Macro) -> float:
    """Picowatt times nanosecond is 1e-6 fJ."""
    return values["leakage_pw"] * cells * macro.step_ns * 1e-6


FORMULAS: dict[Kind, Callable[[Macro, Values, float], dict[str, float]]] = {
    "charge": _analog,
    "current": _analog,
    "adder tree": _digital,
    "adder chain": _digital,
    "mac array": _mac_array,
}


def energy_fj(macro: Macro, values: Values, scale: float) -> dict[str, float]:
    """The parts of one one-bit MAC, in fJ; they add up to the whole. `scale` is the node's (Components.scale)."""
    parts = FORMULAS[macro.kind](macro, values, scale)
    parts = {name: part / macro.one_bit_macs for name, part in parts.items()}
    array = sum(parts.values())
    control = values["control_share"] * array
    system = values["system_share"] * (array + control) if macro.is_system else 0.0
    return {**parts, "control": control, "system": system}


def one_bit_mac(macro: Macro, components: Components) -> dict[str, Estimate]:
    """The parts of one one-bit MAC in fJ, each over the intervals of its constants (every formula rises with every constant)."""
    scale = components.scale(macro.node_nm)
    constants = {name: constant.estimate for name, constant in components.constants.items()}
    value, low, high = (
        energy_fj(macro, values, scale)
        for values in (
            {name: estimate.value for name, estimate in constants.items()},
            {name: estimate.low for name, estimate in constants.items()},
            {name: estimate.high for name, estimate in constants.items()},
        )
    )
    return {name: Estimate(part, low[name], high[name]) for name, part in value.items()}
