"""The flow: from an ONNX model and a chip to a plan package, in the order in which things happen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import onnx
    from pydantic import JsonValue

    from compiler.ir import Graph
    from compiler.plan_package import Package
    from compiler.target import Target
    from passes.base import Observer, Pass
    from passes.calibration_inputs import CalibrationInputs

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What a compilation can be asked for; the command line has a flag for each.

    `bind` gives free sizes of the model; `data` is an npz of calibration inputs (None: made up from `seed`), of which
    `calibration_samples` are used; `prune` is the share of MACs to remove. With `precision` "float" nothing is quantized: what no
    engine computes in floats runs on the host, and nothing is calibrated. See passes.pipeline for the rest.

    `max_nodes` and `max_tensor_bytes` say which models are refused as too large; they change nothing else.
    """

    bind: Mapping[str, int] = field(default_factory=dict)
    data: str | Path | None = None
    calibration_samples: int = 128
    seed: int = 0
    prune: float = 0.0
    prune_method: Literal["second-order", "magnitude"] = "second-order"
    objective: Literal["energy", "latency", "edp"] = "energy"
    max_divergence: float | None = None
    weights: Literal["auto", "resident", "reload"] = "auto"
    max_nodes: int = 1_000_000
    max_tensor_bytes: int = 8 << 30
    precision: Literal["integer", "float"] = "integer"


@dataclass(frozen=True)
class Compiled:
    """A compiled model: its package, the one-line diagnostics on the way, and every file that was read."""

    package: Package
    diagnostics: tuple[str, ...]
    files: tuple[Path, ...]


def compile_model(
    model: str | Path | bytes | onnx.ModelProto,
    target: Target,
    options: Options | None = None,
    observers: tuple[Observer, ...] = (),
    progress: Progress = lambda _: None,
) -> Compiled:
    """Compiles a model for a chip. Raises CompileError for what the user can mend, PassError for a bug of a pass."""
    from backends.host_models import with_checked_host
    from backends.hybrid import lower
    from compiler.cost.bound import lower_bound
    from compiler.cost.memory import demand_room, fewest_weight_bytes
    from compiler.driver_measure import measured_divergence, measured_note
    from compiler.driver_pruning import PruningWatch
    from compiler.driver_unchanged import built_from
    from compiler.onnx_import import import_onnx
    from compiler.ops import macs
    from passes.base import run_passes
    from passes.pipeline import clean_passes, float_passes

    options = options or Options()
    _check(options)
    progress("import")
    imported = import_onnx(
        model,
        options.bind,
        max_nodes=options.max_nodes,
        max_tensor_bytes=options.max_tensor_bytes,
    )
    first = float_passes() if options.precision == "float" else clean_passes()
    clean = run_passes(imported.graph, first, target, *observers, progress=progress)
    if not options.prune:
        demand_room(fewest_weight_bytes(clean, target), target)
    made_from = built_from(imported.files, vars(options))  # before the data are read
    inputs = _calibration_inputs(clean, options)
    passes = _quantizing_passes(inputs, options)
    pruning = PruningWatch()
    placed = run_passes(clean, passes, target, pruning, *observers, progress=progress)
    progress("plan")
    partition = {
        **_partition_summary(placed),
        **measured_divergence(clean, placed, inputs, options.data),
    }
    notes = (*imported.notes, *_notes(inputs, options, clean, placed), *measured_note(partition))
    package = lower(
        placed,
        target,
        model_name=imported.name,
        model_sha256=imported.sha256,
        pipeline=tuple(repr(one) for one in (*first, *passes)),
        notes=notes,
        partition=partition,
        bound={**lower_bound(placed, target)},
        macs_before=sum(macs(node, clean) for node in clean),
        pruning=pruning.layers(placed, target),
        built_from=made_from,
    )
    if options.precision == "float":
        package = with_checked_host(package)
    read = [*imported.files, *((Path(options.data),) if options.data is not None else ())]
    read += [target.file] if target.file is not None else []
    return Compiled(package, (*package.plan.notes, *_modelling_notes(package)), tuple(read))


