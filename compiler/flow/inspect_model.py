"""Looks at a model before it is compiled: what is in it, and what each engine could take of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler.engines.legality import why_not
from compiler.errors import CompileError, Diagnostic
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph, TensorType
from compiler.ir.ops import macs, operation_name, why_not_counted
from compiler.target.chip import Target, built_in, load_target


@dataclass(frozen=True)
class Refusal:
    """Why an engine cannot take some nodes, how many they are, and how many MACs they have.

    `example` is the first of them, whose reason this is.
    """

    reason: str
    nodes: int
    macs: int
    example: str


@dataclass(frozen=True)
class EngineView:
    """What an engine could take, each node for itself, and why not the rest."""

    name: str
    kind: str
    nodes: int
    macs: int
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True)
class ChipView:
    """A model on a chip: its nodes as they are placed, and what each engine could take of them.

    `host_only` are the nodes that no engine but the host could take.
    """

    name: str
    nodes: int
    macs: int
    host_only: int
    engines: tuple[EngineView, ...]
    problem: str = ""


@dataclass(frozen=True)
class Inspection:
    """A model as it came in (`graph`) and cleaned (`clean`), and a view of it on each chip.

    `files` are all files read.
    """

    name: str
    sha256: str
    opset: int
    graph: Graph
    clean: Graph
    notes: tuple[Diagnostic, ...]
    chips: tuple[ChipView, ...]
    files: tuple[Path, ...] = ()

    @property
    def parameters(self) -> int:
        """The elements of the constants that nodes read."""
        read = {name for node in self.clean for name in node.inputs}
        return sum(int(data.size) for name, data in self.clean.constants.items() if name in read)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(macs(node, self.clean) for node in self.clean)

    @property
    def not_counted(self) -> str:
        """Why it has more multiply-accumulates than `macs`; "" where it has not."""
        reasons = ((node.name, why_not_counted(node, self.clean)) for node in self.clean)
        return next((f"{name}: {why}" for name, why in reasons if why), "")

    @property
    def operations(self) -> dict[str, int]:
        """The operations of the cleaned graph with their number, the most frequent first."""
        found = Counter(operation_name(node) for node in self.clean)
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    @property
    def quantization(self) -> str:
        """How the model is quantized, in words."""
        kinds = [kind for kind in self.clean.types.values() if kind.quant is not None]
        if not kinds:
            return "none (floating point)"
        bits = sorted({kind.quant.bits for kind in kinds if kind.quant is not None})
        per_channel = any(kind.quant.axis is not None for kind in kinds if kind.quant is not None)
        return (
            f"{len(kinds)} quantized values of {', '.join(map(str, bits))} bits, "
            f"weights {'per channel' if per_channel else 'per tensor'}"
        )


def inspect_model(
    model: str | Path, bind: Mapping[str, int] | None = None, target: Target | None = None
) -> Inspection:
    """Imports and cleans a model and looks at it through each shipped chip, or the one given."""
    from passes.base import run_passes
    from passes.pipeline import clean_passes

    imported = import_onnx(model, bind)
    chips = [target] if target is not None else [load_target(name) for name in built_in()]
    clean = run_passes(imported.graph, clean_passes(), chips[0])
    return Inspection(
        name=imported.name,
        sha256=imported.sha256,
        opset=imported.opset,
        graph=imported.graph,
        clean=clean,
        notes=imported.notes,
        chips=tuple(_on(chip, clean) for chip in chips),
        files=imported.files,
    )


def _on(chip: Target, clean: Graph) -> ChipView:
    """The graph in the form in which partition sees it, node by node and engine by engine."""
    from passes.base import run_passes
    from passes.pipeline import matrix_passes

    try:
        graph = run_passes(clean, matrix_passes(), chip)
    except CompileError as error:
        return ChipView(
            name=chip.name, nodes=0, macs=0, host_only=0, engines=(), problem=error.line()
        )
    work = {node.name: macs(node, graph) for node in graph}
    engines = []
    left = set(work)
    for name, unit in chip.chip.engines.items():
        reasons = {node.name: why_not(name, node, graph, chip) for node in graph}
        taken = [node for node, reason in reasons.items() if not reason]
        if unit.kind != "host":
            left -= set(taken)
        kinds = {node.name: _kind(reasons[node.name], operation_name(node)) for node in graph}
        engines.append(
            EngineView(
                name=name,
                kind=unit.kind,
                nodes=len(taken),
                macs=sum(work[node] for node in taken),
                refusals=_grouped(reasons, kinds, work),
            )
        )
    return ChipView(
        name=chip.name,
        nodes=len(work),
        macs=sum(work.values()),
        host_only=len(left),
        engines=tuple(engines),
    )


def _kind(reason: str, op: str) -> str:
    """A reason without what differs from node to node: its operation and numbers."""
    return re.sub(r"\d+", "#", reason.removeprefix(op))


def _grouped(
    reasons: Mapping[str, str], kinds: Mapping[str, str], work: Mapping[str, int]
) -> tuple[Refusal, ...]:
    """Reasons of one kind together, the costliest first."""
    groups: dict[str, list[str]] = {}
    for node, reason in reasons.items():
        if reason:
            groups.setdefault(kinds[node], []).append(node)
    found = [
        Refusal(reasons[nodes[0]], len(nodes), sum(work[node] for node in nodes), nodes[0])
        for nodes in groups.values()
    ]
    return tuple(sorted(found, key=lambda item: (-item.macs, -item.nodes, item.reason)))


def type_words(kind: TensorType) -> str:
    """A type such as float32[1, 3, 32, 32]."""
    if kind.shape is None:
        return kind.dtype
    return f"{kind.dtype}[{', '.join('?' if size is None else str(size) for size in kind.shape)}]"


def inspection_table(found: Inspection) -> dict[str, Any]:
    """The inspection as plain values; keys are added, never changed ("joulec.inspection/1")."""

    def ports(names: tuple[str, ...]) -> list[dict[str, Any]]:
        kinds = {name: found.graph.types[name] for name in names}
        return [
            {
                "name": name,
                "dtype": kind.dtype,
                "shape": list(kind.shape) if kind.shape is not None else None,
                "batch_axis": found.graph.batch_axes.get(name),
            }
            for name, kind in kinds.items()
        ]

    return {
        "schema": "joulec.inspection/1",
        "model": {"name": found.name, "sha256": found.sha256, "opset": found.opset},
        "inputs": ports(found.graph.inputs),
        "outputs": ports(found.graph.outputs),
        "nodes": len(found.graph.ledger),
        "nodes_clean": len(found.clean.nodes),
        "operations": found.operations,
        "parameters": found.parameters,
        "macs": found.macs,
        "macs_not_counted": found.not_counted,
        "quantization": found.quantization,
        "notes": [note.line() for note in found.notes],
        "targets": [_chip_table(chip) for chip in found.chips],
    }


def _chip_table(chip: ChipView) -> dict[str, Any]:
    return {
        "name": chip.name,
        "nodes": chip.nodes,
        "macs": chip.macs,
        "host_only": chip.host_only,
        "problem": chip.problem,
        "engines": [
            {
                "name": engine.name,
                "kind": engine.kind,
                "nodes": engine.nodes,
                "macs": engine.macs,
                "cannot": [
                    {"reason": r.reason, "nodes": r.nodes, "macs": r.macs, "example": r.example}
                    for r in engine.refusals
                ],
            }
            for engine in chip.engines
        ],
    }
