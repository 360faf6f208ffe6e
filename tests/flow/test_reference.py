"""Outputs are judged by the file as given, and by nobody's import of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.flow.reference import ON_EVALUATOR, ON_FILE, ON_IMPORT, Reference
from compiler.ir.text import from_text

HEAD = '<ir_version: 10, opset_import: ["" : 21, "own" : 1, "onnx.brevitas" : 1]> g (float[3] x)'
X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3) - 2}


def reference(folder: Path, text: str) -> Reference:
    onnx.save(onnx.parser.parse_model(text), folder / "m.onnx")
    return Reference(folder / "m.onnx")


def test_a_scalar_input_stays_one(tmp_path: Path) -> None:
    """A vector of one in its place gives an output of another shape."""
    found = reference(tmp_path, '<ir_version: 10, opset_import: ["" : 21]> g (bool x) '
                      "=> (bool y) { y = Not(x) }")  # fmt: skip
    values = found.run({"x": np.array([True, False])}, ["y"])["y"]
    assert [(np.shape(value), bool(value)) for value in values] == [((), False), ((), True)]


def test_outputs_are_the_file_s_where_values_inside_are_not(tmp_path: Path) -> None:
    """The body of a function has values that the file's own graph has not; an import that gets
    the function wrong must not judge itself.
    """
    found = reference(
        tmp_path,
        f"{HEAD} => (float[3] y) {{ y = own.twice_relu(x) }}"
        '<domain: "own", opset_import: ["" : 21]> twice_relu (a) => (b)'
        " { c = Relu(a) b = Add(c, c) }",
    )
    inner = sorted(found.computed() - {"y"})
    assert inner
    wrong = from_text("graph g(x: float32[3]) -> (y)\nc: float32[3] = Neg(x)\n"
                      f"{inner[0]}: float32[3] = Neg(x)\ny: float32[3] = Neg(x)\n")  # fmt: skip
    found.graph = wrong
    values = found.run(X, ["y", inner[0]])
    np.testing.assert_array_equal(values["y"], 2 * np.maximum(X["x"], 0))
    assert (found.runtime, found.unjudged, found.imported) == (ON_FILE, "", (inner[0],))


@pytest.mark.parametrize(
    ("nodes", "runtime", "why"),
    [
        ("y = Relu(x)", ON_FILE, ""),
        # No kernel of ONNX Runtime.
        ("h = Cast<to=16>(x)  s = Softplus(h)  y = Cast<to=1>(s)", ON_EVALUATOR, ""),
        (
            "s, z = Split<num_outputs=2>(x)  b = Constant<value_float=4.0>()"
            "  c = Constant<value_float=0.0>() d = Constant<value_float=0.5>()"
            "  y = onnx.brevitas.Quant<signed=1, narrow=0, rounding_mode=\"ROUND\">(x, d, c, b)",
            ON_IMPORT,
            "ONNX Runtime does not run the file: ",
        ),
    ],
)  # fmt: skip
def test_who_judges_is_said(tmp_path: Path, nodes: str, runtime: str, why: str) -> None:
    found = reference(tmp_path, f"{HEAD} => (float[3] y) {{ {nodes} }}")
    values = found.run(X, ["y"])
    assert len(values["y"]) == 2
    assert found.runtime.startswith(runtime)
    assert found.unjudged.startswith(why) if why else found.unjudged == ""
