"""`joulec validate --networks`: whole plans beside what others measured of the same networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.cli.console import print_error, print_json, print_result
from compiler.errors import CompileError, UsageError, one_line

if TYPE_CHECKING:
    from compiler.flow.measured_networks import Comparison, Figure, Measurement
    from compiler.plan.schema import Plan

TITLES = {"energy": "energy, uJ", "rate": "inferences/s"}


def validate_networks(table: Path | None, folder: Path, form: str) -> None:
    """Compiles the networks of a table for their chips and prints both figures side by side.

    Without a table those that are shipped. Raises UsageError where no network lies in the folder.
    """
    from compiler.flow.measured_networks import (
        compare_all,
        read_measurements,
        shipped_measurements,
    )

    rows = shipped_measurements() if table is None else read_measurements(table)
    if not folder.is_dir():
        raise UsageError(f"no folder {str(folder)!r}; give the folder of the models", code="U001")
    if not any((folder / row.model).is_file() for row in rows):
        names = ", ".join(dict.fromkeys(one_line(row.model, 60) for row in rows))
        raise UsageError(
            f"none of the networks measured lies in {str(folder)!r}",
            code="U001",
            hint=f"wanted are {names}; or give a table of your own before --networks",
        )
    found = compare_all(rows, _compiled(folder))
    if form == "json":
        print_json(_as_json(found))
    else:
        print_result(_as_text(found))


def _compiled(folder: Path) -> Callable[[Measurement], Plan | str]:
    """Makes the function that compiles a row's network for its chip, or says why it cannot."""
    from compiler.driver import compile_model
    from compiler.target.chip import load_target

    def plan_of(row: Measurement) -> Plan | str:
        path = folder / row.model
        if not path.is_file():
            return f"no file {one_line(row.model, 60)!r} in the folder"
        try:
            return compile_model(path, load_target(row.chip)).plan
        except CompileError as error:
            print_error(error.line())
            return f"it does not compile: {error.code}"

    return plan_of


def _figures(found: Sequence[Comparison], name: str) -> list[Figure]:
    """The figures of one name that are judged."""
    figures = ((one.energy if name == "energy" else one.rate) for one in found if one.is_judged)
    return [figure for figure in figures if figure is not None]


def _cells(figure: Figure) -> list[str]:
    from compiler.figures import digits

    predicted, measured, ratio = figure.predicted, figure.measured, figure.ratio
    return [
        digits(predicted.value, 4),
        f"[{digits(predicted.low)}, {digits(predicted.high)}]",
        f"{measured:,.6g}" if measured is not None else "",
        f"{ratio:.2f}" if ratio is not None else "",
        ("yes" if figure.is_inside else "no") if measured is not None else "",
    ]


def _as_text(found: Sequence[Comparison]) -> str:
    from compiler.figures import aligned
    from compiler.flow.measured_networks import summary

    lines = ["whole plans beside what was measured; a ratio is predicted / measured"]
    for name, title in TITLES.items():
        head = ["line", "chip", "network", title, "[low, high]", "measured", "ratio", "inside"]
        table = [[*head, "chip's numbers from this row"]]
        for one in found:
            figure = one.energy if name == "energy" else one.rate
            if figure is not None:
                row = one.row
                start = [str(row.line), one_line(row.chip, 40), one_line(row.model, 40)]
                derived = ", ".join(key.rsplit(".", 1)[-1] for key in row.derived.split())
                table.append([*start, *_cells(figure), one_line(derived, 60)])
        lines += ["", *aligned(table, right=(0, 3, 5, 6))]
    missing = [one for one in found if one.why_not]
    if missing:
        lines += ["", "not compared:"]
        lines += [
            f"  line {one.row.line}, {one_line(one.row.chip, 40)}, "
            f"{one_line(one.row.model, 40)}: {one.why_not}"
            for one in missing
        ]
    titles = ["judged", "rows", "mean |log10 error|", "within 1.25", "within 1.5", "inside"]
    sums = [titles]
    for name, title in TITLES.items():
        if (s := summary(_figures(found, name))) is not None:
            counts = (s.within_1_25, s.within_1_5, s.inside)
            shares = [f"{count} of {s.compared}" for count in counts]
            sums.append([title, str(s.compared), f"{s.mean_log_error:.3f}", *shares])
    lines += ["", *aligned(sums, right=tuple(range(1, 6)))]
    scopes = {one.row.chip: one.row.scope for one in found if one.row.scope}
    if scopes:
        lines += ["", "what the measured energy covers:"]
        lines += [f"  {one_line(chip, 40)}: {one_line(scope)}" for chip, scope in scopes.items()]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _as_json(found: Sequence[Comparison]) -> dict[str, Any]:
    from compiler.flow.measured_networks import summary

    def shown(figure: Figure | None) -> dict[str, Any] | None:
        if figure is None:
            return None
        more = {"ratio": figure.ratio, "inside": figure.is_inside}
        return {**asdict(figure), **(more if figure.measured is not None else {})}

    rows = [
        {
            **asdict(one.row),
            "energy_uj": shown(one.energy),
            "inferences_per_s": shown(one.rate),
            "why_not": one.why_not,
        }
        for one in found
    ]
    sums = {
        key: summary(_figures(found, name))
        for name, key in (("energy", "energy_uj"), ("rate", "inferences_per_s"))
    }
    return {
        "schema": "joulec.network_validation/1",
        "rows": rows,
        "summary": {key: asdict(s) for key, s in sums.items() if s is not None},
    }
