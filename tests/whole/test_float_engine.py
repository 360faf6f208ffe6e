"""A digital engine that computes in float32: it takes work under --precision float, and its
kernels give ONNX Runtime's numbers.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import joulec
from backends.simulator.float_kernels import ELEMENTWISE
from compiler.engines.legality import why_not_in_floats
from compiler.engines.mapping import digital_tiling
from compiler.errors import TargetError
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.mapping import ProductShape
from compiler.ir.ops import FLOAT_VECTOR
from compiler.target.chip import load_target, parse_target
from tests.support.chips import only_digital
from tests.support.conformance import FLOAT_CHIP, own_work

CHIP = load_target(FLOAT_CHIP)
FLOAT = joulec.Options(precision="float")
MODELS = Path(__file__).parents[2] / "models"


def model_of(text: str, **weights: np.ndarray) -> onnx.ModelProto:
    model = parse_model(f'<ir_version: 10, opset_import: ["" : 20]> g {text}')
    for name, data in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    return model


def assert_computed(model: onnx.ModelProto, *ops: str) -> None:
    """Our own kernels compute these operations, nothing else, and give ONNX Runtime's numbers."""
    made = joulec.compile(model, CHIP, options=FLOAT)
    assert tuple(own_work(made)) == ops
    random = np.random.default_rng(0)
    feed = {
        port.name: random.standard_normal([size or 1 for size in port.shape or ()]).astype(
            np.float32
        )
        for port in made.plan.inputs
    }
    wanted = RuntimeModel(model.SerializeToString()).run(feed)
    for port, found in zip(made.plan.outputs, joulec.run(made, feed), strict=True):
        np.testing.assert_allclose(found, wanted[port.name], rtol=2e-6, atol=2e-6)
        assert found.dtype == wanted[port.name].dtype


@pytest.mark.parametrize("name", ["digits_resnet", "digits_dscnn", "dim20"])
def test_all_products_of_a_model_run_on_the_engine(name: str) -> None:
    made = joulec.compile(MODELS / f"{name}.onnx", CHIP, options=FLOAT)
    assert made.plan.macs.by_engine["digital"] == made.plan.macs.after > 0
    with np.load(MODELS / f"{name.partition('_')[0]}_test.npz") as data:
        images = data[data.files[0]][:2]
    runtime = RuntimeModel((MODELS / f"{name}.onnx").read_bytes())
    port = made.plan.inputs[0].name
    wanted = [runtime.run({port: image[None]})[runtime.outputs[0]][0] for image in images]
    np.testing.assert_allclose(joulec.run(made, {port: images})[0], wanted, atol=1e-5)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
def test_two_operands(op: str) -> None:
    assert_computed(model_of(f"(float[2,3,4] a, float[3,1] b) => (y) {{ y = {op}(a, b) }}"), op)
    assert_computed(
        model_of(f"(float[2,3] a) => (y) {{ y = {op}(a, w) }}", w=np.full((3,), 2, np.float32)), op
    )


@pytest.mark.parametrize(
    "op",
    [
        "Abs", "Neg", "Exp", "Relu", "LeakyRelu", "LeakyRelu<alpha=0.3>", "Sigmoid", "Tanh",
        "HardSigmoid", "HardSigmoid<alpha=0.4, beta=0.1>", "HardSwish",
    ],
)  # fmt: skip
def test_one_operand(op: str) -> None:
    assert_computed(model_of(f"(float[2,3] a) => (y) {{ y = {op}(a) }}"), op.partition("<")[0])


def test_roots_and_bounds() -> None:
    bounds = {"l": np.float32(-0.2), "h": np.float32(0.4)}
    weights = {name: np.asarray(value) for name, value in bounds.items()}
    assert_computed(model_of("(float[9] a) => (y) { b = Abs(a) y = Sqrt(b) }"), "Abs", "Sqrt")
    for names in ("l, h", "l", ", h"):
        kept = {name: data for name, data in weights.items() if name in names}
        assert_computed(model_of(f"(float[9] a) => (y) {{ y = Clip(a, {names}) }}", **kept), "Clip")


@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("more", ["", "pads=[1,0,1,1]", "strides=[2,1]", 'auto_pad="VALID"'])
def test_pools(pool: str, more: str) -> None:
    window = ", ".join(filter(None, ["kernel_shape=[2,3]", more]))
    assert_computed(model_of(f"(float[2,3,6,7] a) => (y) {{ y = {pool}<{window}>(a) }}"), pool)


def test_the_pool_of_all() -> None:
    assert_computed(
        model_of("(float[2,3,5,4] a) => (y) { y = GlobalAveragePool(a) }"), "GlobalAveragePool"
    )


