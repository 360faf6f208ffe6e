"""The components that a chip file may name in place of a number: their unit, what they want to know, and their formula."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from compiler.cost.parts import assembled, delay, memory, transport
from compiler.cost.parts.adders import registers_fj
from compiler.cost.parts.component import Component, Given, Parameter
from compiler.cost.parts.converter import KINDS, ConverterKind

BITS = Parameter(1, 32)
COUNT = Parameter(1, 1 << 20)
SIZE_BYTES = Parameter(64, 1 << 24)
PORT_BITS = Parameter(8, 4096)


def _real(given: Given, name: str) -> float:
    return float(given[name])


def _all_of(given: Given, *names: str) -> Iterator[float]:
    return (float(given[name]) for name in names)


COMPONENTS: dict[str, Component] = {
    "row_driver": Component(
        "pj",
        {"columns": COUNT, "input_bits": BITS},
        lambda s, g: assembled.row_driver(s, *_all_of(g, "columns", "input_bits")),
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
        lambda s, g: assembled.analog_cell(
            s, g["has_capacitor"] is True, _real(g, "current_ns"), g["has_bitline"] is True
        ),
        "one cell in one step; `current_ns` where it draws a current; without its piece of bitline where the chip has bitline_pj",
        takes_data=True,
    ),
    "analog_bitline": Component(
        "pj",
        {},
        lambda s, g: assembled.analog_bitline(s),
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
        lambda s, g: assembled.converter(
            s, cast(ConverterKind, g["kind"]), *_all_of(g, "bits", "sharing_columns", "rows")
        ),
        "one conversion; `sharing_columns` share a ramp's counter, `rows` are an in-array converter's",
    ),
    "recombination": Component(
        "pj",
        {
            "slices": Parameter(1, 64),
            "converter_bits": Parameter(1, 16),
            "input_bits": BITS,
            "input_bits_per_step": BITS,
        },
        lambda s, g: assembled.recombination(
            s, *_all_of(g, "slices", "converter_bits", "input_bits", "input_bits_per_step")
        ),
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
        lambda s, g: delay.analog_step_ns(
            s, *_all_of(g, "rows", "converter_bits", "slices", "input_bits", "input_bits_per_step")
        ),
        "one step of an analog array with a converter that decides bit by bit",
    ),
    "digital_array_mac": Component(
        "pj",
        {"rows": COUNT, "outputs": COUNT, "weight_bits": BITS, "input_bits": BITS},
        lambda s, g: assembled.digital_array_mac(
            s, *_all_of(g, "rows", "outputs", "weight_bits", "input_bits")
        ),
        "one MAC of a digital in-memory array over all steps of its input",
        takes_data=True,
    ),
    "digital_array_accumulate": Component(
        "pj",
        {"rows": COUNT, "weight_bits": BITS, "input_bits": BITS, "input_bits_per_step": BITS},
        lambda s, g: assembled.digital_array_accumulate(
            s, *_all_of(g, "rows", "weight_bits", "input_bits", "input_bits_per_step")
        ),
        "one output of a digital in-memory array, added up over all steps of its inputs",
        takes_data=True,
    ),
    "digital_array_idle_lane": Component(
        "pj",
        {"weight_bits": BITS, "input_bits": BITS},
        lambda s, g: assembled.digital_array_idle_lane(s, *_all_of(g, "weight_bits", "input_bits")),
        "a lane of a digital in-memory array without work, whose products switch all the same",
        takes_data=True,
    ),
    "digital_array_step": Component(
        "ns",
        {"rows": COUNT, "weight_bits": BITS, "input_bits": BITS, "input_bits_per_step": BITS},
        lambda s, g: delay.digital_step_ns(
            s, *_all_of(g, "rows", "weight_bits", "input_bits", "input_bits_per_step")
        ),
        "one step of a digital in-memory array",
    ),
    "multiply_accumulate": Component(
        "pj",
        {"input_bits": BITS, "weight_bits": BITS},
        lambda s, g: assembled.multiply_accumulate(s, *_all_of(g, "input_bits", "weight_bits")),
        "one MAC of a unit with its accumulator and operand registers",
        takes_data=True,
    ),
    "vector_operation": Component(
        "pj",
        {"bits": BITS},
        lambda s, g: assembled.vector_operation(s, _real(g, "bits")),
        "one value on a vector lane: scaled, added to and held",
        takes_data=True,
    ),
    "host_cycle": Component(
        "pj", {}, lambda s, g: assembled.host_cycle(s), "a cycle of a 32-bit in-order core"
    ),
    "register": Component(
        "pj_per_byte",
        {},
        lambda s, g: {"register": registers_fj(s, 8)},
        "a byte into or out of a register",
    ),
    "sram_read": Component(
        "pj_per_byte",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        lambda s, g: {"read": memory.sram_byte_fj(s, *_all_of(g, "size_bytes", "port_bits"))},
        "reading a byte of an SRAM, or of a bank of it",
        cites_sram_table=True,
    ),
    "sram_write": Component(
        "pj_per_byte",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        lambda s, g: {
            "write": memory.sram_write_byte_fj(s, *_all_of(g, "size_bytes", "port_bits"))
        },
        "writing a byte of an SRAM, or of a bank of it",
        cites_sram_table=True,
    ),
    "cell_write": Component(
        "pj_per_bit",
        {"size_bytes": SIZE_BYTES, "port_bits": PORT_BITS},
        lambda s, g: {
            "write": memory.sram_write_byte_fj(s, *_all_of(g, "size_bytes", "port_bits")) / 8
        },
        "writing one bit of an array of SRAM cells of that size",
        cites_sram_table=True,
    ),
    "sram_leakage": Component(
        "mw",
        {"size_bytes": Parameter(64, 1 << 34)},
        lambda s, g: {"leakage": memory.sram_leakage_pw(s, _real(g, "size_bytes"))},
        "what an SRAM leaks",
    ),
    "dram": Component(
        "pj_per_byte",
        {"kind": Parameter(words=memory.DRAM_KINDS)},
        lambda s, g: {"dram": memory.dram_byte_fj(s, str(g["kind"]))},
        "a byte of a DRAM beside the chip",
    ),
    "link": Component(
        "pj_per_byte",
        {"length_mm": Parameter(0, 1000), "hops": Parameter(0, 1000, default=0.0)},
        lambda s, g: {
            "wire": transport.link_fj(s, 8, _real(g, "length_mm")),
            "routers": transport.router_fj(s, 8, _real(g, "hops")),
        },
        "a byte over wires of that length and through `hops` routers",
        takes_data=True,
    ),
}
