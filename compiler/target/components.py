"""Puts numbers where a chip file names components.

They hold at the chip's node and supply, from the library and the chip's own constants.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from compiler.errors import nearest, one_line
from compiler.target.parts.component import UNITS, Value, shown_unit
from compiler.target.parts.constants import Components, load_components
from compiler.target.parts.library import COMPONENTS, SUITING
from compiler.target.parts.resolve import DATA, SHARE, resolved
from compiler.target.quantity import MOST, ComponentQuantity, Quantity
from compiler.units import Estimate

# Where the node's tables and the formulas mean something.
NODE_NM = (1.0, 1000.0)
SUPPLY_V = (0.1, 10.0)
# Stands where a component is faulty, so that the file's other faults are reported with it.
NOTHING = Quantity(value=0, source="faulty")


def with_components(table: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Resolves each component in the table of a chip file; returns the new table and every fault.

    A fault reads 'key.path: what is wrong'.
    """
    work = _Resolver(table, unknown_constants(table))
    return work.walk(table, ""), work.faults


@dataclass
class _Resolver:
    """One chip file's node, supply and constants, and the faults found so far."""

    chip: Mapping[str, Any]
    faults: list[str] = field(default_factory=list)

    def walk(self, table: Mapping[str, Any], path: str) -> dict[str, Any]:
        """The table with the components in it resolved.

        The chip's own constants are read and left as they are.
        """
        found: dict[str, Any] = {}
        for key, value in table.items():
            where = f"{path}.{key}" if path else key
            if isinstance(value, list):
                found[key] = [
                    self.walk(item, f"{where}.{index}") if isinstance(item, dict) else item
                    for index, item in enumerate(value)
                ]
            elif not isinstance(value, dict) or where == "components":
                found[key] = value
            elif "component" in value:
                found[key] = self._component(value, key, where)
            else:
                found[key] = self.walk(value, where)
        return found

    def _component(self, entry: Mapping[str, Any], key: str, where: str) -> Quantity:
        name = entry["component"]
        if not isinstance(name, str) or name not in COMPONENTS:
            hint = (
                nearest(str(name)[:100], list(COMPONENTS)) or f"there are {', '.join(COMPONENTS)}"
            )
            return self._fault(
                f"{where}.component: no component {one_line(str(name), 60)!r}; {hint}"
            )
        unit = COMPONENTS[name].unit
        wanted = next(
            (u for u in sorted(UNITS, key=len, reverse=True) if f"_{key}".endswith(f"_{u}")), ""
        )
        if unit != wanted:
            suiting = SUITING.get(key, ())
            hint = f"; its components: {', '.join(suiting)}" if suiting else ""
            stands = f"is in {shown_unit(wanted)}" if wanted else "takes no component"
            return self._fault(f"{where}: {name} is in {shown_unit(unit)}, the key {stands}{hint}")
        given = self._given(entry, name, where)
        if given is None or self._conditions is None:
            return NOTHING
        node_nm, supply_v = self._conditions
        number = resolved(name, given, self._constants, node_nm, supply_v)
        estimate = number.estimate
        if not estimate.high <= MOST:
            return self._fault(
                f"{where}: {name} comes to {estimate.high:g} {shown_unit(unit)}, wanted {MOST:g} "
                "or less: look at its parameters and at [components]"
            )
        return ComponentQuantity(
            value=estimate.value,
            low=estimate.low,
            high=estimate.high,
            source=": ".join([*self._own_source(entry, where), number.source]),
            component=name,
            given=given,
            parts=dict(number.parts),
        )

    def _own_source(self, entry: Mapping[str, Any], where: str) -> list[str]:
        """Returns why the file takes this component with these parameters, where it says so.

        A source that begins with "assumption:" makes the number an assumption.
        """
        source = entry.get("source", "")
        if isinstance(source, str):
            return [source] if source else []
        self.faults.append(f"{where}.source: found {source!r}, wanted a text: why this component")
        return []

    def _given(self, entry: Mapping[str, Any], name: str, where: str) -> dict[str, Value] | None:
        """A component's parameters with their defaults, or None when one of them is wrong."""
        parameters = COMPONENTS[name].parameters
        before = len(self.faults)
        given: dict[str, Value] = {}
        for key, parameter in parameters.items():
            value = entry.get(key, parameter.default)
            if value is None:
                self.faults.append(f"{where}.{key}: missing; wanted {parameter.wanted} for {name}")
            elif why := parameter.why_not(value):
                self.faults.append(f"{where}.{key}: found {one_line(str(value), 60)}, {why}")
            else:
                given[key] = value
        others = DATA if COMPONENTS[name].takes_data else ()
        for key, value in entry.items():
            if key in ("component", "source") or key in parameters:
                continue
            if key not in others:
                known = [*parameters, *others]
                hint = nearest(key, known) or f"{name} takes {', '.join(known) or 'none'}"
                self.faults.append(f"{where}.{key}: no parameter of {name}; {hint}")
            elif why := SHARE.why_not(value):
                self.faults.append(f"{where}.{key}: found {one_line(str(value), 60)}, {why}")
            else:
                given[key] = value
        if len(self.faults) > before:
            return None
        if why := COMPONENTS[name].why_not(given):
            self.faults.append(f"{where}.{why}")
            return None
        return given

    @cached_property
    def _conditions(self) -> tuple[float, Estimate] | None:
        """The chip's node in nm and supply in volt, or None when they are missing or wrong."""
        found = []
        for key, (least, most) in (("node_nm", NODE_NM), ("supply_v", SUPPLY_V)):
            if key not in self.chip:
                self.faults.append(
                    f"{key}: missing; wanted, since the file names components: "
                    "they are worked out at it"
                )
                return None
            try:
                estimate = Quantity.model_validate(self.chip[key]).estimate
            except ValidationError:
                return None  # the chip's own check reports it
            if not least <= estimate.low <= estimate.high <= most:
                wanted = f"{least:g} to {most:g}"
                self.faults.append(
                    f"{key}: found {estimate.value:g}, wanted {wanted}, "
                    "since the file names components"
                )
                return None
            found.append(estimate)
        return found[0].value, found[1]

    @cached_property
    def _constants(self) -> Components:
        """The library's constants with the chip's own in their place."""
        own = self.chip.get("components", {})
        known = load_components().constants
        changed = {}
        for name, entry in own.items() if isinstance(own, dict) else ():
            # unknown_constants reports the unknown ones, the chip's own check the faulty.
            with suppress(ValidationError):
                if name in known:
                    changed[name] = Quantity.model_validate(entry)
        return with_own_constants(changed)

    def _fault(self, text: str) -> Quantity:
        self.faults.append(one_line(text, 400))
        return NOTHING


def with_own_constants(own: Mapping[str, Quantity]) -> Components:
    """The library's constants with others in their place."""
    library = load_components()
    changed = {
        name: replace(library.constants[name], estimate=quantity.estimate, source=quantity.source)
        for name, quantity in own.items()
    }
    return replace(library, constants={**library.constants, **changed})


def unknown_constants(table: Mapping[str, Any]) -> list[str]:
    """A fault for every constant of the chip's own that the library does not have."""
    own = table.get("components", {})
    known = list(load_components().constants)
    names = [name for name in own if name not in known] if isinstance(own, dict) else []
    hints = [nearest(name, known) or f"there are {', '.join(known)}" for name in names]
    pairs = zip(names, hints, strict=True)
    return [
        one_line(f"components.{name}: no constant of the library; {hint}", 1000)
        for name, hint in pairs
    ]
