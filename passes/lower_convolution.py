"""Lowers every convolution and matrix multiplication with constant weights to `Product`.

It is the one form that meets the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Array, Attribute, Graph, Node, TensorType
from compiler.ir.ops import STANDARD_PRODUCTS
from compiler.ir.rewriter import Rewriter
from compiler.storage.spill import spill_to_file
from compiler.target.chip import Target
from passes.base import Pass
from passes.fold_batchnorm import affine_of
from passes.patterns.products import matrices, why_not_product


@dataclass(frozen=True)
class LowerConvolution(Pass):
    """Lowers Conv, ConvTranspose, Gemm and MatMul to `Product`.

    Its weights are [groups, rows, columns], rows the flattened patch.

    A BatchNormalization that no product could take over becomes a depthwise product of one weight a
    channel.

    A transposed convolution becomes a convolution of its input with zeros between the values
    (Dumoulin and Visin, arXiv 1603.07285, section 4); the products with those zeros are counted as
    MACs, as a dense array would execute them.

    With `in_float` only where an array computes in floats: the host runs products as the model has
    them.
    """

    in_float: bool = False

    name: ClassVar[str] = "lower_convolution"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with its products in one form."""
        arrays = [unit.array for unit in target.digital_engines.values() if unit.array]
        if self.in_float and not any(array.arithmetic == "float32" for array in arrays):
            return graph
        rewriter = Rewriter(graph)
        for node in graph:
            if node.op == "BatchNormalization" and _lower_scaling(rewriter, graph, node):
                continue
            if not _is_float_product(node, graph) or why_not_product(node, graph):
                rewriter.keep(node)
            elif node.op == "ConvTranspose":
                _lower_transposed(rewriter, graph, node)
            else:
                _lower(rewriter, graph, node)
        return rewriter.finish()


def _is_float_product(node: Node, graph: Graph) -> bool:
    if node.op not in STANDARD_PRODUCTS:
        return False
    weights = graph.constant(node.inputs[1])
    if weights is None or weights.dtype != np.float32:
        return False
    if len(node.inputs) < 3 or not node.inputs[2]:
        return True
    bias = graph.constant(node.inputs[2])
    if bias is None:
        return False
    columns = graph.types[node.outputs[0]].shape
    return columns is not None and bias.size in (1, columns[1])


def _lower(rewriter: Rewriter, graph: Graph, node: Node) -> None:
    form = matrices(node, graph, graph.constants[node.inputs[1]])
    weights = np.asarray(form.weights, np.float32)
    alpha, beta = (
        (node.number("alpha", 1.0), node.number("beta", 1.0)) if node.op == "Gemm" else (1.0, 1.0)
    )
    if alpha != 1.0:
        weights = (weights.astype(np.float64) * alpha).astype(np.float32)
    inputs = [node.inputs[0], rewriter.constant(f"{node.name}.weights", spill_to_file(weights))]
    if form.has_bias:
        inputs.append(_bias(rewriter, graph, node, beta))
    rewriter.add(
        Node(
            name=node.name,
            op="Product",
            inputs=tuple(inputs),
            outputs=node.outputs,
            attrs=form.attrs,
            origin=node.origin,
            source=node.source,
        )
    )


def _lower_scaling(rewriter: Rewriter, graph: Graph, node: Node) -> bool:
    """Lowers a scale and shift of each channel to a depthwise product.

    False for one that is computed, or has no axis behind the channels.
    """
    kind = graph.types[node.inputs[0]]
    if kind.dtype != "float32" or not kind.is_static or len(kind.sizes) < 3 or not kind.elements:
        return False
    channels, rank = kind.sizes[1], len(kind.sizes) - 2
    affine = affine_of(node, node, graph, channels)
    if affine is None:
        return False
    scale, shift = (values.astype(np.float32) for values in affine)
    weights = rewriter.constant(f"{node.name}.weights", scale.reshape(channels, 1, 1))
    inputs = (node.inputs[0], weights, rewriter.constant(f"{node.name}.bias", shift))
    ones = (1,) * rank
    attrs: dict[str, Attribute] = {
        "kernel": ones,
        "strides": ones,
        "pads": (0,) * 2 * rank,
        "dilations": ones,
    }
    rewriter.add(replace(node, op="Product", inputs=inputs, outputs=node.outputs[:1], attrs=attrs))
    return True


def _bias(rewriter: Rewriter, graph: Graph, node: Node, beta: float = 1.0) -> str:
    columns = graph.types[node.outputs[0]].sizes[1]
    data = np.asarray(graph.constants[node.inputs[2]], np.float64).reshape(-1) * beta
    full = np.broadcast_to(data, (columns,)).astype(np.float32)
    return rewriter.constant(f"{node.name}.bias", full)


