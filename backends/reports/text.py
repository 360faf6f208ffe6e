"""Prints the report for a terminal: ASCII, as wide as the page, every number with its unit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from math import isclose
from textwrap import shorten

from backends.reports import facts
from backends.reports.page import BOLD, DEFAULT_PAGE, ENGINE_STYLES, Page
from backends.reports.tables import Table, engines_table, parts_table, pruning_table, steps_table
from backends.reports.verdict import verdict, worst
from compiler.errors import one_line
from compiler.figures import (
    clipped,
    count,
    digits,
    energy,
    energy_interval,
    share,
    significant,
    time,
    time_interval,
)
from compiler.plan.schema import Plan
from compiler.plan.views import critical_path
from compiler.units import ZERO

MOST_STEPS = 16
NAME_WIDTH = 32
LEAST_NAME_WIDTH = 12
REASON_WIDTH = 240
LONGEST_STEPS = 3
MOST_INPUTS = 4
LEAST_SHARE = 0.0005  # of the latency: less prints as 0 %
OPERATION_WIDTH, MACS_WIDTH = 100, 120  # columns of a page from which the two are shown


def text(
    plan: Plan, everything: bool = False, page: Page = DEFAULT_PAGE, notes: bool = True
) -> str:
    """Prints the report.

    Of a long model it shows the steps that take the most energy, unless `everything` is asked for.
    Without `notes` the diagnostics are left out, for whoever has just printed them.
    """
    blocks = (
        _head(plan, page),
        _steps(plan, None if everything else MOST_STEPS, page),
        _energy(plan, page),
        _pruning(plan, page),
        _figures(plan, page, notes),
    )
    return "\n\n".join("\n".join(lines) for block in blocks if (lines := list(block))) + "\n"


def _head(plan: Plan, page: Page) -> Iterator[str]:
    first, *others = verdict(plan)
    yield from (page.styled(line, BOLD) for line in page.paragraph(first))
    for sentence in others:
        yield from page.paragraph(sentence)
    yield from page.labelled("worst", worst(plan))


def hashes(plan: Plan) -> str:
    """Prints what identifies the model, the chip and the plan."""
    model, target = plan.model, plan.target
    return f"model {model.sha256[:12]}, target {target.sha256[:12]}, plan {plan.hash[:12]} (sha256)"


def accounting(plan: Plan) -> str:
    """Prints what became of the nodes of the file, as a sum."""
    fates = facts.fates(plan)
    words = " + ".join(f"{number:,} {fate}" for fate, number in fates.items())
    return f"{sum(fates.values()):,} of the model = {words}; {count(len(plan.steps), 'step')}"


def _steps(plan: Plan, most: int | None, page: Page) -> Iterator[str]:
    """Prints the steps, the columns that a page has room for; how and why stand below each."""
    table = steps_table(plan, most)
    if page.width is None:
        rows = [tuple(one_line(cell) for cell in row) for row in table.all_rows]
        yield from page.table(rows, table.right, styles=_row_styles(plan, table))
        return
    rows, last = [], []
    for row in table.all_rows:
        index, _, operation, engine, how, weights, macs, spent, took, moved, *traced, why = row
        rows.append(
            (
                index,
                *([clipped(operation, 18)] if page.at_least(OPERATION_WIDTH) else []),
                engine,
                *([macs] if page.at_least(MACS_WIDTH) else []),
                spent,
                took,
                moved,
            )
        )
        weights = weights if weights == "reload" else ""
        source = f"from {traced[0]}" if traced and traced[0] else ""
        parts = (how, weights, shorten(one_line(why), REASON_WIDTH, placeholder=" ..."), source)
        last.append("; ".join(word for word in parts if word))
    room = min(max(page.left_by(rows), LEAST_NAME_WIDTH), NAME_WIDTH)
    rows = [
        (index, clipped(whole[1], room), *others)
        for whole, (index, *others) in zip(table.all_rows, rows, strict=True)
    ]
    numbers = range(rows[0].index("engine") + 1, len(rows[0]))
    yield from page.table(rows, (0, *numbers), last, _row_styles(plan, table))


def _row_styles(plan: Plan, table: Table) -> list[str]:
    return [ENGINE_STYLES.get(plan.engines.get(row[3], ""), "") for row in table.all_rows]


def _energy(plan: Plan, page: Page) -> Iterator[str]:
    """Prints energy by part and, to its right or below where there is no room, by engine."""
    parts, engines = (_indented(table) for table in (parts_table(plan), engines_table(plan)))
    nothing = ("", "", "")
    sides = zip_longest(parts[1:-1], engines[1:-1], fillvalue=nothing)
    pairs = [(parts[0], engines[0]), *sides, (parts[-1], engines[-1])]
    rows = [(*left, "", *right) for left, right in pairs]
    if page.has_room_for(rows):
        yield from page.table(rows, right=(1, 2, 5, 6))
        return
    yield from page.table(parts, right=(1, 2))
    yield ""
    yield from page.table(engines, right=(1, 2))


def _pruning(plan: Plan, page: Page) -> Iterator[str]:
    """Prints what pruning made smaller; what each layer was and is stands below it."""
    if not plan.pruning:
        return
    table = pruning_table(plan)
    rows = _indented(table)
    if page.width is None:
        yield from page.table(rows, table.right)
        return
    unit = rows[0][3]
    short = [(name, engine, was, now, saved) for name, engine, _, was, _, now, saved in rows]
    short[0] = (rows[0][0], rows[0][1], f"was {unit}", f"is {unit}", rows[0][6])
    last = ["", *(f"{row[2]} -> {row[4]}" for row in rows[1:])]
    yield from page.table(short, (2, 3, 4), last)


def _indented(table: Table) -> list[tuple[str, ...]]:
    """Indents rows and total under the head; the names are a stranger's."""
    rows = [(f"  {clipped(row[0], NAME_WIDTH)}", *row[1:]) for row in (*table.rows, table.total)]
    return [table.head, *rows]


