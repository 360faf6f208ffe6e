"""Rewrites the quantized dialects of ONNX into one form.

That form is DequantizeLinear, float operation, QuantizeLinear.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx

from compiler.frontend.builder import Builder, Unliftable, attributes_of, input_of
from compiler.frontend.dynamic import rewrite_dynamic_matmul, rewrite_matmul_to_float
from compiler.frontend.lift_rules import flattened
from compiler.frontend.qonnx import QONNX_DOMAINS
from compiler.frontend.qonnx import REWRITES as QONNX
from compiler.frontend.tensors import MICROSOFT
from compiler.ir.graph import Array, Attribute

Rewrite = Callable[[onnx.NodeProto, Builder], None]


def _attributes(proto: onnx.NodeProto, *wanted: str) -> dict[str, Any]:
    """Reads the attributes that a standard operation has too; an empty list is as good as none."""
    found = attributes_of(proto)
    return {name: value for name, value in found.items() if name in wanted and value != ()}


def _dequantize(builder: Builder, data: str, scale: str, point: str, axis: int = 0) -> str:
    """Turns integers into floats, per index along `axis` where the scale is a list."""
    inputs, attrs = _quantization(builder, scale, point, axis)
    return builder.emit("DequantizeLinear", [data, *inputs], None, attrs)


def _quantize(
    builder: Builder, proto: onnx.NodeProto, value: str, scale: str, point: str, dtype: str
) -> None:
    """Turns floats into integers, which become the node's output."""
    inputs, attrs = _quantization(builder, scale, point, 0)
    if not inputs[1]:
        inputs[1] = builder.constant(np.zeros((), dtype))
    builder.emit("QuantizeLinear", [value, *inputs], (proto.output[0],), attrs)


def _quantization(
    builder: Builder, scale: str, point: str, axis: int
) -> tuple[list[str], dict[str, Attribute]]:
    """Brings scale and zero point to scalars, or to lists along an axis.

    ONNX writes a list of one for both.
    """
    if builder.types[scale].elements == 1:
        return [_scalar(builder, scale), _scalar(builder, point)], {}
    if point and builder.types[point].elements == 1:
        data = builder.constants.get(point)
        if data is None:
            raise Unliftable("the zero point is computed")
        point = builder.constant(np.broadcast_to(np.asarray(data).reshape(1), builder.sizes(scale)))
    return [scale, point], {"axis": axis}


def _scalar(builder: Builder, name: str) -> str:
    if not name or builder.types[name].shape == ():
        return name
    data = builder.constants.get(name)
    if data is None:
        return builder.emit("Squeeze", [name])
    return builder.constant(np.asarray(data).reshape(()))


def _bias(builder: Builder, bias: str, data_scale: str, weight_scale: str) -> str:
    """Turns the int32 bias into floats.

    Its scale is the product of the input's and the weights', in float32.
    """
    scales = [builder.constants.get(name) for name in (data_scale, weight_scale)]
    if scales[0] is None or scales[1] is None:
        scale = builder.emit("Mul", [data_scale, weight_scale])
    else:
        product = np.asarray(scales[0], np.float32) * np.asarray(scales[1], np.float32)
        scale = builder.constant(np.asarray(product, np.float32))
    return _dequantize(builder, bias, scale, "")


def rewrite_conv(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QLinearConv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias?)."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = proto.input[:8]
    inputs = [
        _dequantize(builder, x, x_scale, x_zero),
        _dequantize(builder, w, w_scale, w_zero),
    ]
    if input_of(proto, 8):
        inputs.append(_bias(builder, proto.input[8], x_scale, w_scale))
    attrs = _attributes(proto, "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")
    result = builder.emit("Conv", inputs, None, attrs)
    _quantize(builder, proto, result, y_scale, y_zero, builder.types[x].dtype)


