"""Rewrites a mean over whole feature maps as a global average pool, which engines have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass


@dataclass(frozen=True)
class PoolMeans(Pass):
    """Replaces ReduceMean over all axes behind the channels of [N,C,...] by GlobalAveragePool.

    A Reshape follows where those axes go.
    """

    name: ClassVar[str] = "pool_means"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with its means as pools."""
        rewriter = Rewriter(graph)
        for node in graph:
            if _is_global(node, graph):
                _pool(rewriter, graph, node)
            else:
                rewriter.keep(node)
        return rewriter.finish()


def _is_global(node: Node, graph: Graph) -> bool:
    if node.op != "ReduceMean" or len(node.inputs) < 2 or not node.inputs[1]:
        return False
    kind, axes = graph.types[node.inputs[0]], graph.constant(node.inputs[1])
    if axes is None or kind.dtype != "float32" or not kind.is_static or not kind.elements:
        return False
    rank = len(kind.sizes)
    wanted = sorted(int(axis) % rank for axis in np.asarray(axes).reshape(-1)) if rank else []
    return rank > 2 and wanted == list(range(2, rank))


def _pool(rewriter: Rewriter, graph: Graph, node: Node) -> None:
    sizes = graph.types[node.inputs[0]].sizes
    flat = not node.integer("keepdims", 1)
    value = rewriter.unique(f"{node.outputs[0]}.pooled") if flat else node.outputs[0]
    pool = Node(
        node.name,
        "GlobalAveragePool",
        node.inputs[:1],
        (value,),
        origin=node.origin,
        source=node.source,
    )
    rewriter.add(pool, {value: TensorType("float32", (*sizes[:2], *(1 for _ in sizes[2:])))})
    if flat:
        shape = rewriter.constant(f"{node.name}.shape", np.array(sizes[:2], np.int64))
        flattened = Node(
            rewriter.unique(f"{node.name}.flat"),
            "Reshape",
            (value, shape),
            node.outputs,
            origin=node.origin,
            source=node.source,
        )
        rewriter.add(flattened)
