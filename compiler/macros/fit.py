"""Measures what chips take and how far silicon lies from predictions, by kind of macro.

The spread of a kind is the quantile at COVERAGE of the distance between prediction and measure,
each chip counted once: the chips of that kind, and all others at the weight of POOL chips together,
as no kind has many. What a row's own gaps explain is taken off first. What chips take is the
median over them. Nothing else is fitted.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from math import log10, sqrt

from compiler.macros.model import SPREADS
from compiler.macros.reading import ALL_RULES
from compiler.macros.table import Row
from compiler.macros.validation import Prediction, Verdict, drawn_to_typical, judge, predict
from compiler.target.parts.constants import Components
from compiler.units import Estimate

# The share of chips within the stated interval; a little above the 80 % that are promised.
COVERAGE = 0.83
# The chips that all other kinds of macro weigh in the spread of one kind.
POOL = 8.0
DIGITS = 4
# The spread where there is no chip to learn it from.
UNKNOWN = 10.0


def compared(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Keeps the rows that are predicted and measured."""
    return [found for found in verdicts if found.log_error is not None]


def fit(rows: Sequence[Row], components: Components) -> Components:
    """Returns the components with what these rows take and how far they lie from predictions."""
    return learn([predict(row, components) for row in rows], components)


def learn(predictions: Sequence[Prediction], components: Components) -> Components:
    """Returns the components with what these predictions and their measures show."""
    return with_spreads(predictions, with_typical(predictions, components))


def with_typical(predictions: Sequence[Prediction], components: Components) -> Components:
    """Returns the components with the median energy of the chips, each counted once.

    Where there is none of a kind it stays.
    """
    energies = defaultdict(list)
    counts = Counter(found.row.chip for found in predictions if found.measured_fj is not None)
    for found in predictions:
        if found.macro is not None and found.measured_fj is not None:
            weight = 1 / counts[found.row.chip]
            energies[found.macro.typical].append((log10(found.measured_fj), weight))
    values = {name: _rounded(10 ** _quantile(sorted(e), 0.5)) for name, e in energies.items()}
    return components.with_values({n: Estimate.exact(value) for n, value in values.items()})


def with_spreads(predictions: Sequence[Prediction], components: Components) -> Components:
    """Returns the components with the spreads that these predictions and their measures show."""
    counts = Counter(found.row.chip for found in predictions if found.measured_fj is not None)
    sizes = []
    for found in predictions:
        if found.macro is not None and found.measured_fj is not None:
            drawn, own_spread = drawn_to_typical(found, found.macro, components)
            error = log10(found.energy_fj * drawn / found.measured_fj)
            size = sqrt(max(0.0, error**2 - own_spread**2))
            sizes.append((size, found.macro.spread, 1 / counts[found.row.chip]))
    sizes.sort()
    values = {}
    for name in (f"spread_{kind}" for kind in SPREADS):
        others = sum(weight for _, spread, weight in sizes if spread != name)
        share = POOL / max(others, POOL)
        weighted = [
            (size, weight if spread == name else weight * share) for size, spread, weight in sizes
        ]
        factor = 10 ** _quantile(weighted, COVERAGE) if weighted else UNKNOWN
        values[name] = Estimate.exact(_rounded(factor))
    return components.with_values(values)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _quantile(weighted: Sequence[tuple[float, float]], share: float) -> float:
    """Interpolates the quantile of ascending sizes, each at the middle of its weight."""
    wanted = share * sum(weight for _, weight in weighted)
    below, before = 0.0, weighted[0]
    place = weighted[0][1] / 2
    for size, weight in weighted:
        here = below + weight / 2
        if here >= wanted:
            if here <= place or size == before[0]:
                return size
            return before[0] + (size - before[0]) * (wanted - place) / (here - place)
        below, before, place = below + weight, (size, weight), here
    return weighted[-1][0]


def leave_one_chip_out(
    rows: Sequence[Row], components: Components, rules: Collection[str] = ALL_RULES
) -> list[Verdict]:
    """Predicts every row with typical energies and spreads measured without its chip."""
    predictions = [predict(row, components, rules) for row in rows]
    return [
        judge(found, learnt)
        for found, learnt in zip(
            predictions, learnt_without_chips(predictions, components), strict=True
        )
    ]


def learnt_without_chips(
    predictions: Sequence[Prediction], components: Components
) -> list[Components]:
    """Learns, for every prediction, from those of all other chips."""
    chips = sorted({found.row.chip for found in predictions})
    without = {
        chip: learn([found for found in predictions if found.row.chip != chip], components)
        for chip in chips
    }
    return [without[found.row.chip] for found in predictions]
