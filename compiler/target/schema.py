"""Writes the JSON Schema of a chip file: every key with its meaning, its unit and its range."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compiler.target.chip import Chip
from compiler.target.keys import keys_of, kinds_in, unit_of
from compiler.target.plausible import range_of
from compiler.target.quantity import Quantity, Statement, Strict, Whole


def target_schema() -> dict[str, Any]:
    """Returns the JSON Schema of a chip file.

    Beside the words of JSON Schema a key has `unit`, and `plausible`: the range that silicon has
    had, with its source.
    """
    schema = Chip.model_json_schema(by_alias=True)
    for table in tables_of(Chip):
        own = schema if table is Chip else schema["$defs"].get(table.__name__, {})
        for key, field in keys_of(table).items():
            written = own.get("properties", {}).get(key)
            if written is None:
                continue
            if unit := unit_of(key, field):
                written["unit"] = unit
            if known := range_of(table, key):
                written["plausible"] = {
                    "low": known.low, "high": known.high, "source": known.source,
                }  # fmt: skip
    return schema


def tables_of(table: type[Strict]) -> Iterator[type[Strict]]:
    """Lists the kinds of tables that a table holds, itself first, without the kinds of values."""
    seen = []
    waiting = [table]
    while waiting:
        one = waiting.pop(0)
        if one in seen or issubclass(one, Quantity | Whole | Statement):
            continue
        seen.append(one)
        for field in one.model_fields.values():
            waiting += [kind for kind in kinds_in(field.annotation) if issubclass(kind, Strict)]
    yield from seen