def kept(folder: Path, model: Path, target: Target, options: Options) -> Compiled | None:
    """What `compile_model` would give, when the package in a folder is that already; else None, in well under a second."""
    from compiler.driver_unchanged import external_files, kept_package

    package = kept_package(folder, model, target, vars(options))
    if package is None:
        return None
    read = [model, *external_files(package.plan, model)]
    read += [Path(options.data)] if options.data is not None else []
    read += [target.file] if target.file is not None else []
    return Compiled(package, (*package.plan.notes, *_modelling_notes(package)), tuple(read))


def _check(options: Options) -> None:
    """Refuses options that have no meaning."""
    from compiler.errors import UsageError

    if options.max_divergence is not None and not options.max_divergence >= 0:
        raise UsageError(f"--max-divergence {options.max_divergence}: wanted 0 or more, or inf")
    if options.calibration_samples < 1:
        raise UsageError(f"--calibration-samples {options.calibration_samples}: wanted 1 or more")
    if options.prune and options.precision == "float":
        raise UsageError(
            f"--prune {options.prune} changes the model's numbers, --precision float keeps them",
            hint="leave one of them out",
        )


def _calibration_inputs(graph: Graph, options: Options) -> CalibrationInputs | None:
    """What to calibrate on; None where nothing is quantized."""
    from passes.calibration_inputs import load_inputs, synthetic_inputs

    if options.precision == "float":
        return None
    if options.data is not None:
        return load_inputs(options.data, graph, options.calibration_samples)
    return synthetic_inputs(graph, min(options.calibration_samples, SYNTHETIC), options.seed)


SYNTHETIC = 16  # made-up samples tell little, so few are made


def _quantizing_passes(inputs: CalibrationInputs | None, options: Options) -> tuple[Pass, ...]:
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
    )


def _notes(
    inputs: CalibrationInputs | None, options: Options, clean: Graph, placed: Graph
) -> tuple[str, ...]:
    """Warnings on how far the result can be trusted, and what was left undone."""
    notes = []
    if inputs is None:
        notes.append(
            "nothing is quantized (--precision float): what no engine computes in floats runs on the host"
        )
        if options.data is not None or options.max_divergence is not None:
            notes.append(
                "warning[W004]: --data and --max-divergence are for quantization, and nothing is quantized"
            )
    elif inputs.synthetic:
        notes.append(
            f"warning[W001]: ranges and divergences were measured on {inputs.count} made-up inputs (seed {options.seed}); "
            "real ones differ, so the accuracy may fall: give samples with --data"
        )
    if options.prune and placed.ledger and _macs(placed) >= _macs(clean):
        notes.append(
            f"warning[W004]: --prune {options.prune} removed nothing: no channels can go without changing inputs or outputs"
        )
    return tuple(notes)


def _macs(graph: Graph) -> int:
    from compiler.ops import macs

    return sum(macs(node, graph) for node in graph)


def _modelling_notes(package: Package) -> tuple[str, ...]:
    missing = [step for step in package.plan.steps if step.not_modelled]
    if not missing:
        return ()
    plural = "s" if len(missing) > 1 else ""
    return (
        f"warning[W003]: {len(missing)} step{plural} not fully modelled, so the energy is too low: "
        f"{missing[0].name}: {missing[0].not_modelled}",
    )


def _partition_summary(graph: Graph) -> dict[str, JsonValue]:
    summary = graph.partition
    if summary is None:
        return {}
    limit = summary.max_divergence
    return {
        "objective": summary.objective,
        "energy_pj": summary.energy_pj,
        "latency_ns": summary.latency_ns,
        "divergence": summary.divergence,
        "divergence_kind": summary.divergence_kind,
        "max_divergence": limit if limit != float("inf") else None,
        "gap": summary.gap,
    }
