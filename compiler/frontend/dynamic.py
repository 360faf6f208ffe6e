"""Rewrites ONNX Runtime's integer products with floats at their ends in standard operations.

They are DynamicQuantizeMatMul and MatMulIntegerToFloat.
"""

from __future__ import annotations

import onnx

from compiler.frontend.builder import Builder, Unliftable, input_of


def rewrite_dynamic_matmul(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites DynamicQuantizeMatMul(a, b, b_scale, b_zero?, bias?).

    `a` is rounded to uint8 over its own range first.
    """
    a, b, b_scale = proto.input[:3]
    integers, scale, zero = (builder.fresh(part) for part in ("integers", "scale", "zero"))
    builder.emit("DynamicQuantizeLinear", [a], (integers, scale, zero))
    _product(
        proto,
        builder,
        (integers, scale, zero),
        (b, b_scale, input_of(proto, 3)),
        input_of(proto, 4),
    )


def rewrite_matmul_to_float(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites MatMulIntegerToFloat(a, b, a_scale, b_scale, a_zero?, b_zero?, bias?)."""
    a, b, a_scale, b_scale = proto.input[:4]
    left = (a, a_scale, input_of(proto, 4))
    _product(proto, builder, left, (b, b_scale, input_of(proto, 5)), input_of(proto, 6))


def _product(
    proto: onnx.NodeProto,
    builder: Builder,
    left: tuple[str, str, str],
    right: tuple[str, str, str],
    bias: str,
) -> None:
    """Writes (a - a_zero) (b - b_zero) * (a_scale * b_scale) + bias, summed up in int32."""
    if builder.types[left[1]].elements != 1 or builder.types[right[1]].shape is None:
        raise Unliftable("the rows have scales of their own")
    inputs = [left[0], right[0], left[2], right[2]]
    floats = builder.emit("Cast", [builder.emit("MatMulInteger", inputs)], None, {"to": 1})
    factor = builder.emit("Mul", [left[1], right[1]])
    last = (proto.output[0],)
    result = builder.emit("Mul", [floats, factor], None if bias else last)
    if bias:
        builder.emit("Add", [result, bias], last)
