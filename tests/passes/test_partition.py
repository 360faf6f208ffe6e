"""The partition: brute force is the reference for the optimum, candidates for every total."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from itertools import permutations, product
from math import inf
from pathlib import Path

import numpy as np
import pytest

from compiler.bound.lower_bound import lower_bound
from compiler.choices import Objective
from compiler.cost.step import StepCost
from compiler.errors import CapacityError, UsageError
from compiler.figures import energy, time
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph
from compiler.ir.mapping import HostMapping, NodeMapping, Resource
from compiler.ir.text import from_text
from compiler.target.chip import load_target, parse_target
from compiler.units import Estimate
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.inputs import synthetic_inputs
from passes.calibration.rounded_inputs import rounding_divergence
from passes.fuse_activations import FuseActivations
from passes.lower_convolution import LowerConvolution
from passes.partition import Partition, _change, _refused
from passes.partitioning.assignment import COVERED, Assignment
from passes.partitioning.candidates import build_problem
from passes.partitioning.problem import Candidate, FormatBoundary, Problem, Transfer
from passes.partitioning.solve import Solution, solve
from passes.pipeline import clean_passes
from passes.quantize import Quantize
from tests.support.chips import on_chips
from tests.support.mappings import taking_bytes, taking_columns

OBJECTIVES: tuple[Objective, ...] = ("energy", "latency", "edp")
DIANA = load_target("diana")


# -- small problems, made at random


def step(energy_pj: float, latency_ns: float) -> StepCost:
    return StepCost(Estimate.exact(latency_ns), {"compute": Estimate.exact(energy_pj)})


def random_problem(seed: int) -> Problem:
    """Draws up to 5 nodes with up to 4 candidates each, tight capacities and budgets.

    The last candidate of each (the host) is always allowed.
    """
    random = np.random.default_rng(seed)

    def number(low: float, high: float) -> float:
        return float(np.round(random.uniform(low, high), 3))

    nodes = int(random.integers(1, 6))
    scale = 10.0 ** random.integers(0, 7)
    candidates = []
    for node in range(nodes):
        options = [
            Candidate(
                mapping=random_mapping(random),
                loads=True,
                divergence=number(0, 0.02),
                cost=step(scale * number(0, 10), scale * number(0, 10)),
                covers=random_others(random, node, nodes),
                reads_on=str(random.choice(["", "", "digital", "host"])),
            )
            for _ in range(random.integers(0, 4))
        ]
        options.append(host(scale * number(2, 20), scale * number(2, 20)))
        candidates.append(tuple(options))
    boundaries = []
    for maker in range(-1, nodes):
        readers = tuple(i for i in range(maker + 1, nodes) if random.random() < 0.6)
        boundary = FormatBoundary(
            value=f"v{maker}",
            maker=None if maker < 0 else maker,
            readers=readers,
            is_output=bool(random.integers(2)),
            to_integers=step(scale * number(0, 3), scale * number(0, 3)),
            to_floats=step(scale * number(0, 3), scale * number(0, 3)),
            divergence=float(random.choice([0.0, number(0, 0.02)])),
            rounded_for=tuple(i for i in readers if random.random() < 0.5),
        )
        boundaries.append(boundary)
    transfers = [random_transfer(random, boundary, scale) for boundary in boundaries]
    budget = float(random.choice([0.0, 0.005, 0.02, 0.05, inf]))
    capacities = {
        Resource("analog", "columns"): int(random.integers(0, 5)),
        Resource("second", "columns"): int(random.integers(0, 5)),
        Resource("digital", "weight_bytes"): int(random.integers(0, 100)),
    }
    return Problem(
        candidates=tuple(candidates),
        refusals=tuple(() for _ in candidates),
        boundaries=tuple(boundaries),
        capacities=capacities,
        max_divergence=budget,
        weight_homes=("l2",) * nodes,
        transfers=tuple(transfers),
    )


def random_mapping(random: np.random.Generator) -> NodeMapping:
    """A mapping on one of three engines, two of them analog, that takes some of its room."""
    resident, engine = bool(random.integers(2)), str(random.choice(["analog", "second", "digital"]))
    if engine == "digital":
        return taking_bytes(int(random.integers(1, 60)), resident=resident)
    return taking_columns(int(random.integers(1, 4)), resident=resident, engine=engine)


def random_transfer(
    random: np.random.Generator, boundary: FormatBoundary, scale: float
) -> Transfer:
    """What sending a boundary's value takes: links between half of the pairs of engines."""
    engines = ("analog", "second", "digital", "host")
    costs = {
        ends: step(scale * random.uniform(0, 3), scale * random.uniform(0, 3))
        for ends in permutations(engines, 2)
        if random.random() < 0.5
    }
    return Transfer(
        value=boundary.value,
        maker=boundary.maker,
        readers=boundary.readers,
        costs=costs,
        host="host",
        converts=bool(random.random() < 0.8),
        ends_as_floats=boundary.is_output,
    )


