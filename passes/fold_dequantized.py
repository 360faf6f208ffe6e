"""Gives weights that alone are quantized back their floats, where the activations they meet are floats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from compiler.ir import Graph, Node, Rewriter
from compiler.target import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate
from passes.narrow_formats import dequantized
from passes.products import why_not_product

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SMALL = 1 << 16  # elements


@dataclass(frozen=True)
class FoldDequantized(Pass):
    """A DequantizeLinear of constants is worked out where a matrix product or batch norm reads it, or where it is small.

    So they can be fitted to an engine's format, and paddings, bounds and factors are numbers. Large tables that only the host reads keep their
    few bits.
    """

    name: ClassVar[str] = "fold_dequantized"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph whose products and batch norms have constant weights."""
        wanted = {
            name
            for node in graph
            if node.op == "BatchNormalization"
            or (node.op in PRODUCTS and not why_not_product(node, graph))
            for name in node.inputs[1:]
        }
        rewriter = Rewriter(graph, fate="folded")
        for node in graph:
            is_wanted = bool(wanted.intersection(node.outputs)) or _is_small(node, graph)
            data = _folded(node, graph) if is_wanted else None
            if data is None:
                rewriter.keep(node)
            else:
                rewriter.set_constant(node.outputs[0], data)
        return eliminate(rewriter.finish())


def _is_small(node: Node, graph: Graph) -> bool:
    kind = graph.types[node.outputs[0]]
    return kind.is_static and kind.elements <= SMALL


def _folded(node: Node, graph: Graph) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    value = node.outputs[0]
    if node.op != "DequantizeLinear" or value in graph.outputs:
        return None
    dtype = graph.types[value].dtype
    real = dequantized(node, graph) if dtype == "float32" else None
    return None if real is None else real.astype(np.float32)
