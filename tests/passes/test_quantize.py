"""Writes formats into a placed graph: integers on engines, conversions where engines meet.

Errors are as stated.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest

from compiler.cost.divergence import relative_squared_error
from compiler.engines.mapping import map_node
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Array, Graph, Node, Placement
from compiler.ir.text import from_text
from compiler.ir.verify import verify
from compiler.target.chip import load_target
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.inputs import CalibrationInputs, load_inputs, synthetic_inputs
from passes.pipeline import clean_passes, compile_passes
from passes.quantize import Quantize
from passes.refit import Refit
from tests.support.chips import on_chips

DIANA = load_target("diana")
MODELS = Path(__file__).parents[2] / "models"


def quantized(text: str, engines: dict[str, str], slices: int = 1) -> Graph:
    """Places every node by hand, then quantizes on 16 made-up samples.

    Nodes are on the digital engine unless given otherwise.
    """
    graph = from_text(text)
    inputs = synthetic_inputs(graph, 16)
    graph = Calibrate(inputs)(graph, DIANA)
    nodes = tuple(
        replace(node, placement=placed(node, graph, engines.get(node.name, "digital"), slices))
        for node in graph
    )
    after = Refit(inputs)(Quantize()(replace(graph, nodes=nodes), DIANA), DIANA)
    verify(after)
    return after


def placed(node: Node, graph: Graph, engine: str, slices: int) -> Placement:
    mapping = map_node(node, graph, engine, DIANA, weight_slices=slices, resident=True)
    return Placement(mapping=mapping, reason="by hand", energy_pj=1, latency_ns=1)


def shape_of(graph: Graph) -> list[str]:
    """Each node in a few words: what it is and where."""
    return [f"{node.op}({', '.join(node.inputs[:1])}) @{node.engine}" for node in graph]


def divergence_of(before: Graph, after: Graph, count: int = 16) -> float:
    samples = synthetic_inputs(before, count).arrays
    wanted, found = (Interpreter(graph).run_all(samples) for graph in (before, after))
    return max(
        relative_squared_error(wanted[n].astype(np.float64), found[n].astype(np.float64))
        for n in before.outputs
    )


# -- small graphs, whole


def test_one_layer_on_the_digital_engine() -> None:
    """Floats become integers on the host, and the product runs on integers.

    The result becomes floats on the host.
    """
    text = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 2] = Product(x, w) minimum=0.0
"""
    after = quantized(text, {})
    assert shape_of(after) == [
        "QuantizeLinear(x) @host", "Product(x.int8) @digital", "DequantizeLinear(y.int8) @host",
    ]  # fmt: skip
    product = after.nodes[1]
    assert after.types[product.inputs[1]].quant is not None
    assert after.constants[product.inputs[1]].dtype == np.int8
    assert after.constants[product.inputs[2]].dtype == np.int32
    assert product.attrs == {"minimum": 0.0}
    assert divergence_of(from_text(text), after) < 1e-3


def test_one_layer_on_the_analog_array() -> None:
    """Its inputs are 7-bit integers of their own scale: the digital engine requantizes."""
    text = """\
graph g(x: float32[1, 8]) -> (y)
w: float32[1, 8, 4] = const random(1, -1, 1)
y: float32[1, 4] = Product(x, w)
"""
    after = quantized(text, {"y": "analog"}, slices=3)
    assert shape_of(after) == [
        "QuantizeLinear(x) @host",
        "Requantize(x.int8) @digital",
        "AnalogProduct(x.int8.to.y) @analog",
        "DequantizeLinear(y.int8) @host",
    ]
    given = after.types["x.int8.to.y"].quant
    assert given is not None
    assert given.bits == 7
    product = after.nodes[2]
    assert (
        product.attrs["rows"],
        product.attrs["array_rows"],
        product.attrs["converter_bits"],
    ) == (8, 1152, 6)
    assert after.constants[product.inputs[1]].shape == (3, 1, 8, 4)
    assert divergence_of(from_text(text), after) < 0.02


