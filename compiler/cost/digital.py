"""Computes matrix products on a digital engine's array, and elementwise nodes on its vector unit.

An array computes a block of `columns` output channels x `positions` neighbouring outputs at a time,
`rows` of the patch in a step:

    blocks  = groups * ceil(K / columns) * blocks of positions
    steps   = blocks * ceil(patch rows / rows)
    cycles  = steps of the busiest array * cycles a step + its blocks * overhead
              + (input + output bytes) / port width, all times the array's scale
    compute = MACs * E_mac + idle lanes * E_idle
              + outputs * ceil(patch rows / rows) * E_accumulate
              + weight bytes read * E_weight

with as many weight bytes read as each block of positions needs, and none where the array holds the
weights. Idle lanes are those of all steps that have no MAC to do; where the chip file gives them no
energy, they are gated.

With one row, one array and one cycle a step the cycles are those of DIANA's model in ODiMO
(hw_models.py).
"""

from __future__ import annotations

from math import ceil

from compiler.cost.memory import product_transfers, read_energy, transfer_cycles, write_energy
from compiler.cost.step import StepCost, clock_time, whole_cycles
from compiler.ir.mapping import DigitalTiling
from compiler.target.chip import Target
from compiler.target.digital import MacArray, VectorUnit
from compiler.units import Estimate, longest


def product_cost(
    tiling: DigitalTiling,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    array: MacArray,
    target: Target,
) -> StepCost:
    """Computes one layer on the array, without its weight load and without static power."""
    compute = _compute(tiling, array)
    moved = product_transfers(
        input_bytes, tiling.input_reads, input_home, output_bytes, output_home, target
    )
    block = array.cycles_of(tiling.row_steps) + array.overhead_cycles
    port = array.activation_bytes_per_cycle.estimate.inverse(input_bytes + output_bytes)
    computed = block.times(tiling.rounds) + whole_cycles(port)
    if array.cycle_scale is not None:
        computed = computed * array.cycle_scale.estimate
    cycles = longest([computed, moved.cycles])
    parts = {"compute": compute, "memory": moved.energy_pj}
    return StepCost(clock_time(cycles, target.cycle), parts)


def _compute(tiling: DigitalTiling, array: MacArray) -> Estimate:
    """Adds up MACs, idle lanes, accumulations and weight reads, each where it has an energy."""
    shape = tiling.shape
    energy = array.mac_pj.estimate.times(shape.macs)
    if array.idle_lane_pj is not None:
        idle = tiling.lane_steps - shape.macs
        energy += array.idle_lane_pj.estimate.times(idle)
    if array.accumulate_pj is not None:
        used = shape.positions * shape.columns * shape.groups * ceil(shape.rows / array.row_lanes)
        energy += array.accumulate_pj.estimate.times(used)
    if array.weight_read_pj_per_byte is not None:
        energy += array.weight_read_pj_per_byte.estimate.times(tiling.weight_bytes_read)
    return energy


def load_cost(weight_bytes: int, weight_home: str, array: MacArray, target: Target) -> StepCost:
    """Computes moving a layer's int8 weights from their memory into the engine's weight memory."""
    energy = read_energy(
        weight_bytes, weight_home, target
    ) + array.weight_write_pj_per_byte.estimate.times(weight_bytes)
    written = array.weight_load_bytes_per_cycle.estimate.inverse(weight_bytes)
    cycles = longest([written, transfer_cycles(weight_bytes, weight_home, target)])
    return StepCost(clock_time(cycles, target.cycle), {"weight_load": energy})


def vector_cost(
    operations: int,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    vector: VectorUnit,
    target: Target,
) -> StepCost:
    """Computes elementwise operations: operations / lanes cycles, values read and written once."""
    compute = vector.operation_pj.estimate.times(operations)
    memory = read_energy(input_bytes, input_home, target) + write_energy(
        output_bytes, output_home, target
    )
    cycles = longest(
        [
            vector.elements_per_cycle.estimate.inverse(operations),
            transfer_cycles(input_bytes, input_home, target),
            transfer_cycles(output_bytes, output_home, target),
        ]
    )
    return StepCost(clock_time(cycles, target.cycle), {"compute": compute, "memory": memory})
