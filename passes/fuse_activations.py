"""Fuses a bias, ReLU or Clip into the matrix product or addition before it.

The fused node clips its own result.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Attribute, Graph, Node
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass


@dataclass(frozen=True)
class FuseActivations(Pass):
    """Fuses a following constant Add (its bias), Relu or Clip into `Product`.

    Add with Relu or Clip becomes `ClippedAdd`.
    """

    name: ClassVar[str] = "fuse_activations"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Fuses followers until none is left."""
        while True:
            after = _fuse_once(graph)
            if after is graph:
                return graph
            graph = after


def _fuse_once(graph: Graph) -> Graph:
    rewriter = Rewriter(graph)
    done: dict[str, Node | None] = {}
    for node in graph:
        if node.name in done or node.op not in ("Product", "Add", "ClippedAdd"):
            continue
        if graph.types[node.outputs[0]].dtype != "float32":
            continue
        follower = graph.only_consumer(node.outputs[0])
        fused = _fused(rewriter, graph, node, follower) if follower is not None else None
        if follower is not None and fused is not None and follower.name not in done:
            # The result stands where the follower stood: both of an Add's inputs are there by then.
            done[node.name] = None
            done[follower.name] = fused
    for node in graph:
        current = done.get(node.name, node)
        if current is not None:
            rewriter.keep(current)
    return rewriter.finish()


def _fused(rewriter: Rewriter, graph: Graph, node: Node, follower: Node) -> Node | None:
    origin = node.origin + follower.origin
    outputs = follower.outputs
    clipped = "minimum" in node.attrs or "maximum" in node.attrs
    if node.op == "Product" and follower.op == "Add" and not clipped:
        inputs = _with_bias(rewriter, graph, node, follower)
        if inputs is not None:
            return replace(node, inputs=inputs, outputs=outputs, origin=origin)
    bounds = activation_bounds(follower, graph)
    if bounds is None or clipped:
        return None
    op = "Product" if node.op == "Product" else "ClippedAdd"
    return replace(node, op=op, outputs=outputs, attrs={**node.attrs, **bounds}, origin=origin)


def activation_bounds(node: Node, graph: Graph) -> dict[str, Attribute] | None:
    """Finds the `minimum` and `maximum` that a Relu or a Clip by constants stands for.

    None for anything else.
    """
    if node.op == "Relu":
        return {"minimum": 0.0}
    if node.op != "Clip":
        return None
    bounds: dict[str, Attribute] = {}
    for key, position in (("minimum", 1), ("maximum", 2)):
        if node.input(position):
            data = graph.constant(node.input(position))
            if data is None or data.size != 1 or not np.isfinite(float(data.reshape(-1)[0])):
                return None
            bounds[key] = float(data.reshape(-1)[0])
    return bounds or None


def _with_bias(
    rewriter: Rewriter, graph: Graph, node: Node, follower: Node
) -> tuple[str, ...] | None:
    constants = [name for name in follower.inputs if name in graph.constants]
    if len(constants) != 1 or graph.types[node.inputs[0]].quant is not None:
        return None  # the bias of an integer product is in steps of its accumulator
    data = graph.constants[constants[0]]
    out = graph.types[node.outputs[0]].sizes
    axis = 1 if node.ints("kernel", ()) else len(out) - 1
    if data.ndim > len(out) or graph.types[follower.outputs[0]].shape != out:
        return None
    shape = (1,) * (len(out) - data.ndim) + data.shape
    if any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    total = np.broadcast_to(np.asarray(data, np.float64).reshape(-1), (out[axis],)).copy()
    if node.input(2):
        total += np.asarray(graph.constants[node.inputs[2]], np.float64)
    bias = rewriter.constant(f"{node.name}.bias", total.astype(np.float32))
    return (*node.inputs[:2], bias)
