"""Calibration: what ranges are measured, and what a divergence says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import joulec
import passes.calibration.measurement_budget
from compiler.cost.divergence import BEYOND_MEASURE, relative_squared_error
from compiler.engines import numerics
from compiler.execute.export_onnx import export_onnx
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.formats import INT8, Format
from compiler.ir.graph import Array, Calibration, Graph
from compiler.ir.text import from_text, to_text
from compiler.target.chip import load_target
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.clipped_range import clipped_range
from passes.calibration.inputs import CalibrationInputs, load_inputs, synthetic_inputs
from passes.calibration.rounded_inputs import rounding_divergence
from passes.calibration.suffix import SuffixRunner
from passes.fuse_activations import FuseActivations
from passes.lower_convolution import LowerConvolution
from passes.pipeline import clean_passes

DIANA = load_target("diana")
MODELS = Path(__file__).parents[2] / "models"

NETWORK = """\
graph net(x: float32[1, 16]) -> (y)
w: float32[1, 16, 16] = const random(1, -0.5, 0.5)
v: float32[1, 16, 4] = const random(2, -0.5, 0.5)
a: float32[1, 16] = Product(x, w) minimum=0.0
b: float32[1, 4] = Product(a, v)
y: float32[1, 4] = Softmax(b)
"""


def calibrate(text: str, count: int = 32, target: str = "diana") -> Calibration:
    graph = from_text(text)
    found = Calibrate(synthetic_inputs(graph, count))(graph, load_target(target)).calibration
    assert found is not None
    return found


# -- ranges


def test_every_float_value_has_a_range() -> None:
    found = calibrate(NETWORK)
    assert set(found.ranges) == {"x", "a", "b", "y"}
    low, high = found.ranges["a"]
    assert low == 0.0, "behind a ReLU nothing is negative"
    assert high > 0
    assert all(low <= 0 <= high for low, high in found.ranges.values()), "0 is always told exactly"


def test_a_range_lies_within_what_was_seen() -> None:
    graph = from_text(NETWORK)
    samples = synthetic_inputs(graph, 32)
    found = calibrate(NETWORK)
    seen = Interpreter(graph, outputs=("a", "b", "y")).run_all(samples.arrays)
    for name, values in seen.items():
        low, high = found.ranges[name]
        assert min(values.min(), 0) <= low <= high <= max(values.max(), 0)


def test_an_outlier_is_clipped_where_that_costs_less_than_coarse_steps() -> None:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    low, high = clipped_range(np.append(values, np.float32(8.0)))
    assert high < 8.0
    quant = numerics.asymmetric(8, low, high)
    whole = numerics.asymmetric(8, float(values.min()), 8.0)
    error, naive = (
        float(((numerics.dequantize(numerics.quantize(values, q), q) - values) ** 2).sum())
        for q in (quant, whole)
    )
    assert error < naive


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([0.0, 0.0], 0.0, 0.0),
        ([5.0], 0.0, 5.0),
        ([-5.0, -4.0], -5.0, 0.0),
        ([-1.0, 3.0], -1.0, 3.0),
    ],
)
def test_ranges_of_few_values(values: list[float], low: float, high: float) -> None:
    found = clipped_range(np.array(values, np.float32))
    assert found == pytest.approx((low, high), rel=0.05, abs=1e-12)


def test_integers_and_infinities_have_no_range() -> None:
    found = calibrate("""\
