"""Reads the constants of the formulas from components/constants.toml and cells.toml.

Each is a value with its interval and its source.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from itertools import pairwise
from math import exp, log
from typing import Any

from compiler.units import Estimate, is_assumption

REFERENCE_NODE_NM = 28.0


@dataclass(frozen=True)
class Constant:
    """One number of components/constants.toml.

    `node_nm` and `supply_v` say where the source gives it (None: it does not depend on them).
    """

    estimate: Estimate
    source: str
    node_nm: float | None = None
    supply_v: float | None = None

    @property
    def is_assumption(self) -> bool:
        """Whether it has no source but a stated guess."""
        return is_assumption(self.source)


@dataclass(frozen=True)
class Components:
    """All constants, the defaults for what a table leaves out, and two properties of a node."""

    constants: Mapping[str, Constant]
    defaults: Mapping[str, Constant]
    supplies_v: tuple[tuple[float, float], ...]
    gate_pitches_nm: tuple[tuple[float, float], ...]
    pitch_sources: Mapping[float, str]

    @property
    def values(self) -> dict[str, float]:
        """The constants as plain numbers."""
        return {name: constant.estimate.value for name, constant in self.constants.items()}

    @property
    def measured(self) -> tuple[str, ...]:
        """The constants that `make fit` remakes: what chips take, how far they lie from it."""
        return tuple(name for name in self.constants if name.startswith(("spread_", "typical_")))

    def scale(self, node_nm: float) -> float:
        """Computes a capacitance at a node over the same at the reference node.

        It is the ratio of the gate pitches.
        """
        pitch = _interpolated(self.gate_pitches_nm, node_nm)
        return pitch / _interpolated(self.gate_pitches_nm, REFERENCE_NODE_NM)

    def usual_supply_v(self, node_nm: float) -> float:
        """Interpolates the usual supply of a node."""
        low, high = self.supplies_v[0][0], self.supplies_v[-1][0]
        return _interpolated(self.supplies_v, min(max(node_nm, low), high))

    def with_values(self, values: Mapping[str, Estimate]) -> Components:
        """Replaces some constants."""
        changed = {
            name: replace(self.constants[name], estimate=estimate)
            for name, estimate in values.items()
        }
        return replace(self, constants={**self.constants, **changed})


def _interpolated(table: tuple[tuple[float, float], ...], x: float) -> float:
    """Interpolates between the points of an ascending table, in logarithms.

    Proportional past its ends.
    """
    if x <= table[0][0]:
        return table[0][1] * x / table[0][0]
    for (x0, y0), (x1, y1) in pairwise(table):
        if x == x1:
            return y1
        if x < x1:
            share = log(x / x0) / log(x1 / x0)
            return exp(log(y0) + share * log(y1 / y0))
    return table[-1][1] * x / table[-1][0]


def _constant(entry: Mapping[str, Any]) -> Constant:
    return Constant(
        estimate=Estimate(float(entry["value"]), float(entry["low"]), float(entry["high"])),
        source=entry["source"],
        node_nm=entry.get("node_nm"),
        supply_v=entry.get("supply_v"),
    )


def _table(name: str) -> dict[str, Any]:
    """Reads a file of constants."""
    file = resources.files("compiler").joinpath("components", name)
    return tomllib.loads(file.read_text(encoding="utf-8"))


@cache
def load_components() -> Components:
    """Reads the constants that are shipped."""
    table, cells = _table("constants.toml"), _table("cells.toml")
    constants = {**table["constants"], **cells["constants"]}
    pitches = {float(node): entry for node, entry in table["gate_pitch_nm"].items()}
    return Components(
        constants={name: _constant(entry) for name, entry in constants.items()},
        defaults={name: _constant(entry) for name, entry in table["defaults"].items()},
        supplies_v=tuple(
            sorted((float(node), float(volt)) for node, volt in table["supply_v"].items())
        ),
        gate_pitches_nm=tuple(
            sorted((node, float(entry["value"])) for node, entry in pitches.items())
        ),
        pitch_sources={node: entry["source"] for node, entry in sorted(pitches.items())},
    )


def constants_table(components: Components) -> str:
    """Writes the constants as the table that docs/formulas/constants.md shows."""
    lines = ["| constant | value | low | high | node (nm) | supply (V) | source |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    for name, constant in {**components.constants, **components.defaults}.items():
        estimate = constant.estimate
        cells = [estimate.value, estimate.low, estimate.high, constant.node_nm, constant.supply_v]
        shown = ["" if cell is None else f"{cell:g}" for cell in cells]
        default = "default: " if name in components.defaults else ""
        lines.append(f"| {default}`{name}` | {' | '.join(shown)} | {constant.source} |")
    return "\n".join(lines) + "\n"
