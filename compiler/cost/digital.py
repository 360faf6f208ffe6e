"""Work on the digital engine: matrix products on its multiply-accumulate array, and elementwise work on its vector unit.

The array holds `columns` output channels x `positions` neighbouring outputs; a block of that size takes one cycle a row of the patch:

    cycles = groups * ceil(K / columns) * blocks of positions * (rows + overhead) + (input + output bytes) / port width
    compute = MACs * E_mac + weight bytes read * E_weight,  weight bytes = blocks * rows * min(K, columns)

(DIANA's cycle model in ODiMO, facts/chips.md 2.3; idle lanes are taken as gated.)
"""

from __future__ import annotations

from math import ceil

from compiler.cost.memory import read_energy, transfer_ns, write_energy
from compiler.cost.step import StepCost
from compiler.mapping import DigitalLayout
from compiler.target import Digital, Target


def product_cost(
    layout: DigitalLayout,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    engine: Digital,
    target: Target,
) -> StepCost:
    """One layer on the array, without its weight load and without static power."""
    shape = layout.shape
    compute = engine.mac_pj.estimate.times(
        shape.macs
    ) + engine.weight_read_pj_per_byte.estimate.times(layout.weight_bytes_read)
    memory = read_energy(input_bytes * layout.input_reads, input_home, target) + write_energy(
        output_bytes, output_home, target
    )
    cycles = layout.blocks * (shape.rows + engine.block_overhead_cycles.value)
    cycles += ceil((input_bytes + output_bytes) / engine.activation_bytes_per_cycle.value)
    latency_ns = cycles * target.cycle_ns
    transfers_ns = transfer_ns(input_bytes * layout.input_reads, input_home, target)
    transfers_ns += transfer_ns(output_bytes, output_home, target)
    return StepCost(max(latency_ns, transfers_ns), {"compute": compute, "memory": memory})


def load_cost(weight_bytes: int, weight_home: str, engine: Digital, target: Target) -> StepCost:
    """Bringing a layer's int8 weights from their memory into the engine's weight memory."""
    energy = read_energy(
        weight_bytes, weight_home, target
    ) + engine.weight_write_pj_per_byte.estimate.times(weight_bytes)
    cycles = ceil(weight_bytes / engine.weight_load_bytes_per_cycle.value)
    latency_ns = max(cycles * target.cycle_ns, transfer_ns(weight_bytes, weight_home, target))
    return StepCost(latency_ns, {"weight_load": energy})


def vector_cost(
    operations: int,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    engine: Digital,
    target: Target,
) -> StepCost:
    """Elementwise work: operations / lanes cycles, every value read and written once."""
    compute = engine.vector_pj.estimate.times(operations)
    memory = read_energy(input_bytes, input_home, target) + write_energy(
        output_bytes, output_home, target
    )
    cycles = ceil(operations / engine.vector_elements_per_cycle.value)
    transfers_ns = max(
        transfer_ns(input_bytes, input_home, target),
        transfer_ns(output_bytes, output_home, target),
    )
    return StepCost(
        max(cycles * target.cycle_ns, transfers_ns), {"compute": compute, "memory": memory}
    )