graph net(i: int64[2], q: int8[2]{scale=0.5}, x: float32[2]) -> (y, z, k)
s: float32[] = const [0.5]
k: int64[2] = HardSwish(i)
n: float32[2] = Exp(x)
m: float32[2] = Neg(n)
y: float32[2] = Log(m)
z: float32[2] = DequantizeLinear(q, s)
""")
    assert set(found.ranges) == {"x", "n", "m", "z"}, "no logarithm of them is a number"


# -- divergence


def test_every_format_of_every_node_is_measured() -> None:
    found = calibrate(NETWORK)
    forms = {
        INT8,
        Format.analog("analog", 1),
        Format.analog("analog", 2),
        Format.analog("analog", 3),
    }
    assert {node: set(by_format) for node, by_format in found.divergence.items()} == {
        "a": forms,
        "b": forms,
    }
    assert set(calibrate(NETWORK, target="tile16").divergence["a"]) == {
        INT8,
        Format.analog("analog", 1),
        Format.analog("analog", 2),
    }
    assert set(calibrate(NETWORK, target="diana_digital").divergence["a"]) == {INT8}
    for by_format in found.divergence.values():
        assert (
            0
            < by_format[INT8]
            < by_format[Format.analog("analog", 2)]
            < by_format[Format.analog("analog", 1)]
        )


def test_the_kind_of_divergence() -> None:
    assert calibrate(NETWORK).kind == "KL"
    logits = NETWORK.replace("-> (y)", "-> (b)").replace("y: float32[1, 4] = Softmax(b)\n", "")
    assert calibrate(logits).kind == "relative squared error"


def test_divergences_are_what_one_layer_alone_does() -> None:
    """A layer that nothing depends on has no divergence.

    A table (Sigmoid) is measured in its output's format.
    """
    found = calibrate("""\
graph net(x: float32[1, 8]) -> (y)
w: float32[1, 8, 8] = const random(1, -0.5, 0.5)
unread: float32[1, 8] = Product(x, w)
y: float32[1, 8] = Sigmoid(x)
""")
    assert set(found.divergence["unread"].values()) == {0.0}
    assert 0 < found.divergence["y"][INT8] < 1e-4


def test_the_nodes_stay_and_the_inputs_are_named() -> None:
    graph = from_text(NETWORK)
    inputs = synthetic_inputs(graph, 4)
    after = Calibrate(inputs)(graph, DIANA)
    assert after.calibration is not None
    assert after.calibration.inputs_hash == inputs.hash
    assert replace(after, calibration=None) == graph
    assert to_text(from_text(to_text(after))) == to_text(after)


def test_calibration_is_repeatable() -> None:
    assert calibrate(NETWORK) == calibrate(NETWORK)
    assert calibrate(NETWORK, count=4) != calibrate(NETWORK)


def test_a_node_that_cannot_run_on_the_samples_is_left_out() -> None:
    """The indices lie behind the table's two rows.

    What depends on it has neither range nor divergence.
    """
    found = calibrate("""\
graph net(i: int64[2], x: float32[2, 2]) -> (y, z)
table: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
two: int64[] = const [2]
behind: int64[2] = Add(i, two)
e: float32[2, 2] = Gather(table, behind)
y: float32[2, 2] = Relu(e)
z: float32[2, 2] = Relu(x)
""")
    assert set(found.ranges) == {"x", "z"}
    assert found.divergence == {}


def test_an_empty_operand_has_nothing_to_round() -> None:
    node = "y: float32[1, 2] = Concat(e, x) axis=1"
    graph = from_text(f"graph g(x: float32[1, 2], e: float32[1, 0]) -> (y)\n{node}\n")
    values: dict[str, Array] = {
        "x": np.array([[[0.5, -1.0]]], np.float32),
        "e": np.zeros((1, 1, 0), np.float32),
    }
    found = Calibrate(CalibrationInputs(values))(graph, DIANA).calibration
    assert found is not None
    assert set(found.rounding) == {"x"}


def test_a_value_that_is_read_in_int8_has_a_divergence_where_no_node_has_it() -> None:
    """A Slice gives on what it takes, and has no format of its own to be charged for.

    What a product makes (`p`) is rounded alone, without its weights; a function's output (`s`) is
    so already, and what only products read (`w`) is in theirs.
    """
    graph = from_text("""\