def _lower_transposed(rewriter: Rewriter, graph: Graph, node: Node) -> None:
    """Lowers a transposed convolution to a convolution.

    y[o] = sum over i, k with o = i s + k d - p: a convolution of the stretched input with the
    mirrored kernel.
    """
    weights = graph.constants[node.inputs[1]]
    groups = node.integer("group", 1)
    channels, columns, *kernel = weights.shape
    rank = len(kernel)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    sizes = graph.types[node.inputs[0]].sizes
    outputs = graph.types[node.outputs[0]].sizes[2:]
    before = _begin_pads(node, sizes[2:], outputs, tuple(kernel), strides, dilations)
    spans = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
    stretched = [(size - 1) * s + 1 for size, s in zip(sizes[2:], strides, strict=True)]
    begin = [span - pad for span, pad in zip(spans, before, strict=True)]
    end = [
        out - 1 + span + 1 - size - first
        for out, span, size, first in zip(outputs, spans, stretched, begin, strict=True)
    ]
    if min(*begin, *end, 0) < 0:
        rewriter.keep(node)
        return
    data = _stretch(rewriter, node, sizes, strides)
    mirrored = np.flip(weights, axis=tuple(range(2, 2 + rank)))
    grouped = mirrored.reshape(groups, channels // groups, columns, prod(kernel))
    matrix = grouped.transpose(0, 1, 3, 2).reshape(groups, -1, columns)
    inputs = [data, rewriter.constant(f"{node.name}.weights", np.ascontiguousarray(matrix))]
    if node.input(2):
        inputs.append(_bias(rewriter, graph, node))
    attrs: dict[str, Attribute] = {
        "kernel": tuple(kernel),
        "strides": (1,) * rank,
        "pads": (*begin, *end),
        "dilations": dilations,
    }
    rewriter.add(
        Node(
            name=node.name, op="Product", inputs=tuple(inputs), outputs=node.outputs, attrs=attrs,
            origin=node.origin, source=node.source,
        )
    )  # fmt: skip


def _begin_pads(
    node: Node,
    sizes: tuple[int, ...],
    outputs: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
) -> tuple[int, ...]:
    """Finds the padding at the beginning of each axis.

    It follows from the output size where it is automatic (ONNX's formulas).
    """
    rank = len(kernel)
    mode = node.text("auto_pad", "NOTSET")
    extra = node.ints("output_padding", (0,) * rank)
    if mode == "NOTSET" and "output_shape" not in node.attrs:
        return node.ints("pads", (0,) * 2 * rank)[:rank]
    before = []
    for axis in range(rank):
        span = dilations[axis] * (kernel[axis] - 1) + 1
        whole = strides[axis] * (sizes[axis] - 1) + extra[axis] + span - outputs[axis]
        whole = max(0, whole)
        before.append(whole // 2 if mode == "SAME_UPPER" else whole - whole // 2)
    return tuple(before)


def _stretch(
    rewriter: Rewriter, node: Node, sizes: tuple[int, ...], strides: tuple[int, ...]
) -> str:
    """Puts stride - 1 zeros between the values of each spatial axis.

    It takes a reshape, a pad, a reshape and a slice.
    """
    value = node.inputs[0]
    if all(stride == 1 for stride in strides):
        return value
    dtype = rewriter.type_of(value).dtype
    rank = len(strides)

    def step(label: str, op: str, shape: tuple[int, ...], *extra: Array) -> None:
        nonlocal value
        inputs = tuple(
            rewriter.constant(f"{node.name}.{label}.{i}", a) for i, a in enumerate(extra)
        )
        out = rewriter.unique(f"{node.name}.{label}")
        added = Node(
            rewriter.unique(f"{node.name}.{label}.node"), op, (value, *inputs), (out,),
            origin=node.origin, source=node.source,
        )  # fmt: skip
        rewriter.add(added, {out: TensorType(dtype, shape)})
        value = out

    apart = sizes[:2] + tuple(n for size in sizes[2:] for n in (size, 1))
    wide = sizes[:2] + tuple(
        n for size, s in zip(sizes[2:], strides, strict=True) for n in (size, s)
    )
    flat = sizes[:2] + tuple(size * s for size, s in zip(sizes[2:], strides, strict=True))
    cut = sizes[:2] + tuple((size - 1) * s + 1 for size, s in zip(sizes[2:], strides, strict=True))
    pads = [0] * 2 * len(wide)
    for axis in range(rank):
        pads[len(wide) + 3 + 2 * axis] = strides[axis] - 1
    step("apart", "Reshape", apart, np.array(apart, np.int64))
    step("zeros", "Pad", wide, np.array(pads, np.int64))
    step("joined", "Reshape", flat, np.array(flat, np.int64))
    axes = np.arange(2, 2 + rank)
    step("cut", "Slice", cut, np.zeros(rank, np.int64), np.array(cut[2:], np.int64), axes)
    return value
