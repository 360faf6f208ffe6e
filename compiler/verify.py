"""The rules of a graph, checked after every pass."""

from __future__ import annotations

from compiler.errors import CompileError
from compiler.ir import Graph, TensorType
from compiler.ops import infer_types


class GraphError(CompileError):
    """A graph breaks a rule: a bug of the pass that made it."""

    exit_status = 1
    default_code = "X001"


def verify(graph: Graph) -> None:
    """Checks names, order and types; raises GraphError at the first rule that is broken.

    A type may be less exact than what inference finds (an unknown size), never different.
    """
    known = set(graph.constants) | set(graph.inputs)
    names: set[str] = set()
    for value in graph.inputs:
        _demand(value in graph.types, f"input {value!r} has no type")
        _demand(graph.inputs.count(value) == 1, f"input {value!r} is given twice")
        _demand(value not in graph.constants, f"input {value!r} is a constant")
    for value, data in graph.constants.items():
        kind = graph.types.get(value)
        _demand(kind is not None, f"constant {value!r} has no type")
        assert kind is not None
        _demand(
            kind.shape == data.shape and kind.dtype == data.dtype.name,
            f"constant {value!r} is {data.dtype}{list(data.shape)}, its type says {kind}",
        )
    for node in graph.nodes:
        _demand(node.name not in names, f"two nodes are named {node.name!r}")
        names.add(node.name)
        for value in node.inputs:
            _demand(not value or value in known, f"node {node.name!r} reads {value!r} too early")
        for value in node.outputs:
            _demand(value not in known, f"value {value!r} is made twice")
            _demand(not value or value in graph.types, f"value {value!r} has no type")
            known.update([value] if value else [])
        try:
            inferred = infer_types(node, graph.types, graph.constants)
        except (ValueError, TypeError) as error:
            raise GraphError(f"{node.op}: {error}", node=node.name) from error
        except LookupError as error:
            raise GraphError(f"{node.op} lacks an input or output", node=node.name) from error
        for value, kind in inferred.items():
            _demand(
                _agree(graph.types[value], kind),
                f"value {value!r} of {node.op} is {graph.types[value]}, inferred is {kind}",
            )
    for value in graph.outputs:
        _demand(value in known, f"output {value!r} is never made")


def _agree(declared: TensorType, inferred: TensorType) -> bool:
    if declared.dtype != inferred.dtype and "undefined" not in (declared.dtype, inferred.dtype):
        return False
    if declared.shape is None or inferred.shape is None:
        return True
    return len(declared.shape) == len(inferred.shape) and all(
        a is None or b is None or a == b
        for a, b in zip(declared.shape, inferred.shape, strict=True)
    )


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise GraphError(message)
