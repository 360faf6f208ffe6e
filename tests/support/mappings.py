"""Mappings, and what they cost, in one call: for tests that look at one node on one engine."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.cost.node import node_cost, weight_load_cost
from compiler.cost.step import StepCost
from compiler.engines.mapping import analog_mapping, digital_tiling, map_node
from compiler.ir.formats import Format
from compiler.ir.graph import Graph, Node
from compiler.ir.mapping import (
    AnalogMapping,
    DigitalMapping,
    DigitalTiling,
    NodeMapping,
    ProductShape,
    Unroll,
)
from compiler.target.chip import Target


def cost_on(
    node: Node,
    graph: Graph,
    engine: str,
    target: Target,
    *,
    weight_slices: int = 1,
    resident: bool = False,
    outputs: int = 1,
    homes: Mapping[str, str] | None = None,
) -> StepCost:
    """What a node costs on an engine, mapped so."""
    mapping = map_node(
        node,
        graph,
        engine,
        target,
        weight_slices=weight_slices,
        resident=resident,
        outputs=outputs,
    )
    return node_cost(node, graph, mapping, target, homes=homes)


def load_on(
    shape: ProductShape,
    engine: str,
    home: str,
    target: Target,
    *,
    weight_slices: int = 1,
    unroll: Unroll | None = None,
) -> StepCost:
    """What loading a matrix into an engine costs."""
    mapping: NodeMapping
    if engine in target.analog_engines:
        form = Format.analog(engine, weight_slices)
        mapping = analog_mapping(shape, form, target.analog_engines[engine], unroll=unroll)
    else:
        array = target.digital_engines[engine].array
        assert array is not None
        mapping = DigitalMapping(engine=engine, tiling=digital_tiling(shape, 1, array))
    return weight_load_cost(mapping, home, target)


def taking_columns(columns: int, *, resident: bool, engine: str = "analog") -> AnalogMapping:
    """A mapping that takes so many columns of an analog engine, while it runs or for good."""
    return AnalogMapping(
        format=Format.analog(engine, 1),
        shape=ProductShape(1, 1, 1, 1),
        array_rows=1,
        array_columns=1 << 20,
        row_tiles=1,
        column_tiles=1,
        array_steps=1,
        input_reads=1.0,
        reserved_columns=columns,
        unroll=Unroll(1, 1, 1),
        resident=resident,
    )


def taking_bytes(size: int, *, resident: bool, engine: str = "digital") -> DigitalMapping:
    """A mapping that takes so many bytes of a digital engine's weight memory."""
    tiling = DigitalTiling(
        shape=ProductShape(1, 1, 1, 1),
        row_lanes=1,
        column_lanes=1,
        position_lanes=1,
        blocks=1,
        rounds=1,
        row_steps=1,
        weight_bytes_read=0,
        weight_bytes=size,
        working_bytes=size,
        input_reads=1.0,
    )
    return DigitalMapping(engine=engine, tiling=tiling, resident=resident)
