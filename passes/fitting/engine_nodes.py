"""Builds the node of an analog engine that stands for a product."""

from __future__ import annotations

from compiler.engines.bit_slicing import unsigned_digits
from compiler.ir.graph import Node
from compiler.target.chip import Analog


def analog_node(
    node: Node, inputs: tuple[str, ...], output: str, rows: int, digits: int, engine: Analog
) -> Node:
    """The AnalogProduct that stands for a Product."""
    attrs = dict(node.attrs)
    attrs.update(
        rows=rows,
        array_rows=engine.rows.value,
        converter_bits=engine.converter_bits.value,
    )
    if engine.steps > 1:
        attrs["input_bits_per_step"] = engine.bits_per_step
        attrs["unsigned_digits"] = unsigned_digits(engine.cell_levels.value, digits)
    return Node(
        name=node.name,
        op="AnalogProduct",
        inputs=inputs,
        outputs=(output,),
        attrs=attrs,
        placement=node.placement,
        origin=node.origin,
        source=node.source,
    )
