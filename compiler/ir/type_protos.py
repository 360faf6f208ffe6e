"""Reads and changes the shapes in ONNX's types."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.ir.multiply_accumulates import Shape

if TYPE_CHECKING:
    import onnx


def shape_of(kind: onnx.TypeProto) -> Shape | None:
    """Reads the shape of an ONNX type; None for no tensor, or one of unknown rank."""
    if kind.WhichOneof("value") != "tensor_type" or not kind.tensor_type.HasField("shape"):
        return None
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None
        for dim in kind.tensor_type.shape.dim
    )


def common_sizes(one: Shape, other: Shape | None) -> list[int | None] | None:
    """Returns the sizes that two shapes share; None where they differ in rank."""
    if other is None or len(one) != len(other):
        return None
    return [a if a == b else None for a, b in zip(one, other, strict=True)]


def has_all_sizes(kind: onnx.TypeProto) -> bool:
    """Whether a type is a tensor with all sizes known."""
    shape = shape_of(kind)
    return shape is not None and None not in shape


def elements_of(shape: Shape) -> int | None:
    """Counts the elements of a shape, None where a size is not known."""
    count = 1
    for size in shape:
        if size is None:
            return None
        count *= size
    return count


def with_shape(kind: onnx.TypeProto, shape: list[int | None] | None) -> onnx.TypeProto:
    """Gives a tensor type another shape."""
    import onnx

    return onnx.helper.make_tensor_type_proto(kind.tensor_type.elem_type, shape)
