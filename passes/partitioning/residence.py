"""Requires that weights which must stay in the engines do (--weights resident)."""

from __future__ import annotations

from compiler.errors import CapacityError
from compiler.ir.graph import Graph
from compiler.ir.mapping import AnalogMapping, DigitalMapping, Resource
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital
from passes.partitioning.assignment import Assignment
from passes.partitioning.problem import Candidate, Problem


def require_residence(
    graph: Graph, problem: Problem, assignment: Assignment, target: Target
) -> None:
    """Checks that weights that must stay do: that no layer reloads them as it is too large.

    Nor may one be on the host only because there is no room left. Raises CapacityError.
    """
    stranded = {}
    for index, (node, options) in enumerate(zip(graph.nodes, problem.candidates, strict=True)):
        loading = [option for option in options if option.loads]
        pick = assignment.picks[index]
        if pick.loads and not pick.resident:
            too_large = dict.fromkeys(_why_not_resident(option, target) for option in loading)
            stranded[node.name] = "; ".join(too_large)
        if pick.takes_integers or not loading:
            continue
        reasons = [assignment.why_no_room(index, option) for option in loading]
        if all(reasons):
            stranded[node.name] = reasons[0]
    if stranded:
        name, reason = next(iter(stranded.items()))
        layers = "1 layer does" if len(stranded) == 1 else f"{len(stranded)} layers do"
        raise CapacityError(
            f"with weights that stay, {layers} not fit the engines: {reason}",
            node=name,
            hint="take --weights auto, prune, or a chip with more room",
        )


def _why_not_resident(option: Candidate, target: Target) -> str:
    """Explains why an engine cannot hold a layer's weights, whatever else it holds."""
    unit = target.chip.engines[option.engine]
    if isinstance(option.mapping, AnalogMapping) and isinstance(unit, Analog):
        wanted, there = option.mapping.tiles, unit.arrays.value
        return f"{wanted:,} arrays of {option.engine} are wanted, and there are {there:,}"
    assert isinstance(option.mapping, DigitalMapping)
    assert option.mapping.tiling is not None
    assert isinstance(unit, Digital)
    wanted, there = option.mapping.tiling.weight_bytes, unit.weight_memory_bytes
    memory = Resource(option.engine, "weight_bytes").words
    return f"{wanted:,} {memory} are wanted, and there are {there:,}"