def random_others(random: np.random.Generator, node: int, nodes: int) -> tuple[int, ...]:
    """The nodes behind one that a candidate does the work of too; mostly none."""
    if random.random() < 0.75:
        return ()
    return tuple(range(node + 1, min(nodes, node + 1 + int(random.integers(1, 3)))))


def host(energy_pj: float, latency_ns: float) -> Candidate:
    return Candidate(mapping=HostMapping(engine="host"), cost=step(energy_pj, latency_ns))


def value_of(objective: Objective, energy_pj: float, latency_ns: float) -> float:
    """What an objective makes of the two sums."""
    return {"energy": energy_pj, "latency": latency_ns, "edp": energy_pj * latency_ns}[objective]


def least(problem: Problem, objective: Objective) -> float:
    """The least value over every allowed assignment."""
    choices = product(*((COVERED, *range(len(options))) for options in problem.candidates))
    allowed = [Assignment(problem, chosen) for chosen in choices if covers_once(problem, chosen)]
    return min(
        value_of(objective, *assignment.totals()[:2])
        for assignment in allowed
        if not assignment.why_infeasible()
    )


def covers_once(problem: Problem, chosen: Sequence[int]) -> bool:
    """Whether each node has one candidate, its own or one that covers it."""
    covered = [
        node
        for owner, choice in enumerate(chosen)
        if choice != COVERED
        for node in (owner, *problem.candidates[owner][choice].covers)
    ]
    return sorted(covered) == list(range(len(problem.candidates)))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(100))
