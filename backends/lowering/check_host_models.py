"""Checks the host models of a package before anything runs them: whoever made it may be hostile."""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from backends.lowering.host_models import parsed_host_model
from compiler.errors import PackageError, one_line
from compiler.execute.loop_cost import Costs, inner_graphs
from compiler.execute.loop_work import endless_loop, refusal
from compiler.ir.graph import DTYPE_BITS
from compiler.ir.protos import dtype_name
from compiler.plan.package import Package
from compiler.plan.schema import Step

# A value of a host model that is larger than any tensor of a model may be was not compiled.
MOST_VALUE_BYTES = 8 << 30


def check_host_models(package: Package) -> None:
    """Requires that host models keep to themselves, hold what memory can, and end.

    They read no file but their own weights; no value whose sizes follow from the model has more
    than 8 GiB; no Loop or Scan provably goes on past the limit of work.

    Raises: PackageError (P002), and ModelError (M008) for a Loop or Scan.
    """
    seen: set[str] = set()
    for step in package.plan.steps:
        if step.payload and step.payload not in seen:
            seen.add(step.payload)
            _check(package, step)


def _check(package: Package, step: Step) -> None:
    model, _ = parsed_host_model(package, step)
    if model.functions:
        raise PackageError(
            f"file {step.payload} has functions of its own, which no compiled model has",
            code="P002",
            node=step.name,
        )
    try:
        # Without data_prop: it computes constants without limit.
        inferred = onnx.shape_inference.infer_shapes(model)
    except Exception:  # its errors share no base; what is declared is looked at then
        inferred = model
    for name, kind in _values(inferred.graph):
        size_bytes = _size_bytes(kind)
        if size_bytes > MOST_VALUE_BYTES:
            raise PackageError(
                f"file {step.payload} makes value {one_line(name)!r} of {size_bytes:,} bytes, the "
                f"most of a host model is {MOST_VALUE_BYTES:,}",
                code="P002",
                node=step.name,
            )
    if loop := endless_loop(inferred.graph, Costs({}).inside(inferred.graph)):
        reason = (
            "never ends or does more work than" if loop.op_type == "Loop" else "does more work than"
        )
        raise refusal(step.name, reason, loop.op_type)


def _values(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TypeProto.Tensor]]:
    """Walks the tensors that a graph and those inside it declare or hold."""
    pending = [graph]
    while pending:
        here = pending.pop()
        for value in (*here.input, *here.value_info, *here.output):
            if value.type.HasField("tensor_type"):
                yield value.name, value.type.tensor_type
        for tensor in here.initializer:
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            yield tensor.name, kind.tensor_type
        for node in here.node:
            pending += inner_graphs(node)


def _size_bytes(kind: onnx.TypeProto.Tensor) -> int:
    """Computes the bytes of a tensor, 0 where a size or its type is not known."""
    elements = 1
    for dim in kind.shape.dim:
        if not dim.HasField("dim_value"):
            return 0
        elements *= max(0, dim.dim_value)
    try:
        bits = DTYPE_BITS.get(dtype_name(kind.elem_type), 8)
    except ValueError:
        return 0
    return elements * bits // 8 if kind.HasField("shape") else 0
