"""A lower bound on the energy and time of any plan for a graph on a chip, whatever is placed where and in whatever order.

Every term is a minimum that no plan under the chip's own constants goes below:

    E >= sum over nodes of    min over engines that can take it ( arrays, drivers, converters, MACs, vector units, host cycles )
       + sum over values of   bytes written once + bytes read once, each at the cheapest memory that holds the value
       + static power * T
    T >= the longest chain of nodes, each at the least over its engines of ( work, bytes through the widest port )

With the weight load, every layer's term is the least over its engines with the load (one read of its weights where they are kept, one
write into the engine), less what keeping weights in the engines can save at most: a knapsack of their capacity, filled by fractions.

An engine counts for a node if the partition found it able to, in a format that alone stays within the divergence allowed. A view moves
nothing; what a node has taken over (a bias, a clip) is inside it. Left out: re-reads, values that do not fit together, changes of
format, the waste of partly filled memories and engines, and the load in T. So a ratio of 1 is seldom within reach: it tells how much
data movement, format changes and the choice of what stays where could save at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from compiler.cost.node import node_cost, value_bytes, weight_load_cost
from compiler.digital_engine import Digital
from compiler.ir import Graph, Node
from compiler.mapping import pixel_choices, why_not
from compiler.ops import VIEWS, product_shape
from compiler.target import Analog, Host, Target

# These read no data, or only the part of their input that they pass on.
READ_NOTHING = ("Shape", "Size")
READ_A_PART = ("Slice", "Split", "Gather", "GatherElements", "GatherND")
# Changes of format: another assignment may not need them.
FORMATS = ("QuantizeLinear", "DequantizeLinear", "Requantize", "Cast", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Way:
    """A node on an engine at its least: energy (pJ) and time (ns) of its work without moving activations.

    `weight_bits` are what its weights take of the engine, `load_pj` the energy of loading them from each memory that may keep them, by
    name; 0 and empty where none are loaded.
    """

    energy_pj: float
    latency_ns: float
    weight_bits: float
    load_pj: Mapping[str, float]


def lower_bound(graph: Graph, target: Target) -> dict[str, float]:
    """{energy_pj, energy_with_load_pj, latency_ns, and energy_pj by part}: values of the constants, not their lower ends.

    `graph` is as the partition left it: placed, and before formats are written into it. Of a node that is not placed every engine
    counts that `mapping.why_not` has nothing against.
    """
    free = _with_free_memories(target)
    ways = [_ways(node, graph, target, free) for node in graph]
    work = sum(min(way.energy_pj for way in found) for found in ways)
    values = _Values(graph, target)
    latency_ns = _longest_chain(graph, ways)
    static = target.chip.static_mw.value * latency_ns
    energy = work + values.activations_pj + values.ports_pj + static
    return {
        "energy_pj": energy,
        "energy_with_load_pj": energy + _least_load(ways, target),
        "latency_ns": latency_ns,
        "work_pj": work,
        "activations_pj": values.activations_pj,
        "ports_pj": values.ports_pj,
        "static_pj": static,
    }


def engines_for(node: Node, graph: Graph, target: Target) -> list[str]:
    """The engines that can take a node: those the partition found able to within the divergence allowed, the chosen one among them."""
    if node.placement is None:
        return [name for name in target.chip.engines if not why_not(name, node, graph, target)]
    allowed = graph.partition.max_divergence if graph.partition else inf
    able = {node.placement.engine}
    for other in node.placement.alternatives:
        if other.energy_pj is not None and (other.divergence or 0.0) <= allowed:
            able.add(other.engine)
    return [name for name in target.chip.engines if name in able]


def _ways(node: Node, graph: Graph, target: Target, free: Target) -> list[Way]:
    """A node on each engine that can take it."""
    if node.op in VIEWS or node.op in FORMATS:
        return [Way(0.0, 0.0, 0.0, {})]
    return [_way(node, graph, name, target, free) for name in engines_for(node, graph, target)]


def _way(node: Node, graph: Graph, engine: str, target: Target, free: Target) -> Way:
    unit = target.chip.engines[engine]
    shape = product_shape(node, graph)
    digits, choices = 1, [1]
    if isinstance(unit, Analog):
        digits = _fewest_digits(node, graph)
        choices = pixel_choices(node, graph, unit, digits)
    costs = [
        node_cost(node, graph, engine, free, digits=digits, resident=True, pixels=pixels)
        for pixels in choices
    ]
    energy = min(cost.energy_pj.value for cost in costs)
    latency = min(cost.latency_ns for cost in costs)
    if isinstance(unit, Host):
        sizes = [
            graph.types[n].size_bytes for n in dict.fromkeys(node.inputs) if n in graph.constants
        ]
        energy += sum(size * _cheapest(size, target, "read") for size in sizes)
        return Way(energy, latency, 0.0, {})
    latency = max(latency, _port_ns(node, graph, target))
    if shape is None:
        return Way(energy, latency, 0.0, {})
    homes = list(target.memories)[1:] or list(target.memories)
    loads = {
        home: weight_load_cost(shape, engine, home, target, digits).parts["weight_load"].value
        for home in homes
    }
    stored = unit.cell_storage_bits.value * digits if isinstance(unit, Analog) else 8
    return Way(energy, latency, float(shape.weights * stored), loads)


def _fewest_digits(node: Node, graph: Graph) -> int:
    """The fewest digits a weight that alone stay within the divergence allowed (1 where nothing was measured)."""
    known = graph.calibration.divergence.get(node.name, {}) if graph.calibration else {}
    allowed = graph.partition.max_divergence if graph.partition else inf
    able = [
        int(form.removeprefix("analog/"))
        for form, divergence in known.items()
        if form.startswith("analog/") and divergence <= allowed
    ]
    chosen = node.placement.slices if node.placement else 1
    return min(able, default=max(1, chosen))


def _with_free_memories(target: Target) -> Target:
    """The chip with one memory that takes no energy and no time, and no static power: what is left is the work of its engines."""
    first = next(iter(target.memories.values()))
    nothing = {"value": 0.0, "low": None, "high": None}
    free = first.model_copy(
        update={
            "capacity_bytes": first.capacity_bytes.model_copy(update={"value": 1 << 50}),
            "read_pj_per_byte": first.read_pj_per_byte.model_copy(update=nothing),
            "write_pj_per_byte": first.write_pj_per_byte.model_copy(update=nothing),
            "bytes_per_cycle": first.bytes_per_cycle.model_copy(update={"value": inf}),
        }
    )
    static = target.chip.static_mw.model_copy(update=nothing)
    chip = target.chip.model_copy(update={"memories": {"free": free}, "static_mw": static})
    return Target(chip, target.sha256)


# -- values and time


class _Values:
    """What moving every value once takes: the model's inputs and outputs (ports), and the activations between nodes."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph, self.target = graph, target
        self.root: dict[str, str] = {}
        for node in graph:
            if node.op in VIEWS or node.op in FORMATS:
                self.root.update(dict.fromkeys(node.outputs, self.root_of(node.inputs[0])))
        self.read: dict[str, float] = {}
        for node in graph:
            for name in _data(node, graph):
                root = self.root_of(name)
                self.read[root] = max(self.read.get(root, 0.0), self._bytes_read(node, name))
        self.ports_pj = sum(self._port(name) for name in graph.inputs)
        self.ports_pj += sum(self._output(name) for name in dict.fromkeys(graph.outputs))
        self.activations_pj = sum(self._made(name) for node in graph for name in node.outputs)

    def root_of(self, value: str) -> str:
        """The value that a view shows (itself where it is none)."""
        return self.root.get(value, value)

    def _bytes_read(self, node: Node, name: str) -> float:
        """The bytes of a value that a node must read at least, over the engines that can take it."""
        if node.op in (*VIEWS, *FORMATS, *READ_NOTHING):
            return 0.0
        size = _least_bytes(node, name, self.graph, self.target)
        if node.op in READ_A_PART:
            made = sum(
                _least_bytes(node, out, self.graph, self.target) for out in node.outputs if out
            )
            return min(size, made)
        return size

    def _port(self, name: str) -> float:
        """A model's input is read as it comes, once, if anything reads it."""
        kind = self.graph.types[name]
        if not self.read.get(name) or not kind.is_static:
            return 0.0
        share = min(1.0, self.read[name] / max(1, value_bytes(kind, on_host=False)))
        return share * kind.size_bytes * _cheapest(kind.size_bytes, self.target, "read")

    def _output(self, name: str) -> float:
        """A model's output is written as it leaves, once, by whatever makes it (a view of an input is not made)."""
        kind = self.graph.types[name]
        root = self.root_of(name)
        if root in self.graph.inputs or root in self.graph.constants or not kind.is_static:
            return 0.0
        return kind.size_bytes * _cheapest(kind.size_bytes, self.target, "write")

    def _made(self, name: str) -> float:
        """A value between nodes is written once and read once; of a model's output the write is the port's."""
        if not name or name in self.root:
            return 0.0
        size = _least_bytes(self.graph.producer[name], name, self.graph, self.target)
        read = self.read.get(name, 0.0)
        energy = read * _cheapest(read, self.target, "read")
        leaves = any(self.root_of(output) == name for output in self.graph.outputs)
        return energy if leaves else energy + size * _cheapest(size, self.target, "write")


