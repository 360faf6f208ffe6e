"""What ONNX Runtime cannot run: the model is blamed where no input runs, the data where some do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.driver import compile_model
from compiler.errors import CompileError
from compiler.flow.options import Options
from compiler.target.chip import load_target
from tests.support.hostile_models import model

_TRANSPOSED = "ct = ConvTranspose<output_shape = [30, 30]>(a, w)"
W = np.ones((2, 2, 2, 2), np.float32)
TABLE = np.ones((4, 8), np.float32)


@pytest.mark.parametrize("precision", ["integer", "float"])
@pytest.mark.parametrize("data", [True, False])
@pytest.mark.parametrize("body", [
    f"g (float[1,2,6,6] x) => (float[1,2,30,30] ct) {{a = Relu(x) {_TRANSPOSED}}}",
    # Tokens are looked up, but it is a shape that does not fit.
    f"""g (int64[1,2] x) => (float[1,2,30,30] ct) {{t = Gather(table, x)
    s = Constant<value_ints = [1, 2, 4, 2]>() a = Reshape(t, s) {_TRANSPOSED}}}""",
])  # fmt: skip
def test_the_model_is_blamed(body: str, data: bool, precision: str, tmp_path: Path) -> None:
    made = model(body, w=W, table=TABLE)
    made.graph.node[-1].name = "ct"
    kind = made.graph.input[0].type.tensor_type
    shape = [4, *(dim.dim_value for dim in kind.shape.dim[1:])]
    np.savez(tmp_path / "d.npz", x=np.zeros(shape, np.float32 if kind.elem_type == 1 else np.int64))
    options = Options(data=tmp_path / "d.npz" if data else None, precision=precision)  # type: ignore[arg-type]
    with pytest.raises(CompileError) as caught:
        compile_model(made, load_target("tile16"), options)
    assert (caught.value.code, caught.value.node) == ("M011", "ct")
    assert caught.value.message.startswith("ConvTranspose cannot be run, whatever the inputs: Expl")


_LOOKED_UP = "g (int64[1,2] x) => (float[1,2,8] y) {t = Gather(table, x) y = Relu(t)}"


def test_the_data_are_blamed(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.full((4, 2), 99))
    made = model(_LOOKED_UP, table=TABLE)
    with pytest.raises(
        CompileError, match="does not run on its samples: Gather 'Gather_0': ind"
    ) as caught:
        compile_model(made, load_target("tile16"), Options(data=tmp_path / "d.npz"))
    assert caught.value.code == "U005"


def test_sizes_that_are_inputs_are_not_made_up() -> None:
    """No made-up number is a size that fits, and some number is."""
    body = "g (float[1,8] x, int64[2] s) => (float[a,b] y) {y = Reshape(x, s)}"
    assert compile_model(model(body), load_target("tile16")).package.plan.steps


def test_an_if_whose_branches_are_malformed_is_blamed() -> None:
    """Its branches want an input, which no branch has; both truth values are tried."""
    made = model("""g (bool c, float[2] x) => (float[2] y) {
        y = If (c) <then_branch = a (float[2] x1) => (float[2] t) {t = Relu(x1)},
                    else_branch = b (float[2] x2) => (float[2] e) {e = Neg(x2)}>}""")
    with pytest.raises(CompileError) as caught:
        compile_model(made, load_target("tile16"), Options(precision="float"))
    assert (caught.value.code, caught.value.node) == ("M011", "If_0")
