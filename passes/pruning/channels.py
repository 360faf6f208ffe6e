"""Groups the channels of a graph that can only be removed at once into classes.

Channels are born as the outputs of a matrix product with constant weights. From there each rule
traces them through one kind of operation; where two channels meet (a residual addition, a depthwise
convolution) their classes become one, and where they cannot be traced (a graph output, an operation
that mixes them) they join the class FIXED, which is never removed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import numpy as np

from compiler.ir.graph import Graph, Node
from compiler.ir.ops import UNARY, VIEWS, product_shape
from passes.patterns.products import MATRIX_PRODUCTS
from passes.pruning.rules import (
    fix_all,
    trace_aligned,
    trace_along_axis,
    trace_concat,
    trace_normalize,
    trace_pad,
    trace_pool,
    trace_reduce,
    trace_same,
    trace_scale,
    trace_transpose,
    trace_view,
)
from passes.pruning.structure import Channels, Classes, Layer, Structure, Tracer


def channel_structure(graph: Graph) -> Structure:
    """Traces every channel of a graph from its layer to its readers."""
    tracer = Tracer(graph)
    for node in graph.nodes:
        kinds = [graph.types[name] for name in (*node.inputs, *node.outputs) if name]
        known = all(kind.is_static for kind in kinds)
        _RULES.get(node.op, fix_all)(tracer, node) if known else fix_all(tracer, node)
    for name in graph.outputs:
        tracer.fix(name)
    return tracer.finish()


def _product(tracer: Tracer, node: Node) -> None:
    """Traces channels through a matrix product: old ones end in its rows, new ones begin."""
    graph = tracer.graph
    shape = product_shape(node, graph)
    own = len(graph.consumers[node.inputs[1]]) == 1 and node.inputs[1] in graph.constants
    if shape is None or not own or (node.op == "Gemm" and node.integer("transA", 0)):
        fix_all(tracer, node)
        return
    taps, rows_axis, columns_axis = _weight_axes(tracer, node)
    convolves = node.op == "Conv" or bool(node.ints("kernel", ()))
    axis = 1 if convolves else len(tracer.sizes(node.inputs[0])) - 1
    channels = shape.rows // taps
    data = tracer.values.get(node.inputs[0])
    if data is not None and (data.axis != axis or (shape.groups > 1 and channels > 1)):
        fix_all(tracer, node)
        data = None
    if shape.groups > 1:
        if channels == 1:
            _depthwise(tracer, node, data, shape.columns, taps, shape.positions)
        return
    rows = np.zeros(channels, np.int64) if data is None else data.classes
    columns = tracer.fresh(shape.columns)
    if data is not None:
        tracer.add_constant(
            node, 1, rows_axis, np.repeat(rows, taps) if node.op == "Product" else rows
        )
    tracer.add_constant(node, 1, columns_axis, columns)
    _add_bias(tracer, node, columns)
    tracer.layers.append(
        Layer(node=node.name, rows=rows, columns=columns, taps=taps, positions=shape.positions)
    )
    tracer.values[node.outputs[0]] = Channels(axis, columns)


def _depthwise(
    tracer: Tracer, node: Node, data: Channels | None, multiple: int, taps: int, positions: int
) -> None:
    """Traces channels through a depthwise product, where output channels go with their input.

    Each input channel makes `multiple` output channels.
    """
    if data is None:
        return
    columns = np.repeat(data.classes, multiple)
    tracer.add_constant(node, 1, 0, data.classes if node.op == "Product" else columns)
    _add_bias(tracer, node, columns)
    tracer.layers.append(
        Layer(node=node.name, rows=None, columns=columns, taps=taps, positions=positions)
    )
    tracer.values[node.outputs[0]] = Channels(1, columns)


def _add_bias(tracer: Tracer, node: Node, columns: Classes) -> None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return
    sizes = tracer.sizes(node.inputs[2])
    if node.inputs[2] not in tracer.graph.constants:
        tracer.join(columns, np.zeros_like(columns))
        tracer.fix(node.inputs[2])
    elif sizes and sizes[-1] == len(columns) and len(columns) > 1:
        tracer.add_constant(node, 2, len(sizes) - 1, columns)


def _weight_axes(tracer: Tracer, node: Node) -> tuple[int, int, int]:
    """Finds the rows to an input channel, and the axes of channels in the weights.

    The axes are that of the input channels and that of the output channels.
    """
    if node.op == "Product":
        return prod(node.ints("kernel", ())), 1, 2
    if node.op == "Conv":
        return prod(tracer.sizes(node.inputs[1])[2:]), 1, 0
    if node.op == "Gemm" and node.integer("transB", 0):
        return 1, 1, 0
    return 1, 0, 1


Rule: TypeAlias = Callable[[Tracer, Node], None]

_ALIGNED = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "IntegerAdd", "IntegerMul")
_POOLS = (
    "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool",
    "IntegerAveragePool",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
)  # fmt: skip
_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (*UNARY, "Identity", "Cast", "Dropout", "Requantize", "IntegerTable"), trace_same
    ),
    **dict.fromkeys(_ALIGNED, trace_aligned),
    **dict.fromkeys(_POOLS, trace_pool),
    **dict.fromkeys(_REDUCTIONS, trace_reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax"), trace_along_axis),
    **dict.fromkeys([name for name in VIEWS if name != "Identity"], trace_view),
    **dict.fromkeys((*MATRIX_PRODUCTS, "Product"), _product),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), trace_scale),
    "Transpose": trace_transpose,
    "Concat": trace_concat,
    "Pad": trace_pad,
    "BatchNormalization": trace_normalize,
}
