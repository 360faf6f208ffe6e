"""Compares the macro formulas with silicon: a verdict for each row, and a summary of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot, log10
from statistics import median

from compiler.cost.efficiency import TOPS_PER_WATT_AT_ONE_FJ
from compiler.macros.model import energy_fj, one_bit_mac, silicon_of
from compiler.macros.table import Row, UnpredictableError, macro_of
from compiler.target.parts.constants import Components
from compiler.units import Estimate


@dataclass(frozen=True)
class Verdict:
    """A row with its prediction, at the bits of its measure.

    `why_not` says why there is none, and then the rest is empty.
    """

    row: Row
    tops_w: Estimate | None
    parts_fj: Mapping[str, Estimate] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    why_not: str = ""

    @property
    def log_error(self) -> float | None:
        """log10(predicted / measured), or None where one of them is missing."""
        if self.tops_w is None or self.row.measured_tops_w is None:
            return None
        return log10(self.tops_w.value / self.row.measured_tops_w)

    @property
    def is_inside(self) -> bool:
        """Whether the measure lies in the interval."""
        measured = self.row.measured_tops_w
        return (
            self.tops_w is not None
            and measured is not None
            and self.tops_w.low <= measured <= self.tops_w.high
        )


def log_energy(row: Row, components: Components, changed: Mapping[str, float]) -> float:
    """Computes log10 of the fJ of a one-bit MAC; `changed` replaces defaults."""
    macro, _ = macro_of(row, components, changed)
    return log10(sum(energy_fj(macro, silicon_of(macro, components)).values()))


def assumed_spread(row: Row, components: Components) -> float:
    """Computes how far, in log10, what the table leaves out could move the prediction."""
    _, assumed = macro_of(row, components)
    middle = log_energy(row, components, {})
    spread = 0.0
    for name in assumed:
        ends = components.defaults[name].estimate
        moved = [log_energy(row, components, {name: end}) for end in (ends.low, ends.high)]
        spread = hypot(spread, max(abs(end - middle) for end in moved))
    return spread


def verdict(row: Row, components: Components) -> Verdict:
    """Predicts a row.

    The value is the sum of the parts, the interval is how far silicon lies from such sums.
    """
    try:
        macro, assumed = macro_of(row, components)
    except UnpredictableError as error:
        return Verdict(row, None, why_not=str(error))
    parts = one_bit_mac(macro, components)
    energy = sum(part.value for part in parts.values()) * row.native_macs
    silicon = log10(components.constants["spread_factor"].estimate.value)
    factor = 10 ** hypot(silicon, assumed_spread(row, components))
    value = TOPS_PER_WATT_AT_ONE_FJ / energy
    scaled = {name: part.times(row.native_macs) for name, part in parts.items()}
    names = tuple(dict.fromkeys(assumed))
    return Verdict(row, Estimate(value, value / factor, value * factor), scaled, names)


@dataclass(frozen=True)
class Summary:
    """The summary of a set of verdicts; shares are of the rows that are predicted and measured."""

    rows: int
    compared: int
    mean_log_error: float
    bias: float
    within_30_percent: float
    within_2x: float
    inside: float
    median_width: float


def summary(verdicts: Sequence[Verdict]) -> Summary | None:
    """Summarizes verdicts, or returns None where nothing can be compared."""
    found = [(v, e, v.tops_w) for v in verdicts if (e := v.log_error) is not None and v.tops_w]
    if not found:
        return None
    errors = [error for _, error, _ in found]
    count = len(found)
    return Summary(
        rows=len(verdicts),
        compared=count,
        mean_log_error=sum(abs(error) for error in errors) / count,
        bias=sum(errors) / count,
        within_30_percent=sum(0.7 <= 10**error <= 1.3 for error in errors) / count,
        within_2x=sum(abs(error) <= log10(2) for error in errors) / count,
        inside=sum(v.is_inside for v, _, _ in found) / count,
        median_width=median(interval.high / interval.low for _, _, interval in found),
    )
