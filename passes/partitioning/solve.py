"""Solves the partition problem to a proven optimum: an integer program for HiGHS.

Totals are recomputed from the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import inf
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.choices import Objective
from compiler.ir.graph import PartitionSummary
from compiler.ir.mapping import Resource
from passes.partitioning.assignment import COVERED, Assignment
from passes.partitioning.problem import Candidate, Ends, FormatBoundary, Port, Problem, Transfer

if TYPE_CHECKING:
    import highspy

Values: TypeAlias = npt.NDArray[np.float64]
# Of the branch-and-bound tree: a limit on nodes, not on time, so that the answer does not depend
# on the machine's speed.
MOST_NODES = 20_000
MANY_NODES = 1000  # beyond which the program is first tried without whole numbers
MOST_WEIGHTINGS = 40  # solves for the energy-delay product


@dataclass(frozen=True)
class Solution:
    """The chosen candidate of every node, their totals, and the proven bound on the objective."""

    chosen: tuple[int, ...]
    energy_pj: float
    latency_ns: float
    divergence: float
    bound: float
    gap: float

    def summary(self, objective: Objective, max_divergence: float, kind: str) -> PartitionSummary:
        """Converts the solution to the form that the graph carries."""
        return PartitionSummary(
            objective=objective,
            energy_pj=self.energy_pj,
            latency_ns=self.latency_ns,
            divergence=self.divergence,
            max_divergence=max_divergence,
            divergence_kind=kind,
            gap=self.gap,
        )


class NoAssignmentError(Exception):
    """No choice of candidates stays within the budgets.

    Where every node may run on the host there always is one.
    """


def solve(problem: Problem, objective: Objective) -> Solution:
    """Finds the assignment with the least objective.

    For `edp` a supported point of energy and latency (weighted solves). Raises NoAssignmentError
    where none stays within the budgets.
    """
    if not problem.candidates:
        return Solution(
            chosen=(), energy_pj=0.0, latency_ns=0.0, divergence=0.0, bound=0.0, gap=0.0
        )
    if objective == "energy":
        return _weighted(problem, 1.0, 0.0)
    if objective == "latency":
        return _weighted(problem, 0.0, 1.0)
    return _least_product(problem)


def _least_product(problem: Problem) -> Solution:
    """Walks the lower hull of (energy, latency) between its two ends to the least product.

    A product of two positive sums is quasi-concave, so over all assignments it is least at a point
    that some weighting finds.
    """
    best_energy, best_latency = _weighted(problem, 1.0, 0.0), _weighted(problem, 0.0, 1.0)
    found = [best_energy, best_latency]
    intervals = [(best_energy, best_latency)]
    while intervals and len(found) < MOST_WEIGHTINGS:
        left, right = intervals.pop(0)
        energy_step, latency_step = (
            right.energy_pj - left.energy_pj,
            left.latency_ns - right.latency_ns,
        )
        if energy_step <= 0 or latency_step <= 0:
            continue
        middle = _weighted(problem, latency_step, energy_step)
        level = latency_step * left.energy_pj + energy_step * left.latency_ns
        value = latency_step * middle.energy_pj + energy_step * middle.latency_ns
        if value < level * (1 - 1e-9):
            found.append(middle)
            intervals += [(left, middle), (middle, right)]
    best = min(found, key=lambda s: s.energy_pj * s.latency_ns)
    product = best.energy_pj * best.latency_ns
    gap = 0.0 if not intervals else best.gap
    return Solution(
        chosen=best.chosen,
        energy_pj=best.energy_pj,
        latency_ns=best.latency_ns,
        divergence=best.divergence,
        bound=product * (1 - gap),
        gap=gap,
    )


def _weighted(problem: Problem, energy_weight: float, latency_weight: float) -> Solution:
    """Finds the assignment with the least weighted sum, by HiGHS.

    One thread, fixed seed, gap 0, costs scaled to about one.
    """
    program = _Program(problem, energy_weight, latency_weight)
    found = _relaxed(program) if len(problem.candidates) > MANY_NODES else None
    values, lower = found or _searched(program)
    chosen = program.choices(values)
    energy, latency, divergence = Assignment(problem, chosen).totals()
    objective = energy_weight * energy + latency_weight * latency
    bound = lower * program.scale
    gap = max(0.0, (objective - bound) / objective) if objective > 0 else 0.0
    return Solution(
        chosen=chosen,
        energy_pj=energy,
        latency_ns=latency,
        divergence=divergence,
        bound=bound,
        gap=gap if gap > 1e-9 else 0.0,
    )


def _relaxed(program: _Program) -> tuple[Values, float] | None:
    """Solves without whole numbers; gives the solution and its objective where it is whole.

    Then it is the least of all. Where no budget is scarce the program is a minimum cut, whose
    solutions are whole. An interior-point method and a crossover find one in time proportional to
    its size, where the simplex method takes its square.
    """
    import highspy

    solver = _run(program.lp(whole=False), solver="ipm", run_crossover="on")
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    values = np.asarray(solver.getSolution().col_value)
    whole = values[: program.integer_count]
    if np.abs(whole - np.rint(whole)).max(initial=0.0) > 1e-6:
        return None
    return values, solver.getInfo().objective_function_value


def _searched(program: _Program) -> tuple[Values, float]:
    """Finds the least whole solution by branch and bound, and the bound it proves."""
    import highspy

    solver = _run(
        program.lp(),
        mip_rel_gap=0.0,
        mip_abs_gap=1e-9,
        mip_max_nodes=MOST_NODES,
        mip_feasibility_tolerance=1e-9,
    )
    info = solver.getInfo()
    values = np.asarray(solver.getSolution().col_value)
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        raise NoAssignmentError(f"the partition program: {solver.getModelStatus()}")
    return values, info.mip_dual_bound


def _run(lp: highspy.HighsLp, **options: str | float) -> highspy.Highs:
    """Runs HiGHS on a program, with the same result for the same program.

    One thread, a fixed seed, and `options` in addition.
    """
    import highspy

    solver = highspy.Highs()
    for option, value in (
        # HiGHS 1.14's presolve can call a worse point optimal (ERGO-Code/HiGHS issues 3043, 3073,
        # 3094).
        ("presolve", "off"),
        ("output_flag", False),
        ("threads", 1),
        ("random_seed", 0),
        ("primal_feasibility_tolerance", 1e-9),
        *options.items(),
    ):
        solver.setOptionValue(option, value)
    solver.passModel(lp)
    solver.run()
    return solver


class _Program:
    """The integer program: x[node, candidate] in {0, 1}, and whether each boundary changes form.

    toint >= I(reader) - I(maker), tofloat >= I(maker) - I(reader), with I the sum of the integer
    candidates' x. The divergence of a change to integers has a column of its own, since not all
    readers add it. A link that sends a value has a column too: link >= x(maker at its start) +
    x(reader at its end) - 1.
    """

    def __init__(self, problem: Problem, energy_weight: float, latency_weight: float) -> None:
        self.problem = problem
        self.costs: list[float] = []
        self.rows: list[tuple[float, float, list[int], list[float]]] = []
        self.first: list[int] = []
        for options in problem.candidates:
            self.first.append(len(self.costs))
            self.costs += [
                energy_weight * c.cost.energy_pj.value + latency_weight * c.cost.latency_ns
                for c in options
            ]
        for covering in problem.covering:
            columns = [self.first[node] + place for node, place in covering]
            self.rows.append((1.0, 1.0, columns, [1.0] * len(columns)))
        self.integer_count = len(self.costs)
        self.roundings: dict[
            int, float
        ] = {}  # the column of a value's change to integers: what that adds to the divergences
        for boundary in problem.boundaries:
            self._add_boundary(boundary, energy_weight, latency_weight)
            self._add_rounding(boundary)
        for transfer in problem.transfers:
            self._add_transfer(transfer, energy_weight, latency_weight)
        self._add_budgets()
        self.scale = max(max(self.costs, default=0.0), 1e-30)

    def _integer_columns(self, node: int) -> list[int]:
        candidates = self.problem.candidates
        return [
            self.first[owner] + place
            for owner, place in self.problem.covering[node]
            if candidates[owner][place].takes_integers
        ]

    def _add_boundary(self, boundary: FormatBoundary, energy: float, latency: float) -> None:
        maker = [] if boundary.maker is None else self._integer_columns(boundary.maker)
        for to_floats, cost in ((False, boundary.to_integers), (True, boundary.to_floats)):
            if to_floats and not maker:
                continue
            change = len(self.costs)
            self.costs.append(energy * cost.energy_pj.value + latency * cost.latency_ns)
            readers = [self._integer_columns(reader) for reader in boundary.readers]
            if to_floats and boundary.is_output:
                readers = [[]]
            for reader in readers:
                plus, minus = (maker, reader) if to_floats else (reader, maker)
                if plus:
                    columns = [*plus, *minus, change]
                    values = [1.0] * len(plus) + [-1.0] * len(minus) + [-1.0]
                    self._add_row(-inf, 0.0, columns, values)

    def _add_rounding(self, boundary: FormatBoundary) -> None:
        """Adds the column of a boundary's divergence, at least I(reader) - I(maker).

        For the readers that do not count what the change to integers does.
        """
        if not boundary.divergence:
            return
        maker = [] if boundary.maker is None else self._integer_columns(boundary.maker)
        change = len(self.costs)
        self.costs.append(0.0)
        self.roundings[change] = boundary.divergence
        for node in boundary.rounded_for:
            reader = self._integer_columns(node)
            values = [1.0] * len(reader) + [-1.0] * len(maker) + [-1.0]
            self._add_row(-inf, 0.0, [*reader, *maker, change], values)

    def _add_transfer(self, transfer: Transfer, energy: float, latency: float) -> None:
        """Adds a column for each link that may send a value, and the rows that make it 1.

        All links to one engine have a row together too: it excludes no choice, and makes the
        program without whole numbers tighter.
        """
        prices = {
            ends: energy * cost.energy_pj.value + latency * cost.latency_ns
            for ends, cost in transfer.costs.items()
        }
        columns: dict[Ends, int] = {}
        makers = self._makers(transfer)
        for reader in self._readers(transfer):
            needs = {
                (made_at, read_at): {e for e in transfer.links(made_at, read_at) if prices[e] > 0}
                for made_at, read_at in product(makers, reader)
            }
            used = sorted(set().union(*needs.values()))
            for ends in used:
                if ends not in columns:
                    columns[ends] = len(self.costs)
                    self.costs.append(prices[ends])
            sinks = dict.fromkeys(sink for _, sink in used)
            together = [tuple(ends for ends in used if ends[1] == sink) for sink in sinks]
            for links in dict.fromkeys([*((ends,) for ends in used), *together]):
                groups: dict[tuple[Port, ...], list[Port]] = {}
                for made_at in makers:
                    ports = tuple(p for p in reader if not needs[made_at, p].isdisjoint(links))
                    if ports:
                        groups.setdefault(ports, []).append(made_at)
                for ports, made in groups.items():
                    plus = [column for port in made for column in makers[port] or ()]
                    plus += [column for port in ports for column in reader[port] or ()]
                    fixed = (makers[made[0]] is None) + (reader[ports[0]] is None)
                    values = [1.0] * len(plus) + [-1.0] * len(links)
                    self._add_row(
                        -inf, 1.0 - fixed, [*plus, *(columns[ends] for ends in links)], values
                    )

    def _makers(self, transfer: Transfer) -> dict[Port, list[int] | None]:
        """Finds where a value may be made, each with the columns that make it there.

        None where it always is: a graph input.
        """
        if transfer.maker is None:
            return {transfer.at_host: None}
        found: dict[Port, list[int] | None] = {}
        for owner, place in self.problem.covering[transfer.maker]:
            port = self.problem.candidates[owner][place].made_at
            found[port] = [*(found.get(port) or ()), self.first[owner] + place]
        return found

    def _readers(self, transfer: Transfer) -> list[dict[Port, list[int] | None]]:
        """Finds for each reader where it may read a value, with the columns that read it there.

        None where it always does: the host, floats of a graph output. What one candidate makes and
        reads itself stays inside it.
        """
        covering = self.problem.covering
        inside = set(() if transfer.maker is None else covering[transfer.maker])
        readers: list[dict[Port, list[int] | None]] = []
        for node in transfer.readers:
            found: dict[Port, list[int] | None] = {}
            for owner, place in covering[node]:
                if (owner, place) not in inside:
                    port = self.problem.candidates[owner][place].read_at
                    found[port] = [*(found.get(port) or ()), self.first[owner] + place]
            readers.append(found)
        if transfer.ends_as_floats:
            readers.append({transfer.at_host: None})
        return readers

    def _add_row(self, low: float, high: float, columns: list[int], values: list[float]) -> None:
        """Adds a row whose columns may repeat; their values are added.

        They do where a node reads its own kind twice.
        """
        summed: dict[int, float] = {}
        for column, value in zip(columns, values, strict=True):
            summed[column] = summed.get(column, 0.0) + value
        self.rows.append((low, high, list(summed), list(summed.values())))

    def _add_budgets(self) -> None:
        problem = self.problem
        flat = [c for options in problem.candidates for c in options]
        budget = problem.max_divergence
        divergences = {i: c.divergence for i, c in enumerate(flat) if c.divergence > 0}
        divergences |= self.roundings
        self.excluded = [i for i, divergence in divergences.items() if divergence > budget]
        used = [i for i, divergence in divergences.items() if divergence <= budget]
        if used and budget < inf:
            self.rows.append((-inf, 1.0, used, [divergences[i] / budget for i in used]))
        for resource, capacity in problem.capacities.items():
            self._add_room(resource, capacity, flat)

    def _add_room(self, resource: Resource, capacity: int, flat: list[Candidate]) -> None:
        """Adds rows: residents and the neediest of the others, which run in turn, fit together."""
        uses = [c.uses.get(resource, 0) for c in flat]
        self.excluded += [i for i, use in enumerate(uses) if use > capacity]
        resident = [i for i, c in enumerate(flat) if c.resident and uses[i]]
        neediest = len(self.costs)
        self.costs.append(0.0)
        if not resident:
            return
        sizes = [uses[i] / max(capacity, 1) for i in resident]
        self._add_row(-inf, 1.0, [*resident, neediest], [*sizes, 1.0])
        for options, start in zip(self.problem.candidates, self.first, strict=True):
            numbers = range(start, start + len(options))
            working = [i for i in numbers if not flat[i].resident and uses[i]]
            if working:
                needs = [uses[i] / max(capacity, 1) for i in working]
                self._add_row(-inf, 0.0, [*working, neediest], [*needs, -1.0])

    def lp(self, *, whole: bool = True) -> highspy.HighsLp:
        """Builds the program in HiGHS's form, with or without the requirement of whole choices."""
        import highspy

        lp = highspy.HighsLp()
        count = len(self.costs)
        lp.num_col_, lp.num_row_ = count, len(self.rows)
        lp.col_cost_ = np.asarray(self.costs) / self.scale
        upper = np.ones(count)
        upper[self.excluded] = 0.0  # a candidate that alone breaks a budget (and may be huge)
        lp.col_lower_, lp.col_upper_ = np.zeros(count), upper
        lp.row_lower_ = np.asarray([row[0] for row in self.rows])
        lp.row_upper_ = np.asarray([row[1] for row in self.rows])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.cumsum([0] + [len(row[2]) for row in self.rows]).astype(np.int32)
        lp.a_matrix_.index_ = np.asarray([c for row in self.rows for c in row[2]], np.int32)
        lp.a_matrix_.value_ = np.asarray([v for row in self.rows for v in row[3]], np.float64)
        kinds = [highspy.HighsVarType.kInteger] * self.integer_count
        kinds += [highspy.HighsVarType.kContinuous] * (count - self.integer_count)
        if whole:
            lp.integrality_ = kinds
        return lp

    def choices(self, values: Values) -> tuple[int, ...]:
        """Finds the candidate of every node: the largest x of those that cover it, first of equals.

        COVERED where that stands at another node.
        """
        chosen = []
        for node, covering in enumerate(self.problem.covering):
            columns = [self.first[owner] + place for owner, place in covering]
            owner, place = covering[int(np.argmax(values[columns]))]
            chosen.append(place if owner == node else COVERED)
        return tuple(chosen)
