"""Writes the tables of docs/chip-file.md: the keys of a chip file, and the components for each.

Keys, meanings, units, ranges and which may be left out come from the schema in compiler.target,
typical values from the shipped chips. A key without a meaning, a number without a unit or a range,
and a range without a key fail (tests/project/test_pages.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from statistics import median_low
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from compiler.target.analog import Analog, OdimoCycles, PixelUnroll
from compiler.target.chip import Chip, Host, built_in, load_target
from compiler.target.consistency import (
    ANALOG_RULES,
    ARRAY_RULES,
    VECTOR_RULES,
    Rule,
)
from compiler.target.digital import Digital, MacArray, VectorUnit
from compiler.target.keys import Within, keys_of, kinds_in, unit_of
from compiler.target.layers import LayerCycles
from compiler.target.link import Link
from compiler.target.memory import Memory
from compiler.target.parts.component import UNITS, shown_unit
from compiler.target.parts.library import COMPONENTS, SUITING
from compiler.target.parts.resolve import DATA
from compiler.target.plausible import range_of, ranges, table_name
from compiler.target.published import Published
from compiler.target.quantity import Quantity, Rate, Statement, Strict, Whole
from compiler.target.schema import tables_of

# The tables of a chip file in the order of the page, as a file writes them.
TABLES: dict[type[Strict], str] = {
    Chip: "at the top of the file",
    Memory: "[memories.NAME]",
    Analog: "[engines.NAME] of kind analog",
    PixelUnroll: "pixel_unroll of an analog engine",
    OdimoCycles: "odimo of an analog engine",
    Digital: "[engines.NAME] of kind digital",
    MacArray: "[engines.NAME.array] of a digital engine",
    VectorUnit: "[engines.NAME.vector] of a digital engine",
    Host: "[engines.NAME] of kind host",
    LayerCycles: "[engines.NAME.layers] of a host",
    Link: "[[links]]",
    Published: "[[published]]",
    Quantity: "a number",
}

# These hold the costs of other people's models, some of them without limits, or one measured power
# in place of the energies of parts: not typical of chips.
COMPARISONS = {
    "diana_odimo", "eyeriss_like", "tpu_like", "zigzag_aimc", "zigzag_dimc", "stm32l4r5",
    "stm32u575", "stm32u385", "ndp120_0v9", "ndp120_1v1",
}  # fmt: skip
# What only gives a time that a chip file writes in cycles.
WITHOUT_KEY = {"digital_array_step": "the cycle time of a digital in-memory array, by hand"}


def keys_tables() -> str:
    """The tables of all keys, one for each table of a chip file."""
    return "\n".join(_table(table, place) for table, place in TABLES.items())


def components_table() -> str:
    """The table of components: which keys each suits, its unit, its parameters, what it is."""
    rows = [
        "| component | suits the key | unit | parameters (a default in brackets) | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, component in COMPONENTS.items():
        places = [
            f"`{key}` ({_short(TABLES[table])})"
            for table in TABLES
            for key in keys_of(table)
            if name in SUITING.get(key, ())
        ]
        given = [_parameter(key, one.default) for key, one in component.parameters.items()]
        given += [f"`{key}`" for key in DATA if component.takes_data]
        unit = shown_unit(component.unit)
        where = ", ".join(places) or WITHOUT_KEY[name]
        rows.append(
            f"| `{name}` | {where} | {unit} | {', '.join(given) or 'none'} | {component.says} |"
        )
    return "\n".join(rows) + "\n"


def rules_list() -> str:
    """The list of what must hold between the numbers of a chip file."""
    groups: dict[str, Sequence[Rule[Any]]] = {
        "of an analog engine": ANALOG_RULES,
        "of a digital engine's array": ARRAY_RULES,
        "of a vector unit": VECTOR_RULES,
    }
    lines = [f"- {where}: {rule.holds}" for where, rules in groups.items() for rule in rules]
    return "\n".join(lines) + "\n"


def _short(place: str) -> str:
    """A table's place in a few words: `memories.NAME`, `engine.array`."""
    return place.split(" of ")[0].strip("[]").replace("engines.NAME", "engine")


def _parameter(key: str, default: object) -> str:
    if default is None:
        return f"`{key}`"
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}"
    return f"`{key}` ({shown})"


