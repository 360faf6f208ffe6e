"""Loads the ONNX models of host segments, which come from a package that anyone may have made."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from compiler.errors import PackageError, UnsupportedError, one_line
from compiler.interpreter import Model
from compiler.plan_package import Package, seal


def load_host_model(data: bytes, name: str) -> Model:
    """A model ready to run; PackageError when it is none or would read files beside itself."""
    try:
        proto = onnx.ModelProto.FromString(data)
        outside = any(
            tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _tensors(proto)
        )
    except Exception as error:  # protobuf's errors share no base
        raise PackageError(f"file {name} is not an ONNX model", code="P002") from error
    if outside:
        raise PackageError(f"file {name} refers to data in other files", code="P002")
    try:
        return Model(data)
    except Exception as error:  # nor do ONNX Runtime's
        raise PackageError(
            f"file {name} is refused by ONNX Runtime: {one_line(str(error))}", code="P002"
        ) from error


def with_checked_host(package: Package) -> Package:
    """The package, with a note on each host model that ONNX Runtime does not run. Raises UnsupportedError for one that nothing runs."""
    notes: dict[str, str] = {}
    for step in package.plan.steps:
        if not step.payload or step.payload in notes:
            continue
        data = package.payload(step.payload)
        try:
            why = Model(data).on_reference
        except Exception as error:  # ONNX Runtime's errors share no base
            inside = sorted({node.op_type for node in onnx.ModelProto.FromString(data).graph.node})
            raise UnsupportedError(
                f"the host has no kernel for {', '.join(inside)}: {one_line(str(error))}",
                code="C002",
                node=step.name,
            ) from error
        notes[step.payload] = (
            f"{step.name} runs on onnx's reference evaluator: {why}" if why else ""
        )
    said = tuple(note for note in notes.values() if note)
    if not said:
        return package
    plan = package.plan.model_copy(update={"notes": (*package.plan.notes, *said)})
    return seal(plan, package.payloads)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a model, those of its sub-graphs, functions and attributes included."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
            continue
        for attribute in nodes.pop().attribute:
            yield from ([attribute.t] if attribute.HasField("t") else [])
            yield from attribute.tensors
            for one in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (one.values, one.indices)
            graphs += [attribute.g] if attribute.HasField("g") else []
            graphs += attribute.graphs
