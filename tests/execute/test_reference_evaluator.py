"""Each rule that takes a model from ONNX Runtime: ONNX Runtime alone fails ONNX's own test, and
what we run instead passes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import joulec
from compiler.execute.host_split import nodes_on_reference
from compiler.execute.interpreter import Interpreter, Model
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.execute.reference_evaluator import why_not_exchanged, why_reference
from compiler.frontend.import_onnx import import_onnx
from tests.support.conformance import difference
from tests.support.onnx_cases import Case, load, names, plain


def feed_of(case: Case) -> Mapping[str, Any]:
    inputs = case.data[0][0]
    return dict(zip((value.name for value in case.model.graph.input), inputs, strict=True))


def complaint(model: RuntimeModel | Model, case: Case) -> str:
    """How a host's outputs differ from ONNX's, or what it says instead of running."""
    try:
        found = model.run(feed_of(case))
    except Exception as error:
        return str(error)
    return difference(case.data[0][1], [found[name] for name in model.outputs], case)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("test_dft", "DFT sums in float32", marks=pytest.mark.slow),
        pytest.param("test_stft", "STFT sums in float32", marks=pytest.mark.slow),
        ("test_training_dropout", "Dropout draws other numbers"),
        ("test_maxunpool_export_with_output_shape", "MaxUnpool takes indices"),
        ("test_attention_4d_causal_fp16", "Attention of float16"),
        (
            "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
            "without the causal mask",
        ),
        ("test_attention_4d_diff_heads_mask4d_padded_kv", "mask shorter than the padded keys"),
        ("test_resize_downsample_scales_linear_align_corners", "Resize aligns corners"),
        ("test_convinteger_with_padding", "one zero point for all weights"),
        ("test_reduce_max_empty_set_bool", "ReduceMax refuses booleans"),
    ],
)  # fmt: skip
def test_onnx_runtime_is_wrong_and_the_reference_right(name: str, why: str) -> None:
    case = load("node", name)
    data = case.model.SerializeToString()
    assert why in why_reference(data)
    assert complaint(RuntimeModel(data), case)
    model = Model(data)
    assert why in model.on_reference
    assert not complaint(model, case)


@pytest.mark.parametrize(
    "text",
    [
        "(float[4] x) => (float[4] y) <float r = {0.5}, bool t = {0}> { y = Dropout(x, r, t) }",
        "(float[1,1,4,4] x) => (float[1,1,8,8] y) <float[4] s = {1.0,1.0,2.0,2.0}>"
        ' { y = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , s) }',
        "(float[1,1,4,4] x, float[4] s) => (float[1,1,8,8] y) "
        "{ y = Resize<mode=\"linear\">(x, , s) }",
        "(float[1,1,4,4] q) => (float[1,1,4,4] y) { y = Attention<is_causal=1>(q, q, q) }",
        "(uint8[1,1,3,3] x, uint8[1,1,2,2] w, uint8 p, uint8 z) => (int32[1,1,2,2] y) "
        "{ y = ConvInteger(x, w, p, z) }",
        "(bool[2] x) => (bool[1] y) { y = ReduceMax(x) }",
    ],
)  # fmt: skip
def test_where_onnx_runtime_is_right_it_runs(text: str) -> None:
    assert Model(of(text)).on_reference == ""


def of(text: str) -> bytes:
    data: bytes = parse_model(
        f'<ir_version: 10, opset_import: ["" : 23]> g {text}'
    ).SerializeToString()
    return data


def test_the_least_of_no_booleans() -> None:
    model = of("(bool[2, 0] x, int64[1] a) => (bool[2, 1] y) { y = ReduceMin(x, a) }")
    feed = {"x": np.zeros((2, 0), bool), "a": np.array([1])}
    with pytest.raises(Exception, match="ReduceMin is not defined for empty set"):
        RuntimeModel(model).run(feed)
    assert Model(model).run(feed)["y"].tolist() == [[True], [True]]


@pytest.mark.parametrize(("op", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_recurrence_over_no_samples(op: str, gates: int) -> None:
    """ONNX Runtime aborts, so that its own answer is not shown here."""
    rows = 2 * gates
    model = Model(
        of(f"""(float[5,0,3] x, float[1,{rows},3] w, float[1,{rows},2] r) => (float[5,1,0,2] y)
        {{ y = {op}<hidden_size = 2>(x, w, r) }}""")
    )
    assert model.on_reference == f"ONNX Runtime's {op} of no elements ends the process"
    feed = {"x": (5, 0, 3), "w": (1, rows, 3), "r": (1, rows, 2)}
    found = model.run({name: np.ones(shape, np.float32) for name, shape in feed.items()})
    assert found["y"].shape == (5, 1, 0, 2)


def test_types_that_python_cannot_exchange_with_onnx_runtime() -> None:
    model = Model(of("(float[2] x) => (bfloat16[2] y) { y = Cast<to=16>(x) }"))
    assert model.on_reference == why_not_exchanged("tensor(bfloat16)") != ""
    assert model.run({"x": np.ones(2, np.float32)})["y"].dtype.name == "bfloat16"


def test_a_model_without_a_kernel_runs_on_the_reference() -> None:
    model = Model(of("(int16[2] x) => (int16[2] y) { y = Max(x, x) }"))
    assert model.on_reference.startswith("ONNX Runtime refuses it: ")
    assert model.run({"x": np.array([1, 2], np.int16)})["y"].tolist() == [1, 2]


def test_what_neither_knows_is_onnx_runtime_s_error() -> None:
    proto = onnx.ModelProto.FromString(of("(float[2] x) => (float[2] y) { y = Relu(x) }"))
    proto.graph.node[0].op_type = "Relly"
    with pytest.raises(Exception, match="Relly"):
        Model(proto.SerializeToString())


def test_the_rest_of_a_graph_stays_on_onnx_runtime() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]> g (float[1, 8, 1] x) => (float[1, 8, 2] y)
    { a = Relu(x)
      b = DFT(a)
      y = Neg(b) }"""
    graph = import_onnx(parse_model(text)).graph
    pieces = [piece.model.on_reference != "" for piece in Interpreter(graph)._pieces]
    assert pieces == [False, True, False]