def _data(node: Node, graph: Graph) -> list[str]:
    return [name for name in dict.fromkeys(node.inputs) if name and name not in graph.constants]


def _least_bytes(node: Node, value: str, graph: Graph, target: Target) -> float:
    """The fewest bytes a node can read or make of a value: whole floats where only the host can take it."""
    only_host = engines_for(node, graph, target) == [target.host[0]]
    return float(value_bytes(graph.types[value], on_host=only_host))


def _cheapest(size_bytes: float, target: Target, way: str) -> float:
    """The least pJ a byte among the memories that hold so much (among all where none does)."""
    memories = list(target.memories.values())
    able = [m for m in memories if size_bytes <= m.capacity_bytes.value] or memories
    return min((m.read_pj_per_byte if way == "read" else m.write_pj_per_byte).value for m in able)


def _port_ns(node: Node, graph: Graph, target: Target) -> float:
    """The least time that a node's largest value takes through a port, on an engine beside the host."""
    sizes = [
        value_bytes(graph.types[name], on_host=False)
        for name in (*_data(node, graph), *node.outputs)
        if name
    ]
    widest = max(memory.bytes_per_cycle.value for memory in target.memories.values())
    return max(sizes, default=0) / widest * target.cycle_ns


def _longest_chain(graph: Graph, ways: Iterable[list[Way]]) -> float:
    """The time of the longest chain of nodes, each on its fastest engine."""
    ready: dict[str, float] = {}
    for node, found in zip(graph, ways, strict=True):
        start = max((ready.get(name, 0.0) for name in node.inputs), default=0.0)
        end = start + min(way.latency_ns for way in found)
        ready.update(dict.fromkeys(node.outputs, end))
    return max(ready.values(), default=0.0)


