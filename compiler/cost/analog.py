"""Computes what a matrix product on an analog array takes, and what loading its weights takes.

Drivers, cells, converters and recombination take energy. For every position and every tile of rows
and columns the array is activated once, in as many steps as the inputs have slices:

    conversion = steps * (activations * rows * column tiles * E_driver
                          + positions * physical columns * row tiles * E_converter)
    compute    = steps * positions * (rows * physical columns * E_cell
                                      + physical columns * row tiles * E_recombine)
    time       = steps * activations * tiles / parallel arrays * t_step

with physical columns = columns * weight slices and steps = ceil(input bits / bits a step). One
activation computes one position, or several neighbouring ones where the array is unrolled: then
`rows` are those of their patches together (compiler.ir.mapping.Unroll), and cells that hold zeros
for one of them take what others take. Unused rows are not driven and unused columns not converted
(gating); where the chip file gives the bitline an energy of its own, cells are counted along the
wires instead:

    cells      = drives * array columns * E_cell + conversions * array rows * E_bitline

Loading a tile takes rows * t_row, and the energy of its bits: read from the weights' memory once,
and written to the cells once for each copy.
"""

from __future__ import annotations

from compiler.cost.memory import product_transfers, read_energy, transfer_cycles
from compiler.cost.step import StepCost, clock_time, until_next_edge
from compiler.ir.mapping import AnalogMapping
from compiler.target.chip import Analog, Target
from compiler.units import Estimate, longest


def product_cost(
    mapping: AnalogMapping,
    input_bytes: float,
    output_bytes: float,
    input_home: str,
    output_home: str,
    engine: Analog,
    target: Target,
) -> StepCost:
    """Computes one layer on the array, without its weight load and without static power."""
    shape = mapping.shape
    steps = shape.groups * mapping.array_steps
    outputs = steps * shape.positions * mapping.physical_columns
    drivers = steps * mapping.unroll.activations * mapping.unroll.rows * mapping.column_tiles
    conversions = outputs * mapping.row_tiles
    conversion = engine.row_driver_pj.estimate.times(drivers) + engine.converter_pj.estimate.times(
        conversions
    )
    recombination = engine.recombine_pj.estimate.times(conversions)
    cells = outputs * mapping.unroll.rows
    compute = _cells(engine, cells, drivers, conversions) + recombination
    moved = product_transfers(
        input_bytes, mapping.input_reads, input_home, output_bytes, output_home, target
    )
    steps_ns = engine.step_ns.estimate.times(
        mapping.unroll.activations * mapping.rounds * mapping.array_steps
    )
    parts = {"compute": compute, "conversion": conversion, "memory": moved.energy_pj}
    return StepCost(_time_ns(steps_ns, moved.cycles, target), parts)


def _time_ns(array_ns: Estimate, port_cycles: Estimate, target: Target) -> Estimate:
    """Computes the time until both the arrays and the memories' ports are done, at an edge."""
    return longest([until_next_edge(array_ns, target.cycle), clock_time(port_cycles, target.cycle)])


def _cells(engine: Analog, used: int, drives: int, conversions: int) -> Estimate:
    """Adds up the used cells; with a bitline energy, all cells that drives or conversions reach."""
    if engine.bitline_pj is None:
        return engine.cell_pj.estimate.times(used)
    reached = engine.cell_pj.estimate.times(drives * engine.columns.value)
    return reached + engine.bitline_pj.estimate.times(conversions * engine.rows.value)


def load_cost(mapping: AnalogMapping, weight_home: str, engine: Analog, target: Target) -> StepCost:
    """Computes writing a layer's weights into the cells: a row time for each used row of a tile."""
    shape = mapping.shape
    read_bytes = shape.weights * mapping.weight_slices * engine.cell_storage_bits.value / 8
    written_bits = mapping.written_cells * engine.cell_storage_bits.value
    energy = read_energy(read_bytes, weight_home, target)
    energy += engine.write_pj_per_bit.estimate.times(written_bits)
    rows = shape.groups * mapping.unroll.rows * mapping.column_tiles
    rows_ns = engine.load_ns_per_row.estimate.times(rows)
    read = transfer_cycles(read_bytes, weight_home, target)
    return StepCost(_time_ns(rows_ns, read, target), {"weight_load": energy})
