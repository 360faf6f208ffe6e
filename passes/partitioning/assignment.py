"""What candidates, one a node, take together, and why they may not be taken together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from passes.partitioning.problem import Candidate, FormatBoundary, Problem

WORDS = {
    "columns": "columns of the analog arrays",
    "weight_bytes": "bytes of digital weight memory",
}


class Assignment:
    """The candidate chosen for every node.

    What all of them take is added up once, so that judging one node's change takes the time of that
    node, not of the whole graph.
    """

    def __init__(self, problem: Problem, chosen: Sequence[int]) -> None:
        self.problem = problem
        self.picks = [options[c] for options, c in zip(problem.candidates, chosen, strict=True)]

    def totals(self) -> tuple[float, float, float]:
        """Energy (pJ), serial latency (ns) and divergence: of the nodes, and of the changes of form between them."""
        energy = sum(pick.cost.energy_pj.value for pick in self.picks)
        latency = sum(pick.cost.latency_ns for pick in self.picks)
        for boundary in self.problem.boundaries:
            for cost, needed in zip(
                (boundary.to_integers, boundary.to_floats),
                forms_needed(boundary, self.picks),
                strict=True,
            ):
                if needed:
                    energy += cost.energy_pj.value
                    latency += cost.latency_ns
        return energy, latency, self._divergence

    def switch(self, index: int, instead: Candidate) -> tuple[float, float]:
        """What the totals of energy (pJ) and latency (ns) change by when one node takes another candidate and all others stay."""
        before = self.picks[index]
        energy = instead.cost.energy_pj.value - before.cost.energy_pj.value
        latency = instead.cost.latency_ns - before.cost.latency_ns
        for boundary in self.problem.boundaries_of[index]:
            old = forms_needed(boundary, self.picks)
            new = forms_needed(boundary, self._picks_around(boundary, index, instead))
            for cost, was, becomes in zip(
                (boundary.to_integers, boundary.to_floats), old, new, strict=True
            ):
                energy += cost.energy_pj.value * (becomes - was)
                latency += cost.latency_ns * (becomes - was)
        return energy, latency

    def why_infeasible(self, index: int | None = None, instead: Candidate | None = None) -> str:
        """Why this (with one node taking another candidate, if given) is not allowed, or an empty string."""
        spent = self._divergence
        if index is not None and instead is not None:
            spent += instead.divergence - self.picks[index].divergence
            for boundary in self.problem.boundaries_of[index]:
                around = self._picks_around(boundary, index, instead)
                spent += rounding(boundary, around) - rounding(boundary, self.picks)
        allowed = self.problem.max_divergence
        if spent > allowed * (1 + 1e-9):
            return f"the divergences add up to {spent:.3g}, beyond the {allowed:.3g} allowed"
        return self.why_no_room(index, instead)

    def why_no_room(self, index: int | None = None, instead: Candidate | None = None) -> str:
        """Why the engines cannot hold the weights of these candidates, or an empty string."""
        for room, capacity in self.problem.capacities.items():
            kept, neediest = self._taken[room]
            working = [need for need, node in neediest if node != index]
            if index is not None and instead is not None:
                before, now = getattr(self.picks[index], room), getattr(instead, room)
                kept += instead.resident * now - self.picks[index].resident * before
                working.append(0 if instead.resident else now)
            wanted = kept + max(working, default=0)
            if wanted > capacity:
                return f"{wanted:,} {WORDS[room]} are wanted, and there are {capacity:,}"
        return ""

    def _picks_around(
        self, boundary: FormatBoundary, index: int, instead: Candidate
    ) -> dict[int, Candidate]:
        """The candidates of the nodes that make and read a value, with one node taking another."""
        return {**{node: self.picks[node] for node in boundary.ends}, index: instead}

    @cached_property
    def _divergence(self) -> float:
        of_changes = sum(rounding(boundary, self.picks) for boundary in self.problem.boundaries)
        return sum(pick.divergence for pick in self.picks) + of_changes

    @cached_property
    def _taken(self) -> dict[str, tuple[int, list[tuple[int, int]]]]:
        """For each room: what the residents keep, and the need and node of the two neediest others, which take turns."""
        return {
            room: (
                sum(getattr(pick, room) for pick in self.picks if pick.resident),
                sorted(
                    (
                        (getattr(pick, room), node)
                        for node, pick in enumerate(self.picks)
                        if not pick.resident
                    ),
                    reverse=True,
                )[:2],
            )
            for room in self.problem.capacities
        }


def rounding(
    boundary: FormatBoundary, picks: Mapping[int, Candidate] | Sequence[Candidate]
) -> float:
    """The divergence of a value's change to integers that no node counts as its own.

    0 where it does not change, or nobody works on that.
    """
    made_as_integers = boundary.maker is not None and picks[boundary.maker].takes_integers
    if made_as_integers or not any(picks[node].takes_integers for node in boundary.rounded_for):
        return 0.0
    return boundary.divergence


def forms_needed(
    boundary: FormatBoundary, picks: Mapping[int, Candidate] | Sequence[Candidate]
) -> tuple[bool, bool]:
    """Whether a value must be turned into integers, and whether into floats."""
    made_as_integers = boundary.maker is not None and picks[boundary.maker].takes_integers
    readers = [picks[reader].takes_integers for reader in boundary.readers]
    if made_as_integers:
        return False, boundary.is_output or not all(readers)
    return any(readers), False
