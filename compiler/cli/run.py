"""`joulec run` and `evaluate`: a package at work, on its own and against labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.cli.console import (
    Binds,
    Folder,
    NoiseSeed,
    Progress,
    TextOrJson,
    print_json,
    print_result,
    print_warning,
)
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.outputs import chosen_outputs
from compiler.errors import GateError, UsageError, one_line
from compiler.flow.options import parse_binds

if TYPE_CHECKING:
    from backends.evaluate import Accuracy
    from compiler.plan.package import Package

# How ONNX Runtime runs a model; said where it is not so.
AS_EVER = ", optimizations off, on the file as given"

RUN_HELP = """Runs a package on inputs from a file, without the model.

\b
joulec run build/digits --input models/digits_test.npz --output out.npz
"""
EVALUATE_HELP = """Tells how often a package is right on labelled data.

The file holds the inputs by name and the labels as `y`: class numbers, or the texts or
numbers that the output itself holds.

\b
joulec evaluate build/digits --data models/digits_test.npz \\
    --model models/digits_resnet.onnx
"""


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command("run", help=RUN_HELP)(with_flags(run_command))
    app.command("evaluate", help=EVALUATE_HELP)(with_flags(evaluate_command))


def run_command(
    folder: Folder,
    source: Annotated[
        Path, typer.Option("--input", "-i", metavar="FILE.npz", help="Arrays by input name.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE.npz", help="Gets arrays by output name.")
    ],
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Writes only this output; may be repeated. Default: all."
        ),
    ] = None,
    noise_seed: NoiseSeed = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Runs a package."""
    from compiler.cli.arrays import described, write_arrays
    from compiler.execute.plain_arrays import plain_outputs

    with limits.enforced():
        package = runnable_package(folder)
        chosen = chosen_outputs(package.plan, only)
        made, _ = simulate(package, source, noise_seed, form=form)
        outputs = plain_outputs({name: made[name] for name in chosen})
    write_arrays(output, outputs, read=(source, *package.paths))
    rows = described(outputs)
    if form == "json":
        print_json({"schema": "joulec.run/1", "file": str(output), "outputs": rows})
        return
    lines = [f"{one_line(row['name'])}: {row['dtype']}{row['shape']}" for row in rows]
    print_result("\n".join([*lines, f"written to {one_line(str(output))}"]) + "\n")


def evaluate_command(
    folder: Folder,
    data: Annotated[Path, typer.Option(metavar="FILE.npz", help="Inputs by name, labels as y.")],
    model: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Prints the accuracy of this ONNX file as well."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The output that is judged. Default: the first."),
    ] = None,
    bind: Binds = None,
    noise_seed: NoiseSeed = None,
    min_accuracy: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Gate: fails (5) below it, from 0 to 1.")
    ] = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Measures accuracy."""
    from backends.evaluate import accuracy
    from compiler.cli.arrays import LABELS

    if min_accuracy is not None and not 0 <= min_accuracy <= 1:
        raise UsageError(f"--min-accuracy {min_accuracy:g}: wanted a share from 0 to 1")
    with limits.enforced():
        package = runnable_package(folder)
        judged = chosen_outputs(package.plan, [output] if output is not None else None)[0]
        outputs, labels = simulate(package, data, noise_seed, LABELS, form)
        ours = accuracy(outputs[judged], labels, judged)
        theirs, runtime = (
            _accuracy_of_model(model, data, bind, labels, judged)
            if model is not None
            else (None, "")
        )
    if form == "json":
        print_json(
            {
                "schema": "joulec.evaluation/1",
                "output": judged,
                "package": _accuracy_table(ours),
                "model": {**_accuracy_table(theirs), "judge": runtime} if theirs else None,
            }
        )
    else:
        print_result(_accuracy_text(package, ours, theirs, runtime))
    if min_accuracy is not None and ours.share < min_accuracy:
        raise GateError(f"accuracy is {ours}, --min-accuracy wants {100 * min_accuracy:g} %")


def _accuracy_table(accuracy: Accuracy) -> dict[str, Any]:
    return {"accuracy": accuracy.share, "right": accuracy.right, "samples": accuracy.samples}


def _accuracy_text(package: Package, ours: Accuracy, theirs: Accuracy | None, runtime: str) -> str:
    plan = package.plan
    name = one_line(f"{plan.model.name} on {plan.target.name}")
    if theirs is None:
        return f"accuracy {ours}: {name}\n"
    points = 100 * (ours.share - theirs.share)
    return (
        f"accuracy {theirs}: the model in {runtime.removesuffix(AS_EVER)}\n"
        f"accuracy {ours}: {name}, {points:+.1f} points\n"
    )


def _accuracy_of_model(
    model: Path, data: Path, bind: list[str] | None, labels: Any, name: str
) -> tuple[Accuracy, str]:
    """The accuracy of the model, and who ran it."""
    from backends.evaluate import accuracy
    from compiler.flow.reference import Reference
    from passes.calibration.inputs import load_inputs

    reference = Reference(model, parse_binds(bind))
    if name not in reference.graph.outputs:
        raise UsageError(
            f"the model has no output {one_line(name)!r}",
            code="U005",
            hint="give the model that the package was compiled from",
        )
    samples = load_inputs(data, reference.graph).arrays
    scores = reference.run(samples, [name])[name]
    runtime = reference.runtime
    if reference.unjudged:
        runtime += f" ({reference.unjudged})"
    return accuracy(scores, labels, name), runtime


def sound_package(folder: Path) -> Package:
    """A package from its folder, checked as far as reading it goes."""
    from compiler.plan.check import check_package
    from compiler.plan.package import read_package

    package = read_package(folder)
    check_package(package)
    return package


def runnable_package(folder: Path) -> Package:
    """A package from its folder, checked with the models that it would run on the host."""
    from backends.lowering.check_host_models import check_host_models

    package = sound_package(folder)
    check_host_models(package)
    return package


def simulate(
    package: Package, source: Path, noise_seed: int | None, labels: str = "", form: str = "text"
) -> tuple[dict[str, Any], Any]:
    """The outputs by name, samples stacked, on the inputs of a file.

    And the array called `labels` in it, where that is asked for.

    Raises UsageError for a noise seed below 0 and for a file that lacks an array. Warns of NaN
    or infinity where integers are wanted (W009) and of inputs far from those calibrated on (W013).
    """
    import numpy as np

    from backends.simulate import Simulator
    from compiler.cli.arrays import read_arrays
    from compiler.flow.calibrated_ranges import range_notes

    if noise_seed is not None and noise_seed < 0:
        raise UsageError(f"--noise-seed {noise_seed}: wanted 0 or more")
    plan = package.plan
    names = [port.name for port in plan.inputs]
    arrays = read_arrays(source, [*names, *([labels] if labels else [])])
    inputs = {name: arrays[name] for name in names}
    if any(not step.payload for step in plan.steps):  # the host's models take NaN as ONNX does
        for name, array in inputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                found = "NaN" if np.isnan(array).any() else "infinity"
                print_warning(
                    f"W009: input {one_line(name)!r} holds {found}, which no integer is: "
                    "the outputs mean nothing"
                )
    for note in range_notes(plan, inputs):
        print_warning(note.line())
    progress = Progress(1, form)
    try:
        results = Simulator(package, noise_seed=noise_seed, progress=progress).run(inputs)
    finally:
        progress.clear()
    outputs = {port.name: value for port, value in zip(plan.outputs, results, strict=True)}
    return outputs, arrays.get(labels)
