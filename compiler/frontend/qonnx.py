"""Rewrites QONNX (Brevitas, QKeras, FINN) into standard operations.

Quant, BipolarQuant and Trunc become QuantizeLinear, Clip and DequantizeLinear.

The meaning is that of the qonnx package's own executor (Pappalardo et al., "QONNX: Representing
Arbitrary-Precision Quantized Neural Networks", 2022): y = (round(clip(x / scale + zero point)) -
zero point) * scale, with bounds that follow from the bit width. QuantizeLinear rounds before it
adds the zero point, so that an activation halfway between two steps goes to the other one where the
zero point is odd.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

from compiler.errors import ModelError
from compiler.frontend.builder import Builder, input_of
from compiler.ir.graph import Array

Doubles = npt.NDArray[np.float64]

QONNX_DOMAINS = (
    "qonnx.custom_op.general",
    "finn.custom_op.general",
    "onnx.brevitas",
    "brevitas.onnx",
)
HALF_EVEN = ("ROUND", "HALF_EVEN")


@dataclass(frozen=True)
class _Format:
    """Integers low..high; real = scale * (integer - point).

    Scale and point are numbers, or shaped as they meet the value.
    """

    low: int
    high: int
    scale: Doubles
    point: Doubles


def rewrite_quant(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites Quant (or IntQuant)(x, scale, zeropt, bitwidth) {signed, narrow, rounding_mode}."""
    data, scale, point, bits = (_constant(proto, position, builder) for position in range(4))
    if scale is None or point is None or bits is None:
        raise ModelError(
            f"{proto.op_type} computes its scale, zero point or bit width while running; the "
            "compiler takes constant ones",
            code="M010", node=builder.name,
            hint="export the model for inference, with its quantizers in evaluation mode",
        )  # fmt: skip
    if bits.size != 1 or not 1 <= float(bits.reshape(-1)[0]) <= 32:
        raise ModelError(
            f"{proto.op_type} has a bit width of {bits.tolist()}, wanted one number from 1 to 32",
            code="M004", node=builder.name,
        )  # fmt: skip
    width, signed, narrow = (
        float(bits.reshape(-1)[0]),
        _flag(proto, "signed", 1),
        _flag(proto, "narrow", 0),
    )
    if width == 1 and signed:
        _bipolar(proto, builder, data, scale)
        return
    # A fractional width is legal; its bounds are rounded like the values they bound.
    low = -(2 ** (width - 1)) + narrow if signed else 0.0
    high = 2 ** (width - 1) - 1 if signed else 2**width - 1 - narrow
    rounding = _text(proto, "rounding_mode", "ROUND").upper()
    if rounding not in _ROUNDING:
        raise ModelError(
            f"{proto.op_type} has rounding_mode {rounding!r}; wanted one of {', '.join(_ROUNDING)}",
            code="M004", node=builder.name,
        )  # fmt: skip
    bounds = _ROUNDING[rounding](np.array([low, high]))
    form = _Format(int(bounds[0]), int(bounds[1]), scale, point)
    if data is not None:
        shifted = np.clip(np.asarray(data, np.float64) / scale + point, low, high)
        _constant_integers(proto, builder, _ROUNDING[rounding](shifted), form)
        return
    value = proto.input[0]
    if rounding not in HALF_EVEN:
        value = _rounded(value, rounding, form, builder)
    _clipped(proto, builder, value, form)


