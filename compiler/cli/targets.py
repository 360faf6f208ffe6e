"""`joulec targets`: the chips, their numbers and where these come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.choices import AnalogCells, DigitalUnits
from compiler.cli.console import (
    TextOrJson,
    help_when_bare,
    print_json,
    print_result,
    print_warning,
)
from compiler.cli.flags import with_flags
from compiler.cli.import_hardware import HELP, import_command
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.once import Commands
from compiler.cli.view import page_for
from compiler.errors import UsageError, one_line

if TYPE_CHECKING:
    from pydantic import BaseModel

    from backends.reports.page import Page
    from compiler.cost.array_step import ArrayStep
    from compiler.cost.peak import Comparison
    from compiler.target.chip import Target

DOUBT = "W020"
Chip = Annotated[str, typer.Argument(metavar="CHIP", help="A chip by name, or a chip file.")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    group = Commands(
        help="Lists, shows and checks chips.\n\n\b\n"
        "joulec targets list\njoulec targets show diana\n",
        rich_markup_mode=None,
        add_completion=False,
    )
    group.callback(invoke_without_command=True)(help_when_bare)
    group.command("list", help="Lists the chips that are shipped.\n\n\b\njoulec targets list\n")(
        list_command
    )
    group.command(
        "show",
        help="Shows every number of a chip with its interval and source.\n\n\b\n"
        "joulec targets show diana\n"
        "joulec targets show diana --toml > my_chip.toml\n",
    )(with_flags(show_command))
    group.command(
        "new",
        help="Writes a commented chip file to start from.\n\n"
        "Its numbers are to be replaced; as it is, it checks and compiles.\n\n\b\n"
        "joulec targets new my_chip\n"
        "joulec targets new my_chip --analog reram --digital array -o chips/my_chip.toml\n",
    )(new_command)
    group.command("check", help="Checks a chip file.\n\n\b\njoulec targets check my_chip.toml\n")(
        with_flags(check_command)
    )
    group.command(
        "schema", help="Prints the JSON Schema of a chip file.\n\n\b\njoulec targets schema\n"
    )(schema_command)
    group.command("import", help=HELP)(with_flags(import_command))
    app.add_typer(group, name="targets")


def list_command(form: TextOrJson = "text") -> None:
    """Lists the chips."""
    from compiler.target.chip import built_in, load_target

    chips = [load_target(name) for name in built_in()]
    if form == "json":
        print_json({"schema": "joulec.targets/1", "targets": [_summary(chip) for chip in chips]})
        return
    rows = [("chip", "engines"), *((chip.name, ", ".join(chip.chip.engines)) for chip in chips)]
    last = ["what it is", *(one_line(chip.chip.description, 1200) for chip in chips)]
    print_result("\n".join(page_for().table(rows, last=last)) + "\n")


def _summary(chip: Target) -> dict[str, Any]:
    return {
        "name": chip.name,
        "description": chip.chip.description,
        "sha256": chip.sha256,
        "engines": {name: engine.kind for name, engine in chip.chip.engines.items()},
        "memories": {name: m.capacity_bytes.value for name, m in chip.memories.items()},
    }


def show_command(
    chip: Chip,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
    toml: Annotated[
        bool,
        typer.Option("--toml", help="As a chip file of the same chip, components worked out."),
    ] = False,
) -> None:
    """Shows a chip."""
    from compiler.cost.array_step import array_steps
    from compiler.cost.peak import comparisons
    from compiler.target.chip import load_target
    from compiler.target.write import chip_text

    if toml and form == "json":
        raise UsageError("--toml and --format json are two forms", hint="leave one of them out")
    with limits.enforced():
        found = load_target(chip)
        if toml:
            print_result(chip_text(found.chip))
            return
        table = found.chip.model_dump(by_alias=True)
        steps = array_steps(found)
        peaks = comparisons(found)
    if form == "json":
        print_json(
            {
                "schema": "joulec.target-view/1",
                "sha256": found.sha256,
                "chip": table,
                "peaks": [_peak_data(item) for item in peaks],
                "array_steps": [_step_data(step) for step in steps],
                "components": dict(_components(found.chip)),
            }
        )
        return
    page = page_for()
    lines = page.paragraph(f"{found.name}: {one_line(found.chip.description, 1200)}")
    lines += [f"sha256 {found.sha256}"]
    for item in found.chip.not_modelled:
        lines += page.paragraph(f"not modelled: {one_line(item)}")
    lines += [""]
    if peaks:
        titles = ["peak", "predicted", "[low, high]", "published", "ratio", "source"]
        lines += [*_sourced([titles, *map(_peak_row, peaks)], page, right=(1, 3, 4)), ""]
    for step in steps:
        what = f"{step.engine} ({step.describes}, {step.time_ns.value:.6g} ns)"
        lines += page.paragraph(f"one step of a full array, {what}")
        titles = ["part", "pJ", "share", "[low, high]"]
        lines += [*page.table([titles, *_step_rows(step)], right=(1, 2)), ""]
    rows = [["number", "value", "[low, high]", "source"], *_rows(table)]
    lines += _sourced(rows, page, right=(1,))
    print_result("\n".join(lines) + "\n")


def _sourced(rows: list[list[str]], page: Page, right: tuple[int, ...]) -> list[str]:
    """Prints rows whose last words are where a number comes from."""
    return page.table([row[:-1] for row in rows], right, last=[row[-1] for row in rows])


def _components(part: BaseModel, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number that a component gave, by key path: which, and the parts that add up to it."""
    from pydantic import BaseModel

    from compiler.target.quantity import ComponentQuantity

    for key in type(part).model_fields:
        value = getattr(part, key)
        inner: dict[str, Any] = {"": value}
        if isinstance(value, dict):
            inner = value
        elif isinstance(value, tuple):
            inner = {str(index): item for index, item in enumerate(value)}
        for name, item in inner.items():
            where = ".".join(word for word in (path, key, name) if word)
            if isinstance(item, ComponentQuantity):
                parts = {name: asdict(estimate) for name, estimate in item.parts.items()}
                yield where, {"component": item.component, "parts": parts}
            elif isinstance(item, BaseModel):
                yield from _components(item, where)


