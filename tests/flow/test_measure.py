"""What is measured on the whole compiled network: NaN and nothing left out, causes told apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import joulec
from backends.reports.verdict import verdict
from compiler.execute.export_onnx import export_onnx
from compiler.execute.interpreter import Interpreter
from compiler.flow.measure import measured_note
from compiler.ir.text import from_text
from compiler.plan.schema import MeasuredDivergence, PartitionResult

Floats = npt.NDArray[np.float32]

WEIGHTS = """\
w: float32[16, 16] = const random(1, -0.5, 0.5)
v: float32[16, 8] = const random(2, -0.5, 0.5)
"""
# An output, and a sample of ones with some x that makes it NaN or infinite where it is fine else.
BESIDE = f"""\
graph g(x: float32[1, 16]) -> (y, s)
{WEIGHTS}y: float32[1, 16] = MatMul(x, w) named product
s: float32[1, 16] = {{op}}(x) named origin
"""
THROUGH = f"""\
graph g(x: float32[1, 16]) -> (y)
{WEIGHTS}s: float32[1, 16] = {{op}}(x) named origin
h: float32[1, 16] = MatMul(s, w)
r: float32[1, 16] = Relu(h)
y: float32[1, 8] = MatMul(r, v)
"""


def model_of(text: str, op: str = "") -> bytes:
    return export_onnx(from_text(text.format(op=op)))


def samples(bad: float | None = None) -> Floats:
    x = np.random.default_rng(0).uniform(0.5, 2, (40, 16)).astype(np.float32)
    if bad is not None:
        x[7, 3] = bad
    return x


def compiled(path: Path, model: bytes, data: Floats, **options: Any) -> joulec.Compiled:
    np.savez(path / "x.npz", x=data)
    given = joulec.Options(data=path / "x.npz", calibration_samples=32, **options)
    return joulec.compile(model, "diana_digital", options=given)


def placed(made: joulec.Compiled) -> list[tuple[str, str]]:
    return [(step.name, step.engine) for step in made.plan.steps]


@pytest.mark.parametrize(
    ("text", "op", "bad", "word", "output"),
    [
        (BESIDE, "Sqrt", -1.0, "NaN", "s"),
        (BESIDE, "Reciprocal", 0.0, "infinity", "s"),
        (THROUGH, "Log", -1.0, "NaN", "y"),
        (THROUGH, "Exp", 1e3, "NaN", "y"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_sample_on_which_the_model_is_no_number_changes_nothing(
    tmp_path: Path, text: str, op: str, bad: float, word: str, output: str, share: float
) -> None:
    """The tests' own filter makes an error of every Python warning."""
    model = model_of(text, op)
    fine = compiled(tmp_path, model, samples(), prune=share)
    made = compiled(tmp_path, model, samples(bad), prune=share)
    assert placed(made) == placed(fine)
    [note] = [one for one in made.plan.diagnostics if one.code == "W012"]
    assert f"output {output!r} of the model itself is {word}" in note.line()
    assert "on sample 7 (counted from 0; 1 of 40)" in note.line()
    assert f"it begins at node 'origin' ({op})" in note.line()
    assert made.plan.measured is not None
    assert made.plan.divergence < 0.02 or share
    assert not [one for one in fine.plan.diagnostics if one.code == "W012"]


def test_the_samples_left_out_are_counted(tmp_path: Path) -> None:
    made = compiled(tmp_path, model_of(BESIDE, "Sqrt"), samples(-1.0)[:32])
    assert made.plan.measured is not None
    assert {one.name: one.left_out for one in made.plan.measured.outputs} == {"y": 0, "s": 1}
    assert "left out on 1 sample" in verdict(made.plan)[1]


def test_an_output_without_elements_costs_and_diverges_nothing(tmp_path: Path) -> None:
    empty = BESIDE.replace("s: float32[1, 16] = {op}(x)", "s: float32[1, 0] = Slice(y, z, z, k)")
    bounds = "z: int64[1] = const [3]\nk: int64[1] = const [1]\n"
    empty = empty.replace("y: float32", f"{bounds}y: float32")
    alone = BESIDE.replace("-> (y, s)", "-> (y)").rsplit("s: float32", 1)[0]
    made, control = (compiled(tmp_path, model_of(t), samples()) for t in (empty, alone))
    assert made.plan.measured is not None
    assert [one.divergence for one in made.plan.measured.outputs if one.name == "s"] == [0]
    assert made.plan.divergence == control.plan.divergence
    energies = [one.plan.energy_pj.total.value for one in (made, control)]
    assert energies[0] < 1.1 * energies[1]


