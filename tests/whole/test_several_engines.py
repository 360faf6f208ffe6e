"""A chip of two different analog arrays, a digital array, a vector unit and a host: duo16."""

from __future__ import annotations

from itertools import product
from math import inf, prod
from pathlib import Path

import numpy as np
import pytest

import joulec
from backends.hybrid import lower
from backends.simulate import Simulator
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Graph
from compiler.ir.text import from_text
from compiler.target.chip import load_target
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.inputs import synthetic_inputs
from passes.pad_to_tiles import PadToTiles
from passes.partition import Partition
from passes.partitioning.assignment import Assignment, links_needed
from passes.partitioning.candidates import build_problem
from passes.partitioning.solve import solve
from passes.pipeline import matrix_passes
from passes.quantize import Quantize

DUO = load_target("duo16")
MODELS = Path(__file__).parents[2] / "models"
MOST_CHOICES = 30_000


def random_chain(seed: int) -> Graph:
    """Two or three dense layers of random sizes, with what a vector unit has between them."""
    random = np.random.default_rng(seed)
    width = int(random.integers(4, 40))
    lines = [f"graph g(x: float32[1, {width}]) -> (y)"]
    steps, last = [], "x"
    for layer in range(int(random.integers(2, 4))):
        columns = int(random.integers(4, 40))
        lines.append(
            f"w{layer}: float32[1, {width}, {columns}] = const random({seed + layer}, -1, 1)"
        )
        steps.append(f"h{layer}: float32[1, {columns}] = Product({last}, w{layer})")
        width, last = columns, f"h{layer}"
        if random.random() < 0.5:
            steps.append(f"r{layer}: float32[1, {columns}] = Tanh({last})")
            last = f"r{layer}"
    steps.append(f"y: float32[1, {width}] = Softmax({last}) axis=-1")
    return from_text("\n".join((*lines, *steps)) + "\n")


def calibrated(seed: int) -> Graph:
    graph = random_chain(seed)
    return run_passes(graph, (*matrix_passes(), Calibrate(synthetic_inputs(graph, 4))), DUO)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [0.003, 0.05, inf])
def test_the_search_over_five_engines_finds_what_brute_force_finds(
    seed: int, budget: float
) -> None:
    problem = build_problem(calibrated(seed), DUO, "auto", budget)
    sizes = [range(len(options)) for options in problem.candidates]
    if prod(map(len, sizes)) > MOST_CHOICES:
        pytest.skip("too many assignments to try them all")
    tried = (Assignment(problem, chosen) for chosen in product(*sizes))
    least = min(one.totals()[0] for one in tried if not one.why_infeasible())
    assert solve(problem, "energy").energy_pj == pytest.approx(least, rel=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_the_plan_charges_for_links_what_the_search_counted(seed: int) -> None:
    graph = calibrated(seed)
    problem = build_problem(graph, DUO, "auto", inf)
    assignment = Assignment(problem, solve(problem, "energy").chosen)
    costs = [
        transfer.costs[ends]
        for transfer in problem.transfers
        for ends in links_needed(transfer, assignment.picks)
    ]
    costs += [pick.cost for pick in assignment.picks]
    counted = sum(cost.parts["link"].value for cost in costs if "link" in cost.parts)
    placed = run_passes(graph, (Partition("energy", inf), Quantize(), PadToTiles()), DUO)
    plan = lower(placed, DUO, model_name="m", model_sha256="0" * 64).plan
    assert counted > 0
    assert plan.energy_pj.parts["link"].value == pytest.approx(counted)


@pytest.mark.slow
def test_both_kinds_of_arrays_are_used_each_within_its_own_room(tmp_path: Path) -> None:
    options = joulec.Options(
        data=MODELS / "digits_calibration.npz", calibration_samples=32, max_divergence=0.02
    )
    compiled = joulec.compile(MODELS / "digits_resnet.onnx", DUO, output=tmp_path, options=options)
    plan = compiled.plan
    engines = {step.engine for step in plan.steps}
    assert {"sram_array", "reram_array", "vector", "host"} <= engines
    for name in ("sram_array", "reram_array"):
        assert plan.resident[name].total == DUO.analog_engines[name].total_columns
        assert 0 < plan.resident[name].used <= plan.resident[name].total
        assert name in compiled.report
    assert sum(plan.macs.by_engine.values()) == plan.macs.after


def test_what_it_runs_is_what_the_placed_graph_computes_in_onnx_runtime() -> None:
    """Bit for bit: the package alone, step by step, and the graph written as ONNX."""
    from compiler.driver import compile_model

    placed: list[Graph] = []
    samples = np.load(MODELS / "digits_calibration.npz")["image"][:8]
    compile_model(
        MODELS / "digits_resnet.onnx",
        DUO,
        observers=(lambda _, __, ___, after: placed.append(after),),
    )
    package = lower(placed[-1], DUO, model_name="m", model_sha256="0" * 64)
    (name,) = placed[-1].outputs
    found = Simulator(package).run({placed[-1].inputs[0]: samples})[0]
    rows = Interpreter(placed[-1]).run_all({placed[-1].inputs[0]: samples[:, None]})[name]
    np.testing.assert_array_equal(found, rows[:, 0])
