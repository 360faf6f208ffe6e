"""Measures what the whole plan does to the network's outputs, on held-out samples if there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.errors import Diagnostic
from compiler.plan.schema import MeasuredDivergence, PartitionResult

if TYPE_CHECKING:
    from pathlib import Path

    from compiler.ir.graph import Graph
    from passes.calibration.inputs import CalibrationInputs

CHECKED = 64  # samples
# Fewer samples than this show too little of the ranges: on five networks of 10 to 300 thousand
# weights the error on other samples was 5 to 180 times the error on 16 samples of calibration, and
# 1 to 50 times that on 32.
FEW = 32


def measured_divergence(
    clean: Graph, placed: Graph, inputs: CalibrationInputs | None, data: str | Path | None
) -> MeasuredDivergence | None:
    """Measures the divergence of the placed graph from the clean one; None without given samples.

    The samples are those of the file `data` that follow the calibration samples; where none follow,
    the calibration samples themselves, on which the plan does better than it will on others.
    Outputs that are no numbers of known size (a sequence, places of non-zeros) are not measured.
    Raises UsageError (U005) for samples that the model cannot run on.
    """
    from compiler.errors import UsageError, one_line
    from compiler.execute.interpreter import Interpreter, RunError
    from passes.calibration.divergence import MEASURED, output_divergence
    from passes.calibration.inputs import load_inputs

    if inputs is None or inputs.synthetic or data is None:
        return None
    everything = load_inputs(data, clean, inputs.count + CHECKED)
    held_out = everything.count > inputs.count
    start = inputs.count if held_out else 0
    samples = {name: array[start : start + CHECKED] for name, array in everything.arrays.items()}
    names = [
        n for n in clean.outputs if clean.types[n].dtype in MEASURED and clean.types[n].is_static
    ]
    if not names:
        return None
    try:
        wanted = Interpreter(clean, outputs=names).run_all(samples)
    except RunError as error:
        raise UsageError(
            f"data file {one_line(str(data))!r}: the model does not run on its samples: {error}",
            code="U005",
        ) from error
    found = Interpreter(placed, outputs=names).run_all(samples)
    return MeasuredDivergence(
        divergence=output_divergence(clean, wanted, found),
        samples=len(next(iter(samples.values()))),
        held_out=held_out,
    )


def few_samples_note(measured: MeasuredDivergence | None) -> tuple[Diagnostic, ...]:
    """Warns when the samples were few, and none were left to try the plan on."""
    if measured is None or measured.samples >= FEW or measured.held_out:
        return ()
    plural = "s" if measured.samples > 1 else ""
    return (
        Diagnostic(
            code="W008",
            message=f"calibrated on {measured.samples} sample{plural}, and none are left to try "
            "the plan on: others may leave the ranges found, so their divergence may be many times "
            "what is stated",
            hint=f"give {FEW} or more with --data",
        ),
    )


def measured_note(
    measured: MeasuredDivergence | None, partition: PartitionResult | None
) -> tuple[Diagnostic, ...]:
    """Warns when the plan as a whole does clearly more than its layers promised."""
    limit = partition.max_divergence if partition is not None else None
    if measured is None or limit is None or measured.divergence <= 2 * limit:
        return ()
    samples = (
        "samples that were not calibrated on"
        if measured.held_out
        else "the calibration samples themselves"
    )
    return (
        Diagnostic(
            code="W006",
            message=f"on {samples}, the whole plan's divergence is {measured.divergence:.3g}, "
            f"over twice the {limit:.3g} allowed layer by layer",
            hint="lower --max-divergence or give more calibration samples",
        ),
    )
