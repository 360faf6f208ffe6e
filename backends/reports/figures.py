"""Prints numbers for people: units that suit the size, intervals, shares, aligned columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from compiler.errors import one_line
from compiler.units import Estimate


@dataclass(frozen=True)
class Scale:
    """A unit for a whole column: `per` base units (pJ, ns) are one of it.

    Always three decimals, so that columns add up.
    """

    unit: str
    per: float

    def show(self, amount: float) -> str:
        """Prints an amount without its unit."""
        return f"{amount / self.per:,.3f}"

    def interval(self, estimate: Estimate) -> str:
        """Prints an estimate as 'value [low, high]'."""
        low, high = self.show(estimate.low), self.show(estimate.high)
        return f"{self.show(estimate.value)} [{low}, {high}]"


ENERGY_SCALES = (Scale("pJ", 1.0), Scale("nJ", 1e3), Scale("uJ", 1e6), Scale("mJ", 1e9))
TIME_SCALES = (Scale("ns", 1.0), Scale("us", 1e3), Scale("ms", 1e6), Scale("s", 1e9))


def energy_scale(largest_pj: float) -> Scale:
    """Chooses the unit for energies up to this one."""
    return _scale(ENERGY_SCALES, largest_pj)


def time_scale(largest_ns: float) -> Scale:
    """Chooses the unit for times up to this one."""
    return _scale(TIME_SCALES, largest_ns)


def _scale(scales: Sequence[Scale], largest: float) -> Scale:
    """Chooses the largest unit of which there are a hundred, so that small steps stay visible."""
    fitting = [scale for scale in scales if largest >= 100 * scale.per]
    return fitting[-1] if fitting else scales[0]


def energy(amount_pj: float) -> str:
    """Prints an energy in three digits with its unit."""
    return _short(ENERGY_SCALES, amount_pj)


def time(amount_ns: float) -> str:
    """Prints a time in three digits with its unit."""
    return _short(TIME_SCALES, amount_ns)


def energy_interval(estimate: Estimate) -> str:
    """Prints an energy as 'value [low, high] unit', in three digits."""
    return _interval(ENERGY_SCALES, estimate)


def time_interval(estimate: Estimate) -> str:
    """Prints a time as 'value [low, high] unit', in three digits."""
    return _interval(TIME_SCALES, estimate)


def _interval(scales: Sequence[Scale], estimate: Estimate) -> str:
    scale = next((s for s in reversed(scales) if estimate.value >= s.per), scales[0])
    value, low, high = (
        digits(amount / scale.per) for amount in (estimate.value, estimate.low, estimate.high)
    )
    return f"{value} [{low}, {high}] {scale.unit}"


def _short(scales: Sequence[Scale], amount: float) -> str:
    scale = next((s for s in reversed(scales) if abs(amount) >= s.per), scales[0])
    return f"{digits(amount / scale.per)} {scale.unit}"


def digits(number: float) -> str:
    """Prints a number in three significant digits, without an exponent where that is readable."""
    if number == 0:
        return "0"
    if 99.95 <= abs(number) < 1e9:
        return f"{number:,.0f}"
    return f"{number:#.3g}".replace("e-0", "e-").replace("e+0", "e+")


def share(part: float, whole: float) -> str:
    """Prints a part of a whole in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def count(number: int, noun: str) -> str:
    """Prints a number with its noun: '1 step', '2 steps'."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def clipped(text: str, limit: int) -> str:
    """Prints a stranger's text on one line, shortened in its middle where it is too long.

    Names differ most at their ends.
    """
    shown = one_line(text)
    if len(shown) <= limit:
        return shown
    tail = (limit - 2) * 2 // 3
    return f"{shown[: limit - 2 - tail]}..{shown[-tail:]}"


def aligned(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Aligns rows of cells in columns; those in `right` are flush right. Nothing trails."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