def test_the_measure_is_of_the_model_as_given_and_holds_what_pruning_does(tmp_path: Path) -> None:
    """Against ONNX Runtime on the file: the simulator's outputs have that very divergence."""
    model = model_of(THROUGH, "Identity")
    data = samples()
    made = compiled(tmp_path, model, data, prune=0.9)
    assert made.plan.measured is not None
    held_out = data[32:, None]
    graph = from_text(THROUGH.format(op="Identity"))
    wanted = Interpreter(graph).run_all({"x": held_out})["y"]
    found = np.stack([joulec.run(made, {"x": one})[0] for one in held_out])
    error = float(((wanted - found) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())
    assert made.plan.divergence == pytest.approx(error, rel=1e-3)
    assert made.plan.measured.on == "8 held-out samples"
    [note] = [one for one in made.plan.diagnostics if one.code == "W006"]
    assert "lower --prune" in note.hint
    assert made.plan.divergence_total < made.plan.divergence, "an estimate of the formats alone"


def test_made_up_samples_are_measured_too_and_say_so() -> None:
    made = joulec.compile(model_of(THROUGH, "Identity"), "diana")
    assert made.plan.measured is not None
    assert made.plan.measured.on == "64 made-up samples"
    assert "measured on 64 made-up samples" in verdict(made.plan)[1]


@pytest.mark.parametrize(("divergence", "speaks"), [(0.5, True), (0.0201, True), (0.02, False)])
def test_a_plan_above_what_is_allowed_is_told(divergence: float, speaks: bool) -> None:
    measured = MeasuredDivergence(divergence=divergence, samples=8, held_out=True)
    partition = PartitionResult(
        objective="energy",
        energy_pj=1.0,
        latency_ns=1.0,
        divergence=0.01,
        divergence_kind="KL",
        max_divergence=0.02,
        gap=0.0,
    )
    notes = measured_note(measured, partition, lambda *_: "the way out")
    assert len(notes) == speaks
    if speaks:
        line = notes[0].line()
        assert line.startswith("warning[W006]: on 8 held-out samples the compiled network's diver")
        assert line.endswith("above the 0.02 allowed; the way out")
    no_limit = partition.model_copy(update={"max_divergence": None})
    assert measured_note(measured, no_limit, lambda *_: "") == ()


LABEL = f"""\
graph g(x: float32[1, 16]) -> (k)
{WEIGHTS}h: float32[1, 16] = MatMul(x, w)
r: float32[1, 16] = Relu(h)
c: float32[1, 8] = MatMul(r, v)
k: int64[1] = ArgMax(c) axis=1 keepdims=0
"""


def test_labels_that_change_are_counted_and_bind_the_budget(tmp_path: Path) -> None:
    """With no limit the arrays change labels; with one, what they would change is not allowed."""
    data = np.random.default_rng(3).standard_normal((256, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=data)
    options = joulec.Options(data=tmp_path / "x.npz", max_divergence=float("inf"))
    model = model_of(LABEL)
    free = joulec.compile(model, "diana", options=options).plan
    bound = joulec.compile(model, "diana", options=replace(options, max_divergence=0.02)).plan
    assert free.measured is not None
    assert free.measured.outputs[0].kind == "labels"
    assert free.divergence > 0.02
    assert bound.divergence < free.divergence
    assert bound.energy_pj.total.value > free.energy_pj.total.value
    assert any(one.divergence or 0 for row in free.placements for one in row.alternatives)


ROUNDED = """\
graph g(x: float32[1, 16]) -> (y)
s: float32[] = const [0.02]
z: uint8[] = const [128]
t: float32[] = const [0.01]
k: uint8[] = const [30]
w: uint8[16, 8] = const {weights}
q: uint8[1, 16] = QuantizeLinear(x, s, z)
d: float32[1, 16] = DequantizeLinear(q, s, z)
r: float32[16, 8] = DequantizeLinear(w, t, k)
y: float32[1, 8] = MatMul(d, r)
"""


def test_what_import_rounds_is_in_the_measure(tmp_path: Path) -> None:
    """Weights of uint8 with a zero point take 9 bits, and int8 holds 8 of them."""
    random = np.random.default_rng(5)
    weights = ", ".join(str(number) for number in random.integers(0, 256, 128))
    graph = from_text(ROUNDED.format(weights=f"[{weights}]"))
    data = random.uniform(-2.5, 2.5, (40, 16)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=data)
    options = joulec.Options(data=tmp_path / "x.npz", calibration_samples=32, max_divergence=1e-9)
    made = joulec.compile(export_onnx(graph), "diana_digital", options=options)
    held_out = data[32:, None]
    wanted = Interpreter(graph).run_all({"x": held_out})["y"]
    found = np.stack([joulec.run(made, {"x": one})[0] for one in held_out])
    error = float(((wanted - found) ** 2).sum() / ((wanted - wanted.mean()) ** 2).sum())
    assert error > 1e-8, "the columns of int8 have other steps than the weights"
    assert made.plan.divergence == pytest.approx(error, rel=1e-3)
    [note] = [one for one in made.plan.diagnostics if one.code == "W006"]
    assert "bringing the model's own integers to 8 bits alone makes" in note.hint
    assert made.plan.divergence_total == 0, "no format of a node has anything of it"
