"""Loads the ONNX models of host segments, from packages that anyone may have made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import onnx

from compiler.errors import Diagnostic, PackageError, UnsupportedError, one_line
from compiler.execute.external_constants import referred, take_as_inputs
from compiler.execute.interpreter import Model
from compiler.frontend.load import LARGEST_MESSAGE
from compiler.ir.graph import Array
from compiler.plan.package import Package, seal
from compiler.plan.schema import Step


def load_host_model(package: Package, step: Step) -> Model:
    """Loads the model of a step, ready to run.

    PackageError when it is none or would read files that are not its own.
    """
    proto, weights = parsed_host_model(package, step)
    data = package.payload(step.payload)
    try:
        return Model(proto.SerializeToString() if weights else data.tobytes(), weights)
    except Exception as error:  # ONNX Runtime's errors share no base
        raise PackageError(
            f"file {step.payload} is refused by ONNX Runtime: {one_line(str(error))}", code="P002"
        ) from error


def parsed_host_model(package: Package, step: Step) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Parses the model of a step; its weights that lie in a file are inputs, and given by name.

    PackageError when it is none or would read files that are not its own.
    """
    name = step.payload
    data = package.payload(name)
    if data.size_bytes > LARGEST_MESSAGE:
        raise PackageError(f"file {name} is larger than an ONNX file can be", code="P002")
    try:
        proto = onnx.ModelProto.FromString(data.tobytes())
        outside = [
            tensor
            for tensor in _tensors(proto)
            if tensor.data_location == onnx.TensorProto.EXTERNAL
        ]
    except Exception as error:  # protobuf's errors share no base
        raise PackageError(f"file {name} is not an ONNX model", code="P002") from error
    try:
        return proto, _weights(proto, outside, package, step)
    except (ValueError, TypeError, OverflowError) as error:
        raise PackageError(f"file {name} {one_line(str(error))}", code="P002") from error


def _weights(
    proto: onnx.ModelProto, outside: Sequence[onnx.TensorProto], package: Package, step: Step
) -> dict[str, Array]:
    """Reads the constants of a model from its file of external data; they become its inputs."""
    if not outside and not step.payload_weights:
        return {}
    data = package.payload(step.payload_weights) if step.payload_weights else None
    found = referred(proto, data, PurePosixPath(step.payload_weights).name)
    if len(found) != len(outside):
        raise ValueError("refers to data in other files")
    take_as_inputs(proto)
    return found


def with_checked_host(package: Package) -> Package:
    """Adds a note to the package for each host model that ONNX Runtime does not run.

    Raises UnsupportedError for one that nothing runs.
    """
    notes: dict[str, str] = {}
    for step in package.plan.steps:
        if not step.payload or step.payload in notes:
            continue
        try:
            why = load_host_model(package, step).on_reference
        except PackageError as error:
            proto = onnx.ModelProto.FromString(package.payload(step.payload).tobytes())
            inside = sorted({node.op_type for node in proto.graph.node})
            raise UnsupportedError(
                f"the host has no kernel for {', '.join(inside)}: {one_line(str(error.__cause__))}",
                code="C002",
                node=step.name,
            ) from error
        notes[step.payload] = (
            f"{step.name} runs on onnx's reference evaluator: {why}" if why else ""
        )
    found = tuple(Diagnostic(message=note) for note in notes.values() if note)
    if not found:
        return package
    plan = package.plan.model_copy(update={"diagnostics": (*package.plan.diagnostics, *found)})
    return seal(plan, package.payloads)


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Lists every tensor of a model, those of its sub-graphs, functions and attributes included."""
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
