"""Compares the macro formulas with silicon: a verdict for each row, and a summary of rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import hypot, log10
from statistics import median

from compiler.cost.efficiency import TOPS_PER_WATT_AT_ONE_FJ
from compiler.macros.model import Macro, energy_fj, one_bit_mac, silicon_of
from compiler.macros.reading import ALL_RULES, TYPICAL, UnpredictableError, macro_of
from compiler.macros.table import Row
from compiler.target.parts.constants import Components
from compiler.units import Estimate


@dataclass(frozen=True)
class Prediction:
    """A row by the formulas alone: the parts of a one-bit MAC in fJ.

    `own_spread` is how far, in log10, what its table leaves out could move their sum. `why_not`
    says why there is none, and then the rest is empty.
    """

    row: Row
    macro: Macro | None = None
    parts_fj: Mapping[str, Estimate] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    own_spread: float = 0.0
    is_drawn: bool = False
    why_not: str = ""

    @cached_property
    def energy_fj(self) -> float:
        """The sum of the parts."""
        return sum(part.value for part in self.parts_fj.values())

    @cached_property
    def measured_fj(self) -> float | None:
        """What was measured, as a one-bit MAC."""
        measured = self.row.measured_tops_w
        if measured is None or self.macro is None:
            return None
        return TOPS_PER_WATT_AT_ONE_FJ / measured / self.row.native_macs


@dataclass(frozen=True)
class Verdict:
    """A row with its prediction, at the bits of its measure.

    `why_not` says why there is none, and then the rest is empty. `spread` names the constant that
    the interval comes from, `own_spread` is what the gaps of its table add, in log10; `drawn` is
    the factor that the sum of the formulas was drawn by to what chips take.
    """

    row: Row
    tops_w: Estimate | None
    parts_fj: Mapping[str, Estimate] = field(default_factory=dict)
    assumed: tuple[str, ...] = ()
    why_not: str = ""
    spread: str = ""
    own_spread: float = 0.0
    drawn: float = 1.0

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


def predict(row: Row, components: Components, rules: Collection[str] = ALL_RULES) -> Prediction:
    """Computes a row by the formulas, or says why they do not apply."""
    try:
        macro, assumed = macro_of(row, components, rules=rules)
    except UnpredictableError as error:
        return Prediction(row, why_not=str(error))
    parts = one_bit_mac(macro, components)
    middle = log10(sum(part.value for part in parts.values()))
    return Prediction(
        row=row,
        macro=macro,
        parts_fj=parts,
        assumed=tuple(dict.fromkeys(assumed)),
        own_spread=_own_spread(row, components, rules, assumed, middle),
        is_drawn=TYPICAL in rules,
    )


def _own_spread(
    row: Row,
    components: Components,
    rules: Collection[str],
    assumed: Collection[str],
    middle: float,
) -> float:
    """Computes how far, in log10, what the table leaves out could move the sum of the parts."""
    spread = 0.0
    for name in dict.fromkeys(assumed):
        moved = []
        for end in (
            components.defaults[name].estimate.low,
            components.defaults[name].estimate.high,
        ):
            macro, _ = macro_of(row, components, {name: end}, rules)
            energy = sum(energy_fj(macro, silicon_of(macro, components)).values())
            moved.append(abs(log10(energy) - middle))
        spread = hypot(spread, max(moved))
    return spread


def judge(found: Prediction, components: Components) -> Verdict:
    """Turns a prediction into a verdict.

    The value is the sum of the parts, drawn to what such chips take where the formulas know little;
    the interval is how far silicon lies from such values.
    """
    if found.macro is None:
        return Verdict(found.row, None, why_not=found.why_not)
    drawn, own_spread = drawn_to_typical(found, found.macro, components)
    factor = 10 ** hypot(log10(components.constants[found.macro.spread].estimate.value), own_spread)
    native = found.row.native_macs
    value = TOPS_PER_WATT_AT_ONE_FJ / (found.energy_fj * drawn * native)
    return Verdict(
        row=found.row,
        tops_w=Estimate(value, value / factor, value * factor),
        parts_fj={name: part.times(drawn * native) for name, part in found.parts_fj.items()},
        assumed=found.assumed,
        spread=found.macro.spread,
        own_spread=own_spread,
        drawn=drawn,
    )


def drawn_to_typical(
    found: Prediction, macro: Macro, components: Components
) -> tuple[float, float]:
    """Computes the factor on the sum of the formulas, and what is left of the row's own spread.

    Formulas and typical chip are two estimates of one logarithm, weighted by the inverse of their
    variances: a processor's formulas are further off, and so are those of what is assumed.
    """
    if not found.is_drawn or not (found.own_spread or macro.is_system):
        return 1.0, found.own_spread
    constants = components.constants
    usual = log10(constants["usual_distance"].estimate.value)
    system = log10(constants["system_distance"].estimate.value) if macro.is_system else 0.0
    share = usual**2 / (usual**2 + found.own_spread**2 + system**2)
    typical_fj = constants[macro.typical].estimate.value
    return (typical_fj / found.energy_fj) ** (1 - share), share * found.own_spread


def verdict(row: Row, components: Components, rules: Collection[str] = ALL_RULES) -> Verdict:
    """Predicts a row and judges it."""
    return judge(predict(row, components, rules), components)


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
