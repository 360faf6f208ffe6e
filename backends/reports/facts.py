"""Derives from a plan, once, the facts that every form of the report prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from compiler.cost.divergence import BEYOND_MEASURE
from compiler.errors import one_line
from compiler.figures import clipped, count, digits, share
from compiler.plan.schema import Plan, Step
from compiler.plan.views import CriticalPath
from compiler.units import ZERO, Estimate

FATES = ("placed", "fused", "folded", "removed")


@dataclass(frozen=True)
class PerSample:
    """What one of the samples of an inference takes, where it has several."""

    samples: int
    energy_pj: Estimate
    latency_ns: Estimate


def per_sample(plan: Plan) -> PerSample | None:
    """Divides an inference by its samples; None where there is no batch, or not of a known size."""
    if not plan.samples:
        return None
    share = 1 / plan.samples
    return PerSample(plan.samples, plan.energy_pj.total.times(share), plan.latency_ns.times(share))


@dataclass(frozen=True)
class Matrix:
    """A product as matrices: `groups` of `rows` x `columns` weights, used at `positions` places."""

    groups: int
    rows: int
    columns: int
    positions: int

    def __str__(self) -> str:
        several = f"{self.groups} x " if self.groups > 1 else ""
        return f"{several}{self.rows}x{self.columns}"


def matrix_of(step: Step) -> Matrix | None:
    """Finds the matrices of a product's step; None for any other step."""
    if step.utilization is None:
        return None
    shapes = {constant.name: constant.shape for constant in step.constants}
    if step.op == "AnalogProduct":  # its gain is [groups, row tiles, digits, columns]
        gain = [shapes.get(name, ()) for name in step.inputs[2:3]]
        rows = step.attributes.get("rows")
        if not gain or len(gain[0]) != 4 or not isinstance(rows, int):
            return None
        groups, columns = gain[0][0], gain[0][3]
    else:
        weights = [shapes.get(name, ()) for name in step.inputs[1:2]]
        if not weights or len(weights[0]) != 3:
            return None
        groups, rows, columns = weights[0]
    held = groups * rows * columns
    return Matrix(groups, rows, columns, step.macs // held if held else 0)


def mapping_of(step: Step) -> str:
    """Describes a step's matrix and how it lies on the engine's arrays.

    Such as '20x20: 4 tiles of 16x16, 39 % used'.
    """
    matrix = matrix_of(step)
    if matrix is None or ":" in step.mapping_words:
        return one_line(step.mapping_words)
    return one_line(f"{matrix}: {step.mapping_words}" if step.mapping_words else str(matrix))


def operation_of(step: Step) -> str:
    """Names what a step does; of a host segment the operation that takes the most energy."""
    others = len(step.operations) - 1
    if others > 0:
        return f"{step.operations[0]} +{others}"
    return step.operations[0] if step.op == "Segment" and step.operations else step.op


def weights_of(step: Step) -> str:
    """Finds whether a product's weights are resident or loaded in each inference.

    Empty for any other step.
    """
    if step.utilization is None:
        return ""
    return "resident" if step.resident else "reload"


def engines(plan: Plan) -> list[str]:
    """Lists the engines as reports do: analog, digital, host, whatever their order in the plan."""
    kinds = ("analog", "digital", "host")
    return sorted(plan.engines, key=lambda name: (kinds.index(plan.engines[name]), name))


def layers_by_engine(plan: Plan) -> dict[str, int]:
    """Counts the steps that multiply and accumulate, by engine."""
    found = Counter(step.engine for step in plan.steps if step.macs)
    return {name: found[name] for name in engines(plan)}


def left_out(plan: Plan) -> str:
    """Says which steps energy and time do not count whole, and why; "" where they count all."""
    steps = [step for step in plan.steps if step.not_modelled]
    if not steps:
        return ""
    others = f" and {count(len(steps) - 1, 'step')} more" if len(steps) > 1 else ""
    named = f"{clipped(steps[0].name, 40)}{others}"
    return one_line(f"not all of {named} is counted: {steps[0].not_modelled}")


def fates(plan: Plan) -> dict[str, int]:
    """Counts the nodes of the ONNX file by what became of them."""
    found = Counter[str](row.fate for row in plan.placements)
    return {fate: found[fate] for fate in FATES}


def divergence_words(plan: Plan) -> str:
    """Prints the divergence measured on the whole plan, what is allowed, and on which samples.

    Where the plan was not run, the sum of estimates stands there, and says so.
    """
    measured, found = plan.measured, plan.partition
    if measured is None:
        return f"{divergence_estimate(plan)}, {_allowed(plan)}" if found else "0, not quantized"
    worst = measured.worst
    words = f"{divergence_digits(measured.divergence)} {_allowed(plan)}, measured on {measured.on}"
    if worst is None:
        return words
    labels = [output.divergence for output in measured.outputs if output.kind == "labels"]
    notes: list[str] = [worst.kind] if worst.kind != "labels" else []
    if worst.kind == "relative squared error" and worst.divergence > 1:
        notes.append("worse than answering the mean")
    if len(measured.outputs) > 1 and measured.divergence:
        notes.append(f"output {one_line(worst.name, 40)!r}")
    if labels:
        notes.append(f"labels: {share(1 - max(labels), 1)} agree")
    if left_out := max(output.left_out for output in measured.outputs):
        notes.append(
            f"left out on {count(left_out, 'sample')}: NaN or infinite in the model itself"
        )
    return f"{words} ({'; '.join(notes)})"


def divergence_estimate(plan: Plan) -> str:
    """Prints the sum of what each step's format does alone, named as the estimate it is."""
    return f"{divergence_digits(plan.divergence_total)} estimated, as the sum over the steps"


def divergence_digits(divergence: float) -> str:
    """Prints a divergence; what breaks the network is beyond measure."""
    return "beyond measure" if divergence >= BEYOND_MEASURE else digits(divergence)


def _allowed(plan: Plan) -> str:
    found = plan.partition
    if found is None or found.max_divergence is None:
        return "(no limit)"
    if found.raised_for_int8:
        return f"(allowed is what int8 alone does, estimated as {found.max_divergence:.3g})"
    return f"of {found.max_divergence:.3g} allowed"


@dataclass(frozen=True)
class Bound:
    """The least energy of any plan and the plan's ratio to it, with and without loading weights."""

    energy_pj: float
    ratio: float | None
    with_load_pj: float
    ratio_with_load: float | None
    latency_ns: float


def bound_of(plan: Plan) -> Bound | None:
    """Compares the plan with the lower bound; None where there is none."""
    bound = plan.bound
    if bound is None:
        return None
    whole = plan.energy_pj.total.value
    load = plan.energy_pj.parts.get("weight_load", ZERO).value
    return Bound(
        energy_pj=bound.energy_pj,
        ratio=(whole - load) / bound.energy_pj if bound.energy_pj else None,
        with_load_pj=bound.energy_with_load_pj,
        ratio_with_load=whole / bound.energy_with_load_pj if bound.energy_with_load_pj else None,
        latency_ns=bound.latency_ns,
    )


@dataclass(frozen=True)
class LatencyShares:
    """Fractions of the latency: by engine on the critical path, and of its longest steps."""

    engines: Mapping[str, float]
    longest: tuple[tuple[Step, float], ...]


def latency_shares(plan: Plan, path: CriticalPath, most: int) -> LatencyShares:
    """Computes the latency shares of engines and of the `most` longest critical steps."""
    whole = plan.latency_ns.value or 1.0
    spent = dict.fromkeys(engines(plan), 0.0)
    for step in path.steps:
        spent[step.engine] += step.latency_ns.value
    ranked = sorted(path.steps, key=lambda step: -step.latency_ns.value)
    return LatencyShares(
        {name: amount / whole for name, amount in spent.items()},
        tuple(
            (step, step.latency_ns.value / whole) for step in ranked[:most] if step.latency_ns.value
        ),
    )


def most_energy(plan: Plan, most: int | None) -> tuple[list[Step], list[Step]]:
    """Divides the steps into those to show, in order, and the rest.

    Shown are the `most` that take the most energy, or all (None).
    """
    if most is None or len(plan.steps) <= most:
        return list(plan.steps), []
    ranked = sorted(plan.steps, key=lambda step: (-step.energy_pj.total.value, step.index))
    shown = {step.index for step in ranked[:most]}
    return (
        [step for step in plan.steps if step.index in shown],
        [step for step in plan.steps if step.index not in shown],
    )


def short_source(step: Step) -> str:
    """Finds the user's line that a step came from, as FILE:LINE without folders.

    The first of several.
    """
    first, *others = step.source.split("; ") if step.source else [""]
    name = one_line(first.replace("\\", "/").rpartition("/")[2], 60)
    return f"{name} + {len(others)} more" if others else name