@pytest.mark.parametrize(
    ("shape", "weights", "node"),
    [
        (
            "2,6,7,7", (4, 3, 3, 2),
            "Conv<group=2, pads=[1,1,0,1], strides=[2,1], dilations=[1,2]>(a, w, b)",
        ),
        ("1,4,9", (4, 1, 3), "Conv<group=4>(a, w, b)"),
        ("2,3,4,4,4", (4, 3, 2, 2, 2), 'Conv<auto_pad="SAME_UPPER">(a, w, b)'),
        ("3,5", (5, 4), "Gemm<alpha=0.5, beta=2.0>(a, w, b)"),
        ("3,5", (4, 5), "Gemm<transB=1>(a, w, b)"),
        ("2,3,5", (5, 4), "MatMul(a, w)"),
    ],
)  # fmt: skip
def test_products(shape: str, weights: tuple[int, ...], node: str) -> None:
    random = np.random.default_rng(1)
    constants = {"w": random.standard_normal(weights).astype(np.float32)}
    if ", b" in node:
        constants["b"] = random.standard_normal(4).astype(np.float32)
    assert_computed(model_of(f"(float[{shape}] a) => (y) {{ y = {node} }}", **constants), "Product")


def test_a_transposed_convolution_is_stretched_on_the_engine() -> None:
    weights = np.random.default_rng(2).standard_normal((3, 2, 3, 3)).astype(np.float32)
    text = "(float[1,3,4,5] a) => (y) { y = ConvTranspose<strides=[2,2], pads=[1,0,1,1]>(a, w) }"
    assert_computed(model_of(text, w=weights), "Pad", "Slice", "Product")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "(float[2,2] a, float[2,2] b) => (y) { y = MatMul(a, b) }",
            "MatMul multiplies two activations, and the array needs constant weights",
        ),
        ("(int32[2] a) => (y) { y = Add(a, a) }", "int32 is no type of the digital engine"),
        ("(float[2] a) => (y) { y = Erf(a) }", "the vector unit has no Erf"),
        ("(float[2] a, float l) => (y) { y = Clip(a, l) }", "its bounds are computed"),
        (
            "(float[1,1,4,4] a) => (y) { y = MaxPool<kernel_shape=[2,2], ceil_mode=1>(a) }",
            "the vector unit's pools have no ceil_mode",
        ),
    ],
)  # fmt: skip
def test_what_stays_on_the_host_says_why(text: str, why: str) -> None:
    made = joulec.compile(model_of(text), CHIP, options=FLOAT)
    assert [(step.engine, step.reason) for step in made.plan.steps] == [("host", why)]
    graph = import_onnx(model_of(text)).graph
    assert why_not_in_floats("digital", graph.nodes[-1], graph, CHIP) == why


def test_an_engine_of_integers_takes_no_floats_and_the_other_way_round() -> None:
    diana = load_target("diana_digital")
    graph = import_onnx(model_of("(float[2] a) => (y) { y = Relu(a) }")).graph
    why = "the digital engine computes in int8, and nothing is quantized (--precision float)"
    assert why_not_in_floats("digital", graph.nodes[0], graph, diana) == why
    made = joulec.compile(MODELS / "dim20.onnx", CHIP)
    assert {step.engine for step in made.plan.steps} == {"host"}


def test_the_kernels_are_those_that_legality_knows() -> None:
    pools = {"MaxPool", "AveragePool", "GlobalAveragePool"}
    assert {*ELEMENTWISE, *pools} == set(FLOAT_VECTOR)
    assert set(only_digital(CHIP).vector_operations) == set(FLOAT_VECTOR)


def test_a_float_weighs_four_bytes() -> None:
    floats = only_digital(CHIP).array
    assert floats is not None
    integers = floats.model_copy(update={"arithmetic": "int8"})
    shape = ProductShape(1, 20, 20, 7)
    wide, narrow = digital_tiling(shape, 7, floats), digital_tiling(shape, 7, integers)
    assert (wide.weight_bytes, narrow.weight_bytes) == (1600, 400)
    assert wide.weight_bytes_read == 4 * narrow.weight_bytes_read
    sizes = ("weight_bytes", "working_bytes", "weight_bytes_read")
    assert replace(wide, **{name: getattr(narrow, name) for name in sizes}) == narrow


def test_an_engine_has_one_arithmetic() -> None:
    text = Path(FLOAT_CHIP).read_text().replace('arithmetic = "float32"', 'arithmetic = "int8"', 1)
    with pytest.raises(TargetError, match="int8 of the array and float32 of the vector unit"):
        parse_target(text.encode(), "c.toml")
