"""Quantized dialects: the graph is plain QDQ and gives what ONNX Runtime gives, up to one step
of the output.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from compiler.errors import ModelError
from compiler.execute.interpreter import Interpreter
from compiler.execute.session import open_session
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.verify import verify

Data = npt.NDArray[Any]
MICROSOFT = "com.microsoft"
QDQ = ("DequantizeLinear", "QuantizeLinear")


def integers(shape: tuple[int, ...], dtype: str, seed: int = 0) -> Data:
    limits = np.iinfo(dtype)
    random = np.random.default_rng(seed)
    return random.integers(limits.min, limits.max, shape, endpoint=True).astype(dtype)


def scale(*values: float) -> Data:
    return np.array(values if len(values) > 1 else values[0], np.float32)


def zero(value: int, dtype: str) -> Data:
    return np.array(value, dtype)


def one_node(
    op: str,
    domain: str,
    feed: dict[str, Data],
    inputs: list[Data | str | None],
    out: str,
    **attrs: Any,
) -> onnx.ModelProto:
    """A node whose inputs are the model's (by name), constants (by data) or left out (None)."""
    names, constants = [], []
    for position, item in enumerate(inputs):
        if isinstance(item, np.ndarray):
            constants.append(onnx.numpy_helper.from_array(item, f"c{position}"))
        names.append(f"c{position}" if isinstance(item, np.ndarray) else item or "")
    number = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], name="node", domain=domain, **attrs)],
        "one_node",
        [helper.make_tensor_value_info(n, number(d.dtype), d.shape) for n, d in feed.items()],
        [helper.make_tensor_value_info("y", number(np.dtype(out)), None)],
        constants,
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def check(model: onnx.ModelProto, feed: dict[str, Data], ops: tuple[str, ...]) -> None:
    session = open_session(model.SerializeToString())
    (wanted,) = session.run(None, feed)
    graph = import_onnx(model).graph
    verify(graph)
    assert tuple(node.op for node in graph if node.op not in QDQ) == ops
    assert all(node.origin == ("node",) for node in graph)
    found = Interpreter(graph).run(feed)["y"]
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert graph.types["y"].shape == wanted.shape
    if wanted.dtype.kind == "f":
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    else:
        assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("per_channel", [True, False])
def test_convolution(dtype: str, bias: bool, per_channel: bool) -> None:
    feed = {"x": integers((1, 3, 6, 6), dtype)}
    scales = scale(0.01, 0.02, 0.03, 0.004) if per_channel else scale(0.01)
    zeros = np.zeros(4, "int8") if per_channel else zero(0, "int8")
    weights = integers((4, 3, 3, 3), "int8", 1)
    inputs: list[Data | str | None] = [
        "x", scale(0.02), zero(7, dtype), weights, scales, zeros, scale(0.2), zero(3, dtype)
    ]  # fmt: skip
    if bias:
        inputs.append(np.array([500, -300, 100, 0], np.int32))
    model = one_node("QLinearConv", "", feed, inputs, dtype, strides=[2, 1], pads=[1, 1, 1, 1])
    check(model, feed, ("Conv",))


def test_bias_has_the_product_of_the_scales_in_float32() -> None:
    feed = {"x": integers((1, 1, 2, 2), "int8")}
    scales = scale(0.01, 0.03)
    zeros = np.zeros(2, "int8")
    bias = np.array([500, -300], np.int32)
    weights = integers((2, 1, 1, 1), "int8", 1)
    inputs: list[Data | str | None] = [
        "x", scale(0.02), zero(0, "int8"), weights, scales, zeros, scale(0.1), zero(0, "int8"), bias
    ]  # fmt: skip
    graph = import_onnx(one_node("QLinearConv", "", feed, inputs, "int8")).graph
    conv = next(node for node in graph if node.op == "Conv")
    dequantize = graph.producer[conv.inputs[2]]
    assert dequantize.op == "DequantizeLinear"
    assert dequantize.attrs == {"axis": 0}
    np.testing.assert_array_equal(graph.constants[dequantize.inputs[0]], bias)
    product = np.float32(0.02) * scales
    np.testing.assert_array_equal(graph.constants[dequantize.inputs[1]], product)


