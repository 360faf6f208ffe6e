"""An ONNX model as a Graph: loaded, checked, sizes bound, every operation lifted to the graph's opset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from compiler.errors import ModelError
from compiler.ir import Array, Graph
from compiler.onnx_build import Builder, Unliftable, node_label
from compiler.onnx_dialects import DIALECTS
from compiler.onnx_fold import Folder
from compiler.onnx_lift import demand_types, lift
from compiler.onnx_load import load_model
from compiler.onnx_segment import is_tensor, keep_whole, subgraphs
from compiler.onnx_sizes import Sizes, bind_sizes


@dataclass(frozen=True)
class Imported:
    """A model as a graph, one-line notes on what was assumed, and what was read to make it.

    `name` is the file's (or the graph's) own; `sha256` is over the model's bytes and those of its external files; `files` are all files read.
    """

    graph: Graph
    notes: tuple[str, ...]
    name: str
    sha256: str
    files: tuple[Path, ...]


def import_onnx(
    model: str | Path | bytes | onnx.ModelProto, bind: Mapping[str, int] | None = None
) -> Imported:
    """Reads a model; `bind` gives free sizes by symbol, or as INPUT:AXIS. Raises ModelError or UsageError, never anything else."""
    loaded = load_model(model)
    proto = loaded.model
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in initializers]
    sizes = bind_sizes(inputs, bind or {})
    builder = Builder(_names(proto.graph), _declared(proto.graph, sizes))
    for value in inputs:
        builder.types[value.name] = sizes.types[value.name]
    for tensor in proto.graph.initializer:
        builder.set_constant(tensor.name, onnx.numpy_helper.to_array(tensor))
    _walk(proto, builder)
    graph = builder.finish(
        proto.graph.name,
        tuple(value.name for value in inputs),
        tuple(value.name for value in proto.graph.output),
    )
    batch = {
        value.name: axis
        for value in [*inputs, *proto.graph.output]
        if (axis := sizes.batch_axis(value, graph.types[value.name])) is not None
    }
    graph = replace(graph, domains={}, batch_axes=batch)
    return Imported(graph, sizes.notes, loaded.name, loaded.sha256, loaded.files)


def _walk(model: onnx.ModelProto, builder: Builder) -> None:
    """Takes every node over, in order: folded, lifted, rewritten from a dialect, or kept whole."""
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 1))
    folder = Folder(builder)
    for index, node in enumerate(model.graph.node):
        builder.begin(node_label(node, index), source_line(node))
        start = len(builder.nodes)
        if node.op_type == "Constant" and _take_constant(node, builder):
            builder.ledger[builder.name] = "folded"
            continue
        try:
            _take(node, opset, builder)
        except Unliftable:
            del builder.nodes[start:]
            keep_whole(node, model, builder)
        if folder.fold_from(start):
            builder.ledger[builder.name] = "folded"


def _take(node: onnx.NodeProto, opset: int, builder: Builder) -> None:
    if subgraphs(node):
        raise Unliftable("it holds graphs of its own")
    if not all(is_tensor(builder.types[name]) for name in node.input if name):
        raise Unliftable("it reads values that are not tensors of numbers")
    if (node.domain, node.op_type) in DIALECTS:
        DIALECTS[node.domain, node.op_type](node, builder)
        return
    if node.domain not in ("", "ai.onnx"):
        raise Unliftable("it is of another domain")
    demand_types(node, onnx.defs.get_schema(node.op_type, opset, ""), builder)
    lift(node, opset, builder)
    if not all(is_tensor(builder.types[name]) for name in node.output if name):
        raise Unliftable("it makes values that are not tensors of numbers")


def _take_constant(node: onnx.NodeProto, builder: Builder) -> bool:
    data = constant_data(node.attribute[0])
    if data is None or data.dtype == object:
        return False
    builder.set_constant(node.output[0], data)
    return True


def constant_data(attribute: onnx.AttributeProto) -> Array | None:
    """The data of a Constant node's attribute, or None for a sparse tensor."""
    if attribute.name == "value":
        return np.asarray(onnx.numpy_helper.to_array(attribute.t))
    value = onnx.helper.get_attribute_value(attribute)
    types = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64}
    types["value_ints"] = np.int64
    return np.asarray(value, types[attribute.name]) if attribute.name in types else None


def source_line(node: onnx.NodeProto) -> str:
    """The exporter's own file:line of a node, where its metadata has a stack trace."""
    import re

    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.stack_trace":
            found = re.findall(r'File "([^"]+)", line (\d+)', entry.value)
            if found:
                return f"{found[-1][0]}:{found[-1][1]}"
    return ""


def _declared(graph: onnx.GraphProto, sizes: Sizes) -> dict[str, object]:
    return {
        value.name: sizes.declared(value)
        for value in [*graph.value_info, *graph.output]
        if value.type.WhichOneof("value")
    }


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every name of a value in a graph and its sub-graphs."""
    for value in [*graph.input, *graph.output]:
        yield value.name
    for tensor in graph.initializer:
        yield tensor.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in subgraphs(node):
            yield from _names(inner)
