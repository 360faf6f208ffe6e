"""Measures what the compiled network does to the outputs of the model as it was given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from compiler.errors import Diagnostic
from compiler.plan.schema import MeasuredDivergence, OutputDivergence, PartitionResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compiler.cost.divergence import OutputMeasured
    from compiler.flow.options import Options
    from compiler.ir.graph import Array, Graph
    from passes.calibration.inputs import CalibrationInputs

MOST_SAMPLES = 64
# Fewer samples than this show too little of the ranges: on five networks of 10 to 300 thousand
# weights the error on other samples was 5 to 180 times the error on 16 samples of calibration, and
# 1 to 50 times that on 32.
FEW = 32


@dataclass(frozen=True, eq=False)
class Trial:
    """Samples on which graphs are compared with the model: its own outputs on them are `wanted`.

    `first` is the number of the first sample in the file that they come from.
    """

    model: Graph
    samples: Mapping[str, Array]
    wanted: Mapping[str, Sequence[Any]]
    first: int
    held_out: bool
    made_up: bool

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.samples.values())))

    def outputs_of(self, graph: Graph) -> tuple[OutputMeasured, ...]:
        """Measures every output of a graph; beyond measure where it does not run on the samples."""
        from compiler.cost.divergence import (
            BEYOND_MEASURE,
            OutputMeasured,
            measure_of,
            output_divergences,
        )
        from compiler.execute.interpreter import Interpreter, RunError

        names = tuple(self.wanted)
        try:
            found = Interpreter(graph, outputs=names).run_each(self.samples)
        except RunError:  # an index beyond its table, say
            return tuple(
                OutputMeasured(BEYOND_MEASURE, name=name, kind=measure_of(name, self.model).kind)
                for name in names
            )
        return output_divergences(self.model, self.wanted, found)

    def divergence_of(self, graph: Graph) -> float:
        """Measures the output of a graph that diverges most."""
        return max((output.divergence for output in self.outputs_of(graph)), default=0.0)


def trial_of(model: Graph, inputs: CalibrationInputs | None, options: Options) -> Trial | None:
    """Runs the model on the samples that the compiled network is measured on.

    They are those of the data file that follow the calibration samples; where none follow, the
    calibration samples themselves, on which a plan does better than it will on others; without a
    file, made up from another seed than those of calibration. None where nothing was calibrated,
    where the model has no inputs or answers at random, and where it does not run on made-up
    samples. Raises UsageError (U005) for given samples that the model cannot run on.
    """
    from passes.calibration.inputs import load_inputs, synthetic_inputs

    if inputs is None or not inputs.arrays or _is_random(model):
        return None
    if inputs.synthetic or options.data is None:
        made = synthetic_inputs(model, min(inputs.count, MOST_SAMPLES), options.seed + 1)
        return _trial(model, made.arrays, options, first=0, held_out=True, made_up=True)
    everything = load_inputs(options.data, model, inputs.count + MOST_SAMPLES)
    held_out = everything.count > inputs.count
    start = inputs.count if held_out else 0
    samples = {name: data[start : start + MOST_SAMPLES] for name, data in everything.arrays.items()}
    return _trial(model, samples, options, first=start, held_out=held_out, made_up=False)


def _trial(
    model: Graph,
    samples: Mapping[str, Array],
    options: Options,
    *,
    first: int,
    held_out: bool,
    made_up: bool,
) -> Trial | None:
    from compiler.errors import UsageError, one_line
    from compiler.execute.interpreter import Interpreter, RunError

    try:
        wanted = Interpreter(model).run_each(samples)
    except RunError as error:
        if made_up:
            return None
        raise UsageError(
            f"data file {one_line(str(options.data))!r}: "
            f"the model does not run on its samples: {error}",
            code="U005",
        ) from error
    return Trial(
        model=model,
        samples=samples,
        wanted=wanted,
        first=first,
        held_out=held_out,
        made_up=made_up,
    )


def _is_random(model: Graph) -> bool:
    """Whether a node answers anew in every run, so that no two runs can be compared."""
    from passes.place_in_float import RANDOM

    return any(node.op in RANDOM for node in model)


def not_number_notes_of(
    trial: Trial | None, inputs: CalibrationInputs | None
) -> tuple[Diagnostic, ...]:
    """Warns where the model's own outputs are no numbers, on calibration or other samples."""
    import numpy as np

    from compiler.execute.interpreter import Interpreter, RunError
    from compiler.flow.not_numbers import not_number_notes

    if trial is None or inputs is None:
        return ()
    model, samples, outputs = trial.model, trial.samples, trial.wanted
    if trial.made_up or (not trial.held_out and inputs.count <= trial.count):
        return not_number_notes(model, samples, outputs)
    try:
        given = Interpreter(model).run_each(inputs.arrays)
    except RunError:  # then nothing was measured on them
        return not_number_notes(model, samples, outputs, trial.first)
    if not trial.held_out:
        return not_number_notes(model, inputs.arrays, given)
    joined = {name: np.concatenate([data, samples[name]]) for name, data in inputs.arrays.items()}
    everything = {name: [*values, *outputs[name]] for name, values in given.items()}
    return not_number_notes(model, joined, everything)  # which follow each other in the file