def rewrite_bipolar(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites BipolarQuant(x, scale): the scale, with the sign of x (that of 0 is +)."""
    data, scale = _constant(proto, 0, builder), _constant(proto, 1, builder)
    if scale is None:
        raise ModelError(
            "BipolarQuant computes its scale while running; the compiler takes a constant one",
            code="M010", node=builder.name,
        )  # fmt: skip
    _bipolar(proto, builder, data, scale)


def rewrite_trunc(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites Trunc(x, scale, zeropt, input bits, output bits).

    Since version 2 it is Trunc(x, scale, zeropt, input bits, output scale, output bits).
    """
    parts = [_constant(proto, position, builder) for position in range(1, len(proto.input))]
    if len(parts) not in (4, 5) or any(part is None for part in parts):
        raise ModelError(
            "Trunc has a scale, zero point or bit width that is computed while running, or is "
            "missing",
            code="M010", node=builder.name,
        )  # fmt: skip
    scale, point, bits_in, *rest = (np.asarray(part, np.float64) for part in parts)
    rounding = _text(proto, "rounding_mode", "FLOOR").upper()
    if rounding not in _ROUNDING or any(part.size != 1 for part in (scale, bits_in, *rest)):
        raise ModelError(
            f"Trunc with rounding_mode {rounding!r} and scales {scale.tolist()}: wanted one scale "
            f"and one of {', '.join(_ROUNDING)}",
            code="M004", node=builder.name,
        )  # fmt: skip
    steps = _arithmetic(builder, "Round", _shifted(proto.input[0], scale, point, builder))
    if len(rest) == 1:
        divisor, out_scale, out_point = 2.0 ** float((bits_in - rest[0]).item()), scale, point
    else:
        divisor = 2.0 ** round(float(np.log2(rest[0].item() / scale.item())))
        out_scale, out_point = rest[0], point / divisor
    value = _arithmetic(builder, "Div", steps, divisor)
    if len(rest) == 2:
        width, signed, narrow = rest[1].item(), _flag(proto, "signed", 1), _flag(proto, "narrow", 0)
        low = -(2 ** (width - 1)) + narrow if signed else 0.0
        high = 2 ** (width - 1) - 1 if signed else 2**width - 1 - narrow
        value = _arithmetic(builder, "Clip", value, low, high)
    value = _round_as(value, rounding, builder)
    value = _arithmetic(builder, "Sub", value, float(out_point.item()))
    scale_name = builder.constant(np.float32(out_scale.item()))
    builder.emit("Mul", [value, scale_name], (proto.output[0],))


def _bipolar(proto: onnx.NodeProto, builder: Builder, data: Array | None, scale: Doubles) -> None:
    form = _Format(-1, 1, scale, np.zeros(()))
    if data is not None:
        _constant_integers(
            proto, builder, np.where(np.asarray(data, np.float64) >= 0, 1.0, -1.0), form
        )
        return
    zero, one, minus = (builder.constant(np.float32(number)) for number in (0, 1, -1))
    positive = builder.emit("GreaterOrEqual", [proto.input[0], zero])
    sign = builder.emit("Where", [positive, one, minus])
    value = builder.emit("Mul", [sign, builder.constant(scale.astype(np.float32))])
    _clipped(proto, builder, value, form)


# -- integers


def _constant_integers(
    proto: onnx.NodeProto, builder: Builder, integers: Doubles, form: _Format
) -> None:
    """Writes constant weights as integers with their scale.

    Where their scale lies along several axes they are written as the floats they are.
    """
    lined_up = _along_one_axis(form, integers.ndim, builder)
    storage = _storage(form)
    if lined_up is None or storage is None:
        real = (integers - form.point) * form.scale
        builder.set_constant(proto.output[0], real.astype(np.float32))
        return
    scale, point, attrs = lined_up
    name = builder.constant(integers.astype(storage))
    zero = builder.constant(point.astype(storage))
    builder.emit("DequantizeLinear", [name, scale, zero], (proto.output[0],), attrs)


def _clipped(proto: onnx.NodeProto, builder: Builder, value: str, form: _Format) -> None:
    """Writes QuantizeLinear, Clip where the format is narrower than its type, DequantizeLinear.

    In floats where there is no such type.
    """
    storage = _storage(form)
    rank = len(builder.types[value].shape or ())
    lined_up = _along_one_axis(form, rank, builder) if storage is not None else None
    if storage is None or lined_up is None:
        shifted = _shifted(value, form.scale, form.point, builder)
        bounded = _arithmetic(builder, "Clip", shifted, form.low, form.high)
        rounded = _arithmetic(builder, "Round", bounded)
        centered = builder.emit("Sub", [rounded, builder.constant(form.point.astype(np.float32))])
        factor = builder.constant(form.scale.astype(np.float32))
        builder.emit("Mul", [centered, factor], (proto.output[0],))
        return
    scale, point, attrs = lined_up
    zero = builder.constant(point.astype(storage))
    integers = builder.emit("QuantizeLinear", [value, scale, zero], None, attrs)
    limits = np.iinfo(storage)
    if (form.low, form.high) != (limits.min, limits.max):
        bounds = [builder.constant(np.array(bound, storage)) for bound in (form.low, form.high)]
        integers = builder.emit("Clip", [integers, *bounds])
    builder.emit("DequantizeLinear", [integers, scale, zero], (proto.output[0],), attrs)


def _storage(form: _Format) -> str | None:
    """Finds the type that holds a format's integers and zero point.

    None where neither 8 nor 16 bits do, or the point is no integer.
    """
    whole = np.array_equal(form.point, np.rint(form.point))
    low = min(form.low, float(form.point.min()))
    high = max(form.high, float(form.point.max()))
    for name in (
        ("int8", "uint8", "int16", "uint16")
        if form.low < 0
        else ("uint8", "int8", "uint16", "int16")
    ):
        limits = np.iinfo(name)
        if whole and limits.min <= low and high <= limits.max:
            return name
    return None


def _along_one_axis(
    form: _Format, rank: int, builder: Builder
) -> tuple[str, Doubles, dict[str, int]] | None:
    """Brings scale, zero points and attributes to the form that QuantizeLinear takes.

    The scale is given as a constant's name. None where they vary along more than one axis.
    """
    shape = np.broadcast_shapes(form.scale.shape, form.point.shape)
    long = [axis - len(shape) + rank for axis, size in enumerate(shape) if size > 1]
    if len(long) > 1 or not np.all(form.scale > 0):
        return None
    scale, point = (np.broadcast_to(part, shape).reshape(-1) for part in (form.scale, form.point))
    if not long:
        return builder.constant(np.float32(scale[0])), np.asarray(point[0]), {}
    return builder.constant(scale.astype(np.float32)), point, {"axis": long[0]}


# -- arithmetic


def _shifted(value: str, scale: Doubles, point: Doubles, builder: Builder) -> str:
    """Writes the value in steps of the scale, x / scale + zero point."""
    result = builder.emit("Div", [value, builder.constant(scale.astype(np.float32))])
    if np.any(point):
        result = builder.emit("Add", [result, builder.constant(point.astype(np.float32))])
    return result


def _rounded(value: str, rounding: str, form: _Format, builder: Builder) -> str:
    """Rounds a value to the format's steps by another rounding than half to even.

    QuantizeLinear then finds nothing to round.
    """
    steps = _round_as(_shifted(value, form.scale, form.point, builder), rounding, builder)
    if np.any(form.point):
        steps = builder.emit("Sub", [steps, builder.constant(form.point.astype(np.float32))])
    return builder.emit("Mul", [steps, builder.constant(form.scale.astype(np.float32))])


def _round_as(value: str, rounding: str, builder: Builder) -> str:
    if rounding in HALF_EVEN:
        return _arithmetic(builder, "Round", value)
    if rounding in ("CEIL", "FLOOR"):
        return _arithmetic(builder, rounding.capitalize(), value)
    sign, size = builder.emit("Sign", [value]), builder.emit("Abs", [value])
    op, shift = {
        "UP": ("Ceil", 0.0),
        "DOWN": ("Floor", 0.0),
        "HALF_UP": ("Floor", 0.5),
        "HALF_DOWN": ("Ceil", -0.5),
    }[rounding]
    if shift:
        size = _arithmetic(builder, "Add", size, shift)
    return builder.emit("Mul", [sign, builder.emit(op, [size])])


def _arithmetic(builder: Builder, op: str, value: str, *numbers: float) -> str:
    return builder.emit(op, [value, *(builder.constant(np.float32(n)) for n in numbers)])


_ROUNDING: dict[str, Callable[[Doubles], Doubles]] = {
    "ROUND": np.rint,
    "HALF_EVEN": np.rint,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
}


# -- reading a node


def _constant(proto: onnx.NodeProto, position: int, builder: Builder) -> Doubles | None:
    """Reads a constant input; None where it is computed or missing."""
    data = builder.constants.get(input_of(proto, position))
    return None if data is None else np.asarray(data).astype(np.float64)


def _flag(proto: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(bool(a.i)) for a in proto.attribute if a.name == name), default)


def _text(proto: onnx.NodeProto, name: str, default: str) -> str:
    return next((a.s.decode() for a in proto.attribute if a.name == name), default)


REWRITES = {
    "Quant": rewrite_quant,
    "IntQuant": rewrite_quant,
    "BipolarQuant": rewrite_bipolar,
    "Trunc": rewrite_trunc,
}