def test_solve_finds_what_brute_force_finds(seed: int, objective: Objective) -> None:
    problem = random_problem(seed)
    solution = solve(problem, objective)
    assert Assignment(problem, solution.chosen).why_infeasible() == ""
    found = value_of(objective, solution.energy_pj, solution.latency_ns)
    assert found == pytest.approx(least(problem, objective), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_a_solution_says_what_its_candidates_say(seed: int) -> None:
    problem = random_problem(seed)
    for objective in OBJECTIVES:
        solution = solve(problem, objective)
        sums = (solution.energy_pj, solution.latency_ns, solution.divergence)
        assert sums == Assignment(problem, solution.chosen).totals()
        assert solution.gap == 0
        value = value_of(objective, solution.energy_pj, solution.latency_ns)
        assert solution.bound <= value * (1 + 1e-9)
        assert solve(problem, objective) == solution


@pytest.mark.parametrize("seed", range(20))
def test_one_node_s_change_gives_the_cost_of_the_whole(seed: int) -> None:
    problem = random_problem(seed)
    random = np.random.default_rng(seed)
    alone = [
        [place for place, option in enumerate(options) if not option.covers]
        for options in problem.candidates
    ]
    chosen = [int(random.choice(places)) for places in alone]
    assignment = Assignment(problem, chosen)
    energy, latency, _ = assignment.totals()
    for index, options in enumerate(problem.candidates):
        for other, option in enumerate(options):
            after = [*chosen[:index], other, *chosen[index + 1 :]]
            for node in option.covers:
                after[node] = COVERED
            changed = Assignment(problem, after)
            assert assignment.why_infeasible(index, option) == changed.why_infeasible()
            more = np.subtract(changed.totals()[:2], (energy, latency))
            scale = max(energy, latency)
            assert assignment.switch(index, option) == pytest.approx(
                more, rel=1e-9, abs=1e-9 * scale
            )


def test_a_candidate_may_do_the_work_of_several_nodes() -> None:
    """Together they take 3 pJ and one change of form less.

    Alone they take 0 pJ each, which the room forbids.
    """
    both = Candidate(mapping=taking_columns(2, resident=True), cost=step(3, 3), covers=(1,))
    first = (*pair(columns=2), both)
    problem = problem_of(first, pair(columns=2), columns=3)
    solution = solve(problem, "energy")
    assert solution.chosen == (2, COVERED)
    assignment = Assignment(problem, solution.chosen)
    assert assignment.picks == [both, both]
    assert assignment.totals() == (3, 3, 0)
    reason = "1 more nodes would have no place"
    assert assignment.why_infeasible(1, problem.candidates[1][1]) == reason


def test_nothing_to_place() -> None:
    problem = problem_of()
    assert solve(problem, "energy") == Solution(
        chosen=(), energy_pj=0.0, latency_ns=0.0, divergence=0.0, bound=0.0, gap=0.0
    )


# -- each rule, on a problem of two nodes


def pair(
    divergence: float = 0.01, *, columns: int = 0, weight_bytes: int = 0, resident: bool = True
) -> tuple[Candidate, Candidate]:
    """A candidate beside the host that costs nothing, and the host at 10."""
    mapping = (
        taking_bytes(weight_bytes, resident=resident)
        if weight_bytes
        else taking_columns(columns, resident=resident)
    )
    return Candidate(mapping=mapping, cost=step(0, 0), divergence=divergence, loads=True), host(
        10, 10
    )


def problem_of(
    *options: tuple[Candidate, ...], columns: int = 9, weights: int = 9, budget: float = inf
) -> Problem:
    capacities = {
        Resource("analog", "columns"): columns,
        Resource("digital", "weight_bytes"): weights,
    }
    return Problem(
        candidates=options,
        refusals=tuple(() for _ in options),
        boundaries=(),
        capacities=capacities,
        max_divergence=budget,
        weight_homes=("l2",) * len(options),
    )


def test_the_divergences_add_up_to_the_budget_and_no_further() -> None:
    for budget, chosen in ((0.02, (0, 0)), (0.019, None), (0.0, (1, 1)), (inf, (0, 0))):
        solution = solve(problem_of(pair(), pair(), budget=budget), "energy")
        assert solution.divergence <= budget
        assert solution.chosen == chosen if chosen else sorted(solution.chosen) == [0, 1]
    free = problem_of(pair(divergence=0.0), pair(divergence=0.0), budget=0.0)
    assert solve(free, "energy").chosen == (0, 0), "what changes nothing needs no budget"


def test_resident_layers_share_the_arrays() -> None:
    two = problem_of(pair(columns=2), pair(columns=2), columns=3)
    assert sorted(solve(two, "energy").chosen) == [0, 1]
    reason = "4 columns of the analog arrays are wanted, and there are 3"
    assert Assignment(two, (0, 0)).why_infeasible() == reason
    roomy = problem_of(pair(columns=2), pair(columns=2), columns=4)
    assert solve(roomy, "energy").chosen == (0, 0)


def test_reloaded_layers_take_turns_in_what_residents_leave_free() -> None:
    turns = problem_of(pair(columns=2, resident=False), pair(columns=2, resident=False), columns=2)
    assert solve(turns, "energy").chosen == (0, 0)
    beside = problem_of(pair(weight_bytes=8), pair(weight_bytes=2, resident=False), weights=9)
    assert sorted(solve(beside, "energy").chosen) == [0, 1]
    reason = "10 bytes of digital weight memory are wanted, and there are 9"
    assert Assignment(beside, (0, 0)).why_infeasible() == reason


def test_a_value_is_sent_once_to_each_engine_that_reads_it() -> None:
    """Two digital nodes read what an analog one makes: its link takes 2 pJ, not 4.

    On the host they would take it from there; a change of form takes the way over the host.
    """
    sent = {("analog", "digital"): step(2, 2), ("analog", "host"): step(5, 5)}
    way = Transfer(value="v", maker=0, readers=(1, 2), costs=sent, host="host", converts=True)
    digital = pair(weight_bytes=1)
    problem = replace(problem_of(pair(columns=1), digital, digital), transfers=(way,))
    assert Assignment(problem, (0, 0, 0)).totals()[:2] == (2, 2)
    assert Assignment(problem, (0, 0, 1)).totals()[0] == 10 + 2 + 5
    assert Assignment(problem, (1, 0, 0)).totals()[0] == 10
    assert way.links(("analog", True), ("digital", True)) == (("analog", "digital"),)
    assert way.links(("analog", True), ("digital", False)) == (("analog", "host"),)
    assert solve(problem, "energy").chosen == (0, 0, 0)


def test_a_dear_link_changes_where_a_node_runs() -> None:
    for price, chosen in ((9, (0, 0)), (11, (0, 1))):
        way = Transfer(
            value="v",
            maker=0,
            readers=(1,),
            costs={("analog", "digital"): step(price, price)},
            host="host",
        )
        first = Candidate(mapping=taking_columns(1, resident=True), cost=step(0, 0))
        problem = problem_of((first,), pair(weight_bytes=1))
        assert solve(replace(problem, transfers=(way,)), "energy").chosen == chosen


def test_without_links_the_program_has_nothing_for_them(network: Graph) -> None:
    assert build_problem(network, DIANA, "auto", inf).transfers == ()


def test_a_change_of_form_is_paid_once_for_each_value() -> None:
    """Two analog nodes read a graph input, which is turned into integers once: 3 pJ, not 6.

    An output of one becomes floats: 1 pJ.
    """
    read_twice = FormatBoundary(
        value="x",
        maker=None,
        readers=(0, 1),
        is_output=False,
        to_integers=step(3, 3),
        to_floats=step(99, 99),
    )
    output = FormatBoundary(
        value="y",
        maker=1,
        readers=(),
        is_output=True,
        to_integers=step(99, 99),
        to_floats=step(1, 1),
    )
    problem = problem_of(pair(), pair())
    problem = replace(problem, boundaries=(read_twice, output))
    assert Assignment(problem, (0, 0)).totals()[0] == 3 + 1
    assert Assignment(problem, (1, 0)).totals()[0] == 10 + 3 + 1
    assert Assignment(problem, (1, 1)).totals()[0] == 10 + 10
    assert solve(problem, "energy").chosen == (0, 0)


def test_a_change_to_integers_diverges_once_for_those_who_do_not_count_it() -> None:
    """A graph input has two readers.

    The first counts what int8 does to it, the second does not.
    """
    change = FormatBoundary(
        value="x",
        maker=None,
        readers=(0, 1),
        is_output=False,
        to_integers=step(0, 0),
        to_floats=step(0, 0),
        divergence=0.01,
        rounded_for=(1,),
    )
    problem = problem_of(pair(divergence=0.0), pair(divergence=0.0))
    problem = replace(problem, boundaries=(change,), max_divergence=0.005)
    assert Assignment(problem, (0, 0)).totals()[2] == 0.01
    assert Assignment(problem, (0, 1)).totals()[2] == 0.0
    reason = "the divergences add up to 0.01, beyond the 0.005 allowed"
    assert Assignment(problem, (0, 0)).why_infeasible() == reason
    both = Assignment(problem, (0, 1))
    assert both.why_infeasible(1, problem.candidates[1][0]) == reason
    assert solve(problem, "energy").chosen == (0, 1)


# -- whole graphs

NETWORK = """\
graph net(x: float32[1, 8, 6, 6]) -> (y)
w: float32[1, 72, 16] = const random(1, -0.2, 0.2)
v: float32[1, 16, 10] = const random(2, -0.5, 0.5)
shape: int64[2] = const [1, 16]
a: float32[1, 16, 6, 6] = Product(x, w) kernel=[3, 3] minimum=0.0 pads=[1, 1, 1, 1]
b: float32[1, 16, 1, 1] = GlobalAveragePool(a)
c: float32[1, 16] = Reshape(b, shape)
d: float32[1, 10] = Product(c, v)
y: float32[1, 10] = Softmax(d)
"""


def calibrated(graph: Graph, target_name: str = "diana") -> Graph:
    return Calibrate(synthetic_inputs(graph, 4))(graph, load_target(target_name))


@pytest.fixture(scope="module")
def network() -> Graph:
    return calibrated(from_text(NETWORK))


def test_every_node_has_a_place_a_reason_and_the_ways_not_taken(network: Graph) -> None:
    placed = Partition()(network, DIANA)
    assert placed.partition is not None
    for node in placed:
        assert node.placement is not None
        reason = node.placement.reason
        assert reason
        if node.op == "Product":
            assert any(letter.isdigit() for letter in reason)
        for other in node.placement.alternatives:
            assert (other.energy_pj is None) == (other.latency_ns is None)
            untold = other.energy_pj is not None and other.energy_pj >= node.placement.energy_pj
            assert bool(other.reason) != untold
        engines = {node.engine, *(other.engine for other in node.placement.alternatives)}
        assert engines == {"digital", "analog", "host"}


@pytest.mark.parametrize("objective", ["energy", "edp"])
def test_a_way_that_is_better_by_itself_says_why_it_was_not_taken(
    network: Graph, objective: Objective
) -> None:
    """The budget is tight.

    Taking the candidate breaks the budget or the room, or (as the plan is the optimum) makes the
    whole cost more.
    """
    placed = Partition(objective, max_divergence=1e-4)(network, DIANA)
    reasons = [
        other.reason
        for node in placed
        if node.placement is not None
        for other in node.placement.alternatives
        if other.reason and other.energy_pj is not None
    ]
    assert any("beyond the 0.0001 allowed" in reason for reason in reasons)
    for reason in reasons:
        whole = re.search(r"the whole would take .*J (more|less) and .*s (more|less)", reason)
        if whole and objective == "energy":
            assert whole[1] == "more", reason
        assert whole or "allowed" in reason or "are wanted" in reason


def test_energies_and_times_have_the_units_that_suit() -> None:
    switch = _change(-250_600.0, energy), _change(41.0, time)
    assert switch == ("251 nJ less", "41.0 ns more")
    assert _change(2.51e8, energy) == "251 uJ more"


def test_engines_that_refuse_for_one_reason_stand_together() -> None:
    refused = [("a", "it is no product"), ("b", "it is wide"), ("c", "it is no product")]
    assert _refused(refused) == "a and c cannot: it is no product; b cannot: it is wide"


def test_a_refusal_says_why_with_the_numbers() -> None:
    grouped = from_text("""\
graph net(x: float32[1, 4, 3]) -> (y)
w: float32[2, 2, 2] = const [1, 2, 3, 4, 5, 6, 7, 8]
y: float32[1, 4, 3] = Product(x, w) kernel=[1]
""")
    placed = Partition()(calibrated(grouped), DIANA)
    assert placed.nodes[0].placement is not None
    refused = [o.reason for o in placed.nodes[0].placement.alternatives if o.engine == "analog"]
    assert refused == ["the arrays take no grouped convolution, and this one has 2 groups"]


def test_the_summary_is_the_sum_of_the_placements_and_the_changes_of_form(network: Graph) -> None:
    for objective in OBJECTIVES:
        placed = Partition(objective, inf)(network, DIANA)
        problem = build_problem(network, DIANA, "auto", inf)
        solution = solve(problem, objective)
        assert placed.partition is not None
        energy = sum(n.placement.energy_pj for n in placed if n.placement)
        latency = sum(n.placement.latency_ns for n in placed if n.placement)
        divergence = sum(n.placement.divergence for n in placed if n.placement)
        assert placed.partition.divergence == pytest.approx(divergence)
        assert energy <= placed.partition.energy_pj * (1 + 1e-12)
        assert latency <= placed.partition.latency_ns * (1 + 1e-12)
        changes = Assignment(problem, solution.chosen).totals()[0] - energy
        assert placed.partition.energy_pj == pytest.approx(energy + changes)
        assert placed.partition.gap == 0


def test_each_objective_is_best_at_what_it_asks_for(network: Graph) -> None:
    found = {o: Partition(o, inf)(network, DIANA).partition for o in OBJECTIVES}
    for objective in OBJECTIVES:
        best = {
            name: value_of(objective, summary.energy_pj, summary.latency_ns)
            for name, summary in found.items()
            if summary is not None
        }
        assert best[objective] <= min(best.values()) * (1 + 1e-12)


def test_a_larger_budget_never_costs_more(network: Graph) -> None:
    energies = []
    for budget in (0.0, 1e-5, 1e-3, 0.02, 1.0, inf):
        summary = Partition("energy", budget)(network, DIANA).partition
        assert summary is not None
        assert summary.divergence <= budget
        energies.append(summary.energy_pj)
    assert energies == sorted(energies, reverse=True)


def test_with_no_budget_floats_stay_on_the_host(network: Graph) -> None:
    placed = Partition(max_divergence=0.0)(network, DIANA)
    assert {n.engine for n in placed if n.op == "Product"} == {"host"}


def test_modes_of_the_weights(network: Graph) -> None:
    """reload pays for every load; resident may not fit; auto is never worse than either."""
    energy = {}
    for mode in ("auto", "resident", "reload"):
        placed = Partition("energy", inf, mode)(network, DIANA)
        assert placed.partition is not None
        energy[mode] = placed.partition.energy_pj
        kept = {n.placement.mapping.resident for n in placed if n.placement and n.op == "Product"}
        assert kept == {mode != "reload"}
    assert energy["auto"] <= min(energy.values()) * (1 + 1e-12)
    assert energy["resident"] < energy["reload"]


def test_weights_that_must_stay_and_find_no_room_are_refused(network: Graph) -> None:
    """Without that, layers would go to the host, at hundreds of times the energy."""
    chip = resources.files("compiler") / "targets" / "diana_digital.toml"
    text = chip.read_text(encoding="utf-8").replace("65536", "600")
    small = parse_target(text.encode(), "small")
    with pytest.raises(
        CapacityError,
        match=r"with weights that stay, .* not fit the engines: .* bytes of digital weight memory",
    ):
        Partition("energy", inf, "resident")(network, small)
    Partition("energy", inf, "auto")(network, small)


def test_what_calibration_could_not_measure_stays_on_the_host() -> None:
    """Calibration fails on a Gather whose indices come to lie out of range.

    The nodes behind it have no range.
    """
    graph = from_text("""\
graph net(i: int64[2]) -> (y)
far: int64[2] = const [100, 100]
table: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
k: int64[2] = Add(i, far)
e: float32[2, 2] = Gather(table, k)
y: float32[2, 2] = Relu(e)
""")
    placed = Partition(max_divergence=inf)(calibrated(graph), DIANA)
    relu = placed.producer["y"].placement
    assert relu is not None
    assert relu.engine == "host"
    reasons = {o.engine: o.reason for o in relu.alternatives}
    assert reasons["digital"] == "calibration found no range for 'e'"


def test_a_chip_without_digital_and_analog_runs_all_on_the_host(network: Graph) -> None:
    engines = {"host": DIANA.chip.engines["host"]}
    chip = DIANA.chip.model_copy(update={"engines": engines})
    bare = type(DIANA)(chip, "")
    placed = Partition()(network, bare)
    assert {n.engine for n in placed} == {"host"}
    assert placed.nodes[0].placement is not None
    assert placed.nodes[0].placement.reason == "the only engine there is"


# -- real models


MODELS = Path(__file__).parents[2] / "models"


@pytest.mark.parametrize(
    ("name", "target_name"), on_chips(["digits_resnet", "digits_dscnn", "dim20"])
)
def test_no_partition_beats_the_lower_bound(name: str, target_name: str) -> None:
    target = load_target(target_name)
    passes = (*clean_passes(), LowerConvolution(), FuseActivations())
    graph = run_passes(import_onnx(MODELS / f"{name}.onnx").graph, passes, target)
    graph = Calibrate(synthetic_inputs(graph, 1))(graph, target)
    bound = lower_bound(graph, target)
    for objective in OBJECTIVES:
        for budget in (0.02, inf):
            summary = Partition(objective, budget)(graph, target).partition
            assert summary is not None
            assert bound.energy_pj <= summary.energy_pj * (1 + 1e-12)
            assert bound.latency_ns <= summary.latency_ns * (1 + 1e-12)
            assert summary.gap == 0
    reloaded = Partition("energy", inf, "reload")(graph, target).partition
    assert reloaded is not None
    assert bound.energy_with_load_pj <= reloaded.energy_pj


# -- what the user places


def test_nodes_run_where_the_user_places_them(network: Graph) -> None:
    placed = Partition("energy", inf, place=(("*", "digital"),))(network, DIANA)
    assert "analog" not in {node.engine for node in placed}
    products = [node for node in placed if node.op == "Product"]
    assert {node.engine for node in products} == {"digital"}
    refusals = {
        other.reason
        for other in products[0].placement.alternatives  # type: ignore[union-attr]
    }
    assert "--place *=digital" in refusals


def test_the_first_pattern_that_matches_counts_and_what_an_engine_cannot_take_goes_elsewhere(
    network: Graph,
) -> None:
    name = next(node.name for node in network if node.op == "Product")
    placed = Partition("energy", inf, place=((name, "host"), ("*", "analog")))(network, DIANA)
    found = {node.name: node.engine for node in placed}
    assert found[name] == "host"
    others = {node.engine for node in placed if node.op == "Product" and node.name != name}
    assert "analog" in others
    assert {node.engine for node in placed if node.op != "Product"} & {"digital", "host"}


def test_an_engine_that_the_chip_has_not_is_refused(network: Graph) -> None:
    with pytest.raises(UsageError) as caught:
        Partition(place=(("conv*", "analogue"),))(network, DIANA)
    assert caught.value.line() == (
        "error[U004]: --place conv*=analogue: diana has no such engine; "
        "it has digital, analog, host; did you mean 'analog'?"
    )


SLICED = """\
graph net(x: float32[1, 64]) -> (y)
from: int64[1] = const [0]
to: int64[1] = const [32]
axis: int64[1] = const [1]
y: float32[1, 32] = Slice(x, from, to, axis)
"""


def test_what_moves_integers_of_the_host_is_charged_for_their_rounding() -> None:
    """A Slice loses nothing itself: the plan shows what is lost at the change of form before it."""
    graph = calibrated(from_text(SLICED), "diana_digital")
    target = load_target("diana_digital")
    placed = Partition(place=(("y", "digital"),))(graph, target)
    assert placed.partition is not None
    assert placed.partition.divergence == rounding_divergence("x", graph) > 0
    steps = Quantize()(placed, target).nodes
    assert [(node.op, node.placement.divergence) for node in steps if node.placement] == [
        ("QuantizeLinear", placed.partition.divergence),
        ("Slice", 0.0),
        ("DequantizeLinear", 0.0),
    ]
    on_host = Partition(max_divergence=0.0)(graph, target)
    assert {node.engine for node in on_host} == {"host"}


def test_places_beyond_the_divergence_allowed_are_refused() -> None:
    graph = calibrated(from_text(SLICED), "diana_digital")
    refused = Partition(max_divergence=0.0, place=(("y", "digital"),))
    with pytest.raises(
        UsageError, match=r"digital cannot take the node .* add up to .* beyond the 0 allowed"
    ):
        refused(graph, load_target("diana_digital"))
