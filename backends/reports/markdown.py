"""Prints the report as Markdown, for a README, a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator

from backends.reports.tables import Table, engines_table, parts_table, pruning_table, steps_table
from backends.reports.text import MOST_STEPS, figures
from backends.reports.verdict import verdict, worst
from compiler.errors import one_line
from compiler.plan.schema import Plan


def markdown(plan: Plan, everything: bool = False) -> str:
    """Prints the report.

    Of a long model it shows the steps that take the most energy, unless `everything` is asked for.
    """
    lines = [
        f"# {safe(plan.model.name)} on {safe(plan.target.name)}",
        "",
        *(f"{safe(sentence)}." for sentence in verdict(plan)),
        f"Worst: {safe(worst(plan))}.",
        "",
        "## Steps",
        "",
        *_lines(steps_table(plan, None if everything else MOST_STEPS)),
        "",
        "## Energy",
        "",
        *_lines(parts_table(plan)),
        "",
        *_lines(engines_table(plan)),
        "",
    ]
    if plan.pruning:
        lines += ["## Pruning", "", *_lines(pruning_table(plan)), ""]
    lines += ["## Figures", ""]
    lines += [f"- **{label}**: {safe(words)}" for label, words in figures(plan)]
    return "\n".join(lines) + "\n"


def safe(text: str) -> str:
    """Escapes a stranger's text so that Markdown and HTML do not interpret it."""
    shown = one_line(text, limit=1200).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in shown)


def _lines(table: Table) -> Iterator[str]:
    rule = ["---:" if column in table.right else "---" for column in range(len(table.head))]
    rows = [[safe(word) for word in row] for row in (table.head, *table.rows, table.total)]
    for row in (rows[0], rule, *rows[1:]):
        yield f"| {' | '.join(row)} |"
