"""Restricts nodes to the engines that the user wants them on (--place), wherever these can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from compiler.choices import Place
from compiler.cost.step import NOTHING, StepCost
from compiler.errors import UsageError, nearest, one_line
from compiler.ir.graph import Graph, Node
from compiler.target.chip import Target
from compiler.units import ZERO, Estimate
from passes.partitioning.assignment import Assignment
from passes.partitioning.problem import Candidate, Problem
from passes.partitioning.solve import solve

MOST_NAMED = 3  # reasons in a line, and nodes for each


def wanted_place(node: Node, place: Place) -> tuple[str, str] | None:
    """Finds the first pattern that matches a node's name, or one of its origin, and its engine."""
    names = (node.name, *node.origin)
    return next((one for one in place if any(_matches(name, one[0]) for name in names)), None)


def flag_of(one: tuple[str, str]) -> str:
    """How a place was asked for."""
    return f"--place {one_line(one[0])}={one_line(one[1])}"


def require_places(place: Place, graph: Graph, target: Target) -> None:
    """Checks that each pattern names an engine of the chip and matches a node.

    Raises UsageError (U004) with near names where one does not.
    """
    for one in place:
        pattern, engine = one
        if engine not in target.chip.engines:
            names = ", ".join(target.chip.engines)
            raise UsageError(
                f"{flag_of(one)}: {target.name} has no such engine; it has {names}",
                hint=nearest(engine, list(target.chip.engines)),
            )
        known = dict.fromkeys(name for node in graph for name in (node.name, *node.origin))
        if any(_matches(name, pattern) for name in known):
            continue
        gone = [name for name, fate in graph.ledger.items() if fate and _matches(name, pattern)]
        if gone:
            fate = "is computed while compiling" if _is_folded(gone[0], graph) else "is removed"
            raise UsageError(
                f"{flag_of(one)}: it matches only what runs on no engine: "
                f"{one_line(gone[0])!r} {fate}",
                hint="leave it out",
            )
        hint = nearest(pattern, _near_patterns(pattern, known)) or _first_names(list(known))
        raise UsageError(f"{flag_of(one)}: no node has a name like that", hint=hint)


def restricted(
    problem: Problem, wanted: Sequence[tuple[str, str] | None], released: Iterable[int] = ()
) -> Problem:
    """Selects the candidates on the engines that nodes are wanted on.

    All of them where a node is wanted nowhere, where that engine has none, or where the node is
    `released`.
    """
    free = frozenset(released)
    candidates, refusals = list(problem.candidates), list(problem.refusals)
    for index, one in enumerate(wanted):
        found = candidates[index]
        if one is None or index in free or not _on(one[1], found):
            continue
        others = dict.fromkeys(c.engine for c in found if c.engine != one[1])
        candidates[index] = tuple(_on(one[1], found))
        refusals[index] = (*refusals[index], *((name, flag_of(one)) for name in others))
    return replace(problem, candidates=tuple(candidates), refusals=tuple(refusals))


def fewest_elsewhere(problem: Problem, wanted: Sequence[tuple[str, str] | None]) -> tuple[int, ...]:
    """Finds the fewest nodes that must leave the engine they are wanted on.

    All others then fit the divergence allowed and the room of the engines together. It is the same
    integer program with the number of nodes elsewhere in place of the cost.
    """
    counted = replace(
        problem,
        candidates=tuple(
            tuple(replace(c, cost=_count(c, one)) for c in found)
            for found, one in zip(problem.candidates, wanted, strict=True)
        ),
        boundaries=tuple(
            replace(boundary, to_integers=NOTHING, to_floats=NOTHING)
            for boundary in problem.boundaries
        ),
        transfers=(),
    )
    picks = Assignment(counted, solve(counted, "energy").chosen).picks
    return tuple(
        index
        for index, (pick, one) in enumerate(zip(picks, wanted, strict=True))
        if one is not None and pick.engine != one[1] and _on(one[1], problem.candidates[index])
    )


def require_followed(
    place: Place,
    wanted: Sequence[tuple[str, str] | None],
    graph: Graph,
    why_not: Mapping[int, str],
) -> None:
    """Checks that each pattern's engine takes at least one of the nodes that it places.

    `why_not` says why a node (by index) is not on the engine it is wanted on. Raises UsageError
    (U004) with the reasons, in the order of `why_not`.
    """
    for one in dict.fromkeys(place):
        mine = [index for index in why_not if wanted[index] == one]
        if mine and len(mine) == wanted.count(one):
            reasons = named_reasons([(graph.nodes[i].name, why_not[i]) for i in mine])
            nodes = "the node" if len(mine) == 1 else f"any of the {len(mine)} nodes"
            beyond = any("allowed" in why_not[index] for index in mine)
            raise UsageError(
                f"{flag_of(one)}: {one_line(one[1])} cannot take {nodes} that it matches: "
                f"{reasons}",
                hint="raise --max-divergence, or place fewer nodes" if beyond else "",
            )


def named_reasons(found: Sequence[tuple[str, str]]) -> str:
    """Writes (node, reason) pairs grouped by reason, the first few of each by name."""
    groups: dict[str, list[str]] = {}
    for name, reason in found:
        groups.setdefault(reason, []).append(name)
    words = [f"{_names(names)}: {reason}" for reason, names in list(groups.items())[:MOST_NAMED]]
    rest = sum(len(names) for names in list(groups.values())[MOST_NAMED:])
    return "; ".join(words) + (f"; and {rest} more" if rest else "")


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(repr(one_line(name, 60)) for name in names[:MOST_NAMED])
    more = len(names) - MOST_NAMED
    return f"{shown} and {more} more" if more > 0 else shown


def _near_patterns(pattern: str, known: Iterable[str]) -> list[str]:
    """Lists the names, and for a pattern that ends in * what such a one could be of each."""
    if not pattern.endswith("*"):
        return list(known)
    length = len(pattern) - 1
    starts = (name[: length + more] for name in known for more in (0, 1, -1))
    return [f"{start}*" for start in dict.fromkeys(starts) if start]


def _first_names(names: Sequence[str]) -> str:
    return f"there are {_names(names)}" if names else "the model has no nodes"


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern matches; a name with brackets matches itself too."""
    return name == pattern or fnmatchcase(name, pattern)


def _is_folded(name: str, graph: Graph) -> bool:
    return graph.ledger[name].startswith("fold")


def _on(engine: str, found: Iterable[Candidate]) -> list[Candidate]:
    return [one for one in found if one.engine == engine]


def _count(candidate: Candidate, wanted: tuple[str, str] | None) -> StepCost:
    """Counts 1 for a node elsewhere than it is wanted, else 0."""
    elsewhere = wanted is not None and candidate.engine != wanted[1]
    return StepCost(ZERO, {"compute": Estimate.exact(1.0 if elsewhere else 0.0)})
