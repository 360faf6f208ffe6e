"""The partition report of a plan, in four forms: text, markdown, JSON and CSV."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from compiler.plan.schema import Plan

Form: TypeAlias = Literal["text", "markdown", "json", "csv"]
FORMS: Final[tuple[Form, ...]] = ("text", "markdown", "json", "csv")


def render_report(plan: Plan, form: Form = "text", everything: bool = False) -> str:
    """The report in one form, ending in a newline.

    Text and markdown show all steps only when `everything` is asked for.
    """
    from backends.reports import data, markdown, text

    if form == "json":
        return data.json_text(plan)
    if form == "csv":
        return data.csv_text(plan)
    if form == "markdown":
        return markdown.markdown(plan, everything)
    return text.text(plan, everything)


def text_report(plan: Plan) -> str:
    """The report as text."""
    return render_report(plan)
