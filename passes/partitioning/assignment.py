"""Adds up what the chosen candidates take together, and explains why they may not be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from compiler.cost.divergence import divergence_words
from compiler.ir.mapping import Resource
from passes.partitioning.problem import Candidate, Ends, FormatBoundary, Problem, Transfer

# In place of a candidate's number at a node that a candidate of another node covers.
COVERED = -1


class Assignment:
    """The chosen candidates: of every node the number of its own, or COVERED.

    What all of them take is added up once, so that evaluating one node's change takes the time of
    that node, not of the whole graph.
    """

    def __init__(self, problem: Problem, chosen: Sequence[int]) -> None:
        self.problem = problem
        self.owners = [node for node, choice in enumerate(chosen) if choice != COVERED]
        owned = {node: problem.candidates[node][chosen[node]] for node in self.owners}
        self.owner_of = {n: node for node, pick in owned.items() for n in (node, *pick.covers)}
        self.picks = [owned[self.owner_of[node]] for node in range(len(problem.candidates))]

    def totals(self) -> tuple[float, float, float]:
        """Energy (pJ), serial latency (ns) and divergence of nodes and of what lies between them.

        That is changes of a value's form, and sending it over links.
        """
        problem = self.problem
        energy, latency = self._costs(
            self.picks, self.owners, problem.boundaries, problem.transfers
        )
        return energy, latency, self._divergence

    def switch(self, index: int, instead: Candidate) -> tuple[float, float]:
        """Computes how energy (pJ) and latency (ns) change when one node takes another candidate.

        All others stay. With a candidate that covers several nodes, these leave the candidates they
        had.
        """
        before, after = self._sides(index, instead)
        energy = instead.cost.energy_pj.value
        latency = instead.cost.latency_ns
        for owner in dict.fromkeys(self.owner_of[node] for node in after):
            energy -= self.picks[owner].cost.energy_pj.value
            latency -= self.picks[owner].cost.latency_ns
        around = self._boundaries_around(after), self._transfers_around(after)
        old = self._costs(before, (), *around)
        new = self._costs({**before, **after}, (), *around)
        return energy + (new[0] - old[0]), latency + (new[1] - old[1])

    def why_infeasible(self, index: int | None = None, instead: Candidate | None = None) -> str:
        """Explains why this assignment is not allowed, or gives an empty string.

        With one node taking another candidate, if given.
        """
        spent = self._divergence
        if index is not None and instead is not None:
            before, after = self._sides(index, instead)
            left: set[int] = set()
            for owner in {self.owner_of[node] for node in after}:
                left |= {owner, *self.picks[owner].covers} - set(after)
            if left:
                return f"{len(left)} more nodes would have no place"
            spent += instead.divergence - sum(
                self.picks[owner].divergence for owner in {self.owner_of[n] for n in after}
            )
            for boundary in self._boundaries_around(after):
                spent += rounding(boundary, {**before, **after}) - rounding(boundary, before)
        allowed = self.problem.max_divergence
        if spent > allowed * (1 + 1e-9):
            return (
                f"the divergences add up to {divergence_words(spent)}, "
                f"beyond the {allowed:.3g} allowed"
            )
        return self.why_no_room(index, instead)

    def why_no_room(self, index: int | None = None, instead: Candidate | None = None) -> str:
        """Explains why the engines cannot hold these candidates' weights, or gives ""."""
        leaving: set[int] = set()
        if index is not None and instead is not None:
            leaving = {self.owner_of[node] for node in (index, *instead.covers)}
        for resource, capacity in self.problem.capacities.items():
            taken, neediest = self._taken[resource]
            working = [need for need, node in neediest if node not in leaving]
            if instead is not None:
                gone = [
                    self.picks[n].uses.get(resource, 0) for n in leaving if self.picks[n].resident
                ]
                now = instead.uses.get(resource, 0)
                taken += instead.resident * now - sum(gone)
                working.append(0 if instead.resident else now)
            wanted = taken + max(working, default=0)
            if wanted > capacity:
                return f"{wanted:,} {resource.words} are wanted, and there are {capacity:,}"
        return ""

    def _sides(
        self, index: int, instead: Candidate
    ) -> tuple[dict[int, Candidate], dict[int, Candidate]]:
        """Collects the candidates around the nodes that change, and those nodes' new candidates."""
        after = dict.fromkeys((index, *instead.covers), instead)
        ends = {node for boundary in self._boundaries_around(after) for node in boundary.ends}
        ends |= {node for transfer in self._transfers_around(after) for node in transfer.ends}
        return {node: self.picks[node] for node in sorted(ends)}, after

    def _boundaries_around(self, nodes: Iterable[int]) -> list[FormatBoundary]:
        """Lists the values that these nodes make or read, each once."""
        found = [boundary for node in nodes for boundary in self.problem.boundaries_of[node]]
        return list({id(boundary): boundary for boundary in found}.values())

    def _transfers_around(self, nodes: Iterable[int]) -> list[Transfer]:
        """Lists the transfers of the values that these nodes make or read, each once."""
        if not self.problem.transfers:
            return []
        found = [transfer for node in nodes for transfer in self.problem.transfers_of[node]]
        return list({id(transfer): transfer for transfer in found}.values())

    @staticmethod
    def _costs(
        picks: Mapping[int, Candidate] | Sequence[Candidate],
        owners: Iterable[int],
        boundaries: Iterable[FormatBoundary],
        transfers: Iterable[Transfer],
    ) -> tuple[float, float]:
        """Adds up energy (pJ) and latency (ns) of candidates, changes of form and transfers."""
        energy = latency = 0.0
        for node in owners:
            energy += picks[node].cost.energy_pj.value
            latency += picks[node].cost.latency_ns
        for boundary in boundaries:
            needed = forms_needed(boundary, picks)
            for cost, is_needed in zip(
                (boundary.to_integers, boundary.to_floats), needed, strict=True
            ):
                if is_needed:
                    energy += cost.energy_pj.value
                    latency += cost.latency_ns
        for transfer in transfers:
            for ends in links_needed(transfer, picks):
                energy += transfer.costs[ends].energy_pj.value
                latency += transfer.costs[ends].latency_ns
        return energy, latency

    @cached_property
    def _divergence(self) -> float:
        of_changes = sum(rounding(boundary, self.picks) for boundary in self.problem.boundaries)
        return sum(self.picks[node].divergence for node in self.owners) + of_changes

    @cached_property
    def _taken(self) -> dict[Resource, tuple[int, list[tuple[int, int]]]]:
        """For each resource: what residents take, and the others' needs and nodes.

        The largest need comes first.
        """
        found = {}
        for resource in self.problem.capacities:
            uses = [(self.picks[node].uses.get(resource, 0), node) for node in self.owners]
            resident = sum(use for use, node in uses if self.picks[node].resident)
            working = [(use, node) for use, node in uses if use and not self.picks[node].resident]
            found[resource] = (resident, sorted(working, reverse=True))
        return found


