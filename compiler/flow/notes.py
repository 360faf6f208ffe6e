"""Writes what a plan says in words: how far it can be trusted, and what was left undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from compiler.errors import Diagnostic
from compiler.plan.schema import PartitionResult

if TYPE_CHECKING:
    from compiler.choices import Place
    from compiler.flow.options import Options
    from compiler.ir.graph import Calibration, Graph, Node
    from compiler.plan.package import Package
    from passes.calibration.inputs import CalibrationInputs


def float_notes(options: Options) -> tuple[Diagnostic, ...]:
    """Says that nothing is quantized, and warns of options that are then for nothing."""
    notes = [
        Diagnostic(
            message="nothing is quantized (--precision float): "
            "what no engine computes in floats runs on the host"
        )
    ]
    if options.data is not None or options.max_divergence is not None:
        notes.append(
            Diagnostic(
                code="W004",
                message="--data and --max-divergence are for quantization, "
                "and nothing is quantized",
            )
        )
    return tuple(notes)


def made_up_note(inputs: CalibrationInputs, seed: int) -> tuple[Diagnostic, ...]:
    """Warns where the calibration inputs are made up, on how far the result can be trusted."""
    if not inputs.synthetic:
        return ()
    return (
        Diagnostic(
            code="W001",
            message=f"ranges and divergences were measured on {inputs.count} made-up inputs "
            f"(seed {seed}); real ones differ, so the accuracy may fall: give samples with --data",
        ),
    )


def unpruned_note(share: float, before: Graph, after: Graph) -> tuple[Diagnostic, ...]:
    """Warns where channels were to be pruned and none could be."""
    if not share or not after.ledger or _macs(after) < _macs(before):
        return ()
    return (
        Diagnostic(
            code="W004",
            message=f"--prune {share} removed nothing: "
            "no channels can go without changing inputs or outputs",
        ),
    )


def place_notes(placed: Graph, place: Place) -> tuple[Diagnostic, ...]:
    """Names the nodes that are not where --place wants them, with the reasons, a note a pattern.

    Warns where a pattern is left nothing by those before it.
    """
    from passes.partitioning.places import flag_of, named_reasons, wanted_place

    wanted = [(node, wanted_place(node, place)) for node in placed]
    notes = []
    for one in dict.fromkeys(place):
        mine = [node for node, other in wanted if other == one]
        if not mine:
            message = f"{flag_of(one)} places nothing: an earlier --place has all that it matches"
            notes.append(Diagnostic(code="W004", message=message))
        # What a node of the file became may lie on several engines: its main part counts.
        followed = {_original(node) for node in mine if node.engine == one[1]}
        elsewhere = [node for node in mine if _original(node) not in followed]
        if elsewhere:
            reasons = named_reasons([(node.name, _why_not_on(one[1], node)) for node in elsewhere])
            message = (
                f"{flag_of(one)}: {len(elsewhere)} of the {len(mine)} nodes that it matches "
                f"{'runs' if len(elsewhere) == 1 else 'run'} elsewhere: {reasons}"
            )
            notes.append(Diagnostic(message=message))
    return tuple(notes)


def _original(node: Node) -> str:
    return node.origin[0] if node.origin else node.name


def _why_not_on(engine: str, node: Node) -> str:
    """Finds the reason why a placed node is not on an engine."""
    placement = node.placement
    others = placement.alternatives if placement is not None else ()
    there = [other for other in others if other.engine == engine and other.reason]
    cannot = [other.reason for other in there if other.energy_pj is None]
    return next(iter(cannot or [other.reason.removeprefix("then ") for other in there]), "")


def calibration_notes(calibration: Calibration | None) -> tuple[Diagnostic, ...]:
    """Warns when the divergences of part of the nodes are estimates (see passes.calibrate)."""
    if calibration is None or not calibration.estimated:
        return ()
    followed = len(calibration.divergence) - calibration.estimated
    return (
        Diagnostic(
            code="W007",
            message=f"the divergences of {calibration.estimated} nodes are estimates: following "
            f"the errors of all nodes to the outputs would take too long, and {followed} were "
            "followed",
            hint="try the package with joulec evaluate",
        ),
    )


def _macs(graph: Graph) -> int:
    from compiler.ir.ops import macs

    return sum(macs(node, graph) for node in graph)


def modelling_notes(package: Package) -> tuple[Diagnostic, ...]:
    """Warns when part of the work is not counted."""
    missing = [step for step in package.plan.steps if step.not_modelled]
    if not missing:
        return ()
    plural = "s" if len(missing) > 1 else ""
    return (
        Diagnostic(
            code="W003",
            message=f"{len(missing)} step{plural} not counted whole, so energy and time are more: "
            f"{missing[0].name}: {missing[0].not_modelled}",
        ),
    )


def partition_result(graph: Graph, asked: float | None) -> PartitionResult | None:
    """Puts what the partition pass found into the plan's terms; None where nothing was chosen.

    `asked` is the divergence that the user allows (None: the default).
    """
    from passes.partition import MAX_DIVERGENCE

    summary = graph.partition
    if summary is None:
        return None
    limit = summary.max_divergence
    return PartitionResult(
        objective=summary.objective,
        energy_pj=summary.energy_pj,
        latency_ns=summary.latency_ns,
        divergence=summary.divergence,
        divergence_kind=summary.divergence_kind,
        max_divergence=limit if limit != float("inf") else None,
        gap=summary.gap,
        raised_for_int8=asked is None and MAX_DIVERGENCE < limit < float("inf"),
    )
