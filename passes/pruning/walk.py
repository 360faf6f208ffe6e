"""Runs a graph node by node over many samples, for a pass that looks at each value.

The pass may change the nodes that come after it.
"""

from __future__ import annotations

from collections.abc import Mapping

from compiler.ir.graph import Array, Graph, Node
from passes.calibration.walk import run_nodes


class Walk:
    """The values of a graph on some samples, [samples, *shape], while its nodes are run one by one.

    A node that cannot run on the samples (made-up ones may be out of its range) leaves its outputs
    unknown, and so does every node that reads them. `forget` drops the values that nothing after a
    node reads.
    """

    def __init__(self, graph: Graph, samples: Mapping[str, Array]) -> None:
        self.values: dict[str, Array] = dict(samples)
        self._last: dict[str, str] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._last[name] = node.name

    def run(self, node: Node, graph: Graph) -> None:
        """Runs a node; its constants are taken from `graph`."""
        self.values.update(self.outputs(node, graph))

    def outputs(self, node: Node, graph: Graph) -> dict[str, Array]:
        """Computes a node of `graph` on the present values; returns nothing when it cannot run."""
        return run_nodes(graph, (node,), self.values) or {}

    def knows(self, *names: str) -> bool:
        """Whether all these values are known."""
        return all(name in self.values for name in names)

    def forget(self, node: Node) -> None:
        """Drops the values that nothing after `node` reads."""
        for name in (*node.inputs, *node.outputs):
            if self._last.get(name, node.name) == node.name:
                self.values.pop(name, None)
