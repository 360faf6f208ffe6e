"""Checks the rules of a graph, after every pass."""

from __future__ import annotations

from compiler.errors import CompileError
from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.ops import infer_types


class GraphError(CompileError):
    """A graph breaks a rule: a bug of the pass that made it."""

    exit_status = 1
    default_code = "X001"


def verify(graph: Graph) -> None:
    """Checks names, order and types; raises GraphError at the first rule that is broken.

    A type may be less exact than the inferred one (an unknown size), never different.
    """
    for value in graph.inputs:
        if value not in graph.types:
            raise GraphError(f"input {value!r} has no type")
        if graph.inputs.count(value) != 1:
            raise GraphError(f"input {value!r} is given twice")
        if value in graph.constants:
            raise GraphError(f"input {value!r} is a constant")
    for value, data in graph.constants.items():
        kind = graph.types.get(value)
        if kind is None:
            raise GraphError(f"constant {value!r} has no type")
        if kind.shape != data.shape or kind.dtype != data.dtype.name:
            raise GraphError(
                f"constant {value!r} is {data.dtype}{list(data.shape)}, its type says {kind}"
            )
    known = set(graph.constants) | set(graph.inputs)
    names: set[str] = set()
    for node in graph.nodes:
        if node.name in names:
            raise GraphError(f"two nodes are named {node.name!r}")
        names.add(node.name)
        _verify_node(node, graph, known)
    for value in graph.outputs:
        if value not in known:
            raise GraphError(f"output {value!r} is never made")


def _verify_node(node: Node, graph: Graph, known: set[str]) -> None:
    """Checks what a node reads and makes; what it makes is `known` from then on."""
    for value in node.inputs:
        if value and value not in known:
            raise GraphError(f"node {node.name!r} reads {value!r} too early")
    for value in node.outputs:
        if value in known:
            raise GraphError(f"value {value!r} is made twice")
        if value and value not in graph.types:
            raise GraphError(f"value {value!r} has no type")
        known.update([value] if value else [])
    try:
        inferred = infer_types(node, graph.types, graph.constants)
    except (ValueError, TypeError) as error:
        raise GraphError(f"{node.op}: {error}", node=node.name) from error
    except LookupError as error:
        raise GraphError(f"{node.op} lacks an input or output", node=node.name) from error
    for value, kind in inferred.items():
        declared = graph.types[value]
        if not _agree(declared, kind):
            raise GraphError(f"value {value!r} of {node.op} is {declared}, inferred is {kind}")


def _agree(declared: TensorType, inferred: TensorType) -> bool:
    if declared.dtype != inferred.dtype and "undefined" not in (declared.dtype, inferred.dtype):
        return False
    if declared.shape is None or inferred.shape is None:
        return True
    return len(declared.shape) == len(inferred.shape) and all(
        a is None or b is None or a == b
        for a, b in zip(declared.shape, inferred.shape, strict=True)
    )
