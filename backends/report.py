"""The partition report of a plan, in four forms: text, markdown, JSON and CSV."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from backends.reports.page import DEFAULT_PAGE, Page
from compiler.plan.schema import Plan

Form: TypeAlias = Literal["text", "markdown", "json", "csv"]
FORMS: Final[tuple[Form, ...]] = ("text", "markdown", "json", "csv")


def render_report(
    plan: Plan,
    form: Form = "text",
    everything: bool = False,
    page: Page = DEFAULT_PAGE,
    notes: bool = True,
) -> str:
    """Prints the report in one form, ending in a newline.

    Text and markdown show all steps only when `everything` is asked for; text fits the page, and
    leaves out the diagnostics without `notes`.
    """
    from backends.reports import data, markdown, text

    if form == "json":
        return data.json_text(plan)
    if form == "csv":
        return data.csv_text(plan)
    if form == "markdown":
        return markdown.markdown(plan, everything)
    return text.text(plan, everything, page, notes)


def text_report(plan: Plan) -> str:
    """Prints the report as text of 100 columns."""
    return render_report(plan)
