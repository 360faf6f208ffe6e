"""Refuses models whose outputs are not what the model says, or hold nothing."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from compiler.errors import ModelError
from compiler.ir.graph import DTYPE_BITS, Graph, TensorType
from compiler.ir.protos import from_type_proto


def require_true_outputs(outputs: Iterable[onnx.ValueInfoProto], graph: Graph) -> None:
    """Requires that the outputs are of the types and fixed sizes that the model declares.

    Names of sizes promise nothing, and neither does -1. Raises ModelError (M004).
    """
    for value in outputs:
        if value.type.WhichOneof("value") != "tensor_type":
            continue
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if _is_fixed(dim)]
        negative = next((size for size in sizes if size < -1), None)
        if negative is not None:
            raise ModelError(
                f"output {value.name!r} is declared with a negative size, {negative}", code="M004"
            )
        declared, found = _declared(value), graph.types[value.name]
        if why := _why_false(declared, found):
            raise ModelError(
                f"output {value.name!r} is declared as {_words(declared)} and is {_words(found)}: "
                f"{why}",
                code="M004",
                hint="export the model again, or correct what it declares",
            )


def require_work(graph: Graph) -> None:
    """Requires that a batch of an input is not of 0 samples, where it leaves every output empty.

    Raises ModelError (M004).
    """
    kinds = [graph.types[name] for name in graph.outputs]
    if not all(kind.is_static and kind.elements == 0 for kind in kinds):
        return
    for name in graph.inputs:
        kind = graph.types[name]
        if kind.shape is not None and len(kind.shape) > 1 and kind.shape[0] == 0:
            raise ModelError(
                f"input {name!r} is {_words(kind)}, a batch of 0 samples: nothing would be "
                "computed",
                code="M004",
                hint="export the model with a batch of 1 or a free one, or bind it to 1 or more",
            )


def _is_fixed(dim: onnx.TensorShapeProto.Dimension) -> bool:
    return bool(dim.HasField("dim_value"))


def _declared(value: onnx.ValueInfoProto) -> TensorType:
    kind = from_type_proto(value.type)
    if kind.shape is None:
        return kind
    dims = value.type.tensor_type.shape.dim
    fixed = (dim.dim_value if _is_fixed(dim) and dim.dim_value >= 0 else None for dim in dims)
    return TensorType(kind.dtype, tuple(fixed))


def _why_false(declared: TensorType, found: TensorType) -> str:
    """Explains what a declaration says falsely, or returns an empty string."""
    known = {declared.dtype, found.dtype} <= set(DTYPE_BITS)
    if known and declared.dtype != found.dtype:
        return "its element type is false"
    if declared.shape is None or found.shape is None:
        return ""
    if len(declared.shape) != len(found.shape):
        return "its number of axes is false"
    pairs = enumerate(zip(declared.shape, found.shape, strict=True))
    wrong = [axis for axis, (one, other) in pairs if None not in (one, other) and one != other]
    return f"its size on axis {wrong[0]} is false" if wrong else ""


def _words(kind: TensorType) -> str:
    if kind.shape is None:
        return kind.dtype
    return f"{kind.dtype}[{', '.join('?' if size is None else str(size) for size in kind.shape)}]"
