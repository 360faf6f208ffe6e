"""Compares two plans metric by metric, and checks conditions on the change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from compiler.errors import UsageError, nearest, one_line
from compiler.figures import aligned, digits
from compiler.plan.schema import Plan

# The metrics, each with the unit it is printed in.
METRICS = {"energy": "uJ", "latency": "us", "peak_bytes": "bytes", "macs": "", "divergence": ""}
CONDITION = re.compile(r"\s*(\w+)\s*([<>])\s*([+-]?)\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Row:
    """One metric of both plans, in its unit."""

    metric: str
    before: float
    after: float

    @property
    def change(self) -> float:
        """The difference, after less before."""
        return self.after - self.before

    @property
    def percent(self) -> float:
        """The change in percent; infinite from nothing to something."""
        if self.change == 0:
            return 0.0
        return 100 * self.change / self.before if self.before else float("inf")

    @property
    def unit(self) -> str:
        """The unit with a space before it, or nothing."""
        return f" {METRICS[self.metric]}".rstrip()

    def table(self) -> dict[str, float | str]:
        """The row for JSON."""
        return {
            "unit": METRICS[self.metric],
            "a": self.before,
            "b": self.after,
            "change": self.change,
            "change_percent": self.percent,
        }


@dataclass(frozen=True)
class Condition:
    """A metric, a comparison, and a change (signed, perhaps in percent) or a value.

    Such as `energy>+3%`.
    """

    text: str
    metric: str
    above: bool
    number: float
    is_change: bool
    in_percent: bool

    def measured(self, rows: Sequence[Row]) -> float:
        """Finds the number that the condition compares."""
        row = next(row for row in rows if row.metric == self.metric)
        if self.in_percent:
            return row.percent
        return row.change if self.is_change else row.after

    def is_met(self, rows: Sequence[Row]) -> bool:
        """Whether the plans meet it."""
        found = self.measured(rows)
        return found > self.number if self.above else found < self.number

    def describe(self, rows: Sequence[Row]) -> str:
        """Puts the condition into words, with what was found."""
        row = next(row for row in rows if row.metric == self.metric)
        change = f"{'-' if row.percent < 0 else '+'}{digits(abs(row.percent))} %"
        before, after = _shown(row.metric, row.before), _shown(row.metric, row.after)
        found = f"{before} -> {after}{row.unit}, {change}"
        return f"{self.metric} is {found}, which is what --fail-if {self.text!r} forbids"


def parse_condition(text: str) -> Condition:
    """Parses a condition; UsageError (U004) for what is none."""
    shown = one_line(text)
    found = CONDITION.fullmatch(text)
    if found is None:
        raise UsageError(
            f"--fail-if {shown!r}: wanted METRIC, > or <, and a number",
            hint="such as 'energy>+3%' (a change) or 'latency>500' (a value, in us)",
        )
    metric, operator, sign, number, percent = found.groups()
    if metric not in METRICS:
        raise UsageError(
            f"--fail-if {shown!r}: no metric {metric!r}; there are: {', '.join(METRICS)}",
            hint=nearest(metric, list(METRICS)),
        )
    if percent and not sign:
        raise UsageError(
            f"--fail-if {shown!r}: a percentage is a change",
            hint=f"write {metric}{operator}+{number}%",
        )
    value = float(number) * (-1 if sign == "-" else 1)
    return Condition(
        text=shown,
        metric=metric,
        above=operator == ">",
        number=value,
        is_change=bool(sign),
        in_percent=bool(percent),
    )


def comparison(before: Plan, after: Plan) -> list[Row]:
    """Compares the metrics of two plans."""
    pairs = zip(_metrics(before), _metrics(after), strict=True)
    return [Row(name, one, other) for (name, one), (_, other) in pairs]


def _metrics(plan: Plan) -> list[tuple[str, float]]:
    return [
        ("energy", plan.energy_pj.total.value / 1e6),
        ("latency", plan.latency_ns.value / 1e3),
        ("peak_bytes", float(sum(plan.peak_bytes.values()))),
        ("macs", float(plan.macs.after)),
        ("divergence", plan.divergence),
    ]


def comparison_text(rows: Sequence[Row], before: Plan, after: Plan) -> str:
    """Prints the comparison as text."""
    names = [one_line(f"{plan.model.name} on {plan.target.name}") for plan in (before, after)]
    cells = [["metric", "A", "B", "change", "in %"]]
    for row in rows:
        label = f"{row.metric}, {METRICS[row.metric]}" if METRICS[row.metric] else row.metric
        shown = [_shown(row.metric, number) for number in (row.before, row.after, row.change)]
        cells.append([label, *shown, f"{row.percent:+,.2f}"])
    lines = [f"A  {names[0]}, plan {before.hash[:12]}", f"B  {names[1]}, plan {after.hash[:12]}"]
    return (
        "\n".join([*lines, "", *aligned(cells, right=(1, 2, 3, 4)), *_moved(before, after)]) + "\n"
    )


def _shown(metric: str, number: float) -> str:
    """Prints counts whole, and four digits of what is no count."""
    return f"{number:,.0f}" if metric in ("peak_bytes", "macs") else digits(number, 4)


def _moved(before: Plan, after: Plan) -> list[str]:
    """Lists the steps that changed engine, by name."""
    engines = {step.name: step.engine for step in before.steps}
    moved = [
        f"  {one_line(step.name)}: {engines[step.name]} -> {step.engine}, "
        f"{digits(step.energy_pj.total.value / 1e3)} nJ"
        for step in after.steps
        if engines.get(step.name, step.engine) != step.engine
    ]
    if not moved:
        return []
    more = [f"  ... and {len(moved) - 20} more"] if len(moved) > 20 else []
    return ["", "steps that changed engine:", *moved[:20], *more]
