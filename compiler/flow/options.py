"""What a compilation can be asked for, and what follows from it: calibration inputs, and the passes after the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_type_hints

from compiler.choices import (
    MAX_NODES,
    MAX_TENSOR_BYTES,
    Objective,
    Place,
    Precision,
    PruneMethod,
    Weights,
)

if TYPE_CHECKING:
    from compiler.ir.graph import Graph
    from passes.base import Pass
    from passes.calibration.inputs import CalibrationInputs

SYNTHETIC = 16  # made-up samples tell little, so few are made


@dataclass(frozen=True)
class Options:
    """What a compilation can be asked for; the command line has a flag for each.

    `bind` gives free sizes of the model; `data` is an npz of calibration inputs (None: made up from
    `seed`), of which `calibration_samples` are used; `place` puts nodes whose name matches a
    pattern on an engine, where that can take them (of several patterns the first that matches);
    `prune` is the share of MACs to remove. With `precision` "float" nothing is quantized: what no
    engine computes in floats runs on the host, and nothing is calibrated. See passes.pipeline for
    the rest.

    `max_nodes` and `max_tensor_bytes` say which models are refused as too large; they change
    nothing else.
    """

    bind: Mapping[str, int] = field(default_factory=dict)
    data: str | Path | None = None
    calibration_samples: int = 128
    seed: int = 0
    prune: float = 0.0
    prune_method: PruneMethod = "second-order"
    objective: Objective = "energy"
    max_divergence: float | None = None
    weights: Weights = "auto"
    place: Place = ()
    max_nodes: int = MAX_NODES
    max_tensor_bytes: int = MAX_TENSOR_BYTES
    precision: Precision = "integer"


def check_options(options: Options) -> None:
    """Raises UsageError (U004) for options that have no meaning, or that are of another type than theirs."""
    from compiler.errors import UsageError

    _check_types(options)
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: wanted 0 or more")
    if options.max_divergence is not None and not options.max_divergence >= 0:
        raise UsageError(f"--max-divergence {options.max_divergence}: wanted 0 or more, or inf")
    if options.calibration_samples < 1:
        raise UsageError(f"--calibration-samples {options.calibration_samples}: wanted 1 or more")
    if options.place and options.precision == "float":
        raise UsageError(
            "--place chooses engines, and --precision float leaves only the host",
            hint="leave one of them out",
        )
    if options.prune and options.precision == "float":
        raise UsageError(
            f"--prune {options.prune} changes the model's numbers, --precision float keeps them",
            hint="leave one of them out",
        )


def _check_types(options: Options) -> None:
    """The command line gives each option its type; Python gives any."""
    from pydantic import TypeAdapter, ValidationError

    from compiler.errors import UsageError, one_line

    if not isinstance(options, Options):
        raise UsageError(f"options are of type {type(options).__name__}, wanted is joulec.Options")
    for name, kind in get_type_hints(Options).items():
        value = getattr(options, name)
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as error:
            what = error.errors()[0]["msg"].replace("Input should be", "wanted is")
            shown = one_line(repr(value), limit=80)
            raise UsageError(f"option {name} is {shown}: {what}") from error


def calibration_inputs(graph: Graph, options: Options) -> CalibrationInputs | None:
    """What to calibrate on; None where nothing is quantized."""
    from passes.calibration.inputs import load_inputs, synthetic_inputs

    if options.precision == "float":
        return None
    if options.data is not None:
        return load_inputs(options.data, graph, options.calibration_samples)
    return synthetic_inputs(graph, min(options.calibration_samples, SYNTHETIC), options.seed)


def first_passes(options: Options) -> tuple[Pass, ...]:
    """The passes that need no calibration inputs."""
    from passes.pipeline import clean_passes, float_passes

    if options.precision == "float":
        return float_passes()
    return clean_passes(calibrated=options.data is not None)


def quantizing_passes(inputs: CalibrationInputs | None, options: Options) -> tuple[Pass, ...]:
    """What follows the first passes, which without calibration inputs were all."""
    from passes.pipeline import compile_passes

    if inputs is None:
        return ()
    return compile_passes(
        inputs,
        prune_share=options.prune,
        prune_method=options.prune_method,
        objective=options.objective,
        max_divergence=options.max_divergence,
        weights=options.weights,
        place=options.place,
    )
