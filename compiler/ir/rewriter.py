"""Builds a new graph from a walk over an old one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler.ir.graph import Array, Graph, Node, Quant, TensorType


def _is_frozen(data: Array) -> bool:
    """Whether an array is a constant already, or a view of one, so that it can be shared.

    Large constants are mapped from files.
    """
    return data.flags.c_contiguous and not data.flags.writeable


class Rewriter:
    """A new graph in the making: takes over, replaces, forwards or drops nodes of the old one.

    `fate` is the ledger's entry for ONNX nodes that no node of the new graph stands for.
    """

    def __init__(self, graph: Graph, fate: str = "removed") -> None:
        self.graph = graph
        self.fate = fate
        self._nodes: list[Node] = []
        self._types = dict(graph.types)
        self._constants = dict(graph.constants)
        self._forwarded: dict[str, str] = {}
        self._taken: set[str] = set(graph.types) | {node.name for node in graph.nodes}

    @property
    def nodes(self) -> tuple[Node, ...]:
        """The nodes so far."""
        return tuple(self._nodes)

    @property
    def types(self) -> Mapping[str, TensorType]:
        """The types so far."""
        return self._types

    @property
    def constants(self) -> Mapping[str, Array]:
        """The constants so far."""
        return self._constants

    def resolve(self, value: str) -> str:
        """Finds the value that stands for another after forwarding."""
        while value in self._forwarded:
            value = self._forwarded[value]
        return value

    def type_of(self, value: str) -> TensorType:
        """Finds the type of a value of the new graph."""
        return self._types[self.resolve(value)]

    def unique(self, hint: str) -> str:
        """Makes a name that nothing in the graph has yet."""
        name, count = hint, 0
        while name in self._taken:
            count += 1
            name = f"{hint}.{count}"
        self._taken.add(name)
        return name

    def keep(self, node: Node) -> None:
        """Takes a node over; its inputs become those they were forwarded to."""
        if not self._forwarded:
            self._nodes.append(node)
            return
        inputs = tuple(self.resolve(value) for value in node.inputs)
        self._nodes.append(node if inputs == node.inputs else replace(node, inputs=inputs))

    def add(self, node: Node, types: Mapping[str, TensorType] | None = None) -> None:
        """Adds a new node, with the types of outputs that are new or changed."""
        self._types.update(types or {})
        self.keep(node)

    def forward(self, value: str, to: str) -> None:
        """Makes every later reader of `value` read `to` instead."""
        self._forwarded[value] = self.resolve(to)

    def constant(self, hint: str, data: Array, quant: Quant | None = None) -> str:
        """Adds a constant and returns its name."""
        name = self.unique(hint)
        self.set_constant(name, data, quant)
        return name

    def set_constant(self, name: str, data: Array, quant: Quant | None = None) -> None:
        """Gives a name the data of a constant, new or changed."""
        stored = data if _is_frozen(data) else np.array(data, order="C")
        stored.setflags(write=False)
        self._constants[name] = stored
        self._types[name] = TensorType(stored.dtype.name, stored.shape, quant)

    def set_type(self, value: str, kind: TensorType) -> None:
        """Changes the type of a value."""
        self._types[value] = kind

    def finish(self) -> Graph:
        """Builds the new graph: forwards outputs, drops unread values, updates the ledger.

        A graph output that was forwarded keeps its name: its producer is renamed, or an Identity is
        added.
        """
        graph = self.graph
        self._restore_outputs()
        nodes = tuple(self._nodes)
        if nodes == graph.nodes and self._types == graph.types and not self._changed_constants():
            return graph
        used = set(graph.inputs) | set(graph.outputs)
        for node in nodes:
            used.update(node.inputs, node.outputs)
        used.discard("")
        standing = {name for node in nodes for name in node.origin}
        ledger = {
            name: (fate or ("" if name in standing else self.fate))
            for name, fate in graph.ledger.items()
        }
        return replace(
            graph,
            nodes=nodes,
            types={name: kind for name, kind in self._types.items() if name in used},
            constants={name: data for name, data in self._constants.items() if name in used},
            ledger=ledger,
        )

    def _changed_constants(self) -> bool:
        old = self.graph.constants
        return self._constants.keys() != old.keys() or any(
            data is not old[name] for name, data in self._constants.items()
        )

    def _restore_outputs(self) -> None:
        """Renames producers so that forwarded graph outputs keep the names the user knows."""
        for output in self.graph.outputs:
            value = self.resolve(output)
            if value == output:
                continue
            made_here = any(value in node.outputs for node in self._nodes)
            shared = (
                value in self.graph.outputs
                or sum(self.resolve(other) == value for other in self.graph.outputs) > 1
            )
            if made_here and not shared:
                self._rename(value, output)
            else:
                self._nodes.append(
                    Node(self.unique(f"{output}.copy"), "Identity", (value,), (output,))
                )
            self._types[output] = self._types[value]
            self._forwarded.pop(output)

    def _rename(self, old: str, new: str) -> None:
        def renamed(names: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(new if name == old else name for name in names)

        self._nodes = [
            replace(node, inputs=renamed(node.inputs), outputs=renamed(node.outputs))
            if old in node.inputs or old in node.outputs
            else node
            for node in self._nodes
        ]
