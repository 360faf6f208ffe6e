"""Imports an ONNX model as a Graph: loaded, checked, sizes bound, lifted to the graph's opset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from compiler.choices import MAX_NODES, MAX_TENSOR_BYTES
from compiler.errors import Diagnostic, ModelError
from compiler.frontend.as_given import runs_as_given, shapes_as_given
from compiler.frontend.batch import batch_axes
from compiler.frontend.branch import taken_branch
from compiler.frontend.builder import Builder, Unliftable, plain_reason
from compiler.frontend.dialects import DIALECTS
from compiler.frontend.fold import Folder
from compiler.frontend.host_segment import is_tensor, keep_whole
from compiler.frontend.lift import lift, require_types
from compiler.frontend.load import Loaded, load_model
from compiler.frontend.nesting import all_graphs, subgraphs, value_names
from compiler.frontend.outputs import require_work, told_of_false_shapes
from compiler.frontend.sizes import Sizes, bind_sizes, sizes_like, unbound
from compiler.frontend.source import source_of
from compiler.frontend.tensors import MICROSOFT, Limits, dense
from compiler.ir.graph import Array, Graph, TensorType


@dataclass(frozen=True)
class Imported:
    """A model as a graph, one-line notes on what was assumed, and what was read to make it.

    `name` is the file's (or the graph's) own; `sha256` is over the model's bytes and those of its
    external files; `files` are all files read; `opset` is that of its default domain.
    """

    graph: Graph
    notes: tuple[Diagnostic, ...]
    name: str
    sha256: str
    files: tuple[Path, ...]
    opset: int


def import_onnx(
    model: str | Path | bytes | onnx.ModelProto,
    bind: Mapping[str, int] | None = None,
    *,
    max_nodes: int = MAX_NODES,
    max_tensor_bytes: int = MAX_TENSOR_BYTES,
    keep_quantized: bool = False,
    like: Mapping[str, Sequence[int | None]] | None = None,
) -> Imported:
    """Reads a model; `bind` gives free sizes by symbol, or as INPUT:AXIS.

    `like` has shapes by input name, whose sizes are taken for free ones that `bind` leaves open.

    With `keep_quantized` the quantized operations that ONNX Runtime has (QLinearConv, QGemm, ...)
    stay whole, so that their integers are its own. Raises UsageError for a missing file or an
    unbound size, ModelError for a model that is broken or over a limit.
    """
    loaded = load_model(model, Limits(max_nodes, max_tensor_bytes))
    proto = loaded.model.graph
    inputs = [value for value in proto.input if value.name not in loaded.weights]
    sizes = bind_sizes(inputs, sizes_like(inputs, like or {}, bind or {}), _names_read(proto))
    builder = Builder([*value_names(proto), *loaded.weights], _declared(proto, sizes))
    for value in inputs:
        builder.types[value.name] = sizes.types[value.name]
    for name, data in loaded.weights.items():
        builder.set_constant(name, data)
    try:
        _walk(loaded, builder, keep_quantized)
    except ModelError as error:
        if error.code == "M004" and sizes.assumed and runs_as_given(model, loaded):
            raise unbound(sizes, f"it cannot be 1: {error.message}") from error
        raise
    graph = builder.finish(
        proto.name,
        tuple(value.name for value in inputs),
        tuple(value.name for value in proto.output),
    )
    false = told_of_false_shapes(proto.output, graph, lambda: shapes_as_given(model, loaded, graph))
    require_work(graph)
    batch = batch_axes(model, loaded, graph, sizes)
    ledger = {name: graph.ledger[name] for name in loaded.order}
    graph = replace(graph, batch_axes=batch, ledger=ledger)
    return Imported(
        graph=graph,
        notes=(*loaded.notes, *false),
        name=loaded.name,
        sha256=loaded.sha256,
        files=loaded.files,
        opset=loaded.opset,
    )


def _walk(loaded: Loaded, builder: Builder, keep_quantized: bool) -> None:
    """Imports every node, in order."""
    folder = Folder(builder)
    left_whole = {name for name in DIALECTS if keep_quantized and name[0] in ("", MICROSOFT)}
    for node in loaded.model.graph.node:
        builder.begin(node.name, source_of(node))
        start = len(builder.nodes)
        _step(node, loaded, builder, folder, left_whole)
        if len(builder.nodes) == start:
            builder.ledger[builder.name] = "folded"


def _step(
    node: onnx.NodeProto,
    loaded: Loaded,
    builder: Builder,
    folder: Folder,
    left_whole: Set[tuple[str, str]],
) -> None:
    """Imports one node.

    It is folded, lifted, rewritten from a dialect, replaced by the branch it takes, or kept whole.
    """
    if node.op_type == "Constant" and _take_constant(node, builder):
        return
    branch = taken_branch(node, builder)
    if branch is not None:
        for index, inner in enumerate(branch):
            builder.label = f"{builder.name}/{inner.name or f'{inner.op_type}_{index}'}"
            _step(inner, loaded, builder, folder, left_whole)
        return
    start = len(builder.nodes)
    try:
        if (node.domain, node.op_type) in left_whole:
            raise Unliftable("its integers are to be ONNX Runtime's own")
        _take(node, loaded.opset, builder)
    except Unliftable:
        del builder.nodes[start:]
        keep_whole(node, loaded.model, builder)
    folder.fold_from(start)


def _take(node: onnx.NodeProto, opset: int, builder: Builder) -> None:
    if subgraphs(node):
        raise Unliftable("it holds graphs of its own")
    if not all(is_tensor(builder.types[name]) for name in node.input if name):
        raise Unliftable("it reads values that are not tensors of numbers")
    rewrite = DIALECTS.get((node.domain, node.op_type))
    if node.domain and rewrite is None:
        raise Unliftable("it is of another domain")
    if not node.domain:
        require_types(node, onnx.defs.get_schema(node.op_type, opset, ""), builder)
    try:
        if rewrite is not None:
            rewrite(node, builder)
        else:
            lift(node, opset, builder)
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise ModelError(
            f"{node.op_type} has inputs or attributes it cannot have: {plain_reason(error)}",
            code="M004", node=node.name,
        ) from error  # fmt: skip
    if any(name and name not in builder.types for name in node.output):
        raise Unliftable("it has outputs that its standard form has not")
    if not all(is_tensor(builder.types[name]) for name in node.output if name):
        raise Unliftable("it makes values that are not tensors of numbers")


def _take_constant(node: onnx.NodeProto, builder: Builder) -> bool:
    """Makes a Constant node a constant of the graph; texts are left to the host."""
    if len(node.attribute) != 1:
        raise ModelError("a Constant has one value", code="M002", node=node.name)
    data = constant_data(node.attribute[0])
    if data.dtype == object:
        return False
    builder.set_constant(node.output[0], data)
    return True


def constant_data(attribute: onnx.AttributeProto) -> Array:
    """Reads the data of a Constant node's attribute."""
    if attribute.name == "value":
        return np.asarray(onnx.numpy_helper.to_array(attribute.t))
    if attribute.name == "sparse_value":
        return dense(attribute.sparse_tensor)
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name.startswith("value_string"):
        return np.asarray(value, object)
    return np.asarray(value, np.float32 if attribute.name.startswith("value_float") else np.int64)


def _declared(graph: onnx.GraphProto, sizes: Sizes) -> dict[str, TensorType]:
    return {
        value.name: sizes.declared(value)
        for value in [*graph.value_info, *graph.output]
        if value.type.WhichOneof("value")
    }


def _names_read(graph: onnx.GraphProto) -> set[str]:
    """Collects the names that something reads: a node, at any depth, or the outside as output."""
    found = {value.name for value in graph.output}
    for inner in all_graphs(graph):
        found.update(value.name for value in inner.output)
        found.update(name for node in inner.node for name in node.input)
    return found