def test_where_onnx_runtime_is_right_in_the_middle_of_a_model_it_runs_too() -> None:
    """Once the whole model ran on the reference evaluator, in other last bits: it did not tell
    the size of `a`.
    """
    text = """<ir_version: 10, opset_import: ["" : 20]> g (float[1,1,4,4] x) => (float[1,1,8,8] y)
    <float[4] s = {1.0, 1.0, 2.0, 2.0}>
    { a = Neg(x)
      b = Resize<mode="linear", coordinate_transformation_mode="align_corners">(a, , s)
      y = Softplus(b) }"""
    graph = import_onnx(parse_model(text)).graph
    assert not Interpreter(graph).on_reference
    made = joulec.compile(parse_model(text), "tile16", options=joulec.Options(precision="float"))
    assert not [note for note in made.plan.diagnostics if "reference evaluator" in note.message]
    feed = {"x": np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4)}
    wanted = RuntimeModel(parse_model(text).SerializeToString()).run(feed)["y"]
    assert np.array_equal(joulec.run(made, feed)[0], wanted)


def test_a_node_without_a_kernel_leaves_its_neighbours_on_onnx_runtime() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]> g (int16[2] x, float[2] f) => (float[2] y)
    { a = Neg(f)
      b = Max(x, x)
      c = Min(b, x)
      d = Cast<to=1>(c)
      y = Add(d, a) }"""
    graph = import_onnx(parse_model(text)).graph
    why = nodes_on_reference(graph.nodes, graph, (*graph.inputs, *graph.outputs))
    assert why == {
        "Max_1": "ONNX Runtime has no kernel for Max of int16",
        "Min_2": "ONNX Runtime has no kernel for Min of int16",
    }
    runner = Interpreter(graph)
    assert [piece.model.on_reference != "" for piece in runner._pieces] == [False, True, False]
    feed = {"x": np.array([3, -4], np.int16), "f": np.ones(2, np.float32)}
    assert runner.run(feed)["y"].tolist() == [2, -5]
    made = joulec.compile(parse_model(text), "tile16", options=joulec.Options(precision="float"))
    assert [step.operations for step in made.plan.steps] == [
        ("Neg",),
        ("Min", "Max"),
        ("Add", "Cast"),
    ]
    assert [note for note in made.plan.diagnostics if "reference evaluator" in note.message] == [
        made.plan.diagnostics[-1]
    ]
    assert made.plan.diagnostics[-1].message.startswith(
        "Min_2+1 runs on onnx's reference evaluator: "
    )
    assert joulec.run(made, feed)[0].tolist() == [2, -5]


def test_values_that_are_not_exchanged_stay_on_one_side() -> None:
    text = """<ir_version: 10, opset_import: ["" : 20]> \
g (float[2] x, bfloat16[2] w) => (float[2] y, float[2] z)
    { a = Cast<to=16>(x)
      b = Add(a, w)
      y = Cast<to=1>(b)
      c = Cast<to=16>(x)
      d = Identity(c)
      z = Cast<to=1>(d) }"""
    graph = import_onnx(parse_model(text)).graph
    why = nodes_on_reference(graph.nodes, graph, (*graph.inputs, *graph.outputs))
    assert sorted(why) == ["Add_1", "Cast_0", "Cast_2"]
    assert why["Add_1"] == "ONNX Runtime has no kernel for Add of bfloat16"
    assert why["Cast_0"] == why_not_exchanged("bfloat16") != ""


@pytest.mark.slow
def test_the_rules_cover_every_wrong_answer_in_onnx_s_own_tests() -> None:
    """Run alone, ONNX Runtime answers wrongly in 26 tests; a rule takes each of these to the
    reference evaluator, and few others.
    """
    wrong, ruled = set(), set()
    for kind, name in names(("node", "simple", "pytorch-converted", "pytorch-operator")):
        case = load(kind, name)
        data = case.model.SerializeToString()
        try:
            runtime = RuntimeModel(data)
            ports = [value.name for value in case.model.graph.input]
            feed = dict(zip(ports, (plain(item) for item in case.data[0][0]), strict=False))
            found = runtime.run(feed)
        except Exception:  # a refusal is no wrong answer
            continue
        if why_reference(data) or runtime.why_not():
            ruled.add(name)
        outputs = [plain(item) for item in case.data[0][1]]
        with np.errstate(all="ignore"):
            if difference(outputs, [found[name] for name in runtime.outputs], case):
                wrong.add(name)
    assert wrong <= ruled
    assert len(wrong) == 26
