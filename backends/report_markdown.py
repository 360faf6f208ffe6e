"""The report as Markdown, for a README, a pull request or a wiki."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backends import report_facts as facts
from backends.report_numbers import count, digits, energy_scale, share, time_scale
from backends.report_text import MOST_STEPS, accounting, figures, size_words
from compiler.cost.step import PARTS
from compiler.errors import one_line
from compiler.plan import Plan
from compiler.units import ZERO


def markdown(plan: Plan, everything: bool = False) -> str:
    """The report; of a long model the steps that take the most energy, unless `everything` is asked for."""
    lines = [
        f"# {safe(plan.model.name)} on {safe(plan.target.name)}",
        "",
        safe(facts.verdict(plan)),
        "",
        f"Nodes: {accounting(plan)}. Model `{plan.model.sha256[:12]}`, target `{plan.target.sha256[:12]}`, plan `{plan.hash[:12]}` (sha256).",
        "",
        "## Steps",
        "",
        *_steps(plan, None if everything else MOST_STEPS),
        "",
        "## Energy",
        "",
        *_energy(plan),
        "",
    ]
    if plan.pruning:
        lines += ["## Pruning", "", *_pruning(plan), ""]
    lines += ["## Figures", ""]
    lines += [f"- **{label}**: {safe(words)}" for label, words in figures(plan)]
    return "\n".join(lines) + "\n"


def safe(text: str) -> str:
    """A stranger's text where Markdown and HTML have no say."""
    shown = one_line(text, limit=1200).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{letter}" if letter in "\\`*_[]|#" else letter for letter in shown)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rows)]


def _steps(plan: Plan, most: int | None) -> Iterator[str]:
    shown, rest = facts.hungriest(plan, most)
    joule, second = (
        energy_scale(plan.energy_pj.total.value),
        time_scale(plan.serial_latency_ns),
    )
    head = ["#", "step", "operation", "engine", "matrix and arrays", "weights", "MACs",
            f"energy, {joule.unit}", f"time, {second.unit}", "divergence", "why here"]  # fmt: skip
    rows = [
        [str(step.index), safe(step.name), safe(step.op), safe(step.engine),
         safe(facts.mapping_of(step)), facts.weights_of(step), f"{step.macs:,}",
         joule.show(step.energy_pj.total.value), second.show(step.latency_ns),
         digits(step.divergence), safe(step.reason)]
        for step in shown
    ]  # fmt: skip
    if rest:
        rows.append(
            ["", f"{count(len(rest), 'step')} more", "", "", "", "",
             f"{sum(step.macs for step in rest):,}",
             joule.show(sum(step.energy_pj.total.value for step in rest)),
             second.show(sum(step.latency_ns for step in rest)),
             digits(sum(step.divergence for step in rest)), ""]
        )  # fmt: skip
    rows.append(
        ["", "**sum**", "", "", "", "", f"{plan.macs.after:,}",
         joule.show(plan.energy_pj.total.value), second.show(plan.serial_latency_ns),
         digits(plan.divergence_total), ""]
    )  # fmt: skip
    yield from _table(head, rows, right=(0, 6, 7, 8, 9))


def _energy(plan: Plan) -> Iterator[str]:
    spent = plan.energy_pj
    scale, whole = energy_scale(spent.total.value), spent.total.value
    named = [(part.replace("_", " "), spent.parts.get(part, ZERO)) for part in PARTS]
    named += [("**sum of the parts**", spent.total)]
    named += [(f"on {safe(name)}", spent.by_engine[name]) for name in facts.engines(plan)]
    rows = [[name, scale.interval(amount), share(amount.value, whole)] for name, amount in named]
    yield from _table(["part", f"{scale.unit} [low, high]", "share"], rows, right=(1, 2))


def _pruning(plan: Plan) -> Iterator[str]:
    most = max(layer.before.energy_pj for layer in plan.pruning)
    scale = energy_scale(most)
    head = ["layer", "engine", "was", scale.unit, "is", scale.unit]
    rows = [
        [safe(layer.node), safe(layer.engine), safe(size_words(layer.before)),
         scale.show(layer.before.energy_pj), safe(size_words(layer.after)),
         scale.show(layer.after.energy_pj)]
        for layer in plan.pruning
    ]  # fmt: skip
    yield from _table(head, rows, right=(3, 5))
