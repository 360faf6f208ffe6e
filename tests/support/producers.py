"""Makes models as their producers write them.

By the producer's own tool where the tests have it (ONNX Runtime's quantizer), else as the same
nodes in the same order, with the same types and attributes, from `Writer`. Each function gives one
small trained-like network. Sources: onnxruntime.quantization itself; exports by Brevitas 0.13,
torch 2.13, torchao 0.18, NNCF 3.4, TensorRT Model Optimizer 0.47, Quark 0.13 and AIMET 2.42 that
these were compared with; tf2onnx's published models for the rest.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

Data = npt.NDArray[Any]
MODELS = Path(__file__).parents[2] / "models"
IMAGES = np.load(MODELS / "digits_calibration.npz")["image"]


# -- ONNX Runtime's own quantizer


def onnxruntime_static(folder: Path, net: str, **options: Any) -> onnx.ModelProto:
    """Runs quantize_static on one of our models.

    Options as of onnxruntime.quantization, types by name.
    """
    from onnxruntime import quantization as ort

    class Reader(ort.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
        def __init__(self) -> None:
            self.samples = iter(IMAGES[:16])

        def get_next(self) -> dict[str, Data] | None:
            sample = next(self.samples, None)
            return None if sample is None else {"image": sample[None]}

    kinds = {k: ort.QuantType.from_string(v) for k, v in options.items() if k.endswith("_type")}
    options = {**options, **kinds, "quant_format": ort.QuantFormat[options["quant_format"]]}
    result = folder / "static.onnx"
    with _quietly():
        ort.quantize_static(MODELS / net, result, Reader(), **options)
    return onnx.load(result)


def onnxruntime_dynamic(folder: Path, net: str, weights: str, **options: Any) -> onnx.ModelProto:
    """quantize_dynamic on one of our models."""
    from onnxruntime import quantization as ort

    result = folder / "dynamic.onnx"
    with _quietly():
        ort.quantize_dynamic(
            MODELS / net, result, weight_type=ort.QuantType.from_string(weights), **options
        )
    return onnx.load(result)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Without the advice that the quantizer logs."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


# -- patterns written out


class Writer:
    """Nodes in the order they are written, weights as initializers.

    One input `x`, one output `y`.
    """

    def __init__(self, opset: int = 17, seed: int = 0, dtype: str = "float32") -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, onnx.TensorProto] = {}
        self.domains = {"": opset}
        self.random = np.random.default_rng(seed)
        self.dtype = dtype
        self.count = 0

    def const(self, data: Any, dtype: Any = None) -> str:
        """An initializer."""
        name = f"w{len(self.weights)}"
        kind = self.dtype if dtype is None else dtype
        array = np.array(data).astype(getattr(ml_dtypes, str(kind), kind))
        self.weights[name] = numpy_helper.from_array(array, name)
        return name

    def node(self, op: str, *inputs: str, out: str = "", domain: str = "", **attrs: Any) -> str:
        """A node with one output; its domain is imported."""
        self.count += 1
        result = out or f"v{self.count}"
        name = f"{op}_{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [result], name, domain=domain, **attrs))
        if domain:
            self.domains.setdefault(domain, 1)
        return result

    def numbers(self, *shape: int, reach: float = 0.0) -> Data:
        """Weights of a trained layer's size: normal, of variance 2 over the inputs."""
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        return self.random.standard_normal(shape) * (reach or np.sqrt(2 / fan_in))

    def quantized(
        self,
        value: str,
        scale: float,
        point: int = 0,
        dtype: str = "int8",
        clip: tuple[int, int] | None = None,
    ) -> str:
        """QuantizeLinear, Clip if asked for, DequantizeLinear of an activation."""
        s, z = self.const(scale), self.const(point, dtype)
        integers = self.node("QuantizeLinear", value, s, z)
        if clip is not None:
            integers = self.node("Clip", integers, *(self.const(bound, dtype) for bound in clip))
        return self.node("DequantizeLinear", integers, s, z)

    def integer_weights(
        self, data: Data, axis: int | None = 0, bits: int = 8, dtype: str = "int8"
    ) -> str:
        """Stores weights as integers behind a DequantizeLinear.

        With one scale or one along an axis.
        """
        integers, scale = symmetric(data, axis, bits)
        names = [
            self.const(integers, dtype), self.const(scale), self.const(np.zeros(scale.shape), dtype)
        ]  # fmt: skip
        return self.node("DequantizeLinear", *names, **_axis(axis))

    def float_weights(
        self,
        data: Data,
        axis: int | None = 0,
        clip: tuple[int, int] | None = None,
        dtype: str = "int8",
    ) -> str:
        """Stores float weights that Q and DQ round when the model is loaded."""
        bits = int(dtype.removeprefix("int")) if clip is None else clip[1].bit_length() + 1
        _, scale = symmetric(data, axis, bits)
        attrs = _axis(axis)
        s, z = self.const(scale), self.const(np.zeros(scale.shape), dtype)
        integers = self.node("QuantizeLinear", self.const(data), s, z, **attrs)
        if clip is not None:
            integers = self.node("Clip", integers, *(self.const(bound, "int8") for bound in clip))
        return self.node("DequantizeLinear", integers, s, z, **attrs)

    def model(self, shape: tuple[int, ...], out: tuple[int, ...], producer: str) -> onnx.ModelProto:
        """The model from input `x` to output `y`."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(getattr(ml_dtypes, self.dtype, self.dtype)))
        graph = helper.make_graph(
            self.nodes,
            producer,
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", kind, out)],
            list(self.weights.values()),
        )
        imports = [helper.make_opsetid(name, version) for name, version in self.domains.items()]
        return helper.make_model(
            graph, opset_imports=imports, ir_version=10, producer_name=producer
        )


def _axis(axis: int | None) -> dict[str, Any]:
    return {} if axis is None else {"axis": axis}


def symmetric(data: Data, axis: int | None, bits: int = 8) -> tuple[Data, Data]:
    """Rounds weights symmetrically to integers and scales.

    One scale for all where the axis is None.
    """
    others = None if axis is None else tuple(a for a in range(data.ndim) if a != axis)
    scale = np.abs(data).max(axis=others) / (2 ** (bits - 1) - 1)
    spread = (
        scale if axis is None else scale.reshape([-1 if a == axis else 1 for a in range(data.ndim)])
    )
    return np.rint(data / spread), np.asarray(scale, np.float32)


IMAGE, SCORES = (1, 3, 8, 8), (1, 10)


def tensorrt_modelopt() -> onnx.ModelProto:
    """TensorRT Model Optimizer: int8 around 0 at the inputs of products only.

    Float weights behind Q and DQ, a residual Add in floats.
    """
    w = Writer()
    x = w.quantized("x", 0.02)
    a = w.node(
        "Conv",
        x,
        w.float_weights(w.numbers(16, 3, 3, 3)),
        w.const(w.numbers(16, reach=0.1)),
        pads=[1] * 4,
    )
    a = w.node("Relu", a)
    b = w.node(
        "Conv",
        w.quantized(a, 0.03),
        w.float_weights(w.numbers(16, 16, 3, 3)),
        w.const(w.numbers(16, reach=0.1)),
        pads=[1] * 4,
    )
    c = w.node("Relu", w.node("Add", b, a))
    p = w.node("Flatten", w.node("GlobalAveragePool", c))
    w.node(
        "Gemm",
        w.quantized(p, 0.02),
        w.float_weights(w.numbers(10, 16)),
        w.const(w.numbers(10, reach=0.1)),
        out="y",
        transB=1,
    )
    return w.model(IMAGE, SCORES, "modelopt")


def aimet(weights: str = "int8") -> onnx.ModelProto:
    """AIMET: Q and DQ at every activation, weights float behind Q and DQ.

    A Transpose between DQ and MatMul, the bias an Add.
    """
    w = Writer(opset=21)
    x = w.quantized("x", 0.02, -3)
    a = w.node(
        "Conv",
        x,
        w.float_weights(w.numbers(16, 3, 3, 3), dtype=weights),
        w.const(w.numbers(16, reach=0.1)),
        pads=[1] * 4,
    )
    a = w.quantized(w.node("Relu", a), 0.03, -128)
    flat = w.quantized(
        w.node("Flatten", w.quantized(w.node("GlobalAveragePool", a), 0.01, -128)), 0.01, -128
    )
    matrix = w.node(
        "Transpose", w.float_weights(w.numbers(10, 16), None, dtype=weights), perm=[1, 0]
    )
    h = w.node("Add", w.node("MatMul", flat, matrix), w.const(w.numbers(10, reach=0.1)))
    s, z = w.const(0.03), w.const(5, "int8")
    w.node("DequantizeLinear", w.node("QuantizeLinear", h, s, z), s, z, out="y")
    return w.model(IMAGE, SCORES, "aimet")


def nncf() -> onnx.ModelProto:
    """NNCF on ONNX: uint8 activations in [0, top], the Relu still there, int8 weights per channel.

    Biases float, no quantized output.
    """
    w = Writer(13)
    x = w.quantized("x", 0.02, 128, "uint8")
    a = w.node(
        "Conv",
        x,
        w.float_weights(w.numbers(16, 3, 3, 3)),
        w.const(w.numbers(16, reach=0.1)),
        pads=[1] * 4,
    )
    a = w.quantized(w.node("Relu", a), 0.02, 0, "uint8")
    d = w.node(
        "Conv",
        a,
        w.float_weights(w.numbers(16, 1, 3, 3)),
        w.const(w.numbers(16, reach=0.1)),
        group=16,
        pads=[1] * 4,
    )
    d = w.quantized(w.node("Clip", d, w.const(0.0), w.const(6.0)), 6 / 255, 0, "uint8")
    p = w.node("Reshape", w.node("GlobalAveragePool", d), w.const([1, -1], "int64"))
    w.node(
        "Gemm",
        w.quantized(p, 0.01, 0, "uint8"),
        w.float_weights(w.numbers(10, 16)),
        w.const(w.numbers(10, reach=0.1)),
        out="y",
        transB=1,
    )
    return w.model(IMAGE, SCORES, "nncf")


def quark() -> onnx.ModelProto:
    """AMD Quark for XINT8: every scale a power of two, int8 everywhere.

    The bias is int8 too, the weights are integers already.
    """
    w = Writer(17)
    x = w.quantized("x", 2**-6)

    def conv(value: str, *shape: int) -> str:
        integers, _ = symmetric(w.numbers(*shape), None)
        weights = w.node(
            "DequantizeLinear", w.const(integers, "int8"), w.const(2.0**-8), w.const(0, "int8")
        )
        bias = w.node(
            "DequantizeLinear",
            w.const(w.random.integers(-50, 50, shape[0]), "int8"),
            w.const(2.0**-8),
            w.const(0, "int8"),
        )
        return w.node("Conv", value, weights, bias, pads=[1] * 4)

    a = w.quantized(w.node("Relu", conv(x, 16, 3, 3, 3)), 2**-6)
    b = w.quantized(conv(a, 16, 16, 3, 3), 2**-5)
    c = w.quantized(w.node("Relu", w.node("Add", b, a)), 2**-5)
    p = w.quantized(w.node("GlobalAveragePool", c), 2**-6)
    w.node("Conv", p, w.integer_weights(w.numbers(10, 16, 1, 1)), out="y")
    return w.model(IMAGE, (1, 10, 1, 1), "quark.onnx")


def tf2onnx() -> onnx.ModelProto:
    """tf2onnx of a quantization-aware Keras model: NHWC ports, Gemm by MatMul.

    Transposes between Q, DQ and Conv, weights moved behind their DQ.
    """
    w = Writer(15)
    x = w.quantized("x", 0.02, -10)
    x = w.node("Transpose", x, perm=[0, 3, 1, 2])
    weights = w.integer_weights(w.numbers(3, 3, 3, 16, reach=0.2), 3)
    kernel = w.node("Transpose", weights, perm=[3, 2, 0, 1])
    a = w.node(
        "Conv", x, kernel, w.const(w.numbers(16, reach=0.1)), auto_pad="SAME_UPPER", strides=[2, 2]
    )
    a = w.node("Transpose", w.node("Relu", a), perm=[0, 2, 3, 1])
    a = w.quantized(a, 0.02, -128)
    flat = w.node("Reshape", a, w.const([-1, 256], "int64"))
    dense = w.node(
        "Reshape",
        w.integer_weights(w.numbers(256, 10, reach=0.1), None),
        w.const([256, 10], "int64"),
    )
    h = w.node("Add", w.node("MatMul", flat, dense), w.const(w.numbers(10, reach=0.1)))
    s, z = w.const(0.05), w.const(0, "int8")
    w.node("DequantizeLinear", w.node("QuantizeLinear", h, s, z), s, z, out="y")
    return w.model((1, 8, 8, 3), SCORES, "tf2onnx")


def brevitas_qcdq() -> onnx.ModelProto:
    """Brevitas QCDQ, 4 bits: Quantize, Clip, Dequantize on activations and on float weights.

    Batch norm between Conv and its Relu.
    """
    w = Writer(18)
    x = w.quantized("x", 0.02)
    a = w.node(
        "Conv",
        x,
        w.float_weights(w.numbers(16, 3, 3, 3), None, (-7, 7)),
        w.const(w.numbers(16, reach=0.1)),
        pads=[1] * 4,
    )
    a = w.quantized(w.node("Relu", a), 0.2, 0, "uint8", (0, 15))
    b = w.node("Conv", a, w.float_weights(w.numbers(16, 16, 3, 3), None, (-7, 7)), pads=[1] * 4)
    ones = w.random.random((4, 16)) + 0.5
    b = w.node("BatchNormalization", b, *(w.const(row) for row in ones))
    b = w.quantized(w.node("Relu", b), 0.2, 0, "uint8", (0, 15))
    p = w.node(
        "Reshape",
        w.quantized(w.node("AveragePool", b, kernel_shape=[8, 8]), 0.02, 0, "uint8"),
        w.const([1, 16], "int64"),
    )
    w.node(
        "Gemm",
        p,
        w.float_weights(w.numbers(10, 16), None, (-7, 7)),
        w.const(w.numbers(10, reach=0.1)),
        out="y",
        transB=1,
    )
    return w.model(IMAGE, SCORES, "brevitas")


QONNX = "qonnx.custom_op.general"


def brevitas_qonnx() -> onnx.ModelProto:
    """Brevitas QONNX, 4 bits: Quant on activations, weights and (in 16 bits) biases.

    The bit widths are tensors.
    """
    w = Writer(13)
    w.domains[QONNX] = 2

    def quant(value: str, scale: Any, bits: float, signed: int = 1, narrow: int = 0) -> str:
        parameters = [w.const(scale), w.const(0.0), w.const(float(bits))]
        return w.node(
            "Quant",
            value,
            *parameters,
            domain=QONNX,
            signed=signed,
            narrow=narrow,
            rounding_mode="ROUND",
        )

    def weights(*shape: int) -> str:
        data = w.numbers(*shape)
        scale = np.abs(data).reshape(shape[0], -1).max(1).reshape(-1, *[1] * (len(shape) - 1)) / 7
        return quant(w.const(data), scale, 4, narrow=1)

    x = quant("x", 0.02, 8)
    a = w.node("Conv", x, weights(16, 3, 3, 3), w.const(w.numbers(16, reach=0.1)), pads=[1] * 4)
    a = quant(w.node("Relu", a), 0.2, 4, signed=0)
    b = w.node("Conv", a, weights(16, 16, 3, 3), pads=[1] * 4)
    b = quant(w.node("Relu", b), 0.2, 4, signed=0)
    p = quant(w.node("GlobalAveragePool", b), 0.02, 8, signed=0)
    p = w.node("Flatten", p)
    w.node("Gemm", p, weights(10, 16), w.const(w.numbers(10, reach=0.1)), out="y", transB=1)
    return w.model(IMAGE, SCORES, "brevitas")


def qkeras_qonnx() -> onnx.ModelProto:
    """QONNX of binary and of floor-rounded layers: BipolarQuant weights, Quant that rounds down."""
    w = Writer(13)
    w.domains[QONNX] = 1
    x = w.node(
        "Quant",
        "x",
        w.const(0.0625),
        w.const(0.0),
        w.const(6.0),
        domain=QONNX,
        signed=1,
        narrow=0,
        rounding_mode="FLOOR",
    )
    binary = w.node("BipolarQuant", w.const(w.numbers(16, 3, 3, 3)), w.const(0.2), domain=QONNX)
    a = w.node("Relu", w.node("Conv", x, binary, pads=[1] * 4))
    a = w.node(
        "Quant",
        a,
        w.const(0.0625),
        w.const(0.0),
        w.const(6.0),
        domain=QONNX,
        signed=0,
        narrow=0,
        rounding_mode="ROUND",
    )
    w.node(
        "Conv",
        a,
        w.node("BipolarQuant", w.const(w.numbers(10, 16, 1, 1)), w.const(0.2), domain=QONNX),
        out="y",
    )
    return w.model(IMAGE, (1, 10, 8, 8), "qkeras")


def torch_fake_quantize() -> onnx.ModelProto:
    """torch.onnx.export of a fake-quantized model: 7 bits in uint8 by a Clip to 127.

    An Identity chain, weights in Constant nodes.
    """
    w = Writer(13)
    x = w.quantized("x", 0.04, 64, "uint8", (0, 127))
    constant = helper.make_node(
        "Constant",
        [],
        ["kernel"],
        value=numpy_helper.from_array(w.numbers(16, 3, 3, 3).astype(np.float32)),
    )
    w.nodes.append(constant)
    scale, zero = w.const(np.full(16, 0.005)), w.const(np.zeros(16), "int8")
    weights = w.node(
        "DequantizeLinear",
        w.node(
            "QuantizeLinear", w.node("Identity", w.node("Identity", "kernel")), scale, zero, axis=0
        ),
        scale,
        zero,
        axis=0,
    )
    a = w.node("Relu", w.node("Conv", x, weights, w.const(w.numbers(16, reach=0.1)), pads=[1] * 4))
    a = w.quantized(a, 0.04, 0, "uint8", (0, 127))
    w.node("MaxPool", a, out="y", kernel_shape=[2, 2], strides=[2, 2])
    return w.model(IMAGE, (1, 16, 4, 4), "pytorch")


def shared_and_unsorted() -> onnx.ModelProto:
    """A weight's DQ shared by two layers, and nodes in no execution order.

    A value is quantized once for both.
    """
    w = Writer(17)
    x = w.quantized("x", 0.02)
    weights = w.integer_weights(w.numbers(3, 3, 3, 3))
    a = w.quantized(w.node("Conv", x, weights, pads=[1] * 4), 0.03)
    b = w.quantized(w.node("Conv", a, weights, pads=[1] * 4), 0.03)
    c = w.quantized(w.node("Conv", x, weights, pads=[1] * 4), 0.03)
    w.node("Add", b, c, out="y")
    w.nodes.reverse()
    return w.model(IMAGE, IMAGE, "unsorted")


def blocked_weights(op: str = "MatMulNBits", dtype: str = "float32") -> onnx.ModelProto:
    """4-bit weights with a scale for each block of 32 rows.

    com.microsoft's MatMulNBits, or DequantizeLinear with a block_size (opset 21).
    """
    w = Writer(21, dtype=dtype)
    value = "x"
    for rows, columns in ((64, 32), (32, 10)):
        data = w.numbers(rows, columns, reach=np.sqrt(2 / rows)).T.reshape(columns, -1, 32)
        scale = np.abs(data).max(-1) / 7
        integers = (np.rint(data / scale[..., None]) + 8).astype(np.uint8)
        if op == "MatMulNBits":
            packed = integers[..., ::2] | integers[..., 1::2] << 4
            names = [value, w.const(packed, "uint8"), w.const(scale)]
            value = w.node(
                "MatMulNBits",
                *names,
                domain="com.microsoft",
                K=rows,
                N=columns,
                bits=4,
                block_size=32,
            )
        else:
            flat = integers.reshape(columns, rows).T
            names = [
                w.const(flat, "uint4"),
                w.const(scale.T),
                w.const(np.full(scale.T.shape, 8), "uint4"),
            ]
            weights = w.node("DequantizeLinear", *names, axis=0, block_size=32)
            value = w.node("MatMul", value, weights)
        value = w.node("Add", value, w.const(w.numbers(columns, reach=0.1)))
        if columns == 32:
            value = w.node("Relu", value)
    w.node("Identity", value, out="y")
    return w.model((1, 64), SCORES, "onnxruntime-genai" if op == "MatMulNBits" else "olive")


def dynamic_by_contrib() -> onnx.ModelProto:
    """Dynamic quantization after ONNX Runtime's optimizer.

    DynamicQuantizeMatMul and MatMulIntegerToFloat.
    """
    w = Writer(17)
    value = "x"
    for op, rows, columns in (("DynamicQuantizeMatMul", 64, 32), ("MatMulIntegerToFloat", 32, 10)):
        integers, scale = symmetric(w.numbers(rows, columns, reach=np.sqrt(2 / rows)), None)
        weights, factor, zero = w.const(integers, "int8"), w.const(scale), w.const(0, "int8")
        bias = w.const(w.numbers(columns, reach=0.1))
        if op == "DynamicQuantizeMatMul":
            value = w.node(op, value, weights, factor, zero, bias, domain="com.microsoft")
            value = w.node("Relu", value)
        else:
            w.nodes.append(
                helper.make_node("DynamicQuantizeLinear", [value], ["q", "s", "z"], "dynamic")
            )
            w.node(op, "q", weights, "s", factor, "z", zero, bias, domain="com.microsoft", out="y")
    return w.model((1, 64), SCORES, "onnxruntime")


def half(dtype: str) -> onnx.ModelProto:
    """A float16 or bfloat16 model, with a QDQ pair whose scale is of that type."""
    w = Writer(22, dtype=dtype)
    a = w.node(
        "Relu",
        w.node(
            "Conv",
            "x",
            w.const(w.numbers(16, 3, 3, 3)),
            w.const(w.numbers(16, reach=0.1)),
            pads=[1] * 4,
        ),
    )
    b = w.node(
        "Conv", w.quantized(a, 0.03125), w.integer_weights(w.numbers(16, 16, 3, 3)), pads=[1] * 4
    )
    p = w.node("Flatten", w.node("GlobalAveragePool", w.node("Relu", b)))
    w.node(
        "Gemm", p, w.const(w.numbers(10, 16)), w.const(w.numbers(10, reach=0.1)), out="y", transB=1
    )
    return w.model(IMAGE, SCORES, "onnxconverter-common")


def torchscript_named(opset: int) -> onnx.ModelProto:
    """The TorchScript exporter: names as scopes, Constant nodes, an unneeded Identity.

    A Flatten by Shape, Gather, Concat and Reshape.
    """
    w = Writer(opset)
    a = w.node(
        "Relu",
        w.node(
            "Conv",
            "x",
            w.const(w.numbers(16, 3, 3, 3)),
            w.const(w.numbers(16, reach=0.1)),
            kernel_shape=[3, 3],
            pads=[1] * 4,
        ),
    )
    a = w.node("Identity", w.node("AveragePool", a, kernel_shape=[8, 8], strides=[8, 8]))
    size = w.node("Gather", w.node("Shape", a), w.const(0, "int64"), axis=0)
    parts = [size, w.const([-1], "int64")]
    if opset < 13:
        parts[0] = w.node("Unsqueeze", size, axes=[0])
    else:
        parts[0] = w.node("Unsqueeze", size, w.const([0], "int64"))
    flat = w.node("Reshape", a, w.node("Concat", *parts, axis=0))
    w.node(
        "Gemm",
        flat,
        w.const(w.numbers(10, 16)),
        w.const(w.numbers(10, reach=0.1)),
        out="y",
        transB=1,
        alpha=1.0,
        beta=1.0,
    )
    model = w.model(IMAGE, SCORES, "pytorch")
    model.ir_version = 4 if opset < 10 else 8
    return model
