"""Computes at compile time what does not depend on the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import onnx

from compiler.execute.interpreter import Interpreter, RunError
from compiler.ir.graph import DTYPE_BITS, Array, Graph, Node
from compiler.ir.ops import OWN, infer_types
from compiler.ir.protos import numpy_dtype
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass

RANDOM = (
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
)


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replaces nodes of constant inputs by their results, up to `limit_bytes` a result.

    A tensor of zeros can be one byte of model. DequantizeLinear of a constant stays: it says that a
    weight is quantized. A tensor without elements is constant whatever it is made of; an output of
    the graph without elements is made by a ConstantOfShape, which reads nothing of the network.
    """

    limit_bytes: int = 1 << 26

    name: ClassVar[str] = "fold_constants"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with what is constant computed."""
        rewriter = Rewriter(graph, fate="folded")
        known: dict[str, Array] = dict(graph.constants)
        for node in graph:
            values = self._fold(node, graph, known)
            if values is None:
                rewriter.keep(_without_inputs(node, graph, rewriter) or node)
                continue
            for name, data in values.items():
                known[name] = data
                rewriter.set_constant(name, data)
        return rewriter.finish()

    def _fold(self, node: Node, graph: Graph, known: dict[str, Array]) -> dict[str, Array] | None:
        """Computes the results of a node; None when it must run (or they are too large)."""
        if node.op in OWN or node.op == "DequantizeLinear" or node.op in RANDOM:
            return None
        if any(name in graph.outputs for name in node.outputs):
            return None
        if _is_empty(node, graph):
            return {name: np.zeros(*_empty(name, graph)) for name in node.outputs if name}
        if node.op == "Shape" and graph.types[node.inputs[0]].is_static:
            return {node.outputs[0]: self._shape(node, graph)}
        if any(name and name not in known for name in node.inputs):
            return None
        types = infer_types(node, graph.types, known)
        for kind in types.values():
            if kind.dtype not in DTYPE_BITS or not kind.is_static:
                return None
            if kind.size_bytes > self.limit_bytes:
                return None
        outputs = tuple(name for name in node.outputs if name)
        single = Graph(
            name="fold",
            inputs=(),
            outputs=outputs,
            nodes=(node,),
            types=graph.types,
            constants=known,
            domains=graph.domains,
        )
        try:
            runner = Interpreter(single)
            # The reference is lenient where a kernel refuses, such as an integer divided by 0; it
            # is asked for integers of 4 bits too.
            if runner.on_reference and node.op != "QuantizeLinear":
                return None
            results = runner.run({})
        except RunError:
            return None
        return {name: np.asarray(results[name]) for name in outputs}

    @staticmethod
    def _shape(node: Node, graph: Graph) -> Array:
        sizes = graph.types[node.inputs[0]].sizes
        start, end = node.integer("start", 0), node.integer("end", len(sizes))
        return np.array(sizes[start:end], np.int64)


def _is_empty(node: Node, graph: Graph) -> bool:
    """Whether everything that a node makes is a tensor of numbers without elements."""
    kinds = [graph.types[name] for name in node.outputs if name]
    return bool(kinds) and all(
        kind.is_static and kind.elements == 0 and kind.dtype in DTYPE_BITS and kind.quant is None
        for kind in kinds
    )


def _empty(name: str, graph: Graph) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Size and type of a tensor."""
    return graph.types[name].sizes, numpy_dtype(graph.types[name].dtype)


def _without_inputs(node: Node, graph: Graph, rewriter: Rewriter) -> Node | None:
    """Makes an output without elements of nothing; None where it is none, or is so already."""
    if node.op == "ConstantOfShape" or len(node.outputs) != 1 or not _is_empty(node, graph):
        return None
    sizes, dtype = _empty(node.outputs[0], graph)
    shape = rewriter.constant(f"{node.outputs[0]}.sizes", np.array(sizes, np.int64))
    value = onnx.numpy_helper.from_array(np.zeros(1, dtype)).SerializeToString()
    return replace(node, op="ConstantOfShape", inputs=(shape,), attrs={"value": value})
