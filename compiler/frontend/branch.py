"""Writes out the branch that an If takes when its condition is known at import."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from compiler.frontend.builder import Builder
from compiler.frontend.renaming import rename_values
from compiler.frontend.tensors import decoded


def taken_branch(node: onnx.NodeProto, builder: Builder) -> list[onnx.NodeProto] | None:
    """Finds the branch that an If takes and returns its nodes, with names of the outer graph.

    None when that is not known yet. The branch's own constants are added to the builder.
    """
    if node.op_type != "If" or node.domain:
        return None
    condition = builder.constants.get(node.input[0])
    if condition is None or condition.size != 1:
        return None
    wanted = "then_branch" if np.asarray(condition).reshape(()) else "else_branch"
    graph = next(attribute.g for attribute in node.attribute if attribute.name == wanted)
    if graph.sparse_initializer or len(graph.output) != len(node.output):
        return None
    names: dict[str, str] = {}
    for tensor in graph.initializer:
        data = decoded(tensor)
        if data.dtype == object:
            return None
        names[tensor.name] = builder.fresh(tensor.name)
        builder.set_constant(names[tensor.name], data)
    made = {name for inner in graph.node for name in inner.output if name}
    for ours, theirs in zip(node.output, graph.output, strict=True):
        if ours and theirs.name in made:
            names.setdefault(theirs.name, ours)
    for name in sorted(made - set(names)):
        names[name] = builder.fresh(name)
    nodes = [_renamed(inner, names) for inner in graph.node]
    for ours, theirs in zip(node.output, graph.output, strict=True):
        source = names.get(theirs.name, theirs.name)
        if ours and source != ours:
            nodes.append(onnx.NodeProto(op_type="Identity", input=[source], output=[ours]))
    return nodes


def _renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """Copies a node with values renamed.

    Its sub-graphs are renamed too, except where they define the name anew.
    """
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    rename_values(copy, names)
    return copy
