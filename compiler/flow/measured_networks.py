"""Compares whole plans with the energy and the rate that others measured of the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from math import isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.errors import one_line
from compiler.storage.csv_rows import CsvForm, read_csv, rows_of
from compiler.units import Estimate

if TYPE_CHECKING:
    from compiler.plan.schema import Plan

SHIPPED = "measured_networks.csv"
FORM = CsvForm(
    "measured networks",
    wanted=("chip", "model", "energy_uj", "inferences_per_s"),
    hint="wanted is a csv file with the columns chip, model, energy_uj, inferences_per_s and "
    "perhaps derived, scope, source (docs/energy.md)",
)
NANOSECONDS = 1e9
PICOJOULES_IN_A_MICROJOULE = 1e6


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A row of the table: what was measured of a network on a chip, None where nothing was.

    `derived` names the numbers of the chip file that were computed from this very row: there a
    prediction says nothing new. `scope` says what the measured energy covers.
    """

    line: int
    chip: str
    model: str
    energy_uj: float | None
    inferences_per_s: float | None
    derived: str = ""
    scope: str = ""
    source: str = ""


@dataclass(frozen=True)
class Figure:
    """A prediction with its interval beside what was measured, None where nothing was."""

    predicted: Estimate
    measured: float | None

    @property
    def ratio(self) -> float | None:
        """Predicted over measured."""
        return None if self.measured is None else self.predicted.value / self.measured

    @property
    def is_inside(self) -> bool:
        """Whether the measured figure lies in the interval."""
        low, high = self.predicted.low, self.predicted.high
        return self.measured is not None and low <= self.measured <= high


@dataclass(frozen=True)
class Comparison:
    """A measurement with what a plan says of it; without a plan with the reason."""

    row: Measurement
    energy: Figure | None = None
    rate: Figure | None = None
    why_not: str = ""

    @property
    def is_judged(self) -> bool:
        """Whether there is a plan that the chip file took no number from this row for."""
        return self.energy is not None and not self.row.derived


@dataclass(frozen=True)
class Summary:
    """The summary of figures that were judged; shares are of those that were measured."""

    compared: int
    mean_log_error: float
    within_1_25: int
    within_1_5: int
    inside: int


def shipped_measurements() -> list[Measurement]:
    """Reads the measurements that are shipped: those of the chips that are."""
    data = (resources.files("compiler") / "targets" / SHIPPED).read_bytes()
    return _measurements(rows_of(data, SHIPPED, FORM), SHIPPED)


def read_measurements(path: Path) -> list[Measurement]:
    """Reads a table of measurements.

    Raises UsageError where it cannot be read and ModelError (M009) where it is no such table.
    """
    return _measurements(read_csv(path, FORM), one_line(str(path)))


def compare(row: Measurement, plan: Plan) -> Comparison:
    """Compares a plan of the row's network on its chip with what was measured."""
    energy, latency = plan.energy_pj.total, plan.latency_ns
    in_uj = Estimate(energy.value, energy.low, energy.high).times(1 / PICOJOULES_IN_A_MICROJOULE)
    per_s = Estimate(*(NANOSECONDS / end for end in (latency.value, latency.high, latency.low)))
    return Comparison(row, Figure(in_uj, row.energy_uj), Figure(per_s, row.inferences_per_s))


def compare_all(
    rows: Sequence[Measurement], plan_of: Callable[[Measurement], Plan | str]
) -> list[Comparison]:
    """Compares all rows with their plans; `plan_of` gives a text where a row has none."""
    found = []
    for row in rows:
        plan = plan_of(row)
        made = Comparison(row, why_not=plan) if isinstance(plan, str) else compare(row, plan)
        found.append(made)
    return found


def summary(figures: Sequence[Figure]) -> Summary | None:
    """Summarizes figures, or returns None where none was measured."""
    measured = [(figure, ratio) for figure in figures if (ratio := figure.ratio) is not None]
    if not measured:
        return None
    errors = [abs(log10(ratio)) for _, ratio in measured]
    return Summary(
        compared=len(measured),
        mean_log_error=sum(errors) / len(errors),
        within_1_25=sum(error <= log10(1.25) for error in errors),
        within_1_5=sum(error <= log10(1.5) for error in errors),
        inside=sum(figure.is_inside for figure, _ in measured),
    )


def _measurements(rows: list[tuple[int, dict[str, str]]], shown: str) -> list[Measurement]:
    if not rows:
        raise FORM.broken(shown, "it has no row under its first line")
    found = []
    for line, cells in rows:
        for name in ("chip", "model"):
            if not cells[name]:
                raise FORM.broken(shown, f"line {line} gives no {name}")
        energy, rate = (
            _number(cells[name], name, line, shown) for name in ("energy_uj", "inferences_per_s")
        )
        if energy is None and rate is None:
            raise FORM.broken(shown, f"line {line} gives neither energy_uj nor inferences_per_s")
        found.append(
            Measurement(
                line=line,
                chip=cells["chip"],
                model=cells["model"],
                energy_uj=energy,
                inferences_per_s=rate,
                derived=cells.get("derived", ""),
                scope=cells.get("scope", ""),
                source=cells.get("source", ""),
            )
        )
    return found


def _number(text: str, name: str, line: int, shown: str) -> float | None:
    """Reads a positive number; None for an empty cell."""
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (isfinite(value) and 1e-9 < value < 1e15):
        why = f"line {line}: the {name} {one_line(text, 40)!r} is no positive number"
        raise FORM.broken(shown, why)
    return value
