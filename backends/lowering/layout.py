"""Schedules drafts and allocates values together, until neither changes the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backends.lowering.form_steps import StepDraft, mapping_of
from backends.lowering.memory import Live, Place, allocate, packed_bytes, place_weights
from backends.lowering.schedule import Schedule, Task, schedule
from compiler.cost.links import link_cost
from compiler.cost.memory import home_of, weight_homes
from compiler.cost.node import node_cost, value_bytes, weight_load_cost
from compiler.cost.step import NOTHING, StepCost
from compiler.ir.graph import Graph
from compiler.ir.mapping import AnalogMapping
from compiler.ir.ops import PRODUCTS
from compiler.target.chip import Analog, Target


@dataclass(frozen=True)
class Layout:
    """When drafts run and where values lie, with their costs and the bytes of weights by memory.

    `lives` are the values that have bytes of their own, `roots` maps every value to the one whose
    bytes it has (its own, or those it is a view of); scratch memory goes by its draft's
    `scratch_buffer`. `homes` is the memory each value's size asked for.
    """

    costs: tuple[StepCost, ...]
    loads: tuple[StepCost, ...]
    times: Schedule
    lives: Mapping[str, Live]
    roots: Mapping[str, str]
    places: Mapping[str, Place]
    homes: Mapping[str, str]
    constant_places: Mapping[str, Place]
    constant_bytes: Mapping[str, int]
    weight_bytes: Mapping[str, int]


def schedule_and_allocate(drafts: Sequence[StepDraft], graph: Graph, target: Target) -> Layout:
    """Schedules and allocates; where a nearer memory is full, charges the farther and repeats.

    A value only ever moves outward, so this ends. Raises CapacityError when the model does not fit.
    """
    constant_bytes, wanted = _constants(drafts, graph, target)
    constant_places, weight_bytes = place_weights(
        [(name, size, wanted[name]) for name, size in constant_bytes.items()], target
    )
    loads = _loads(drafts, graph, constant_places, target)
    roots = _roots(drafts, graph)
    sizes = _sizes(drafts, graph, roots)
    asked = {name: home_of(size, target) for name, size in sizes.items()}
    homes = asked
    while True:
        costs = _costs(drafts, loads, graph, roots, homes, constant_places, target)
        times = schedule(tasks_of(drafts, [cost.latency_ns for cost in costs]))
        lives = _lives(drafts, graph, sizes, roots, homes, times)
        places = allocate(list(lives.values()), weight_bytes, target)
        found = {name: place.memory for name, place in places.items()}
        if found == homes:
            return Layout(
                costs=costs,
                loads=loads,
                times=times,
                lives=lives,
                roots=roots,
                places=places,
                homes=asked,
                constant_places=constant_places,
                constant_bytes=constant_bytes,
                weight_bytes=weight_bytes,
            )
        homes = found


def _costs(
    drafts: Sequence[StepDraft],
    loads: Sequence[StepCost],
    graph: Graph,
    roots: Mapping[str, str],
    homes: Mapping[str, str],
    constant_places: Mapping[str, Place],
    target: Target,
) -> tuple[StepCost, ...]:
    """Computes each draft's cost with its values in `homes` and constants in `constant_places`."""
    known = {name: homes[root] for name, root in roots.items() if root in homes}
    known.update((name, place.memory) for name, place in constant_places.items())
    sent = _sent(drafts, graph, target)
    return tuple(
        arriving + _cost(draft, load, graph, known, homes, target)
        for draft, load, arriving in zip(drafts, loads, sent, strict=True)
    )


def _sent(drafts: Sequence[StepDraft], graph: Graph, target: Target) -> tuple[StepCost, ...]:
    """Computes what the links take to send each draft what it reads.

    The first draft on an engine that reads a value pays, the others there have it then. Inputs of
    the graph lie with the host.
    """
    if not target.links:
        return (NOTHING,) * len(drafts)
    engines = dict.fromkeys(graph.inputs, target.host[0])
    there: set[tuple[str, str]] = set()
    costs = []
    for draft in drafts:
        cost = NOTHING
        for name in dict.fromkeys(draft.inputs):
            if name in engines and (name, draft.engine) not in there:
                there.add((name, draft.engine))
                size_bytes = value_bytes(graph.types[name], on_host=True)
                cost = cost + link_cost(size_bytes, engines[name], draft.engine, target)
        engines.update(dict.fromkeys(draft.outputs, draft.engine))
        costs.append(cost)
    return tuple(costs)


def _constants(
    drafts: Sequence[StepDraft], graph: Graph, target: Target
) -> tuple[dict[str, int], dict[str, str]]:
    """Computes the bytes each constant takes on the chip, and the memory it is wanted in."""
    sizes: dict[str, int] = {}
    chosen: dict[str, str] = {}
    for draft in drafts:
        placement = draft.main.placement if draft.main else None
        names = dict.fromkeys((*draft.stored, *draft.inside))
        entries = [(name, _stored_bytes(name, draft, graph, target)) for name in names]
        if draft.op == "Segment":
            entries.append((draft.model_constant, len(draft.model)))
        for name, size in entries:
            if name not in sizes:
                sizes[name] = size
                chosen[name] = placement.weight_home if placement else ""
    filled = zip(sizes, weight_homes(sizes.values(), target), strict=True)
    return sizes, {name: chosen[name] or home for name, home in filled}