def measured_divergence(trial: Trial | None, placed: Graph) -> MeasuredDivergence | None:
    """Measures the placed graph against the model as given; None where nothing could be tried."""
    if trial is None:
        return None
    outputs = tuple(
        OutputDivergence(
            name=one.name, kind=one.kind, divergence=one.divergence, left_out=len(one.left_out)
        )
        for one in trial.outputs_of(placed)
    )
    return MeasuredDivergence(
        divergence=max((output.divergence for output in outputs), default=0.0),
        samples=trial.count,
        held_out=trial.held_out,
        made_up=trial.made_up,
        outputs=outputs,
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
    measured: MeasuredDivergence | None,
    partition: PartitionResult | None,
    remedy: Callable[[MeasuredDivergence, float], str],
) -> tuple[Diagnostic, ...]:
    """Warns when the compiled network does more than is allowed; `remedy` says what mends it."""
    limit = partition.max_divergence if partition is not None else None
    if measured is None or limit is None or measured.divergence <= limit:
        return ()
    return (
        Diagnostic(
            code="W006",
            message=f"on {measured.on} the compiled network's divergence is "
            f"{_shown(measured)}, above the {limit:.3g} allowed",
            hint=remedy(measured, limit),
        ),
    )


def _shown(measured: MeasuredDivergence) -> str:
    from compiler.cost.divergence import BEYOND_MEASURE, divergence_words

    worst, shown = measured.worst, divergence_words(measured.divergence)
    if measured.divergence >= BEYOND_MEASURE:
        return f"{shown} (NaN, infinity, or it does not run)"
    if worst is not None and worst.kind == "labels":
        return f"{shown} ({100 * measured.divergence:.3g} % of labels differ)"
    return shown


@dataclass(frozen=True, eq=False)
class Remedy:
    """Finds what would bring a compiled network within the divergence allowed.

    `rounded` is the graph whose integers import brought to 8 bits, `pruned` that without channels;
    `placed` says what each node's format does alone.
    """

    trial: Trial
    inputs: CalibrationInputs
    rounded: Graph
    pruned: Graph
    placed: Graph
    options: Options

    def __call__(self, measured: MeasuredDivergence, limit: float) -> str:
        """Names the option that fits, with what was measured of its cause."""
        by_import = self.trial.divergence_of(self.rounded)
        if by_import > limit:
            return (
                f"bringing the model's own integers to 8 bits alone makes {by_import:.3g} of it, "
                "which no other format mends: allow it with --max-divergence, "
                "or leave the model as it is with --precision float"
            )
        if self.pruned is not self.rounded:
            by_pruning = self.trial.divergence_of(self.pruned)
            if by_pruning > limit or 2 * by_pruning > measured.divergence:
                return f"pruning alone makes {by_pruning:.3g} of it: lower --prune"
        if measured.made_up:
            return "give real samples with --data"
        if measured.held_out:
            own = self._on_calibration_samples()
            if own is not None and own <= limit:
                return (
                    f"on the {self.inputs.count} samples of calibration it is {own:.3g}: "
                    "give more of them with --data" + self._samples_left()
                )
        return self._other_formats(measured, limit)

    def _on_calibration_samples(self) -> float | None:
        samples = {name: data[:MOST_SAMPLES] for name, data in self.inputs.arrays.items()}
        trial = _trial(
            self.trial.model, samples, self.options, first=0, held_out=False, made_up=True
        )
        return trial.divergence_of(self.placed) if trial is not None else None

    def _samples_left(self) -> str:
        """The option that takes more of the file's samples, where it was what left them."""
        if self.inputs.count < self.options.calibration_samples:
            return ""
        return " and --calibration-samples"

    def _other_formats(self, measured: MeasuredDivergence, limit: float) -> str:
        """What would choose finer formats: a lower budget, or another engine for the worst node."""
        worst = max(
            (node for node in self.placed if node.placement is not None and node.origin),
            key=lambda node: node.placement.divergence if node.placement is not None else 0.0,
            default=None,
        )
        lower = limit * limit / measured.divergence
        words = f"lower --max-divergence (to about {lower:.1g})"
        if worst is None or worst.placement is None or not worst.placement.divergence:
            return words
        return (
            f"{words}, or --place another engine for node {worst.origin[0]!r}, "
            f"whose format on {worst.engine} alone makes about {worst.placement.divergence:.3g}"
        )
