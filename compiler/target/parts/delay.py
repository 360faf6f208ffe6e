"""Computes how long one step of an array takes: converter, product and adders in turn.

xor = 2.4 nand;  adder: input to sum 2 xor, input to carry xor + 2 nand, carry to carry 2 nand
converter          b (t_row rows + t_bit)
tree of depth d    (d - 1) sums, one carry in, then the carries through the rest of the result
accumulator        one carry in, then the carries above the bits that come in
"""

from __future__ import annotations

from math import log2

from compiler.target.parts.silicon import Silicon

XOR_NANDS = 2.4


def _to_sum_ns(silicon: Silicon) -> float:
    return 2 * XOR_NANDS * silicon.values["nand_ns"]


def _to_carry_ns(silicon: Silicon) -> float:
    return (XOR_NANDS + 2) * silicon.values["nand_ns"]


def _carry_ns(silicon: Silicon) -> float:
    return 2 * silicon.values["nand_ns"]


def conversion_ns(silicon: Silicon, bits: float, rows: float) -> float:
    """Computes the delay of a converter that decides bit by bit on a bitline of so many cells."""
    values = silicon.values
    return bits * (values["converter_row_ns"] * rows + values["converter_bit_ns"])


def product_ns(silicon: Silicon) -> float:
    """Computes the delay of a one-bit product in a gate."""
    return silicon.values["nand_ns"]


def tree_ns(silicon: Silicon, depth: float, carries: float) -> float:
    """Computes the delay of a ripple-carry tree of so many levels; 0 where it has none.

    `carries` are the places that the last carry runs through.
    """
    if depth == 0:
        return 0.0
    sums = (depth - 1) * _to_sum_ns(silicon)
    return sums + _to_carry_ns(silicon) + carries * _carry_ns(silicon)


def accumulator_ns(silicon: Silicon, incoming_bits: float, bits: float) -> float:
    """Computes the delay of adding `incoming_bits` to a sum of `bits`."""
    return _to_carry_ns(silicon) + (bits - incoming_bits - 1) * _carry_ns(silicon)


def analog_step_ns(
    silicon: Silicon,
    rows: float,
    converter_bits: float,
    slices: float,
    input_bits: float,
    input_bits_per_step: float,
) -> dict[str, float]:
    """Computes one step of an analog array.

    `slices` columns make a weight, as many as it has bits.
    """
    width = slices + converter_bits
    parts = {
        "converter": conversion_ns(silicon, converter_bits, rows),
        "product": product_ns(silicon),
        "place_value": tree_ns(silicon, log2(slices), slices - 1),
    }
    if input_bits_per_step < input_bits:
        parts["accumulator"] = accumulator_ns(silicon, width, input_bits + width)
    return parts


def digital_step_ns(
    silicon: Silicon, rows: float, weight_bits: float, input_bits: float, input_bits_per_step: float
) -> dict[str, float]:
    """Computes one step of a digital in-memory array.

    Without an accumulator where all input bits enter at once.
    """
    width = weight_bits + log2(rows)
    parts = {
        "product": product_ns(silicon),
        "adder_tree": tree_ns(silicon, log2(rows), width - 2),
        "place_value": tree_ns(silicon, log2(input_bits_per_step), input_bits_per_step - 1),
    }
    if input_bits_per_step < input_bits:
        incoming = width if input_bits_per_step == 1 else width + input_bits_per_step
        parts["accumulator"] = accumulator_ns(silicon, incoming, input_bits + width)
    return parts
