"""Assembles the costs that a chip file's keys hold from the formulas, part by part.

Parts are in fJ (delays in ns, leakage in pW).

Parts of an array come with the clock and the control that drive it, as a share of their sum; it
stands as a part of its own.
"""

from __future__ import annotations

from math import log2

from compiler.target.parts import adders
from compiler.target.parts.cell_array import bias_fj, bitlines_fj, cells_fj, latches_fj, row_fj
from compiler.target.parts.converter import ConverterKind, conversion_fj
from compiler.target.parts.memory import (
    BITS_PER_BYTE,
    dram_byte_fj,
    sram_byte_fj,
    sram_leakage_pw,
    sram_write_byte_fj,
)
from compiler.target.parts.resistive import ResistiveKind, read_fj, write_bit_fj
from compiler.target.parts.silicon import Silicon
from compiler.target.parts.transport import link_fj, router_fj

Parts = dict[str, float]


def with_control(silicon: Silicon, parts: Parts) -> Parts:
    """Adds clock and control to the parts."""
    return {**parts, "control": silicon.values["control_share"] * sum(parts.values())}


def row_driver(silicon: Silicon, columns: float, input_bits: float) -> Parts:
    """Computes the energy of one row driven for one step with `input_bits` at once."""
    parts = {
        "driver": row_fj(silicon, columns, input_bits),
        "latch": latches_fj(silicon, input_bits),
    }
    return with_control(silicon, parts)


def analog_cell(
    silicon: Silicon, has_capacitor: bool, current_ns: float, has_bitline: bool
) -> Parts:
    """Computes the energy of one cell in one step.

    `current_ns` is how long it draws a current (0: its cells add charge).
    """
    parts = {"cell": cells_fj(silicon, 1.0, has_capacitor)}
    if has_bitline:
        parts["bitline"] = bitlines_fj(silicon, 1.0)
    if current_ns > 0:
        parts["bias"] = bias_fj(silicon, 1.0, current_ns)
    return with_control(silicon, parts)


def resistive_cell(
    silicon: Silicon, kind: ResistiveKind, read_ns: float, has_bitline: bool
) -> Parts:
    """Computes the energy of one resistive cell in one step, read for `read_ns` of it."""
    parts = {"cell": read_fj(silicon, kind, read_ns)}
    if has_bitline:
        parts["bitline"] = bitlines_fj(silicon, 1.0)
    return with_control(silicon, parts)


def resistive_write(silicon: Silicon, kind: ResistiveKind, bits_per_cell: float) -> Parts:
    """Computes the energy of writing one bit of a resistive cell that holds so many."""
    return {"write": write_bit_fj(silicon, kind, bits_per_cell)}


def analog_bitline(silicon: Silicon) -> Parts:
    """Computes the energy of a cell's piece of bitline in one step."""
    return with_control(silicon, {"bitline": bitlines_fj(silicon, 1.0)})


def converter(
    silicon: Silicon, kind: ConverterKind, bits: float, sharing_columns: float, rows: float
) -> Parts:
    """Computes the energy of one conversion."""
    energy = conversion_fj(silicon, kind, bits, sharing_columns, rows)
    return with_control(silicon, {"converter": energy})


def recombination(
    silicon: Silicon,
    slices: float,
    converter_bits: float,
    input_bits: float,
    input_bits_per_step: float,
) -> Parts:
    """Computes the energy of one conversion's share of the recombination.

    It is a share of the tree over a weight's slices and of the accumulator over an input's steps.
    """
    tree = adders.place_value_adders(slices, converter_bits)
    parts = {"place_value": adders.adders_fj(silicon, tree) / slices}
    if input_bits_per_step < input_bits:
        width = input_bits + converter_bits + slices
        parts["accumulator"] = adders.accumulator_fj(silicon, width) / slices
    return with_control(silicon, parts)


