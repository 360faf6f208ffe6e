"""Finds which kind of layer a node is to a host whose cycles are given by kind."""

from __future__ import annotations

from math import prod
from typing import Literal

from compiler.ir.graph import Graph, Node
from compiler.ir.ops import PRODUCTS, STANDARD_PRODUCTS
from compiler.target.layers import NARROW_CHANNELS

LayerKind = Literal["convolution", "narrow", "depthwise", "dense", "pool"]

POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "IntegerAveragePool")


def layer_kind(node: Node, graph: Graph) -> LayerKind | None:
    """Finds the kind of a node, None where it is no layer with cycles of its own.

    A convolution is depthwise where each of its groups reads one channel, and narrow where it reads
    fewer than NARROW_CHANNELS otherwise; a product without a kernel is dense.
    """
    if node.op in POOLS:
        return "pool"
    channels = _group_channels(node, graph)
    if channels is None:
        return "dense" if node.op in (*PRODUCTS, *STANDARD_PRODUCTS) else None
    groups, channels_of_group = channels
    if groups > 1 and channels_of_group == 1:
        return "depthwise"
    return "narrow" if channels_of_group < NARROW_CHANNELS else "convolution"


def _group_channels(node: Node, graph: Graph) -> tuple[int, int] | None:
    """Finds the groups of a convolution and the input channels of each; None for another node."""
    if node.op not in ("Product", "Conv", "ConvTranspose"):
        return None
    weights = graph.types[node.inputs[1]]
    if not weights.is_static:
        return 1, NARROW_CHANNELS
    if node.op == "Product":
        kernel = node.ints("kernel", ())
        groups, rows, _ = weights.sizes
        return (groups, rows // prod(kernel)) if kernel else None
    groups = node.integer("group", 1)
    return groups, weights.sizes[1] if node.op == "Conv" else weights.sizes[0] // groups
