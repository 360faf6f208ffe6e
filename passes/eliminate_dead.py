"""Removes nodes whose results nobody reads, and copies that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from compiler.ir.graph import Graph, Node
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass


@dataclass(frozen=True)
class EliminateDead(Pass):
    """Drops unread nodes, Identity, inference-time Dropout, and Casts to a value's own type."""

    name: ClassVar[str] = "eliminate_dead"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph without what changes nothing."""
        return eliminate(graph)


def eliminate(graph: Graph) -> Graph:
    """Removes unread nodes and copies."""
    alive = _alive(graph)
    rewriter = Rewriter(graph, fate="removed")
    for position, node in enumerate(graph):
        if position not in alive:
            continue
        if _is_copy(node, graph):
            rewriter.forward(node.outputs[0], node.inputs[0])
        else:
            rewriter.keep(node)
    return rewriter.finish()


def _alive(graph: Graph) -> set[int]:
    """Finds the positions of nodes that something read depends on.

    A pass may leave two nodes of one name, the old one unread.
    """
    read = set(graph.outputs)
    alive = set()
    for position in range(len(graph.nodes) - 1, -1, -1):
        node = graph.nodes[position]
        if read.intersection(node.outputs):
            alive.add(position)
            read.update(name for name in node.inputs if name)
    return alive


def _is_copy(node: Node, graph: Graph) -> bool:
    """Whether a node hands its first input on unchanged and can go.

    A graph output copied from an input, a constant or another output has to stay.
    """
    source = node.inputs[0] if node.inputs else ""
    if node.outputs[0] in graph.outputs and (
        source not in graph.producer or source in graph.outputs
    ):
        return False
    if node.op == "Identity":
        return True
    if node.op == "Dropout":
        unread = len(node.outputs) < 2 or not graph.consumers.get(node.outputs[1])
        inference = len(node.inputs) < 3 or not node.inputs[2]
        return unread and inference and "".join(node.outputs[1:]) not in graph.outputs
    if node.op == "Cast":
        return graph.types[source].dtype == graph.types[node.outputs[0]].dtype
    return False
