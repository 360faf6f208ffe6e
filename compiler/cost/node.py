"""Computes what a node of a graph costs on an engine: counts its operations, prices them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from math import prod

from compiler.cost import analog, digital, host, odimo
from compiler.cost.layer_kind import layer_kind
from compiler.cost.memory import home_of, move, read_energy, weight_home
from compiler.cost.step import NOTHING, StepCost, with_power, with_static
from compiler.engines.legality import why_not_static
from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.mapping import AnalogMapping, DigitalMapping, NodeMapping
from compiler.ir.ops import (
    MOVEMENT,
    PRODUCTS,
    STANDARD_PRODUCTS,
    VIEWS,
    macs,
    work_inside,
)
from compiler.target.chip import Analog, Host, Target
from compiler.target.digital import Digital
from compiler.units import ZERO


def value_bytes(kind: TensorType, on_host: bool) -> int:
    """Computes the bytes of a value as an engine sees it: off the host floats are int8.

    An unknown size counts 0 (see `unmodelled`).
    """
    if not kind.is_static:
        return 0
    if not on_host and kind.quant is None and kind.dtype in ("float32", "float16", "float64"):
        return kind.elements
    return kind.size_bytes


def node_cost(
    node: Node,
    graph: Graph,
    mapping: NodeMapping,
    target: Target,
    *,
    homes: Mapping[str, str] | None = None,
) -> StepCost:
    """Computes a node in its mapping, with static power.

    Loading weights (`weight_load_cost`) and changing formats are not in it. `homes` names the
    memory of values and constants whose place is known; any other is taken to lie as near as its
    size allows.
    """
    homes = homes or {}
    on_host = isinstance(target.chip.engines[mapping.engine], Host)
    if node.op in VIEWS or (node.op == "DequantizeLinear" and not on_host):
        return NOTHING
    if node.op in (*PRODUCTS, *STANDARD_PRODUCTS, "Segment"):
        return _cost_of(node, graph, mapping, target, homes)
    key = _alike(node, graph, mapping.engine, homes)
    return _remembered(key, target, lambda: _cost_of(node, graph, mapping, target, homes))


def _remembered(
    key: tuple[Hashable, ...], target: Target, work_out: Callable[[], StepCost]
) -> StepCost:
    """Computes a cost at the first request and returns the stored one after it.

    The cost must depend on the key and the chip alone.
    """
    found: StepCost | None = target.costs.get(key)
    if found is None:
        found = target.costs[key] = work_out()
    return found


def _alike(node: Node, graph: Graph, engine: str, homes: Mapping[str, str]) -> tuple[Hashable, ...]:
    """Makes the key of a cost: all that the cost of a node that is no product depends on.

    Nodes with the same key cost the same, and long networks repeat themselves. Of a quantization
    only its presence is in the key.
    """
    key: list[Hashable] = [engine, node.op, *node.attrs.items(), len(node.inputs)]
    places: dict[str, int] = {}
    for position, name in enumerate(node.inputs):
        places.setdefault(name, position)
    for name in (*node.inputs, *node.outputs):
        if name:
            kind, first = graph.types[name], places.get(name, -1)
            known = name in graph.constants
            key += (first, known, homes.get(name), kind.dtype, kind.shape, kind.quant is None)
        else:
            key.append(None)
    return tuple(key)


def _cost_of(
    node: Node, graph: Graph, mapping: NodeMapping, target: Target, homes: Mapping[str, str]
) -> StepCost:
    """Computes `node_cost` for a node that computes or moves something."""
    unit = target.chip.engines[mapping.engine]
    data = [name for name in dict.fromkeys(node.inputs) if name and name not in graph.constants]
    in_floats = not mapping.format.takes_integers
    sizes_in = {name: value_bytes(graph.types[name], in_floats) for name in data}
    sizes_out = {name: value_bytes(graph.types[name], in_floats) for name in node.outputs if name}
    bytes_in, bytes_out = sum(sizes_in.values()), sum(sizes_out.values())
    home_in, home_out = (_home(sizes, homes, target) for sizes in (sizes_in, sizes_out))
    moved = (bytes_in, bytes_out, home_in, home_out)
    if isinstance(unit, Host):
        cost = _host_cost(node, graph, *moved, unit, target)
        cost = cost + _constant_reads(node, graph, homes, target)
    elif node.op in MOVEMENT:
        cost = move(bytes_in, home_in, bytes_out, home_out, target)
    elif isinstance(mapping, AnalogMapping):
        assert isinstance(unit, Analog)
        cost = analog.product_cost(mapping, *moved, unit, target)
        if unit.odimo is not None:
            time_ns = odimo.analog_ns(odimo.Layer.of(node, mapping.shape, graph), unit)
            cost = StepCost(time_ns, cost.parts)
    elif isinstance(mapping, DigitalMapping) and mapping.tiling is not None:
        assert isinstance(unit, Digital)
        assert unit.array is not None
        cost = digital.product_cost(mapping.tiling, *moved, unit.array, target)
        if unit.array.odimo is not None and unit.array.odimo.value:
            layer = odimo.Layer.of(node, mapping.tiling.shape, graph)
            time_ns = target.cycle.times(odimo.digital_cycles(layer, unit.array))
            cost = StepCost(time_ns, cost.parts)
    else:
        assert isinstance(unit, Digital)
        assert unit.vector is not None
        cost = digital.vector_cost(vector_operations(node, graph), *moved, unit.vector, target)
    return _powered(cost, unit, target)


def _powered(cost: StepCost, unit: Analog | Digital | Host, target: Target) -> StepCost:
    """Adds the power of the engine while it is busy, and the chip's common power."""
    active = None if isinstance(unit, Host) else unit.active_mw
    if active is not None:
        part = "weight_load" if "weight_load" in cost.parts else "compute"
        cost = with_power(cost, part, active.estimate)
    return with_static(cost, target.chip.static_mw.estimate)


