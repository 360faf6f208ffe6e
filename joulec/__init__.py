"""The public face of joulec: compile a model for a chip, load a package, run it.

    compiled = joulec.compile("model.onnx", "diana", output="build/model")
    outputs = joulec.run("build/model", {"input": images})

Everything else (`compiler`, `passes`, `backends`) is internal and may change.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
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
from compiler.flow.options import Options

if TYPE_CHECKING:
    import networkx
    import onnx

    from compiler.plan.package import Package
    from compiler.plan.schema import Plan
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
    "compile",
    "limited",
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

    def graph(self) -> networkx.DiGraph[tuple[str, str]]:
        """The plan's steps and buffers as a networkx graph: ("step", NAME) and ("buffer", NAME).

        Steps have the attributes `index`, `op`, `engine`, `energy_pj`, `latency_ns`, `start_ns`,
        `end_ns`, `macs` and `nodes`; buffers `dtype`, `shape`, `memory`, `address`, `size_bytes`
        and `same_as`. Arcs are of the `kind` "read", "write" or "order" (the next step of an
        engine). With their `latency_ns` as weight the longest path is the plan's latency.
        """
        from compiler.plan.views import plan_graph

        return plan_graph(self.plan)

    def save(self, folder: str | Path) -> None:
        """Writes the package; raises CompileError (U007) when the folder holds something else or cannot be written."""
        from compiler.plan.package import write_package
        from compiler.storage.files import path_of

        write_package(self.package, path_of(folder, "output"))


def compile(
    model: str | Path | bytes | onnx.ModelProto,
    target: str | Path | Target,
    *,
    output: str | Path | None = None,
    options: Options | None = None,
) -> Compiled:
    """Compiles an ONNX model for a chip (a name of a shipped one, a file, or a Target), and writes the package to `output` if given.

    Raises CompileError, whose `code` says what is wrong. For models of strangers see `limited`.
    """
    from compiler.driver import compile_model
    from compiler.target.chip import Target

    chip = target if isinstance(target, Target) else load_target(target)
    made = compile_model(model, chip, options)
    compiled = Compiled(made.package, made.diagnostics)
    if output is not None:
        compiled.save(output)
    return compiled


def load(folder: str | Path) -> Compiled:
    """A package from its folder, checked. Raises CompileError when it is damaged."""
    from compiler.plan.check import check_package
    from compiler.plan.package import read_package
    from compiler.storage.files import path_of

    package = read_package(path_of(folder, "package"))
    check_package(package)
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
    *, memory_bytes: int | None = None, seconds: float | None = None
) -> AbstractContextManager[None]:
    """Limits what is done inside: `with joulec.limited(seconds=60): joulec.compile(...)`.

    Within them results are what they always are.

    CompileError M008 when it takes more memory (None: than the machine has) or more time (None: no
    limit). They hold for the whole process; time can only be kept on the main thread, with the
    signal SIGALRM, and a library that does not come back to Python within 10 s more ends the
    process with status 3.
    """
    from compiler.flow.limits import limited as kept_within

    return kept_within(memory_bytes, seconds)
