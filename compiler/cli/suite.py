"""`joulec suite`: a folder of models through compile, check, run and verify; a verdict each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from compiler.choices import Objective, Precision
from compiler.cli.console import Binds, Progress, TextOrJson, print_json, print_result
from compiler.cli.flags import flag_of, with_flags
from compiler.cli.limits import Limits
from compiler.cli.view import Wide, page_for
from compiler.errors import GateError, UsageError, one_line
from compiler.flow.options import Options, check_options, parse_binds
from compiler.storage.files import write_whole

if TYPE_CHECKING:
    from backends.reports.page import Page
    from compiler.suite.results import Results
    from compiler.suite.trial import Trial, Verdict

HELP = """Tries every model of a folder, and prints verdicts by kind.

Each is compiled, its package checked and run, and its outputs compared with those of ONNX Runtime,
in a process of its own. FILE.npz next to FILE.onnx is taken as its data. Fails (5) when one is
wrong or crashes. With --results it goes on where it was stopped.

\b
joulec suite models --target diana_digital --results build/suite.jsonl --junit build/suite.xml
"""
SUITE_LIMITS = Limits(time_limit=600.0)
MOST_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("suite", help=HELP)(with_flags(suite_command))


def suite_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of ONNX files.")],
    target: Annotated[
        str,
        typer.Option("--target", "-t", metavar="CHIP", help="A chip by name, or a chip file."),
    ],
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.jsonl",
            help="Keeps each verdict as it comes; what it has already is not tried again.",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE.xml", help="Writes the verdicts as JUnit.")
    ] = None,
    match: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only files whose name matches.")
    ] = "*.onnx",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes at a time. Default: one a processor.")
    ] = None,
    precision: Annotated[Precision, flag_of(Options, "precision")] = "integer",
    objective: Annotated[Objective, flag_of(Options, "objective")] = "energy",
    max_divergence: Annotated[float | None, flag_of(Options, "max_divergence")] = None,
    bind: Binds = None,
    seed: Annotated[int, flag_of(Options, "seed")] = 0,
    samples: Annotated[int, typer.Option(min=1, help="How many samples are compared.")] = 8,
    tolerance: Annotated[float, typer.Option(help="The largest divergence at an output.")] = 0.1,
    limits: Limits = SUITE_LIMITS,
    form: TextOrJson = "text",
    wide: Wide = False,
) -> None:
    """Tries the models of a folder."""
    import joulec
    from compiler.suite.results import Results, counts
    from compiler.suite.results import junit as junit_xml
    from compiler.suite.trial import BAD, Trial

    options = Options(
        precision=precision,
        objective=objective,
        max_divergence=max_divergence,
        bind=parse_binds(bind),
        seed=seed,
    )
    check_options(options)
    if not tolerance >= 0:
        raise UsageError(f"--tolerance {tolerance:g}: wanted 0 or more")
    chip = joulec.load_target(target)
    trials = [
        Trial(
            name=path.relative_to(folder).as_posix(),
            path=path,
            target=chip,
            options=options,
            samples=samples,
            tolerance=tolerance,
            max_memory_bytes=limits.max_memory,
            time_limit_s=limits.time_limit,
        )
        for path in models_in(folder, match)
    ]
    verdicts = _verdicts(trials, Results(results), jobs or os.cpu_count() or 1, form)
    if junit is not None:
        write_whole(junit, junit_xml(verdicts, chip.name), [trial.path for trial in trials])
    if form == "json":
        print_json(
            {
                "schema": "joulec.suite/1",
                "target": {"name": chip.name, "sha256": chip.sha256},
                "counts": counts(verdicts),
                "models": [verdict.table() for verdict in verdicts],
            }
        )
    else:
        print_result("\n".join(_lines(verdicts, chip.name, page_for(wide))) + "\n")
    bad = {kind: number for kind, number in counts(verdicts).items() if kind in BAD and number}
    if bad:
        raise GateError(
            f"of {len(verdicts)} models "
            + " and ".join(f"{number} {kind}" for kind, number in bad.items()),
            code="G003",
        )


def models_in(folder: Path, pattern: str) -> list[Path]:
    """Finds the models of a folder and the folders in it, by name.

    Raises UsageError where there is no such folder, or no model in it.
    """
    if not folder.is_dir():
        found = "is a file" if folder.exists() else "does not exist"
        raise UsageError(
            f"{one_line(str(folder))!r} {found}; wanted is a folder of ONNX files", code="U001"
        )
    models = sorted(path for path in folder.rglob(pattern) if path.is_file())
    if not models:
        raise UsageError(
            f"there is no file {one_line(pattern)!r} in {one_line(str(folder))!r}", code="U001"
        )
    return models


def _verdicts(trials: Sequence[Trial], results: Results, jobs: int, form: str) -> list[Verdict]:
    """The verdicts in the order of the models; those that are known already are not made again."""
    from compiler.suite.processes import Died, run_each
    from compiler.suite.trial import Trial

    known = {trial.name: results.known(trial) for trial in trials}
    left = [trial for trial in trials if known[trial.name] is None]
    progress = Progress(len(left), form)
    limit_s = max((trial.time_limit_s for trial in left), default=0.0)
    try:
        for done, (index, found) in enumerate(run_each(Trial.run, left, jobs, limit_s), start=1):
            trial = left[index]
            verdict = (
                trial.verdict(kind="crashed", code="X001", message=found.reason)
                if isinstance(found, Died)
                else found
            )
            results.add(trial, verdict)
            known[trial.name] = verdict
            progress(f"{done} of {len(left)} models, last {trial.name}")
    finally:
        progress.clear()
    return [verdict for verdict in known.values() if verdict is not None]


def _lines(verdicts: Sequence[Verdict], chip: str, page: Page) -> Iterator[str]:
    """Prints the counts by kind, then what was not taken, the worst last."""
    from compiler.figures import clipped, count, share
    from compiler.suite.results import counts
    from compiler.suite.trial import KINDS

    number = counts(verdicts)
    yield f"{count(len(verdicts), 'model')} on {one_line(chip)}"
    yield ""
    rows = [
        ("verdict", "models", "share", "what it means"),
        *((kind, f"{n:,}", share(n, len(verdicts)), KINDS[kind]) for kind, n in number.items()),
    ]
    yield from page.table(rows, right=(1, 2))
    for kind in ("unjudged", "refused", "wrong", "crashed"):
        found = [verdict for verdict in verdicts if verdict.kind == kind]
        if not found:
            continue
        yield ""
        yield page.styled(kind, "1")
        for verdict in found[:MOST_SHOWN]:
            words = f"{verdict.code} {verdict.message}".strip()
            yield from page.paragraph(f"{clipped(verdict.model, 40)}: {one_line(words)}", "  ", 4)
        if len(found) > MOST_SHOWN:
            yield f"  and {len(found) - MOST_SHOWN} more: --format json, or --results"
