"""The partition problem: the candidates of every node, what couples the nodes, and the room there is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from compiler.cost.step import StepCost


@dataclass(frozen=True)
class Candidate:
    """One way a node could run: its cost includes loading weights where they are not resident and fitting its inputs' format.

    `loads` says whether there are weights to load at all. A resident layer keeps `columns` of the
    analog arrays and `weight_bytes` of the digital weight memory for good; a reloaded one needs
    that much free while it runs. `takes_integers` is False on the host.
    """

    engine: str
    mapping: str
    digits: int
    resident: bool
    loads: bool
    columns: int
    weight_bytes: int
    takes_integers: bool
    divergence: float
    cost: StepCost
    pixels: int = 1


@dataclass(frozen=True)
class FormatBoundary:
    """A value whose form may have to change: made by `maker` (None: a graph input), read by `readers` (node indices).

    `is_output` values must end as floats. `to_integers` and `to_floats` are the costs of the
    change, paid once for each value; so is the `divergence` of a change to integers, where one of
    the nodes in `rounded_for` works on them (what others do with them is in theirs).
    """

    value: str
    maker: int | None
    readers: tuple[int, ...]
    is_output: bool
    to_integers: StepCost
    to_floats: StepCost
    divergence: float = 0.0
    rounded_for: tuple[int, ...] = ()

    @property
    def ends(self) -> tuple[int, ...]:
        """The nodes that read or make the value."""
        return tuple(sorted({*self.readers, *(() if self.maker is None else (self.maker,))}))


@dataclass(frozen=True)
class Problem:
    """Everything `passes.partitioning.solve` needs, by node index."""

    candidates: tuple[tuple[Candidate, ...], ...]
    refusals: tuple[tuple[tuple[str, str], ...], ...]
    boundaries: tuple[FormatBoundary, ...]
    columns: int
    weight_memory_bytes: int
    max_divergence: float
    weight_homes: tuple[str, ...]

    @property
    def capacities(self) -> dict[str, int]:
        """The room for weights, by the field of a Candidate that tells what it takes of it."""
        return {"columns": self.columns, "weight_bytes": self.weight_memory_bytes}

    @cached_property
    def boundaries_of(self) -> dict[int, list[FormatBoundary]]:
        """The boundaries that each node makes or reads."""
        found: dict[int, list[FormatBoundary]] = {
            index: [] for index in range(len(self.candidates))
        }
        for boundary in self.boundaries:
            for node in boundary.ends:
                found[node].append(boundary)
        return found
