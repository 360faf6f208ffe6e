"""Runs a graph through ONNX Runtime, optimizations off, else onnx's reference evaluator.

It is the reference for numbers, and what calibration measures with.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.errors import CompileError, one_line
from compiler.execute.export_onnx import export_nodes
from compiler.execute.external_constants import take_as_inputs
from compiler.execute.host_split import nodes_on_reference
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.execute.reference_evaluator import ReferenceModel, deciding_values, why_reference
from compiler.ir.graph import Array, Graph, Node
from compiler.storage.mapped import release_pages


class RunError(Exception):
    """An error of running: the graph is refused, or a run fails on the values it is given."""


@contextmanager
def _of_running() -> Iterator[None]:
    """Raises every error of a model's run as a RunError.

    Neither ONNX Runtime's errors nor the reference evaluator's share a base.
    """
    try:
        yield
    except (MemoryError, CompileError):  # no values of another sample would change these
        raise
    except Exception as error:
        raise RunError(one_line(str(error))) from error


def stacked(samples: Iterable[Array]) -> Array:
    """Stacks values of several samples, [S, *shape]; RunError where they differ in size."""
    with _of_running():
        return np.stack([np.asarray(value) for value in samples])


class Model:
    """An ONNX model ready to run on the host: by ONNX Runtime, else by onnx's reference evaluator.

    `weights` are inputs that are always the same, handed over without a copy
    (compiler.execute.external_constants). `on_reference` says why ONNX Runtime does not run it, or
    is an empty string. Raises ONNX Runtime's error for a model that neither takes.
    """

    def __init__(self, model: bytes, weights: Mapping[str, Array] | None = None) -> None:
        self._runner, self.on_reference = _runner(model)
        self._weights = weights or {}
        self.inputs = tuple(name for name in self._runner.inputs if name not in self._weights)
        self.outputs = self._runner.outputs

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one inference: values by name in, outputs by name out.

        The result is the same wherever the values lie in memory.
        """
        placed = {name: _aligned(value) for name, value in values.items()}
        return self._runner.run({**self._weights, **placed})

    def release_pages(self) -> None:
        """Releases the memory of weights that lie in files until the next run."""
        for data in self._weights.values():
            release_pages(data)


ALIGNMENT_BYTES = 16  # where numpy puts arrays, but not every sample of a stack


def _aligned(value: Any) -> Any:
    """Copies a value to where numpy would put it, unless it lies there.

    Elsewhere ONNX Runtime's ReduceSum, ReduceMean and InstanceNormalization sum in another order.
    """
    if not isinstance(value, np.ndarray):
        return value
    address: int = value.__array_interface__["data"][0]
    return value.copy() if address % ALIGNMENT_BYTES else value


def _runner(model: bytes) -> tuple[RuntimeModel | ReferenceModel, str]:
    """Opens what runs a model, and explains why that is not ONNX Runtime (empty where it is)."""
    import onnx
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    reason = why_reference(model)
    refused: Exception | None = None
    if not reason:
        try:
            found = RuntimeModel(model)
            reason = found.why_not()
            if not reason:
                return found, ""
        except (runtime.NotImplemented, runtime.Fail) as error:  # no kernel for an operation
            reason, refused = f"ONNX Runtime refuses it: {one_line(str(error))}", error
    try:
        return ReferenceModel(onnx.ModelProto.FromString(model)), reason
    except ImportError:
        raise
    except Exception as error:  # the evaluator's errors share no base
        raise refused or error from error


# Of weights, beyond which the caches do not hold them from one sample to the next.
FETCHED_BYTES = 4 << 20
# Of what a product reads and makes of the samples that run through it together.
TOGETHER_BYTES = 64 << 20


@dataclass(frozen=True)
class _Piece:
    """Nodes that run as one model.

    `inputs` and `outputs` map the model's own names to the graph's; `later` are the values that are
    read behind it.

    `shares_weights`: the samples enter as one, the first axis of each behind that of the one
    before.
    """

    model: Model
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    later: Collection[str]
    shares_weights: bool = False


