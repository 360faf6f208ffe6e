"""Builds the tables of a report as rows of words.

Each form of the report aligns or escapes them itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.reports import facts
from compiler.cost.step import PARTS
from compiler.errors import one_line
from compiler.figures import Scale, count, energy_interval, energy_scale, share, time_scale
from compiler.ir.mapping import AnalogMapping
from compiler.plan.schema import Plan, PrunedSize
from compiler.units import ZERO, Estimate


@dataclass(frozen=True)
class Table:
    """A head, rows of as many words, and a last row of sums; `right` are the columns of numbers.

    The words are a stranger's where a name stands: a face must escape them.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...]
    right: tuple[int, ...]

    @property
    def all_rows(self) -> tuple[tuple[str, ...], ...]:
        """The head, the rows and the sums."""
        return (self.head, *self.rows, self.total)


def steps_table(plan: Plan, most: int | None) -> Table:
    """Lists the steps that take the most energy (all of them with None), in order.

    A last row adds up the others.
    """
    shown, rest = facts.most_energy(plan, most)
    joule = energy_scale(plan.energy_pj.total.value)
    second = time_scale(plan.serial_latency_ns.value)
    traced = any(step.source for step in shown)
    head = ("#", "step", "operation", "engine", "matrix and arrays", "weights", "MACs",
            f"energy {joule.unit}", f"time {second.unit}", "divergence",
            *(["source"] if traced else []), "why here")  # fmt: skip
    rows = [
        (str(step.index), step.name, facts.operation_of(step), step.engine, facts.mapping_of(step),
         facts.weights_of(step), f"{step.macs:,}", joule.show(step.energy_pj.total.value),
         second.show(step.latency_ns.value), facts.divergence_digits(step.divergence),
         *([facts.short_source(step)] if traced else []), step.reason)
        for step in shown
    ]  # fmt: skip
    if rest:
        rows.append(
            ("", f"{count(len(rest), 'step')} more", "", "", "all steps: --all", "",
             f"{sum(step.macs for step in rest):,}",
             joule.show(sum(step.energy_pj.total.value for step in rest)),
             second.show(sum(step.latency_ns.value for step in rest)),
             facts.divergence_digits(sum(step.divergence for step in rest)),
             *([""] if traced else []), "")
        )  # fmt: skip
    total = ("", "sum", "", "", "", "", f"{plan.macs.after:,}",
             joule.show(plan.energy_pj.total.value), second.show(plan.serial_latency_ns.value),
             facts.divergence_digits(plan.divergence_total),
             *([""] if traced else []), "")  # fmt: skip
    return Table(head, tuple(rows), total, (0, 6, 7, 8, 9))


def _in_scale(scale: Scale, part: Estimate) -> str:
    """Prints an energy in the column's unit, or in one that suits it where it is far below."""
    far_below = 0 < part.value < scale.per / 1000
    return energy_interval(part) if far_below else scale.interval(part)


def parts_table(plan: Plan) -> Table:
    """Lists the energy by part, with interval and share."""
    spent = plan.energy_pj.parts
    named = [
        (part.replace("_", " "), spent.get(part, ZERO))
        for part in PARTS
        if part != "link" or part in spent  # a chip without links has no such part
    ]
    return _shares("energy by part", named, plan)


def engines_table(plan: Plan) -> Table:
    """Lists the energy by engine, with interval and share."""
    named = [(name, plan.energy_pj.by_engine[name]) for name in facts.engines(plan)]
    return _shares("by engine", named, plan)


def _shares(label: str, named: list[tuple[str, Estimate]], plan: Plan) -> Table:
    spent = plan.energy_pj.total
    scale = energy_scale(spent.value)
    rows = [(name, _in_scale(scale, part), share(part.value, spent.value)) for name, part in named]
    total = ("sum", scale.interval(spent), share(spent.value, spent.value))
    return Table((label, f"{scale.unit} [low, high]", "share"), tuple(rows), total, (1, 2))


def pruning_table(plan: Plan) -> Table:
    """Lists the layers that pruning made smaller: what they were and are, and both energies."""
    pairs = [(layer.before, layer.after) for layer in plan.pruning]
    scale = energy_scale(sum(before.energy_pj for before, _ in pairs) / len(pairs))
    rows = [
        (layer.node, layer.engine, size_words(layer.before), scale.show(layer.before.energy_pj),
         size_words(layer.after), scale.show(layer.after.energy_pj),
         share(layer.before.energy_pj - layer.after.energy_pj, layer.before.energy_pj))
        for layer in plan.pruning
    ]  # fmt: skip
    was_pj, is_pj = (sum(pair[side].energy_pj for pair in pairs) for side in (0, 1))
    tiles = [sum(_tiles(pair[side]) for pair in pairs) for side in (0, 1)]
    words = [count(number, "tile") if any(tiles) else "" for number in tiles]
    total = ("sum", "", words[0], scale.show(was_pj), words[1], scale.show(is_pj),
             share(was_pj - is_pj, was_pj))  # fmt: skip
    head = ("pruned layer", "engine", "was", scale.unit, "is", scale.unit, "saved")
    return Table(head, tuple(rows), total, (3, 5, 6))


def size_words(size: PrunedSize) -> str:
    """Describes a layer's matrices and how they lie on the arrays."""
    several = f"{size.groups} x " if size.groups > 1 else ""
    matrix = f"{several}{size.rows}x{size.columns}"
    words = size.mapping.describe()
    if not words or ":" in words:
        return one_line(words or matrix)
    return one_line(f"{matrix}: {words}")


def _tiles(size: PrunedSize) -> int:
    """Counts the array tiles of a layer, none where it lies on no cells."""
    return size.mapping.tiles if isinstance(size.mapping, AnalogMapping) else 0
