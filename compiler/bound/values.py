"""Computes the least that moving every value of a graph once takes, for the lower bound."""

from __future__ import annotations

from math import inf

from compiler.cost.node import value_bytes
from compiler.engines.legality import why_not
from compiler.ir.graph import Graph, Node
from compiler.ir.ops import VIEWS
from compiler.target.chip import Target

# These read no data, or only the part of their input that they pass on.
READ_NOTHING = ("Shape", "Size")
READ_A_PART = ("Slice", "Split", "Gather", "GatherElements", "GatherND")
# Changes of format: another assignment may not need them.
FORMATS = ("QuantizeLinear", "DequantizeLinear", "Requantize", "Cast", "DynamicQuantizeLinear")


class Values:
    """The energy of moving every value once: the model's inputs and outputs, and activations.

    Inputs and outputs are the ports; activations pass between nodes.
    """

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.root: dict[str, str] = {}
        for node in graph:
            if node.op in VIEWS or node.op in FORMATS:
                self.root.update(dict.fromkeys(node.outputs, self.root_of(node.inputs[0])))
        self.read: dict[str, float] = {}
        for node in graph:
            for name in data_of(node, graph):
                root = self.root_of(name)
                self.read[root] = max(self.read.get(root, 0.0), self._bytes_read(node, name))
        self.ports_pj = sum(self._port(name) for name in graph.inputs)
        self.ports_pj += sum(
            max(self._output(name) for name in shown) for shown in self.outputs_of().values()
        )
        self.leaving = {self.root_of(name) for name in graph.outputs}
        self.activations_pj = sum(self._made(name) for node in graph for name in node.outputs)

    def first_readers(self) -> dict[str, int]:
        """Finds for each value that is no view the first node (by position) that computes on it."""
        found: dict[str, int] = {}
        for position, node in enumerate(self.graph.nodes):
            if node.op not in (*VIEWS, *FORMATS, *READ_NOTHING):
                for name in data_of(node, self.graph):
                    found.setdefault(self.root_of(name), position)
        return found

    def makers(self) -> dict[str, int]:
        """Finds, for each value that is no view, the node (by position) that makes it."""
        return {
            name: position
            for position, node in enumerate(self.graph.nodes)
            for name in node.outputs
            if name and name not in self.root
        }

    def outputs_of(self) -> dict[str, list[str]]:
        """Groups the model's outputs by the value that they show.

        However often a value is shown, it leaves the chip once.
        """
        found: dict[str, list[str]] = {}
        for name in self.graph.outputs:
            found.setdefault(self.root_of(name), []).append(name)
        return found

    def root_of(self, value: str) -> str:
        """Finds the value that a view shows (itself where it is none)."""
        return self.root.get(value, value)

    def _bytes_read(self, node: Node, name: str) -> float:
        """Computes the least bytes of a value that a node reads, over engines that can take it."""
        if node.op in (*VIEWS, *FORMATS, *READ_NOTHING):
            return 0.0
        size = _least_bytes(node, name, self.graph, self.target)
        if node.op in READ_A_PART:
            made = sum(
                _least_bytes(node, out, self.graph, self.target) for out in node.outputs if out
            )
            return min(size, made)
        return size

    def _port(self, name: str) -> float:
        """Computes the energy of reading a model's input as it comes, once, if it is read."""
        kind = self.graph.types[name]
        if not self.read.get(name) or not kind.is_static:
            return 0.0
        share = min(1.0, self.read[name] / max(1, value_bytes(kind, on_host=False)))
        return share * kind.size_bytes * cheapest(kind.size_bytes, self.target, "read")

    def _output(self, name: str) -> float:
        """Computes the energy of writing a model's output as it leaves, once, by whatever makes it.

        A view of an input is not made.
        """
        kind = self.graph.types[name]
        root = self.root_of(name)
        if root in self.graph.inputs or root in self.graph.constants or not kind.is_static:
            return 0.0
        return kind.size_bytes * cheapest(kind.size_bytes, self.target, "write")

    def _made(self, name: str) -> float:
        """Computes the energy of writing and reading a value between nodes once.

        A model's output is written at the port.
        """
        if not name or name in self.root:
            return 0.0
        size = _least_bytes(self.graph.producer[name], name, self.graph, self.target)
        read = self.read.get(name, 0.0)
        energy = read * cheapest(read, self.target, "read")
        return (
            energy if name in self.leaving else energy + size * cheapest(size, self.target, "write")
        )


def data_of(node: Node, graph: Graph) -> list[str]:
    """Lists the values that a node reads, constants left out, each once."""
    return [name for name in dict.fromkeys(node.inputs) if name and name not in graph.constants]


def _least_bytes(node: Node, value: str, graph: Graph, target: Target) -> float:
    """Computes the fewest bytes a node can read or make of a value.

    They are those of whole floats where only the host can take the node.
    """
    only_host = engines_for(node, graph, target) == [target.host[0]]
    return float(value_bytes(graph.types[value], on_host=only_host))


def cheapest(size_bytes: float, target: Target, access: str) -> float:
    """Finds the least pJ a byte among the memories that hold so much.

    Among all memories where none does.
    """
    memories = list(target.memories.values())
    able = [m for m in memories if size_bytes <= m.capacity_bytes.value] or memories
    return min(
        (m.read_pj_per_byte if access == "read" else m.write_pj_per_byte).value for m in able
    )


def engines_for(node: Node, graph: Graph, target: Target) -> list[str]:
    """Lists the engines that can take a node.

    Those the partition found able to within the divergence allowed, the chosen one among them.
    """
    if node.placement is None:
        return [name for name in target.chip.engines if not why_not(name, node, graph, target)]
    allowed = graph.partition.max_divergence if graph.partition else inf
    able = {node.placement.engine}
    for other in node.placement.alternatives:
        if other.energy_pj is not None and (other.divergence or 0.0) <= allowed:
            able.add(other.engine)
    return [name for name in target.chip.engines if name in able]
