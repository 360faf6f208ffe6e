"""Finds what is doubtful in a chip file: numbers that no silicon has had, and odd neighbours.

A doubt is no fault: `targets check` prints it as a warning.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import pairwise

from compiler.errors import one_line
from compiler.target.analog import Analog
from compiler.target.chip import Chip
from compiler.target.consistency import oddities
from compiler.target.keys import unit_of
from compiler.target.parts.constants import load_components
from compiler.target.parts.library import COMPONENTS, SUITING
from compiler.target.parts.resistive import RESISTIVE_KINDS, levels_shown
from compiler.target.quantity import ComponentQuantity, Quantity, Strict, Whole

# How far from the usual supply of its node a chip may run: near the threshold to input-output.
SUPPLY_SHARES = (0.25, 4.0)


@dataclass(frozen=True)
class Range:
    """What silicon has had of a number, in the number's unit."""

    low: float
    high: float
    source: str

    @property
    def words(self) -> str:
        """The ends in words."""
        return f"{self.low:,g} to {self.high:,g}"


@cache
def ranges() -> Mapping[str, Mapping[str, Range]]:
    """Reads components/plausible.toml: a range by table and key."""
    file = resources.files("compiler") / "components" / "plausible.toml"
    tables = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        table: {key: Range(**entry) for key, entry in entries.items()}
        for table, entries in tables.items()
        if isinstance(entries, dict)
    }


def range_of(table: type[Strict], key: str) -> Range | None:
    """Finds the range of a key of a kind of table; None for what is no number of silicon."""
    return ranges().get(table_name(table), {}).get(key)


def table_name(table: type[Strict]) -> str:
    """Names a kind of table as plausible.toml does."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", table.__name__).lower()


def doubts(chip: Chip) -> list[str]:
    """Lists every doubt, as 'key.path: what is odd and why'."""
    return [
        *_in_table(chip, ""),
        *oddities(chip.engines, chip.memories),
        *_memory_order(chip),
        *_supply(chip),
        *_levels(chip),
    ]


def _levels(chip: Chip) -> Iterator[str]:
    """Finds cells with more levels than their kind has been shown with."""
    for name, engine in chip.engines.items():
        number = engine.cell_pj if isinstance(engine, Analog) else None
        if not isinstance(engine, Analog) or not isinstance(number, ComponentQuantity):
            continue
        kind = str(number.given.get("kind", ""))
        if kind in RESISTIVE_KINDS:
            shown = levels_shown(kind, load_components())
            levels = engine.cell_levels.value
            if levels > shown.high:
                yield (
                    f"engines.{name}.cell_levels: {levels} levels; {kind} cells have been shown "
                    f"with {shown.value:g}, {shown.high:g} at most "
                    f"({load_components().constants[f'{kind}_levels'].source})"
                )


def _in_table(table: Strict, path: str) -> Iterator[str]:
    """The doubts about the numbers of a table, and of the tables in it."""
    for name, field in type(table).model_fields.items():
        key, value = field.alias or name, getattr(table, name)
        where = f"{path}.{key}" if path else key
        if isinstance(value, Quantity | Whole):
            if why := why_implausible(type(table), key, value.value):
                yield f"{where}: {why}"
            if isinstance(value, ComponentQuantity) and (why := _unsuited(key, value.component)):
                yield f"{where}: {why}"
        elif isinstance(value, Mapping) and key != "components":
            for inner, one in value.items():
                yield from _in_table(one, f"{where}.{inner}")
        elif isinstance(value, tuple):
            for index, one in enumerate(value):
                if isinstance(one, Strict):
                    yield from _in_table(one, f"{where}.{index}")
        elif isinstance(value, Strict) and "source" not in type(value).model_fields:
            yield from _in_table(value, where)


def why_implausible(table: type[Strict], key: str, value: float) -> str:
    """Explains that a number lies outside what silicon has had, or gives an empty string."""
    known = range_of(table, key)
    if known is None or known.low <= value <= known.high:
        return ""
    unit = unit_of(key, table.model_fields[key])
    if value == 0:
        return (
            f"0 {unit} means that it is not counted; plausible is {known.words} {unit} "
            f"({known.source}): say under not_modelled what is left out"
        )
    shown = f"{value:,.15g}" if 1e-3 <= abs(value) < 1e9 else f"{value:.6g}"
    return f"{shown} {unit} is not plausible, {known.words} {unit} is ({known.source})"


def _unsuited(key: str, component: str) -> str:
    """Explains that a component of the right unit is of another thing than the key."""
    suiting = SUITING.get(key, ())
    if component in suiting or not suiting:
        return ""
    return f"{component} is {COMPONENTS[component].says}; this key's are {', '.join(suiting)}"


def _memory_order(chip: Chip) -> Iterator[str]:
    """Finds memories that cost less than one nearer to the engines."""
    for (near, nearer), (far, further) in pairwise(chip.memories.items()):
        for key in ("read_pj_per_byte", "write_pj_per_byte"):
            less, more = getattr(further, key).value, getattr(nearer, key).value
            if less < more:
                yield (
                    f"memories.{far}.{key}: {less:g} pJ/byte is less than the {more:g} of {near}, "
                    "which stands nearer to the engines; wanted the nearest first"
                )


def _supply(chip: Chip) -> Iterator[str]:
    """Finds a supply far from the usual one of the node."""
    if chip.supply_v is None or chip.node_nm.value <= 0:
        return
    usual = load_components().usual_supply_v(chip.node_nm.value)
    least, most = (share * usual for share in SUPPLY_SHARES)
    if not least <= chip.supply_v.value <= most:
        yield one_line(
            f"supply_v: {chip.supply_v.value:g} V is far from the {usual:.2g} V that is usual at "
            f"{chip.node_nm.value:g} nm; plausible is {least:.2g} to {most:.2g} V"
        )