def test_a_value_is_converted_once_for_all_its_readers() -> None:
    after = quantized(
        """\
graph g(x: float32[1, 4]) -> (y, z, v)
a: float32[1, 4] = Relu(x)
y: float32[1, 4] = Sigmoid(a)
z: float32[1, 4] = Tanh(a)
h: float32[1, 4] = Exp(a)
v: float32[1, 4] = Neg(h)
""",
        {"h": "host", "v": "host"},
    )
    assert shape_of(after) == [
        "QuantizeLinear(x) @host", "IntegerTable(x.int8) @digital", "IntegerTable(a.int8) @digital",
        "IntegerTable(a.int8) @digital", "DequantizeLinear(a.int8) @host", "Exp(a) @host",
        "Neg(h) @host", "DequantizeLinear(y.int8) @host", "DequantizeLinear(z.int8) @host",
    ]  # fmt: skip


def test_every_kind_of_node_of_the_vector_unit() -> None:
    text = """\
graph g(x: float32[1, 2, 4, 4], z: float32[1, 2, 4, 4]) -> (y)
half: float32[] = const [0.5]
shape: int64[2] = const [2, 8]
a: float32[1, 2, 4, 4] = ClippedAdd(x, z) minimum=0.0
b: float32[1, 2, 4, 4] = Mul(a, half)
c: float32[1, 2, 2, 2] = MaxPool(b) kernel_shape=[2, 2] strides=[2, 2]
d: float32[1, 2, 2, 2] = AveragePool(b) kernel_shape=[2, 2] strides=[2, 2]
e: float32[1, 4, 2, 2] = Concat(c, d) axis=1
f: float32[1, 4, 1, 1] = GlobalAveragePool(e)
g: float32[1, 4, 2, 2] = Add(e, f)
h: float32[1, 4, 2, 2] = Sigmoid(g)
i: float32[1, 2, 2, 4] = Transpose(h) perm=[0, 3, 2, 1]
y: float32[2, 8] = Reshape(i, shape)
"""
    after = quantized(text, {})
    assert [node.op for node in after if node.engine == "digital"] == [
        "IntegerAdd", "IntegerMul", "MaxPool", "IntegerAveragePool", "Requantize", "Concat",
        "IntegerAveragePool", "IntegerAdd", "IntegerTable", "Transpose", "Reshape",
    ]  # fmt: skip
    assert [node.op for node in after if node.engine == "host"] == [
        "QuantizeLinear", "QuantizeLinear", "DequantizeLinear",
    ]  # fmt: skip
    assert divergence_of(from_text(text), after) < 5e-3


def test_padding_with_a_value_pads_with_its_integer() -> None:
    text = """\
graph g(x: float32[1, 4]) -> (y)
pads: int64[4] = const [0, 1, 0, 2]
seven: float32[] = const [0.7]
y: float32[1, 7] = Pad(x, pads, seven)
"""
    after = quantized(text, {})
    found = Interpreter(after).run({"x": np.zeros((1, 4), np.float32)})["y"]
    assert found[0] == pytest.approx([0.7, 0, 0, 0, 0, 0.7, 0.7], abs=0.02)


def test_constants_are_quantized_to_what_reads_them() -> None:
    """Concat brings all to one scale: a constant is rounded once, at compile time."""
    after = quantized(
        """\
graph g(x: float32[1, 2]) -> (y)
k: float32[1, 2] = const [0.25, -0.5]
y: float32[1, 4] = Concat(x, k) axis=1
""",
        {},
    )
    assert "Requantize(k.int8) @digital" not in shape_of(after)
    found = Interpreter(after).run({"x": np.zeros((1, 2), np.float32)})["y"]
    assert found[0] == pytest.approx([0, 0, 0.25, -0.5], abs=0.02)


# -- what the model itself quantized

NATIVE = """\
graph g(x: int8[1, 8]{scale=0.5, zero=1}) -> (y)
w: int8[1, 8, 4]{scale=0.25} = const random(1, -100, 100)
b: int32[4] = const [1, -2, 3, 4]
h: int8[1, 4]{scale=8.0} = Product(x, w, b) minimum=0.0
y: int8[1, 4]{scale=4.0} = Requantize(h)
"""


def test_a_constant_beyond_what_it_stands_beside_is_not_clipped() -> None:
    """The state before a sequence is larger than the sequence: the result has the range of both."""
    text = """\
graph g(x: float32[1, 3]) -> (y)
k: float32[1, 1] = const [-9.0]
y: float32[1, 4] = Concat(k, x) axis=1
"""
    after = quantized(text, {})
    assert "Requantize(x.int8) @digital" in shape_of(after)
    [made] = Interpreter(after).run({"x": np.ones((1, 3), np.float32)}).values()
    np.testing.assert_allclose(made, np.array([[-9, 1, 1, 1]]), atol=0.05)


