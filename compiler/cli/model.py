"""`joulec inspect`: what a model is, before it is compiled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.cli.console import (
    Binds,
    TextOrJson,
    print_json,
    print_result,
)
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.errors import UsageError, one_line
from compiler.flow.options import parse_binds
from compiler.storage.files import write_whole

if TYPE_CHECKING:
    from compiler.flow.inspect_free import FreeInspection
    from compiler.flow.inspect_model import ChipView, Inspection

HELP = """Tells what a model is, and what engines could take.

Operations, sizes, MACs, quantization, and for each chip what each engine could take and why not
the rest.

\b
joulec inspect models/digits_resnet.onnx
joulec inspect model.onnx --target diana --bind N=1
joulec inspect model.onnx --target diana --graph model.svg
"""
MOST_REASONS = 5
LABEL_WIDTH = 13


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("inspect", help=HELP)(with_flags(inspect_command))


def inspect_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", metavar="CHIP", help="A chip. Default: all shipped ones."),
    ] = None,
    bind: Binds = None,
    graph: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Draws the cleaned graph: .svg or .dot; with --target coloured by engine.",
        ),
    ] = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Inspects a model."""
    from compiler.flow.draw_model import draw_model, require_drawable
    from compiler.flow.inspect_free import free_table, inspect_free
    from compiler.flow.inspect_model import inspect_model, inspection_table
    from compiler.target.chip import load_target

    if graph is not None:
        require_drawable(graph)
    with limits.enforced():
        chip = load_target(target) if target is not None else None
        try:
            found = inspect_model(model, parse_binds(bind), chip)
        except UsageError as error:
            if error.code != "U003" or graph is not None:
                raise
            free = inspect_free(model, error.hint)
            if form == "json":
                print_json(free_table(free))
            else:
                print_result(_fitted(_free_text(free)))
            return
        if graph is not None:
            drawing = draw_model(found.clean, found.name, chip, graph)
            write_whole(graph, drawing, [*found.files, *([Path(target)] if target else [])])
    if form == "json":
        print_json(inspection_table(found))
    else:
        print_result(_fitted(_text(found)))


def _fitted(text: str) -> str:
    """Wraps lines that are longer than the terminal: below their label, or indented."""
    from compiler.cli.view import page_for

    page, lines = page_for(), []
    for line in text.splitlines():
        words = line.lstrip()
        spaces = line[: len(line) - len(words)]
        lines += page.paragraph(words, spaces, len(spaces) + 2 if spaces else LABEL_WIDTH)
    return "\n".join(lines) + "\n"


def _free_text(found: FreeInspection) -> str:
    """What is known of a model without its free sizes, and what is not."""
    from compiler.flow.inspect_free import DEPENDS

    lines = [
        f"{one_line(found.name)}: {found.nodes:,} nodes, {found.parameters:,} parameters, "
        f"opset {found.opset}, sha256 {found.sha256[:12]}"
    ]
    for label, ports in (("input", found.inputs), ("output", found.outputs)):
        lines += [
            f"{label:<13}{one_line(name)}: {one_line(kind.words())}" for name, kind in ports.items()
        ]
    operations = ", ".join(f"{one_line(op)} {n}" for op, n in found.operations.items())
    lines.append(f"{'operations':<13}{operations}")
    lines.append(f"{'free sizes':<13}{DEPENDS} depend on them: {found.hint}")
    return "\n".join(lines) + "\n"


def _text(found: Inspection) -> str:
    from compiler.flow.inspect_model import type_words

    graph = found.graph
    missing = found.not_counted
    at_least = "at least " if missing else ""
    lines = [
        f"{one_line(found.name)}: {len(graph.ledger):,} nodes, {at_least}{found.macs:,} MACs, "
        f"{found.parameters:,} parameters, opset {found.opset}, sha256 {found.sha256[:12]}"
    ]
    for label, names in (("input", graph.inputs), ("output", graph.outputs)):
        for name in names:
            axis = graph.batch_axes.get(name)
            batch = "" if axis is None else f", samples on axis {axis}"
            lines.append(
                f"{label:<13}{one_line(name)}: {one_line(type_words(graph.types[name]))}{batch}"
            )
    operations = ", ".join(f"{one_line(op)} {n}" for op, n in found.operations.items())
    lines.append(f"{'quantization':<13}{found.quantization}")
    lines.append(f"{'cleaned':<13}{len(found.clean.nodes):,} nodes: {operations}")
    if missing:
        lines.append(f"{'not counted':<13}{one_line(missing)}")
    lines += [f"{'note':<13}{one_line(note.line())}" for note in found.notes]
    if len(found.chips) > 1:
        lines += ["", *_chips_table(found.chips)]
    else:
        for chip in found.chips:
            lines += ["", *_chip_lines(chip)]
    return "\n".join(lines) + "\n"


def _chips_table(chips: Sequence[ChipView]) -> list[str]:
    """A line for each chip: the share of the MACs that each kind of engine could take."""
    from compiler.figures import aligned, count, share

    kinds = ("analog", "digital")
    rows = [["MACs that could run on", *kinds, "only on the host"]]
    for chip in chips:
        if chip.problem:
            rows.append([chip.name, "", "", chip.problem])
            continue
        most: dict[str, int] = {}  # of several engines of a kind the one that could take most
        for engine in chip.engines:
            most[engine.kind] = max(most.get(engine.kind, 0), engine.macs)
        shares = [share(most[kind], chip.macs) if kind in most else "-" for kind in kinds]
        rows.append([chip.name, *shares, f"{chip.host_only:,} of {count(chip.nodes, 'node')}"])
    return [*aligned(rows, right=(1, 2)), "", "Reasons by engine: --target CHIP"]


def _chip_lines(chip: ChipView) -> list[str]:
    from compiler.figures import count, share

    if chip.problem:
        return [f"{chip.name}: {chip.problem}"]
    lines = [f"{chip.name}: {count(chip.nodes, 'node')} to place, {chip.macs:,} MACs"]
    for engine in chip.engines:
        lines.append(
            f"  {engine.name} could take {count(engine.nodes, 'node')}, "
            f"{share(engine.macs, chip.macs)} of the MACs"
        )
        for refusal in engine.refusals[:MOST_REASONS]:
            work = f" of {refusal.macs:,} MACs" if refusal.macs else ""
            such = ", such as" if refusal.nodes > 1 else ""
            lines.append(
                f"    not {count(refusal.nodes, 'node')}{work}{such} "
                f"{one_line(refusal.example, 40)}: "
                f"{one_line(refusal.reason)}"
            )
        if len(engine.refusals) > MOST_REASONS:
            lines.append(
                f"    and {count(len(engine.refusals) - MOST_REASONS, 'more reason')}: "
                "--format json"
            )
    return lines