@pytest.mark.parametrize("per_column", [True, False])
def test_matrix_product(per_column: bool) -> None:
    feed = {"x": integers((2, 3, 8), "uint8")}
    scales = scale(*np.linspace(0.01, 0.02, 5)) if per_column else scale(0.01)
    zeros = np.zeros(5, "int8") if per_column else zero(0, "int8")
    weights = integers((8, 5), "int8", 1)
    inputs: list[Data | str | None] = [
        "x", scale(0.02), zero(120, "uint8"), weights, scales, zeros, scale(0.1), zero(128, "uint8")
    ]  # fmt: skip
    check(one_node("QLinearMatMul", "", feed, inputs, "uint8"), feed, ("MatMul",))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("out", ["int8", "float32"])
def test_gemm(transposed: int, out: str) -> None:
    feed = {"x": integers((2, 8), "int8")}
    scales = scale(*np.linspace(0.01, 0.02, 5))
    weights = integers((5, 8) if transposed else (8, 5), "int8", 1)
    bias = np.arange(-200, 300, 100, dtype=np.int32)
    inputs: list[Data | str | None] = [
        "x", scale(0.02), zero(-5, "int8"), weights, scales, np.zeros(5, "int8"), bias
    ]  # fmt: skip
    if out == "int8":
        inputs += [scale(0.1), zero(4, "int8")]
    check(one_node("QGemm", MICROSOFT, feed, inputs, out, transB=transposed), feed, ("Gemm",))


@pytest.mark.parametrize(("op", "becomes"), [("QLinearAdd", "Add"), ("QLinearMul", "Mul")])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_sum_and_product_of_two(op: str, becomes: str, dtype: str) -> None:
    feed = {"a": integers((2, 6), dtype), "b": integers((6,), dtype, 1)}
    inputs: list[Data | str | None] = [
        "a", scale(0.02), zero(3, dtype), "b", scale(0.05), zero(1, dtype), scale(0.08),
        zero(9, dtype)
    ]  # fmt: skip
    check(one_node(op, MICROSOFT, feed, inputs, dtype), feed, (becomes,))


