"""`joulec report`, `explain`, `check`, `compare`: what a package says of itself."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from compiler.cli.console import (
    Folder,
    TextOrJson,
    print_json,
    print_result,
)
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.run import runnable_package, sound_package
from compiler.cli.view import AllSteps, Wide, page_for
from compiler.errors import GateError, one_line

REPORT_HELP = """Prints a package's partition report.

Markdown and CSV are for documents and spreadsheets; the keys of the JSON are stable.

\b
joulec report build/digits
joulec report build/digits --format markdown > report.md
"""
EXPLAIN_HELP = """Tells where a node went, why, and what else it could.

The other ways come with their energy, time and divergence, and how much more that is.

\b
joulec explain build/digits block2.conv2
"""
CHECK_HELP = """Checks a package.

Hashes, sums, addresses, capacities, and what the host's models may do.

\b
joulec check build/digits
"""
COMPARE_HELP = """Sets two packages side by side; a gate for CI.

A condition is a metric (energy, latency, peak_bytes, macs, divergence), > or <, and a number.
With a sign it is the change from A to B, in percent or absolute; without one it is B's own
value. Energy is in uJ, latency in us.

\b
joulec compare build/before build/after --fail-if 'energy>+3%'
joulec compare build/a build/b --fail-if 'latency>500' --fail-if 'peak_bytes>+1024'
"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("report", help=REPORT_HELP)(with_flags(report_command))
    app.command("explain", help=EXPLAIN_HELP)(with_flags(explain_command))
    app.command("check", help=CHECK_HELP)(with_flags(check_command))
    app.command("compare", help=COMPARE_HELP)(with_flags(compare_command))


def report_command(
    folder: Folder,
    limits: Limits = DEFAULT_LIMITS,
    form: Annotated[
        Literal["text", "markdown", "json", "csv"], typer.Option("--format", help="The form.")
    ] = "text",
    all_steps: AllSteps = False,
    wide: Wide = False,
) -> None:
    """Prints the report."""
    from backends.report import render_report

    with limits.enforced():
        report = render_report(sound_package(folder).plan, form, all_steps, page_for(wide))
    print_result(report)


def explain_command(
    folder: Folder,
    node: Annotated[
        str, typer.Argument(metavar="NODE", help="A node of the ONNX file, or a step.")
    ],
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
    wide: Wide = False,
) -> None:
    """Explains a placement."""
    from backends.reports.explain import explain, explanation_text

    with limits.enforced():
        explained = explain(sound_package(folder).plan, node)
    if form == "json":
        print_json(explained)
    else:
        print_result(explanation_text(explained, page_for(wide)))


def check_command(
    folder: Folder,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Checks a package."""
    with limits.enforced():
        plan = runnable_package(folder).plan
    size_bytes = sum(file.size_bytes for file in plan.files.values())
    if form == "json":
        print_json(
            {
                "schema": "joulec.check/1",
                "sound": True,
                "plan_hash": plan.hash,
                "model": plan.model.model_dump(),
                "target": plan.target.model_dump(),
                "steps": len(plan.steps),
                "payloads": len(plan.files),
                "payload_bytes": size_bytes,
            }
        )
        return
    name = one_line(f"{plan.model.name} on {plan.target.name}")
    print_result(
        f"sound: {name}, {len(plan.steps)} steps, "
        f"{len(plan.files)} payloads of {size_bytes:,} bytes, "
        f"plan {plan.hash[:12]}\n"
    )


def compare_command(
    before: Annotated[str, typer.Argument(metavar="A", help="The package to compare with.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The package that may be better.")],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Fails (5) when it is so; may be repeated."),
    ] = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Compares two packages."""
    from pathlib import Path

    from backends.reports.compare import comparison, comparison_text, parse_condition

    conditions = [parse_condition(text) for text in fail_if or ()]
    with limits.enforced():
        plans = [sound_package(Path(folder)).plan for folder in (before, after)]
        rows = comparison(*plans)
    met = [condition.describe(rows) for condition in conditions if condition.is_met(rows)]
    if form == "json":
        print_json(
            {
                "schema": "joulec.comparison/2",
                "a": plans[0].hash,
                "b": plans[1].hash,
                "metrics": {row.metric: row.table() for row in rows},
                "failed": [condition.text for condition in conditions if condition.is_met(rows)],
            }
        )
    else:
        print_result(comparison_text(rows, *plans))
    if met:
        raise GateError("; ".join(met))
