"""The lower bound: each of its terms with pencil and paper, then no plan below it, whatever the
model, the chip and the options.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import joulec
from backends.reports.facts import bound_of
from compiler.bound.lower_bound import lower_bound
from compiler.bound.values import engines_for
from compiler.choices import Objective, Weights
from compiler.ir.graph import Alternative, Placement
from compiler.ir.mapping import HostMapping
from compiler.ir.text import from_text
from compiler.plan.schema import Plan
from compiler.target.chip import Target, built_in, load_target
from tests.support.random_networks import build

TILE16, DIANA = load_target("tile16"), load_target("diana")
DENSE = """\
graph g(x: int8[1, 20]{scale=1.0}) -> (y)
w: float32[1, 20, 20] = const random(1)
y: int8[1, 20]{scale=1.0} = Product(x, w)
"""


def bound(text: str, target: Target = TILE16) -> dict[str, Any]:
    return {
        name: pytest.approx(number)
        for name, number in lower_bound(from_text(text), target).model_dump().items()
    }


# -- the terms: tile16 takes 1.112 pJ and 1/16 of a cycle of 10 ns a byte, and 2 mW


def test_a_dense_layer() -> None:
    """20 x 20 on 16 x 16 cells is cheapest on analog.

    40 rows driven, 40 conversions, 400 cells; 20 bytes in and 20 out. Of time, the 20 bytes
    through the port take 12.5 ns, one activation of all tiles at once 20.
    """
    array = 40 * 0.256 + 40 * (0.55 + 0.02) + 400 * 0.0026
    assert bound(DENSE) == {
        "work_pj": array,
        "ports_pj": 40 * 1.112,
        "activations_pj": 0,
        "static_pj": 2 * 20,
        "energy_pj": array + 40 * 1.112 + 2 * 20,
        "energy_with_load_pj": array + 40 * 1.112 + 2 * 20,
        "latency_ns": 20,
    }


def test_what_lies_between_layers_is_written_and_read_once_however_many_read_it() -> None:
    """h is read three times and once through a view, which moves nothing."""
    found = bound("""\
graph g(x: int8[1, 20]{scale=1.0}) -> (y, z)
h: int8[1, 20]{scale=1.0} = Relu(x)
v: int8[20]{scale=1.0} = Reshape(h)
y: int8[20]{scale=1.0} = Relu(v)
z: int8[1, 20]{scale=1.0} = Mul(h, h)
""")
    assert found["activations_pj"] == 2 * 20 * 1.112
    assert found["ports_pj"] == 3 * 20 * 1.112


def test_a_layer_that_only_the_host_can_take_is_charged_the_host() -> None:
    """exp: 60 cycles and 4 more an element at 20 pJ; floats of 4 bytes; 64 cycles of 10 ns an
    element.
    """
    found = bound("graph g(x: float32[1, 10]) -> (y)\ny: float32[1, 10] = Exp(x)\n")
    assert found["work_pj"] == 10 * 64 * 20
    assert found["ports_pj"] == 2 * 40 * 1.112
    assert found["latency_ns"] == 10 * 64 * 10


def test_floats_at_the_ports_are_changed_by_the_host_unless_it_alone_works_on_them() -> None:
    """20 elements of 4 cycles, 20 pJ and 10 ns each, at both ends of a layer that the arrays
    take; nothing is changed for Exp above.
    """
    integers = lower_bound(from_text(DENSE), TILE16)
    floats = lower_bound(
        from_text(DENSE.replace("int8[1, 20]{scale=1.0}", "float32[1, 20]")), TILE16
    )
    assert floats.work_pj - integers.work_pj == pytest.approx(2 * 20 * 4 * 20)
    assert floats.latency_ns - integers.latency_ns == pytest.approx(2 * 20 * 4 * 10)


def test_what_follows_does_not_wait_for_an_output_s_change_to_floats() -> None:
    """Two layers of 20 ns each; y and z are changed in 20 * 4 * 10 ns, y beside the second
    layer.
    """
    text = DENSE.replace("(y)", "(y, z)").replace("y: int8[1, 20]{scale=1.0}", "y: float32[1, 20]")
    found = bound(text + "z: float32[1, 20] = Product(y, w)\n")
    assert found["latency_ns"] == 20 + 20 + 20 * 4 * 10


def test_an_output_under_several_names_leaves_once() -> None:
    once = "graph g(x: float32[1, 20]) -> (y)\ny: float32[1, 20] = Relu(x)\n"
    twice = (
        once.replace("(y)", "(y, z, v)")
        + "z: float32[20] = Flatten(y)\nv: float32[20] = Identity(z)\n"
    )
    assert bound(twice) == bound(once)


def test_a_grouped_convolution_does_not_count_on_arrays_that_take_none() -> None:
    """diana's arrays take no groups, so its digital engine is the cheapest: 9 * 64 * 36 MACs and
    what its weights' memory gives.
    """
    graph = from_text("""\
