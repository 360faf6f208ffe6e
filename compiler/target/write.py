"""Writes the table of a chip file as TOML, which reads back as the same table."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def written(table: Mapping[str, Any]) -> str:
    """Writes a table: what holds no table in a table inline, the rest as sections of its own.

    Raises ValueError for a value that TOML does not have, such as None.
    """
    return "\n".join(_section(table, ())) + "\n"


def chip_text(chip: BaseModel) -> str:
    """Writes a chip as a chip file that reads back as the same chip.

    Components are written as the numbers that they gave, with their intervals and sources, so the
    file means the same beside any library of components.
    """
    return written(_given(chip.model_dump(by_alias=True)))


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out what is not given: what is None, and lists and tables with nothing in them."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found[key] = _given(value)
        elif isinstance(value, tuple):
            found[key] = [_given(one) if isinstance(one, Mapping) else one for one in value]
        elif value is not None:
            found[key] = value
    optional = ("components", "links", "published")
    return {key: value for key, value in found.items() if value or key not in optional}


def toml_text(text: str) -> str:
    """Writes a text as a TOML string: of ASCII, so that nothing in it can be unprintable."""
    pairs = json.dumps(text).replace("\x7f", "\\u007f")
    # JSON writes what lies beyond 16 bits as two surrogates, which TOML does not have.
    return re.sub(
        r"\\ud([89ab]..)\\ud([c-f]..)",
        lambda found: f"\\U{_joined(found[1], found[2]):08x}",
        pairs,
    )


def _joined(high: str, low: str) -> int:
    """Joins the two surrogates of a character."""
    return 0x10000 + ((int(f"d{high}", 16) - 0xD800) << 10) + int(f"d{low}", 16) - 0xDC00


def _section(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Writes the lines of one section, and of those inside it."""
    inside = {key: value for key, value in table.items() if _is_section(value)}
    rows = {key: value for key, value in table.items() if _is_list_of_sections(value)}
    here = [key for key in table if key not in inside and key not in rows]
    if path and (here or not (inside or rows)):
        yield ""
        yield f"[{'.'.join(map(_key, path))}]"
    for key in here:
        yield f"{_key(key)} = {_value(table[key])}"
    for key, items in rows.items():
        for item in items:
            yield ""
            yield f"[[{'.'.join(map(_key, (*path, key)))}]]"
            yield from (f"{_key(name)} = {_value(value)}" for name, value in item.items())
    for key, value in inside.items():
        yield from _section(value, (*path, key))


def _is_section(value: object) -> bool:
    """Whether a value is a table of tables: these stand alone, others in their line."""
    return isinstance(value, Mapping) and any(isinstance(one, Mapping) for one in value.values())


def _is_list_of_sections(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and any(map(_is_section, value))
        and all(isinstance(one, Mapping) for one in value)
    )


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else toml_text(key)


def _value(value: object) -> str:
    """Writes a value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return toml_text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise ValueError(f"TOML has no {type(value).__name__}")
