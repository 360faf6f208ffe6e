"""The report as text for a terminal: ASCII, columns that add up, every number with its unit."""

from __future__ import annotations

from collections.abc import Iterator

from backends import report_facts as facts
from backends.report_numbers import (
    aligned,
    clipped,
    count,
    digits,
    energy,
    energy_interval,
    energy_scale,
    share,
    time,
    time_scale,
)
from compiler.cost.step import PARTS
from compiler.errors import one_line
from compiler.plan import Plan, PrunedSize
from compiler.units import ZERO

MOST_STEPS = 25
NAME_WIDTH = 32
REASON_WIDTH = 160
LABEL_WIDTH = 13


def text(plan: Plan, everything: bool = False) -> str:
    """The report; of a long model the steps that take the most energy, unless `everything` is asked for."""
    blocks = (
        _head(plan),
        _steps(plan, None if everything else MOST_STEPS),
        _energy(plan),
        _pruning(plan),
        _figures(plan),
    )
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def _line(label: str, words: str) -> str:
    return f"{label:<{LABEL_WIDTH}}{words}".rstrip()


def _head(plan: Plan) -> Iterator[str]:
    yield facts.verdict(plan)
    model, target = plan.model, plan.target
    yield _line(
        "hashes",
        f"model {model.sha256[:12]}, target {target.sha256[:12]}, plan {plan.hash[:12]} (sha256)",
    )
    yield _line("nodes", accounting(plan))


def accounting(plan: Plan) -> str:
    """What became of the nodes of the file, as a sum."""
    fates = facts.fates(plan)
    words = " + ".join(f"{number:,} {fate}" for fate, number in fates.items())
    return f"{sum(fates.values()):,} of the model = {words}; {count(len(plan.steps), 'step')}"


def _steps(plan: Plan, most: int | None) -> Iterator[str]:
    shown, rest = facts.hungriest(plan, most)
    joule = energy_scale(plan.energy_pj.total.value)
    second = time_scale(plan.serial_latency_ns)
    rows = [
        ["#", "step", "operation", "engine", "matrix and arrays", "weights", "MACs",
         f"energy {joule.unit}", f"time {second.unit}", "divergence", "why here"]
    ]  # fmt: skip
    for step in shown:
        rows.append(
            [
                str(step.index),
                clipped(step.name, NAME_WIDTH),
                clipped(step.op, 20),
                step.engine,
                facts.mapping_of(step),
                facts.weights_of(step),
                f"{step.macs:,}",
                joule.show(step.energy_pj.total.value),
                second.show(step.latency_ns),
                digits(step.divergence),
                one_line(step.reason, REASON_WIDTH),
            ]
        )
    if rest:
        rows.append(
            ["", f"{count(len(rest), 'step')} more", "", "", "all steps: --all", "",
             f"{sum(step.macs for step in rest):,}",
             joule.show(sum(step.energy_pj.total.value for step in rest)),
             second.show(sum(step.latency_ns for step in rest)),
             digits(sum(step.divergence for step in rest)), ""]
        )  # fmt: skip
    rows.append(
        ["", "sum", "", "", "", "", f"{plan.macs.after:,}", joule.show(plan.energy_pj.total.value),
         second.show(plan.serial_latency_ns), digits(plan.divergence_total), ""]
    )  # fmt: skip
    yield from aligned(rows, right=(0, 6, 7, 8, 9))


def _energy(plan: Plan) -> Iterator[str]:
    """Energy by part and, beside it, by engine."""
    spent = plan.energy_pj
    scale, whole = energy_scale(spent.total.value), spent.total.value
    parts = [(part.replace("_", " "), spent.parts.get(part, ZERO)) for part in PARTS]
    engines = [(name, spent.by_engine[name]) for name in facts.engines(plan)]
    rows = [["energy by part", f"{scale.unit} [low, high]", "share", "  ",
             "by engine", f"{scale.unit} [low, high]", "share"]]  # fmt: skip
    for index in range(max(len(parts), len(engines))):
        row = []
        for side in (parts, engines):
            if index < len(side):
                name, amount = side[index]
                row += [f"  {name}", scale.interval(amount), share(amount.value, whole), ""]
            else:
                row += ["", "", "", ""]
        rows.append(row[:7])
    total = scale.interval(spent.total)
    rows.append(["  sum", total, share(whole, whole), "", "  sum", total, share(whole, whole)])
    yield from aligned(rows, right=(1, 2, 5, 6))


def size_words(size: PrunedSize) -> str:
    """A layer's matrices and how they lie on the arrays."""
    several = f"{size.groups} x " if size.groups > 1 else ""
    matrix = f"{several}{size.rows}x{size.columns}"
    if not size.mapping or ":" in size.mapping:
        return one_line(size.mapping or matrix)
    return one_line(f"{matrix}: {size.mapping}")


def _pruning(plan: Plan) -> Iterator[str]:
    if not plan.pruning:
        return
    pairs = [(layer.before, layer.after) for layer in plan.pruning]
    scale = energy_scale(sum(before.energy_pj for before, _ in pairs) / len(pairs))
    rows = [["pruned layer", "engine", "was", f"{scale.unit}", "is", f"{scale.unit}", "saved"]]
    for layer in plan.pruning:
        was, now = layer.before, layer.after
        rows.append(
            [f"  {clipped(layer.node, NAME_WIDTH)}", layer.engine, size_words(was),
             scale.show(was.energy_pj), size_words(now), scale.show(now.energy_pj),
             share(was.energy_pj - now.energy_pj, was.energy_pj)]
        )  # fmt: skip
    was_pj, is_pj = (sum(pair[side].energy_pj for pair in pairs) for side in (0, 1))
    tiles = [sum(pair[side].tiles or 0 for pair in pairs) for side in (0, 1)]
    words = [count(number, "tile") if any(tiles) else "" for number in tiles]
    rows.append(
        ["  sum", "", words[0], scale.show(was_pj), words[1], scale.show(is_pj),
         share(was_pj - is_pj, was_pj)]
    )  # fmt: skip
    yield from aligned(rows, right=(3, 5, 6))


