"""Warns of outputs that are not what the model declares; refuses what cannot be, or is empty."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import onnx

from compiler.errors import Diagnostic, ModelError
from compiler.ir.graph import DTYPE_BITS, Graph, TensorType
from compiler.ir.protos import from_type_proto

FALSE_TYPE = "its element type is false"


def told_of_false_shapes(
    outputs: Iterable[onnx.ValueInfoProto],
    graph: Graph,
    shapes_of_run: Callable[[], Mapping[str, tuple[int, ...]]],
) -> list[Diagnostic]:
    """Warns (W014) of outputs whose shapes are not those that the model declares.

    Names of sizes promise nothing, and neither does -1. ONNX Runtime runs such a model and says
    what it found, so the model is taken where `shapes_of_run`, called once and only then, finds the
    shape that the graph has. Raises ModelError (M004) where it does not, and for element types that
    are false and sizes that cannot be.
    """
    warnings = []
    run: Mapping[str, tuple[int, ...]] | None = None
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
        why = _why_false(declared, found)
        if not why:
            continue
        message = f"output {value.name!r} is declared as {_words(declared)} and is {_words(found)}"
        if why != FALSE_TYPE:
            run = shapes_of_run() if run is None else run
            if value.name in run and _agrees(run[value.name], found):
                hint = "the shape that it has counts; mend the declaration, as others may trust it"
                warnings.append(Diagnostic(code="W014", message=f"{message}: {why}", hint=hint))
                continue
        raise ModelError(
            f"{message}: {why}",
            code="M004",
            hint="export the model again, or correct what it declares",
        )
    return warnings


def _agrees(shape: tuple[int, ...], kind: TensorType) -> bool:
    """Whether a value of this shape is of this type, sizes that are not known aside."""
    if kind.shape is None:
        return True
    return len(shape) == len(kind.shape) and all(
        size in (None, found) for size, found in zip(kind.shape, shape, strict=True)
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
        return FALSE_TYPE
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
