"""Compares MLPerf Tiny networks on DIANA under four policies and two cost models.

The models are ODiMO's and the full one; the table is for docs/diana.md. `diana_odimo` charges what
ODiMO's published model charges, `diana` all that joulec models. The partition finds the assignment
of least energy in both. Needs the models (JOULEC_MODELS, see tests/conftest.py).

    .venv/bin/python -m tests.support.diana_table
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import joulec
from compiler.plan.schema import Plan
from compiler.target.chip import Analog, Target, load_target

ALL_DIGITAL = (("*", "digital"),)


@dataclass(frozen=True)
class Policy:
    """What may run where, and what becomes of analog weights.

    These are options of `joulec compile`, and what the chip loads.
    """

    name: str
    options: joulec.Options
    loads_all_rows: bool = False

    @property
    def on_full_chip(self) -> Policy | None:
        """Builds the policy where room counts: what fits stays resident.

        None where there is no such chip.
        """
        if self.loads_all_rows:
            return None
        stays = self.options.weights == "resident"
        return replace(self, options=replace(self.options, weights="auto")) if stays else self


FREE = joulec.Options(max_divergence=inf, calibration_samples=1)
POLICIES = (
    Policy("digital only", replace(FREE, place=ALL_DIGITAL)),
    Policy("load exactly the used rows", replace(FREE, weights="reload")),
    Policy("load all rows", replace(FREE, weights="reload"), loads_all_rows=True),
    Policy("weights resident", replace(FREE, weights="resident")),
)
# Cycles, energy (uJ) and layers on analog of ODiMO's model, computed separately from joulec.
PUBLISHED = {
    "ic_float": ((81_545, 7.83, 0), (30_248, 3.28, 8), (71_596, 7.01, 1), (17_121, 1.83, 9)),
    "kws_float": ((104_289, 10.01, 0), (71_454, 6.94, 5), (104_289, 10.01, 0), (69_015, 6.68, 6)),
    "vww_float": (
        (208_608, 20.03, 0), (139_042, 13.63, 13), (205_124, 19.83, 1), (128_843, 12.51, 14),
    ),
    "ad_float": ((16_994, 1.63, 0), (12_826, 1.25, 2), (16_994, 1.63, 0), (162, 0.02, 10)),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A plan in the table's terms: serial cycles, energy, layers on the analog array."""

    cycles: float
    energy_uj: float
    analog_layers: int


def chip(policy: Policy, name: str = "diana_odimo") -> Target:
    """The chip of a policy."""
    target = load_target(name)
    engine = target.chip.engines["analog"]
    assert isinstance(engine, Analog)
    if engine.odimo is None or not policy.loads_all_rows:
        return target
    loads_all_rows = engine.odimo.loads_all_rows.model_copy(update={"value": True})
    engine = engine.model_copy(
        update={"odimo": engine.odimo.model_copy(update={"loads_all_rows": loads_all_rows})}
    )
    engines = {**target.chip.engines, "analog": engine}
    return replace(target, chip=target.chip.model_copy(update={"engines": engines}))


def row(model: Path, policy: Policy, name: str = "diana_odimo") -> Row:
    """A network under a policy."""
    target = chip(policy, name)
    plan: Plan = joulec.compile(model, target, options=policy.options).plan
    return Row(
        plan.serial_latency_ns.value / target.cycle_ns,
        plan.energy_pj.total.value / 1e6,
        sum(step.op == "AnalogProduct" for step in plan.steps),
    )


def table(folder: Path, tell: Callable[[str], None]) -> None:
    """Every network under every policy on both chips, as a Markdown table."""
    tell("| network | policy | ODiMO: cycles | uJ | analog | full: cycles | uJ | analog |")
    tell("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for model in PUBLISHED:
        for policy in POLICIES:
            path = folder / "mlperf-tiny" / f"{model}.onnx"
            cells = []
            for name, used in (("diana_odimo", policy), ("diana", policy.on_full_chip)):
                if used is None:
                    cells += ["", "", ""]
                    continue
                found = row(path, used, name)
                cells += [
                    f"{found.cycles:,.0f}",
                    f"{found.energy_uj:.2f}",
                    str(found.analog_layers),
                ]
            tell(f"| {model} | {policy.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    from os import environ

    table(Path(environ.get("JOULEC_MODELS", "../shared/models-ext")), print)
