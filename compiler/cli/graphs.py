"""Writes the graphs between the passes of a compilation (--dump-passes, --annotated)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from compiler.errors import UsageError, one_line
from compiler.storage.files import write_whole

if TYPE_CHECKING:
    from compiler.ir.graph import Graph
    from passes.base import Pass


def annotated_graph(graph: Graph) -> bytes:
    """Writes a graph as an ONNX file whose nodes name their engine, energy and reason."""
    from compiler.execute.export_onnx import export_onnx

    data: bytes = export_onnx(graph, annotate=True).SerializeToString(deterministic=True)
    return data


class Dump:
    """An observer that writes the graph before the first pass and after each.

    The files are 00-import.txt, 01-eliminate_dead.txt, ... and for each the same graph as ONNX,
    which ONNX Runtime runs, unless a node that is whole in its own opset forbids it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def __call__(self, position: int, ran: Pass, before: Graph, after: Graph) -> None:
        """What `run_passes` tells."""
        if self._count == 0:
            self._write("import", before)
        self._write(ran.name, after)

    def _write(self, name: str, graph: Graph) -> None:
        from compiler.execute.export_onnx import export_onnx
        from compiler.ir.text import to_text

        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            shown = one_line(str(self._folder))
            raise UsageError(
                f"cannot write folder {shown!r}: {error.strerror}", code="U007"
            ) from error
        path = self._folder / f"{self._count:02d}-{name}.txt"
        write_whole(path, to_text(graph).encode("utf-8", "backslashreplace"))
        if all(node.op != "Segment" for node in graph):
            write_whole(path.with_suffix(".onnx"), export_onnx(graph).SerializeToString())
        self._count += 1
