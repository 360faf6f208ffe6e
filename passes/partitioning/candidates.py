"""Builds every node's candidates, with their costs, and what couples the nodes."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from compiler.choices import Weights
from compiler.cost.links import link_cost
from compiler.cost.memory import weight_homes
from compiler.cost.node import (
    conversion_cost,
    node_cost,
    requantize_cost,
    requantizing_engine,
    value_bytes,
    weight_load_cost,
)
from compiler.cost.step import NOTHING
from compiler.engines.legality import why_not
from compiler.engines.mapping import analog_mappings, map_digital
from compiler.ir.formats import INT8, Format
from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.mapping import AnalogMapping, HostMapping, Resource
from compiler.ir.ops import FORMATS, MOVEMENT, VIEWS, product_shape
from compiler.target.chip import Analog, Host, Target
from compiler.target.digital import Digital
from passes.calibration.rounded_inputs import readers_of_rounded, rounding_divergence
from passes.partitioning.problem import Candidate, FormatBoundary, Problem, Transfer


def build_problem(
    graph: Graph,
    target: Target,
    weights: Weights,
    max_divergence: float,
) -> Problem:
    """Builds the candidates of every node and what couples them.

    Raises CapacityError when the weights fit no memory.
    """
    homes = _weight_homes(graph, target)
    candidates, refusals = [], []
    for index, node in enumerate(graph.nodes):
        found, refused = _node_candidates(node, graph, target, weights, homes[index])
        candidates.append(tuple(found))
        refusals.append(tuple(refused))
    return Problem(
        candidates=tuple(candidates),
        refusals=tuple(refusals),
        boundaries=tuple(_boundaries(graph, target)),
        capacities=_capacities(target),
        max_divergence=max_divergence,
        weight_homes=tuple(homes),
        transfers=tuple(_transfers(graph, target)),
    )


def _capacities(target: Target) -> dict[Resource, int]:
    """Finds the room for weights of each engine that has any."""
    columns = {
        Resource(name, "columns"): unit.total_columns
        for name, unit in target.analog_engines.items()
    }
    weight_bytes = {
        Resource(name, "weight_bytes"): unit.weight_memory_bytes
        for name, unit in target.digital_engines.items()
    }
    return {**columns, **weight_bytes}


def _weight_homes(graph: Graph, target: Target) -> list[str]:
    """Finds the memory that stores each node's weights, in node order.

    int8 for products, as stored for the rest.
    """
    sizes_bytes = []
    for node in graph:
        shape = product_shape(node, graph)
        stored = [graph.types[name].size_bytes for name in node.inputs if name in graph.constants]
        sizes_bytes.append(shape.weights if shape is not None else sum(stored))
    return weight_homes(sizes_bytes, target)


def _node_candidates(
    node: Node, graph: Graph, target: Target, weights: Weights, home: str
) -> tuple[list[Candidate], list[tuple[str, str]]]:
    """Builds a node's candidates, and lists the engines that cannot take it, with the reasons.

    Where weights must stay, no engine that would reload them is considered beside one that need
    not.
    """
    found: list[Candidate] = []
    refused: list[tuple[str, str]] = []
    for name, engine in target.chip.engines.items():
        reason = why_not(name, node, graph, target) or _why_not_calibrated(node, graph, engine)
        if reason:
            refused.append((name, reason))
        elif isinstance(engine, Analog):
            found += _analog_candidates(node, graph, name, engine, target, weights, home)
        elif isinstance(engine, Digital):
            found += _digital_candidates(node, graph, name, engine, target, weights, home)
        else:
            homes = {value: home for value in node.inputs if value in graph.constants}
            mapping = HostMapping(engine=name)
            cost = node_cost(node, graph, mapping, target, homes=homes)
            found.append(Candidate(mapping=mapping, cost=cost))
    if weights == "resident" and any(one.loads and one.resident for one in found):
        found = [one for one in found if one.resident or not one.loads]
    return found, refused


def _why_not_calibrated(node: Node, graph: Graph, engine: Analog | Digital | Host) -> str:
    """Explains why a node's numbers cannot have an integer format, or gives an empty string.

    Calibration did not reach them.
    """
    if isinstance(engine, Host) or graph.calibration is None:
        return ""
    values = (
        [*node.inputs[:2], *node.outputs]
        if node.op != "Product"
        else [node.inputs[0], *node.outputs]
    )
    for value in values:
        kind = graph.types.get(value)
        if not value or kind is None or value in graph.constants or kind.quant is not None:
            continue
        if kind.dtype in ("float16", "float64", "bfloat16"):
            return f"{value!r} is {kind.dtype}, and the engine's formats are fitted to float32"
        if kind.dtype == "float32" and value not in graph.calibration.ranges:
            return f"calibration found no range for {value!r}"
    if node.op not in (*VIEWS, *MOVEMENT, *FORMATS, "MaxPool"):
        known = graph.calibration.divergence.get(node.name)
        native = graph.types[node.outputs[0]].quant is not None
        if known is None and not (native and isinstance(engine, Digital)):
            return "calibration could not measure its divergence"
    return ""


def _divergence(node: Node, graph: Graph, form: Format) -> float:
    if graph.calibration is None:
        return 0.0
    return graph.calibration.divergence.get(node.name, {}).get(form, 0.0)


def _analog_candidates(
    node: Node,
    graph: Graph,
    name: str,
    engine: Analog,
    target: Target,
    weights: Weights,
    home: str,
) -> list[Candidate]:
    """Builds a product's candidates: each format measured for the engine, each unroll.

    Resident and reloaded. Its input is sent to the engine that requantizes it, and from there on.
    """
    known = graph.calibration.divergence.get(node.name, {}) if graph.calibration else {}
    elements = graph.types[node.inputs[0]].elements
    reads_on = requantizing_engine(target)
    input_bytes = elements * ceil(engine.input_bits.value / 8)
    requantize = requantize_cost(elements, reads_on, target)
    requantize = requantize + link_cost(input_bytes, reads_on, name, target)
    formats = [Format.analog(name, count) for count in range(1, engine.max_digits.value + 1)]
    found = []
    for form in formats:
        if form not in known:
            continue
        for reloaded in analog_mappings(node, graph, form, engine):
            for resident in _modes(weights, reloaded.tiles <= engine.arrays.value):
                mapping = replace(reloaded, resident=resident)
                cost = node_cost(node, graph, mapping, target) + requantize
                if not resident:
                    cost = cost + weight_load_cost(mapping, home, target)
                found.append(
                    Candidate(
                        mapping=mapping,
                        cost=cost,
                        divergence=known[form],
                        loads=True,
                        reads_on=reads_on,
                    )
                )
    return [one for one in found if not any(_is_better(other, one) for other in found)]


def _is_better(one: Candidate, other: Candidate) -> bool:
    """Whether a candidate beats another of the same format in energy, time and room.

    Then the other need not be considered.
    """
    if (one.mapping.format, one.resident) != (other.mapping.format, other.resident):
        return False
    mine, its = _requirements(one), _requirements(other)
    return mine < its and all(a <= b for a, b in zip(mine[:3], its[:3], strict=True))


def _requirements(one: Candidate) -> tuple[float, float, int, int]:
    """Lists energy (pJ), time (ns), room, and copies of the weights in the arrays."""
    assert isinstance(one.mapping, AnalogMapping)
    room = sum(one.uses.values())
    return one.cost.energy_pj.value, one.cost.latency_ns, room, one.mapping.copies


def _digital_candidates(
    node: Node,
    graph: Graph,
    name: str,
    engine: Digital,
    target: Target,
    weights: Weights,
    home: str,
) -> list[Candidate]:
    """Builds a node's candidates on a digital engine; a product resident and reloaded."""
    divergence = _divergence(node, graph, INT8)
    mapping = map_digital(node, graph, name, engine, resident=True)
    cost = node_cost(node, graph, mapping, target)
    if mapping.tiling is None:
        return [Candidate(mapping=mapping, cost=cost, divergence=divergence)]
    load = weight_load_cost(mapping, home, target)
    return [
        Candidate(
            mapping=replace(mapping, resident=resident),
            cost=cost if resident else cost + load,
            divergence=divergence,
            loads=True,
        )
        for resident in _modes(weights, mapping.tiling.weight_bytes <= engine.weight_memory_bytes)
    ]


