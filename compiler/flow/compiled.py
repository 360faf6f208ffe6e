"""A compiled model: the package, what came up on the way, and what it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.errors import Diagnostic
from compiler.flow.declare import files_of

if TYPE_CHECKING:
    import networkx

    from compiler.flow.options import Options
    from compiler.plan.package import Package
    from compiler.plan.schema import Plan
    from compiler.target.chip import Target


@dataclass(frozen=True)
class Compiled:
    """A compiled model: its `package` and the `diagnostics` that came up, each with its `line()`.

    `files` are all files that were read to make it.
    """

    package: Package
    diagnostics: tuple[Diagnostic, ...] = ()
    files: tuple[Path, ...] = ()

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
        """Writes the package into a folder.

        Raises CompileError (U007) when the folder holds something else or cannot be written.
        """
        from compiler.plan.package import write_package
        from compiler.storage.files import path_of

        write_package(self.package, path_of(folder, "output"))


def compiled_of(
    package: Package,
    model_files: Sequence[Path],
    target: Target,
    options: Options,
) -> Compiled:
    """Puts a package together with what there is to say of it and every file it came from."""
    from compiler.flow.notes import modelling_notes

    read = [*model_files, *files_of(options).values()]
    read += [target.file] if target.file is not None else []
    diagnostics = (*package.plan.diagnostics, *modelling_notes(package))
    return Compiled(package, diagnostics, tuple(read))
