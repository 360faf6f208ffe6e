"""Defines a component: the unit of its number, its parameters, and its formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, cast

from compiler.target.parts.silicon import Silicon

Value: TypeAlias = float | str | bool
Given: TypeAlias = Mapping[str, Value]

# From what the formulas give (fJ, ns, pW) to the unit at the end of a chip file's key.
UNITS = {
    "pj": 1e-3,
    "pj_per_byte": 1e-3,
    "pj_per_bit": 1e-3,
    "ns": 1.0,
    "ns_per_row": 1.0,
    "mw": 1e-9,
}


def shown_unit(unit: str) -> str:
    """Writes the end of a key as a unit: pj_per_byte as pJ/byte."""
    return unit.replace("_per_", "/").replace("pj", "pJ").replace("mw", "mW")


@dataclass(frozen=True)
class Parameter:
    """A number between two ends, one of `words`, or yes or no.

    With a default it may be left out.
    """

    low: float = 0.0
    high: float = 0.0
    words: tuple[str, ...] = ()
    is_flag: bool = False
    default: Value | None = None

    @property
    def schema(self) -> dict[str, object]:
        """Its JSON Schema."""
        if self.is_flag:
            return {"type": "boolean"}
        if self.words:
            return {"enum": list(self.words)}
        return {"type": "number", "minimum": self.low, "maximum": self.high}

    def why_not(self, value: object) -> str:
        """Explains why a value will not do, or returns an empty string."""
        if self.is_flag:
            holds = isinstance(value, bool)
        elif self.words:
            holds = value in self.words
        else:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            holds = is_number and self.low <= cast(float, value) <= self.high
        return "" if holds else f"wanted {self.wanted}"

    @property
    def wanted(self) -> str:
        """What it may be, in words."""
        if self.is_flag:
            return "true or false"
        if self.words:
            return f"one of {', '.join(self.words)}"
        return f"a number from {self.low:.15g} to {self.high:.15g}"


@dataclass(frozen=True)
class Component:
    """One component: the unit of its number, its parameters, its formula, and what it is in words.

    The formula takes a Silicon and the parameters by their names.
    """

    unit: str
    parameters: Mapping[str, Parameter]
    formula: Callable[..., Mapping[str, float]]
    says: str
    cites_sram_table: bool = False
    # Whether it takes input_toggle and weight_density: its energy depends on the data.
    takes_data: bool = False

    def parts(self, silicon: Silicon, given: Given) -> Mapping[str, float]:
        """Computes its formula part by part, in fJ, ns or pW; `given` holds every parameter."""
        return self.formula(silicon, **{name: _plain(given[name]) for name in self.parameters})

    def why_not(self, given: Given) -> str:
        """Explains why parameters that are right each alone do not go together, or returns ""."""
        whole, step = given.get("input_bits"), given.get("input_bits_per_step")
        if whole is not None and step is not None and float(step) > float(whole):
            return f"input_bits_per_step: {step} is more than input_bits, {whole}"
        return ""


def _plain(value: Value) -> Value:
    """Makes a number a float; a word or a flag stays as it is."""
    return value if isinstance(value, str | bool) else float(value)
