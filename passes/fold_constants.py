"""Computes at compile time what does not depend on the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from compiler.execute.interpreter import Interpreter, RunError
from compiler.ir.graph import DTYPE_BITS, Array, Graph, Node
from compiler.ir.ops import OWN, infer_types
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
    weight is quantized.
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
                rewriter.keep(node)
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
