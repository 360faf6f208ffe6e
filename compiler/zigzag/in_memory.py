"""Writes ZigZag's in-memory arrays as engines of a chip file.

The library's formulas are used with ZigZag's own constants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

from compiler.errors import TargetError
from compiler.target.chip import load_target
from compiler.target.components import with_own_constants
from compiler.target.parts.component import Value
from compiler.target.parts.resolve import resolved
from compiler.units import Estimate
from compiler.zigzag.source import Source

# The chip that holds ZigZag-IMC's constants, which every in-memory array of ZigZag has.
PROFILE = "zigzag_aimc"


@dataclass(frozen=True)
class Roles:
    """What the dimensions of an array are taken as."""

    rows: int
    columns: int
    positions: int
    arrays: int


def analog_lines(source: Source) -> Iterator[str]:
    """Writes the analog engine; raises TargetError where no memory holds its weights."""
    roles = in_memory_roles(source)
    inputs, weights = source.array.input_precision
    step, bits = step_bits(source), source.array.adc_resolution or 0.0
    yield "\n[engines.analog]"
    yield 'kind = "analog"'
    yield source.whole("arrays", roles.arrays, "operational_array.sizes")
    yield source.whole("rows", roles.rows, "operational_array.sizes: the second dimension")
    columns = roles.columns * weights
    yield source.whole(
        "columns",
        columns,
        f"operational_array.sizes: the first dimension, {weights} columns each",
    )
    yield source.whole("cell_levels", 2, "ZigZag's cells hold one bit")
    yield source.whole("cell_storage_bits", 1, "ZigZag's cells hold one bit")
    yield source.whole("max_digits", weights, "operational_array.input_precision")
    yield source.whole("input_bits", inputs, "operational_array.input_precision")
    yield source.whole("input_bits_per_step", int(step), "operational_array.bit_serial_precision")
    yield source.whole("converter_bits", int(bits), "operational_array.adc_resolution")
    yield source.statement("takes_groups", True, "ZigZag maps depthwise layers on in-memory arrays")
    yield source.number("converter_noise_lsb", 0, "ZigZag models no noise")
    serial = f"input_bits = {inputs}, input_bits_per_step = {step:g}"
    sizes = f"rows = {roles.rows}, converter_bits = {bits:g}, slices = {weights}"
    yield f'step_ns = {{ component = "analog_step", {sizes}, {serial} }}'
    yield 'cell_pj = { component = "analog_cell", has_capacitor = false, has_bitline = false }'
    yield 'bitline_pj = { component = "analog_bitline" }'
    driven = f"columns = {columns}, input_bits = {step:g}"
    yield f'row_driver_pj = {{ component = "row_driver", {driven} }}'
    yield f'converter_pj = {{ component = "converter", kind = "sar", bits = {bits:g} }}'
    added = f"slices = {weights}, converter_bits = {bits:g}"
    yield f'recombine_pj = {{ component = "recombination", {added}, {serial} }}'
    yield source.number("load_ns_per_row", step_ns(source), "assumption: a row a cycle", exact=True)
    cells = next(iter(source.registers("I2").items()), None)
    if cells is None:
        raise TargetError(f"{source.file}: no memory holds the weights (I2) at the array")
    name, memory = cells
    width = memory.port_bits("write")
    cost = source.access_pj(name, "write")
    origin = source.key(f"memories.{name}.w_cost {cost:g} for {width} bits")
    yield source.number("write_pj_per_bit", cost / width, origin)
    if memory.size > weights:
        source.note(f"memories.{name}.size {memory.size} bits: a cell keeps one weight here")
    yield ""


def in_memory_roles(source: Source) -> Roles:
    """Finds the roles of an in-memory array's dimensions.

    The first dimension is outputs, the second inputs, the rest further macros.
    """
    sizes = list(source.array.extents.values())
    for operand in ("I1", "O"):
        for name in source.registers(operand):
            source.note(f"memories.{name}: registers at the array's edges are not charged")
    return Roles(sizes[1], sizes[0], 1, prod(sizes[2:]))


def step_bits(source: Source) -> float:
    """Returns the input bits that enter in one step."""
    return source.array.bit_serial_precision or 1.0


def step_count(source: Source) -> int:
    """Counts the steps of an input."""
    return ceil(source.array.input_precision[0] / step_bits(source))


def step_ns(source: Source) -> float:
    """Computes one step of the array as ZigZag times it: its cycle."""
    roles = in_memory_roles(source)
    inputs, weights = source.array.input_precision
    given: dict[str, Value] = {
        "rows": roles.rows, "input_bits": inputs, "input_bits_per_step": step_bits(source),
    }  # fmt: skip
    if source.array.imc_type == "analog":
        given |= {"converter_bits": source.array.adc_resolution or 1.0, "slices": weights}
    else:
        given |= {"weight_bits": weights}
    constants = with_own_constants(load_target(PROFILE).chip.components)
    component = (
        f"{source.array.imc_type}{'_array' if source.array.imc_type == 'digital' else ''}_step"
    )
    return resolved(component, given, constants, 28, Estimate.exact(0.9)).estimate.value


def profile_lines(source: Source) -> Iterator[str]:
    """Writes ZigZag-IMC's constants."""
    for name, quantity in load_target(PROFILE).chip.components.items():
        yield source.number(name, quantity.value, quantity.source)
