"""Runs a model as its file says, in ONNX Runtime with optimizations off, for any of its values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.errors import CompileError, ModelError, one_line
from compiler.execute.interpreter import Interpreter, Model
from compiler.execute.reference_evaluator import ReferenceModel
from compiler.frontend.import_onnx import import_onnx
from compiler.frontend.load import whole_message
from compiler.ir.graph import Array, Graph
from compiler.plan.schema import Port

Run = Callable[[Mapping[str, Any]], Mapping[str, Any]]
ON_FILE = "ONNX Runtime, optimizations off, on the file as given"
ON_EVALUATOR = "onnx's reference evaluator on the file as given"
ON_IMPORT = "joulec's own import of the model"


class Reference:
    """A model file that what was compiled from it is compared with.

    The import refuses what is broken or hostile before ONNX Runtime sees it. Outputs are judged by
    the file as given: in ONNX Runtime, or in onnx's reference evaluator where that cannot run it.
    What no one runs but our own import is no judge, and is told as such.

    Of the last run, `runtime` says who computed, `unjudged` why outputs come from the import (an
    empty string where none does), and `imported` which other values do, since the file has none of
    their name.
    """

    def __init__(
        self,
        model: str | Path,
        bind: Mapping[str, int] | None = None,
        ports: Sequence[Port] = (),
    ) -> None:
        """Reads the file; free sizes that `bind` leaves open are those of a package's `ports`."""
        like = {port.name: port.shape for port in ports if port.shape is not None}
        imported = import_onnx(model, bind, like=like)
        self.graph: Graph = imported.graph
        self.sha256 = imported.sha256
        self._file = Path(model)
        self.runtime = ""
        self.unjudged = ""
        self.imported: tuple[str, ...] = ()

    def computed(self) -> set[str]:
        """The values that nodes of the graph make."""
        return {name for node in self.graph for name in node.outputs if name}

    def run(self, samples: Mapping[str, Array], values: Iterable[str]) -> dict[str, list[Any]]:
        """Values by name, one entry for each sample; `samples` are [S, *shape].

        Raises ModelError where the model does not run on them.
        """
        names = list(dict.fromkeys(values))
        feeds = [
            # A scalar stays one: np.ascontiguousarray would make it a vector.
            {name: np.asarray(data[index], order="C") for name, data in samples.items()}
            for index in range(len(next(iter(samples.values()), [None])))
        ]
        found = self._by_file(feeds, names)
        missing = [name for name in names if name not in found]
        self.imported = tuple(name for name in missing if name not in self.graph.outputs)
        if missing:
            found |= _run(Interpreter(self.graph, outputs=missing).run, feeds, missing)
        return found

    def _by_file(self, feeds: list[dict[str, Array]], names: list[str]) -> dict[str, list[Any]]:
        """Runs the file for its outputs, and for what else of these values it has and can give."""
        self.runtime, self.unjudged = ON_IMPORT, ""
        try:
            model = whole_message(self._file)
        except CompileError as error:
            self.unjudged = error.message
            return {}
        outputs = [output.name for output in model.graph.output]
        made = {name for node in model.graph.node for name in node.output}
        inner = [name for name in names if name in made and name not in outputs]
        for more in [inner, []] if inner else [[]]:
            wanted = [name for name in names if name in outputs or name in more]
            on_evaluator = ""
            try:
                run, on_evaluator = _judge(_with_outputs(model, more))
                found = _run(run, feeds, wanted)
            except MemoryError:
                raise
            except ModelError as error:
                if not on_evaluator:
                    raise
                self.unjudged = f"{on_evaluator}; {error.message} in onnx's evaluator"
            except Exception as error:  # there is no one error for what does not load
                self.unjudged = f"ONNX Runtime does not run the file: {one_line(str(error))}"
            else:
                self.runtime, self.unjudged = ON_FILE, ""
                if on_evaluator:
                    self.runtime = f"{ON_EVALUATOR} ({on_evaluator})"
                return found
        return {}


def _judge(model: bytes) -> tuple[Run, str]:
    """Opens a model in ONNX Runtime, or in onnx's evaluator with the reason; raises its error."""
    import onnx

    try:
        runner = Model(model)
    except MemoryError:
        raise
    except Exception as error:
        try:
            evaluator = ReferenceModel(onnx.ModelProto.FromString(model))
        except Exception:  # ONNX Runtime's error says more
            raise error from None
        return evaluator.run, f"ONNX Runtime refuses it: {one_line(str(error))}"
    return runner.run, runner.on_reference


def _run(run: Run, feeds: list[dict[str, Array]], names: list[str]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: [] for name in names}
    for feed in feeds:
        try:
            results = run(feed)
        except (MemoryError, CompileError):
            raise
        except Exception as error:  # nor one for what it cannot run
            why = one_line(str(error))
            raise ModelError(f"the model does not run: {why}", code="M002") from error
        for name in names:
            found[name].append(results[name])
    return found


def _with_outputs(model: Any, names: list[str]) -> bytes:
    """The bytes of a model that hands out more of its values."""
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    data: bytes = changed.SerializeToString()
    return data
