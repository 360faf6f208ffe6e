"""What must hold of every plan, whatever the model, the chip and the options: on random models,
a few here and many more when slow.

What must hold of every layer stands in test_cost.py, of every plan against its lower bound in
test_bound.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import joulec
from compiler.ir.ops import VIEWS
from compiler.plan.schema import Plan, Step
from compiler.target.chip import Analog, Target, built_in, load_target
from compiler.target.digital import Digital
from tests.bound.test_bound import plan_of, random_options
from tests.cost.test_cost import CAPACITIES, scaled
from tests.support.random_networks import build


def seeds(quick: int, most: int) -> list[Any]:
    """Seeds of random models; those past the first few are slow."""
    return [pytest.param(s, marks=[pytest.mark.slow] if s >= quick else []) for s in range(most)]


@pytest.mark.parametrize("seed", seeds(10, 200))
def test_every_plan(seed: int) -> None:
    random = np.random.default_rng(seed + 1000)
    chip = load_target(built_in()[(7 * seed) % len(built_in())])
    model, _ = build(seed + 1000, 6)
    plan = plan_of(model, chip.name, random_options(random))
    cycles_are_whole(plan, chip)
    no_step_is_faster_than_ideal(plan, chip)
    energies_add_up_within_their_intervals(plan)
    times_lie_within_their_intervals(plan, random)
    nodes = enumerate(model.graph.node)
    every_node_is_costed([node.name or f"{node.op_type}_{i}" for i, node in nodes], plan)


def cycles_are_whole(plan: Plan, chip: Target) -> None:
    """A step ends with a clock cycle. ODiMO's model, in which parts of an activation count, is
    left as it is.
    """
    if chip.name == "diana_odimo":
        return
    for step in plan.steps:
        for ns in (step.start_ns, step.end_ns, step.weight_load_ns):
            cycles = ns / chip.cycle_ns
            assert cycles == pytest.approx(round(cycles), abs=1e-3), step.name


def no_step_is_faster_than_ideal(plan: Plan, chip: Target) -> None:
    """No product takes less than its MACs on all cells, or on all multipliers, of its engine at
    once.
    """
    for step in plan.steps:
        assert step.latency_ns.value >= ideal_ns(step, chip) * (1 - 1e-9), step.name


def ideal_ns(step: Step, chip: Target) -> float:
    engine = chip.chip.engines[step.engine]
    if isinstance(engine, Analog):
        cells = engine.arrays.value * engine.rows.value * engine.columns.value
        return step.macs / cells * engine.steps * engine.step_ns.value
    if isinstance(engine, Digital) and engine.array is not None:
        lanes = engine.array.lanes * engine.array.array_count
        return step.macs / lanes * engine.array.step_cycles * chip.cycle_ns
    return 0.0


def energies_add_up_within_their_intervals(plan: Plan) -> None:
    """Parts to steps, steps to the plan, engines to the plan; every value inside its interval."""
    for energy in (plan.energy_pj, *(step.energy_pj for step in plan.steps)):
        assert energy.total.value == pytest.approx(sum(p.value for p in energy.parts.values()))
        for part in (energy.total, *energy.parts.values()):
            assert 0 <= part.low <= part.value <= part.high
    whole = plan.energy_pj.total.value
    assert whole == pytest.approx(sum(step.energy_pj.total.value for step in plan.steps))
    assert whole == pytest.approx(sum(e.value for e in plan.energy_pj.by_engine.values()))
    assert plan.serial_latency_ns.value == pytest.approx(
        sum(step.latency_ns.value for step in plan.steps)
    )
    assert plan.latency_ns.value <= plan.serial_latency_ns.value * (1 + 1e-9)


def times_lie_within_their_intervals(plan: Plan, random: np.random.Generator) -> None:
    """Of steps and of the plan, whichever of its steps is fast and whichever slow."""
    times = [step.latency_ns for step in plan.steps]
    assert all(0 <= time.low <= time.value <= time.high for time in times)
    ends = [(plan.latency_ns.low, 0.0), (plan.latency_ns.value, None), (plan.latency_ns.high, 1.0)]
    for latency_ns, where in ends:
        chosen = [
            time.value if where is None else time.low + where * (time.high - time.low)
            for time in times
        ]
        assert last_end_ns(plan, chosen) == pytest.approx(latency_ns)
    for _ in range(5):
        some = [random.uniform(time.low, time.high) for time in times]
        inside = last_end_ns(plan, some)
        assert plan.latency_ns.low * (1 - 1e-9) <= inside <= plan.latency_ns.high * (1 + 1e-9)


def last_end_ns(plan: Plan, times_ns: list[float]) -> float:
    """When the last step ends, where each starts as soon as its inputs and its engine allow."""
    ends: dict[str, float] = {}
    for step, time_ns in zip(plan.steps, times_ns, strict=True):
        start = max([ends.get(name, 0.0) for name in (*step.inputs, f"engine {step.engine}")])
        ends.update(dict.fromkeys((*step.outputs, f"engine {step.engine}"), start + time_ns))
    return max(ends.values(), default=0.0)


def every_node_is_costed(names: list[str], plan: Plan) -> None:
    """Each node of the model has a row; steps stand for it that take energy, show what is there,
    or say what is not modelled.
    """
    assert [row.node for row in plan.placements] == names
    for row in plan.placements:
        steps = [plan.steps[index] for part in row.parts for index in part.steps]
        assert bool(steps) == (row.fate in ("placed", "fused")), row.node
        for step in steps:
            free = step.op in VIEWS or plan.target.name == "diana_odimo"
            assert step.energy_pj.total.value > 0 or free or step.not_modelled, step.name
    said = [line.partition(":")[0] for line in plan.not_modelled]
    assert all(step.name in said for step in plan.steps if step.not_modelled)


@pytest.mark.parametrize("seed", seeds(3, 60))
def test_more_capacity_at_the_same_access_costs_never_costs_more(seed: int) -> None:
    """The whole compilation: least energy is no more, least time in a row is no more."""
    random = np.random.default_rng(seed)
    name, path = CAPACITIES[int(random.integers(len(CAPACITIES)))]
    small = load_target(name)
    large = scaled(small, path, int(random.choice([2, 4])))
    model, _ = build(seed, 4)
    for objective in ("energy", "latency"):
        options = joulec.Options(
            objective="energy" if objective == "energy" else "latency",
            max_divergence=1e9,
            calibration_samples=1,
        )
        less, more = (joulec.compile(model, chip, options=options).plan for chip in (large, small))
        if objective == "energy":
            assert less.energy_pj.total.value <= more.energy_pj.total.value * (1 + 1e-9)
        else:
            assert less.serial_latency_ns.value <= more.serial_latency_ns.value * (1 + 1e-9)