def _modes(weights: Weights, fits: bool) -> list[bool]:
    """Lists the weight modes to consider: resident only where it fits.

    Where it must be and cannot, the layer reloads there, unless another engine can hold it.
    """
    if weights == "reload" or not fits:
        return [False]
    return [True] if weights == "resident" else [True, False]


def _has_two_forms(kind: TensorType) -> bool:
    """Whether a value may be floats or integers; quantized and non-float ones have one form."""
    return kind.quant is None and kind.dtype == "float32" and kind.is_static


def _transfers(graph: Graph, target: Target) -> list[Transfer]:
    """Finds the values that the chip's links may send, with what each link takes for them."""
    if not target.links:
        return []
    position = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs if name}
    index = {node.name: i for i, node in enumerate(graph.nodes)}
    found = []
    for value in [*graph.inputs, *position]:
        kind = graph.types[value]
        size_bytes = value_bytes(kind, on_host=False)
        costs = {ends: link_cost(size_bytes, *ends, target) for ends in target.links}
        readers = dict.fromkeys(index[node.name] for node in graph.consumers.get(value, ()))
        found.append(
            Transfer(
                value=value,
                maker=position.get(value),
                readers=tuple(readers),
                costs={ends: cost for ends, cost in costs.items() if cost is not NOTHING},
                host=target.host[0],
                converts=_has_two_forms(kind),
                ends_as_floats=_has_two_forms(kind) and value in graph.outputs,
            )
        )
    return found


def _boundaries(graph: Graph, target: Target) -> list[FormatBoundary]:
    """Finds the float values that some engine may want as integers.

    Quantized and non-float values have one form only.
    """
    position = {name: i for i, node in enumerate(graph.nodes) for name in node.outputs if name}
    index = {node.name: i for i, node in enumerate(graph.nodes)}
    found = []
    for value in [*graph.inputs, *position]:
        kind = graph.types[value]
        if not _has_two_forms(kind):
            continue
        readers = tuple(index[node.name] for node in graph.consumers.get(value, ()))
        size = value_bytes(kind, on_host=True)
        found.append(
            FormatBoundary(
                value=value,
                maker=position.get(value),
                readers=readers,
                is_output=value in graph.outputs,
                to_integers=conversion_cost(kind.elements, size, False, target),
                to_floats=conversion_cost(kind.elements, size, True, target),
                divergence=rounding_divergence(value, graph),
                rounded_for=tuple(index[node.name] for node in readers_of_rounded(value, graph)),
            )
        )
    return found