def _figures(plan: Plan, page: Page, notes: bool) -> Iterator[str]:
    """Prints what is no table, each with its label."""
    for label, words in figures(plan):
        if notes or label != "note":
            yield from page.labelled(label, words)


def figures(plan: Plan) -> Iterator[tuple[str, str]]:
    """Lists labels and words of everything that is no table."""
    whole = plan.energy_pj.total.value
    if plan.assumed_energy_pj is not None:
        assumed = plan.assumed_energy_pj
        yield (
            "assumptions",
            f"{share(assumed, whole)} of the energy ({energy(assumed)}) rests on assumptions, "
            "numbers of the chip file without a source",
        )
    yield "latency", latency(plan)
    if plan.samples:
        yield "samples", samples(plan)
    yield "critical path", path_words(plan)
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
            f"{name}: {use.used:,} of {use.total:,} {use.unit} used ({share(use.used, use.total)})",
        )
    for scope, efficiency in sorted(plan.tops_per_watt.items()):
        if efficiency.value is not None:
            most = significant(efficiency.value)
            value, low, high = (
                digits(number, most)
                for number in (
                    efficiency.value.value,
                    efficiency.value.low,
                    efficiency.value.high,
                )
            )
            yield (
                "TOPS/W",
                f"{scope}: {value} [{low}, {high}]; "
                f"{one_line(efficiency.scope)}; {one_line(efficiency.at)}",
            )
    yield "MACs", macs(plan)
    bound = facts.bound_of(plan)
    if bound is not None:
        yield "lower bound", bound_words(bound)
    yield "partition", partition(plan)
    yield "divergence", facts.divergence_words(plan)
    if plan.measured is not None:
        yield "estimate", f"divergence {facts.divergence_estimate(plan)}"
    if plan.not_modelled:
        yield "not modelled", "; ".join(one_line(item) for item in plan.not_modelled)
    yield "nodes", accounting(plan)
    yield "hashes", hashes(plan)
    for diagnostic in plan.diagnostics:
        yield "note", diagnostic.line()


def latency(plan: Plan) -> str:
    """Prints when the last step ends, and the sum of all steps where some overlap."""
    took = time_interval(plan.latency_ns)
    if isclose(plan.latency_ns.value, plan.serial_latency_ns.value):
        return f"{took}, one step after the other: none overlap"
    serial = time_interval(plan.serial_latency_ns)
    return f"{took} with engines overlapping; {serial} one step after the other"