graph net(x: float32[1, 16], w: float32[1, 16]) -> (y, p, s)
v: float32[1, 16, 16] = const random(1, -1, 1)
from: int64[1] = const [0]
to: int64[1] = const [8]
axis: int64[1] = const [1]
a: float32[1, 8] = Slice(x, from, to, axis)
b: float32[1, 8] = HardSwish(a)
y: float32[1, 8] = Tanh(b)
c: float32[1, 16] = Product(w, v)
p: float32[1, 16] = HardSwish(c)
d: float32[1, 16] = Sigmoid(p)
s: float32[1, 16] = HardSwish(d)
""")
    found = Calibrate(synthetic_inputs(graph, 32))(graph, DIANA).calibration
    assert found is not None
    assert set(found.rounding) == {"x", "a", "c"}
    graph = replace(graph, calibration=found)
    assert from_text(to_text(graph)).calibration == found
    assert 0 < rounding_divergence("x", graph) < 1e-3
    assert 0 < rounding_divergence("c", graph) < found.divergence["c"][INT8]
    assert rounding_divergence("d", graph) == found.divergence["d"][INT8]
    assert rounding_divergence("w", graph) == 0


def test_without_inputs_there_is_nothing_to_measure() -> None:
    found = calibrate("graph net() -> (y)\ny: float32[2] = RandomNormal() shape=[2]\n")
    assert (found.ranges, found.divergence) == ({}, {})


def test_a_fault_of_ours_is_not_taken_for_samples_out_of_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a fault")

    monkeypatch.setattr("compiler.execute.interpreter.export_nodes", broken)
    with pytest.raises(KeyError, match="a fault"):
        calibrate(NETWORK)


def test_a_clipped_range_is_of_plain_floats() -> None:
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    low, high = clipped_range(np.append(values, np.float32(8.0)))
    assert (type(low), type(high)) == (float, float)


def test_a_node_without_its_first_output() -> None:
    """An LSTM of which only the last state is read, as exporters write it."""
    found = calibrate("""\
graph g(x: float32[3, 1, 4]) -> (h)
w: float32[1, 20, 4] = const random(1, -1, 1)
r: float32[1, 20, 5] = const random(2, -1, 1)
"", h: float32[1, 1, 5] = LSTM(x, w, r) hidden_size=5 named lstm
""")
    assert set(found.ranges) == {"x", "h"}


def test_a_format_with_which_the_rest_cannot_run_diverges_beyond_measure() -> None:
    """In eight bits the largest value comes out a little larger.

    As an index it then lies behind the table's ten rows.
    """
    graph = from_text("""\
graph net(x: float32[16]) -> (y)
table: float32[10] = const random(1, -1, 1)
a: float32[16] = LeakyRelu(x) alpha=1.0
i: int64[16] = Cast(a) to=7
e: float32[16] = Gather(table, i)
y: float32[16] = Relu(e)
""")
    samples = np.linspace(-0.3, 9.9999, 64, dtype=np.float32).reshape(4, 16)
    found = Calibrate(CalibrationInputs({"x": samples}))(graph, DIANA).calibration
    assert found is not None
    assert found.divergence["a"] == {INT8: BEYOND_MEASURE}
    assert found.divergence["y"][INT8] < 0.01


# -- where following every node would take too long

CHAIN = """\
graph net(x: float32[1, 16]) -> (f)
a: float32[1, 16] = Sigmoid(x)
b: float32[1, 16] = Tanh(a)
c: float32[1, 16] = Sigmoid(b)
d: float32[1, 16] = Tanh(c)
e: float32[1, 16] = Sigmoid(d)
f: float32[1, 16] = Tanh(e)
"""


def test_few_runs_leave_part_of_the_nodes_to_an_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six nodes and an input, each evaluated through half of them on average, take 21 runs.

    With 12 runs, every second gets one.
    """
    exact = calibrate(CHAIN)
    assert exact.estimated == 0
    monkeypatch.setattr(passes.calibration.measurement_budget, "MOST_RUNS", 12)
    found = calibrate(CHAIN)
    assert found.estimated == 3
    assert set(found.divergence) == set(exact.divergence), (
        "every node has a divergence all the same"
    )
    for name in ("b", "d", "f"):
        assert found.divergence[name] == exact.divergence[name]
    graph = replace(from_text(CHAIN), calibration=found)
    assert from_text(to_text(graph)).calibration == found


