"""Places every node where the model's own numbers are computed: nothing is quantized, so on the host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from compiler.cost.node import node_cost
from compiler.digital_engine import Digital
from compiler.errors import CapacityError, UnsupportedError
from compiler.ir import Alternative, Graph, Node, Placement
from compiler.target import Analog, Host, Target
from passes.base import Pass


@dataclass(frozen=True)
class PlaceInFloat(Pass):
    """Gives every node its `placement` on an engine that computes as the model does (--precision float)."""

    name: ClassVar[str] = "place_in_float"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph, placed."""
        host = target.host[0]
        refusals = tuple(
            (name, reason)
            for name, engine in target.chip.engines.items()
            if (reason := why_not_float(name, engine))
        )
        reason = "; ".join(reason for _, reason in refusals) or "the only engine there is"
        others = tuple(Alternative(name, "", None, None, None, why) for name, why in refusals)
        nodes = []
        for node in graph:
            _demand_numbers(node)
            try:
                cost = node_cost(node, graph, host, target)
            except CapacityError as error:
                what = f"{node.op}: {error.message}"
                raise CapacityError(
                    what, code=error.code, node=node.name, hint=error.hint
                ) from error
            placement = Placement(
                host, "", 1, True, reason, cost.energy_pj.value, cost.latency_ns, 0.0, "", others
            )
            nodes.append(replace(node, placement=placement))
        if tuple(nodes) == graph.nodes:
            return graph
        return replace(graph, nodes=tuple(nodes))


def why_not_float(name: str, engine: Analog | Digital | Host) -> str:
    """Why an engine cannot compute in the model's own floats, or an empty string when it can."""
    if isinstance(engine, Host):
        return ""
    computes = "in int8" if isinstance(engine, Digital) else "on digits of weights in cells"
    return f"the {name} engine computes {computes}, and nothing is quantized (--precision float)"


# ONNX does not say which random numbers these draw.
RANDOM = ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")  # fmt: skip


def _demand_numbers(node: Node) -> None:
    """UnsupportedError for an operation whose numbers are nobody's to keep."""
    random = next((op for op in _operations(node) if op in RANDOM), "")
    if random:
        raise UnsupportedError(
            f"{random} draws random numbers of ONNX Runtime's own, and --precision float keeps the model's",
            code="C002",
            node=node.name,
            hint="make its numbers an input of the model",
        )


def _operations(node: Node) -> list[str]:
    """What a node does: its operation, or for one kept whole all those inside."""
    model = node.attrs.get("model")
    if node.op != "Segment" or not isinstance(model, bytes):
        return [node.op]
    if not any(op.encode() in model for op in RANDOM):  # spares most the parsing
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
