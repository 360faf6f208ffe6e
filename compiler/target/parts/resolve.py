"""Turns a component's name and parameters into a number with interval, parts and source.

It also writes the JSON Schema of all components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler.target.parts import memory
from compiler.target.parts.component import UNITS, Given, Parameter, Value
from compiler.target.parts.constants import Components
from compiler.target.parts.library import COMPONENTS
from compiler.target.parts.silicon import Silicon, over_intervals
from compiler.units import Estimate, total

# What every component may be given about the data; left out, adders switch at the constant
# `activity` and analog cells fully.
DATA = ("input_toggle", "weight_density")
SHARE = Parameter(0, 1)


@dataclass(frozen=True)
class Resolved:
    """A component's number: its parts add up to `estimate`, in the component's unit."""

    estimate: Estimate
    parts: Mapping[str, Estimate]
    source: str


class _Watched(dict[str, float]):
    """Constants that remember which of them were asked for."""

    def __init__(self, values: Mapping[str, float], asked: dict[str, None]) -> None:
        super().__init__(values)
        self._asked = asked

    def __getitem__(self, name: str) -> float:
        self._asked[name] = None
        return super().__getitem__(name)


def resolved(
    name: str, given: Given, components: Components, node_nm: float, supply_v: Estimate
) -> Resolved:
    """Computes a component with all its parameters at a node and supply.

    The source cites each constant that its formula asked for.
    """
    component = COMPONENTS[name]
    factor = UNITS[component.unit]
    asked: dict[str, None] = {}

    def formula(silicon: Silicon) -> dict[str, float]:
        watched = replace(silicon, values=_Watched(silicon.values, asked))
        return {part: value * factor for part, value in component.parts(watched, given).items()}

    toggle, density = (None if given.get(key) is None else float(given[key]) for key in DATA)
    parts = over_intervals(formula, components, node_nm, supply_v, toggle, density)
    constants = [components.constants[constant] for constant in asked]
    cited = [constant.source for constant in constants]
    if component.cites_sram_table:
        cited.insert(0, memory.sram_table().source)
    words = ", ".join(f"{key}={_shown(value)}" for key, value in given.items())
    where = f"{name}({words}) at {node_nm:g} nm, {supply_v.value:g} V"
    origins = dict.fromkeys(source.split(":")[0] for source in cited)
    source = f"{where}, from {'; '.join(origins)}"
    if any(constant.is_assumption for constant in constants):
        source = f"assumption: {source}"
    return Resolved(total(list(parts.values())), parts, source)


def _shown(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else f"{value:.15g}"


def component_schemas() -> list[dict[str, object]]:
    """Writes the JSON Schema of each way to name a component."""
    return [
        {
            "type": "object",
            "title": name,
            "description": component.says,
            "properties": {
                "component": {"const": name},
                "source": {"type": "string"},
                **{key: parameter.schema for key, parameter in component.parameters.items()},
                **dict.fromkeys(DATA if component.takes_data else (), SHARE.schema),
            },
            "required": [
                "component",
                *(
                    key
                    for key, parameter in component.parameters.items()
                    if parameter.default is None
                ),
            ],
            "additionalProperties": False,
        }
        for name, component in COMPONENTS.items()
    ]