def test_a_network_of_many_errors_is_cut_in_few_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece that an error passes is a run of its own, for every sample; values do not tell."""
    names = ["x", *(f"v{index}" for index in range(64))]
    lines = [f"{b}: float32[1, 16] = Sigmoid({a})" for a, b in pairwise(names)]
    chain = "\n".join(["graph net(x: float32[1, 16]) -> (v63)", *lines, ""])
    monkeypatch.setattr(passes.calibration.measurement_budget, "MOST_RUNS", 400)
    taken = []
    piece = SuffixRunner._piece

    def counted(runner: SuffixRunner, start: int, end: int) -> Interpreter | None:
        taken.append(start)
        return piece(runner, start, end)

    monkeypatch.setattr(SuffixRunner, "_piece", counted)
    found, pieces = calibrate(chain), len(taken)
    taken.clear()
    monkeypatch.setattr("passes.calibrate.isqrt", lambda count: 1)
    assert calibrate(chain).divergence == found.divergence
    assert 0 < found.estimated < 64
    assert 2 * pieces < len(taken)


def test_a_plan_says_which_part_is_estimated(monkeypatch: pytest.MonkeyPatch) -> None:
    model = export_onnx(from_text(CHAIN))
    assert not any(found.code == "W007" for found in joulec.compile(model, "diana").diagnostics)
    monkeypatch.setattr(passes.calibration.measurement_budget, "MOST_RUNS", 12)
    plan = joulec.compile(model, "diana").plan
    notes = [found.line() for found in plan.diagnostics]
    assert sum("W007" in line for line in notes) == 1
    assert any("divergences of 3 nodes are estimates" in line for line in notes)
    assert any("and 3 were followed" in line for line in notes)


# -- a real network


@pytest.fixture(scope="module")
def resnet() -> tuple[Graph, CalibrationInputs, Calibration]:
    """Prepares digits_resnet for calibration.

    With 16 real images and what calibration finds on them.
    """
    graph = run_passes(
        import_onnx(MODELS / "digits_resnet.onnx").graph,
        (*clean_passes(), LowerConvolution(), FuseActivations()),
        DIANA,
    )
    inputs = load_inputs(MODELS / "digits_calibration.npz", graph, 16)
    found = Calibrate(inputs)(graph, DIANA).calibration
    assert found is not None
    return graph, inputs, found


def test_divergences_roughly_add_up(resnet: tuple[Graph, CalibrationInputs, Calibration]) -> None:
    """All layers rounded to int8 at once diverge about as much as the sum of each alone.

    Values are rounded in the float network here, which is what int8 does to it.
    """
    graph, inputs, found = resnet
    names = [node.outputs[0] for node in graph if INT8 in found.divergence.get(node.name, {})]
    assert len(names) > 10
    dense = Interpreter(graph).run_all(inputs.arrays)
    values: dict[str, Array] = dict(inputs.arrays)
    for node in graph:
        read = [n for n in dict.fromkeys(node.inputs) if n and n not in graph.constants]
        single = replace(graph, inputs=tuple(read), outputs=node.outputs, nodes=(node,))
        made = Interpreter(single).run_all({n: values[n] for n in read})
        for name, data in made.items():
            values[name] = rounded(data, found.ranges[name]) if name in names else data
    output = graph.outputs[0]
    together = relative_squared_error(
        dense[output].astype(np.float64), values[output].astype(np.float64)
    )
    alone = sum(found.divergence[graph.producer[name].name][INT8] for name in names)
    assert 0.2 * alone < together < 3 * alone


def rounded(data: Array, limits: tuple[float, float]) -> Array:
    quant = numerics.asymmetric(8, *limits)
    return numerics.dequantize(numerics.quantize(np.asarray(data, np.float32), quant), quant)


def test_more_digits_diverge_less(resnet: tuple[Graph, CalibrationInputs, Calibration]) -> None:
    _, _, found = resnet
    analog = [d for d in found.divergence.values() if Format.analog("analog", 1) in d]
    assert len(analog) == 10
    for digits in (1, 2):
        fewer, more = (
            sum(d[Format.analog("analog", n)] for d in analog) for n in (digits, digits + 1)
        )
        assert more < fewer


def test_few_samples_with_none_left_to_try_the_plan_on(tmp_path: Path) -> None:
    """However small the stated divergence, it was measured on the samples of the ranges."""
    model = export_onnx(from_text(CHAIN))
    random = np.random.default_rng(0)

    def warnings(samples: int, calibrated_on: int) -> int:
        x = random.standard_normal((samples, 16)).astype(np.float32)
        np.savez(tmp_path / "samples.npz", x=x)
        options = joulec.Options(data=tmp_path / "samples.npz", calibration_samples=calibrated_on)
        plan = joulec.compile(model, "diana_digital", options=options).plan
        notes = [found.line() for found in plan.diagnostics]
        return sum("warning[W008]" in note for note in notes)

    assert warnings(samples=4, calibrated_on=4) == 1
    assert warnings(samples=32, calibrated_on=32) == 0
    assert warnings(samples=8, calibrated_on=4) == 0, "the other four tell"


JOINED = """\
graph net(x: float32[1, 16]) -> (y)
thousand: float32[1] = const [1000.0]
factors: float32[1, 32] = const random(2)
w: float32[32, 8] = const random(1)
large: float32[1, 16] = Mul(x, thousand)
small: float32[1, 16] = Sigmoid(x)
both: float32[1, 32] = Concat(large, small) axis=1
alike: float32[1, 32] = Mul(both, factors)
y: float32[1, 8] = MatMul(alike, w)
"""


def test_a_concat_in_whose_format_a_part_is_lost_is_charged_for_it(tmp_path: Path) -> None:
    """A batch norm behind a Concat brings parts of unlike size to one.

    In int8 over both, all of the small part is a step or two. Neither the Concat in int8 nor what
    reads its result in int8 (were the Concat left to the host) may look free.
    """
    graph = from_text(JOINED)
    factors = np.repeat(np.array([[0.001, 1.0]], np.float32), 16, axis=1)
    graph = replace(graph, constants={**graph.constants, "factors": factors})
    samples = np.random.default_rng(0).standard_normal((96, 16)).astype(np.float32)
    seen = CalibrationInputs({"x": samples[:64, None]})
    calibration = Calibrate(seen)(graph, load_target("diana_digital")).calibration
    assert calibration is not None
    charged = {node: formats[INT8] for node, formats in calibration.divergence.items()}
    assert charged["both"] > 0.02
    assert rounding_divergence("both", replace(graph, calibration=calibration)) > 0.02
    assert charged["small"] < 0.001

    np.savez(tmp_path / "samples.npz", x=samples)
    options = joulec.Options(data=tmp_path / "samples.npz", calibration_samples=64)
    compiled = joulec.compile(export_onnx(graph), "diana_digital", options=options)
    wanted = Interpreter(graph).run_all({"x": samples[64:, None]})["y"]
    found = np.stack([joulec.run(compiled, {"x": one[None]})[0] for one in samples[64:]])
    assert ((found - wanted) ** 2).sum() < 0.02 * (wanted**2).sum()


def test_a_mask_of_minus_infinities_compiles() -> None:
    """Its infinities have no int8, and calibration meets none that it would have to round."""
    graph = from_text("""\
