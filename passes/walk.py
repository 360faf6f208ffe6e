"""Walks samples through a graph node by node, holding only the values that are still to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from compiler.interpreter import Interpreter
from compiler.ir import Array, Graph, Node


class Walk:
    """Samples on their way through a graph: `values` are those alive, [samples, *shape] by name.

    A node that cannot run on these samples (made-up inputs may be out of its range) leaves its outputs unknown, and so does
    every node that reads them: `name in walk.values` tells.
    """

    def __init__(self, graph: Graph, samples: Mapping[str, Array]) -> None:
        self.graph = graph
        self.values: dict[str, Array] = dict(samples)
        self._last = _last_reads(graph)

    def step(self, position: int) -> None:
        """Runs the node at a position; every node before it must have been run."""
        node = self.graph.nodes[position]
        self.values.update(run_nodes(self.graph, (node,), self.values) or {})

    def drop(self, position: int) -> None:
        """Forgets the values that no node after a position reads."""
        for name in [name for name, last in self._last.items() if last == position]:
            self.values.pop(name, None)

    def alive_after(self, position: int) -> list[str]:
        """The known values that nodes after a position (or the outputs) read, among those made so far."""
        return sorted(name for name in self.values if self._last.get(name, -1) > position)


def _last_reads(graph: Graph) -> dict[str, int]:
    last: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        for name in (*node.inputs, *node.outputs):
            last[name] = position
    for name in graph.outputs:
        last[name] = len(graph.nodes)
    return last


def run_nodes(
    graph: Graph, nodes: Sequence[Node], values: Mapping[str, Array], *, strict: bool = False
) -> dict[str, Array] | None:
    """What a few nodes make of samples, or None when an input is unknown, or (unless `strict`) when they cannot run on them."""
    made = [name for node in nodes for name in node.outputs if name]
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    inputs = [n for n in read if n not in made and n not in graph.constants]
    if any(name not in values for name in inputs) or not values:
        return None
    count = len(next(iter(values.values())))
    part = Graph(
        "part",
        tuple(inputs),
        tuple(made),
        tuple(nodes),
        graph.types,
        graph.constants,
        graph.domains,
    )
    try:
        runner = Interpreter(part)
        if not inputs:
            single = runner.run({})
            return {name: np.stack([np.asarray(single[name])] * count) for name in made}
        return runner.run_all({name: values[name] for name in inputs})
    except Exception:
        return None
