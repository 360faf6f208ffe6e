"""`joulec compile`: makes a package, prints its report, holds it to gates, tells `make` what it read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.choices import Precision
from compiler.cli.console import (
    Progress,
    TextOrJson,
    print_error,
    print_result,
    print_warning,
)
from compiler.cli.depfile import depfile_text, target_of
from compiler.cli.flags import with_flags
from compiler.cli.graphs import Dump, LastGraph
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.errors import GateError, UsageError, one_line
from compiler.flow.options import Options
from compiler.storage.files import write_whole

if TYPE_CHECKING:
    from compiler.plan.schema import Plan

HELP = """Makes a package of a model for a chip, and a report.

Nothing is written when a gate fails. Where nothing has changed since the package was
made, nothing is done but to say so.

\b
joulec compile models/digits_resnet.onnx --target diana -o build/digits \\
    --data models/digits_calibration.npz
joulec compile model.onnx --target my_chip.toml -o build/m --max-energy-uj 20
"""
DEFAULT_OPTIONS = Options()


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("compile", help=HELP)(with_flags(compile_command))


def compile_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An ONNX file.")],
    target: Annotated[
        str,
        typer.Option("--target", "-t", metavar="CHIP", help="A chip by name, or a chip file."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="The package to write.")
    ],
    options: Options = DEFAULT_OPTIONS,
    max_energy_uj: Annotated[
        float | None, typer.Option(help="Gate: fails (5) when an inference takes more.")
    ] = None,
    max_latency_us: Annotated[
        float | None, typer.Option(help="Gate: fails (5) when an inference takes longer.")
    ] = None,
    depfile: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Writes what was read, for make.")
    ] = None,
    dump_passes: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Writes the graph as text and ONNX after each pass."),
    ] = None,
    limits: Limits = DEFAULT_LIMITS,
    force: Annotated[
        bool, typer.Option("--force", help="Compiles again, even when nothing has changed.")
    ] = False,
    annotated: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.onnx",
            help="Writes the placed graph as ONNX, with engines in its metadata.",
        ),
    ] = None,
    all_steps: Annotated[
        bool, typer.Option("--all", help="Shows all steps of a long model.")
    ] = False,
    form: TextOrJson = "text",
) -> None:
    """Compiles a model and writes its package."""
    import joulec
    from backends.report import render_report
    from compiler.driver import compile_model, up_to_date
    from compiler.plan.package import renew_package, require_place, write_package

    if depfile is not None and depfile == annotated:
        raise UsageError(f"--depfile and --annotated both are {one_line(str(depfile))!r}")
    for name, gate in (("--max-energy-uj", max_energy_uj), ("--max-latency-us", max_latency_us)):
        if gate is not None and not gate >= 0:
            raise UsageError(f"{name} {gate:g}: wanted 0 or more")
    require_place(output)
    if depfile is not None:
        target_of(output)  # what it cannot name is told before the work
    last = LastGraph()
    wants_graphs = dump_passes is not None or annotated is not None
    observers = (last, *((Dump(dump_passes),) if dump_passes is not None else ()))
    with limits.enforced():
        chip = joulec.load_target(target)
        old = None if force or wants_graphs else up_to_date(output, model, chip, options)
        progress = Progress(0 if old else stages(options.precision), form)
        try:
            made = old or compile_model(model, chip, options, observers, progress)
        finally:
            progress.clear()
    for line in made.diagnostics:
        print_warning(line)
    broken = broken_gates(made.package.plan, max_energy_uj, max_latency_us)
    if not broken:
        beside: dict[Path, bytes] = {}
        if annotated is not None:
            beside[annotated] = last.annotated()
        if depfile is not None:
            beside[depfile] = os.fsencode(depfile_text(output, made.files))
        inside = [path for path in beside if path.resolve().is_relative_to(output.resolve())]
        for path in beside.keys() - set(inside):
            write_whole(path, beside[path], made.files)
        if old is not None:
            renew_package(output)
            print_error(f"note: nothing has changed: package {str(output)!r} is up to date")
        else:  # last, so that nothing is lacking once plan.json is new
            try:
                write_package(made.package, output, progress.write)
            finally:
                progress.clear()
        for path in inside:  # a package is only written into a folder of its own
            write_whole(path, beside[path], made.files)
    print_result(render_report(made.package.plan, form, all_steps))
    if broken:
        raise GateError("; ".join(broken), hint="no package was written")


def stages(precision: Precision) -> int:
    """How many stages a compilation reports.

    It takes the import of every pass, so not where nothing is compiled.
    """
    from passes.calibration.inputs import CalibrationInputs
    from passes.pipeline import clean_passes, compile_passes, float_passes

    if precision == "float":
        return 2 + len(float_passes())
    return 2 + len(clean_passes()) + len(compile_passes(CalibrationInputs({})))


def broken_gates(
    plan: Plan, max_energy_uj: float | None, max_latency_us: float | None
) -> list[str]:
    """What does not hold, in words."""
    energy_uj, latency_us = plan.energy_pj.total.value / 1e6, plan.latency_ns / 1e3
    found = []
    if max_energy_uj is not None and not energy_uj <= max_energy_uj:
        found.append(
            f"an inference takes {energy_uj:.6g} uJ, --max-energy-uj allows {max_energy_uj:g}"
        )
    if max_latency_us is not None and not latency_us <= max_latency_us:
        found.append(
            f"an inference takes {latency_us:.6g} us, --max-latency-us allows {max_latency_us:g}"
        )
    return found
