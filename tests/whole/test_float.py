"""--precision float: nothing is quantized, the numbers are the model's own, and the plan says
why nothing runs elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import joulec
from backends.reports.explain import explain, explanation_text
from compiler.cli import main
from compiler.errors import UnsupportedError, UsageError
from compiler.execute.interpreter import Interpreter
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.text import to_text
from compiler.target.chip import load_target
from passes.base import run_passes
from passes.pipeline import float_passes
from tests.support.chips import on_chips

MODELS = Path(__file__).parents[2] / "models"
FLOAT = joulec.Options(precision="float")


def model_of(text: str) -> onnx.ModelProto:
    return parse_model(f'<ir_version: 10, opset_import: ["" : 20]> g {text}')


@pytest.mark.parametrize(
    ("file", "chip"), on_chips(["digits_resnet.onnx", "digits_dscnn.onnx", "dim20.onnx"])
)
def test_the_numbers_are_onnx_runtime_s(file: str, chip: str) -> None:
    with np.load(MODELS / f"{file.partition('_')[0].partition('.')[0]}_test.npz") as data:
        images = data[data.files[0]][:3]
    made = joulec.compile(MODELS / file, chip, options=FLOAT)
    assert {step.engine for step in made.plan.steps} == {load_target(chip).host[0]}
    runtime = RuntimeModel((MODELS / file).read_bytes())
    name = made.plan.inputs[0].name
    found = joulec.run(made, {name: images})[0]
    wanted = [runtime.run({name: image[None]})[runtime.outputs[0]][0] for image in images]
    assert np.array_equal(found, wanted)


def test_the_pass() -> None:
    graph = import_onnx(
        model_of("(float[1, 4] x) => (float[1, 4] y) { a = Identity(x) y = Relu(a) }")
    ).graph
    target = load_target("diana_digital")
    placed = run_passes(graph, float_passes(), target)
    lines = to_text(placed).splitlines()
    assert lines[1] == "y: float32[1, 4] = Relu(x) from (Relu_1) @host"
    placement = placed.nodes[0].placement
    assert placement is not None
    assert placement.reason == (
        "the digital engine computes in int8, and nothing is quantized (--precision float)"
    )
    assert [(other.engine, other.reason) for other in placement.alternatives] == [
        ("digital", placement.reason)
    ]
    assert float_passes()[-1](placed, target) is placed


def test_the_plan_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compile", MODELS / "dim20.onnx", "-t", "tile16", "-o", tmp_path / "out"]
    assert main.run([*map(str, words), "--precision", "float"]) == 0
    out, err = capsys.readouterr()
    assert "nothing is quantized (--precision float)" in " ".join(out.split())
    assert "W001" not in err
    plan = joulec.load(tmp_path / "out").plan
    assert plan.diagnostics[-1].message.startswith("nothing is quantized (--precision float): ")
    assert [name.partition("(")[0] for name in plan.pipeline] == [
        "EliminateDead",
        "LowerConvolution",
        "PlaceInFloat",
    ]
    assert plan.divergence_total == 0


def test_a_step_on_the_reference_evaluator_is_noted() -> None:
    model = model_of("(float[1, 8, 1] x) => (float[1, 8, 2] y) { a = Relu(x) y = DFT(a) }")
    made = joulec.compile(model, "tile16", options=FLOAT)
    assert (
        "runs on onnx's reference evaluator: ONNX Runtime's DFT"
        in made.plan.diagnostics[-1].message
    )
    assert made.diagnostics[-1] == made.plan.diagnostics[-1]
    x = np.ones((1, 8, 1), np.float32)
    assert joulec.run(made, {"x": x})[0][0, 0].tolist() == [8, 0]


def test_options_that_do_not_go_together() -> None:
    with pytest.raises(UsageError, match=r"--prune 0.5 changes the model's numbers"):
        joulec.compile(
            MODELS / "dim20.onnx", "tile16", options=joulec.Options(precision="float", prune=0.5)
        )
    made = joulec.compile(
        MODELS / "dim20.onnx",
        "tile16",
        options=joulec.Options(precision="float", max_divergence=0.1),
    )
    assert any(
        found.line().startswith("warning[W004]: --data and --max-div") for found in made.diagnostics
    )


def test_random_numbers_are_refused_also_in_a_branch() -> None:
    model = model_of("""(bool c) => (float[2] y) {
      y = If(c) <then_branch = a () => (float[2] p) { p = RandomNormal<shape = [2]>() },
                 else_branch = b () => (float[2] q) { q = RandomUniform<shape = [2]>() }>
    }""")
    with pytest.raises(UnsupportedError, match=r"Random(Normal|Uniform) draws random numbers"):
        joulec.compile(model, "tile16", options=FLOAT)


def test_a_value_beyond_the_memories_names_its_node() -> None:
    model = model_of("(float[1, 16000000] x) => (float[1, 16000000] y) { y = Relu(x) }")
    with pytest.raises(joulec.CapacityError, match="Relu: a value of 64,000,000 bytes") as caught:
        joulec.compile(model, "tile16", options=FLOAT)
    assert caught.value.node


def test_quantized_operations_keep_onnx_runtime_s_integers() -> None:
    text = """(uint8[64, 64] x) => (uint8[64, 64] y)
      <float s = {0.1}, uint8 p = {128}, float t = {0.03}, int8 q = {0}, float r = {0.3}>
      { y = QLinearMatMul(x, s, p, w, t, q, r, p) }"""
    model = model_of(text)
    random = np.random.default_rng(0)
    weights = random.integers(-128, 128, (64, 64)).astype(np.int8)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    x = random.integers(0, 256, (64, 64)).astype(np.uint8)
    made = joulec.compile(model, "tile16", options=FLOAT)
    assert [step.op for step in made.plan.steps] == ["Segment"]
    shown = made.report + explanation_text(explain(made.plan, made.plan.steps[0].name))
    assert "QLinearMatMul on host" in shown
    assert "Segment" not in shown
    wanted = RuntimeModel(model.SerializeToString()).run({"x": x})["y"]
    assert np.array_equal(joulec.run(made, {"x": x})[0], wanted)
    # As floats the sums lie on the other side of a tie here and there (0.1 * 0.03 / 0.3 is no exact
    # 0.01).
    lifted = Interpreter(import_onnx(model).graph).run({"x": x})["y"]
    assert not np.array_equal(lifted, wanted)


def test_a_sample_gives_the_same_bits_wherever_it_lies_in_a_stack() -> None:
    """Samples of 27 floats start at every multiple of four bytes; ONNX Runtime's sums depend on
    where.
    """
    made = joulec.compile(
        model_of("""(float[1,3,9] x) => (float[1,3,1] y, float[1,3,9] z) \
