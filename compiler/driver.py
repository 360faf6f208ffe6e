"""The flow: from an ONNX model and a chip to a plan package, in the order of what happens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.flow.compiled import Compiled, compiled_of
from compiler.flow.options import Options

if TYPE_CHECKING:
    import onnx

    from compiler.flow.stages import Calibrated
    from compiler.target.chip import Target
    from passes.base import Observer

Progress = Callable[[str], None]


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
    calibrated = calibrate_model(model, target, options, observers, progress)
    placed = calibrated.place()
    quantized = placed.quantize()
    return quantized.plan()


def calibrate_model(
    model: str | Path | bytes | onnx.ModelProto,
    target: Target,
    options: Options | None = None,
    observers: tuple[Observer, ...] = (),
    progress: Progress = lambda _: None,
) -> Calibrated:
    """Takes a model as far as no budget and no objective matters yet.

    From there it is compiled with several of them, or for several chips of the same formats. Raises
    as `compile_model`.
    """
    from compiler.flow.stages import Watch, import_model

    imported = import_model(model, target, options, Watch(observers, progress))
    clean = imported.clean()
    pruned = clean.prune()
    lowered = pruned.lower()
    return lowered.calibrate()


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
    return compiled_of(package, files, target, options)
