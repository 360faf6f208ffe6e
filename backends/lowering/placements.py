"""Reports the fate of every node of the ONNX file: placed, fused into another, folded, removed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from backends.lowering.form_steps import StepDraft
from compiler.ir.graph import Graph, Node
from compiler.ir.ops import macs
from compiler.plan.schema import Alternative, Part, Placement

# Inserted next to the node that they belong to: they never stand for it while another does.
FORMAT_CHANGES = ("Requantize", "QuantizeLinear", "DequantizeLinear", "Cast")


def placements(drafts: Sequence[StepDraft], graph: Graph) -> tuple[Placement, ...]:
    """Makes a row for each entry of the graph's ledger, in its order."""
    step_of = {node.name: index for index, draft in enumerate(drafts) for node in draft.nodes}
    own: dict[str, list[Node]] = {}
    fused: dict[str, list[Node]] = {}
    for draft in drafts:
        for node in draft.nodes:
            for position, name in enumerate(dict.fromkeys(node.origin)):
                (fused if position else own).setdefault(name, []).append(node)
    rows = []
    for name, fate in graph.ledger.items():
        if name in own:
            rows.append(_row(name, "placed", own[name], step_of, graph))
        elif name in fused:
            rows.append(_row(name, "fused", fused[name], step_of, graph))
        else:
            rows.append(_gone(name, fate))
    return tuple(rows)


def _row(
    name: str,
    fate: Literal["placed", "fused"],
    nodes: Sequence[Node],
    step_of: Mapping[str, int],
    graph: Graph,
) -> Placement:
    main = max(nodes, key=lambda node: (macs(node, graph), node.op not in FORMAT_CHANGES))
    chosen = main.placement
    assert chosen is not None
    parts = _parts(nodes, step_of, graph)
    if fate == "fused":
        return Placement(
            node=name,
            fate=fate,
            parts=parts,
            reason=f"computed within {main.op} {main.name!r}",
            mapping=None,
            divergence=0.0,
            alternatives=(),
        )
    return Placement(
        node=name,
        fate=fate,
        parts=parts,
        reason=chosen.reason,
        mapping=chosen.mapping,
        divergence=sum(node.placement.divergence for node in nodes if node.placement),
        alternatives=tuple(
            Alternative(
                engine=other.engine,
                mapping=other.mapping,
                energy_pj=_finite(other.energy_pj),
                latency_ns=_finite(other.latency_ns),
                divergence=_finite(other.divergence),
                reason=other.reason,
                energy_margin_pj=other.energy_margin_pj,
                latency_margin_ns=other.latency_margin_ns,
            )
            for other in chosen.alternatives
        ),
    )


def _finite(value: float | None) -> float | None:
    """Returns a number, or None for an infinite one (beyond measure)."""
    return value if value is not None and math.isfinite(value) else None


def _parts(nodes: Sequence[Node], step_of: Mapping[str, int], graph: Graph) -> tuple[Part, ...]:
    """Computes the shares of the engines in a node, by MACs.

    By operations where it has none; format changes count only when alone.
    """
    weights = [macs(node, graph) for node in nodes]
    if not any(weights):
        weights = [int(node.op not in FORMAT_CHANGES) for node in nodes]
    if not any(weights):
        weights = [1] * len(nodes)
    amounts: dict[str, int] = {}
    steps: dict[str, list[int]] = {}
    for node, weight in zip(nodes, weights, strict=True):
        amounts[node.engine] = amounts.get(node.engine, 0) + weight
        steps.setdefault(node.engine, []).append(step_of[node.name])
    whole = sum(weights)
    return tuple(
        Part(engine=engine, share=amount / whole, steps=tuple(sorted(set(steps[engine]))))
        for engine, amount in amounts.items()
    )


def _gone(name: str, fate: str) -> Placement:
    folded = fate.startswith("fold")
    return Placement(
        node=name,
        fate="folded" if folded else "removed",
        parts=(),
        reason="computed while compiling" if folded else "no output depends on it",
        mapping=None,
        divergence=0.0,
        alternatives=(),
    )