# -- the weight load


def _least_load(ways: list[list[Way]], target: Target) -> float:
    """What loading weights adds at least (pJ): all from the dearest memory, less the most that nearer places can save."""
    homes = list(target.memories)[1:] or list(target.memories)
    dearest = max(homes, key=lambda home: target.memories[home].read_pj_per_byte.value)
    layers = [found for found in ways if any(way.load_pj for way in found)]
    kept = [min(way.energy_pj for way in found) for found in layers]
    base = [_least_with_load(found, dearest) for found in layers]
    bits = [min(way.weight_bits for way in found if way.load_pj) for found in layers]
    saved = _most_saved(base, kept, bits, _kept_bits(target))
    for home in homes:
        if home != dearest:
            near = [_least_with_load(found, home) for found in layers]
            room = 8.0 * target.memories[home].capacity_bytes.value
            saved += _most_saved(base, near, bits, room)
    return max(0.0, sum(base) - sum(kept) - saved)


def _least_with_load(found: list[Way], home: str) -> float:
    return min(way.energy_pj + way.load_pj.get(home, 0.0) for way in found)


def _most_saved(
    base: list[float], better: list[float], bits: list[float], room_bits: float
) -> float:
    """The most that room for some of the layers can save: the best saving a bit first, the last layer by its fraction."""
    gains = sorted(
        ((before - after, size) for before, after, size in zip(base, better, bits, strict=True)),
        key=lambda item: -item[0] / max(item[1], 1.0),
    )
    saved = 0.0
    for gain, size in gains:
        if gain <= 0 or room_bits <= 0:
            break
        saved += gain * min(1.0, room_bits / max(size, 1.0))
        room_bits -= size
    return saved


def _kept_bits(target: Target) -> float:
    """The bits of weights that the engines can hold between inferences."""
    kept = 0.0
    for unit in target.chip.engines.values():
        if isinstance(unit, Analog):
            cells = unit.arrays.value * unit.rows.value * unit.columns.value
            kept += cells * unit.cell_storage_bits.value
        elif isinstance(unit, Digital):
            kept += 8.0 * unit.weight_memory_bytes
    return kept