def _home(sizes: Mapping[str, int], homes: Mapping[str, str], target: Target) -> str:
    """Finds the memory that values are charged to: the farthest that one of them lies in."""
    order = list(target.memories)
    found = [
        homes[name] if name in homes else home_of(size, target) for name, size in sizes.items()
    ]
    return max(found, key=order.index, default=order[0])


def weight_load_cost(mapping: NodeMapping, weight_home: str, target: Target) -> StepCost:
    """Computes loading a product's weights into its engine once, with static power.

    NOTHING for any other node, and on the host, which reads weights where they lie.
    """
    unit = target.chip.engines[mapping.engine]
    if isinstance(mapping, AnalogMapping):
        assert isinstance(unit, Analog)
        cost = analog.load_cost(mapping, weight_home, unit, target)
        if unit.odimo is not None:
            cost = StepCost(odimo.load_ns(mapping.shape, unit), cost.parts)
    elif isinstance(mapping, DigitalMapping) and mapping.tiling is not None:
        assert isinstance(unit, Digital)
        assert unit.array is not None
        size_bytes = mapping.tiling.shape.weights * unit.array.number_bytes
        cost = digital.load_cost(size_bytes, weight_home, unit.array, target)
        if unit.array.odimo is not None and unit.array.odimo.value:
            return StepCost(ZERO, cost.parts)
    else:
        return NOTHING
    return _powered(cost, unit, target)


def conversion_cost(elements: int, float_bytes: int, to_float: bool, target: Target) -> StepCost:
    """Computes changing a value from float to int8 or back: one pass of the host."""
    key = ("conversion", elements, float_bytes, to_float)
    read, written = (elements, float_bytes) if to_float else (float_bytes, elements)
    return _remembered(key, target, lambda: _host_pass(elements, read, written, target))


def _host_pass(elements: int, read: int, written: int, target: Target) -> StepCost:
    """Computes a pass of the host over so many elements, of so many bytes read and written."""
    _, unit = target.host
    work = host.HostWork(elements=elements)
    cost = host.host_cost(
        work, read, written, home_of(read, target), home_of(written, target), unit, target
    )
    return _powered(cost, unit, target)


def requantize_cost(elements: int, engine: str, target: Target) -> StepCost:
    """Computes changing int8 to an analog array's input format: one pass of an engine.

    A digital engine does it on its vector unit, else the host does it.
    """
    key = ("requantize", elements, engine)
    if isinstance(target.chip.engines[engine], Digital):
        return _remembered(key, target, lambda: _vector_pass(elements, engine, target))
    return _remembered(key, target, lambda: _host_pass(elements, elements, elements, target))


def _vector_pass(elements: int, engine: str, target: Target) -> StepCost:
    """Computes a pass of a digital engine's vector unit over so many bytes."""
    unit, home = target.chip.engines[engine], home_of(elements, target)
    assert isinstance(unit, Digital)
    assert unit.vector is not None
    cost = digital.vector_cost(elements, elements, elements, home, home, unit.vector, target)
    return _powered(cost, unit, target)


def requantizing_engine(target: Target) -> str:
    """Finds the engine that changes one integer format to another."""
    for name, unit in target.digital_engines.items():
        if "Requantize" in unit.vector_operations:
            return name
    return target.host[0]


def vector_operations(node: Node, graph: Graph) -> int:
    """Counts a node's elementwise operations: results times the window that each reads."""
    out = graph.types[node.outputs[0]].elements
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return graph.types[node.inputs[0]].elements
    window = prod(node.ints("kernel", node.ints("kernel_shape", ())))
    return out * max(1, window)


def _host_cost(
    node: Node,
    graph: Graph,
    bytes_in: int,
    bytes_out: int,
    home_in: str,
    home_out: str,
    unit: Host,
    target: Target,
) -> StepCost:
    names = (*node.inputs[:1], *node.outputs)
    sizes = [graph.types[n].elements for n in names if n and graph.types[n].is_static]
    elements = max(sizes, default=0)
    functions = elements if node.op in host.FUNCTIONS else 0
    if node.op == "Segment":
        inside = work_inside(node, graph).elements
        elements = max(elements, sum(inside.values()))
        functions = sum(count for op, count in inside.items() if op in host.FUNCTIONS)
    kind = layer_kind(node, graph)
    work = host.HostWork(
        macs=macs(node, graph),
        elements=elements,
        functions=functions,
        pooled=_pooled(node, graph) if kind == "pool" else 0,
        kind=kind,
    )
    return host.host_cost(work, bytes_in, bytes_out, home_in, home_out, unit, target)


def _pooled(node: Node, graph: Graph) -> int:
    """Counts the elements in the windows of a pool; 0 where its sizes are unknown."""
    ends = (node.inputs[0], node.outputs[0])
    return vector_operations(node, graph) if all(graph.types[n].is_static for n in ends) else 0


def _constant_reads(node: Node, graph: Graph, homes: Mapping[str, str], target: Target) -> StepCost:
    """Computes the host's reads of constants where they lie, in every inference."""
    memory = ZERO
    for name in dict.fromkeys(node.inputs):
        if name in graph.constants:
            size = graph.types[name].size_bytes
            memory = memory + read_energy(
                size, homes.get(name, weight_home(0, size, target)), target
            )
    return StepCost(ZERO, {"memory": memory})


def unmodelled(node: Node, graph: Graph) -> str:
    """Explains why a node's energy is not (fully) modelled; an empty string where it is."""
    if node.op == "Segment" and (unknown := work_inside(node, graph).unknown):
        return unknown
    return why_not_static(node, graph)
