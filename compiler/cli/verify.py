"""`joulec verify`: a package against the model it was compiled from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler.cli.console import (
    Binds,
    Folder,
    TextOrJson,
    print_json,
    print_result,
    print_warning,
)
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.cli.outputs import OutputNames, chosen_outputs
from compiler.cli.run import runnable_package
from compiler.errors import GateError, UsageError, one_line
from compiler.flow.options import parse_binds

if TYPE_CHECKING:
    from compiler.flow.verify_package import Difference, Verification
    from compiler.plan.package import Package

TOLERANCE = 0.1  # of a divergence, on samples that nothing was fitted to

VERIFY_HELP = """Compares a package with its model, layer by layer.

The model's file runs in ONNX Runtime, optimizations off, or in onnx's reference evaluator.
Fails (5) when the divergence of an output is above the tolerance, or no one but joulec runs
the model.

\b
joulec verify models/digits_resnet.onnx build/digits --data models/digits_test.npz
"""


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("verify", help=VERIFY_HELP)(with_flags(verify_command))


def verify_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file it came from.")],
    folder: Folder,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Inputs by name. Default: made up from --seed, of the kind calibrated on.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="How many samples are compared.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="For inputs that are made up.")] = 0,
    bind: Binds = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="The largest divergence of an output. Default: 0.1, or what the package was "
            "compiled for where that is more."
        ),
    ] = None,
    outputs: OutputNames = None,
    limits: Limits = DEFAULT_LIMITS,
    form: TextOrJson = "text",
) -> None:
    """Compares a package with its model."""
    from compiler.flow.calibrated_ranges import range_notes
    from compiler.flow.reference import Reference
    from compiler.flow.verify_package import made_up_inputs, verify_package
    from passes.calibration.inputs import load_inputs

    if tolerance is not None and not tolerance >= 0:
        raise UsageError(f"--tolerance {tolerance:g}: wanted 0 or more")
    with limits.enforced():
        package = runnable_package(folder)
        reference = Reference(model, parse_binds(bind), package.plan.inputs)
        _require_same_ports(package, reference)
        inputs = (
            load_inputs(data, reference.graph, samples).arrays
            if data is not None
            else made_up_inputs(package.plan, reference.graph, samples, seed)
        )
        chosen = chosen_outputs(package.plan, outputs)
        result = verify_package(package, reference, inputs, chosen)
    budget = _budget(package)
    allowed = max(TOLERANCE, budget or 0.0) if tolerance is None else tolerance
    for note in range_notes(package.plan, inputs):
        print_warning(note.line())
    if not result.same_model:
        print_warning("warning[W005]: the package was compiled from another file than this model")
    if form == "json":
        print_json(_table(result, allowed, budget, data is None))
    else:
        print_result(_text(result, allowed, budget, data is None))
    if result.unjudged:
        raise GateError(
            f"no one but joulec runs this model, so its outputs are not judged: {result.unjudged}",
            code="G002",
        )
    if not result.worst <= allowed:
        worst = max(result.outputs, key=lambda output: output.divergence)
        limit = (
            f"{allowed:g} is allowed" if tolerance is None else f"--tolerance allows {allowed:g}"
        )
        raise GateError(
            f"output {one_line(worst.value)!r} has a divergence ({worst.kind}) of "
            f"{_digits(worst)}, {limit}",
            code="G002",
        )


def _budget(package: Package) -> float | None:
    """The divergence that the package was compiled for; None where nothing was to be kept to."""
    partition = package.plan.partition
    return partition.max_divergence if partition is not None else None


def _require_same_ports(package: Package, reference: Any) -> None:
    """Refuses a model whose inputs or outputs are not the package's."""
    for kind, ours, theirs in (
        ("inputs", package.plan.inputs, reference.graph.inputs),
        ("outputs", package.plan.outputs, reference.graph.outputs),
    ):
        names = [port.name for port in ours]
        if names != list(theirs):
            shown, others = (one_line(", ".join(found)) for found in (names, theirs))
            raise UsageError(
                f"the package has {kind} {shown}, the model {others}",
                code="U005",
                hint="give the model that the package was compiled from",
            )
    for port in package.plan.inputs:
        wanted, found = port.shape, reference.graph.types[port.name].shape
        if wanted is not None and found is not None and _differ(wanted, found):
            raise UsageError(
                f"input {one_line(port.name)!r} of the package is {_sizes(wanted)}, of the model "
                f"{_sizes(found)}",
                code="U005",
                hint="leave out --bind, or give the model that the package was compiled from",
            )


