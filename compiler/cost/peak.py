"""Computes an engine's peak from its chip's constants, to compare with published figures.

At the peak every array is full and busy, at the bits that a figure was published for. One
activation of an analog array of R x K cells, with weights of d slices (d from the bits of a weight
and the levels of a cell) and inputs in s steps, computes M = R floor(K / d) MACs; one step of a
digital array computes M = all its lanes. By scope the energy covers

    array    analog:  s (R E_driver + K E_converter + R K (E_cell + E_bitline))
             digital: M E_mac + outputs E_accumulate
    engine   the array, and recombination s K E_recombine or the weights read for a step,
             the inputs read from the nearest memory, the outputs written to it,
             a vector operation an output, and the power that the engine takes while busy
    chip     the engine, and the chip's common power over the time

    TOPS   = 2 M arrays / time,  time = s t_step or cycles a step
    TOPS/W = 2 M arrays / energy in pJ

An array of one row accumulates its outputs while a patch's rows go by: at the peak the patch is
taken as endless, so no output is written. Left out: memories beyond the nearest, the host, and
loading weights into the array.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from compiler.cost.efficiency import tops, tops_per_watt
from compiler.cost.memory import read_energy, write_energy
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital, MacArray
from compiler.target.published import Published
from compiler.units import ZERO, Estimate

# Published figures have two or three digits.
ROUNDING = 0.005


@dataclass(frozen=True)
class Comparison:
    """A published figure, in TOPS or TOPS/W, and what the chip's constants give."""

    published: Published
    unit: str
    figure: float
    predicted: Estimate

    @property
    def ratio(self) -> float:
        """Predicted over published."""
        return self.predicted.value / self.figure

    @property
    def is_inside(self) -> bool:
        """Whether the interval holds the published figure, as it was rounded."""
        low, high = self.predicted.low, self.predicted.high
        return low * (1 - ROUNDING) <= self.figure <= high * (1 + ROUNDING)

    @property
    def name(self) -> str:
        """Which peak this is, in words."""
        bits = "/".join(
            f"{count:g}"
            for count in (
                self.published.input_bits,
                self.published.weight_bits,
                self.published.output_bits,
            )
        )
        return f"{self.unit}, {self.published.engine}, {bits} bit, {self.published.scope}"


def comparisons(target: Target) -> list[Comparison]:
    """Computes every figure in a chip's list of published peaks, in its order."""
    found = []
    for published in target.chip.published:
        predicted = peak(published, target)
        for unit, figure in published.figures.items():
            found.append(Comparison(published, unit, figure, predicted[unit]))
    return found


@dataclass(frozen=True)
class _Activation:
    """What all arrays do at once: MACs, energy of arrays and of the rest (pJ), and time (ns)."""

    macs: int
    array_pj: Estimate
    rest_pj: Estimate
    time_ns: Estimate


def peak(published: Published, target: Target) -> dict[str, Estimate]:
    """Computes {"TOPS", "TOPS/W"} of the published figure's engine at its bits and scope."""
    unit = target.chip.engines[published.engine]
    if isinstance(unit, Analog):
        activation = _analog(published, unit, target)
    else:
        assert isinstance(unit, Digital)
        assert unit.array is not None
        activation = _digital(published, unit.array, target)
    energy = activation.array_pj
    if published.scope != "array":
        energy += activation.rest_pj
        if unit.active_mw is not None:
            energy += unit.active_mw.estimate * activation.time_ns
    if published.scope == "chip":
        energy += target.chip.static_mw.estimate * activation.time_ns
    return {
        "TOPS": tops(activation.macs, activation.time_ns),
        "TOPS/W": tops_per_watt(activation.macs, energy),
    }


def weight_slices(weight_bits: float, levels: int) -> int:
    """Counts the slices, each in a cell, of a weight of so many bits.

    A balanced cell counts as its next power of two (15 levels hold 4 bits).
    """
    return ceil(weight_bits / log2(levels + levels % 2) - 1e-9)


def _analog(published: Published, unit: Analog, target: Target) -> _Activation:
    rows, columns, arrays = unit.rows.value, unit.columns.value, unit.arrays.value
    steps = 1
    if unit.input_bits_per_step is not None:
        steps = ceil(published.input_bits / unit.bits_per_step)
    outputs = columns // weight_slices(published.weight_bits, unit.cell_levels.value)
    array = (
        unit.row_driver_pj.estimate.times(rows)
        + unit.converter_pj.estimate.times(columns)
        + _cell(unit).times(rows * columns)
    ).times(steps * arrays)
    rest = unit.recombine_pj.estimate.times(steps * columns) + _moved(
        published, rows, outputs, target
    )
    time_ns = unit.step_ns.estimate.times(steps)
    return _Activation(rows * outputs * arrays, array, rest.times(arrays), time_ns)


def _cell(unit: Analog) -> Estimate:
    """A cell with its bitline."""
    return unit.cell_pj.estimate + (unit.bitline_pj.estimate if unit.bitline_pj else ZERO)


def _digital(published: Published, array: MacArray, target: Target) -> _Activation:
    outputs = array.columns.value * array.position_lanes
    energy = array.mac_pj.estimate.times(array.lanes)
    if array.accumulate_pj is not None:
        energy += array.accumulate_pj.estimate.times(outputs)
    written = outputs if array.row_lanes > 1 else 0
    rest = _moved(published, array.row_lanes * array.position_lanes, written, target)
    if array.weight_read_pj_per_byte is not None:
        rest += array.weight_read_pj_per_byte.estimate.times(array.array_bytes)
    time_ns = array.cycles_of(1) * target.cycle
    count = array.array_count
    return _Activation(array.lanes * count, energy.times(count), rest.times(count), time_ns)


def _moved(published: Published, inputs: int, outputs: int, target: Target) -> Estimate:
    """Computes reading inputs from the nearest memory and writing outputs to it.

    Outputs pass the vector unit.
    """
    nearest = next(iter(target.memories))
    vectors = [unit.vector for unit in target.digital_engines.values() if unit.vector]
    vector = vectors[0] if vectors else None
    operation = vector.operation_pj.estimate if vector else ZERO
    return (
        read_energy(inputs * published.input_bits / 8, nearest, target)
        + write_energy(outputs * published.output_bits / 8, nearest, target)
        + operation.times(outputs)
    )
