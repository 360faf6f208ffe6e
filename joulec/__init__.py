"""The public face of joulec: compile a model for a chip, load a package, run it.

    compiled = joulec.compile("model.onnx", "diana", output="build/model")
    outputs = joulec.run("build/model", {"input": images})

One calibration, which is what takes long, serves several budgets:

    options = joulec.Options(data="samples.npz")
    calibrated = joulec.calibrate("model.onnx", "diana", options=options)
    for budget in (0.005, 0.02, 0.08):
        compiled = calibrated.compile(replace(options, max_divergence=budget))
        compiled.save(f"build/{budget}")

(`replace` is that of dataclasses.) `calibrated.save("model.calibration")` saves it for a later
`joulec.Options(data="samples.npz", calibration="model.calibration")`.

Everything else (`compiler`, `passes`, `backends`) is internal and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.errors import (
    CapacityError,
    CompileError,
    GateError,
    ModelError,
    TargetError,
    UnsupportedError,
)
from compiler.flow.compiled import Compiled
from compiler.flow.options import Options

if TYPE_CHECKING:
    import onnx

    from compiler.flow.stages import Calibrated
    from compiler.target.chip import Target

__all__ = [
    "CapacityError",
    "CompileError",
    "Compiled",
    "GateError",
    "ModelError",
    "Options",
    "TargetError",
    "UnsupportedError",
    "calibrate",
    "compile",
    "limited",
    "load",
    "load_target",
    "run",
]


def compile(
    model: str | Path | bytes | onnx.ModelProto,
    target: str | Path | Target,
    *,
    output: str | Path | None = None,
    options: Options | None = None,
) -> Compiled:
    """Compiles an ONNX model for a chip, and writes the package to `output` if that is given.

    The chip is the name of a shipped one, a file, or a Target.

    Raises CompileError, whose `code` says what is wrong. For models of strangers see `limited`.
    """
    from compiler.driver import compile_model

    compiled = compile_model(model, _chip(target), options)
    if output is not None:
        compiled.save(output)
    return compiled


def calibrate(
    model: str | Path | bytes | onnx.ModelProto,
    target: str | Path | Target,
    *,
    options: Options | None = None,
) -> Calibrated:
    """Prepares and measures an ONNX model for a chip, to be compiled with several budgets.

    The result has `compile(options, target)`, whose options may differ in what is read after
    calibration (objective, max_divergence, weights, place) and whose chip may be another with the
    same formats; `save(path)`; and the stages before and after it one by one
    (compiler/flow/stages.py). Raises CompileError.
    """
    from compiler.driver import calibrate_model

    return calibrate_model(model, _chip(target), options)


def _chip(target: str | Path | Target) -> Target:
    from compiler.target.chip import Target

    return target if isinstance(target, Target) else load_target(target)


def load(folder: str | Path) -> Compiled:
    """A package from its folder, checked. Raises CompileError when it is damaged."""
    from backends.lowering.check_host_models import check_host_models
    from compiler.plan.check import check_package
    from compiler.plan.package import read_package
    from compiler.storage.files import path_of

    package = read_package(path_of(folder, "package"))
    check_package(package)
    check_host_models(package)
    return Compiled(package)


def run(package: str | Path | Compiled, inputs: Mapping[str, Any]) -> list[Any]:
    """Runs a package alone: arrays by input name, samples stacked on the batch axis.

    Outputs in the model's order.

    Raises CompileError when the package is damaged or the inputs do not fit it.
    """
    from backends.simulate import Simulator

    compiled = package if isinstance(package, Compiled) else load(package)
    return Simulator(compiled.package).run(inputs)


def load_target(name_or_file: str | Path) -> Target:
    """A chip: a shipped one by name, or a chip file by path.

    Raises TargetError, which names every fault of the file.
    """
    from compiler.storage.files import path_of
    from compiler.target.chip import load_target as load_chip

    path_of(name_or_file, "chip")
    return load_chip(name_or_file)


def limited(
    *,
    memory_bytes: int | None = None,
    seconds: float | None = None,
    loop_work: int | None = None,
) -> AbstractContextManager[None]:
    """Limits what is done inside: `with joulec.limited(seconds=60): joulec.compile(...)`.

    Within them results are what they always are.

    CompileError M008 when it takes more memory (None: than the machine has) or more time (None: no
    limit), or when Loops and Scans of a node execute more nodes in a run than `loop_work` (None: as
    outside, which is 2,000,000). They hold for the whole process; time can only be limited on the
    main thread, with the signal SIGALRM, and a library that does not come back to Python within
    10 s more ends the process with status 3.
    """
    from compiler.flow.limits import limited as limited_to

    return limited_to(memory_bytes, seconds, loop_work)