def rewrite_matmul(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QLinearMatMul(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)."""
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = proto.input[:8]
    if builder.types[a_scale].elements > 1:
        raise Unliftable("the rows have scales of their own")
    axis = builder.rank(b) - 1
    inputs = [
        _dequantize(builder, a, a_scale, a_zero),
        _dequantize(builder, b, b_scale, b_zero, axis),
    ]
    result = builder.emit("MatMul", inputs)
    _quantize(builder, proto, result, y_scale, y_zero, builder.types[a].dtype)


def rewrite_gemm(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QGemm(a, a_scale, a_zero, b, b_scale, b_zero, bias?, y_scale?, y_zero?).

    Without the output's scale it gives floats.
    """
    a, a_scale, a_zero, b, b_scale, b_zero = proto.input[:6]
    attrs = _attributes(proto, "alpha", "transA", "transB")
    axis = 0 if attrs.get("transB", 0) else 1
    inputs = [
        _dequantize(builder, a, a_scale, a_zero),
        _dequantize(builder, b, b_scale, b_zero, axis),
    ]
    if input_of(proto, 6):
        inputs.append(_bias(builder, proto.input[6], a_scale, b_scale))
        if attrs.get("alpha", 1.0) != 1.0:
            raise Unliftable("alpha scales the bias of QGemm too")
    if not input_of(proto, 7):
        builder.emit("Gemm", inputs, (proto.output[0],), attrs)
        return
    result = builder.emit("Gemm", inputs, None, attrs)
    _quantize(builder, proto, result, proto.input[7], input_of(proto, 8), builder.types[a].dtype)


def _rewrite_binary(op: str) -> Rewrite:
    """Rewrites QLinearAdd and QLinearMul.

    Their inputs are (a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero?).
    """

    def rewrite(proto: onnx.NodeProto, builder: Builder) -> None:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale = proto.input[:7]
        inputs = [
            _dequantize(builder, a, a_scale, a_zero),
            _dequantize(builder, b, b_scale, b_zero),
        ]
        result = builder.emit(op, inputs)
        _quantize(builder, proto, result, y_scale, input_of(proto, 7), builder.types[a].dtype)

    return rewrite


def _rewrite_unary(op: str, *attributes: str) -> Rewrite:
    """Rewrites an operation of one value (x, x_scale, x_zero?, y_scale, y_zero?)."""

    def rewrite(proto: onnx.NodeProto, builder: Builder) -> None:
        attrs = _attributes(proto, *attributes)
        if _attributes(proto, "channels_last").get("channels_last", 0):
            raise Unliftable("the channels are last")
        x, x_scale, x_zero, y_scale = proto.input[:4]
        value = _dequantize(builder, x, x_scale, x_zero)
        result = builder.emit(op, [value], None, attrs)
        _quantize(builder, proto, result, y_scale, input_of(proto, 4), builder.types[x].dtype)

    return rewrite


def rewrite_softmax(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QLinearSoftmax(x, x_scale, x_zero, y_scale, y_zero).

    Its `opset` says which Softmax is meant.
    """
    attrs = _attributes(proto, "axis", "opset")
    x, x_scale, x_zero, y_scale = proto.input[:4]
    value = _dequantize(builder, x, x_scale, x_zero)
    axis = attrs.get("axis", -1)
    if attrs.get("opset", 13) < 13:
        result = flattened("Softmax", value, axis, builder, None)
    else:
        result = builder.emit("Softmax", [value], None, {"axis": axis})
    _quantize(builder, proto, result, y_scale, input_of(proto, 4), builder.types[x].dtype)


def rewrite_packed_matmul(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites MatMulNBits(a, b, scales, zero_points?, g_idx?, bias?).

    b is [columns, blocks, bytes], low bits first.
    """
    attrs = _attributes(proto, "K", "N", "bits", "block_size")
    rows, columns, bits, block = (attrs.get(name, 4) for name in ("K", "N", "bits", "block_size"))
    points_type = builder.types[proto.input[3]].dtype if input_of(proto, 3) else "uint8"
    packed = builder.constants.get(proto.input[1])
    scales = builder.constants.get(proto.input[2])
    points = builder.constants.get(input_of(proto, 3))
    if packed is None or scales is None or (points is None and input_of(proto, 3)):
        raise Unliftable("its weights are computed")
    if input_of(proto, 4) or bits not in (4, 8) or points_type != "uint8":
        raise Unliftable("of its forms, 4 and 8 bits in the order of the rows have a standard one")
    blocks = -(-rows // block)
    if packed.size != columns * blocks * block * bits // 8 or scales.size != columns * blocks:
        raise Unliftable("its weights do not have the sizes that its attributes say")
    integers = _unpacked(packed, bits).reshape(columns, blocks * block)[:, :rows]
    zeros = np.full((columns, blocks), 1 << (bits - 1), np.uint8)
    if points is not None:
        wanted = columns * -(-blocks * bits // 8)
        if points.size != wanted:
            raise ValueError(f"{points.size} bytes of zero points, wanted {wanted}")
        zeros = _unpacked(points, bits).reshape(columns, -1)[:, :blocks]
    dtype = ml_dtypes.uint4 if bits == 4 else np.uint8
    quantized = [
        builder.constant(integers.T.astype(dtype)),
        builder.constant(scales.reshape(columns, blocks).T),
        builder.constant(zeros.T.astype(dtype)),
    ]
    weights = builder.emit("DequantizeLinear", quantized, None, {"axis": 0, "block_size": block})
    bias = input_of(proto, 5)
    product = None if bias else tuple(proto.output[:1])
    result = builder.emit("MatMul", [proto.input[0], weights], product)
    if bias:
        builder.emit("Add", [result, bias], tuple(proto.output[:1]))


def _unpacked(packed: Array, bits: int) -> npt.NDArray[np.uint8]:
    data = np.asarray(packed, np.uint8).reshape(-1)
    return data if bits == 8 else np.stack([data & 15, data >> 4], axis=1).reshape(-1)


def rewrite_concat(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QLinearConcat(y_scale, y_zero, then x, x_scale, x_zero of each part)."""
    parts = list(proto.input[2:])
    values = [_dequantize(builder, *parts[at : at + 3]) for at in range(0, len(parts), 3)]
    result = builder.emit("Concat", values, None, _attributes(proto, "axis"))
    y_scale, y_zero = proto.input[:2]
    _quantize(builder, proto, result, y_scale, y_zero, builder.types[parts[0]].dtype)


def rewrite_quantize(proto: onnx.NodeProto, builder: Builder) -> None:
    """Rewrites QuantizeLinear and DequantizeLinear of com.microsoft as the standard ones."""
    attrs = _attributes(proto, "axis", "block_size")
    builder.emit(proto.op_type, proto.input, tuple(proto.output), attrs)


_POOL = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides")

DIALECTS: dict[tuple[str, str], Rewrite] = {
    ("", "QLinearConv"): rewrite_conv,
    ("", "QLinearMatMul"): rewrite_matmul,
    (MICROSOFT, "QLinearConv"): rewrite_conv,
    (MICROSOFT, "QGemm"): rewrite_gemm,
    (MICROSOFT, "QLinearAdd"): _rewrite_binary("Add"),
    (MICROSOFT, "QLinearMul"): _rewrite_binary("Mul"),
    (MICROSOFT, "QLinearAveragePool"): _rewrite_unary("AveragePool", *_POOL),
    (MICROSOFT, "QLinearGlobalAveragePool"): _rewrite_unary("GlobalAveragePool"),
    (MICROSOFT, "QLinearLeakyRelu"): _rewrite_unary("LeakyRelu", "alpha"),
    (MICROSOFT, "QLinearSigmoid"): _rewrite_unary("Sigmoid"),
    (MICROSOFT, "QLinearSoftmax"): rewrite_softmax,
    (MICROSOFT, "QLinearConcat"): rewrite_concat,
    (MICROSOFT, "MatMulNBits"): rewrite_packed_matmul,
    (MICROSOFT, "DynamicQuantizeMatMul"): rewrite_dynamic_matmul,
    (MICROSOFT, "MatMulIntegerToFloat"): rewrite_matmul_to_float,
    (MICROSOFT, "QuantizeLinear"): rewrite_quantize,
    (MICROSOFT, "DequantizeLinear"): rewrite_quantize,
    **{(domain, op): rewrite for domain in QONNX_DOMAINS for op, rewrite in QONNX.items()},
}
