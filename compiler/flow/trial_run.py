"""Runs a model once before it is compiled: what ONNX Runtime cannot run on any input is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from compiler.errors import ModelError, UsageError, one_line
from compiler.execute.interpreter import Interpreter, RunError
from compiler.execute.made_up_inputs import is_read
from compiler.ir.graph import DTYPE_BITS, Array, Graph, Node
from compiler.ir.protos import numpy_dtype
from passes.calibration.inputs import CalibrationInputs, synthetic_inputs

_INDICES = ("int32", "int64", "uint32", "uint64")  # of truth values both are tried


def require_runnable(
    graph: Graph, inputs: CalibrationInputs | None, data: str | Path | None = None
) -> None:
    """Requires that a model runs: on its first sample, or else on inputs of other numbers.

    `inputs` is what it is calibrated on, from the file `data` where that is given (None: made up
    here). A node that may need particular integers (a size, an index) is only held to samples that
    were given. Raises ModelError (M011) that names the node where the model is to blame, UsageError
    (U005) where the data are.
    """
    if not all(_is_known(name, graph) for name in graph.inputs if is_read(name, graph)):
        return
    try:
        runner = Interpreter(graph)
    except RunError:  # a kernel that is missing: what packs the host's models tells of it
        return
    first = _first(inputs if inputs is not None else synthetic_inputs(graph, 1))
    error = _error(runner, first)
    if error is None:
        return
    failing = _failing(graph, first)
    if failing is None:
        return  # no node fails by itself
    node, reason = failing
    if not _needs_numbers(node, graph) and not any(
        _error(runner, values) is None for values in _others(graph)
    ):
        raise ModelError(
            f"{node.op} cannot be run, whatever the inputs: {reason}",
            code="M011",
            node=node.name,
            hint="the model does not run in ONNX Runtime either",
        ) from error
    if data is not None:
        raise UsageError(
            f"data file {one_line(str(data))!r}: the model does not run on its samples: "
            f"{node.op} {one_line(node.name)!r}: {reason}",
            code="U005",
        ) from error


def _is_known(name: str, graph: Graph) -> bool:
    kind = graph.types[name]
    return kind.dtype in DTYPE_BITS and kind.is_static


def _first(inputs: CalibrationInputs) -> dict[str, Array]:
    return {name: np.asarray(data[0], order="C") for name, data in inputs.arrays.items()}


def _others(graph: Graph) -> Iterator[dict[str, Array]]:
    """Makes up inputs of zeros, of ones and of plausible numbers."""
    for number in (0, 1):
        yield {
            name: np.full(graph.types[name].sizes, number, numpy_dtype(graph.types[name].dtype))
            for name in graph.inputs
            if is_read(name, graph)
        }
    yield _first(synthetic_inputs(graph, 1))


def _error(runner: Interpreter, values: Mapping[str, Array]) -> RunError | None:
    try:
        runner.run(values)
    except RunError as error:
        return error
    return None


def _failing(graph: Graph, values: Mapping[str, Array]) -> tuple[Node, str] | None:
    """Finds the first node that fails, run one by one, and why."""
    known = dict(values)
    for node in graph.nodes:
        read = [name for name in node.inputs if name and name not in graph.constants]
        made = [name for name in node.outputs if name]
        if any(name not in known for name in read):
            continue
        try:
            runner = Interpreter(graph, inputs=read, outputs=made)
            known.update(runner.run({name: known[name] for name in read}))
        except RunError as error:
            return node, one_line(str(error).rpartition("Status Message: ")[2])
    return None


def _needs_numbers(node: Node, graph: Graph) -> bool:
    """Whether a node may want particular integers (an index, a size) that the inputs decide.

    They are integers that it reads, or decide a shape that it reads.
    """
    for name in filter(None, node.inputs):
        kind = graph.types[name]
        if name not in graph.constants and (not kind.is_static or kind.dtype in _INDICES):
            decided = _inputs_of(name, graph)
            if any(graph.types[one].dtype in _INDICES for one in decided):
                return True
    return False


def _inputs_of(value: str, graph: Graph) -> set[str]:
    """Finds the graph's inputs that a value depends on."""
    pending, seen = [value], {value}
    while pending:
        maker = graph.producer.get(pending.pop())
        more = set(maker.inputs if maker is not None else ()) - seen
        seen |= more
        pending.extend(more)
    return seen.intersection(graph.inputs)
