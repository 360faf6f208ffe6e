"""Runs a graph node by node over many samples, so that a pass can look at each value, or change what comes after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler.interpreter import Interpreter
from compiler.ir import Array, Graph, Node


class Walk:
    """The values of a graph on some samples, [samples, *shape], while its nodes are run one by one.

    `forget` drops the values that nothing after a node reads.
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
        """What a node of `graph` makes of the present values."""
        read = {name: self.values[name] for name in node.inputs if name in self.values}
        wanted = [name for name in node.outputs if name]
        part = replace(graph, nodes=(node,))
        if read or not wanted:
            return Interpreter(part, read, wanted).run_all(read) if wanted else {}
        single = Interpreter(part, (), wanted).run({})
        count = len(next(iter(self.values.values())))
        return {
            name: np.broadcast_to(value, (count, *value.shape)) for name, value in single.items()
        }

    def forget(self, node: Node) -> None:
        """Drops the values that nothing after `node` reads."""
        for name in (*node.inputs, *node.outputs):
            if self._last.get(name, node.name) == node.name:
                self.values.pop(name, None)