def _stored_bytes(name: str, draft: StepDraft, graph: Graph, target: Target) -> int:
    """Computes the bytes of a constant on the chip.

    Cells of an analog array are packed, without the padding to whole tiles.
    """
    node = draft.main
    if node is not None and node.op == "AnalogProduct" and name == node.inputs[1]:
        mapping, unit = mapping_of(node), target.chip.engines[draft.engine]
        if isinstance(mapping, AnalogMapping) and isinstance(unit, Analog):
            cells = mapping.shape.weights * mapping.weight_slices
            return (cells * unit.cell_storage_bits.value + 7) // 8
    return graph.types[name].size_bytes


def _loads(
    drafts: Sequence[StepDraft], graph: Graph, places: Mapping[str, Place], target: Target
) -> tuple[StepCost, ...]:
    """Computes loading each draft's weights into its engine, once."""
    return tuple(_load(draft, graph, places, target) for draft in drafts)


def _load(draft: StepDraft, graph: Graph, places: Mapping[str, Place], target: Target) -> StepCost:
    """Computes loading the weights of a draft that is a product, and NOTHING for any other."""
    node = draft.main
    if node is None or node.op not in PRODUCTS or len(draft.nodes) > 1:
        return NOTHING
    return weight_load_cost(mapping_of(node), places[node.inputs[1]].memory, target)


def _cost(
    draft: StepDraft,
    load: StepCost,
    graph: Graph,
    known: Mapping[str, str],
    homes: Mapping[str, str],
    target: Target,
) -> StepCost:
    """Computes a draft's energy and time with its values where they lie.

    Its weight load is included when it pays one in every inference.
    """
    scratch = homes.get(draft.scratch_buffer, "")
    memories = known
    if scratch:  # of what it reads only: a copy of all for each segment would grow with the square
        seen = (name for node in draft.nodes for name in (*node.inputs, *node.outputs))
        memories = {name: known[name] for name in seen if name in known}
        memories |= dict.fromkeys(draft.scratch, scratch)
    main = draft.main
    cost = NOTHING
    for node in draft.nodes:
        cost = cost + node_cost(node, graph, mapping_of(node), target, homes=memories)
    resident = main is not None and mapping_of(main).resident
    return cost if resident or load is NOTHING else cost + load


def _roots(drafts: Sequence[StepDraft], graph: Graph) -> dict[str, str]:
    """Finds, for every value that steps exchange, the value whose bytes it has."""
    roots = {name: name for name in graph.inputs}
    for draft in drafts:
        source = draft.view_of(graph)
        for name in draft.outputs:
            if name:
                roots[name] = roots[source] if source else name
    return roots


def _sizes(drafts: Sequence[StepDraft], graph: Graph, roots: Mapping[str, str]) -> dict[str, int]:
    """Computes the bytes of every value that has bytes of its own and a known size.

    Scratch memory too.
    """
    sizes = {
        name: graph.types[name].size_bytes
        for name, root in roots.items()
        if name == root and graph.types[name].is_static
    }
    for draft in drafts:
        scratch = _scratch_bytes(draft, graph)
        if scratch:
            sizes[draft.scratch_buffer] = scratch
    return sizes


def _scratch_bytes(draft: StepDraft, graph: Graph) -> int:
    """Computes what a host segment needs in addition to its inputs and outputs.

    Its inner values share memory as their lives allow.
    """
    if not draft.scratch:
        return 0
    first = {name: i for i, node in enumerate(draft.nodes) for name in node.outputs}
    last = dict(first)
    for position, reader in enumerate(draft.nodes):
        last.update((name, position) for name in reader.inputs if name in first)
    return packed_bytes(
        [
            Live(
                name=name,
                size_bytes=graph.types[name].size_bytes,
                first_step=first[name],
                last_step=last[name],
                from_ns=0.0,
                to_ns=0.0,
                home="",
            )
            for name in draft.scratch
            if graph.types[name].is_static
        ]
    )


def tasks_of(drafts: Sequence[StepDraft], times_ns: Sequence[float]) -> list[Task]:
    """Makes one task of each draft: its engine, its time, the tasks it waits for."""
    maker = {name: i for i, draft in enumerate(drafts) for name in draft.outputs if name}
    return [
        Task(
            draft.engine,
            time_ns,
            tuple(sorted({maker[name] for name in draft.inputs if name in maker})),
        )
        for draft, time_ns in zip(drafts, times_ns, strict=True)
    ]


def _lives(
    drafts: Sequence[StepDraft],
    graph: Graph,
    sizes: Mapping[str, int],
    roots: Mapping[str, str],
    homes: Mapping[str, str],
    times: Schedule,
) -> dict[str, Live]:
    """Computes from when to when each value needs its bytes, its views included."""
    first = dict.fromkeys(graph.inputs, -1)
    start = dict.fromkeys(graph.inputs, 0.0)
    last = dict.fromkeys(graph.inputs, -1)
    end = dict.fromkeys(graph.inputs, 0.0)
    for position, draft in enumerate(drafts):
        made = [name for name in draft.outputs if roots.get(name) == name]
        for name in [*made, *([draft.scratch_buffer] if draft.scratch_buffer in sizes else [])]:
            first[name], start[name] = position, times.starts_ns[position]
            last[name], end[name] = position, times.ends_ns[position]
        for name in (*draft.inputs, *draft.outputs):
            root = roots.get(name)
            if root is not None:
                last[root] = position
                end[root] = max(end[root], times.ends_ns[position])
    for name in graph.outputs:
        root = roots.get(name)
        if root is not None:
            last[root], end[root] = len(drafts), times.latency_ns
    return {
        name: Live(
            name=name,
            size_bytes=size,
            first_step=first[name],
            last_step=last[name],
            from_ns=start[name],
            to_ns=end[name],
            home=homes[name],
        )
        for name, size in sizes.items()
    }
