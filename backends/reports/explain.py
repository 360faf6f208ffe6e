"""Explains where one node of the model went, why, and what its alternatives would have cost."""

from __future__ import annotations

from typing import Any

from backends.reports import facts
from backends.reports.page import BOLD, DEFAULT_PAGE, Page
from compiler.cost.step import PARTS
from compiler.errors import UsageError, nearest, one_line
from compiler.figures import digits, energy, energy_interval, share, time
from compiler.plan.schema import Alternative, Placement, Plan, Step
from compiler.units import Estimate

SCHEMA = "joulec.explanation/1"
OPEN = " ~"  # behind a margin that is inside the interval


def explain(plan: Plan, name: str) -> dict[str, Any]:
    """Finds what became of a node of the ONNX file, or of a step, by name.

    `steps` compute it; `chosen` is what the whole node takes, `alternatives` the candidates it did
    not take, each with its margin over the chosen one (energy, latency, divergence; of the first
    two with the interval [low, high] that what the two do not share leaves) or the reason why it
    cannot be. UsageError (U006) with the nearest name when there is no such node or step.
    """
    row = next((row for row in plan.placements if row.node == name), None)
    if row is not None:
        indices = [index for part in row.parts for index in part.steps]
        steps = [plan.steps[index] for index in sorted(set(indices))]
        kind, reason, fate = "node", row.reason, str(row.fate)
    else:
        steps = [step for step in plan.steps if step.name == name]
        if not steps:
            known = [row.node for row in plan.placements] + [step.name for step in plan.steps]
            raise UsageError(
                f"no node or step {one_line(name)!r} in the package",
                code="U006",
                hint=nearest(name, known) or "the report lists the steps",
            )
        kind, reason, fate = "step", steps[0].reason, "placed"
        row = _own_row(plan, steps[0])
    return {
        "schema": SCHEMA,
        "kind": kind,
        "name": name,
        "model": plan.model.name,
        "target": plan.target.name,
        "fate": fate,
        "reason": reason,
        "source": next((step.source for step in steps if step.source), ""),
        "parts": [part.model_dump() for part in row.parts] if row else [],
        "steps": [_step_table(step) for step in steps],
        "chosen": _chosen(row, steps),
        "alternatives": [
            _alternative(other, _chosen(row, steps), plan) for other in row.alternatives
        ]
        if row
        else [],
        "fused_into": [step.name for step in steps] if fate == "fused" else [],
    }


def _own_row(plan: Plan, step: Step) -> Placement | None:
    """Finds the placement of the node that a step mainly stands for."""
    main = step.nodes[0] if step.nodes else ""
    return next((r for r in plan.placements if r.node == main and r.fate == "placed"), None)


def _chosen(row: Placement | None, steps: list[Step]) -> dict[str, Any]:
    """Adds up what the steps take together.

    A host segment stands for several nodes, so its cost is not one node's.
    """
    shared = any(len(step.operations) > 1 for step in steps)
    return {
        "engines": list(dict.fromkeys(step.engine for step in steps)),
        "energy_pj": sum(step.energy_pj.total.value for step in steps),
        "latency_ns": sum(step.latency_ns.value for step in steps),
        "divergence": row.divergence if row else sum(step.divergence for step in steps),
        "shared_with_other_nodes": shared,
    }


def _alternative(other: Alternative, chosen: dict[str, Any], plan: Plan) -> dict[str, Any]:
    table = other.model_dump()
    # The input of an analog array changes its format on the way, which is part of the choice.
    with_change = other.energy_pj is not None and plan.engines.get(other.engine) == "analog"
    table["with_requantization"] = with_change
    for key in ("energy_pj", "latency_ns", "divergence"):
        value = table[key]
        comparable = value is not None and not chosen["shared_with_other_nodes"]
        table[f"{key}_margin"] = value - chosen[key] if comparable else None
    for key, planned in (
        ("energy_pj", other.energy_margin_pj),
        ("latency_ns", other.latency_margin_ns),
    ):
        margin, name = table[f"{key}_margin"], f"{key}_margin_interval"
        table[name] = None
        if margin is not None and planned is not None:
            table[name] = [margin + end - planned.value for end in (planned.low, planned.high)]
    return table


def _step_table(step: Step) -> dict[str, Any]:
    matrix = facts.matrix_of(step)
    return {
        "index": step.index,
        "name": step.name,
        "op": step.op,
        "engine": step.engine,
        "mapping": facts.mapping_of(step),
        "weights": facts.weights_of(step),
        "digits": step.weight_slices,
        "macs": step.macs,
        "matrix": str(matrix) if matrix else "",
        "energy_pj": step.energy_pj.model_dump(),
        "latency_ns": step.latency_ns.value,
        "start_ns": step.start_ns,
        "divergence": step.divergence,
        "operations": list(step.operations),
        "not_modelled": step.not_modelled,
    }


