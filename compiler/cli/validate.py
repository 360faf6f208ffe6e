"""`joulec validate`: how far the energy formulas are from published silicon, or whole plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.cli.console import TextOrJson, print_json, print_result
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.validate_networks import validate_networks
from compiler.errors import ModelError, UsageError, one_line
from compiler.storage.files import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compiler.macros.nested import FormResult
    from compiler.macros.table import Row
    from compiler.macros.validation import Verdict

Table = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE.csv]",
        help="A table of published macros, one a row; with --networks of measured networks "
        "(default: those that are shipped).",
    ),
]
Networks = Annotated[
    Path | None,
    typer.Option(
        "--networks",
        metavar="DIR",
        help="The folder of the models of a table of measured networks: "
        "compares whole plans with their energy and rate.",
    ),
]
LeaveOut = Annotated[
    bool,
    typer.Option(
        "--leave-one-chip-out",
        help="Predicts each chip with intervals that were measured on the table's other chips.",
    ),
]
Nested = Annotated[
    bool,
    typer.Option(
        "--nested",
        help="Predicts each chip with intervals, and the rules that rows are read by, that were "
        "chosen on the table's other chips; says how each choice did.",
    ),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE.svg", help="Also draws predicted against measured as SVG."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(
        "validate",
        help="Compares predicted with measured energy of silicon.\n\n\b\n"
        "joulec validate silicon.csv\n"
        "joulec validate silicon.csv --leave-one-chip-out --plot silicon.svg\n\n"
        "joulec validate silicon.csv --nested\n\n"
        "joulec validate --networks mlperf-tiny\n",
    )(with_flags(validate_command))


def validate_command(
    table: Table = None,
    networks: Networks = None,
    leave_one_chip_out: LeaveOut = False,
    nested: Nested = False,
    plot: Plot = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Compares predictions with silicon."""
    from compiler.macros.plot import plot as drawn
    from compiler.macros.table import read_table

    if networks is not None:
        if leave_one_chip_out or nested or plot is not None:
            raise UsageError(
                "--networks goes with none of --leave-one-chip-out, --nested and --plot"
            )
        with limits.enforced():
            validate_networks(table, networks, form)
        return
    if table is None:
        raise UsageError(
            "no table: give FILE.csv of published macros, or --networks DIR for whole networks"
        )
    with limits.enforced():
        verdicts, forms = _verdicts(read_table(table), leave_one_chip_out, nested)
    how = "one set of constants"
    if leave_one_chip_out:
        how = "each chip left out of the intervals"
    if nested:
        how = "each chip left out of the choice of rules and of the intervals"
    if plot is not None:
        picture = drawn(verdicts, f"Efficiency of published macros, {how}")
        write_whole(plot, picture.encode(), read=[table])
    if form == "json":
        print_json(_as_json(verdicts, leave_one_chip_out, forms))
    else:
        print_result(_as_text(verdicts, how) + _forms_text(forms))


def _verdicts(
    rows: list[Row], leave_one_chip_out: bool, nested: bool
) -> tuple[Sequence[Verdict], Sequence[FormResult]]:
    from compiler.macros.fit import compared
    from compiler.macros.fit import leave_one_chip_out as left_out
    from compiler.macros.nested import nested as chosen_apart
    from compiler.macros.validation import verdict
    from compiler.target.parts.constants import load_components

    components = load_components()
    verdicts = [verdict(row, components) for row in rows]
    if not leave_one_chip_out and not nested:
        return verdicts, ()
    chips = {found.row.chip for found in compared(verdicts)}
    if len(chips) < 2:
        flag = "--nested" if nested else "--leave-one-chip-out"
        raise ModelError(
            f"{flag} needs at least 2 measured chips that can be predicted; "
            f"the table has {len(chips)}",
            code="M009",
        )
    if nested:
        found = chosen_apart(rows, components)
        return found.verdicts, found.forms
    return left_out(rows, components), ()


def _forms_text(forms: Sequence[FormResult]) -> str:
    """Writes how each form did, or nothing where none was chosen."""
    from compiler.figures import aligned

    if not forms:
        return ""
    table = [["rules that rows are read by", "error over chips", "chosen for chips"]]
    table += [[form.name, f"{form.error:.3f}", str(form.chosen)] for form in forms]
    return "\n" + "\n".join(line.rstrip() for line in aligned(table, right=(1, 2))) + "\n"


