"""Compares each layer that pruning made smaller, before and after: matrices, tiles, energy."""

from __future__ import annotations

from compiler.cost.memory import weight_home
from compiler.cost.node import node_cost, weight_load_cost
from compiler.engines.mapping import map_like
from compiler.ir.graph import Graph, Node, Placement
from compiler.ir.ops import product_shape
from compiler.plan.schema import PrunedLayer, PrunedSize
from compiler.target.chip import Target


def pruned_layers(
    before: Graph, after: Graph, placed: Graph, target: Target
) -> tuple[PrunedLayer, ...]:
    """Lists the layers whose matrices changed, in order.

    `before` and `after` are the graph without and with pruning, both with convolutions lowered and
    not yet quantized; where their nodes run is taken from `placed`. A layer is known by the ONNX
    node it came from.
    """
    older = {_origin(node): node for node in before if product_shape(node, before) is not None}
    placements = {node.name: node.placement for node in placed}
    layers = []
    for node in after:
        old, placement = older.get(_origin(node)), placements.get(node.name)
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
    """Measures a layer as its placement has it: engine, format, weights resident or not."""
    mapping = map_like(node, graph, placement.mapping, target)
    shape = product_shape(node, graph)
    assert shape is not None
    cost = node_cost(node, graph, mapping, target)
    if not mapping.resident:
        home = placement.weight_home or weight_home(0, shape.weights, target)
        cost = cost + weight_load_cost(mapping, home, target)
    return PrunedSize(
        groups=shape.groups,
        rows=shape.rows,
        columns=shape.columns,
        macs=shape.macs,
        mapping=mapping,
        energy_pj=cost.energy_pj.value,
        latency_ns=cost.latency_ns,
    )
