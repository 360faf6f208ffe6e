"""Writes the report for programs: JSON with stable keys ("joulec.report/2"), CSV by step."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from backends.reports import facts
from backends.reports.verdict import verdict
from compiler.cost.step import PARTS
from compiler.errors import one_line
from compiler.plan.schema import Plan, Step
from compiler.plan.views import critical_path
from compiler.units import ZERO, Estimate

SCHEMA = "joulec.report/2"


def report_table(plan: Plan) -> dict[str, Any]:
    """Builds the report as a table of plain values.

    Keys are added, never changed; energies are {value, low, high} in pJ. `nodes` counts the ONNX
    file's nodes by fate, `layers` the steps with MACs by engine. `steps` has a row for each step,
    whose energies add up to `energy_pj.total`. `bound.ratio` and `bound.ratio_with_load` are the
    plan's energy over the bound. `critical_path` lists by index the steps that make the latency,
    the time between them, and each engine's share of the latency. `divergence` is what was measured
    on the whole plan (`measured` says on what), `divergence_estimate` the sum over the steps.
    `samples` is how many samples an inference has (None: no batch), `per_sample` what one of them
    takes.
    """
    bound, path = facts.bound_of(plan), critical_path(plan)
    each = facts.per_sample(plan)
    dumped = plan.model_dump(by_alias=True)
    same = (
        "model", "target", "engines", "inputs", "outputs", "latency_ns", "serial_latency_ns",
        "memories", "spills", "macs", "tops_per_watt", "partition", "pruning", "not_modelled",
        "diagnostics", "measured", "resident", "one_time_load",
    )  # fmt: skip
    return {
        "schema": SCHEMA,
        "verdict": "; ".join(verdict(plan)),
        "plan_hash": plan.hash,
        "nodes": facts.fates(plan),
        "layers": facts.layers_by_engine(plan),
        "steps": [step_row(step) for step in plan.steps],
        "energy_pj": {**dumped["energy_pj"], "assumed": plan.assumed_energy_pj},
        "utilization": {
            name: {**use.model_dump(), "share": use.share} for name, use in plan.utilization.items()
        },
        "bound": None
        if bound is None
        else {
            "energy_pj": bound.energy_pj,
            "ratio": bound.ratio,
            "energy_with_load_pj": bound.with_load_pj,
            "ratio_with_load": bound.ratio_with_load,
            "latency_ns": bound.latency_ns,
        },
        "critical_path": {
            "steps": [step.index for step in path.steps],
            "waits_ns": path.waits_ns,
            "latency_ns": path.latency_ns,
            "engines": dict(facts.latency_shares(plan, path, 0).engines),
        },
        "divergence": plan.divergence,
        "divergence_estimate": plan.divergence_total,
        "samples": plan.samples,
        "per_sample": None
        if each is None
        else {"energy_pj": asdict(each.energy_pj), "latency_ns": asdict(each.latency_ns)},
        **{key: dumped[key] for key in same},
    }


def step_row(step: Step) -> dict[str, Any]:
    """Builds the report's row for one step."""
    matrix = facts.matrix_of(step)
    return {
        "index": step.index,
        "name": step.name,
        "op": step.op,
        "engine": step.engine,
        "nodes": list(step.nodes),
        "matrix": None
        if matrix is None
        else {
            "groups": matrix.groups,
            "rows": matrix.rows,
            "columns": matrix.columns,
            "positions": matrix.positions,
        },
        "mapping": step.mapping_words,
        "digits": step.weight_slices,
        "weights": facts.weights_of(step),
        "macs": step.macs,
        "energy_pj": step.energy_pj.model_dump(),
        "latency_ns": asdict(step.latency_ns),
        "start_ns": step.start_ns,
        "end_ns": step.end_ns,
        "utilization": step.utilization.share if step.utilization else None,
        "divergence": step.divergence,
        "reason": step.reason,
        "source": step.source,
        "not_modelled": step.not_modelled,
    }


def json_text(plan: Plan) -> str:
    """Writes the report as JSON, keys sorted, nothing in it that changes from run to run."""
    return json.dumps(report_table(plan), sort_keys=True, indent=2, allow_nan=False) + "\n"


COLUMNS = (
    "index", "name", "op", "engine", "groups", "rows", "columns", "positions", "mapping", "weights",
    "macs", "energy_pj", "energy_low_pj", "energy_high_pj", *(f"{part}_pj" for part in PARTS),
    "latency_ns", "latency_low_ns", "latency_high_ns", "start_ns", "end_ns", "utilization",
    "divergence", "reason", "source", "not_modelled",
)  # fmt: skip


def csv_text(plan: Plan) -> str:
    """Writes a line for each step under the names in COLUMNS; empty where it has no such number."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for step in plan.steps:
        row = step_row(step)
        spent: Estimate = step.energy_pj.total
        matrix = row["matrix"] or {}
        numbers = {
            **matrix,
            "latency_ns": step.latency_ns.value,
            "latency_low_ns": step.latency_ns.low,
            "latency_high_ns": step.latency_ns.high,
            "energy_pj": spent.value,
            "energy_low_pj": spent.low,
            "energy_high_pj": spent.high,
            **{f"{part}_pj": step.energy_pj.parts.get(part, ZERO).value for part in PARTS},
        }
        flat = {**row, **numbers}
        writer.writerow({key: _cell(flat.get(key)) for key in COLUMNS})
    return stream.getvalue()


def _cell(value: object) -> object:
    """Makes a value safe for a spreadsheet or a terminal.

    A stranger's name cannot become a formula, a row or a colour.
    """
    if isinstance(value, str):
        shown = one_line(value, limit=1 << 20)
        return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
    return "" if value is None else value
