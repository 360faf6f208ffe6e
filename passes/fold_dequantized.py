"""Replaces weights that alone are quantized by their floats, where activations are floats."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Array, Graph, Node
from compiler.ir.ops import STANDARD_PRODUCTS
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate
from passes.narrow_formats import dequantized
from passes.patterns.products import why_not_product

SMALL = 1 << 16  # elements


@dataclass(frozen=True)
class FoldDequantized(Pass):
    """Computes the floats of a DequantizeLinear of constants that products need, or that is small.

    They are needed where a matrix product or batch norm reads them. So weights can be fitted to an
    engine's format, and paddings, bounds and factors are numbers. Large tables that only the host
    reads keep their few bits.
    """

    name: ClassVar[str] = "fold_dequantized"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph whose products and batch norms have constant weights."""
        wanted = {
            name
            for node in graph
            if node.op == "BatchNormalization"
            or (node.op in STANDARD_PRODUCTS and not why_not_product(node, graph))
            for name in node.inputs[1:]
        }
        rewriter = Rewriter(graph, fate="folded")
        for node in graph:
            data = _folded(node, graph, wanted) if node.op == "DequantizeLinear" else None
            if data is None:
                rewriter.keep(node)
            else:
                rewriter.set_constant(node.outputs[0], data)
        return eliminate(rewriter.finish())


def _folded(node: Node, graph: Graph, wanted: Collection[str]) -> Array | None:
    """Computes the floats of a DequantizeLinear, or returns None where it shall run."""
    value = node.outputs[0]
    kind = graph.types[value]
    is_small = kind.is_static and kind.elements <= SMALL
    if value in graph.outputs or kind.dtype != "float32" or not (is_small or value in wanted):
        return None
    real = dequantized(node, graph)
    return None if real is None else real.astype(np.float32)
