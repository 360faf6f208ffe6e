"""QONNX: each node lifted gives what its definition says, for weights and for activations, and
what has no standard form is refused in a line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.errors import CompileError
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx

Data = npt.NDArray[Any]
DOMAIN = "qonnx.custom_op.general"
# Multiples of 1/8: in steps of powers of two many are ties.
X = np.linspace(-3, 3, 49, dtype=np.float32).reshape(1, 7, 7)


def model(
    op: str, inputs: list[Data], constant: bool, domain: str = DOMAIN, **attrs: Any
) -> onnx.ModelProto:
    """One node on X; with `constant` X is a weight that is added to an input of zeros."""
    names = [f"c{position}" for position in range(len(inputs))]
    weights = [
        numpy_helper.from_array(np.asarray(d, np.float32), n)
        for d, n in zip(inputs, names, strict=True)
    ]
    source = "w" if constant else "x"
    if constant:
        weights.append(numpy_helper.from_array(X, "w"))
    nodes = [
        helper.make_node(op, [source, *names], ["q"], "node", domain=domain, **attrs),
        helper.make_node("Add", ["q", "x"] if constant else ["q", "zero"], ["y"], "add"),
    ]
    weights.append(numpy_helper.from_array(np.zeros((), np.float32), "zero"))
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, X.shape) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    imports = [helper.make_opsetid("", 13), helper.make_opsetid(domain, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def lifted(
    op: str, inputs: list[Any], constant: bool, **attrs: Any
) -> tuple[Data, tuple[str, ...]]:
    """What the import computes of the node, and the operations it became."""
    graph = import_onnx(model(op, [np.asarray(i) for i in inputs], constant, **attrs)).graph
    feed = np.zeros_like(X) if constant else X
    return np.asarray(Interpreter(graph).run({"x": feed})["y"]), tuple(n.op for n in graph)[:-1]


def defined(scale: Any, point: Any, bits: float, signed: int, narrow: int, mode: str) -> Data:
    """Quant as QONNX defines it."""
    low = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
    high = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    steps = np.clip(X.astype(np.float64) / scale + point, low, high)
    sign, size = np.sign(steps), np.abs(steps)
    rounded = {
        "ROUND": np.round(steps), "HALF_EVEN": np.round(steps), "CEIL": np.ceil(steps),
        "FLOOR": np.floor(steps), "UP": sign * np.ceil(size), "DOWN": sign * np.floor(size),
        "HALF_UP": sign * np.floor(size + 0.5), "HALF_DOWN": sign * np.ceil(size - 0.5),
    }[mode]  # fmt: skip
    return np.asarray((rounded - point) * scale)


CHANNELS = np.linspace(0.11, 0.77, 7, dtype=np.float32).reshape(1, 7, 1)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    ("scale", "point", "bits", "signed", "narrow"),
    [
        (0.0625, 0, 8, 1, 0), (0.0625, 0, 8, 1, 1), (0.25, 0, 4, 1, 1), (0.25, 2, 4, 0, 0),
        (0.25, 0, 3, 0, 1), (0.5, 0, 2.5, 1, 0), (2**-9, 0, 12, 1, 0), (2**-20, 0, 24, 1, 0),
        (CHANNELS, 0, 4, 1, 0),
        (0.0625, -100, 8, 1, 0),
    ],
)  # fmt: skip
def test_bit_widths_signs_and_narrow_ranges(
    scale: Any, point: float, bits: float, signed: int, narrow: int, constant: bool
) -> None:
    scale = np.asarray(scale, np.float32)
    found, _ = lifted(
        "Quant", [scale, point, bits], constant, signed=signed, narrow=narrow, rounding_mode="ROUND"
    )
    wanted = defined(scale, point, bits, signed, narrow, "ROUND")
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(
    "mode", ["HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]
)
def test_every_rounding_mode(mode: str, constant: bool) -> None:
    found, _ = lifted("Quant", [0.25, 0, 6], constant, signed=1, narrow=0, rounding_mode=mode)
    np.testing.assert_allclose(found, defined(0.25, 0, 6, 1, 0, mode), rtol=1e-6)


def test_what_the_forms_are() -> None:
    """Weights are integers with a scale; activations Quantize-Clip-Dequantize; of 24 bits and of
    scales along two axes arithmetic is left.
    """
    attrs = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"}
    assert lifted("Quant", [0.25, 0, 4], True, **attrs)[1] == ("DequantizeLinear",)
    assert lifted("Quant", [0.25, 0, 4], False, **attrs)[1] == (
        "QuantizeLinear",
        "Clip",
        "DequantizeLinear",
    )
    assert lifted("Quant", [0.25, 0, 8], False, **attrs)[1] == (
        "QuantizeLinear",
        "DequantizeLinear",
    )
    assert lifted("Quant", [0.25, 0, 24], False, **attrs)[1] == (
        "Div",
        "Clip",
        "Round",
        "Sub",
        "Mul",
    )
    planes = np.full((1, 7, 7), 0.25, np.float32)
    assert lifted("Quant", [planes, 0, 4], False, **attrs)[1][:2] == ("Div", "Clip")


@pytest.mark.parametrize("constant", [True, False])
def test_bipolar_gives_the_scale_with_the_sign(constant: bool) -> None:
    found, _ = lifted("BipolarQuant", [0.5], constant)
    np.testing.assert_array_equal(found, np.where(X >= 0, 0.5, -0.5))
    found, _ = lifted("Quant", [0.5, 0, 1], constant, signed=1, narrow=1, rounding_mode="ROUND")
    np.testing.assert_array_equal(found, np.where(X >= 0, 0.5, -0.5))


def test_truncation_of_version_one_and_two() -> None:
    """Version 1 keeps the scale and drops bits; version 2 says the new scale, and clips."""
    steps = np.round(X.astype(np.float64) / 0.125)
    found, _ = lifted("Trunc", [0.125, 0, 8, 6], False, rounding_mode="FLOOR")
    np.testing.assert_allclose(found, np.floor(steps / 4) * 0.125)
    found, _ = lifted(
        "Trunc", [0.125, 0, 8, 0.5, 3], False, rounding_mode="FLOOR", signed=1, narrow=0
    )
    np.testing.assert_allclose(found, np.floor(np.clip(steps / 4, -4, 3)) * 0.5)


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "says"),
    [
        ("Quant", [0.25, 0, 99], {}, "error[M004]: node 'node': Quant has a bit width of 99.0"),
        (
            "Quant", [0.25, 0, 4], {"rounding_mode": "SIDEWAYS"},
            "rounding_mode 'SIDEWAYS'; wanted one of ROUND",
        ),
        ("Trunc", [0.25, 0], {}, "error[M010]: node 'node': Trunc has a scale"),
        ("Quantt", [0.25, 0, 4], {}, "has no operation 'Quantt'; did you mean 'Quant'?"),
        (
            "FloatQuant", [0.25], {},
            f"error[M003]: node 'node': domain '{DOMAIN}' has no operation 'FloatQuant'",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused_in_a_line(
    op: str, inputs: list[Any], attrs: Any, says: str
) -> None:
    with pytest.raises(CompileError) as caught:
        lifted(op, inputs, False, **attrs)
    assert says in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_scale_that_is_computed_is_refused() -> None:
    made = model("Quant", [np.array(0.25), np.array(0.0), np.array(4.0)], False, signed=1)
    made.graph.node.insert(0, helper.make_node("ReduceMax", ["x"], ["scale"], "max", keepdims=0))
    made.graph.node[1].input[1] = "scale"
    with pytest.raises(CompileError, match="computes its scale"):
        import_onnx(made)


@pytest.mark.parametrize("domain", ["onnx.brevitas", "finn.custom_op.general"])
def test_older_names_of_the_domain(domain: str) -> None:
    made = model("Quant", [np.array(0.25), np.array(0.0), np.array(4.0)], True, domain, signed=1)
    assert [node.op for node in import_onnx(made).graph] == ["DequantizeLinear", "Add"]
