"""Computes the energy of memories: SRAM by size, width, node and supply, DRAM by kind.

Registers are in adders.py.

    SRAM   E = C(size, node) (port0 / port)^a V^2 a bit,   C = tabled energy / (tabled supply)^2

Between the tabled sizes and nodes C is interpolated in logarithms. port0 is the width that was
tabled for the size and a the exponent that two widths of the same memory show. Past the tabled
nodes C follows the pitch of gates.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise
from math import exp, log

from compiler.target.parts.constants import load_components
from compiler.target.parts.silicon import FJ_PER_PJ, Silicon

BITS_PER_BYTE = 8
DRAM_KINDS = ("lpddr4", "lpddr", "ddr3", "hbm2", "hbm3", "hbm4")


@dataclass(frozen=True)
class SramNode:
    """What CACTI gives at one node: fJ a bit.

    It has a number for each tabled size, and one for the one size with a wide port.
    """

    node_nm: float
    supply_v: float
    read_fj_per_bit: tuple[float, ...]
    wide_fj_per_bit: float


@dataclass(frozen=True)
class SramTable:
    """components/sram.toml."""

    source: str
    sizes_bytes: tuple[float, ...]
    ports_bits: tuple[float, ...]
    wide_size_bytes: float
    wide_port_bits: float
    nodes: tuple[SramNode, ...]


@cache
def sram_table() -> SramTable:
    """Reads the table that is shipped."""
    file = resources.files("compiler").joinpath("components/sram.toml")
    table = tomllib.loads(file.read_text(encoding="utf-8"))
    nodes = [
        SramNode(float(nm), e["supply_v"], tuple(e["read_fj_per_bit"]), e["wide_fj_per_bit"])
        for nm, e in table["nodes_nm"].items()
    ]
    return SramTable(
        source=table["source"],
        sizes_bytes=tuple(table["sizes_bytes"]),
        ports_bits=tuple(table["ports_bits"]),
        wide_size_bytes=table["wide"]["size_bytes"],
        wide_port_bits=table["wide"]["port_bits"],
        nodes=tuple(sorted(nodes, key=lambda node: node.node_nm)),
    )


def _line(points: tuple[tuple[float, float], ...], x: float) -> float:
    """Interpolates on the line through the nearest two points, in logarithms of both.

    It goes on past the ends.
    """
    (x0, y0), (x1, y1) = next(
        (pair for pair in pairwise(points) if x <= pair[1][0]), (points[-2], points[-1])
    )
    return exp(log(y0) + log(x / x0) / log(x1 / x0) * log(y1 / y0))


def _tabled_ff_per_bit(node: SramNode, size_bytes: float, port_bits: float) -> float:
    """Computes the capacitance that one bit charges at a tabled node."""
    table = sram_table()
    sizes = table.sizes_bytes
    energy: float = _line(tuple(zip(sizes, node.read_fj_per_bit, strict=True)), size_bytes)
    inside = min(max(size_bytes, sizes[0]), sizes[-1])
    port: float = _line(tuple(zip(sizes, table.ports_bits, strict=True)), inside)
    at = sizes.index(table.wide_size_bytes)
    saved = log(node.read_fj_per_bit[at] / node.wide_fj_per_bit)
    exponent: float = saved / log(table.wide_port_bits / table.ports_bits[at])
    narrower: float = (port / port_bits) ** exponent
    return energy * narrower / node.supply_v**2


def sram_ff_per_bit(node_nm: float, size_bytes: float, port_bits: float) -> float:
    """Computes the capacitance that reading one bit charges."""
    nodes = sram_table().nodes
    points = tuple(
        (node.node_nm, _tabled_ff_per_bit(node, size_bytes, port_bits)) for node in nodes
    )
    inside = min(max(node_nm, points[0][0]), points[-1][0])
    scale = load_components().scale
    return _line(points, inside) * scale(node_nm) / scale(inside)


def sram_byte_fj(silicon: Silicon, size_bytes: float, port_bits: float) -> float:
    """Computes the energy of reading a byte of an SRAM through a port of that width.

    The size is that of one bank, where it has several.
    """
    capacitance = sram_ff_per_bit(silicon.node_nm, size_bytes, port_bits)
    return BITS_PER_BYTE * silicon.metal_fj(capacitance) * silicon.values["sram_share"]


def sram_write_byte_fj(silicon: Silicon, size_bytes: float, port_bits: float) -> float:
    """Computes the energy of writing a byte: a read, times what CACTI has between them."""
    return sram_byte_fj(silicon, size_bytes, port_bits) * silicon.values["sram_write_share"]


def dram_byte_fj(silicon: Silicon, kind: str) -> float:
    """Computes the energy of reading or writing a byte outside of the chip: interface and device.

    Neither the chip's node nor its supply enters.
    """
    return BITS_PER_BYTE * FJ_PER_PJ * silicon.values[f"dram_{kind}_pj_per_bit"]


def sram_leakage_pw(silicon: Silicon, size_bytes: float) -> float:
    """Computes the leakage of an SRAM of that size."""
    return BITS_PER_BYTE * size_bytes * silicon.values["leakage_pw"]