UNARY = [
    ("QLinearAveragePool", "AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("QLinearAveragePool", "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("QLinearGlobalAveragePool", "GlobalAveragePool", {}),
    ("QLinearLeakyRelu", "LeakyRelu", {"alpha": 0.2}),
    ("QLinearSigmoid", "Sigmoid", {}),
    ("QLinearSoftmax", "Softmax", {"axis": -1, "opset": 13}),
    ("QLinearSoftmax", "Softmax", {"axis": 1, "opset": 13}),
]


@pytest.mark.parametrize(("op", "becomes", "attrs"), UNARY)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_functions_of_one(op: str, becomes: str, attrs: dict[str, Any], dtype: str) -> None:
    feed = {"x": integers((1, 3, 6, 4), dtype)}
    inputs: list[Data | str | None] = [
        "x", scale(0.05), zero(4, dtype), scale(0.03), zero(20, dtype)
    ]  # fmt: skip
    check(one_node(op, MICROSOFT, feed, inputs, dtype, **attrs), feed, (becomes,))


def test_softmax_of_older_opsets_flattens() -> None:
    feed = {"x": integers((2, 3, 4), "uint8")}
    inputs: list[Data | str | None] = [
        "x", scale(0.05), zero(4, "uint8"), scale(1 / 256), zero(0, "uint8")
    ]  # fmt: skip
    model = one_node("QLinearSoftmax", MICROSOFT, feed, inputs, "uint8", axis=1, opset=11)
    check(model, feed, ("Reshape", "Softmax", "Reshape"))


def test_concatenation() -> None:
    feed = {"a": integers((1, 2, 3), "uint8"), "b": integers((1, 4, 3), "uint8", 1)}
    inputs: list[Data | str | None] = [
        scale(0.04), zero(128, "uint8"), "a", scale(0.02), zero(100, "uint8"), "b", scale(0.05),
        zero(3, "uint8")
    ]  # fmt: skip
    check(one_node("QLinearConcat", MICROSOFT, feed, inputs, "uint8", axis=1), feed, ("Concat",))


@pytest.mark.parametrize("axis", [0, 1])
def test_quantization_of_the_contributed_domain(axis: int) -> None:
    feed = {"x": np.linspace(-3, 3, 6, dtype=np.float32).reshape(3, 2)}
    count = feed["x"].shape[axis]
    scales = scale(*np.linspace(0.01, 0.05, count))
    zeros = np.arange(count).astype("int8")
    inputs: list[Data | str | None] = ["x", scales, zeros]
    check(one_node("QuantizeLinear", MICROSOFT, feed, inputs, "int8", axis=axis), feed, ())
    back = {"x": integers((3, 2), "int8")}
    check(one_node("DequantizeLinear", MICROSOFT, back, inputs, "float32", axis=axis), back, ())


@pytest.mark.parametrize("points", [True, False])
def test_packed_weights_of_four_bits(points: bool) -> None:
    """MatMulNBits: weights [columns, blocks, bytes], two to a byte, each block with its scale."""
    feed = {"x": np.random.default_rng(3).standard_normal((2, 64)).astype(np.float32)}
    packed = integers((6, 2, 16), "uint8", 1)
    scales = np.random.default_rng(2).uniform(0.01, 0.02, 12).astype(np.float32)
    inputs: list[Data | str | None] = ["x", packed, scales]
    if points:
        inputs.append(integers((6,), "uint8", 4))
    attrs = {"K": 64, "N": 6, "bits": 4, "block_size": 32}
    check(one_node("MatMulNBits", MICROSOFT, feed, inputs, "float32", **attrs), feed, ("MatMul",))


def packed(points: int = 6) -> tuple[onnx.ModelProto, dict[str, Data]]:
    """MatMulNBits as NNCF 3.4 writes it: scales of either sign, -8 being the largest weight of
    each block.
    """
    feed = {"x": np.random.default_rng(3).standard_normal((2, 64)).astype(np.float32)}
    scales = np.random.default_rng(2).uniform(-0.02, 0.02, 12).astype(np.float32)
    inputs: list[Data | str | None] = [
        "x", integers((6, 2, 16), "uint8", 1), scales, integers((points,), "uint8", 4)
    ]  # fmt: skip
    attrs = {"K": 64, "N": 6, "bits": 4, "block_size": 32}
    return one_node("MatMulNBits", MICROSOFT, feed, inputs, "float32", **attrs), feed


def test_weights_of_negative_scales_are_the_floats_they_stand_for() -> None:
    """-128 times a negative scale has no int8 of a positive one."""
    model, feed = packed()
    check(model, feed, ("MatMul",))
    whole = one_node(
        "DequantizeLinear",
        "",
        feed,
        [integers((4, 3), "int8"), scale(0.1, -0.2, 0.3)],
        "float32",
        axis=1,
    )
    whole.graph.node.append(helper.make_node("MatMul", ["x", "y"], ["z"], name="product"))
    whole.graph.output[0].name = "z"
    feed = {"x": feed["x"][:, :4]}
    whole.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4
    graph = import_onnx(whole).graph
    assert [node.op for node in graph] == ["MatMul"]
    session = open_session(whole.SerializeToString())
    (wanted,) = session.run(None, feed)
    np.testing.assert_allclose(Interpreter(graph).run(feed)["z"], wanted, rtol=1e-5)


def test_an_opset_of_microsoft_need_not_be_imported() -> None:
    """NNCF 3.4 leaves it out, and ONNX Runtime runs the model."""
    model, feed = packed()
    del model.opset_import[1]
    check(model, feed, ("MatMul",))
    assert "taken as 1" in import_onnx(model).notes[0].message


def test_zero_points_of_another_size() -> None:
    """NNCF 3.4 gives a byte to each zero point of INT4_ASYM, where ONNX Runtime wants two in
    one.
    """
    with pytest.raises(ModelError, match="12 bytes of zero points, wanted 6"):
        import_onnx(packed(points=12)[0])
