"""A lower bound on the energy and time of any plan for a graph on a chip, whatever the mapping or the schedule.

Every term is a minimum that no assignment can go below:

    E >= sum over products of min over engines( MACs or cells, drivers and conversions of full tiles )
       + model inputs and outputs moved once at the cheapest memory + static power * T
    T >= the longest of: every product on its fastest engine with all lanes busy

The bound with the weight load adds, for the weights beyond what the engines can keep, one read at the cheapest memory. It ignores
re-reads, partial tiles, activations between layers, elementwise work, accuracy and changes of format, so only tiny plans come near it.
"""

from __future__ import annotations

from math import ceil, inf

from compiler.digital_engine import Digital
from compiler.ir import Graph
from compiler.ops import ProductShape, product_shape
from compiler.target import Analog, Host, Target


def lower_bound(graph: Graph, target: Target) -> dict[str, float]:
    """{energy_pj, energy_with_load_pj, latency_ns}: values of the constants, not their lower ends."""
    shapes = [shape for node in graph if (shape := product_shape(node, graph)) is not None]
    latency_ns = max(
        (min(_time(s, unit, target) for unit in target.chip.engines.values()) for s in shapes),
        default=0.0,
    )
    array = sum(
        min(_array_energy(s, unit) for unit in target.chip.engines.values()) for s in shapes
    )
    ports = sum(
        graph.types[name].elements for name in (*graph.inputs, *graph.outputs) if graph.types[name].is_static
    )  # fmt: skip
    cheapest = min(memory.read_pj_per_byte.value for memory in target.memories.values())
    energy = array + ports * cheapest + target.chip.static_mw.value * latency_ns
    kept = _kept_weights(target)
    bits = sum(shape.weights for shape in shapes) * _fewest_bits(target)
    beyond = max(0.0, bits - kept) / 8
    return {
        "energy_pj": energy,
        "energy_with_load_pj": energy + beyond * cheapest,
        "latency_ns": latency_ns,
    }


def _array_energy(shape: ProductShape, unit: Analog | Digital | Host) -> float:
    """The least a product can cost on an engine: one digit a weight, full tiles, every lane used."""
    if isinstance(unit, Digital):
        return shape.macs * unit.array.mac_pj.value if unit.array else inf
    if isinstance(unit, Host):
        return shape.macs * unit.cycles_per_mac.value * unit.cycle_pj.value
    uses = shape.positions * shape.groups * unit.steps
    drivers = uses * shape.rows * ceil(shape.columns / unit.columns.value)
    conversions = uses * shape.columns * ceil(shape.rows / unit.rows.value)
    return (
        drivers * unit.row_driver_pj.value
        + conversions * (unit.converter_pj.value + unit.recombine_pj.value)
        + shape.macs * unit.steps * unit.cell_pj.value
    )


def _time(shape: ProductShape, unit: Analog | Digital | Host, target: Target) -> float:
    if isinstance(unit, Digital):
        if unit.array is None:
            return inf
        steps = shape.macs / unit.array.lanes / unit.array.array_count
        return steps * unit.array.step_cycles * target.cycle_ns
    if isinstance(unit, Host):
        return shape.macs * unit.cycles_per_mac.value * target.cycle_ns
    return shape.positions * unit.steps * unit.step_ns.value


def _kept_weights(target: Target) -> float:
    """The bits of weights that the engines can hold between inferences."""
    kept = 0.0
    if target.analog:
        unit = target.analog[1]
        cells = unit.arrays.value * unit.rows.value * unit.columns.value
        kept += cells * unit.cell_storage_bits.value
    if target.digital:
        kept += 8 * target.digital[1].weight_memory_bytes
    return kept


def _fewest_bits(target: Target) -> float:
    """The fewest bits a weight can be stored in: one digit where there is an analog engine, else int8."""
    return float(target.analog[1].cell_storage_bits.value) if target.analog else 8.0