def digital_array_mac(
    silicon: Silicon, rows: float, outputs: float, weight_bits: float, input_bits: float
) -> Parts:
    """Computes the energy of one MAC of a digital in-memory array over all steps of its input.

    It takes its products, and its shares of latch and adder tree.
    """
    products = input_bits * weight_bits
    tree = input_bits * adders.tree_adders(rows, weight_bits)
    parts = {
        "driver": products * silicon.activity * silicon.fj(silicon.values["wordline_ff"]),
        "latch": latches_fj(silicon, input_bits) / outputs,
        "multiplier": adders.multipliers_fj(silicon, products),
        "adder_tree": adders.adders_fj(silicon, tree) / rows,
    }
    return with_control(silicon, parts)


def digital_array_accumulate(
    silicon: Silicon, rows: float, weight_bits: float, input_bits: float, input_bits_per_step: float
) -> Parts:
    """Computes the energy of one output of a digital in-memory array over all steps of its inputs.

    It takes its sums at place values, added up over the steps.
    """
    steps = input_bits / input_bits_per_step
    width = weight_bits + log2(rows)
    places = steps * adders.place_value_adders(input_bits_per_step, width)
    parts = {"place_value": adders.adders_fj(silicon, places)}
    if steps > 1:
        parts["accumulator"] = steps * adders.accumulator_fj(silicon, input_bits + width)
    return with_control(silicon, parts)


def digital_array_idle_lane(silicon: Silicon, weight_bits: float, input_bits: float) -> Parts:
    """Computes the energy of a lane without a weight, over all steps of its input.

    Its products switch all the same.
    """
    products = adders.multipliers_fj(silicon, input_bits * weight_bits)
    return with_control(silicon, {"multiplier": products})


def multiply_accumulate(silicon: Silicon, input_bits: float, weight_bits: float) -> Parts:
    """Computes the energy of one MAC of an array of multiply-accumulate units.

    The operands' delivery is the memories'.
    """
    parts = adders.multiply_accumulate_fj(silicon, input_bits, weight_bits)
    return with_control(silicon, parts)


def vector_operation(silicon: Silicon, bits: float) -> Parts:
    """Computes the energy of a vector lane's work on one value.

    The value is scaled by a multiplier, added to, and held in the registers of two operands and a
    result.
    """
    parts = {
        "multiplier": adders.multipliers_fj(silicon, bits * bits)
        + adders.adders_fj(silicon, bits * bits),
        "adder": adders.adders_fj(silicon, 2 * bits),
        "registers": silicon.activity * adders.registers_fj(silicon, 4 * bits),
    }
    return with_control(silicon, parts)


def host_cycle(silicon: Silicon) -> Parts:
    """Computes the energy of a cycle of the host core with its instruction memory."""
    return {"core": silicon.fj(silicon.values["host_cycle_ff"])}


def register(silicon: Silicon) -> Parts:
    """Computes the energy of a byte into or out of a register."""
    return {"register": adders.registers_fj(silicon, BITS_PER_BYTE)}


def sram_read(silicon: Silicon, size_bytes: float, port_bits: float) -> Parts:
    """Computes the energy of reading a byte of an SRAM through a port of that width.

    The size is that of one bank, where it has several.
    """
    return {"read": sram_byte_fj(silicon, size_bytes, port_bits)}


def sram_write(silicon: Silicon, size_bytes: float, port_bits: float) -> Parts:
    """Computes the energy of writing a byte of an SRAM."""
    return {"write": sram_write_byte_fj(silicon, size_bytes, port_bits)}


def cell_write(silicon: Silicon, size_bytes: float, port_bits: float) -> Parts:
    """Computes the energy of writing one bit of an array of SRAM cells of that size."""
    return {"write": sram_write_byte_fj(silicon, size_bytes, port_bits) / BITS_PER_BYTE}


def sram_leakage(silicon: Silicon, size_bytes: float) -> Parts:
    """Computes the leakage of an SRAM, in pW."""
    return {"leakage": sram_leakage_pw(silicon, size_bytes)}


def dram(silicon: Silicon, kind: str) -> Parts:
    """Computes the energy of a byte of a DRAM outside of the chip."""
    return {"dram": dram_byte_fj(silicon, kind)}


def link(silicon: Silicon, length_mm: float, hops: float) -> Parts:
    """Computes the energy of a byte over wires of that length and through `hops` routers."""
    return {
        "wire": link_fj(silicon, BITS_PER_BYTE, length_mm),
        "routers": router_fj(silicon, BITS_PER_BYTE, hops),
    }
