"""Computes a lower bound on the energy and time of any plan for a graph on a chip.

It holds for every placement and every order. Every term is a minimum that no plan under the chip's
own constants goes below:

    E >= sum over nodes of   min over engines that can take it
                             ( arrays, drivers, converters, MACs, vector units, host cycles )
       + sum over values of  bytes written once + bytes read once,
                             each at the cheapest memory that holds the value
       + for the model's float inputs and outputs  the change of format, once a value,
                             unless the host alone reads or makes them
       + static power * T
    T >= the longest chain of nodes, each at the least over its engines of
         ( operations, bytes through the widest port ),
         and the change of format of an output at the chain's end

With the weight load, every layer's term is the least over its engines with the load (one read of
its weights where they are stored, one write into the engine), less what weights that stay in the
engines can save at most: a knapsack of the engines' capacity, filled by fractions.

An engine counts for a node if the partition found it able to, in a format that alone stays within
the divergence allowed. A view moves nothing; what a node has taken over (a bias, a clip) is inside
it. Left out: re-reads, values that do not fit together, changes of format inside, the waste of
partly filled memories and engines, and the load in T. So a ratio of 1 is seldom within reach: it
shows how much data movement, format changes and the choice of resident weights could save at most.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from compiler.bound.candidates import BoundCandidate, candidates_of, with_free_memories
from compiler.bound.values import Values
from compiler.bound.weight_loads import least_load_pj
from compiler.cost.node import conversion_cost
from compiler.ir.graph import Graph
from compiler.plan.schema import LowerBound
from compiler.target.chip import Target


def lower_bound(graph: Graph, target: Target) -> LowerBound:
    """Bounds the energy (pJ) and the latency (ns) of any plan from below.

    They follow from the values of the chip's constants, not from their lower ends. `graph` is as
    the partition left it: placed, and before formats are written into it. For a node that is not
    placed, every engine counts that `legality.why_not` has nothing against.
    """
    free = with_free_memories(target)
    candidates = [candidates_of(node, graph, target, free) for node in graph]
    values = Values(graph, target)
    _change_formats_at_ports(candidates, values, graph, target)
    compute_pj = sum(min(candidate.energy_pj for candidate in found) for found in candidates)
    latency_ns = _longest_chain(graph, candidates)
    static = target.chip.static_mw.value * latency_ns
    energy = compute_pj + values.activations_pj + values.ports_pj + static
    return LowerBound(
        energy_pj=energy,
        energy_with_load_pj=energy + least_load_pj(candidates, target),
        latency_ns=latency_ns,
        work_pj=compute_pj,
        activations_pj=values.activations_pj,
        ports_pj=values.ports_pj,
        static_pj=static,
    )


def _change_formats_at_ports(
    candidates: list[list[BoundCandidate]], values: Values, graph: Graph, target: Target
) -> None:
    """Adds the host's changes of format at the model's ports to candidates off the host.

    The first reader of each float input and the maker of each float output bear them.
    """
    readers, makers = values.first_readers(), values.makers()
    for name in graph.inputs:
        if name in readers and _is_float(name, graph):
            energy_pj, latency_ns = _change(name, graph, target, to_float=False)
            at = readers[name]
            candidates[at] = [
                _with_more_off_host(w, target, energy_pj, latency_ns, 0.0) for w in candidates[at]
            ]
    for root, shown in values.outputs_of().items():
        floats = [name for name in shown if _is_float(name, graph)]
        if root in makers and floats:
            energy_pj, leave_ns = _change(floats[0], graph, target, to_float=True)
            at = makers[root]
            candidates[at] = [
                _with_more_off_host(w, target, energy_pj, 0.0, leave_ns) for w in candidates[at]
            ]


def _is_float(name: str, graph: Graph) -> bool:
    kind = graph.types[name]
    return kind.dtype == "float32" and kind.quant is None and kind.is_static


def _change(name: str, graph: Graph, target: Target, *, to_float: bool) -> tuple[float, float]:
    """Computes the host's energy (pJ) and time (ns) for a value's change of format."""
    kind = graph.types[name]
    cost = conversion_cost(kind.elements, kind.size_bytes, to_float, target)
    return cost.parts["host"].value, cost.latency_ns


def _with_more_off_host(
    candidate: BoundCandidate, target: Target, energy_pj: float, latency_ns: float, leave_ns: float
) -> BoundCandidate:
    """Adds energy and times to a candidate, unless it is the host's own."""
    if candidate.engine == target.host[0]:
        return candidate
    return replace(
        candidate,
        energy_pj=candidate.energy_pj + energy_pj,
        latency_ns=candidate.latency_ns + latency_ns,
        leave_ns=candidate.leave_ns + leave_ns,
    )


def _longest_chain(graph: Graph, candidates: Iterable[list[BoundCandidate]]) -> float:
    """Computes the time of the longest chain of nodes, each on its fastest engine."""
    ready: dict[str, float] = {}
    longest = 0.0
    for node, found in zip(graph, candidates, strict=True):
        start = max((ready.get(name, 0.0) for name in node.inputs if name), default=0.0)
        ready.update(
            dict.fromkeys(node.outputs, start + min(candidate.latency_ns for candidate in found))
        )
        longest = max(
            longest, start + min(candidate.latency_ns + candidate.leave_ns for candidate in found)
        )
    return longest
