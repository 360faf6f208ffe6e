"""Finds the matrices of a Conv, ConvTranspose, Gemm or MatMul with constant weights.

They are those of a `Product`; lowering and quantization share them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Array, Attribute, Graph, Node

# A ConvTranspose is none of them: its weights become those of a convolution first.
MATRIX_PRODUCTS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Matrices:
    """A product's weights [G,R,K], its geometry, and whether it has a bias.

    The geometry is the attributes of `Product`.
    """

    weights: Array
    attrs: dict[str, Attribute]
    has_bias: bool


def why_not_product(node: Node, graph: Graph) -> str:
    """Explains why a standard node is not taken as a matrix product, or returns "" when it is."""
    if not all(graph.types[name].is_static for name in (*node.inputs, *node.outputs) if name):
        return "a size is not known before it runs"
    data = graph.types[node.inputs[0]]
    if node.op == "MatMul" and (len(data.sizes) < 2 or len(graph.types[node.inputs[1]].sizes) != 2):
        return "its weights are no single matrix"
    if node.op == "Gemm" and node.integer("transA", 0):
        return "its activations are transposed"
    if data.elements == 0 or graph.types[node.outputs[0]].elements == 0:
        return "it has no elements"
    if node.input(2):
        columns = graph.types[node.outputs[0]].sizes[1]
        if not is_column_bias(graph.types[node.inputs[2]].sizes, columns):
            return "its bias differs from row to row"
    return ""


def is_column_bias(shape: tuple[int, ...], columns: int) -> bool:
    """Whether a bias of this shape has one value for all, or one for each column.

    Gemm also takes one for each row.
    """
    return prod(shape[:-1]) == 1 and (not shape or shape[-1] in (1, columns))


def weight_axis(node: Node, graph: Graph) -> int | None:
    """Finds the axis of a Conv's, Gemm's or MatMul's weights along which its columns lie.

    Columns are output channels. None where the weights are no matrix.
    """
    shape = graph.types[node.inputs[1]].shape
    if shape is None or (node.op != "Conv" and len(shape) != 2):
        return None
    return 0 if node.op == "Conv" or node.integer("transB", 0) else 1


def matrices(node: Node, graph: Graph, weights: Array) -> Matrices:
    """Makes the matrices of a Conv, Gemm or MatMul; `weights` may be floats or integers."""
    has_bias = bool(node.input(2))
    if node.op == "Conv":
        groups = node.integer("group", 1)
        outputs, channels, *kernel = weights.shape
        matrix = weights.reshape(groups, outputs // groups, channels * prod(kernel))
        return Matrices(
            np.ascontiguousarray(matrix.transpose(0, 2, 1)),
            convolution_window(node, graph.types[node.inputs[0]].sizes[2:], tuple(kernel)),
            has_bias,
        )
    matrix = weights.T if node.op == "Gemm" and node.integer("transB", 0) else weights
    return Matrices(np.ascontiguousarray(matrix)[None], {}, has_bias)


def convolution_window(
    node: Node, sizes: tuple[int, ...], kernel: tuple[int, ...]
) -> dict[str, Attribute]:
    """Finds the geometry of a Conv with explicit padding (auto_pad as ONNX defines it)."""
    rank = len(kernel)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    pads = node.ints("pads", (0,) * 2 * rank)
    mode = node.text("auto_pad", "NOTSET")
    if mode == "VALID":
        pads = (0,) * 2 * rank
    elif mode in ("SAME_UPPER", "SAME_LOWER"):
        before, after = [], []
        for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
            whole = max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            small, large = whole // 2, whole - whole // 2
            before.append(small if mode == "SAME_UPPER" else large)
            after.append(large if mode == "SAME_UPPER" else small)
        pads = (*before, *after)
    return {"kernel": kernel, "strides": strides, "pads": pads, "dilations": dilations}


def real_constant(name: str, graph: Graph) -> npt.NDArray[np.float64] | None:
    """Reads a constant as real numbers; None for what is computed.

    It may be dequantized with one scale or one for each of its values.
    """
    data = graph.constant(name)
    if data is not None:
        return np.asarray(data, np.float64)
    made = graph.producer.get(name)
    if made is None or made.op != "DequantizeLinear" or made.integer("block_size", 0):
        return None
    parts = [graph.constant(part) for part in made.inputs if part]
    if any(part is None for part in parts):
        return None
    integers, scale, *points = (np.asarray(part).astype(np.float64) for part in parts)
    if scale.size not in (1, integers.size):
        return None
    point = points[0] if points else np.zeros_like(scale)
    scale, point = (a.reshape(integers.shape if a.size > 1 else ()) for a in (scale, point))
    return np.asarray((integers - point) * scale, np.float64)