class Interpreter:
    """A graph ready to run: from any values to any values.

    `inputs` default to the graph's inputs, `outputs` to its outputs; only the nodes between them
    run. Nodes kept whole (Segment) run as models of their own between the rest. Raises RunError
    when it is made or run, where what runs models refuses the graph or fails on the values.
    """

    def __init__(
        self,
        graph: Graph,
        inputs: Iterable[str] | None = None,
        outputs: Iterable[str] | None = None,
    ) -> None:
        self.graph = graph
        self.inputs = tuple(graph.inputs if inputs is None else inputs)
        self.outputs = tuple(dict.fromkeys(graph.outputs if outputs is None else outputs))
        split = self._split(self._needed())
        self._pieces = [self._piece(nodes, later) for nodes, later in split]
        shared = [nodes[0] for nodes, _ in split if self._shares_weights(nodes[0])]
        most_bytes = max((self._bytes_around(node) for node in shared), default=TOGETHER_BYTES)
        self._together = max(1, TOGETHER_BYTES // most_bytes)  # samples

    @property
    def on_reference(self) -> bool:
        """Whether a part of it runs on onnx's reference evaluator."""
        return any(piece.model.on_reference for piece in self._pieces)

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one sample: input values by name to output values by name.

        Values have the shapes that the graph declares.
        """
        state = dict(values)
        self._run([state])
        return {name: self._value(name, state) for name in self.outputs}

    def run_all(self, samples: Mapping[str, Array]) -> dict[str, Array]:
        """Runs many samples: [S, *shape] in and out.

        RunError where there are none, or where their results differ in size.
        """
        return {name: stacked(values) for name, values in self.run_each(samples).items()}

    def run_each(self, samples: Mapping[str, Array]) -> dict[str, list[Any]]:
        """Runs many samples, [S, *shape], to a list of results for each output: values of any type.

        RunError where there are none. Large weights are fetched once for many samples, not for
        each: fetching takes several times as long as a few products with them.
        """
        if not samples:
            raise RunError("there are no samples to run")
        count = len(next(iter(samples.values())))
        results: dict[str, list[Any]] = {name: [] for name in self.outputs}
        for start in range(0, count, self._together):
            states = [
                {name: np.asarray(data[index], order="C") for name, data in samples.items()}
                for index in range(start, min(start + self._together, count))
            ]
            self._run(states)
            for state in states:
                for name in self.outputs:
                    results[name].append(self._value(name, state))
        return results

    def _run(self, states: Sequence[dict[str, Any]]) -> None:
        """Runs a few samples piece by piece, and drops the values that are read no more.

        Each piece adds its outputs to what is known of each sample.
        """
        for piece in self._pieces:
            feeds = [
                {ours: self._value(name, known) for ours, name in piece.inputs.items()}
                for known in states
            ]
            with _of_running():
                results = (
                    _run_as_one(piece.model, feeds)
                    if piece.shares_weights
                    else map(piece.model.run, feeds)
                )
                for known, made in zip(states, results, strict=True):
                    known.update({piece.outputs[name]: value for name, value in made.items()})
            if piece.shares_weights:
                piece.model.release_pages()
            for known in states:
                for name in [name for name in known if name not in piece.later]:
                    del known[name]

    def _value(self, name: str, known: Mapping[str, Any]) -> Any:
        if name in known:
            return known[name]
        if name in self.graph.constants:
            return self.graph.constants[name]
        raise RunError(f"no value is given for {name!r}")

    def _needed(self) -> list[Node]:
        """Finds the nodes between inputs and outputs, in execution order."""
        wanted = set(self.outputs) - set(self.inputs)
        nodes = []
        for node in reversed(self.graph.nodes):
            if wanted.intersection(node.outputs):
                nodes.append(node)
                wanted.update(set(node.inputs) - set(self.inputs) - {""})
        return nodes[::-1]

    def _split(self, nodes: list[Node]) -> list[tuple[list[Node], set[str]]]:
        """Splits nodes into runs that can share a model.

        Each run comes with the values that later runs or the outputs read.
        """
        on_reference = nodes_on_reference(nodes, self.graph, (*self.inputs, *self.outputs))
        runs: list[list[Node]] = []
        last: object = None
        for node in nodes:
            alone = node.op == "Segment" or self._shares_weights(node)
            shared = None if alone else node.name in on_reference
            if shared is None or shared is not last:
                runs.append([])
            runs[-1].append(node)
            last = shared
        result = []
        later = set(self.outputs)
        for nodes_of_run in reversed(runs):
            result.append((nodes_of_run, set(later)))
            for node in nodes_of_run:
                later.update(name for name in node.inputs if name)
        return result[::-1]

    def _shares_weights(self, node: Node) -> bool:
        """Whether a node is a product with large weights whose rows are independent.

        Then one product of many samples' rows is the same as one for each sample.
        """
        if node.op != "Product" or node.ints("kernel", ()):
            return False
        weights = self.graph.constants.get(node.inputs[1])
        is_large = weights is not None and weights.nbytes > FETCHED_BYTES
        return is_large and len(self.graph.types[node.inputs[0]].sizes) > 1

    def _bytes_around(self, node: Node) -> int:
        """Counts the bytes that a product reads and makes of one sample, without its weights."""
        return sum(self.graph.types[name].size_bytes for name in (node.inputs[0], *node.outputs))

    def _piece(self, nodes: list[Node], later: set[str]) -> _Piece:
        made = dict.fromkeys(name for node in nodes for name in node.outputs if name)
        read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        inputs = [n for n in read if n not in made and n not in self.graph.constants]
        outputs = [name for name in made if name in later]
        if nodes[0].op == "Segment":
            return self._segment(nodes[0], later)
        weights: dict[str, Array] = {}
        model = export_nodes(
            self.graph,
            nodes,
            inputs,
            outputs,
            external=weights,
            in_memory=True,
            value_info=deciding_values(nodes),
        )
        shares_weights = self._shares_weights(nodes[0])
        for port in (*model.graph.input, *model.graph.output) if shares_weights else ():
            port.type.tensor_type.shape.dim[0].ClearField("dim_value")
        if weights:
            take_as_inputs(model)
        with _of_running():
            runner = Model(model.SerializeToString(), weights)
        return _Piece(
            model=runner,
            inputs={name: name for name in inputs},
            outputs={name: name for name in outputs},
            later=later,
            shares_weights=shares_weights,
        )

    def _segment(self, node: Node, later: set[str]) -> _Piece:
        data = node.attrs["model"]
        assert isinstance(data, bytes)
        with _of_running():
            model = Model(data)
        # By position: a pass may have renamed what the node reads and makes.
        read = [name for name in node.inputs if name]
        made = [name for name in node.outputs if name]
        inputs = dict(zip(model.inputs, read, strict=True))
        return _Piece(model, inputs, dict(zip(model.outputs, made, strict=True)), later)


def _run_as_one(model: Model, feeds: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
    """Runs a model once on a few samples, one behind the other along the first axis."""
    joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    made = model.run(joined)
    parts = {name: np.split(values, len(feeds)) for name, values in made.items()}
    return [{name: values[index] for name, values in parts.items()} for index in range(len(feeds))]
