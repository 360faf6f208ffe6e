"""The stages of a compilation: values to hold, each made from the one before with its options.

imported -> clean -> pruned -> lowered -> calibrated -> placed -> quantized -> compiled
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import onnx

from backends import hybrid
from backends.lowering.host_models import with_checked_host
from backends.lowering.pruned_layers import pruned_layers
from compiler.bound.lower_bound import lower_bound
from compiler.cost.memory import fewest_weight_bytes, require_room, require_room_for_values
from compiler.errors import Diagnostic, UsageError, one_line
from compiler.flow.calibrated_ranges import calibrated_ranges
from compiler.flow.calibration_file import MeasuredFor, measured_for, recall, saved_bytes
from compiler.flow.compiled import Compiled, compiled_of
from compiler.flow.declare import flag, read_by
from compiler.flow.dialects import dialect_notes
from compiler.flow.formats import formats_of, why_not_same_formats
from compiler.flow.measure import (
    Remedy,
    Trial,
    few_samples_note,
    measured_divergence,
    measured_note,
    not_number_notes_of,
    trial_of,
)
from compiler.flow.notes import (
    calibration_notes,
    float_notes,
    made_up_note,
    partition_result,
    place_notes,
    unpruned_note,
)
from compiler.flow.options import Options, check_options
from compiler.flow.trial_run import require_runnable
from compiler.flow.up_to_date import built_from, file_digests
from compiler.frontend.import_onnx import Imported as Model
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph
from compiler.ir.ops import macs
from compiler.plan.schema import MeasuredDivergence, PartitionResult, PrunedLayer
from compiler.storage.files import path_of, write_whole
from compiler.target.chip import Target
from passes import pipeline
from passes.base import Observer, Pass, run_passes
from passes.calibration.inputs import CalibrationInputs, load_inputs, synthetic_inputs

# Made-up samples. Weights of dense layers are fitted to one row of each, and need more rows than a
# convolution, whose samples have many.
FEWEST, MOST = 16, 64
MACS_MADE_UP = 200_000_000  # of all samples together, beyond which the fewest do


@dataclass(frozen=True)
class Watch:
    """Who looks on: `observers` are called after each pass, `progress` as each stage starts."""

    observers: tuple[Observer, ...] = ()
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Stage:
    """What every stage has: a graph for a chip, the options, the passes that ran so far, notes.

    `digests` are the hashes of the files that options name, each taken before the file was read.
    """

    graph: Graph
    target: Target
    options: Options
    passes: tuple[Pass, ...] = ()
    notes: tuple[Diagnostic, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    watch: Watch = Watch()

    def __repr__(self) -> str:
        name, chip = one_line(self.graph.name), one_line(self.target.name)
        return f"{type(self).__name__}({name!r} for {chip!r}, {len(self.passes)} passes)"

    @property
    def pipeline(self) -> tuple[str, ...]:
        """The passes that ran so far, each with its full specification."""
        return tuple(repr(one) for one in self.passes)

    @property
    def quantizes(self) -> bool:
        """Whether floats become integers (--precision integer)."""
        return self.options.precision == "integer"

    def _ran(self, passes: Sequence[Pass], **changed: Any) -> dict[str, Any]:
        """The fields of the next stage, which has more passes behind it; some of them changed."""
        stage = {one.name: getattr(self, one.name) for one in fields(Stage)} | changed
        watch = self.watch
        stage["graph"] = run_passes(
            self.graph,
            passes,
            stage["target"],
            *watch.observers,
            progress=watch.progress,
            first=len(self.passes),
        )
        stage["passes"] = (*self.passes, *passes)
        return stage

    def _going_on(self, options: Options | None, past: str) -> Options:
        """Options to go on with; UsageError (U004) where one was read before and was another."""
        if options is None:
            return self.options
        check_options(options)
        for name in read_by(past, Options):
            was, wanted = getattr(self.options, name), getattr(options, name)
            if was != wanted and str(was) != str(wanted):
                raise UsageError(
                    f"{flag(name)} {one_line(str(wanted))}: "
                    f"this {type(self).__name__.lower()} stage was made with {one_line(str(was))}",
                    hint="go on from an earlier stage",
                )
        return options


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Imported(Stage):
    """A model as it was read."""

    model: Model

    def clean(self, options: Options | None = None) -> Clean:
        """Removes what decides nothing; looks at no data and no chip."""
        options = self._going_on(options, "import")
        has_data = options.data is not None
        passes = (
            pipeline.clean_passes(calibrated=has_data)
            if self.quantizes
            else pipeline.float_clean_passes()
        )
        stage = self._ran(passes, options=options)
        notes = dialect_notes(self.graph, stage["graph"], has_data=has_data)
        return Clean(**stage | {"notes": (*self.notes, *notes)}, imported=self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Clean(Stage):
    """The graph that everything else is held against: of fewer and plainer nodes."""

    imported: Imported

    def prune(self, options: Options | None = None, target: Target | None = None) -> Pruned:
        """Reads or makes up the calibration inputs, and removes channels if that is asked for.

        Raises CapacityError when the chip has no room for the model, UsageError and ModelError for
        inputs that do not fit it.
        """
        options, target = self._going_on(options, "clean"), target or self.target
        _require_room(self, options, target)
        digests = file_digests(options)  # before the data are read
        inputs = _inputs(self.graph, self.imported.graph, options)
        require_runnable(self.graph, inputs, options.data if self.quantizes else None)
        if inputs is None:
            stage = self._ran((), options=options, target=target, digests=digests)
            return Pruned(**stage, clean=self, inputs=None)
        passes = pipeline.prune_passes(inputs, options.prune, options.prune_method)
        stage = self._ran(passes, options=options, target=target, digests=digests)
        notes = (
            *made_up_note(inputs, options.seed),
            *unpruned_note(options.prune, self.graph, stage["graph"]),
        )
        return Pruned(**stage | {"notes": (*self.notes, *notes)}, clean=self, inputs=inputs)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Pruned(Stage):
    """A graph whose layers have the sizes that they will run in.

    `inputs` are what it will be calibrated on (None where nothing is quantized).
    """

    clean: Clean
    inputs: CalibrationInputs | None

    def lower(self) -> Lowered:
        """Brings matrix products to the one form that meets the arrays."""
        passes = pipeline.matrix_passes() if self.quantizes else pipeline.float_matrix_passes()
        stage = self._ran(passes)
        unpruned = None
        if self.graph is not self.clean.graph:  # what the report compares the layers with
            unpruned = run_passes(self.clean.graph, passes, self.target)
        return Lowered(**stage, pruned=self, unpruned=unpruned)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Lowered(Stage):
    """A graph as engines are offered it.

    `unpruned` is what it would be without pruning (None where nothing was pruned).
    """

    pruned: Pruned
    unpruned: Graph | None

    def calibrate(self) -> Calibrated:
        """Measures ranges, and what each format of the chip's engines would cost the outputs."""
        inputs, saved = self.pruned.inputs, self.options.calibration
        if inputs is None:
            return Calibrated(**self._ran(()), lowered=self)
        (measure,) = pipeline.calibrate_passes(inputs)
        if saved is not None:
            measure = recall(saved, self.graph, self.measured_for(inputs), instead_of=measure)
        stage = self._ran((measure,))
        notes = (*self.notes, *calibration_notes(stage["graph"].calibration))
        return Calibrated(**stage | {"notes": notes}, lowered=self)

    def measured_for(self, inputs: CalibrationInputs) -> MeasuredFor:
        """Records what a calibration on such inputs holds for."""
        return measured_for(
            self.graph,
            target=self.target,
            options=self.options,
            model=self.pruned.clean.imported.model.sha256,
            inputs=inputs.hash,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Calibrated(Stage):
    """A measured graph: budgets, objectives, weights and places are chosen from here on."""

    lowered: Lowered

    def save(self, path: str | Path) -> None:
        """Saves what was measured to a file, for `Options.calibration` of a later compilation.

        Raises UsageError where nothing was measured (U004) or nothing can be written (U007).
        """
        write_whole(path_of(path, "calibration"), self.saved())

    def saved(self) -> bytes:
        """The bytes that `save` writes."""
        inputs, found = self.lowered.pruned.inputs, self.graph.calibration
        if inputs is None or found is None:
            raise UsageError("with --precision float there is no calibration that could be saved")
        return saved_bytes(self.lowered.measured_for(inputs), found)

    def why_not_for(self, target: Target) -> str:
        """Why the measurement does not hold for another chip; an empty string where it does."""
        return why_not_same_formats(formats_of(self.target), formats_of(target))

    def place(self, options: Options | None = None, target: Target | None = None) -> Placed:
        """Chooses engine, mapping and format of every node.

        `options` may differ from those so far in what placing reads (objective, max_divergence,
        weights, place), `target` may be another chip of the same formats. Raises UsageError,
        CapacityError.
        """
        options = self._going_on(options, "calibrate")
        if target is not None:
            self._require_formats(target)
            _require_room(self.lowered.pruned.clean, options, target)
        target = target or self.target
        inputs = self.lowered.pruned.inputs
        if inputs is None:
            stage = self._ran(pipeline.float_place_passes(), options=options, target=target)
            notes = (*self.notes, *float_notes(options))
            return Placed(**stage | {"notes": notes}, calibrated=self)
        passes = pipeline.place_passes(
            inputs,
            objective=options.objective,
            max_divergence=options.max_divergence,
            weights=options.weights,
            place=options.place,
        )
        stage = self._ran(passes, options=options, target=target)
        notes = (*self.notes, *place_notes(stage["graph"], options.place))
        return Placed(**stage | {"notes": notes}, calibrated=self)

    def _require_formats(self, target: Target) -> None:
        if reason := self.why_not_for(target):
            raise UsageError(
                f"calibrated for {self.target.name}, "
                f"which does not hold for {target.name}: {reason}",
                code="U009",
                hint="go on from the clean stage",
            )

    def compile(self, options: Options | None = None, target: Target | None = None) -> Compiled:
        """Goes all the way on from here; see `place`."""
        return self.place(options, target).quantize().plan()


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Placed(Stage):
    """A graph whose every node has its engine; what the lower bound is of."""

    calibrated: Calibrated

    def quantize(self) -> Quantized:
        """Writes the chosen formats into the graph, and fits the weights to them."""
        inputs = self.calibrated.lowered.pruned.inputs
        passes = pipeline.quantize_passes(inputs) if inputs is not None else ()
        return Quantized(**self._ran(passes), placed=self)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Quantized(Stage):
    """A graph in the formats of its engines: the numbers that the plan will compute."""

    placed: Placed

    def plan(self) -> Compiled:
        """Makes the package, measures what it does to the outputs, and says what there is to say.

        Raises CapacityError when the model does not fit the memories of the chip.
        """
        self.watch.progress("plan")
        lowered = self.placed.calibrated.lowered
        pruned = lowered.pruned
        clean, model = pruned.clean, pruned.clean.imported.model
        trial = trial_of(clean.imported.graph, pruned.inputs, self.options)
        measured = measured_divergence(trial, self.graph)
        partition = partition_result(self.graph, self.options.max_divergence)
        # In floats the model's MACs are those as it runs, zeros between values included.
        before = clean.graph if self.quantizes else lowered.graph
        package = hybrid.lower(
            self.graph,
            self.target,
            model_name=model.name,
            model_sha256=model.sha256,
            pipeline=self.pipeline,
            diagnostics=(
                *self.notes,
                *not_number_notes_of(trial, pruned.inputs),
                *few_samples_note(measured),
                *self._measured_note(trial, measured, partition),
            ),
            partition=partition,
            measured=measured,
            bound=lower_bound(self.placed.graph, self.target),
            macs_before=sum(macs(node, before) for node in before),
            pruning=_pruned_layers(lowered, self),
            built_from=built_from(model.files, self.options, self.digests),
            calibrated=calibrated_ranges(pruned.inputs),
        )
        package = with_checked_host(package)
        return compiled_of(package, model.files, self.target, self.options)

    def _measured_note(
        self,
        trial: Trial | None,
        measured: MeasuredDivergence | None,
        partition: PartitionResult | None,
    ) -> tuple[Diagnostic, ...]:
        pruned = self.placed.calibrated.lowered.pruned
        if trial is None or pruned.inputs is None:
            return ()
        remedy = Remedy(
            trial=trial,
            inputs=pruned.inputs,
            rounded=pruned.clean.graph,
            pruned=pruned.graph,
            placed=self.graph,
            options=self.options,
        )
        return measured_note(measured, partition, remedy)


def import_model(
    model: str | Path | bytes | onnx.ModelProto,
    target: Target,
    options: Options | None = None,
    watch: Watch = Watch(),
) -> Imported:
    """Reads a model, from where it can be compiled for `target` and other chips.

    Raises UsageError for options that have no meaning, ModelError for a model that is broken.
    """
    options = options or Options()
    check_options(options)
    watch.progress("import")
    read = import_onnx(
        model,
        options.bind,
        max_nodes=options.max_nodes,
        max_tensor_bytes=options.max_tensor_bytes,
        keep_quantized=options.precision == "float",
    )
    return Imported(
        graph=read.graph,
        target=target,
        options=options,
        notes=read.notes,
        watch=watch,
        model=read,
    )


def _require_room(clean: Clean, options: Options, target: Target) -> None:
    """Raises CapacityError before hours go into what no memory of the chip could hold."""
    require_room_for_values(clean.graph, target)
    if not options.prune:
        require_room(fewest_weight_bytes(clean.graph, target), target)


def _inputs(graph: Graph, imported: Graph, options: Options) -> CalibrationInputs | None:
    """What to calibrate on; None where nothing is quantized.

    Samples are made up by how the model was imported, as they are for `verify`.
    """
    if options.precision == "float":
        return None
    if options.data is not None:
        return load_inputs(options.data, graph, options.calibration_samples)
    work = max(1, sum(macs(node, graph) for node in graph))
    count = min(max(FEWEST, MACS_MADE_UP // work), MOST, options.calibration_samples)
    return synthetic_inputs(imported, count, options.seed)


def _pruned_layers(lowered: Lowered, quantized: Quantized) -> tuple[PrunedLayer, ...]:
    """The layers that pruning made smaller; none when nothing was pruned."""
    if lowered.unpruned is None:
        return ()
    return pruned_layers(lowered.unpruned, lowered.graph, quantized.graph, quantized.target)
