"""Defines the partition problem: candidates of every node, what couples nodes, the room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias

from compiler.cost.step import StepCost
from compiler.ir.mapping import NodeMapping, Resource

# An engine, and whether a value is in integers there.
Port: TypeAlias = tuple[str, bool]
# The engine that sends and the engine that receives.
Ends: TypeAlias = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One candidate of a node, which runs it alone or together with other nodes.

    `cost` includes loading weights where they are not resident and fitting its inputs' format;
    `loads` is whether there are weights to load at all. `covers` are the other nodes (indices) that
    it computes too. `reads_on` is the engine that its inputs are sent to, where another than its
    own fits their format ("": its own).
    """

    mapping: NodeMapping
    cost: StepCost
    divergence: float = 0.0
    loads: bool = False
    covers: tuple[int, ...] = ()
    reads_on: str = ""

    @property
    def engine(self) -> str:
        """The engine that computes it."""
        return self.mapping.engine

    @property
    def made_at(self) -> Port:
        """The engine and the form of what it makes."""
        return self.engine, self.takes_integers

    @property
    def read_at(self) -> Port:
        """The engine that its inputs are sent to, and the form that it wants them in."""
        return self.reads_on or self.engine, self.takes_integers

    @property
    def resident(self) -> bool:
        """Whether it takes what it uses for good, or only while it runs."""
        return self.mapping.resident

    @property
    def uses(self) -> Mapping[Resource, int]:
        """What it takes of the resources that candidates compete for."""
        return self.mapping.uses

    @property
    def takes_integers(self) -> bool:
        """Whether it reads and makes integers; the host does not."""
        return self.mapping.format.takes_integers


@dataclass(frozen=True)
class FormatBoundary:
    """A value whose form may have to change, between its maker and its readers.

    `maker` (None: a graph input) and `readers` are node indices. `is_output` values must end as
    floats. `to_integers` and `to_floats` are the costs of the change, paid once for each value; so
    is the `divergence` of a change to integers, where one of the nodes in `rounded_for` computes on
    them (what others do with them is in theirs).
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


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """A value that links send from the engine that makes it to the engines that read it.

    `maker` (None: a graph input, which the host holds) and `readers` are node indices. `costs` is
    what each link takes for the value, paid once for each; pairs of engines without a link take
    nothing. Where it `converts`, floats and integers are different forms of it, changed on `host`;
    with `ends_as_floats` the host makes floats of it in any case.
    """

    value: str
    maker: int | None
    readers: tuple[int, ...]
    costs: Mapping[Ends, StepCost]
    host: str
    converts: bool = False
    ends_as_floats: bool = False

    def links(self, made_at: Port, read_at: Port) -> tuple[Ends, ...]:
        """Lists the links that bring the value from where it is made to where it is read."""
        stops = [made_at[0], read_at[0]]
        if self.converts and made_at[1] != read_at[1]:
            stops.insert(1, self.host)
        return tuple(ends for ends in pairwise(stops) if ends in self.costs)

    @property
    def at_host(self) -> Port:
        """The floats on the host: where graph inputs come from and outputs go."""
        return self.host, False

    @property
    def ends(self) -> tuple[int, ...]:
        """The nodes that read or make the value."""
        return tuple(sorted({*self.readers, *(() if self.maker is None else (self.maker,))}))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything `passes.partitioning.solve` needs, by node index.

    A candidate stands at one node and may cover others; each node is covered once. `capacities` is
    the room of each resource, `refusals` are (engine, reason) pairs.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    refusals: tuple[tuple[tuple[str, str], ...], ...]
    boundaries: tuple[FormatBoundary, ...]
    capacities: Mapping[Resource, int]
    max_divergence: float
    weight_homes: tuple[str, ...]
    transfers: tuple[Transfer, ...] = ()

    @cached_property
    def covering(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each node the candidates that cover it, as (the node they stand at, place there)."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.candidates]
        for index, options in enumerate(self.candidates):
            for place, candidate in enumerate(options):
                for node in (index, *candidate.covers):
                    found[node].append((index, place))
        return tuple(map(tuple, found))

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

    @cached_property
    def transfers_of(self) -> dict[int, list[Transfer]]:
        """The transfers of values that each node makes or reads."""
        found: dict[int, list[Transfer]] = {index: [] for index in range(len(self.candidates))}
        for transfer in self.transfers:
            for node in transfer.ends:
                found[node].append(transfer)
        return found
