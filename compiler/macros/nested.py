"""Chooses the rules that rows are read by without the chip that is predicted.

For each chip the form of the formulas (all rules, one of them left out, or none) is the one with
the least error on the other chips, and typical energies and spreads are those of the other chips
under it; only then is the chip predicted. So error and intervals include what the choice costs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from compiler.macros.fit import compared, leave_one_chip_out
from compiler.macros.reading import ALL_RULES, RULES
from compiler.macros.table import Row
from compiler.macros.validation import Verdict
from compiler.target.parts.constants import Components

FORMS: Mapping[str, frozenset[str]] = {
    "all rules": ALL_RULES,
    **{f"without {name}": ALL_RULES - {name} for name in RULES},
    "no rule": frozenset(),
}


@dataclass(frozen=True)
class FormResult:
    """How a form did: its error over all chips, and for how many of them the others chose it.

    `error` is the mean over chips of |log10(predicted / measured)|. Forms are chosen by it, so that
    of the best is too good.
    """

    name: str
    error: float
    chosen: int


@dataclass(frozen=True)
class Nested:
    """The verdicts, each by the form that the other chips chose, and how the forms did."""

    verdicts: tuple[Verdict, ...]
    forms: tuple[FormResult, ...]


def chip_errors(verdicts: Sequence[Verdict]) -> dict[str, float]:
    """Computes the mean |log10(predicted / measured)| of the rows of each chip."""
    errors = defaultdict(list)
    for found in compared(verdicts):
        errors[found.row.chip].append(abs(found.log_error or 0.0))
    return {chip: mean(sizes) for chip, sizes in sorted(errors.items())}


def nested(rows: Sequence[Row], components: Components) -> Nested:
    """Predicts every row with rules, typical energies and spreads chosen without its chip."""
    verdicts = {name: leave_one_chip_out(rows, components, rules) for name, rules in FORMS.items()}
    errors = {name: chip_errors(found) for name, found in verdicts.items()}
    over_all = {name: mean(found.values()) if found else 0.0 for name, found in errors.items()}
    whole = _best(over_all)
    chosen = {
        chip: _best({name: _without(found, chip) for name, found in errors.items()})
        for chip in errors[whole]
    }
    counts = Counter(chosen.values())
    return Nested(
        verdicts=tuple(verdicts[chosen.get(row.chip, whole)][at] for at, row in enumerate(rows)),
        forms=tuple(FormResult(name, over_all[name], counts[name]) for name in FORMS),
    )


def _without(errors: Mapping[str, float], chip: str) -> float:
    others = [error for name, error in errors.items() if name != chip]
    return mean(others) if others else 0.0


def _best(errors: Mapping[str, float]) -> str:
    """Names the form of the least error; of equal ones the first."""
    return min(errors, key=lambda name: errors[name])