def _groups(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    """The verdicts by what they are summed up over.

    It is SRAM macros together, then every class, and how much was assumed.
    """
    sram = [v for v in verdicts if v.row.group in ("AIMC-SRAM", "DIMC-SRAM")]
    names = sorted({v.row.group for v in verdicts})
    each = {name: [v for v in verdicts if v.row.group == name] for name in names}
    predicted = [v for v in verdicts if v.tops_w is not None]
    assumed = {
        "nothing assumed": [v for v in predicted if not v.assumed],
        "something assumed": [v for v in predicted if v.assumed],
    }
    return {"AIMC-SRAM and DIMC-SRAM": sram, **each, **assumed, "all": list(verdicts)}


def _as_text(verdicts: Sequence[Verdict], how: str) -> str:
    from compiler.figures import aligned, digits
    from compiler.macros.validation import summary

    head = ["line", "chip", "class", "predicted", "[low, high]", "measured", "ratio", "inside"]
    lines = [f"efficiency in TOPS/W at the bits of the measure; {how}", ""]
    table = [[*head, "assumed"]]
    for v in verdicts:
        if v.tops_w is None:
            continue
        measured = v.row.measured_tops_w
        ratio = v.tops_w.value / measured if measured else None
        table.append(
            [
                str(v.row.line),
                one_line(v.row.name, 40),
                v.row.group,
                digits(v.tops_w.value, 4),
                f"[{digits(v.tops_w.low)}, {digits(v.tops_w.high)}]",
                f"{measured:,.6g}" if measured else "",
                f"{ratio:.2f}" if ratio else "",
                ("yes" if v.is_inside else "no") if measured else "",
                ", ".join(v.assumed),
            ]
        )
    lines += aligned(table, right=(0, 3, 5, 6))
    blanks = [v for v in verdicts if v.tops_w is None]
    if blanks:
        lines += ["", "not predicted:"]
        lines += [
            f"  line {v.row.line}, {one_line(v.row.name, 60)}: {one_line(v.why_not)}"
            for v in blanks
        ]
    unmeasured = [v for v in verdicts if v.tops_w is not None and v.row.measured_tops_w is None]
    if unmeasured:
        lines += ["", "not compared:"]
        lines += [
            f"  line {v.row.line}, {one_line(v.row.name, 60)}: "
            f"{v.row.flaw or 'no measure is given'}"
            for v in unmeasured
        ]
    titles = ["class", "rows", "compared", "mean |log10 error|", "mean log10", "within 30 %"]
    found = [[*titles, "within 2x", "inside", "median high/low"]]
    for name, members in _groups(verdicts).items():
        s = summary(members)
        figures = [""] * 7 if s is None else [
            str(s.compared), f"{s.mean_log_error:.3f}", f"{s.bias:+.3f}",
            f"{100 * s.within_30_percent:.0f} %", f"{100 * s.within_2x:.0f} %",
            f"{100 * s.inside:.0f} %", f"{s.median_width:.1f}",
        ]  # fmt: skip
        if members:
            found.append([one_line(name, 40), str(len(members)), *figures])
    lines += ["", *aligned(found, right=tuple(range(1, 9)))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _as_json(
    verdicts: Sequence[Verdict], left_out: bool, forms: Sequence[FormResult]
) -> dict[str, Any]:
    from dataclasses import asdict

    from compiler.macros.validation import summary

    rows = [
        {
            "line": v.row.line,
            "chip": v.row.chip,
            "name": v.row.name,
            "class": v.row.group,
            "scope": v.row.scope,
            "predicted_tops_w": None if v.tops_w is None else asdict(v.tops_w),
            "measured_tops_w": v.row.measured_tops_w,
            "ratio": None if v.log_error is None else 10**v.log_error,
            "inside": None if v.log_error is None else v.is_inside,
            "parts_fj_per_mac": {name: asdict(part) for name, part in v.parts_fj.items()},
            "assumed": list(v.assumed),
            "drawn": v.drawn,
            "why_not": v.why_not or v.row.flaw,
        }
        for v in verdicts
    ]
    found = {name: summary(members) for name, members in _groups(verdicts).items()}
    return {
        "schema": "joulec.validation/1",
        "leave_one_chip_out": left_out,
        "forms": [asdict(form) for form in forms],
        "rows": rows,
        "summary": {name: asdict(s) for name, s in found.items() if s is not None},
    }
