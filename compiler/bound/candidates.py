"""Computes the least that a node takes on each engine that can take it, for the lower bound."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

from compiler.bound.values import FORMATS, cheapest, data_of, engines_for
from compiler.cost.node import node_cost, value_bytes, weight_load_cost
from compiler.engines.mapping import analog_mappings, map_node
from compiler.ir.formats import Format
from compiler.ir.graph import Graph, Node
from compiler.ir.mapping import AnalogMapping, NodeMapping
from compiler.ir.ops import VIEWS, product_shape
from compiler.target.chip import Analog, Host, Target


@dataclass(frozen=True)
class BoundCandidate:
    """A node on an engine at its least: energy (pJ) and time (ns) without moving activations.

    `weight_bits` are what its weights take of the engine, `load_pj` the energy of loading them from
    each memory that may store them, by name; 0 and empty where none are loaded. An output of the
    model leaves the chip `leave_ns` later; later nodes do not wait for that.
    """

    engine: str
    energy_pj: float
    latency_ns: float
    weight_bits: float
    load_pj: Mapping[str, float]
    leave_ns: float = 0.0


def candidates_of(node: Node, graph: Graph, target: Target, free: Target) -> list[BoundCandidate]:
    """Builds a node's candidate on each engine that can take it.

    `free` is the chip `with_free_memories`.
    """
    if node.op in VIEWS or node.op in FORMATS:
        return [
            BoundCandidate(engine="", energy_pj=0.0, latency_ns=0.0, weight_bits=0.0, load_pj={})
        ]
    return [
        _candidate(node, graph, name, target, free) for name in engines_for(node, graph, target)
    ]


def _candidate(
    node: Node, graph: Graph, engine: str, target: Target, free: Target
) -> BoundCandidate:
    unit = target.chip.engines[engine]
    shape = product_shape(node, graph)
    slices = 1
    mappings: list[NodeMapping] = []
    if isinstance(unit, Analog):
        slices = _fewest_slices(node, graph, engine)
        form = Format.analog(engine, slices)
        found = analog_mappings(node, graph, form, unit)
        mappings += [replace(mapping, resident=True) for mapping in found]
    else:
        mappings.append(map_node(node, graph, engine, free, resident=True))
    costs = [node_cost(node, graph, mapping, free) for mapping in mappings]
    energy = min(cost.energy_pj.value for cost in costs)
    latency = min(cost.latency_ns for cost in costs)
    if isinstance(unit, Host):
        sizes = [
            graph.types[n].size_bytes for n in dict.fromkeys(node.inputs) if n in graph.constants
        ]
        energy += sum(size * cheapest(size, target, "read") for size in sizes)
        return BoundCandidate(
            engine=engine, energy_pj=energy, latency_ns=latency, weight_bits=0.0, load_pj={}
        )
    latency = max(latency, _port_ns(node, graph, target))
    if shape is None:
        return BoundCandidate(
            engine=engine, energy_pj=energy, latency_ns=latency, weight_bits=0.0, load_pj={}
        )
    homes = list(target.memories)[1:] or list(target.memories)
    loads = {
        home: weight_load_cost(mappings[0], home, target).parts["weight_load"].value
        for home in homes
    }
    stored = unit.cell_storage_bits.value * slices if isinstance(unit, Analog) else 8
    return BoundCandidate(
        engine=engine,
        energy_pj=energy,
        latency_ns=latency,
        weight_bits=float(shape.weights * stored),
        load_pj=loads,
    )


def _fewest_slices(node: Node, graph: Graph, engine: str) -> int:
    """Finds the fewest slices a weight that alone stay within the divergence allowed.

    1 where nothing was measured.
    """
    known = graph.calibration.divergence.get(node.name, {}) if graph.calibration else {}
    allowed = graph.partition.max_divergence if graph.partition else inf
    able = [
        form.weight_slices
        for form, divergence in known.items()
        if form.engine == engine and divergence <= allowed
    ]
    mapping = node.placement.mapping if node.placement else None
    chosen = mapping.weight_slices if isinstance(mapping, AnalogMapping) else 1
    return min(able, default=chosen)


def with_free_memories(target: Target) -> Target:
    """Gives the chip one memory that takes no energy and no time, and removes its static power.

    What remains is what its engines take.
    """
    first = next(iter(target.memories.values()))
    nothing = {"value": 0.0, "low": None, "high": None}
    free = first.model_copy(
        update={
            "capacity_bytes": first.capacity_bytes.model_copy(update={"value": 1 << 50}),
            "read_pj_per_byte": first.read_pj_per_byte.model_copy(update=nothing),
            "write_pj_per_byte": first.write_pj_per_byte.model_copy(update=nothing),
            "bytes_per_cycle": first.bytes_per_cycle.model_copy(update={**nothing, "value": inf}),
        }
    )
    static = target.chip.static_mw.model_copy(update=nothing)
    chip = target.chip.model_copy(update={"memories": {"free": free}, "static_mw": static})
    return Target(chip, target.sha256)


def _port_ns(node: Node, graph: Graph, target: Target) -> float:
    """Computes the least time of a node's largest value through a port, with floats as int8."""
    sizes = [
        value_bytes(graph.types[name], on_host=False)
        for name in (*data_of(node, graph), *node.outputs)
        if name
    ]
    widest = max(memory.bytes_per_cycle.value for memory in target.memories.values())
    return max(sizes, default=0) / widest * target.cycle_ns