def rounding(
    boundary: FormatBoundary, picks: Mapping[int, Candidate] | Sequence[Candidate]
) -> float:
    """Finds the divergence of a value's change to integers that no node counts as its own.

    0 where it does not change, or no node computes on the integers.
    """
    made_as_integers = boundary.maker is not None and picks[boundary.maker].takes_integers
    if made_as_integers or not any(picks[node].takes_integers for node in boundary.rounded_for):
        return 0.0
    return boundary.divergence


def forms_needed(
    boundary: FormatBoundary, picks: Mapping[int, Candidate] | Sequence[Candidate]
) -> tuple[bool, bool]:
    """Finds whether a value must be turned into integers, and whether into floats."""
    made_as_integers = boundary.maker is not None and picks[boundary.maker].takes_integers
    readers = [picks[reader].takes_integers for reader in boundary.readers]
    if made_as_integers:
        return False, boundary.is_output or not all(readers)
    return any(readers), False


def links_needed(
    transfer: Transfer, picks: Mapping[int, Candidate] | Sequence[Candidate]
) -> tuple[Ends, ...]:
    """Finds the links that a value is sent over, each once."""
    maker = None if transfer.maker is None else picks[transfer.maker]
    made_at = transfer.at_host if maker is None else maker.made_at
    # What one candidate makes and reads itself stays inside it.
    ports = [picks[node].read_at for node in transfer.readers if picks[node] is not maker]
    if transfer.ends_as_floats:
        ports.append(transfer.at_host)
    return tuple(dict.fromkeys(ends for port in ports for ends in transfer.links(made_at, port)))
