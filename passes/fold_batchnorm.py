"""Folds a scale and shift per channel into the matrix product before it.

They are a BatchNormalization, or a Mul and Add by constants.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Graph, Node
from compiler.ir.ops import STANDARD_PRODUCTS
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.patterns.products import is_column_bias, real_constant

Doubles: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FoldBatchnorm(Pass):
    """Computes W' = s W and b' = s b + t for y = s (W x + b) + t, in float64 and rounded once.

    BatchNormalization: s = scale / sqrt(variance + epsilon), t = shift - s mean (ONNX, inference
    mode).
    """

    name: ClassVar[str] = "fold_batchnorm"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Folds the affine followers, one after the other until none is left."""
        while True:
            after = _fold_once(graph)
            if after is graph:
                return graph
            graph = after


def _fold_once(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    replaced: dict[str, Node | None] = {}
    for node in graph:
        follower = _follower(node, graph)
        if follower is None or node.name in replaced or follower.name in replaced:
            continue
        merged = _merged(rewriter, graph, node, follower)
        if merged is not None:
            replaced[node.name] = merged
            replaced[follower.name] = None
    for node in graph:
        current = replaced.get(node.name, node)
        if current is not None:
            rewriter.keep(current)
    return rewriter.finish()


def _follower(node: Node, graph: Graph) -> Node | None:
    """Finds the affine node that alone reads a product of constant weights."""
    if node.op not in STANDARD_PRODUCTS or node.inputs[1] not in graph.constants:
        return None
    if node.input(2) and node.input(2) not in graph.constants:
        return None
    reader = graph.only_consumer(node.outputs[0])
    if reader is None or reader.op not in ("BatchNormalization", "Mul", "Add", "Sub", "Div"):
        return None
    return reader


def _merged(rewriter: Rewriter, graph: Graph, node: Node, follower: Node) -> Node | None:
    weights = graph.constants[node.inputs[1]]
    if weights.dtype not in (np.float32, np.float64, np.float16):
        return None
    if node.op == "MatMul" and weights.ndim != 2:
        return None
    if not all(graph.types[name].is_static for name in (node.inputs[0], node.outputs[0])):
        return None
    channels = _channels(node, graph)
    affine = affine_of(node, follower, graph, channels)
    if affine is None:
        return None
    scale, shift = affine
    bias = np.zeros(channels)
    if node.input(2):
        data = np.asarray(graph.constants[node.inputs[2]], np.float64)
        if not is_column_bias(data.shape, channels):
            return None
        bias = np.broadcast_to(data.reshape(-1), (channels,)) * node.number("beta", 1.0)
    scaled = _scaled_weights(node, np.asarray(weights, np.float64), scale)
    new_bias = scale * bias + shift
    if not (_fits(scaled, weights.dtype) and _fits(new_bias, weights.dtype)):
        return None
    if node.op == "MatMul" and np.any(shift):
        return _matmul_bias(rewriter, graph, node, follower, scaled, shift)
    inputs = [node.inputs[0], _like(rewriter, node.inputs[1], scaled, weights.dtype)]
    has_bias = len(node.inputs) > 2 or bool(np.any(new_bias))
    if node.op != "MatMul" and has_bias:
        inputs.append(_like(rewriter, f"{node.name}.bias", new_bias, weights.dtype))
    attrs = {key: value for key, value in node.attrs.items() if key != "beta"}
    return replace(
        node,
        inputs=tuple(inputs),
        outputs=follower.outputs[:1],
        attrs=attrs,
        origin=node.origin + follower.origin,
    )


def _matmul_bias(
    rewriter: Rewriter, graph: Graph, node: Node, follower: Node, scaled: Doubles, shift: Doubles
) -> Node | None:
    """Makes a Gemm of a MatMul on a matrix with a bias.

    On more axes the Add stays (lowering takes it).
    """
    if len(graph.types[node.inputs[0]].sizes) != 2:
        return None
    dtype = graph.constants[node.inputs[1]].dtype
    inputs = (
        node.inputs[0],
        _like(rewriter, node.inputs[1], scaled, dtype),
        _like(rewriter, f"{node.name}.bias", shift, dtype),
    )
    origin = node.origin + follower.origin
    return replace(node, op="Gemm", inputs=inputs, outputs=follower.outputs[:1], origin=origin)


def _fits(data: Doubles, dtype: np.dtype[np.generic]) -> bool:
    """Whether numbers are finite and stay so in a float type."""
    return bool(np.abs(data).max(initial=0.0) <= np.finfo(dtype.name).max)


def _like(rewriter: Rewriter, hint: str, data: Doubles, dtype: np.dtype[np.generic]) -> str:
    return rewriter.constant(hint, data.astype(dtype))


def _channels(node: Node, graph: Graph) -> int:
    axis = 1 if node.op in ("Conv", "ConvTranspose") else -1
    return graph.types[node.outputs[0]].sizes[axis]


def _scaled_weights(node: Node, weights: Doubles, scale: Doubles) -> Doubles:
    if node.op == "Conv":
        return weights * scale.reshape(-1, *([1] * (weights.ndim - 1)))
    if node.op == "ConvTranspose":
        groups = node.integer("group", 1)
        inputs, outputs = weights.shape[:2]
        spread = np.repeat(scale.reshape(groups, 1, outputs), inputs // groups, axis=1)
        return weights * spread.reshape(inputs, outputs, *([1] * (weights.ndim - 2)))
    if node.op == "Gemm" and node.integer("transB", 0):
        return weights * scale[:, None]
    return weights * scale


def affine_of(
    node: Node, follower: Node, graph: Graph, channels: int
) -> tuple[Doubles, Doubles] | None:
    """Finds (scale [K], shift [K]) of what follows a product of K `channels`.

    None when it is not affine per channel.
    """
    if follower.op == "BatchNormalization":
        return _batchnorm(follower, graph, channels)
    constants = [name for name in follower.inputs if real_constant(name, graph) is not None]
    if len(constants) != 1 or constants[0] in graph.outputs:
        return None
    if follower.op in ("Sub", "Div") and follower.inputs[0] in constants:
        return None
    values = _per_channel(node, graph, constants[0], channels)
    if values is None:
        return None
    zeros, ones = np.zeros(channels), np.ones(channels)
    if follower.op == "Div" and not np.all(values):
        return None
    if follower.op == "Mul":
        return values, zeros
    if follower.op == "Div":
        return ones / values, zeros
    return ones, values if follower.op == "Add" else -values


def _batchnorm(follower: Node, graph: Graph, channels: int) -> tuple[Doubles, Doubles] | None:
    if follower.integer("training_mode", 0) or any(name for name in follower.outputs[1:]):
        return None
    parameters = [real_constant(name, graph) for name in follower.inputs[1:5]]
    gamma, beta, mean, variance = parameters
    if gamma is None or beta is None or mean is None or variance is None:
        return None
    if gamma.size != channels:
        return None
    spread = variance + follower.number("epsilon", 1e-5)
    if not np.all(spread > 0):
        return None
    scale = gamma / np.sqrt(spread)
    return scale, beta - scale * mean


def _per_channel(node: Node, graph: Graph, constant: str, channels: int) -> Doubles | None:
    """Brings a constant to one value per output channel of a product.

    None when it varies in another way.
    """
    data = real_constant(constant, graph)
    out = graph.types[node.outputs[0]].sizes
    if data is None or data.ndim > len(out):
        return None
    axis = len(out) - (len(out) - 1 if node.op in ("Conv", "ConvTranspose") else 1)
    shape = (1,) * (len(out) - data.ndim) + data.shape
    if any(size != 1 for position, size in enumerate(shape) if position != axis):
        return None
    if shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(data.reshape(-1), (channels,)).copy()
