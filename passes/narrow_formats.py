"""Brings integers of more than 8 bits to what the engines hold.

Activations get their format by calibration, weights by rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import DTYPE_BITS, Graph, Node
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate
from passes.patterns.products import MATRIX_PRODUCTS, weight_axis


@dataclass(frozen=True)
class NarrowFormats(Pass):
    """Replaces QuantizeLinear and DequantizeLinear of 16 bits by a Clip to their range.

    Weights that fit no int8 per column are rounded to it.

    Lossy. Of an activation half a step of 16 bits is lost here; the 8-bit format that calibration
    gives it is measured like that of any float. Of weights (9 bits after their zero point, 16 bits,
    blocks or rows with scales of their own) at most half a step of their column, 1/254 of its
    largest weight.
    """

    name: ClassVar[str] = "narrow_formats"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with nothing wider than 8 bits on its way to an engine."""
        rewriter = Rewriter(graph)
        for node in graph:
            if node.op == "DequantizeLinear" and _clip(rewriter, graph, node):
                continue
            rewriter.keep(_narrowed(rewriter, graph, node))
        return eliminate(rewriter.finish())


def _clip(rewriter: Rewriter, graph: Graph, node: Node) -> bool:
    """Replaces a 16-bit pair by the Clip that it also is."""
    quantize = graph.producer.get(node.inputs[0])
    if quantize is None or quantize.op != "QuantizeLinear":
        return False
    there, back = ([graph.constant(n) for n in made.inputs[1:] if n] for made in (quantize, node))
    if len(there) != len(back) or any(
        a is None or b is None or not np.array_equal(a, b) for a, b in zip(there, back, strict=True)
    ):
        return False
    dtype = graph.types[node.inputs[0]].dtype
    source, kind = quantize.inputs[0], graph.types[node.outputs[0]]
    parameters = [graph.constant(name) for name in node.inputs[1:] if name]
    wide = dtype.startswith(("int", "uint")) and DTYPE_BITS[dtype] > 8
    if not wide or kind.dtype != "float32" or graph.types[source].dtype != "float32":
        return False
    if any(data is None or data.size != 1 for data in parameters):
        return False
    bits, signed = DTYPE_BITS[dtype], dtype.startswith("int")
    low = -(1 << (bits - 1)) if signed else 0
    point = float(np.asarray(parameters[1]).reshape(-1)[0]) if len(parameters) > 1 else 0.0
    scale = float(np.asarray(parameters[0], np.float32).reshape(-1)[0])
    bounds = [
        rewriter.constant(f"{node.name}.{side}", np.array((bound - point) * scale, np.float32))
        for side, bound in (("low", low), ("high", low + (1 << bits) - 1))
    ]
    origin = tuple(dict.fromkeys((*quantize.origin, *node.origin)))
    rewriter.add(
        Node(node.name, "Clip", (source, *bounds), node.outputs, origin=origin, source=node.source)
    )
    return True


def wide_weights(node: Node, graph: Graph) -> bool:
    """Whether a product of 8-bit activations has constant integer weights that are no int8.

    Weights are int8 with one scale, or with one for each column.
    """
    if node.op not in MATRIX_PRODUCTS or len(node.inputs) < 2:
        return False
    data, made = (graph.producer.get(name) for name in node.inputs[:2])
    if data is None or made is None or not data.op == made.op == "DequantizeLinear":
        return False
    axis = weight_axis(node, graph)
    if axis is None or graph.types[data.inputs[0]].dtype not in ("int8", "uint8"):
        return False
    constant = all(not name or name in graph.constants for name in made.inputs)
    return constant and not fits_int8(made, graph, axis)


def _narrowed(rewriter: Rewriter, graph: Graph, node: Node) -> Node:
    """Brings a product to int8 weights with a scale for each column, where it is not so already."""
    if not wide_weights(node, graph):
        return node
    made = graph.producer[node.inputs[1]]
    axis, real = weight_axis(node, graph), dequantized(made, graph)
    assert axis is not None
    assert real is not None
    others = tuple(a for a in range(real.ndim) if a != axis)
    scale = np.maximum(np.abs(real).max(axis=others), 1e-30) / 127
    scale = scale.astype(np.float32).astype(np.float64)
    shape = [1] * real.ndim
    shape[axis] = -1
    integers = np.clip(np.rint(real / scale.reshape(shape)), -127, 127).astype(np.int8)
    name = rewriter.unique(f"{node.inputs[1]}.narrow")
    inputs = (
        rewriter.constant(f"{made.inputs[0]}.narrow", integers),
        rewriter.constant(f"{made.inputs[1]}.narrow", scale.astype(np.float32)),
        rewriter.constant(f"{made.inputs[0]}.zero", np.zeros(scale.shape, np.int8)),
    )
    label = rewriter.unique(f"{made.name}.narrow")
    dequantize = replace(made, name=label, inputs=inputs, outputs=(name,), attrs={"axis": axis})
    rewriter.add(dequantize, {name: graph.types[node.inputs[1]]})
    return replace(node, inputs=(node.inputs[0], name, *node.inputs[2:]))


def fits_int8(made: Node, graph: Graph, axis: int) -> bool:
    """Whether constant weights are int8 once their zero point is taken off.

    They have one scale, or one for each index along `axis`.
    """
    if made.integer("block_size", 0):
        return False
    weights, scale = graph.constants[made.inputs[0]], graph.constants[made.inputs[1]]
    rank = weights.ndim
    if scale.size > 1 and made.integer("axis", 1) % rank != axis:
        return False
    points: npt.NDArray[np.int64] = np.zeros((), np.int64)
    if made.input(2):
        points = np.asarray(graph.constants[made.inputs[2]]).astype(np.int64).reshape(-1)
        points = points.reshape(
            [-1 if a == axis else 1 for a in range(rank)] if points.size > 1 else ()
        )
    centered = np.asarray(weights).astype(np.int64) - points
    return bool(centered.min(initial=0) >= -128 and centered.max(initial=0) <= 127)


def dequantized(made: Node, graph: Graph) -> npt.NDArray[np.float64] | None:
    """Computes the real numbers of a DequantizeLinear of constants; None where it is computed.

    It has one scale, one along an axis, or one a block.
    """
    parts = [graph.constant(name) for name in made.inputs if name]
    if any(part is None for part in parts):
        return None
    integers, scale, *points = (np.asarray(part).astype(np.float64) for part in parts)
    point = points[0] if points else np.zeros_like(scale)
    if scale.size > 1:
        scale, point = (_spread(a, integers.shape, made) for a in (scale, point))
    else:
        scale, point = scale.reshape(()), point.reshape(())
    return np.asarray((integers - point) * scale, np.float64)


def _spread(
    values: npt.NDArray[np.float64], shape: tuple[int, ...], made: Node
) -> npt.NDArray[np.float64]:
    """Brings scales or zero points to the shape in which they meet the integers."""
    axis = made.integer("axis", 1) % len(shape)
    block = made.integer("block_size", 0)
    if block:
        repeated = np.repeat(values, block, axis=axis)
        return np.take(repeated, range(shape[axis]), axis=axis)
    return values.reshape([-1 if a == axis else 1 for a in range(len(shape))])
