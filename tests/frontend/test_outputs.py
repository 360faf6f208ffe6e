"""What a model declares of its outputs falsely: told where the model runs, refused where not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compiler.errors import ModelError
from compiler.execute.interpreter import Model
from compiler.frontend.import_onnx import import_onnx
from tests.support.hostile_models import model

AXES = np.array([0, 1], np.int64)

# The graph, the true shape, and what is said of the declared one.
STALE = [
    ("g (float[1,6] x) => (float[1] y) {y = ReduceSum<keepdims=0>(x, axes)}",
     (), "float32[1] and is float32[]: its number of axes is false"),
    ("g (float[1,6] x) => (float y) {s = Identity(axes) r = Reshape(x, m) y = Relu(r)}",
     (6,), "float32[] and is float32[6]: its number of axes is false"),
    ("g (float[1,6] x) => (float[2,6] y) {y = Relu(x)}",
     (1, 6), "float32[2, 6] and is float32[1, 6]: its size on axis 0 is false"),
    ("g (float[1,6] x) => (float[1,1,1,1,6] y) {y = Relu(x)}",
     (1, 6), "float32[1, 1, 1, 1, 6] and is float32[1, 6]: its number of axes is false"),
    ("""g (float[1,6] x, bool c) => (float[1,9] y) {y = If(c) <
     then_branch = t () => (float[1,6] a) {a = Relu(x)},
     else_branch = e () => (float[1,6] b) {b = Tanh(x)}>}""",
     (1, 6), "float32[1, 9] and is float32[1, 6]: its size on axis 1 is false"),
    # The batch is free, and declared as one at the output.
    ("g (float[N,6] x) => (float[1,6] y) {y = Relu(x)}",
     (3, 6), "float32[1, 6] and is float32[3, 6]: its size on axis 0 is false"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "true", "said"), STALE)
def test_a_stale_shape_is_told_and_the_true_one_taken(
    text: str, true: tuple[int, ...], said: str
) -> None:
    made = model(text, axes=AXES, m=np.array([-1], np.int64))
    bind = {"N": 3} if "N" in text else {}
    imported = import_onnx(made, bind)
    assert imported.graph.types["y"].shape == true
    (note,) = [note for note in imported.notes if note.code == "W014"]
    assert note.message == f"output 'y' is declared as {said}"
    x, c = np.ones(imported.graph.types["x"].sizes, np.float32), np.array(True)
    given = {"x": x, "c": c} if "bool c" in text else {"x": x}
    assert Model(made.SerializeToString()).run(given)["y"].shape == true


@pytest.mark.parametrize(("text", "said"), [
    ("g (float[1,6] x) => (int64[1,6] y) {y = Relu(x)}", "its element type is false"),
    ("g (float[1,6] x) => (float[1] y) {y = Size(x)}", "its element type is false"),
    # It is false, and the model does not run whatever it says.
    ("g (float[1,2,6,6] x) => (float[7] ct) {ct = ConvTranspose<output_shape = [30, 30]>(x, w)}",
     "its number of axes is false"),
])  # fmt: skip
def test_what_is_false_is_refused_where_the_model_does_not_run(text: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        import_onnx(model(text, w=np.ones((2, 2, 2, 2), np.float32)))
    assert caught.value.code == "M004"


def test_a_negative_size_is_refused() -> None:
    made = model("g (float[1,6] x) => (float[1,6] y) {y = Relu(x)}")
    made.graph.output[0].type.tensor_type.shape.dim[1].dim_value = -6
    with pytest.raises(ModelError, match="declared with a negative size, -6"):
        import_onnx(made)


def test_a_true_declaration_costs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler.frontend.as_given.open_as_given", None)
    made = model("g (float[1,6] x) => (float[1,names] y) {y = Relu(x)}")
    assert not import_onnx(onnx.ModelProto.FromString(made.SerializeToString())).notes
