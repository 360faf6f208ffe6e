"""Times have intervals, powers over them too, and what an assumption is multiplied with rests on
it: with pencil and paper, then as properties of every chip's costs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import joulec
from compiler.cost.step import StepCost, clock_time, until_next_edge
from compiler.ir.graph import Graph
from compiler.target.chip import Target, built_in, load_target
from compiler.units import Estimate, TracedEstimate, longest, total
from tests.cost.test_cost import CONVOLUTION, SHAPES, TILE16, changed, cost, every_cost

LSTM = """\
graph g(x: float32[4, 1, 3]) -> (y)
w: float32[1, 8, 3] = const random(1)
r: float32[1, 8, 2] = const random(2)
y: float32[4, 1, 1, 2] = LSTM(x, w, r) hidden_size=2
"""


def test_an_lstm_on_the_host() -> None:
    """Four steps of 24 + 16 MACs at 4 cycles (1 to 12), 12 elements at 4 (2 to 12) and at 60 (20
    to 200), 10 ns a cycle; 2 mW (1 to 4) over that time. All of it rests on assumptions but what
    the memory takes.
    """
    found = cost(LSTM, "host")
    value, low, high = 160 * 4 + 12 * 64, 160 * 1 + 12 * 22, 160 * 12 + 12 * 212
    assert found.time_ns == Estimate(value * 10, low * 10, high * 10)
    static = found.parts["static"]
    assert static == Estimate(2 * value * 10, 1 * low * 10, 4 * high * 10)
    assert found.parts["host"].assumed == pytest.approx(found.parts["host"].value)
    assert static.assumed == pytest.approx(static.value)
    assert found.energy_pj.assumed == pytest.approx(
        found.energy_pj.value - found.parts["memory"].value
    )
    # With the power known, it still stands over an assumed time.
    table = TILE16.chip.model_dump(by_alias=True)
    table["static_mw"] = {"value": 2.0, "source": "a test"}
    bare = cost(LSTM, "host", Target(type(TILE16.chip).model_validate(table), ""))
    assert bare.parts["static"] == Estimate(2 * value * 10, 2 * low * 10, 2 * high * 10)
    assert bare.parts["static"].assumed == pytest.approx(2 * value * 10)


def test_a_plan_of_an_lstm_rests_on_assumptions_and_says_how_long_it_may_take() -> None:
    """On the host alone: time and energy are as unsure as its cycles, and all but the memory's
    energy is assumed.
    """
    random = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w", (1, 64, 8)), ("r", (1, 64, 16)))
    ]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=16)],
        "lstm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [10, 1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [10, 1, 1, 16])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    plan = joulec.compile(model, "tile16", options=joulec.Options(precision="float")).plan
    time, static = plan.latency_ns, plan.energy_pj.parts["static"]
    assert time == plan.serial_latency_ns
    assert (time.value / time.low, time.high / time.value) == pytest.approx((4, 3), rel=0.2)
    assert static == Estimate(2 * time.value, 1 * time.low, 4 * time.high)
    assert plan.assumed_energy_pj is not None
    assert plan.assumed_energy_pj == pytest.approx(
        plan.energy_pj.total.value - plan.energy_pj.parts["memory"].value
    )
    assert plan.assumed_energy_pj > 0.9 * plan.energy_pj.total.value


def test_the_longest_of_several_times_rests_on_what_sets_it() -> None:
    known, guess = TracedEstimate(3, 2, 4), TracedEstimate(5, 1, 9, assumed=5)
    assert longest([known, guess]) == Estimate(5, 2, 9)
    assert longest([known, guess]).assumed == 5
    assert longest([TracedEstimate(6, 6, 6), guess]).assumed == 0
    assert longest([TracedEstimate(5, 5, 5), guess]).assumed == 0  # known without the assumption


def test_a_product_rests_on_assumptions_but_for_what_both_factors_know() -> None:
    power, time = TracedEstimate(2, 1, 4, assumed=0.5), TracedEstimate(10, 5, 20, assumed=4)
    assert (power * time) == Estimate(20, 5, 80)
    assert (power * time).assumed == pytest.approx(20 - 1.5 * 6)
    assert total([power * time, Estimate.exact(3)]).assumed == pytest.approx(11)
    assert (Estimate.exact(3) + power).assumed == (power + Estimate.exact(3)).assumed == 0.5
    assert TracedEstimate(4, 2, 8, assumed=4).inverse(16) == Estimate(4, 2, 8)


def test_cycles_follow_the_clock_and_other_times_wait_for_its_edge() -> None:
    """7.2 cycles are 8 of 5 ns (4 to 10). 12 ns of an array end at an edge between 12 ns, where a
    clock's edge falls there, and less than a cycle later.
    """
    clock = Estimate(5, 4, 10)
    assert clock_time(Estimate(7.2, 7, 9.5), clock) == Estimate(8 * 5, 7 * 4, 10 * 10)
    assert until_next_edge(Estimate.exact(12), clock) == Estimate(15, 12, 22)
    assert until_next_edge(Estimate(12, 11, 16), Estimate.exact(5)) == Estimate(15, 15, 20)


# -- every chip, every engine

Change = Callable[[str, dict[str, Any]], dict[str, Any]]


def with_numbers(target: Target, change: Change) -> Target:
    """The chip with `change(key, table)` in place of each physical number of its file."""

    def inside(key: str, table: Any) -> Any:
        if isinstance(table, tuple | list):
            return [inside(key, item) for item in table]
        if not isinstance(table, dict):
            return table
        if {"value", "low", "high"} <= set(table) and key != "node_nm":
            return {**table, **change(key, table)}
        return {name: inside(name, item) for name, item in table.items()}

    table = inside("", target.chip.model_dump(by_alias=True))
    return Target(type(target.chip).model_validate({**table, "published": []}), "")


def widened(target: Target, factor: float) -> Target:
    """The chip with the interval of every number so much wider at both ends."""

    def change(_: str, table: dict[str, Any]) -> dict[str, Any]:
        low = table["value"] if table["low"] is None else table["low"]
        high = table["value"] if table["high"] is None else table["high"]
        return {"low": low / factor, "high": min(high * factor, 1e15)}

    return with_numbers(target, change)


def inside_interval(target: Target, where: list[float]) -> Target:
    """The chip with numbers anywhere in their intervals, from 0 (low) to 1 (high) of it.

    The energies of memories stay, as they choose whether an input is read from where it lies.
    """
    turn = iter(where * 100)

    def change(key: str, table: dict[str, Any]) -> dict[str, Any]:
        if key in ("read_pj_per_byte", "write_pj_per_byte"):
            return {}
        value = table["low"] + next(turn) * (table["high"] - table["low"])
        return {"value": min(max(value, table["low"]), table["high"])}

    return with_numbers(target, change)


def estimates(step: StepCost) -> dict[str, Estimate]:
    return {**step.parts, "time": step.time_ns, "energy": step.energy_pj}


@settings(max_examples=40, deadline=None)
@given(
    SHAPES,
    st.sampled_from(built_in()),
    st.sampled_from([1.0, 1.1, 3.0]),
    st.lists(st.floats(0, 1), min_size=7, max_size=7),
)
def test_what_a_chip_inside_the_intervals_takes_lies_inside(
    graph: Graph, name: str, factor: float, where: list[float]
) -> None:
    chip = widened(load_target(name), factor)
    found, other = every_cost(graph, chip), every_cost(graph, inside_interval(chip, where))
    for arrangement, step in found.items():
        for part, interval in estimates(step).items():
            slack = 1e-9 * interval.high + 1e-6 * chip.cycle_ns
            one = estimates(other[arrangement])[part].value
            assert interval.low - slack <= one <= interval.high + slack, (arrangement, part)
            assert 0 <= interval.assumed <= interval.value * (1 + 1e-9), (arrangement, part)


@settings(max_examples=30, deadline=None)
@given(SHAPES, st.sampled_from(built_in()), st.sampled_from([1.01, 2.0]))
def test_wider_intervals_of_a_chip_never_give_narrower_ones(
    graph: Graph, name: str, factor: float
) -> None:
    chip = load_target(name)
    found, wider = every_cost(graph, chip), every_cost(graph, widened(chip, factor))
    for arrangement, step in found.items():
        for part, interval in estimates(step).items():
            other = estimates(wider[arrangement])[part]
            assert other.value == pytest.approx(interval.value, rel=1e-12), (arrangement, part)
            assert other.low <= interval.low * (1 + 1e-12), (arrangement, part)
            assert other.high >= interval.high * (1 - 1e-12), (arrangement, part)


@pytest.mark.parametrize(
    ("key", "part"), [("cycles_per_mac", "host"), ("cycles_per_element", "static")]
)
def test_one_wider_number_reaches_what_it_is_multiplied_with(key: str, part: str) -> None:
    wide = changed(TILE16, f"engines.host.{key}", 4.0)
    table = wide.chip.model_dump(by_alias=True)
    table["engines"]["host"][key]["high"] *= 10
    wide = Target(type(wide.chip).model_validate(table), "")
    before, after = (cost(CONVOLUTION, "host", chip).parts[part] for chip in (TILE16, wide))
    assert (after.value, after.low) == (before.value, before.low)
    assert after.high > before.high
