"""Lifts the operations whose form or meaning changed between opsets, with the same meaning."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx

from compiler.frontend.builder import Builder, Unliftable, attributes_of
from compiler.ir.graph import Attribute
from compiler.ir.protos import numpy_dtype

Attributes = dict[str, Any]
Lift = Callable[[onnx.NodeProto, Builder], None]


def _finish(
    proto: onnx.NodeProto, builder: Builder, inputs: list[str], attrs: Attributes, op: str = ""
) -> None:
    """Adds the operation that makes the node's outputs."""
    given: dict[str, Attribute] = {name: value for name, value in attrs.items() if value != ()}
    builder.emit(op or proto.op_type, inputs, tuple(proto.output), given)


def _int64(builder: Builder, values: object) -> str:
    return builder.constant(np.asarray(values, np.int64))


def _like(builder: Builder, value: str, number: float) -> str:
    """Makes a scalar of a value's element type."""
    return builder.constant(np.asarray(number).astype(_numpy_type(builder, value)))


def _numpy_type(builder: Builder, value: str) -> np.dtype[Any]:
    return numpy_dtype(builder.types[value].dtype)


def lift_axes(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts reductions before 18 (some before 13), whose axes were an attribute.

    ReduceSum, Squeeze and Unsqueeze are those that changed in 13.
    """
    attrs = attributes_of(proto)
    axes = attrs.pop("axes", ())
    inputs = list(proto.input[:1])
    if axes:
        inputs.append(_int64(builder, axes))
    _finish(proto, builder, inputs, attrs)


def lift_clip(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Clip before 11: the bounds were attributes."""
    attrs, data = attributes_of(proto), proto.input[0]
    low = _like(builder, data, attrs["min"]) if "min" in attrs else ""
    high = _like(builder, data, attrs["max"]) if "max" in attrs else ""
    _finish(proto, builder, [data, low, high], {})


def lift_dropout(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Dropout before 12, which does nothing when a model runs."""
    if any(proto.output[1:]):
        raise Unliftable("the mask of Dropout means something else since opset 12")
    builder.emit("Identity", proto.input[:1], (proto.output[0],))


def lift_slice(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Slice before 10: starts, ends and axes were attributes."""
    attrs = attributes_of(proto)
    starts, ends = attrs["starts"], attrs["ends"]
    axes = attrs.get("axes") or tuple(range(len(starts)))
    _finish(
        proto, builder, [proto.input[0], *(_int64(builder, v) for v in (starts, ends, axes))], {}
    )


def lift_pad(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Pad before 11: pads and the value were attributes."""
    attrs, data = attributes_of(proto), proto.input[0]
    value = attrs.pop("value", 0.0)
    inputs = [data, _int64(builder, attrs.pop("pads")), _like(builder, data, value)]
    _finish(proto, builder, inputs, attrs)


def lift_split(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Split: before 13 its sizes were an attribute, before 18 it had no number of outputs."""
    attrs = attributes_of(proto)
    inputs = [name for name in proto.input if name]
    sizes = attrs.pop("split", ())
    if sizes:
        inputs.append(_int64(builder, sizes))
    if len(inputs) == 1:
        axis = attrs.get("axis", 0)
        if builder.sizes(inputs[0])[axis] % len(proto.output):
            raise Unliftable("Split before opset 18 takes equal parts only")
        attrs["num_outputs"] = len(proto.output)
    _finish(proto, builder, inputs, attrs)


def lift_topk(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts TopK before 10: k was an attribute."""
    attrs = attributes_of(proto)
    count = _int64(builder, [attrs.pop("k")])
    _finish(proto, builder, [proto.input[0], count], attrs)


def lift_softmax(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Softmax, LogSoftmax and Hardmax before 13.

    They work on the tensor flattened to a matrix at an axis, by default 1.
    """
    axis = attributes_of(proto).get("axis", 1)
    flattened(proto.op_type, proto.input[0], axis, builder, tuple(proto.output))


def flattened(
    op: str, data: str, axis: int, builder: Builder, outputs: tuple[str, ...] | None
) -> str:
    """Adds an operation over the last axis, on a tensor made a matrix at an axis.

    The last axis needs no matrix.
    """
    rank = builder.rank(data)
    axis += rank if axis < 0 else 0
    if axis == rank - 1:
        return builder.emit(op, [data], outputs, {"axis": axis})
    sizes = builder.sizes(data)
    matrix = (prod(sizes[:axis]), prod(sizes[axis:]))
    flat = builder.emit("Reshape", [data, _int64(builder, matrix)], None, {"allowzero": 1})
    result = builder.emit(op, [flat], None, {"axis": 1})
    return builder.emit("Reshape", [result, _int64(builder, sizes)], outputs, {"allowzero": 1})


def lift_batchnorm(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts BatchNormalization before 14.

    Statistics of training were further outputs, and before 9 they could be per element.
    """
    attrs = attributes_of(proto)
    if any(proto.output[1:]):
        raise Unliftable("BatchNormalization in training mode changed its outputs in opset 14")
    if not attrs.pop("spatial", 1):
        raise Unliftable("BatchNormalization per element is gone since opset 9")
    builder.emit("BatchNormalization", proto.input, (proto.output[0],), attrs)


def lift_upsample(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Upsample, and Resize of opset 10: they are Resize from a grid that starts at 0."""
    attrs = attributes_of(proto)
    scales = proto.input[1] if len(proto.input) > 1 else ""
    if "scales" in attrs:
        scales = builder.constant(np.asarray(attrs["scales"], np.float32))
    mode = attrs.get("mode", "nearest")
    rounding = "floor"
    if mode == "nearest" and proto.op_type == "Resize":
        rounding = _rounding_of_resize_10(scales, builder)
    new = {"mode": mode, "coordinate_transformation_mode": "asymmetric", "nearest_mode": rounding}
    _finish(proto, builder, [proto.input[0], "", scales], new, "Resize")


def _rounding_of_resize_10(scales: str, builder: Builder) -> str:
    """Finds the rounding of positions: ONNX Runtime rounds down where an axis grows, else up."""
    data = builder.constants.get(scales)
    if data is None:
        raise Unliftable("Resize of opset 10 with computed scales rounds by the axis")
    factors = np.asarray(data, np.float32)
    if (factors >= 1).all():
        return "floor"
    if (factors <= 1).all():
        return "ceil"
    raise Unliftable("Resize of opset 10 rounds shrinking and growing axes differently")


def lift_resize(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Resize before 13: it had all its inputs, an empty tensor for one that is not meant."""
    if len(proto.input) == 2:
        lift_upsample(proto, builder)
        return
    attrs = attributes_of(proto)
    inputs = [*proto.input, ""][:4]
    for position in (1, 2, 3):
        data = builder.constants.get(inputs[position])
        if data is not None and data.size == 0:
            inputs[position] = ""
    if attrs.get("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        if attrs.get("mode", "nearest") != "nearest" or attrs.get("nearest_mode") != "floor":
            raise Unliftable("tf_half_pixel_for_nn is gone since opset 13")
        attrs["coordinate_transformation_mode"] = "half_pixel"
        attrs["nearest_mode"] = "round_prefer_ceil"
    _finish(proto, builder, inputs, attrs)


def lift_grid_sample(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts GridSample before 20, which called its modes bilinear and bicubic."""
    attrs = attributes_of(proto)
    mode = attrs.get("mode", "bilinear")
    attrs["mode"] = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    _finish(proto, builder, list(proto.input), attrs)


def lift_dft(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts DFT before 20: the axis was an attribute, by default 1."""
    attrs = attributes_of(proto)
    axis = _int64(builder, attrs.pop("axis", 1))
    inputs = [*proto.input, ""][:2]
    _finish(proto, builder, [*inputs, axis], attrs)


def lift_range(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Range, which takes scalars, where it reads lists of one.

    Computed lists of one run in ONNX Runtime too, and ONNX's own function bodies hand them in.
    """
    inputs = []
    for name in proto.input:
        is_list = builder.types[name].shape == (1,)
        inputs.append(builder.emit("Squeeze", [name]) if is_list else name)
    _finish(proto, builder, inputs, attributes_of(proto))


def lift_scatter(proto: onnx.NodeProto, builder: Builder) -> None:
    """Lifts Scatter, which is called ScatterElements since 11."""
    _finish(proto, builder, list(proto.input), attributes_of(proto), "ScatterElements")


_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")

# By operation: the first opset that needs no lift, and the lift for those before.
LIFTS: dict[str, tuple[int, Lift]] = {
    **{f"Reduce{kind}": (18, lift_axes) for kind in _REDUCTIONS},
    "ReduceSum": (13, lift_axes),
    "Squeeze": (13, lift_axes),
    "Unsqueeze": (13, lift_axes),
    "Clip": (11, lift_clip),
    "Dropout": (12, lift_dropout),
    "Slice": (10, lift_slice),
    "Pad": (11, lift_pad),
    "Split": (18, lift_split),
    "TopK": (10, lift_topk),
    "Softmax": (13, lift_softmax),
    "LogSoftmax": (13, lift_softmax),
    "Hardmax": (13, lift_softmax),
    "BatchNormalization": (14, lift_batchnorm),
    "Upsample": (10, lift_upsample),
    "Resize": (13, lift_resize),
    "GridSample": (20, lift_grid_sample),
    "DFT": (20, lift_dft),
    "Range": (27, lift_range),
    "Scatter": (99, lift_scatter),
}
