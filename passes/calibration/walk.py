"""Walks samples through a graph node by node, holding only the values that are still to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler.execute.interpreter import Interpreter, RunError, stacked
from compiler.ir.graph import Array, Graph, Node
from compiler.storage.mapped import release_pages

AHEAD_NODES = 256
AHEAD_BYTES = 64 << 20  # of the values of the nodes that are run together


class Walk:
    """Samples on their way through a graph: `values` are those alive, [samples, *shape] by name.

    A node that cannot run on these samples (made-up inputs may be out of its range) leaves its
    outputs unknown, and so does every node that reads them. With `ahead` nodes that are asked for
    one by one are run some at a time, before they are asked for: not for a graph that changes.
    """

    def __init__(self, graph: Graph, samples: Mapping[str, Array], *, ahead: bool = False) -> None:
        self.graph = graph
        self.values: dict[str, Array] = dict(samples)
        self._last = last_reads(graph)
        self._ends: dict[int, list[str]] = {}
        for name, last in self._last.items():
            self._ends.setdefault(last, []).append(name)
        self._samples = len(next(iter(samples.values()), ()))
        self._position = -1  # of the last node that was run
        self._looks_ahead = ahead
        self._ahead: dict[str, Array] = {}  # made by nodes that are still to be asked for
        self._ahead_until = 0  # nodes before this position have been run, alone or together

    def advance(self, position: int) -> None:
        """Runs the nodes up to a position, those that are left to run as one model.

        Of the values it keeps what the node there reads or makes and what later ones read. Weights
        of nodes before it that lie in files take no memory from then on.
        """
        first = self._position + 1
        if position < first:
            return
        self.values.update(self._made(first, position))
        self._drop(position)
        self._position = position

    def skip(self, values: Mapping[str, Array]) -> None:
        """Takes what the next node makes as given."""
        position = self._position + 1
        self.values.update(values)
        self._drop(position)
        self._position = position

    def change(self, graph: Graph) -> None:
        """Goes on in a graph whose nodes still to be run have other constants or formats.

        Each node reads and makes the values that it did.
        """
        assert not self._looks_ahead
        self.graph = graph

    def alive_after(self, position: int) -> list[str]:
        """The known values that nodes after a position (or the outputs) read."""
        return sorted(name for name in self.values if self._last.get(name, -1) > position)

    def _made(self, first: int, position: int) -> dict[str, Array]:
        """The values that nodes from one position to another make and that are kept behind them."""
        nodes = self.graph.nodes[first : position + 1]
        if self._looks_ahead and len(nodes) == 1:
            return self._made_ahead(position)
        made = (name for node in nodes for name in node.outputs if name)
        kept = [name for name in made if self._last[name] >= position]
        if not kept:
            return {}
        together = run_nodes(self.graph, nodes, self.values, kept)
        if together is not None:
            return together
        known = dict(self.values)  # one of them cannot run on these samples: the others may
        for node in nodes:
            known.update(run_nodes(self.graph, (node,), known) or {})
        return {name: known[name] for name in kept if name in known}

    def _made_ahead(self, position: int) -> dict[str, Array]:
        node = self.graph.nodes[position]
        if position >= self._ahead_until:
            self._run_ahead(position)
        if all(name in self._ahead for name in node.outputs if name):
            return {name: self._ahead.pop(name) for name in node.outputs if name}
        return run_nodes(self.graph, (node,), self.values) or {}

    def _run_ahead(self, position: int) -> None:
        """Runs a few nodes as one model (a model of its own for each node takes most of the time).

        One that fails leaves all to run alone.
        """
        nodes, room = [], AHEAD_BYTES
        for node in self.graph.nodes[position : position + AHEAD_NODES]:
            kinds = [self.graph.types[name] for name in node.outputs if name]
            if not all(kind.is_static for kind in kinds):
                break
            room -= self._samples * sum(kind.size_bytes for kind in kinds)
            if room < 0:
                break
            nodes.append(node)
        self._ahead_until = position + max(1, len(nodes))
        if len(nodes) > 1:
            self._ahead = run_nodes(self.graph, nodes, self.values) or {}

    def _drop(self, position: int) -> None:
        """Forgets the values that no node at a position or after it reads or makes."""
        for ended in range(self._position, position):
            for name in self._ends.get(ended, ()):
                self.values.pop(name, None)
                if name in self.graph.constants:
                    release_pages(self.graph.constants[name])


def last_reads(graph: Graph) -> dict[str, int]:
    """For each value the position of the last node that reads it (or makes it).

    An output is read behind all nodes.
    """
    last: dict[str, int] = {}
    for position, node in enumerate(graph.nodes):
        for name in filter(None, (*node.inputs, *node.outputs)):
            last[name] = position
    for name in graph.outputs:
        last[name] = len(graph.nodes)
    return last


def run_nodes(
    graph: Graph,
    nodes: Sequence[Node],
    values: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> dict[str, Array] | None:
    """Runs a few nodes on samples and gives `outputs` of what they make (None: all of it).

    None when an input is unknown or they cannot run on these samples.
    """
    made = dict.fromkeys(name for node in nodes for name in node.outputs if name)
    read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
    inputs = [n for n in read if n not in made and n not in graph.constants]
    wanted = tuple(made) if outputs is None else tuple(outputs)
    if any(name not in values for name in inputs) or not values:
        return None
    count = len(next(iter(values.values())))
    part = Graph(
        name="part",
        inputs=tuple(inputs),
        outputs=wanted,
        nodes=tuple(nodes),
        types=graph.types,
        constants=graph.constants,
        domains=graph.domains,
    )
    try:
        runner = Interpreter(part)
        if not inputs:
            single = runner.run({})
            return {name: stacked([single[name]] * count) for name in wanted}
        return runner.run_all({name: values[name] for name in inputs})
    except RunError:
        return None
