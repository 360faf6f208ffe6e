"""Turns layers that are quantized while they run back into floats.

Calibration can then fix the ranges of their inputs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Graph, Node
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate

Doubles = npt.NDArray[np.float64]
FLOAT_FORM = {"MatMulInteger": "MatMul", "ConvInteger": "Conv"}


@dataclass(frozen=True)
class UndoDynamicQuantization(Pass):
    """Replaces dynamically quantized products by products on floats.

    DynamicQuantizeLinear, MatMulInteger or ConvInteger, Cast and Mul become one MatMul or Conv.

    Lossy: the inputs are no longer rounded to 8 bits here; the engine's format, which calibration
    fits, rounds them instead. A layer whose weights are computed stays as it is.
    """

    name: ClassVar[str] = "undo_dynamic_quantization"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with its dynamically quantized layers in floats."""
        found = {}
        for node in graph:
            if node.op in FLOAT_FORM:
                layer = _float_layer(node, graph)
                if layer is not None:
                    found[layer[0].name] = layer
        if not found:
            return graph
        rewriter = Rewriter(graph)
        for node in graph:
            if node.name not in found:
                rewriter.keep(node)
                continue
            _, layer_node, weights = found[node.name]
            name = rewriter.constant(f"{layer_node.name}.weights", weights)
            rewriter.add(replace(layer_node, inputs=(layer_node.inputs[0], name)))
        return eliminate(rewriter.finish())


def _float_layer(node: Node, graph: Graph) -> tuple[Node, Node, npt.NDArray[np.float32]] | None:
    """Finds the float product that an integer product's cluster stands for.

    Returns where the cluster ends, the float product, and its weights; None for another pattern.

    y = (sum of (q - z) (w - w_z)) * s * factors, where q, s, z are the input's and every other
    factor is constant.
    """
    quantize = graph.producer.get(node.inputs[0])
    weights = graph.constant(node.inputs[1])
    if quantize is None or quantize.op != "DynamicQuantizeLinear" or weights is None:
        return None
    _, scale, point = quantize.outputs
    if len(node.inputs) < 3 or node.inputs[2] != point:
        return None
    cast = graph.only_consumer(node.outputs[0])
    if cast is None or cast.op != "Cast" or graph.types[cast.outputs[0]].dtype != "float32":
        return None
    origin = (*node.origin, *quantize.origin, *cast.origin)
    factor: Doubles = np.ones(())
    last, scaled = cast, False
    while (reader := graph.only_consumer(last.outputs[0])) is not None and reader.op == "Mul":
        other = next((name for name in reader.inputs if name != last.outputs[0]), "")
        share = _factor(other, scale, graph)
        if share is None or (share[1] and scaled):
            break
        factor, scaled = factor * share[0], scaled or share[1]
        last, origin = reader, (*origin, *reader.origin)
    if not scaled:
        return None
    real = _real_weights(node, np.asarray(weights), factor, graph)
    if real is None:
        return None
    product = Node(
        name=node.name,
        op=FLOAT_FORM[node.op],
        inputs=(quantize.inputs[0], ""),
        outputs=last.outputs,
        attrs=node.attrs,
        origin=tuple(dict.fromkeys(origin)),
        source=node.source or last.source,
    )
    return last, product, real


def _factor(value: str, scale: str, graph: Graph) -> tuple[Doubles, bool] | None:
    """Finds a value's factor without the input's scale, and whether that scale is in it.

    None when something else is.
    """
    if value == scale:
        return np.ones(()), True
    data = graph.constant(value)
    if data is not None:
        return np.asarray(data, np.float64), False
    made = graph.producer.get(value)
    if made is None or made.op != "Mul" or scale not in made.inputs:
        return None
    other = next((name for name in made.inputs if name != scale), "")
    data = graph.constant(other)
    return None if data is None else (np.asarray(data, np.float64), True)


def _real_weights(
    node: Node, weights: npt.NDArray[np.generic], factor: Doubles, graph: Graph
) -> npt.NDArray[np.float32] | None:
    """Computes the real weights (w - w_z) * factor.

    None when the factor is not one for each column (output channel).
    """
    points: Doubles = np.zeros(())
    if node.input(3):
        data = graph.constant(node.inputs[3])
        if data is None:
            return None
        points = np.asarray(data, np.float64)
    is_matrix = node.op == "MatMulInteger"
    columns = weights.shape[-1 if is_matrix else 0]
    if not is_matrix and factor.ndim > 1:  # [1, columns, 1, ...], as it meets the output
        if factor.ndim > weights.ndim or factor.size not in (1, columns):
            return None
        if factor.size > 1 and factor.shape[factor.ndim - weights.ndim + 1] != columns:
            return None
    elif factor.size > 1 and (not is_matrix or factor.shape[-1] != factor.size):
        return None
    if factor.size not in (1, columns) or points.size not in (1, columns):
        return None
    shape = (-1,) if is_matrix else (-1, *([1] * (weights.ndim - 1)))
    if points.size == 1 and factor.size == 1:
        shape = ()
    spread = [
        np.broadcast_to(a.reshape(-1), (columns,)).reshape(shape) if shape else a.reshape(())
        for a in (points, factor)
    ]
    return np.asarray((weights.astype(np.float64) - spread[0]) * spread[1], np.float32)
