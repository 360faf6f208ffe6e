"""A free first size is a batch only where samples together and alone give the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import joulec
from compiler.errors import CompileError
from compiler.execute.session import open_session
from compiler.frontend.import_onnx import import_onnx

HEAD = '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3]> g '
ALONE = "of two samples together is not that of each alone"


def parsed(text: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(HEAD + text)


# Signature and nodes, sizes that are bound, and the batch axes of inputs and outputs.
BATCHES: list[tuple[str, dict[str, int], dict[str, int]]] = [
    ("(float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }", {}, {"x": 0, "y": 0}),
    ("(float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }", {"N": 4}, {"x": 0, "y": 0}),
    ("(float[N] x) => (float[N] y) { y = Relu(x) }", {}, {"x": 0, "y": 0}),
    # Behind another axis in an input and in an output.
    (
        "(float[N, 3] x, float[2, N, 3] h) => (float[2, N, 3] y) { y = Add(x, h) }",
        {}, {"x": 0, "h": 1, "y": 1},
    ),
    ("(float[N, 3] x) => (float[3, N] y) { y = Transpose<perm=[1, 0]>(x) }", {}, {"x": 0, "y": 1}),
    # What all samples share is bound.
    (
        "(float[N, 3] x, float[M, 3] w) => (float[N, M] y)"
        " { t = Transpose<perm=[1, 0]>(w) y = MatMul(x, t) }",
        {"M": 5}, {"x": 0, "y": 0},
    ),
    # Sizes without a name.
    ("(float[?, 3] x, float[?, 3] z) => (float[?, 3] y) { y = Add(x, z) }", {},
     {"x": 0, "z": 0, "y": 0}),
    # Bound, and no batch: nothing is asked, and nothing is assumed.
    ("(float[N, 3] x) => (float[3] y) { y = ReduceSum<keepdims=0>(x, a) }", {"N": 4}, {}),
    # All fixed.
    ("(float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }", {}, {"x": 0, "y": 0}),
    ("(float[2, 3] x) => (float[2, 3] y) { y = Relu(x) }", {}, {}),
]  # fmt: skip


def with_axis(model: onnx.ModelProto) -> onnx.ModelProto:
    """Adds the axis 0 that reductions of the texts read."""
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0]), "a"))
    return model


@pytest.mark.parametrize(("text", "bind", "axes"), BATCHES)
def test_what_is_a_batch(text: str, bind: dict[str, int], axes: dict[str, int]) -> None:
    assert dict(import_onnx(with_axis(parsed(text)), bind).graph.batch_axes) == axes


@pytest.mark.parametrize(
    ("text", "flag", "reason"),
    [
        # Samples meet: in a sum, a scan, an order, a softmax, a normalization, a place.
        ("(float[N, 3] x) => (float[1, 3] y) { y = ReduceSum(x, a) }", "N", ALONE),
        ("(float[N, 3] x) => (float[3] y) { y = ReduceMean<keepdims=0>(x, a) }", "N", ALONE),
        ("(float[N, 3] x) => (float s) { s = ReduceSum<keepdims=0>(x) }", "N", ALONE),
        ("(float[N] x) => (float[N] y) { z = Constant<value_int=0>() y = CumSum(x, z) }", "N",
         ALONE),
        ("(float[N, 3] x) => (float[N, 3] y) { y = Softmax<axis=0>(x) }", "N", ALONE),
        ("(float[?, 3] x) => (float[?, 3] y) { m = ReduceMean(x, a) y = Sub(x, m) }", "x:0", ALONE),
        ("(float[N, 3] x) => (int64[2, K] y) { y = NonZero(x) }", "N", ALONE),
        ("(float[N, 3] x) => (int64[2] y) { y = Shape(x) }", "N", ALONE),
        ("(float[N, 3] x, float[M, 3] w) => (float[N, M] y)"
         " { t = Transpose<perm=[1, 0]>(w) y = MatMul(x, t) }", "N", ALONE),
        # The same for all samples, so as many as they are it comes once.
        ("(float[N, 3] x) => (float[N, 3] y, float[2] c)"
         " { y = Relu(x) c = Constant<value_floats=[1.0, 2.0]>() }", "N", ALONE),
        # Only one, or only another size, runs.
        ("(float[N, 3] x) => (float[1, 3] y) { s = Constant<value_ints=[1, 3]>()"
         " y = Reshape(x, s) }", "N", "one sample runs, two together do not"),
        ("(float[N] x) => (float[2, 2] y) { s = Constant<value_ints=[2, 2]>() y = Reshape(x, s) }",
         "N", "it cannot be 1: "),
        # Nothing can be tried.
        ("(seq(float[N]) s, float[N] x) => (float[N] y, seq(float[N]) t)"
         " { y = Relu(x) t = Identity(s) }", "N", "of which no sample can be made up"),
    ],
)  # fmt: skip
def test_what_is_none_is_asked_for(text: str, flag: str, reason: str) -> None:
    with pytest.raises(CompileError) as caught:
        import_onnx(with_axis(parsed(text)))
    assert caught.value.code == "U003"
    assert reason in caught.value.message
    assert "the size of axis 0 of input 'x'" in caught.value.message
    assert f"--bind {flag}=SIZE" in caught.value.hint
    size = 1 if reason.startswith("one sample") else 4
    flags = caught.value.hint.removeprefix("add ").split(" --bind ")
    sizes = {key.removeprefix("--bind ").removesuffix("=SIZE"): size for key in flags}
    import_onnx(with_axis(parsed(text)), sizes)  # what is asked for is enough


@pytest.mark.parametrize(
    "text",
    [
        "(float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }",
        "(float[N, 3] x) => (float[3, N] y) { y = Transpose<perm=[1, 0]>(x) }",
        "(float[N, 3] x) => (seq(map(int64, float)) m)"
        " { m = ai.onnx.ml.ZipMap<classlabels_int64s=[0, 1, 2]>(x) }",
    ],
)
def test_samples_together_give_what_the_model_gives(text: str) -> None:
    model, x = parsed(text), np.arange(15, dtype=np.float32).reshape(5, 3)
    wanted: Any = open_session(model.SerializeToString()).run(None, {"x": x})[0]
    options = joulec.Options(precision="float")
    found = joulec.run(joulec.compile(model, "diana_digital", options=options), {"x": x})[0]
    if isinstance(wanted, list):
        assert found == wanted
    else:
        np.testing.assert_array_equal(found, wanted)


def test_a_model_of_fixed_sizes_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.frontend.batch.open_as_given", None)
    import_onnx(parsed("(float[1, 3] x) => (float[1, 3] y) { y = Relu(x) }"))
