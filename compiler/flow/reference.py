"""Runs a model as its file says, in ONNX Runtime with optimizations off, for any of its values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import CompileError, ModelError, one_line
from compiler.execute.interpreter import Interpreter, Model
from compiler.frontend.import_onnx import import_onnx
from compiler.frontend.load import whole_message
from compiler.ir.graph import Array, Graph


class Reference:
    """A model file that what was compiled from it is compared with.

    The import refuses what is broken or hostile before ONNX Runtime sees it.

    `runtime` says who computes: ONNX Runtime on the file as given, or, where it cannot (an unknown
    dialect, an old opset), on the graph that the import made of it.
    """

    def __init__(self, model: str | Path, bind: Mapping[str, int] | None = None) -> None:
        imported = import_onnx(model, bind)
        self.graph: Graph = imported.graph
        self.sha256 = imported.sha256
        self._file = Path(model)
        self.runtime = ""

    def computed(self) -> set[str]:
        """The values that nodes of the graph make."""
        return {name for node in self.graph for name in node.outputs if name}

    def run(self, samples: Mapping[str, Array], values: Iterable[str]) -> dict[str, list[Any]]:
        """Values by name, one entry for each sample; `samples` are [S, *shape].

        Raises ModelError where the model does not run on them.
        """
        names = list(dict.fromkeys(values))
        run = self._runner(names)
        found: dict[str, list[Any]] = {name: [] for name in names}
        for index in range(len(next(iter(samples.values()), [None]))):
            sample = {n: np.ascontiguousarray(data[index]) for n, data in samples.items()}
            try:
                results = run(sample)
            except (MemoryError, CompileError):
                raise
            except Exception as error:  # nor one for what it cannot run
                why = one_line(str(error))
                raise ModelError(f"the model does not run: {why}", code="M002") from error
            for name in names:
                found[name].append(results[name])
        return found

    def _runner(self, names: list[str]) -> Any:
        """The file in ONNX Runtime with more outputs.

        Where that does not load, the imported graph.
        """
        with contextlib.suppress(Exception):  # there is no one error for what does not load
            model = Model(self._with_outputs(names))
            if not model.on_reference:
                self.runtime = "ONNX Runtime, optimizations off, on the file as given"
                return model.run
        self.runtime = "ONNX Runtime, optimizations off, on the imported graph"
        return Interpreter(self.graph, outputs=names).run

    def _with_outputs(self, names: list[str]) -> bytes:
        import onnx

        model = whole_message(self._file)
        given = {output.name for output in model.graph.output}
        made = {name for node in model.graph.node for name in node.output}
        if not set(names) <= given | made:
            raise ValueError("the import has values that the file has not")
        for name in names:
            if name not in given:
                model.graph.output.append(onnx.ValueInfoProto(name=name))
        data: bytes = model.SerializeToString()
        return data
