"""The public face of joulec: compile a model for a chip, load a package, run it.

    compiled = joulec.compile("model.onnx", "diana", output="build/model")
    outputs = joulec.run("build/model", {"input": images})

Everything else (`compiler`, `passes`, `backends`) is internal and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler.driver_options import Options
from compiler.errors import (
    CapacityError,
    CompileError,
    GateError,
    ModelError,
    TargetError,
    UnsupportedError,
)

if TYPE_CHECKING:
    import onnx

    from compiler.plan import Plan
    from compiler.plan_package import Package
    from compiler.target import Target

__all__ = [
    "CapacityError",
    "CompileError",
    "Compiled",
    "GateError",
    "ModelError",
    "Options",
    "TargetError",
    "UnsupportedError",
    "compile",
    "load",
    "load_target",
    "run",
]


@dataclass(frozen=True)
class Compiled:
    """A compiled model: its `package` and the one-line `diagnostics` that came up."""

    package: Package
    diagnostics: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """The plan: steps, buffers, placements, energy."""
        return self.package.plan

    @property
    def report(self) -> str:
        """The partition report as text."""
        from backends.report import text_report

        return text_report(self.plan)

    def save(self, folder: str | Path) -> None:
        """Writes the package; raises CompileError (U007) when the folder holds something else or cannot be written."""
        from compiler.plan_package import write_package

        write_package(self.package, folder)


def compile(
    model: str | Path | bytes | onnx.ModelProto,
    target: str | Path | Target,
    *,
    output: str | Path | None = None,
    options: Options | None = None,
) -> Compiled:
    """Compiles an ONNX model for a chip (a name of a shipped one, a file, or a Target), and writes the package to `output` if given.

    Raises CompileError, whose `code` says what is wrong. Memory and time have no limits here, as such limits hold for a whole process: run
    the command line, or a process of your own with limits, for models of strangers.
    """
    from compiler.driver import compile_model
    from compiler.target import Target

    chip = target if isinstance(target, Target) else load_target(target)
    made = compile_model(model, chip, options)
    compiled = Compiled(made.package, made.diagnostics)
    if output is not None:
        compiled.save(output)
    return compiled


def load(folder: str | Path) -> Compiled:
    """A package from its folder, checked. Raises CompileError when it is damaged."""
    from compiler.plan_check import check_package
    from compiler.plan_package import read_package

    package = read_package(folder)
    check_package(package)
    return Compiled(package)


def run(package: str | Path | Compiled, inputs: Mapping[str, Any]) -> list[Any]:
    """Runs a package alone: arrays by input name, samples stacked on the batch axis; outputs in the model's order."""
    from backends.simulate import Simulator

    compiled = package if isinstance(package, Compiled) else load(package)
    return Simulator(compiled.package).run(inputs)


def load_target(name_or_file: str | Path) -> Target:
    """A chip: a shipped one by name, or a chip file by path."""
    from compiler.target import load_target as load_chip

    return load_chip(name_or_file)