graph g(x: int8[1, 64, 8, 8]{scale=1.0}) -> (y)
w: float32[64, 9, 1] = const random(1)
y: int8[1, 64, 6, 6]{scale=1.0} = Product(x, w) kernel=[3, 3]
""")
    assert engines_for(graph.nodes[0], graph, DIANA) == ["digital", "host"]
    macs = 9 * 64 * 36
    weights = 6 * 9 * 64  # read for each of six lines
    assert lower_bound(graph, DIANA).work_pj == pytest.approx(macs * 0.1429 + weights * 0.712)


def test_of_a_placed_node_the_engines_count_that_the_partition_found_able() -> None:
    graph = from_text(DENSE)
    others = (
        Alternative(engine="analog", energy_pj=1.0, latency_ns=1.0, divergence=0.5, reason=""),
        Alternative(engine="digital", energy_pj=1.0, latency_ns=1.0, divergence=0.01, reason=""),
    )
    refused = Alternative(engine="analog", reason="it cannot")

    def engines(*others: Alternative) -> list[str]:
        placement = Placement(
            mapping=HostMapping(engine="host"), energy_pj=1, latency_ns=1, alternatives=others
        )
        return engines_for(replace(graph.nodes[0], placement=placement), graph, TILE16)

    assert engines(*others) == ["digital", "analog", "host"]
    assert engines(refused) == ["host"]


def test_weights_beyond_what_the_engines_keep_are_loaded_once() -> None:
    """64 arrays of 256 cells of 4 bits and 4096 bytes keep 98,304 bits; 200 x 200 weights of 4
    bits are 160,000.

    Each of the others is read (1.112 pJ a byte) and written to its cell (0.05 pJ a bit).
    """
    found = lower_bound(from_text(DENSE.replace("20", "200")), TILE16)
    beyond = 200 * 200 * 4 - 64 * 256 * 4 - 4096 * 8
    load = found.energy_with_load_pj - found.energy_pj
    assert load == pytest.approx(beyond * (1.112 / 8 + 0.05))


def test_layers_that_follow_one_another_take_their_times_one_after_another() -> None:
    chain = DENSE.replace("(y)", "(z)") + "z: int8[1, 20]{scale=1.0} = Product(y, w)\n"
    fork = DENSE.replace("(y)", "(y, z)") + "z: int8[1, 20]{scale=1.0} = Product(x, w)\n"
    assert lower_bound(from_text(chain), TILE16).latency_ns == 40
    assert lower_bound(from_text(fork), TILE16).latency_ns == 20


# -- no plan is below it


def assert_not_below_its_bound(plan: Plan) -> None:
    """Energy with and without the weight load, and latency, against the bound that the plan
    carries.
    """
    found = bound_of(plan)
    assert found is not None
    energy, load = plan.energy_pj.total.value, plan.energy_pj.parts["weight_load"].value
    slack = 1 + 1e-9
    assert found.energy_pj <= (energy - load) * slack
    assert found.with_load_pj <= energy * slack
    assert found.latency_ns <= plan.latency_ns.value * slack
    assert found.energy_pj <= found.with_load_pj


def check(model: Path | onnx.ModelProto, chip: str, options: joulec.Options) -> None:
    assert_not_below_its_bound(plan_of(model, chip, options))


def plan_of(model: Path | onnx.ModelProto, chip: str, options: joulec.Options) -> Plan:
    """The plan; where weights are to stay and find no room, one whose weights need not."""
    try:
        return joulec.compile(model, chip, options=options).plan
    except joulec.CapacityError:
        assert options.weights == "resident"
        return joulec.compile(model, chip, options=replace(options, weights="auto")).plan


def random_options(random: np.random.Generator) -> joulec.Options:
    """Whatever a compilation can be asked for that changes what runs where."""
    objectives: tuple[Objective, ...] = ("energy", "latency", "edp")
    weights: tuple[Weights, ...] = ("auto", "resident", "reload")
    in_floats = random.random() < 0.1
    return joulec.Options(
        objective=objectives[int(random.integers(3))],
        weights=weights[int(random.integers(3))],
        prune=0.0 if in_floats else float(random.choice([0, 0, 0.3])),
        max_divergence=[None, 0.0, 1e9][int(random.integers(3))],
        calibration_samples=2,
        precision="float" if in_floats else "integer",
    )


@pytest.mark.parametrize("seed", range(16))
def test_no_plan_of_a_random_model_is_below_its_bound(seed: int) -> None:
    random = np.random.default_rng(seed)
    chip = built_in()[seed % len(built_in())]
    check(build(seed, 6)[0], chip, random_options(random))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(16, 400))
def test_nor_of_many_more(seed: int) -> None:
    random = np.random.default_rng(seed)
    check(build(seed, 12)[0], str(random.choice(built_in())), random_options(random))


@pytest.mark.parametrize(
    ("name", "chip"), [("digits_resnet", "diana"), ("digits_dscnn", "tile16"), ("dim20", "tile16")]
)
def test_nor_of_the_models_here(name: str, chip: str) -> None:
    options = joulec.Options(calibration_samples=2)
    check(Path(__file__).parents[2] / "models" / f"{name}.onnx", chip, options)