def faults() -> list[str]:
    """What is missing or stale among meanings, units, ranges and components, one line each."""
    tables = set(tables_of(Chip))
    found = [f"{table.__name__} has no place on the page" for table in tables - set(TABLES)]
    known = {(table, key): field for table in TABLES for key, field in keys_of(table).items()}
    for (table, key), field in known.items():
        where = f"{table.__name__}.{key}"
        kinds = set(kinds_in(field.annotation))
        if not field.description:
            found.append(f"{where} has no description")
        if kinds & {Quantity, Rate, Whole, float} and not _has_no_unit(table, key):
            if not unit_of(key, field):
                found.append(f"{where} has no unit")
            if kinds & {Quantity, Rate, Whole} and range_of(table, key) is None:
                found.append(f"{where} has no plausible range")
    names = {(table_name(table), key) for table, key in known}
    found += [
        f"plausible.toml has {table}.{key}, which is no key"
        for table, entries in ranges().items()
        for key in entries
        if (table, key) not in names
    ]
    keys = {key for _, key in known}
    for key, components in SUITING.items():
        found += [] if key in keys else [f"SUITING has {key}, which is no key"]
        wanted = next((unit for unit in _UNITS if f"_{key}".endswith(f"_{unit}")), "")
        units = [COMPONENTS[name].unit for name in components]
        found += [f"{key} is not in {unit}" for unit in units if unit != wanted]
    suiting = {name for components in SUITING.values() for name in components}
    lost = set(COMPONENTS) - suiting - set(WITHOUT_KEY)
    return found + [f"say which key the component {name} suits" for name in lost]


_UNITS = sorted(UNITS, key=len, reverse=True)


def _has_no_unit(table: type[Strict], key: str) -> bool:
    """Whether a number's unit is that of the key it stands under, or of the constant it is."""
    return table is Quantity or (table is Chip and key == "components")


def _table(table: type[Strict], place: str) -> str:
    """One table of keys."""
    shown = f"`{place}`" if place.startswith("[") and " " not in place else place
    rows = [
        f"### {shown}\n",
        "| key | unit | meaning | takes | plausible | typical |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for key, field in keys_of(table).items():
        optional = "" if field.is_required() else " (may be left out)"
        cells = (
            f"`{key}`{optional}",
            unit_of(key, field),
            field.description or "",
            _takes(table, key, field),
            known.words if (known := range_of(table, key)) else "",
            _typical(table, key),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _takes(table: type[Strict], key: str, field: FieldInfo) -> str:
    """The kind of value and its range, in words."""
    within = next((one for one in field.metadata if isinstance(one, Within)), None)
    kinds = set(kinds_in(field.annotation))
    literal = _literals(field.annotation)
    if literal:
        return " or ".join(f'`"{word}"`' for word in literal)
    if table is Analog and key == "cell_levels":
        return "whole number: 2, 4, 8 to 128, or odd from 3 to 255"
    if within is not None:
        return f"whole number, {within.words}"
    if table is Quantity and key != "source":
        return "number, 0 to 1e15"
    if Whole in kinds:
        return "whole number, 1 or more"
    if Rate in kinds:
        return "number, 1e-6 or more"
    if key == "components":
        return "numbers"
    if Quantity in kinds:
        return "number, 0 or more"
    if Statement in kinds:
        return "`true` or `false`"
    if float in kinds:
        return "plain number above 0" + (", at most 64" if "bits" in key else "")
    if str in kinds and get_origin(field.annotation) is tuple:
        return "list of texts"
    if kinds & set(TABLES):
        return "a table" if get_origin(field.annotation) is not tuple else "tables"
    return "text"


def _literals(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return tuple(word for one in get_args(annotation) for word in _literals(one))
    return ()


@cache
def _numbers() -> Mapping[tuple[type[Strict], str], tuple[list[float], int]]:
    """Of every key the values in the shipped chips, and how many tables of its kind there are."""
    values: dict[tuple[type[Strict], str], list[float]] = {}
    tables: dict[type[Strict], int] = {}
    for name in sorted(set(built_in()) - COMPARISONS):
        for table in _inside(load_target(name).chip):
            kind = type(table)
            tables[kind] = tables.get(kind, 0) + 1
            for key, field in kind.model_fields.items():
                entry = getattr(table, key)
                if isinstance(entry, Quantity | Whole | Statement):
                    values.setdefault((kind, field.alias or key), []).append(entry.value)
    return {key: (found, tables[key[0]]) for key, found in values.items()}


def _inside(table: Any) -> Iterator[Strict]:
    """A table and the tables in it."""
    if isinstance(table, Mapping):
        for one in table.values():
            yield from _inside(one)
    if isinstance(table, tuple):
        for one in table:
            yield from _inside(one)
    if isinstance(table, Strict) and not isinstance(table, Quantity | Whole | Statement):
        yield table
        for name in type(table).model_fields:
            yield from _inside(getattr(table, name))


def _typical(table: type[Strict], key: str) -> str:
    """What the shipped chips have: the middle value, the range, how many have the key."""
    found, tables = _numbers().get((table, key), ([], 0))
    if not found:
        return ""
    low, high = min(found), max(found)
    if isinstance(low, bool):
        words = "both" if low != high else str(bool(low)).lower()
    elif low == high:
        words = _shown(low)
    else:
        words = f"{_shown(median_low(found))} ({_shown(low)} to {_shown(high)})"
    return words if len(found) == tables else f"{words}; in {len(found)} of {tables}"


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.3g}"
