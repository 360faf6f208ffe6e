"""Places every node where floats are computed: a digital engine of float32, else the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from compiler.cost.node import node_cost
from compiler.engines.legality import why_not_in_floats
from compiler.engines.mapping import map_node
from compiler.errors import CapacityError, UnsupportedError
from compiler.ir.graph import Alternative, Graph, Node, Placement
from compiler.target.chip import Target
from passes.base import Pass


@dataclass(frozen=True)
class PlaceInFloat(Pass):
    """Gives every node a `placement` that computes in the model's floats (--precision float)."""

    name: ClassVar[str] = "place_in_float"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Places the graph's nodes."""
        nodes = tuple(_placed(node, graph, target) for node in graph)
        return graph if nodes == graph.nodes else replace(graph, nodes=nodes)


def _placed(node: Node, graph: Graph, target: Target) -> Node:
    """Places a node on the first engine that can compute it, the host last."""
    _require_numbers(node)
    refusals: list[Alternative] = []
    for name in sorted(target.chip.engines, key=lambda name: name == target.host[0]):
        why = why_not_in_floats(name, node, graph, target)
        if not why:
            break
        refusals.append(Alternative(engine=name, reason=why))
    else:
        raise AssertionError("the host takes any node")
    reason = "; ".join(other.reason for other in refusals) or "it computes in the model's floats"
    try:
        mapping = map_node(node, graph, name, target)
        cost = node_cost(node, graph, mapping, target)
    except CapacityError as error:
        what = f"{node.op}: {error.message}"
        raise CapacityError(what, code=error.code, node=node.name, hint=error.hint) from error
    placement = Placement(
        mapping=mapping,
        reason=reason,
        energy_pj=cost.energy_pj.value,
        latency_ns=cost.latency_ns,
        alternatives=tuple(refusals),
    )
    return replace(node, placement=placement)


# ONNX does not say which random numbers these draw.
RANDOM = (
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
)  # fmt: skip


def _require_numbers(node: Node) -> None:
    """Raises UnsupportedError for an operation whose random numbers ONNX does not define."""
    random = next((op for op in _operations(node) if op in RANDOM), "")
    if random:
        raise UnsupportedError(
            f"{random} draws random numbers of ONNX Runtime's own, "
            "and --precision float keeps the model's",
            code="C002",
            node=node.name,
            hint="make its numbers an input of the model",
        )


def _operations(node: Node) -> list[str]:
    """Lists a node's operation, or for a node left whole all operations inside."""
    model = node.attrs.get("model")
    if node.op != "Segment" or not isinstance(model, bytes):
        return [node.op]
    if not any(op.encode() in model for op in RANDOM):  # most models need no parsing
        return []
    import onnx

    pending, found = [onnx.ModelProto.FromString(model).graph], []
    while pending:
        for inner in pending.pop().node:
            found.append(inner.op_type)
            for attribute in inner.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs
    return found
