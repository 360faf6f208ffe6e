"""Widens a float16 or bfloat16 model to float32 between its inputs and outputs.

One set of formats then fits every model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Array, Graph, Node, TensorType
from compiler.ir.ops import infer_types
from compiler.ir.protos import dtype_number
from compiler.ir.rewriter import Rewriter
from compiler.storage.spill import spill_to_file
from compiler.target.chip import Target
from passes.base import Pass

HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class WidenHalf(Pass):
    """Widens float16 and bfloat16 values to float32.

    A Cast stands at every input and output of such a type, and around nodes kept whole.

    Not exact: float32 rounds less than the half types did. A model that makes values of a type that
    an attribute names stays.
    """

    name: ClassVar[str] = "widen_half"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph in float32."""
        half = {name: kind.dtype for name, kind in graph.types.items() if kind.dtype in HALF}
        computed = any(_computes_in(half, node) for node in graph)
        if not computed or any(_depends_on_types(node) for node in graph):
            return graph
        wide = _Widener(graph, half).run()
        return wide if _is_typed(wide) else graph


class _Widener:
    """Widens the graph in one walk.

    A value that keeps its type (a port, or what a Segment reads or makes) has a float32 twin.
    """

    def __init__(self, graph: Graph, half: dict[str, str]) -> None:
        self.graph = graph
        self.half = half
        self.unique: Callable[[str], str] = Rewriter(graph).unique
        whole = [node for node in graph if node.op == "Segment"]
        ports = [*graph.inputs, *graph.outputs]
        ports += [name for node in whole for name in (*node.inputs, *node.outputs)]
        self.twins = {
            name: self.unique(f"{name}.wide") for name in dict.fromkeys(ports) if name in half
        }

    def run(self) -> Graph:
        graph, twins = self.graph, self.twins
        types = {twins.get(name, name): _widened(kind) for name, kind in graph.types.items()}
        types |= {name: graph.types[name] for name in twins}
        constants: dict[str, Array] = {
            twins.get(name, name): spill_to_file(data.astype(np.float32))
            if name in self.half
            else data
            for name, data in graph.constants.items()
        }
        constants |= {name: graph.constants[name] for name in twins if name in graph.constants}
        nodes = [self._cast(n, twins[n], "float32") for n in graph.inputs if n in twins]
        narrowed = set(graph.inputs) | set(graph.constants)
        for node in graph.nodes:
            if node.op == "Segment":
                nodes.append(node)
                narrowed.update(node.outputs)
                nodes += [self._cast(n, twins[n], "float32") for n in node.outputs if n in twins]
                continue
            nodes.append(self._wide(node))
            for name in node.outputs:
                if name in twins and name not in narrowed:
                    nodes.append(self._cast(twins[name], name, self.half[name]))
        return replace(graph, nodes=tuple(nodes), types=types, constants=constants)

    def _wide(self, node: Node) -> Node:
        inputs, outputs = (
            tuple(self.twins.get(name, name) for name in names)
            for names in (node.inputs, node.outputs)
        )
        attrs = dict(node.attrs)
        if node.op == "Cast" and node.outputs[0] in self.half:
            attrs["to"] = dtype_number("float32")
        return replace(node, inputs=inputs, outputs=outputs, attrs=attrs)

    def _cast(self, source: str, output: str, dtype: str) -> Node:
        name = self.unique(f"{output}.cast")
        return Node(
            name=name,
            op="Cast",
            inputs=(source,),
            outputs=(output,),
            attrs={"to": dtype_number(dtype)},
        )


def _widened(kind: TensorType) -> TensorType:
    return replace(kind, dtype="float32") if kind.dtype in HALF else kind


def _computes_in(half: Mapping[str, str], node: Node) -> bool:
    """Whether a node reads or makes values of half types and does not only convert them."""
    touched = [name in half for name in (*node.inputs, *node.outputs) if name]
    return any(touched) and node.op != "Segment" and not (node.op == "Cast" and not all(touched))


def _depends_on_types(node: Node) -> bool:
    """Whether an attribute names or holds an element type.

    Then changing types could change the node's meaning.
    """
    tensor = any(isinstance(value, bytes) for value in node.attrs.values())
    named = ("dtype", "output_dtype", "precision", "stash_type")
    return (tensor and node.op != "Segment") or any(node.integer(name, 0) > 1 for name in named)


def _is_typed(graph: Graph) -> bool:
    """Whether every operation takes its new types."""
    for node in graph:
        try:
            inferred = infer_types(node, graph.types, graph.constants)
        except ValueError:
            return False
        if any(graph.types[name].dtype != kind.dtype for name, kind in inferred.items()):
            return False
    return True
