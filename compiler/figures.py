"""Prints numbers for people: units that suit the size, intervals, shares, aligned columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from compiler.errors import one_line
from compiler.units import Estimate


@dataclass(frozen=True)
class Scale:
    """A unit for a whole column: `per` base units (pJ, ns) are one of it.

    Its `decimals` show a thousandth of the largest amount, so that the column adds up and no digit
    stands in it that means nothing.
    """

    unit: str
    per: float
    decimals: int = 3

    def show(self, amount: float) -> str:
        """Prints an amount without its unit."""
        return f"{amount / self.per:,.{self.decimals}f}"

    def interval(self, estimate: Estimate) -> str:
        """Prints an estimate as 'value [low, high]', in as many digits as its interval leaves."""
        most = significant(estimate)
        value, low, high = (
            digits(amount / self.per, most)
            for amount in (estimate.value, estimate.low, estimate.high)
        )
        return f"{value} [{low}, {high}]"


ENERGY_SCALES = (Scale("pJ", 1.0), Scale("nJ", 1e3), Scale("uJ", 1e6), Scale("mJ", 1e9))
TIME_SCALES = (Scale("ns", 1.0), Scale("us", 1e3), Scale("ms", 1e6), Scale("s", 1e9))


def energy_scale(largest_pj: float) -> Scale:
    """Chooses the unit and decimals for energies up to this one."""
    return _column_scale(ENERGY_SCALES, largest_pj)


def time_scale(largest_ns: float) -> Scale:
    """Chooses the unit and decimals for times up to this one."""
    return _column_scale(TIME_SCALES, largest_ns)


def _column_scale(scales: Sequence[Scale], largest: float) -> Scale:
    """Chooses the largest unit of which there is one, with four digits of the largest amount."""
    scale = _scale(scales, largest)
    whole = largest / scale.per
    before = math.floor(math.log10(whole)) + 1 if whole > 0 else 1
    return replace(scale, decimals=min(max(4 - before, 0), 3))


def _scale(scales: Sequence[Scale], amount: float) -> Scale:
    """Chooses the largest unit of which the amount has one."""
    return next((scale for scale in reversed(scales) if abs(amount) >= scale.per), scales[0])


def energy(amount_pj: float) -> str:
    """Prints an energy in three digits with its unit."""
    return _short(ENERGY_SCALES, amount_pj)


def time(amount_ns: float) -> str:
    """Prints a time in three digits with its unit."""
    return _short(TIME_SCALES, amount_ns)


def energy_interval(estimate: Estimate) -> str:
    """Prints an energy as 'value [low, high] unit', in the digits that its interval leaves."""
    scale = _scale(ENERGY_SCALES, estimate.value)
    return f"{scale.interval(estimate)} {scale.unit}"


def time_interval(estimate: Estimate) -> str:
    """Prints a time as 'value [low, high] unit', in the digits that its interval leaves."""
    scale = _scale(TIME_SCALES, estimate.value)
    return f"{scale.interval(estimate)} {scale.unit}"


def _short(scales: Sequence[Scale], amount: float) -> str:
    scale = _scale(scales, amount)
    return f"{digits(amount / scale.per)} {scale.unit}"


def significant(estimate: Estimate) -> int:
    """Chooses the significant digits of an estimate: the last is about a tenth of its interval.

    Two where the interval is wider than a fifth of the value, up to four; three of an exact one.
    """
    width = estimate.high - estimate.low
    if width <= 0 or estimate.value <= 0:
        return 3
    return 2 if width > 0.2 * estimate.value else 3 if width > 0.02 * estimate.value else 4


def digits(number: float, most: int = 3) -> str:
    """Prints a number in `most` significant digits, without an exponent where that is readable."""
    if number == 0 or not math.isfinite(number):
        return "0" if number == 0 else str(number)
    rounded = float(f"{number:.{most - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    if not -5 < exponent < 9:
        return f"{number:.{most - 1}e}".replace("e-0", "e-").replace("e+0", "e+")
    return f"{rounded:,.{max(most - 1 - exponent, 0)}f}"


def share(part: float, whole: float) -> str:
    """Prints a part of a whole in percent."""
    percent = f"{100 * part / whole:.1f}" if whole else "0"
    return f"{percent.removesuffix('.0') if percent in ('0.0', '100.0') else percent} %"


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