def _step_rows(step: ArrayStep) -> list[list[str]]:
    """The parts of a step with their shares, and their sum."""
    energy = step.energy_pj
    return [
        [
            name,
            f"{part.value:,.2f}",
            f"{100 * part.value / energy.value:.1f} %" if energy.value else "",
            f"[{part.low:,.4g}, {part.high:,.4g}]",
        ]
        for name, part in {**step.parts_pj, "all": energy}.items()
    ]


def _step_data(step: ArrayStep) -> dict[str, Any]:
    parts = {name: asdict(part) for name, part in step.parts_pj.items()}
    energy, time = asdict(step.energy_pj), asdict(step.time_ns)
    return {"engine": step.engine, "time_ns": time, "energy_pj": energy, "parts_pj": parts}


def _peak_row(item: Comparison) -> list[str]:
    """A peak as predicted from the chip's constants, and the published one."""
    from compiler.figures import digits

    predicted = item.predicted
    source = one_line(item.published.source)
    if item.published.derived:
        source += f" (derived from it: {', '.join(item.published.derived)})"
    interval = f"[{digits(predicted.low)}, {digits(predicted.high)}]"
    inside = "" if item.is_inside else ", outside"
    return [
        item.name, digits(predicted.value), interval + inside,
        f"{item.figure:g}", f"{item.ratio:.2f}", source,
    ]  # fmt: skip


def _peak_data(item: Comparison) -> dict[str, Any]:
    predicted = item.predicted
    return {
        "unit": item.unit,
        "predicted": {"value": predicted.value, "low": predicted.low, "high": predicted.high},
        "published": item.figure,
        "ratio": item.ratio,
        "inside": item.is_inside,
        "derived": list(item.published.derived),
        "source": item.published.source,
    }


def _rows(table: dict[str, Any], path: str = "") -> Iterator[list[str]]:
    """Every number of a chip by key path."""
    for key, value in table.items():
        where = f"{path}.{key}" if path else key
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                if isinstance(item, dict):
                    yield from _rows(item, f"{where}.{index}")
        if not isinstance(value, dict):
            continue
        if "source" not in value:
            yield from _rows(value, where)
            continue
        low, high = value.get("low"), value.get("high")
        interval = f"[{low:g}, {high:g}]" if low is not None and high is not None else ""
        number = value["value"]
        form = ",.6g" if isinstance(number, float) else ","
        shown = str(number).lower() if isinstance(number, bool) else f"{number:{form}}"
        yield [where, shown, interval, one_line(value["source"])]


def check_command(
    chip: Chip,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Checks a chip file."""
    from compiler.target.chip import load_target
    from compiler.target.plausible import doubts

    with limits.enforced():
        found = load_target(chip)
        doubtful = doubts(found.chip)
    rows = list(_rows(found.chip.model_dump(by_alias=True)))
    assumed = sum(row[3].startswith("assumption") for row in rows)
    if form == "json":
        print_json(
            {
                "schema": "joulec.target-check/1",
                "sound": True,
                "name": found.name,
                "sha256": found.sha256,
                "numbers": len(rows),
                "assumptions": assumed,
                "warnings": doubtful,
            }
        )
        return
    for doubt in doubtful:
        print_warning(f"{DOUBT}: {doubt}")
    count = f"; {len(doubtful)} to look at" if doubtful else ""
    print_result(
        f"sound: {found.name}, {len(rows)} numbers with a source, {assumed} of them assumptions"
        f"{count}\n"
    )


def new_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The chip's name.")],
    analog: Annotated[
        AnalogCells, typer.Option(help="The cells of the analog arrays, or none of these.")
    ] = "sram",
    digital: Annotated[
        DigitalUnits,
        typer.Option(help="A vector unit, with multipliers beside or in their memory, or none."),
    ] = "vector",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="OUT.toml", help="Default: NAME.toml."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Writes over a file.")] = False,
) -> None:
    """Writes a chip file."""
    from compiler.storage.files import write_whole
    from compiler.target.new import new_chip

    text = new_chip(name, analog, digital)
    file = output or Path(f"{name}.toml")
    shown = one_line(str(file))
    if file.is_file() and not force:
        raise UsageError(
            f"{shown!r} is there already", code="U007", hint="give --force, or -o for another name"
        )
    write_whole(file, text.encode())
    print_result(f"wrote {shown}; its numbers are to be replaced: joulec targets check {shown}\n")


def schema_command() -> None:
    """Prints the schema."""
    from compiler.target.schema import target_schema

    print_json(target_schema())