def _figures(plan: Plan) -> Iterator[str]:
    """One line for each further figure."""
    for label, words in figures(plan):
        yield _line(label, words)


def figures(plan: Plan) -> Iterator[tuple[str, str]]:
    """Labels and words of everything that is no table."""
    whole = plan.energy_pj.total.value
    if plan.assumed_energy_pj is not None:
        assumed = plan.assumed_energy_pj
        yield (
            "assumptions",
            f"{share(assumed, whole)} of the energy ({energy(assumed)}) rests on assumptions, numbers of the chip file without a source",
        )
    yield (
        "latency",
        f"{time(plan.latency_ns)} with engines overlapping; {time(plan.serial_latency_ns)} one step after the other",
    )
    for name, memory in sorted(plan.memories.items()):
        yield (
            "memory",
            f"{name}: peak {memory.peak_bytes:,} of {memory.capacity_bytes:,} bytes "
            f"({share(memory.peak_bytes, memory.capacity_bytes)}), weights {memory.weight_bytes:,}",
        )
    yield "spills", spills(plan)
    yield "weights", weights(plan)
    for name in facts.engines(plan):
        use = plan.utilization.get(name)
        if use is None:
            continue
        yield (
            "arrays",
            f"{name}: {use.used:,} of {use.total:,} {use.unit} used ({100 * use.share:.1f} %)",
        )
    for scope, efficiency in sorted(plan.tops_per_watt.items()):
        if efficiency.value is not None:
            value, low, high = (
                digits(number)
                for number in (
                    efficiency.value.value,
                    efficiency.value.low,
                    efficiency.value.high,
                )
            )
            yield (
                "TOPS/W",
                f"{scope}: {value} [{low}, {high}]; {one_line(efficiency.scope)}; {one_line(efficiency.at)}",
            )
    yield "MACs", macs(plan)
    bound = facts.bound_of(plan)
    if bound is not None:
        yield "lower bound", bound_words(bound)
    yield "partition", partition(plan)
    yield "divergence", facts.divergence_used(plan)
    if measured := facts.divergence_measured(plan):
        yield "measured", measured
    if plan.not_modelled:
        yield "not modelled", "; ".join(one_line(item) for item in plan.not_modelled)
    for note in plan.notes:
        yield "note", one_line(note, limit=1200)


def spills(plan: Plan) -> str:
    """The values that lie farther out than they should."""
    if not plan.spills:
        return "none"
    size = sum(spill.size_bytes for spill in plan.spills)
    first = plan.spills[0]
    return (
        f"{count(len(plan.spills), 'value')} of {size:,} bytes in all lie farther out than they fit alone, "
        f"such as {clipped(first.buffer, NAME_WIDTH)} in {first.got} for {first.wanted}"
    )


def weights(plan: Plan) -> str:
    """What stays in the engines, what is loaded each time, and what the one load costs."""
    kept = [
        f"{name} keeps {use.used:,} of {use.total:,} {use.unit}"
        for name in facts.engines(plan)
        if (use := plan.resident.get(name)) is not None
    ]
    reloaded = [step for step in plan.steps if facts.weights_of(step) == "reload"]
    load = plan.energy_pj.parts.get("weight_load", ZERO)
    kept.append(f"{count(len(reloaded), 'layer')} loaded in each inference ({energy(load.value)})")
    once = plan.one_time_load
    kept.append(
        f"what is kept is loaded once before the first: {energy_interval(once.energy_pj)}, {time(once.latency_ns)}"
    )
    return "; ".join(kept)


def macs(plan: Plan) -> str:
    """Multiply-accumulates before and after pruning, and by engine."""
    engines = ", ".join(f"{name} {plan.macs.by_engine[name]:,}" for name in facts.engines(plan))
    if plan.macs.before is None:
        return f"{plan.macs.after:,} ({engines})"
    change = f"{plan.macs.before:,} before pruning, {plan.macs.after:,} after"
    return f"{change} ({engines})"


def bound_words(bound: facts.Bound) -> str:
    """The lower bound on energy and the plan's ratio to it."""

    def ratio(number: float | None) -> str:
        return f"{digits(number)} times that" if number is not None else "no ratio to 0"

    return (
        f"no plan can take less than {energy(bound.energy_pj)} without loading weights (this one: "
        f"{ratio(bound.ratio)}), {energy(bound.with_load_pj)} with (this one: {ratio(bound.ratio_with_load)})"
    )


def partition(plan: Plan) -> str:
    """What was minimized and how near to the optimum."""
    summary = facts.partition_of(plan)
    gap, objective = summary.get("gap"), summary.get("objective")
    if not isinstance(gap, int | float):
        return "no partition was recorded"
    proven = "the proven optimum" if gap <= 0 else f"within {100 * gap:.2g} % of the proven bound"
    return f"least {one_line(str(objective))} under the divergence allowed: {proven} (gap {100 * gap:.2g} %)"
