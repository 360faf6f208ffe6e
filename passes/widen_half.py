"""Computes a float16 model in float32 between its inputs and outputs, so that one set of formats fits every model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir import Array, Graph, Node, Rewriter, TensorType
from compiler.ops import dtype_number, infer_types
from compiler.target import Target
from passes.base import Pass


@dataclass(frozen=True)
class WidenHalf(Pass):
    """float16 values become float32; a Cast stands at every input and output of that type. A model that asks for the type itself stays.

    Not exact: float32 rounds less than float16 did.
    """

    name: ClassVar[str] = "widen_half"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph in float32."""
        half = [name for name, kind in graph.types.items() if kind.dtype == "float16"]
        if not half or any(_speaks_of_types(node) for node in graph):
            return graph
        unique = Rewriter(graph).unique
        ports = {
            name: unique(f"{name}.wide")
            for name in dict.fromkeys((*graph.inputs, *graph.outputs))
            if graph.types[name].dtype == "float16"
        }
        types = {ports.get(n, n): _widened(kind) for n, kind in graph.types.items()}
        types |= {name: graph.types[name] for name in ports}
        constants: dict[str, Array] = {
            ports.get(name, name): data.astype(np.float32) if data.dtype == np.float16 else data
            for name, data in graph.constants.items()
        }
        constants |= {name: graph.constants[name] for name in ports if name in graph.constants}
        nodes = [
            _cast(name, ports[name], "float32", unique) for name in graph.inputs if name in ports
        ]
        nodes += [
            replace(
                node,
                inputs=tuple(ports.get(name, name) for name in node.inputs),
                outputs=tuple(ports.get(name, name) for name in node.outputs),
            )
            for node in graph.nodes
        ]
        made = [name for name in graph.outputs if name in ports and name in graph.producer]
        nodes += [_cast(ports[name], name, "float16", unique) for name in made]
        wide = replace(graph, nodes=tuple(nodes), types=types, constants=constants)
        return wide if _is_typed(wide) else graph


def _widened(kind: TensorType) -> TensorType:
    return replace(kind, dtype="float32") if kind.dtype == "float16" else kind


def _speaks_of_types(node: Node) -> bool:
    """Whether a node names an element type or is kept whole, so that changing types could change its meaning."""
    tensor = any(isinstance(value, bytes) for value in node.attrs.values())
    return (
        tensor
        or node.op in ("Cast", "Segment", "QuantizeLinear", "DequantizeLinear")
        or "dtype" in node.attrs
    )


def _cast(source: str, output: str, dtype: str, unique: Callable[[str], str]) -> Node:
    return Node(unique(f"{output}.cast"), "Cast", (source,), (output,), {"to": dtype_number(dtype)})


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
