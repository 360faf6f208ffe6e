"""Writes a model's local functions out where they are called."""

from __future__ import annotations

import onnx
import onnx.inliner

from compiler.errors import ModelError
from compiler.frontend.tensors import Limits, all_graphs

Key = tuple[str, str]


def inline_functions(model: onnx.ModelProto, limits: Limits) -> None:
    """Inlines every call of a local function into the graph that calls it.

    Before that it checks that calls do not run in a circle and do not grow past the limit of nodes.

    ONNX Runtime runs a body in the model's opset whatever the function declares, and so do we:
    bodies are taken as they stand. ModelError where calls run in a circle (M007) or would make too
    many nodes (M008).
    """
    if not model.functions:
        return
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[Key, int] = {}
    for key in bodies:
        _measure(key, bodies, sizes)
    nodes = [node for graph in all_graphs(model.graph) for node in graph.node]
    limits.check_count(sum(sizes.get((node.domain, node.op_type), 1) for node in nodes))
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    for function in model.functions:
        for opset in function.opset_import:
            if opset.domain in opsets:
                opset.version = opsets[opset.domain]
            elif opset.domain not in ("ai.onnx",):
                model.opset_import.add(domain=opset.domain, version=opset.version)
                opsets[opset.domain] = opset.version
    try:
        inlined = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the inliner raises what its C++ raises
        raise ModelError(f"its local functions cannot be inlined: {error}", code="M002") from error
    model.CopyFrom(inlined)


def _measure(start: Key, bodies: dict[Key, onnx.FunctionProto], sizes: dict[Key, int]) -> None:
    """Counts the nodes a function grows to, for it and all it calls, without recursion."""
    path = [start]
    while path:
        key = path[-1]
        calls = [
            called
            for node in _nodes(bodies[key])
            if (called := (node.domain, node.op_type)) in bodies
        ]
        missing = next((called for called in calls if called not in sizes), None)
        if missing is None:
            plain = len(_nodes(bodies[key])) - len(calls)
            sizes[key] = min(plain + sum(sizes[called] for called in calls), 1 << 62)
            path.pop()
        elif missing in path:
            circle = " -> ".join(name for _, name in [*path[path.index(missing) :], missing])
            raise ModelError(
                f"its local functions call each other in a circle: {circle}", code="M007"
            )
        else:
            path.append(missing)


def _nodes(function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    found = list(function.node)
    for node in function.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.extend(inner for graph in all_graphs(attribute.g) for inner in graph.node)
    return found