def _differ(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes cannot be the same."""
    return len(one) != len(other) or any(
        None not in (a, b) and a != b for a, b in zip(one, other, strict=True)
    )


def _sizes(shape: Sequence[int | None]) -> str:
    return f"[{', '.join('?' if size is None else f'{size}' for size in shape)}]"


def _table(
    result: Verification, tolerance: float, budget: float | None, synthetic: bool
) -> dict[str, Any]:
    def row(difference: Difference) -> dict[str, Any]:
        return {
            "step": difference.step,
            "engine": difference.engine,
            "value": difference.value,
            "largest_difference": difference.absolute,
            "relative_difference": difference.relative,
            "kind": difference.kind,
            "divergence": difference.divergence,
            "left_out": difference.left_out,
            "same": difference.same,
        }

    return {
        "schema": "joulec.verification/2",
        "judge": result.reference,
        "samples": result.samples,
        "synthetic_inputs": synthetic,
        "same_model": result.same_model,
        "tolerance": tolerance,
        "budget": budget,
        "holds": None if result.unjudged else result.worst <= tolerance,
        "unjudged": result.unjudged,
        "steps": [row(step) for step in result.steps],
        "outputs": [row(output) for output in result.outputs],
        "not_compared": list(result.uncompared),
        "against_import": list(result.imported),
    }


def _text(result: Verification, tolerance: float, budget: float | None, synthetic: bool) -> str:
    from compiler.figures import aligned, clipped, count

    holds = "holds" if result.worst <= tolerance else "does NOT hold"
    if result.unjudged:
        holds = "is NOT judged"
    kind = "made-up " if synthetic else ""
    rows = [["step", "engine", "value", "largest difference", "relative", "divergence"]]
    rows += [
        [clipped(one.step, 32), one.engine, clipped(one.value, 40), _number(one.absolute),
         _number(one.relative), _digits(one)]
        for one in (*result.steps, *result.outputs)
    ]  # fmt: skip
    for row, _ in zip(rows[1 + len(result.steps) :], result.outputs, strict=True):
        row[0] = "(output)"
    worst = max(result.outputs, key=lambda output: output.divergence, default=None)
    at_outputs = f"{_digits(worst)} ({worst.kind})" if worst is not None else "0"
    lines = [
        f"the package {holds}: divergence {at_outputs} at the outputs, {tolerance:g} allowed; "
        f"{result.samples} {kind}samples against {result.reference}",
        "",
        *aligned(rows, right=(3, 4, 5)),
        "",
        "relative: the largest difference over the largest magnitude of the value; divergence: "
        "relative squared error, KL of a Softmax in nats, or the share of labels that differ",
    ]
    lines += [_same_words(one, result.samples) for one in result.outputs if one.same is not None]
    lines += [
        f"{clipped(one.value, 40)}: NaN or infinite in the model itself on {one.left_out} of "
        f"{result.samples} samples, left out where it is"
        for one in result.outputs
        if one.left_out
    ]
    if budget is not None and budget < result.worst <= tolerance:
        lines.append(
            f"on these samples it diverges by more than the {budget:.3g} it was compiled for, "
            "which was tried on others"
        )
    if result.imported:
        names = ", ".join(clipped(name, 40) for name in result.imported[:4])
        more = ", ..." if len(result.imported) > 4 else ""
        lines.append(
            f"compared with joulec's own import: {count(len(result.imported), 'value')} between "
            f"steps, which the file does not hand out: {names}{more}"
        )
    if result.uncompared:
        names = ", ".join(clipped(name, 40) for name in result.uncompared[:4])
        more = ", ..." if len(result.uncompared) > 4 else ""
        lines.append(
            f"of another shape in the package: {count(len(result.uncompared), 'value')}, "
            f"{names}{more}"
        )
    return "\n".join(lines) + "\n"


def _same_words(one: Difference, samples: int) -> str:
    """In how many samples the labels, or the class of the largest score, are the same."""
    from compiler.figures import clipped, share

    name, alike = clipped(one.value, 40), one.same or 0
    same = f"in {alike:,} of {samples:,} samples ({share(alike, samples)})"
    if one.kind != "labels":
        return f"{name}: the same class {same}"
    return f"{name}: the same labels {same}; {share(1 - one.divergence, 1)} of all labels agree"


def _digits(one: Difference) -> str:
    from compiler.cost.divergence import divergence_words

    return divergence_words(one.divergence)


def _number(number: float | None) -> str:
    from compiler.figures import digits

    return "-" if number is None else digits(number)
