"""Measures what the whole plan does to the network's outputs, on held-out samples if there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import JsonValue

    from compiler.ir.graph import Graph
    from passes.calibration.inputs import CalibrationInputs

CHECKED = 64  # samples
# Fewer samples than this show too little of the ranges: on five networks of 10 to 300 thousand
# weights the error on other samples was 5 to 180 times the error on 16 samples of calibration, and
# 1 to 50 times that on 32.
FEW = 32


def measured_divergence(
    clean: Graph, placed: Graph, inputs: CalibrationInputs | None, data: str | Path | None
) -> dict[str, JsonValue]:
    """Measures the divergence of the placed graph from the clean one; empty without given samples.

    The keys are measured_divergence, measured_samples and measured_held_out.
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
        return {}
    everything = load_inputs(data, clean, inputs.count + CHECKED)
    held_out = everything.count > inputs.count
    start = inputs.count if held_out else 0
    samples = {name: array[start : start + CHECKED] for name, array in everything.arrays.items()}
    names = [
        n for n in clean.outputs if clean.types[n].dtype in MEASURED and clean.types[n].is_static
    ]
    if not names:
        return {}
    try:
        wanted = Interpreter(clean, outputs=names).run_all(samples)
    except RunError as error:
        raise UsageError(
            f"data file {one_line(str(data))!r}: the model does not run on its samples: {error}",
            code="U005",
        ) from error
    found = Interpreter(placed, outputs=names).run_all(samples)
    return {
        "measured_divergence": output_divergence(clean, wanted, found),
        "measured_samples": len(next(iter(samples.values()))),
        "measured_held_out": held_out,
    }


def few_samples_note(summary: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """A warning when the samples were few, and none were left to try the plan on."""
    samples = summary.get("measured_samples")
    if not isinstance(samples, int) or samples >= FEW or summary.get("measured_held_out"):
        return ()
    plural = "s" if samples > 1 else ""
    return (
        f"warning[W008]: calibrated on {samples} sample{plural}, "
        "and none are left to try the plan on: others may leave the ranges found, so "
        f"their divergence may be many times what is stated; give {FEW} or more with --data",
    )


def measured_note(summary: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """A warning when the plan as a whole does clearly more than its layers promised."""
    measured, limit = summary.get("measured_divergence"), summary.get("max_divergence")
    if not isinstance(measured, float) or not isinstance(limit, float) or measured <= 2 * limit:
        return ()
    samples = (
        "samples that were not calibrated on"
        if summary.get("measured_held_out")
        else "the calibration samples themselves"
    )
    return (
        f"warning[W006]: on {samples}, the whole plan's divergence is {measured:.3g}, "
        f"over twice the {limit:.3g} allowed layer by layer; "
        "lower --max-divergence or give more calibration samples",
    )
