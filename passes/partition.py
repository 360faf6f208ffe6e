"""Chooses engine, mapping and format of every node together, for the least cost of the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from compiler.choices import Objective, Place, Weights
from compiler.cost.margin import energy_margin, is_open, time_margin
from compiler.cost.step import NOTHING
from compiler.figures import energy, time
from compiler.ir.formats import INT8
from compiler.ir.graph import Alternative, Graph, Placement
from compiler.target.chip import Target
from passes.base import Pass
from passes.partitioning.assignment import Assignment
from passes.partitioning.candidates import build_problem
from passes.partitioning.places import (
    fewest_elsewhere,
    require_followed,
    require_places,
    restricted,
    wanted_place,
)
from passes.partitioning.problem import Candidate, Problem
from passes.partitioning.residence import require_residence
from passes.partitioning.solve import NoAssignmentError, Solution, solve

# The default budget of divergence. Measured on a ResNet-8 for CIFAR-10 (KL, nats): 0.01 to 0.02
# costs about 1 point of accuracy, 0.02 to 0.04 about 2.
MAX_DIVERGENCE = 0.02


@dataclass(frozen=True)
class Partition(Pass):
    """Gives every node its `placement`.

    The objective is `energy` (pJ), `latency` (ns, serial) or `edp` (their product). The divergences
    of the chosen formats, which add up, stay within `max_divergence`; with `allow_int8` the budget
    is never below what int8 on the digital engine causes (made-up calibration inputs cannot justify
    the host's price). `weights` says whether a layer's weights may stay in an engine between
    inferences ("resident"), are loaded in each ("reload"), or whichever is cheaper and fits
    ("auto"). `place` puts nodes whose name matches a pattern on an engine, wherever that can take
    them within the divergence allowed and its room; of several patterns the first that matches
    counts. Where not all of them fit together, as few as possible go elsewhere.
    """

    objective: Objective = "energy"
    max_divergence: float = MAX_DIVERGENCE
    weights: Weights = "auto"
    allow_int8: bool = False
    place: Place = ()

    name: ClassVar[str] = "partition"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Places the graph's nodes.

        Raises CapacityError and UsageError where what the user wants (`weights`, `place`) cannot be
        had.
        """
        budget = self.max_divergence
        if self.allow_int8:
            budget = max(budget, int8_divergence(graph))
        everything = build_problem(graph, target, self.weights, budget)
        wanted = self._wanted_places(everything, graph, target)
        problem, solution = _solved(everything, self.objective, wanted)
        assignment = Assignment(problem, solution.chosen)
        require_followed(self.place, wanted, graph, _displaced(assignment, wanted))
        if self.weights == "resident":
            require_residence(graph, problem, assignment, target)
        nodes = tuple(
            replace(node, placement=_placement(assignment, index, self.objective, one))
            for index, (node, one) in enumerate(zip(graph.nodes, wanted, strict=True))
        )
        return replace(
            graph,
            nodes=nodes,
            partition=solution.summary(
                self.objective,
                budget,
                graph.calibration.kind if graph.calibration else "",
            ),
        )

    def _wanted_places(
        self, problem: Problem, graph: Graph, target: Target
    ) -> list[tuple[str, str] | None]:
        """Finds where each node is wanted; refuses a pattern that no engine can follow at all."""
        require_places(self.place, graph, target)
        wanted = [wanted_place(node, self.place) for node in graph.nodes]
        refused = {
            index: reason
            for index, one in enumerate(wanted)
            for engine, reason in problem.refusals[index]
            if one is not None and engine == one[1]
        }
        require_followed(self.place, wanted, graph, refused)
        return wanted


def _solved(
    problem: Problem, objective: Objective, wanted: Sequence[tuple[str, str] | None]
) -> tuple[Problem, Solution]:
    """Solves with the nodes where they are wanted; as few as must be are released from that."""
    placed = restricted(problem, wanted)
    try:
        return placed, solve(placed, objective)
    except NoAssignmentError:
        if not any(wanted):
            raise
    placed = restricted(problem, wanted, fewest_elsewhere(problem, wanted))
    return placed, solve(placed, objective)


def _displaced(assignment: Assignment, wanted: Sequence[tuple[str, str] | None]) -> dict[int, str]:
    """Explains for each node that is not on the engine it is wanted on why it is not.

    First come those that the engine could take if the divergence allowed and its room were larger.
    """
    crowded, refused = {}, {}
    for index, one in enumerate(wanted):
        if one is None or assignment.picks[index].engine == one[1]:
            continue
        refusals = dict(assignment.problem.refusals[index])
        tried = (
            assignment.why_infeasible(index, candidate)
            for candidate in assignment.problem.candidates[index]
            if candidate.engine == one[1]
        )
        if one[1] in refusals:
            refused[index] = refusals[one[1]]
        else:
            crowded[index] = next(filter(None, tried), "the others leave it no room there")
    return crowded | refused


def int8_divergence(graph: Graph) -> float:
    """Adds up what calibration measured for int8 everywhere.

    Of the nodes, and of the values that no node could give in int8. What alone destroys the output
    does not count.
    """
    if graph.calibration is None:
        return 0.0
    known = graph.calibration.divergence
    found = [formats.get(INT8, 0.0) for formats in known.values()]
    for value, divergence in graph.calibration.rounding.items():
        maker = graph.producer.get(value)
        if maker is None or INT8 not in known.get(maker.name, {}):
            found.append(divergence)
    return sum(value for value in found if value < UNBOUNDED)


UNBOUNDED = 1.0  # a format that alone destroys the output is no format to allow for


def _placement(
    assignment: Assignment, index: int, objective: Objective, wanted: tuple[str, str] | None
) -> Placement:
    problem, chosen = assignment.problem, assignment.picks[index]
    others = [c for c in problem.candidates[index] if c is not chosen]
    alternatives = [
        _alternative(
            c,
            chosen,
            _drawback(assignment, index, c)
            if _tempts(c, chosen, objective) or (wanted is not None and c.engine == wanted[1])
            else "",
        )
        for c in others
    ]
    alternatives += [
        Alternative(engine=engine, reason=reason) for engine, reason in problem.refusals[index]
    ]
    cost, divergence = chosen.cost, chosen.divergence
    reason = _reason(others, assignment, index)
    if assignment.owner_of[index] != index:  # the one that covers it bears what both take
        cost, divergence = NOTHING, 0.0
    return Placement(
        mapping=chosen.mapping,
        reason=reason,
        energy_pj=cost.energy_pj.value,
        latency_ns=cost.latency_ns,
        divergence=divergence,
        weight_home=problem.weight_homes[index],
        alternatives=tuple(alternatives),
    )


def _tempts(other: Candidate, chosen: Candidate, objective: Objective) -> bool:
    """Whether a node's other candidate is better by itself, so that a reader asks why it lost."""
    cheaper = other.cost.energy_pj.value < chosen.cost.energy_pj.value
    faster = other.cost.latency_ns < chosen.cost.latency_ns
    return {"energy": cheaper, "latency": faster, "edp": cheaper or faster}[objective]


def _drawback(assignment: Assignment, index: int, instead: Candidate) -> str:
    """Explains what is wrong with a node taking another candidate while all others stay."""
    obstacle = assignment.why_infeasible(index, instead)
    if obstacle:
        return f"then {obstacle}"
    energy_pj, latency_ns = assignment.switch(index, instead)
    change = f"{_change(energy_pj, energy)} and {_change(latency_ns, time)}"
    return f"the whole would take {change}"


def _alternative(candidate: Candidate, chosen: Candidate, drawback: str) -> Alternative:
    weights = (", resident" if candidate.resident else ", reload") if candidate.loads else ""
    same = candidate.engine == chosen.engine
    return Alternative(
        engine=candidate.engine,
        mapping=candidate.mapping.describe() + weights,
        energy_pj=candidate.cost.energy_pj.value,
        latency_ns=candidate.cost.latency_ns,
        divergence=candidate.divergence,
        reason=drawback,
        energy_margin_pj=energy_margin(candidate.cost, chosen.cost, same_engine=same),
        latency_margin_ns=time_margin(candidate.cost, chosen.cost, same_engine=same),
    )


def _reason(others: list[Candidate], assignment: Assignment, index: int) -> str:
    """Explains why a node went where it did, in numbers.

    Against the best candidate of another engine, with all other nodes unchanged.
    """
    chosen, refusals = assignment.picks[index], assignment.problem.refusals[index]
    elsewhere = [c for c in others if c.engine != chosen.engine]
    if not elsewhere:
        if refusals:
            return _refused(refusals)
        return "the only engine there is"
    best = min(elsewhere, key=lambda c: c.cost.energy_pj.value)
    here, there = chosen.cost.energy_pj.value, best.cost.energy_pj.value
    if here == there == 0:
        return "no data move, so it stays where its data are"
    text = f"{chosen.engine} takes {energy(here)}{_included(chosen)}, "
    text += f"{best.engine} {energy(there)}{_included(best)}"
    if is_open(energy_margin(best.cost, chosen.cost, same_engine=False)):
        text += ", and their intervals leave open which takes less"
    if here <= there:
        return text
    return f"{text}, but {_drawback(assignment, index, best)}"


def _refused(refusals: Sequence[tuple[str, str]]) -> str:
    """Says why engines cannot take a node, those of one reason together."""
    engines: dict[str, list[str]] = {}
    for engine, reason in refusals:
        engines.setdefault(reason, []).append(engine)
    return "; ".join(f"{' and '.join(of)} cannot: {reason}" for reason, of in engines.items())


def _included(candidate: Candidate) -> str:
    """Says what the cost of a candidate holds that is a step of its own in the plan."""
    return " with its requantization" if candidate.reads_on else ""


def _change(amount: float, show: Callable[[float], str]) -> str:
    return f"{show(abs(amount))} {'more' if amount >= 0 else 'less'}"
