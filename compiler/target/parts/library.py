"""Lists the components that a chip file may name in place of a number.

Each has its unit, its parameters, and its formula.
"""

from __future__ import annotations

from compiler.target.parts import assembled, delay, resistive
from compiler.target.parts.component import Component, Parameter
from compiler.target.parts.converter import KINDS
from compiler.target.parts.memory import DRAM_KINDS
from compiler.target.parts.resistive import RESISTIVE_KINDS

BITS = Parameter(1, 32)
COUNT = Parameter(1, 1 << 20)
SIZE_BYTES = Parameter(64, 1 << 24)
PORT_BITS = Parameter(8, 4096)


COMPONENTS: dict[str, Component] = {
    "row_driver": Component(
        "pj",
        {"columns": COUNT, "input_bits": BITS},
        assembled.row_driver,
        "driving one row of `columns` cells with `input_bits` at once",
        takes_data=True,
    ),
    "analog_cell": Component(
        "pj",
        {
            "has_capacitor": Parameter(is_flag=True),
            "current_ns": Parameter(0, 1e6, default=0.0),
            "has_bitline": Parameter(is_flag=True, default=True),
        },
        assembled.analog_cell,
        "one cell in one step; `current_ns` where it draws a current; without its piece of "
        "bitline where the chip has bitline_pj",
        takes_data=True,
    ),
    "resistive_cell": Component(
        "pj",
        {
            "kind": Parameter(words=RESISTIVE_KINDS),
            "read_ns": Parameter(0, 1e6),
            "has_bitline": Parameter(is_flag=True, default=True),
        },
        assembled.resistive_cell,
        "one ReRAM, PCM, flash or MRAM cell in one step, read for `read_ns` of it",
        takes_data=True,
    ),
    "resistive_write": Component(
        "pj_per_bit",
        {"kind": Parameter(words=RESISTIVE_KINDS), "bits_per_cell": Parameter(1, 8)},
        assembled.resistive_write,
        "writing one of the `bits_per_cell` of such a cell, with all pulses and checks",
    ),
    "resistive_load": Component(
        "ns_per_row",
        {
            "kind": Parameter(words=RESISTIVE_KINDS),
            "columns": COUNT,
            "cells_at_once": Parameter(1, 1 << 20, default=1.0),
        },
        resistive.load_row_ns,
        "writing a row of `columns` such cells, `cells_at_once` of them together",
    ),
    "analog_bitline": Component(
        "pj",
        {},
        assembled.analog_bitline,
        "a cell's piece of bitline in one step",
        takes_data=True,
    ),
    "converter": Component(
        "pj",
        {
            "kind": Parameter(words=KINDS),
            "bits": Parameter(1, 16),
            "sharing_columns": Parameter(1, 1 << 20, default=1.0),
            "rows": Parameter(1, 1 << 20, default=1.0),
        },
        assembled.converter,
        "one conversion; `sharing_columns` share a ramp's counter, `rows` are an in-array "
        "converter's",
    ),
    "recombination": Component(
        "pj",
        {
            "slices": Parameter(1, 64),
            "converter_bits": Parameter(1, 16),
            "input_bits": BITS,
            "input_bits_per_step": BITS,
        },
        assembled.recombination,
        "a conversion's share of adding up `slices` columns a weight and the steps of an input",
        takes_data=True,
    ),
    "analog_step": Component(
        "ns",
        {
            "rows": COUNT,
            "converter_bits": Parameter(1, 16),
            "slices": Parameter(1, 64),
            "input_bits": BITS,
            "input_bits_per_step": BITS,
        },
        delay.analog_step_ns,
        "one step of an analog array with a converter that decides bit by bit",
    ),
    "digital_array_mac": Component(
        "pj",
        {"rows": COUNT, "outputs": COUNT, "weight_bits": BITS, "input_bits": BITS},
        assembled.digital_array_mac,
        "one MAC of a digital in-memory array over all steps of its input",
        takes_data=True,
    ),
    "digital_array_accumulate": Component(
        "pj",
        {"rows": COUNT, "weight_bits": BITS, "input_bits": BITS, "input_bits_per_step": BITS},
        assembled.digital_array_accumulate,
        "one output of a digital in-memory array, added up over all steps of its inputs",
        takes_data=True,
    ),
    "digital_array_idle_lane": Component(
        "pj",
        {"weight_bits": BITS, "input_bits": BITS},
        assembled.digital_array_idle_lane,
        "a lane of a digital in-memory array without work, whose products switch all the same",
        takes_data=True,
    ),
    "digital_array_step": Component(
        "ns",
        {"rows": COUNT, "weight_bits": BITS, "input_bits": BITS, "input_bits_per_step": BITS},
        delay.digital_step_ns,
        "one step of a digital in-memory array",
    ),
    "multiply_accumulate": Component(
        "pj",
        {"input_bits": BITS, "weight_bits": BITS},
        assembled.multiply_accumulate,
        "one MAC of a unit with its accumulator and operand registers",
        takes_data=True,
    ),
    "vector_operation": Component(
        "pj",
        {"bits": BITS},
        assembled.vector_operation,
        "one value on a vector lane: scaled, added to and held",
        takes_data=True,
    ),
    "host_cycle": Component("pj", {}, assembled.host_cycle, "a cycle of a 32-bit in-order core"),
    "register": Component(
        "pj_per_byte",
        {},
        assembled.register,
        "a byte into or out of a register",
    ),
    "sram_read": Component(
        "pj_per_byte",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        assembled.sram_read,
        "reading a byte of an SRAM, or of a bank of it",
        cites_sram_table=True,
    ),
    "sram_write": Component(
        "pj_per_byte",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        assembled.sram_write,
        "writing a byte of an SRAM, or of a bank of it",
        cites_sram_table=True,
    ),
    "cell_write": Component(
        "pj_per_bit",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        assembled.cell_write,
        "writing one bit of an array of SRAM cells of that size",
        cites_sram_table=True,
    ),
    "sram_leakage": Component(
        "mw",
        {"size_bytes": Parameter(64, 1 << 34)},
        assembled.sram_leakage,
        "what an SRAM leaks",
    ),
    "dram": Component(
        "pj_per_byte",
        {"kind": Parameter(words=DRAM_KINDS)},
        assembled.dram,
        "a byte of a DRAM beside the chip",
    ),
    "link": Component(
        "pj_per_byte",
        {"length_mm": Parameter(0, 1000), "hops": Parameter(0, 1000, default=0.0)},
        assembled.link,
        "a byte over wires of that length and through `hops` routers",
        takes_data=True,
    ),
}

# Which components suit a key of a chip file, the likeliest first.
SUITING: dict[str, tuple[str, ...]] = {
    "static_mw": ("sram_leakage",),
    "read_pj_per_byte": ("sram_read", "dram", "register", "link"),
    "write_pj_per_byte": ("sram_write", "dram", "register", "link"),
    "pj_per_byte": ("link",),
    "step_ns": ("analog_step",),
    "cell_pj": ("analog_cell", "resistive_cell"),
    "bitline_pj": ("analog_bitline",),
    "row_driver_pj": ("row_driver",),
    "converter_pj": ("converter",),
    "recombine_pj": ("recombination",),
    "load_ns_per_row": ("resistive_load",),
    "write_pj_per_bit": ("cell_write", "resistive_write"),
    "mac_pj": ("multiply_accumulate", "digital_array_mac"),
    "accumulate_pj": ("digital_array_accumulate",),
    "idle_lane_pj": ("digital_array_idle_lane",),
    "weight_read_pj_per_byte": ("sram_read", "register"),
    "weight_write_pj_per_byte": ("sram_write", "register"),
    "operation_pj": ("vector_operation",),
    "cycle_pj": ("host_cycle",),
}
