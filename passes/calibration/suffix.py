"""Runs the rest of a network from changed values to its outputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from compiler.cost.divergence import Values
from compiler.execute.external_constants import is_large
from compiler.execute.interpreter import Interpreter, RunError
from compiler.execute.reference_evaluator import why_not_exchanged
from compiler.ir.graph import DTYPE_BITS, Array, Graph
from passes.calibration.walk import last_reads


class SuffixRunner:
    """The rest of a network behind any of its nodes, ready to run on samples.

    From each node to the outputs it is a model of its own, whose making takes time in proportion to
    its nodes. Where `starts` names the positions that will be asked for, the network is cut behind
    these, and each piece between two cuts is made once.
    """

    def __init__(self, graph: Graph, starts: Iterable[int] = ()) -> None:
        self.graph = graph
        self._last_reads = last_reads(graph)
        self._end = len(graph.nodes) - 1
        self._cuts = self._possible(set(starts))
        self._pieces: dict[int, Interpreter | None] = {}

    def outputs(self, position: int, values: Mapping[str, Array]) -> dict[str, Values]:
        """Runs all values alive behind the node at a position (-1: the inputs) to the outputs.

        Gives [samples, *shape] by name, or a list of samples, which may differ in size. Raises
        RunError where they cannot be run to the outputs: a node fails on them, or a value that is
        read is not among them.
        """
        count = len(next(iter(values.values())))
        known: dict[str, Any] = dict(values)
        ends = [cut for cut in self._cuts if cut > position]
        for start, end in pairwise([position, *ends, self._end]):
            piece = self._piece(start, end)
            if piece is None:
                continue
            _require_known(piece.inputs, known)
            # A piece of many is given what it reads and no more: of what is alive there may be
            # thousands.
            given = piece.inputs or tuple(known)[:1]  # which say how many samples there are
            read = {name: known[name] for name in given}
            # The last piece makes outputs, which may be of any type.
            known.update(piece.run_all(read) if end < self._end else piece.run_each(read))
            for name in piece.inputs:
                if self._last_reads.get(name, -1) <= end:
                    known.pop(name)
        for name in self.graph.outputs:
            if name not in known and name in self.graph.constants:
                known[name] = np.stack([self.graph.constants[name]] * count)
        _require_known(self.graph.outputs, known)
        return {name: known[name] for name in dict.fromkeys(self.graph.outputs)}

    def _piece(self, start: int, end: int) -> Interpreter | None:
        """Makes a model of the nodes behind one position up to another.

        None where nothing of theirs is read behind it.
        """
        if start in self._pieces:
            return self._pieces[start]
        graph = self.graph
        nodes = graph.nodes[start + 1 : end + 1]
        made = dict.fromkeys(name for node in nodes for name in node.outputs if name)
        read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        inputs = tuple(n for n in read if n not in made and n not in graph.constants)
        outputs = tuple(name for name in made if self._last_reads[name] > end)
        types, constants, domains = graph.types, graph.constants, graph.domains
        part = Graph(
            name=graph.name,
            inputs=inputs,
            outputs=outputs,
            nodes=nodes,
            types=types,
            constants=constants,
            domains=domains,
        )
        piece = Interpreter(part) if outputs else None
        if start in self._cuts:
            self._pieces[start] = piece
        return piece

    def _possible(self, starts: set[int]) -> list[int]:
        """Finds the positions at which the network can be cut into pieces.

        None where large weights would lie in each piece, nor where a value that is no plain tensor
        is alive.
        """
        if not starts or is_large(self.graph.constants.values()):
            return []
        cuts, alive = [], set(self.graph.inputs)
        ends: dict[int, list[str]] = {}
        for name, last in self._last_reads.items():
            ends.setdefault(last, []).append(name)
        for position, node in enumerate(self.graph.nodes):
            alive.update(name for name in node.outputs if name)
            alive.difference_update(ends.get(position, ()))
            if position in starts and all(map(self._is_plain, alive)):
                cuts.append(position)
        return cuts

    def _is_plain(self, value: str) -> bool:
        dtype = self.graph.types[value].dtype
        return dtype in DTYPE_BITS and not why_not_exchanged(dtype)


def _require_known(names: Iterable[str], known: Mapping[str, Array]) -> None:
    """Raises RunError for a value that is not known: its node could not run on these samples."""
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise RunError(f"value {unknown!r} is not known")
