"""Computes what one step of a full array takes, part by part, for architects to check an array by.

Every row is driven, every column converted, every lane busy; inputs enter with as many bits as a
step takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital, MacArray
from compiler.target.quantity import ComponentQuantity, Quantity
from compiler.units import Estimate, total


@dataclass(frozen=True)
class ArrayStep:
    """One step of one array of an engine: its time in ns, and its energy in pJ by part.

    The parts add up to `energy_pj`.
    """

    engine: str
    describes: str
    time_ns: Estimate
    parts_pj: Mapping[str, Estimate]

    @property
    def energy_pj(self) -> Estimate:
        """The sum of the parts."""
        return total(list(self.parts_pj.values()))


def array_steps(target: Target) -> list[ArrayStep]:
    """Computes a step of each engine of a chip that has an array, in the order of the chip file."""
    found = []
    for name, engine in target.chip.engines.items():
        if isinstance(engine, Analog):
            found.append(_analog(name, engine))
        elif isinstance(engine, Digital) and engine.array is not None:
            found.append(_digital(name, engine.array, target))
    return found


def _analog(name: str, engine: Analog) -> ArrayStep:
    rows, columns = engine.rows.value, engine.columns.value
    parts = {
        **_parts("row_driver", engine.row_driver_pj, rows),
        **_parts("cell", engine.cell_pj, rows * columns),
        **_parts("bitline", engine.bitline_pj, rows * columns),
        **_parts("converter", engine.converter_pj, columns),
        **_parts("recombine", engine.recombine_pj, columns),
    }
    bits = engine.bits_per_step
    plural = "s" if bits > 1 else ""
    describes = f"{rows} rows driven with {bits} bit{plural} each, {columns} columns converted"
    return ArrayStep(name, describes, engine.step_ns.estimate, parts)


def _digital(name: str, array: MacArray, target: Target) -> ArrayStep:
    outputs = array.columns.value * array.position_lanes
    read = 0 if array.is_in_memory else array.array_bytes
    parts = {
        **_parts("mac", array.mac_pj, array.lanes),
        **_parts("accumulate", array.accumulate_pj, outputs),
        **_parts("weight_read", array.weight_read_pj_per_byte, read),
    }
    cycles = array.step_cycles
    plural = "s" if cycles > 1 else ""
    time_ns = array.cycles_of(1) * target.cycle
    return ArrayStep(name, f"{array.lanes} lanes, {cycles} cycle{plural}", time_ns, parts)


def _parts(name: str, quantity: Quantity | None, count: int) -> dict[str, Estimate]:
    """Multiplies a quantity by a count, part by part where a component gave the quantity."""
    if quantity is None or not count:
        return {}
    if not isinstance(quantity, ComponentQuantity):
        return {name: quantity.estimate.times(count)}
    inner = {part: estimate.times(count) for part, estimate in quantity.parts.items()}
    return {f"{name}.{part}": estimate for part, estimate in inner.items() if estimate.high > 0}
