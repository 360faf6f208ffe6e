"""The flow: from an ONNX model and a chip to a plan package, in the order in which things happen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.flow.options import Options

if TYPE_CHECKING:
    import onnx

    from compiler.plan.package import Package
    from compiler.target.chip import Target
    from passes.base import Observer

Progress = Callable[[str], None]


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
    """Compiles a model for a chip.

    Raises CompileError for what the user can mend, PassError for a bug of a pass.
    """
    from backends.hybrid import lower
    from backends.lowering.host_models import with_checked_host
    from compiler.bound.lower_bound import lower_bound
    from compiler.cost.memory import (
        fewest_weight_bytes,
        require_room,
        require_room_for_values,
    )
    from compiler.flow.dialects import dialect_notes
    from compiler.flow.measure import few_samples_note, measured_divergence, measured_note
    from compiler.flow.notes import calibration_notes, partition_summary, trust_notes
    from compiler.flow.options import (
        calibration_inputs,
        check_options,
        first_passes,
        quantizing_passes,
    )
    from compiler.flow.placement import PlacementWatch
    from compiler.flow.pruning import PruningWatch
    from compiler.flow.up_to_date import built_from
    from compiler.frontend.import_onnx import import_onnx
    from compiler.ir.ops import macs
    from passes.base import run_passes

    options = options or Options()
    check_options(options)
    progress("import")
    imported = import_onnx(
        model,
        options.bind,
        max_nodes=options.max_nodes,
        max_tensor_bytes=options.max_tensor_bytes,
        keep_quantized=options.precision == "float",
    )
    first = first_passes(options)
    placement, pruning = PlacementWatch(imported.graph), PruningWatch()
    clean = run_passes(imported.graph, first, target, placement, *observers, progress=progress)
    require_room_for_values(clean, target)
    if not options.prune:
        require_room(fewest_weight_bytes(clean, target), target)
    made_from = built_from(imported.files, options)  # before the data are read
    inputs = calibration_inputs(clean, options)
    passes = quantizing_passes(inputs, options)
    placed = run_passes(clean, passes, target, placement, pruning, *observers, progress=progress)
    progress("plan")
    measured = measured_divergence(clean, placed, inputs, options.data)
    partition = {**partition_summary(placed), **measured}
    notes = (
        *dialect_notes(imported.graph, clean, has_data=options.data is not None),
        *trust_notes(inputs, options, clean, placed),
        *calibration_notes(placement.graph.calibration),
        *few_samples_note(measured),
        *measured_note(partition),
    )
    package = lower(
        placed,
        target,
        model_name=imported.name,
        model_sha256=imported.sha256,
        pipeline=tuple(repr(one) for one in (*first, *passes)),
        notes=(*imported.notes, *notes),
        partition=partition,
        bound={**lower_bound(placement.graph, target)},
        macs_before=sum(macs(node, clean) for node in clean),
        pruning=pruning.layers(placed, target),
        built_from=made_from,
    )
    package = with_checked_host(package)
    return _compiled(package, imported.files, target, options)


def up_to_date(folder: Path, model: Path, target: Target, options: Options) -> Compiled | None:
    """Finds in a folder the package that `compile_model` would make, in well under a second.

    None where another or none lies there.
    """
    from compiler.flow.up_to_date import external_files, up_to_date_package

    package = up_to_date_package(folder, model, target, options)
    if package is None:
        return None
    files = [model, *external_files(package.plan, model)]
    size_bytes = sum(file.stat().st_size for file in files)
    if len(package.plan.placements) > options.max_nodes or size_bytes > options.max_tensor_bytes:
        return None  # the limits are lower than they were, and it is for the import to say so
    return _compiled(package, files, target, options)


def _compiled(
    package: Package, model_files: Sequence[Path], target: Target, options: Options
) -> Compiled:
    """A package with what there is to say of it and every file it came from."""
    from compiler.flow.notes import modelling_notes

    read = [*model_files]
    read += [Path(options.data)] if options.data is not None else []
    read += [target.file] if target.file is not None else []
    return Compiled(package, (*package.plan.notes, *modelling_notes(package)), tuple(read))