def test_native_integers_are_left_alone_on_the_digital_engine() -> None:
    after = quantized(NATIVE, {})
    nodes = [replace(node, placement=None) for node in after]
    before = from_text(NATIVE)
    assert nodes == list(before.nodes)
    assert after.types == before.types
    for name, data in before.constants.items():
        assert np.array_equal(after.constants[name], data)


def test_native_weights_are_fitted_anew_to_the_analog_array() -> None:
    """In and out stay as the model has them, only the product between changes."""
    after = quantized(NATIVE, {"h": "analog"}, slices=3)
    assert shape_of(after) == [
        "Requantize(x) @digital", "AnalogProduct(x.to.h) @analog", "Requantize(h) @digital",
    ]  # fmt: skip
    before = from_text(NATIVE)
    assert after.types["h"] == before.types["h"]
    samples = synthetic_inputs(before, 32).arrays
    wanted, found = (Interpreter(graph).run_all(samples)["y"] for graph in (before, after))
    wide = np.asarray(wanted, np.float64), np.asarray(found, np.float64)
    assert relative_squared_error(*wide) < 0.02


def test_native_sums_that_end_in_floats_get_a_format() -> None:
    """The model wants the result of an int8 MatMul in floats.

    The engine gives integers, the host turns them into floats.
    """
    text = """\
graph g(x: int8[1, 8]{scale=0.5, zero=1}) -> (y)
w: int8[1, 8, 4]{scale=0.25} = const random(1, -100, 100)
h: float32[1, 4] = Product(x, w)
y: float32[1, 4] = Softmax(h)
"""
    after = quantized(text, {"y": "host"})
    assert shape_of(after) == [
        "Product(x) @digital", "DequantizeLinear(h.int8) @host", "Softmax(h) @host",
    ]  # fmt: skip
    assert after.nodes[0].inputs == ("x", "w"), "its own weights stay"


# -- whole models


Digits: TypeAlias = tuple[Graph, CalibrationInputs, dict[str, Array]]


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Prepares digits_resnet cleaned, 64 calibration images and 64 test images.

    The test images have the float network's answers.
    """
    graph = run_passes(import_onnx(MODELS / "digits_resnet.onnx").graph, clean_passes(), DIANA)
    test = load_inputs(MODELS / "digits_test.npz", graph, 64).arrays
    wanted = Interpreter(graph).run_all(test)["logits"]
    inputs = load_inputs(MODELS / "digits_calibration.npz", graph, 64)
    return graph, inputs, {**test, "logits": wanted}


@pytest.mark.parametrize(("case", "name"), on_chips(["digits_resnet"], others=1))
def test_a_compiled_network_agrees_with_the_float_one_within_what_is_stated(
    case: str, name: str, digits: Digits
) -> None:
    """The images are not those it was calibrated with.

    Layer by layer errors are corrected, so the sum of the divergences is a fair bound.
    """
    graph, inputs, test = digits
    target = load_target(name)
    placed = run_passes(graph, compile_passes(inputs), target)
    assert placed.partition is not None
    assert 0 < placed.partition.divergence <= placed.partition.max_divergence == 0.02
    found = Interpreter(placed).run_all({"image": test["image"]})["logits"]
    wanted = test["logits"]
    measured = relative_squared_error(wanted.astype(np.float64), found.astype(np.float64))
    assert measured <= 0.02
    assert (found.argmax(axis=-1) == wanted.argmax(axis=-1)).mean() > 0.95


def test_every_step_of_a_compiled_network_runs_where_it_was_placed(
    digits: Digits,
) -> None:
    """Floats are only touched by the host; analog products read what their engine takes."""
    graph, inputs, _ = digits
    few = CalibrationInputs({name: data[:8] for name, data in inputs.arrays.items()})
    placed = run_passes(graph, compile_passes(few), DIANA)
    for node in placed:
        kinds = [placed.types[n] for n in (*node.inputs[:1], *node.outputs) if n]
        if node.engine != "host":
            assert all(kind.quant is not None for kind in kinds), node.op
        if node.op == "AnalogProduct":
            assert node.engine == "analog"
            assert kinds[0].quant is not None
            assert kinds[0].quant.bits == 7