def samples(plan: Plan) -> str:
    """Prints how many samples an inference has, and the axis of each input that they lie on."""
    axes: dict[int, list[str]] = {}
    for port in plan.inputs:
        if port.batch_axis is not None:
            axes.setdefault(port.batch_axis, []).append(clipped(port.name, NAME_WIDTH))
    places = []
    for axis, names in axes.items():
        shown = ", ".join(repr(name) for name in names[:MOST_INPUTS])
        left = len(names) - MOST_INPUTS
        more = f" and {left:,} more" if left > 0 else ""
        noun = "input" if len(names) == 1 else "inputs"
        places.append(f"along axis {axis} of {noun} {shown}{more}")
    return f"{plan.samples:,} an inference, {'; '.join(places)}"


def path_words(plan: Plan) -> str:
    """Describes the steps that make the latency: how many, on which engines, and the longest."""
    path = critical_path(plan)
    shares = facts.latency_shares(plan, path, LONGEST_STEPS)
    words = [f"{len(path.steps):,} of {count(len(plan.steps), 'step')}"]
    words += [
        f"{share(part, 1)} on {name}"
        for name, part in shares.engines.items()
        if part >= LEAST_SHARE
    ]
    if path.waits_ns > 0:
        words.append(f"{time(path.waits_ns)} of waiting")
    named = [
        f"{clipped(step.name, NAME_WIDTH)} {share(part, 1)}"
        for step, part in shares.longest
        if part >= LEAST_SHARE
    ]
    return f"{', '.join(words)}; longest: {', '.join(named)}" if named else ", ".join(words)


def spills(plan: Plan) -> str:
    """Describes the values that lie farther out than they fit alone."""
    if not plan.spills:
        return "none"
    size = sum(spill.size_bytes for spill in plan.spills)
    first = plan.spills[0]
    return (
        f"{count(len(plan.spills), 'value')} of {size:,} bytes in all "
        f"lie farther out than they fit alone, such as {clipped(first.buffer, NAME_WIDTH)} "
        f"in {first.got} for {first.wanted}"
    )


def weights(plan: Plan) -> str:
    """Describes what stays in the engines, what is loaded in each inference, and the first load."""
    words = [
        f"{name} keeps {use.used:,} of {use.total:,} {use.unit}"
        for name in facts.engines(plan)
        if (use := plan.resident.get(name)) is not None
    ]
    reloaded = [step for step in plan.steps if facts.weights_of(step) == "reload"]
    load = plan.energy_pj.parts.get("weight_load", ZERO)
    loaded = f" ({energy(load.value)})" if reloaded else ""
    words.append(f"{count(len(reloaded), 'layer')} loaded in each inference{loaded}")
    once = plan.one_time_load
    if once.energy_pj.high or once.latency_ns:
        words.append(
            f"what is kept is loaded once before the first: "
            f"{energy_interval(once.energy_pj)}, {time(once.latency_ns)}"
        )
    return "; ".join(words)


def macs(plan: Plan) -> str:
    """Prints multiply-accumulates before and after pruning, and by engine."""
    engines = ", ".join(f"{name} {plan.macs.by_engine[name]:,}" for name in facts.engines(plan))
    if facts.left_out(plan):
        engines += "; some steps are not counted whole"
    if plan.macs.before in (None, plan.macs.after):
        return f"{plan.macs.after:,} ({engines})"
    change = f"{plan.macs.before:,} before pruning, {plan.macs.after:,} after"
    return f"{change} ({engines})"


def bound_words(bound: facts.Bound) -> str:
    """Prints the lower bound on energy and the plan's ratio to it."""

    def ratio(number: float | None) -> str:
        return f"{digits(number)} times that" if number is not None else "no ratio to 0"

    without, loading = energy(bound.energy_pj), energy(bound.with_load_pj)
    if (without, bound.ratio) == (loading, bound.ratio_with_load):
        return f"no plan can take less than {without} (this one: {ratio(bound.ratio)})"
    return (
        f"no plan can take less than {without} without loading weights (this one: "
        f"{ratio(bound.ratio)}), {loading} with "
        f"(this one: {ratio(bound.ratio_with_load)})"
    )


def partition(plan: Plan) -> str:
    """Prints what was minimized and how near to the optimum."""
    if plan.partition is None:
        return "no partition was recorded"
    gap, objective = plan.partition.gap, plan.partition.objective
    proven = "the proven optimum" if gap <= 0 else f"within {100 * gap:.2g} % of the proven bound"
    return (
        f"least {one_line(objective)} under the divergence allowed: "
        f"{proven} (gap {100 * gap:.2g} %)"
    )