graph attention(x: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [0.5, -1.0, 0.25, 1.0]
mask: float32[2, 2] = const [0.0, -inf, 0.0, 0.0]
scores: float32[1, 2] = Product(x, w)
masked: float32[2, 2] = Add(scores, mask)
y: float32[2, 2] = Softmax(masked)
""")
    made = joulec.compile(export_onnx(graph), "diana_digital")
    [found] = joulec.run(made, {"x": np.ones((1, 2), np.float32)})
    np.testing.assert_allclose(found, np.array([[1, 0], [0.679, 0.321]]), atol=0.01)


def test_samples_that_a_model_cannot_run_on_are_refused(tmp_path: Path) -> None:
    """An index beyond its table is a fault of the data file; it ended as a bug of ours."""
    model = export_onnx(
        from_text("graph g(i: int64[2], x: float32[4]) -> (y)\ny: float32[2] = Gather(x, i)\n")
    )
    np.savez(tmp_path / "far.npz", i=np.full((3, 2), 9), x=np.ones((3, 4), np.float32))
    with pytest.raises(
        joulec.CompileError, match="the model does not run on its samples"
    ) as caught:
        joulec.compile(model, "diana", options=joulec.Options(data=tmp_path / "far.npz"))
    assert caught.value.code == "U005"


def test_outputs_that_differ_in_size_are_not_measured(tmp_path: Path) -> None:
    model = export_onnx(from_text("graph g(x: float32[4]) -> (y)\ny: int64[1, ?] = NonZero(x)\n"))
    np.savez(tmp_path / "x.npz", x=np.tri(3, 4, dtype=np.float32))
    made = joulec.compile(model, "diana", options=joulec.Options(data=tmp_path / "x.npz"))
    assert "measured_divergence" not in str(made.plan.partition)