<int64[1] a = {2}, float[3] s = {1, 1, 1}>
        { y = ReduceSum(x, a)
          z = InstanceNormalization(x, s, s) }"""),
        "tile16",
        options=FLOAT,
    )
    samples = np.random.default_rng(0).normal(0, 1, (12, 3, 9)).astype(np.float32)
    together = joulec.run(made, {"x": samples})
    alone = [joulec.run(made, {"x": samples[i : i + 1].copy()}) for i in range(len(samples))]
    for index, stacked in enumerate(together):
        assert np.array_equal(stacked, np.concatenate([outputs[index] for outputs in alone]))


def test_texts_and_sequences_pass_through() -> None:
    texts = model_of('(string[2] x) => (string[1] y) { y = StringNormalizer<stopwords=["a"]>(x) }')
    made = joulec.compile(texts, "tile16", options=FLOAT)
    assert joulec.run(made, {"x": np.array(["a", "b"], object)})[0].tolist() == ["b"]
    lists = model_of("(seq(float[2]) s) => (seq(float[2]) r) { r = SequenceInsert(s, f) } ")
    lists.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(2, np.float32), "f"))
    made = joulec.compile(lists, "tile16", options=FLOAT)
    found = joulec.run(made, {"s": [np.zeros(2, np.float32)]})[0]
    assert [item.tolist() for item in found] == [[0, 0], [1, 1]]
