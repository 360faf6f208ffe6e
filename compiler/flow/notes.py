"""What a plan says beside its numbers: how far it can be trusted, what was left undone, how near to the optimum it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

    from compiler.flow.options import Options
    from compiler.ir.graph import Calibration, Graph
    from compiler.plan.package import Package
    from passes.calibration.inputs import CalibrationInputs


def trust_notes(
    inputs: CalibrationInputs | None, options: Options, clean: Graph, placed: Graph
) -> tuple[str, ...]:
    """Warnings on how far the result can be trusted, and what was left undone."""
    notes = []
    if inputs is None:
        notes.append(
            "nothing is quantized (--precision float): what no engine computes in floats runs on the host"
        )
        if options.data is not None or options.max_divergence is not None:
            notes.append(
                "warning[W004]: --data and --max-divergence are for quantization, and nothing is quantized"
            )
    elif inputs.synthetic:
        notes.append(
            f"warning[W001]: ranges and divergences were measured on {inputs.count} made-up inputs (seed {options.seed}); "
            "real ones differ, so the accuracy may fall: give samples with --data"
        )
    if options.prune and placed.ledger and _macs(placed) >= _macs(clean):
        notes.append(
            f"warning[W004]: --prune {options.prune} removed nothing: no channels can go without changing inputs or outputs"
        )
    return tuple(notes)


def calibration_notes(calibration: Calibration | None) -> tuple[str, ...]:
    """A warning when the divergences of part of the nodes are estimates (see passes.calibrate)."""
    if calibration is None or not calibration.estimated:
        return ()
    followed = len(calibration.divergence) - calibration.estimated
    return (
        f"warning[W007]: the divergences of {calibration.estimated} nodes are estimates: following the errors of all nodes to the outputs "
        f"would take too long, and {followed} were followed; try the package with joulec evaluate",
    )


def _macs(graph: Graph) -> int:
    from compiler.ir.ops import macs

    return sum(macs(node, graph) for node in graph)


def modelling_notes(package: Package) -> tuple[str, ...]:
    """A warning when part of the work is not counted."""
    missing = [step for step in package.plan.steps if step.not_modelled]
    if not missing:
        return ()
    plural = "s" if len(missing) > 1 else ""
    return (
        f"warning[W003]: {len(missing)} step{plural} not fully modelled, so the energy is too low: "
        f"{missing[0].name}: {missing[0].not_modelled}",
    )


def partition_summary(graph: Graph) -> dict[str, JsonValue]:
    """What the partition pass found, as the plan carries it."""
    summary = graph.partition
    if summary is None:
        return {}
    limit = summary.max_divergence
    return {
        "objective": summary.objective,
        "energy_pj": summary.energy_pj,
        "latency_ns": summary.latency_ns,
        "divergence": summary.divergence,
        "divergence_kind": summary.divergence_kind,
        "max_divergence": limit if limit != float("inf") else None,
        "gap": summary.gap,
    }
