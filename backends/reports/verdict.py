"""Sums up a plan: three lines, and what stands out worst with what would mend it."""

from __future__ import annotations

from backends.reports import facts
from compiler.errors import one_line
from compiler.figures import clipped, energy_interval, share, time_interval
from compiler.plan.schema import Plan
from compiler.units import ZERO

MUCH = 0.25  # of the energy: less is no single cause
PARTS_IN_WORDS = {
    "weight_load": "loading weights in each inference takes {}: --prune makes them smaller, and "
    "`joulec inspect MODEL` shows the chips that hold more",
    "static": "static power takes {}: --prune makes the steps shorter",
    "memory": "values and constants that move take {}",
    "link": "values sent between engines take {}",
    "compute": "the arithmetic takes {}: --prune leaves less of it",
    "conversion": "row drivers and converters of the arrays take {}",
}


def verdict(plan: Plan) -> tuple[str, str]:
    """Sums up the plan in two sentences: what it takes, and where it runs at which divergence."""
    name = one_line(f"{plan.model.name} on {plan.target.name}")
    spent, took = energy_interval(plan.energy_pj.total), time_interval(plan.latency_ns)
    missing = facts.left_out(plan)
    at_least, without = ("at least ", f"; {missing}") if missing else ("", "")
    return (
        f"{name}: {at_least}{spent} and {took} an inference{_of_samples(plan)}{without}",
        f"{_placed(plan)}; divergence {facts.divergence_words(plan)}",
    )


def _of_samples(plan: Plan) -> str:
    """Says what one sample takes, where an inference has several."""
    one = facts.per_sample(plan)
    if one is None or one.samples == 1:
        return ""
    spent, took = energy_interval(one.energy_pj), time_interval(one.latency_ns)
    return f" of {one.samples:,} samples, {spent} and {took} a sample"


def _placed(plan: Plan) -> str:
    """Counts layers and MACs by engine."""
    layers = facts.layers_by_engine(plan)
    everything = sum(layers.values())
    if not everything:
        return "no multiply-accumulates" + (" counted" if facts.left_out(plan) else "")
    words = [
        f"{name} {layers[name]}/{everything} layers "
        f"({share(plan.macs.by_engine[name], plan.macs.after)} of the MACs)"
        for name in facts.engines(plan)
        if layers[name] or plan.engines[name] == "analog"
    ]
    return ", ".join(words)


def worst(plan: Plan) -> str:
    """Finds what stands out worst and names what would mend it.

    Outputs that move too far come first, then the largest share of the energy.
    """
    too_far = next((found for found in plan.diagnostics if found.code == "W006"), None)
    if too_far is not None:
        return f"{too_far.message}; {too_far.hint}" if too_far.hint else too_far.message
    whole = plan.energy_pj.total.value
    if not whole:
        return "nothing: it takes no energy"
    on_host = sum(
        plan.energy_pj.by_engine[name].value
        for name, kind in plan.engines.items()
        if kind == "host"
    )
    part = max(PARTS_IN_WORDS, key=lambda name: plan.energy_pj.parts.get(name, ZERO).value)
    taken = plan.energy_pj.parts.get(part, ZERO).value
    if on_host >= max(taken, MUCH * whole):
        return _on_host(plan, on_host, whole)
    if taken >= MUCH * whole:
        words = PARTS_IN_WORDS[part].format(f"{share(taken, whole)} of the energy")
        return f"{words}; {_longest(plan)}" if part == "static" else words
    step = max(plan.steps, key=lambda one: one.energy_pj.total.value)
    most = share(step.energy_pj.total.value, whole)
    return f"nothing takes much: {clipped(step.name, 40)} takes the most, {most} of the energy"


def _longest(plan: Plan) -> str:
    """Names the step over which the chip's common power is spent longest."""
    step = max(plan.steps, key=lambda one: one.latency_ns.value)
    part = share(step.latency_ns.value, plan.serial_latency_ns.value)
    return f"{clipped(step.name, 40)} takes the most time, {part}"


def _on_host(plan: Plan, on_host: float, whole: float) -> str:
    """Names the step that takes the most energy on the host, and why it runs there."""
    steps = [step for step in plan.steps if plan.engines[step.engine] == "host"]
    step = max(steps, key=lambda one: one.energy_pj.total.value)
    return (
        f"the host takes {share(on_host, whole)} of the energy; its {clipped(step.name, 40)} "
        f"({facts.operation_of(step)}) takes {share(step.energy_pj.total.value, whole)}: "
        f"{one_line(step.reason)}"
    )
