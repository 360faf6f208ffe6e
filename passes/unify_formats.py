"""Rewrites integers of fewer than 8 bits as 8-bit integers of a clipped value.

All that follows then knows one format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import DTYPE_BITS, Graph, Node, TensorType
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate


@dataclass(frozen=True)
class UnifyFormats(Pass):
    """Replaces Quantize-Clip-Dequantize by a Clip in floats and a QuantizeLinear to 8 bits.

    A QuantizeLinear to int4 or int2 is replaced so, too. Exact: a bound times the scale, divided by
    the scale, rounds to the bound.
    """

    name: ClassVar[str] = "unify_formats"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph whose activations are of 8 bits."""
        plans = {node.name: plan for node in graph if (plan := _narrow_range(node, graph))}
        if not plans:
            return graph
        rewriter = Rewriter(graph)
        points: dict[str, str] = {}  # an integer value that changed its type: its new zero point
        replaced = {plan.last.name for name, plan in plans.items() if plan.last.name != name}
        for node in graph:
            plan = plans.get(node.name)
            if plan is not None:
                points[plan.last.outputs[0]] = _write(rewriter, graph, node, plan)
            elif node.name in replaced:
                continue
            elif node.op == "DequantizeLinear" and node.inputs[0] in points:
                rewriter.keep(replace(node, inputs=(*node.inputs[:2], points[node.inputs[0]])))
            else:
                rewriter.keep(node)
        return eliminate(rewriter.finish())


@dataclass(frozen=True)
class _Plan:
    """A QuantizeLinear's clipping.

    `low` to `high` are the integers it may give, `storage` the 8-bit type they get, `last` the node
    that its cluster ends in.
    """

    low: int
    high: int
    storage: str
    last: Node


def _narrow_range(node: Node, graph: Graph) -> _Plan | None:
    if node.op != "QuantizeLinear" or graph.types[node.inputs[0]].dtype != "float32":
        return None
    parameters = [graph.constant(name) for name in node.inputs[1:] if name]
    if any(data is None or data.size != 1 for data in parameters):
        return None
    dtype = graph.types[node.outputs[0]].dtype
    if not dtype.startswith(("int", "uint")):
        return None
    bits, signed = DTYPE_BITS[dtype], dtype.startswith("int")
    low = -(1 << (bits - 1)) if signed else 0
    high = low + (1 << bits) - 1
    clip = graph.only_consumer(node.outputs[0])
    if clip is not None and clip.op == "Clip":
        bounds = [_bound(clip, 1, graph, low), _bound(clip, 2, graph, high)]
        if bounds[0] is None or bounds[1] is None:
            return None
        low, high = max(low, bounds[0]), min(high, bounds[1])
        return _Plan(low, high, dtype, clip) if low <= high else None
    readers = graph.consumers.get(node.outputs[0], ())
    plain = all(reader.op == "DequantizeLinear" for reader in readers)
    if bits >= 8 or not plain or node.outputs[0] in graph.outputs:
        return None
    return _Plan(low, high, "int8" if signed else "uint8", node)


def _bound(clip: Node, position: int, graph: Graph, otherwise: int) -> int | None:
    """Finds the lower (1) or upper (2) bound of a Clip of integers.

    It is `otherwise` where the Clip has none, None where it is computed.
    """
    if len(clip.inputs) <= position or not clip.inputs[position]:
        return otherwise
    data = graph.constant(clip.inputs[position])
    return None if data is None or data.size != 1 else int(np.asarray(data).reshape(-1)[0])


def _write(rewriter: Rewriter, graph: Graph, node: Node, plan: _Plan) -> str:
    """Writes Clip and QuantizeLinear in the place of the cluster.

    Returns the new zero point.
    """
    scale = np.asarray(graph.constants[node.inputs[1]], np.float32).reshape(())
    point = 0
    if node.input(2):
        point = int(np.asarray(graph.constants[node.inputs[2]]).reshape(-1)[0])
    bounds = [
        rewriter.constant(f"{node.name}.{side}", np.float32(bound - point) * scale)
        for side, bound in (("low", plan.low), ("high", plan.high))
    ]
    clipped = rewriter.unique(f"{node.inputs[0]}.clipped")
    kind = graph.types[node.inputs[0]]
    origin = tuple(dict.fromkeys((*node.origin, *plan.last.origin)))
    clip = Node(
        rewriter.unique(f"{node.name}.clip"), "Clip", (node.inputs[0], *bounds), (clipped,),
        origin=origin, source=node.source,
    )  # fmt: skip
    rewriter.add(clip, {clipped: TensorType("float32", kind.shape)})
    zero = rewriter.constant(f"{node.name}.zero", np.array(point, plan.storage))
    output = plan.last.outputs[0]
    inputs = (clipped, rewriter.constant(f"{node.name}.scale", scale), zero)
    rewriter.add(
        Node(node.name, "QuantizeLinear", inputs, (output,), origin=origin, source=node.source),
        {output: TensorType(plan.storage, graph.types[output].shape)},
    )
    return zero
