"""`joulec compile`: makes a package, prints its report, checks gates, lists what it read."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
from compiler.cli.graphs import Dump, annotated_graph
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.view import AllSteps, Wide, page_for
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
    save_calibration: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Saves what was measured, for --calibration."),
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
    all_steps: AllSteps = False,
    wide: Wide = False,
    form: TextOrJson = "text",
) -> None:
    """Compiles a model and writes its package."""
    import joulec
    from backends.report import render_report
    from compiler.driver import calibrate_model, up_to_date
    from compiler.plan.package import renew_package, require_place, write_package

    require_different(
        {"--depfile": depfile, "--annotated": annotated, "--save-calibration": save_calibration}
    )
    for name, gate in (("--max-energy-uj", max_energy_uj), ("--max-latency-us", max_latency_us)):
        if gate is not None and not gate >= 0:
            raise UsageError(f"{name} {gate:g}: wanted 0 or more")
    require_place(output)
    if depfile is not None:
        target_of(output)  # what it cannot name is refused before anything is compiled
    wants_stages = any(path is not None for path in (dump_passes, annotated, save_calibration))
    observers = (Dump(dump_passes),) if dump_passes is not None else ()
    others: dict[Path, bytes] = {}
    with limits.enforced():
        chip = joulec.load_target(target)
        old = None if force or wants_stages else up_to_date(output, model, chip, options)
        progress = Progress(0 if old else stages(options.precision), form)
        try:
            if old is not None:
                made = old
            else:
                calibrated = calibrate_model(model, chip, options, observers, progress)
                quantized = calibrated.place().quantize()
                made = quantized.plan()
                if annotated is not None:
                    others[annotated] = annotated_graph(quantized.graph)
                if save_calibration is not None:
                    others[save_calibration] = calibrated.saved()
        finally:
            progress.clear()
    for diagnostic in made.diagnostics:
        print_warning(diagnostic.line())
    broken = broken_gates(made.package.plan, max_energy_uj, max_latency_us)
    if not broken:
        if depfile is not None:
            others[depfile] = os.fsencode(depfile_text(output, made.files))
        inside = [path for path in others if path.resolve().is_relative_to(output.resolve())]
        for path in others.keys() - set(inside):
            write_whole(path, others[path], made.files)
        if old is not None:
            renew_package(output)
            print_error(f"note: nothing has changed: package {str(output)!r} is up to date")
        else:  # last, so that nothing is lacking once plan.json is new
            try:
                write_package(made.package, output, progress.write)
            finally:
                progress.clear()
        for path in inside:  # a package is only written into a folder of its own
            write_whole(path, others[path], made.files)
    page = page_for(wide)
    print_result(render_report(made.package.plan, form, all_steps, page, notes=False))
    if broken:
        raise GateError("; ".join(broken), hint="no package was written")


def require_different(files: Mapping[str, Path | None]) -> None:
    """Raises UsageError where two options name one file to be written."""
    taken: dict[Path, str] = {}
    for name, path in files.items():
        if path is not None and path in taken:
            raise UsageError(f"{taken[path]} and {name} both are {one_line(str(path))!r}")
        if path is not None:
            taken[path] = name


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
    energy_uj, latency_us = plan.energy_pj.total.value / 1e6, plan.latency_ns.value / 1e3
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
