"""Fitting the products of a quantized graph: quantize is useful without it, and it never makes a
product worse.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler.cost.divergence import relative_squared_error
from compiler.engines.mapping import map_node
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Graph, Node, Placement
from compiler.ir.text import from_text, to_text
from compiler.ir.verify import verify
from compiler.target.chip import Analog, Target, load_target
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.inputs import CalibrationInputs, synthetic_inputs
from passes.fitting.fit import AnalogLayer, fit_analog
from passes.fitting.layer_data import layer_data
from passes.fitting.weights import AnalogWeights, IntegerWeights
from passes.quantize import Quantize
from passes.refit import Refit
from tests.support.chips import only_analog
from tests.support.fit_errors import analog_error, integer_error

TWO_LAYERS = """\
graph g(x: float32[1, 24]) -> (y)
v: float32[1, 24, 16] = const random(1, -0.5, 0.5)
w: float32[1, 16, 8] = const random(2, -0.5, 0.5)
b: float32[16] = const random(3, -1, 1)
h: float32[1, 16] = Product(x, v, b) minimum=0.0
y: float32[1, 8] = Product(h, w)
"""


def rounded(engine: str, chip: str, slices: int = 1) -> tuple[Graph, CalibrationInputs, Target]:
    """TWO_LAYERS placed by hand and quantized, with the samples it was calibrated on."""
    graph, target = from_text(TWO_LAYERS), load_target(chip)
    inputs = synthetic_inputs(graph, 200)
    graph = Calibrate(inputs)(graph, target)
    nodes = []
    for node in graph:
        mapping = map_node(node, graph, engine, target, weight_slices=slices, resident=True)
        nodes.append(replace(node, placement=Placement(mapping=mapping, reason="by hand")))
    graph = replace(graph, nodes=tuple(nodes))
    return run_passes(graph, [Quantize()], target), inputs, target


def divergence_on(graph: Graph, inputs: CalibrationInputs) -> float:
    wanted = Interpreter(from_text(TWO_LAYERS)).run_all(inputs.arrays)["y"]
    found = Interpreter(graph).run_all(inputs.arrays)["y"]
    return relative_squared_error(wanted.astype(np.float64), found.astype(np.float64))


CASES = [("digital", "diana", 1), ("analog", "tile16", 2), ("analog", "diana", 3)]


@pytest.mark.parametrize(
    ("case", "alone", "fitted"), [*zip(CASES, (2e-3, 0.05, 0.4), (5e-4, 1e-3, 0.04), strict=True)]
)
def test_quantize_alone_is_of_use_and_refit_makes_it_better(
    case: tuple[str, str, int], alone: float, fitted: float
) -> None:
    """Ternary cells behind six-bit converters need the fit most."""
    plain, inputs, target = rounded(*case)
    after = run_passes(plain, [Refit(inputs)], target)
    errors = divergence_on(plain, inputs), divergence_on(after, inputs)
    assert errors[0] < alone
    assert errors[1] < min(fitted, errors[0])


@pytest.mark.parametrize("case", CASES)
def test_no_product_is_worse_than_rounded(case: tuple[str, str, int]) -> None:
    """By the squared error of its outputs, on the inputs that it has in the refitted graph."""
    plain, inputs, target = rounded(*case)
    before = plain.unquantized
    assert before is not None
    after = run_passes(plain, [Refit(inputs)], target)
    names = [node.name for node in before]
    wanted = Interpreter(before, outputs=["h"]).run_all(inputs.arrays) | dict(inputs.arrays)
    seen = Interpreter(after, outputs=["x.int8", "h.int8"]).run_all(inputs.arrays)
    for name, value in zip(names, ("x", "h"), strict=True):
        quant = after.types[f"{value}.int8"].quant
        assert quant is not None
        integers = seen[f"{value}.int8"].astype(np.float32)
        reals = (integers - quant.zero_point[0]) * np.float32(quant.scale[0])
        old = next(node for node in before if node.name == name)
        data = layer_data(reals, np.asarray(wanted[value], np.float32), old, before)
        products = [next(node for node in graph if node.name == name) for graph in (plain, after)]
        if case[0] == "digital":
            error = [
                integer_error(IntegerWeights.of(node, graph), data, old, quant)
                for node, graph in zip(products, (plain, after), strict=True)
            ]
        else:
            engine = only_analog(target)
            error = [
                analog_error(AnalogWeights.of(node, graph), data, old, engine)
                for node, graph in zip(products, (plain, after), strict=True)
            ]
        assert error[1] <= error[0]


def test_only_the_products_change() -> None:
    plain, inputs, target = rounded("analog", "diana", 3)
    after = run_passes(plain, [Refit(inputs)], target)
    assert after.nodes == plain.nodes
    changed = {n for n, data in after.constants.items() if data is not plain.constants[n]}
    assert {name.split(".")[0] for name in changed} == {"h", "y"}
    formats = {n for n, kind in after.types.items() if kind.quant != plain.types[n].quant}
    assert formats == {"h.int8.to.y"}, "behind a ReLU; the format of x is the best already"
    assert after.unquantized is None
    assert Refit(inputs)(after, target) is after, "a second run finds something to do"


def test_a_requantize_that_changes_nothing_any_more_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Should the format that fits an array best be the one that its inputs have anyhow."""
    plain, inputs, target = rounded("analog", "tile16", 2)
    source = plain.types["x.int8"].quant
    assert source is not None

    def fitted(layer: AnalogLayer, node: Node, digits: int, unit: Analog) -> AnalogWeights:
        return replace(fit_analog(layer, node, digits, unit), inputs=source)

    monkeypatch.setattr("passes.refit.fit_analog", fitted)
    after = Refit(inputs)(plain, target)
    verify(after)
    assert [node.op for node in plain].count("Requantize") == 2
    assert [node.op for node in after].count("Requantize") == 1
    assert next(node for node in after if node.name == "h").inputs[0] == "x.int8"


def test_what_was_not_quantized_is_left_alone() -> None:
    graph = from_text(TWO_LAYERS)
    assert Refit(synthetic_inputs(graph, 2))(graph, load_target("diana")) is graph


def test_without_samples_the_products_stay_as_they_were_rounded() -> None:
    plain, _, target = rounded("digital", "diana")
    after = Refit(CalibrationInputs({}))(plain, target)
    assert to_text(after) == to_text(replace(plain, unquantized=None))