def explanation_text(table: dict[str, Any], page: Page = DEFAULT_PAGE) -> str:
    """Prints the explanation as text."""
    name = one_line(table["name"])
    head = f"{name} ({one_line(table['model'])} on {one_line(table['target'])}): {_fate(table)}"
    lines = [page.styled(line, BOLD) for line in page.paragraph(head)]
    lines += page.labelled("why", one_line(table["reason"]))
    if table["source"]:
        lines += page.labelled("source", one_line(table["source"]))
    for step in table["steps"]:
        for label, words in _step_lines(step):
            lines += page.labelled(label, words)
    chosen = table["chosen"]
    if table["alternatives"]:
        lines += ["", *_alternative_lines(table["alternatives"], chosen, page)]
    return "\n".join(lines) + "\n"


def _fate(table: dict[str, Any]) -> str:
    if table["fate"] == "placed":
        parts = [part for part in table["parts"] if part["share"] > 0]
        if parts and len(parts) < len(table["parts"]):
            helpers = [p["engine"] for p in table["parts"] if p not in parts]
            return f"on {parts[0]['engine']}, its formats changed on {', '.join(helpers)}"
        if len(parts) > 1:
            return "split: " + ", ".join(f"{share(p['share'], 1)} on {p['engine']}" for p in parts)
        return f"on {', '.join(table['chosen']['engines'])}"
    if table["fate"] == "fused":
        return f"fused into {', '.join(one_line(name) for name in table['fused_into'])}"
    return str(table["fate"])


def _step_lines(step: dict[str, Any]) -> list[tuple[str, str]]:
    spent = step["energy_pj"]
    whole = step["op"] in ("Segment", "HostSegment") and step["operations"]
    operation = one_line(", ".join(step["operations"]) if whole else step["op"])
    words = [f"{one_line(step['name'])}: {operation} on {step['engine']}"]
    if step["mapping"]:
        words.append(one_line(step["mapping"]))
    if step["weights"]:
        words.append(f"weights {step['weights']}")
    if step["macs"]:
        words.append(f"{step['macs']:,} MACs")
    parts = " + ".join(
        f"{part.replace('_', ' ')} {energy(spent['parts'].get(part, {'value': 0})['value'])}"
        for part in PARTS
        if part in spent["parts"]
    )
    interval = energy_interval(Estimate(**spent["total"]))
    lines = [
        (f"step {step['index']}", "; ".join(words)),
        ("energy", interval + (f" = {parts}" if parts else "")),
        (
            "time",
            f"{time(step['latency_ns'])}, from {time(step['start_ns'])} on; "
            f"divergence {facts.divergence_digits(step['divergence'])}",
        ),
    ]
    if step["not_modelled"]:
        lines.append(("missing", one_line(step["not_modelled"])))
    return lines


def _alternative_lines(
    others: list[dict[str, Any]], chosen: dict[str, Any], page: Page
) -> list[str]:
    """Prints the alternatives, with what each would take and how much more that is."""
    rows = [["other ways", "energy", "more", "time", "more", "divergence"]]
    last = ["how"]
    for other in others:
        how, reason = one_line(other["mapping"]), one_line(other["reason"])
        if other["energy_pj"] is None:
            rows.append([f"  {other['engine']}", *"-----"])
            last.append(f"cannot: {reason}")
            continue
        rows.append(
            [
                f"  {other['engine']}",
                energy(other["energy_pj"]),
                _more(other["energy_pj_margin"], energy, other["energy_pj_margin_interval"]),
                time(other["latency_ns"]),
                _more(other["latency_ns_margin"], time, other["latency_ns_margin_interval"]),
                "beyond measure" if other["divergence"] is None else digits(other["divergence"]),
            ]
        )
        last.append(", ".join(word for word in (how, reason and f"but {reason}") if word))
    lines = page.table(rows, right=(1, 2, 3, 4, 5), last=last)
    if chosen["shared_with_other_nodes"]:
        lines.append(
            "no margins: the step does the work of several nodes, and its cost is theirs together"
        )
    changed = dict.fromkeys(other["engine"] for other in others if other["with_requantization"])
    if changed:
        lines.append(f"{', '.join(changed)}: with its requantization")
    if any(cell.endswith(OPEN) for row in rows for cell in row[2:5]):
        lines.append(
            f"{OPEN.strip()} inside the interval: numbers of the chip that the two do not share "
            "leave open which takes less"
        )
    return lines


def _more(margin: float | None, show: Any, interval: list[float] | None) -> str:
    if margin is None:
        return ""
    if abs(margin) < 1e-6:  # the dust of sums
        return "0"
    is_open = interval is not None and interval[0] < 0 < interval[1]
    return f"{'+' if margin >= 0 else '-'}{show(abs(margin))}{OPEN if is_open else ''}"
