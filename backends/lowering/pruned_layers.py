"""Tells for each layer that pruning made smaller what it was and what it is: matrices, tiles, energy."""

from __future__ import annotations

from compiler.cost.memory import weight_home
from compiler.cost.node import node_cost, weight_load_cost
from compiler.engines.mapping import (
    analog_layout,
    digital_layout,
    line_of,
    unroll_of,
    why_not_unrolled,
)
from compiler.ir.graph import Graph, Node, Placement
from compiler.ir.ops import product_shape
from compiler.plan.schema import PrunedLayer, PrunedSize
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital


def pruned_layers(
    before: Graph, after: Graph, placed: Graph, target: Target
) -> tuple[PrunedLayer, ...]:
    """The layers whose matrices changed, in order.

    `before` and `after` are the graph without and with pruning, both with convolutions lowered and
    not yet quantized; where their nodes run is taken from `placed`. A layer is known by the ONNX
    node it came from.
    """
    older = {_origin(node): node for node in before if product_shape(node, before) is not None}
    settled = {node.name: node.placement for node in placed}
    layers = []
    for node in after:
        old, placement = older.get(_origin(node)), settled.get(node.name)
        if old is None or placement is None or product_shape(node, after) is None:
            continue
        if product_shape(node, after) != product_shape(old, before):
            layers.append(
                PrunedLayer(
                    node=_origin(node),
                    engine=placement.engine,
                    before=_size(old, before, placement, target),
                    after=_size(node, after, placement, target),
                )
            )
    return tuple(layers)


def _origin(node: Node) -> str:
    return node.origin[0] if node.origin else node.name


def _size(node: Node, graph: Graph, placement: Placement, target: Target) -> PrunedSize:
    """A layer in the way its placement says: engine, digits, weights resident or not."""
    shape = product_shape(node, graph)
    assert shape is not None
    name, digits = placement.engine, max(1, placement.slices)
    unit = target.chip.engines[name]
    pixels = placement.pixels if isinstance(unit, Analog) else 1
    if isinstance(unit, Analog) and why_not_unrolled(node, graph, unit, digits, pixels):
        pixels = 1  # the layer before pruning may have been too large
    unroll = unroll_of(node, graph, pixels)
    cost = node_cost(
        node, graph, name, target, digits=digits, resident=placement.resident, pixels=pixels
    )
    if not placement.resident:
        home = placement.weight_home or weight_home(0, shape.weights, target)
        cost = cost + weight_load_cost(shape, name, home, target, digits, unroll)
    tiles, used_share, mapping = None, None, ""
    if isinstance(unit, Analog):
        cells = analog_layout(shape, digits, unit, unroll=unroll)
        tiles, used_share, mapping = cells.tiles, cells.utilization, cells.describe()
    elif isinstance(unit, Digital) and unit.array is not None:
        mapping = digital_layout(shape, line_of(node, graph), unit.array).describe(unit.array)
    return PrunedSize(
        groups=shape.groups,
        rows=shape.rows,
        columns=shape.columns,
        macs=shape.macs,
        mapping=mapping,
        tiles=tiles,
        used_share=used_share,
        energy_pj=cost.energy_pj.value,
        latency_ns=cost.latency_ns,
    )
