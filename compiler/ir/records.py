"""Prints frozen records as text, `Name(field=value, ...)`, and parses them back.

A record is a dataclass of this list; its fields are numbers, texts, truths, formats, None, tuples
and records. A field that holds its default is left out, so text from before it existed still reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

from compiler.ir.formats import Format
from compiler.ir.graph import Alternative, PartitionSummary, Placement
from compiler.ir.mapping import (
    AnalogMapping,
    DigitalMapping,
    DigitalTiling,
    HostMapping,
    ProductShape,
    Unroll,
)
from compiler.ir.text_lexer import Line
from compiler.units import Estimate

RECORDS = {
    kind.__name__: kind
    for kind in (
        Alternative, AnalogMapping, DigitalMapping, DigitalTiling, Estimate, HostMapping,
        PartitionSummary, Placement, ProductShape, Unroll,
    )
}  # fmt: skip
_WORDS = {"true": True, "false": False, "none": None}


def record_text(value: Any, quoted: Callable[[str], str]) -> str:
    """Prints a value of a record; `quoted` writes a text as the graph's text form does."""
    if isinstance(value, Format):
        return f"format({quoted(str(value))})"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, tuple):
        return f"[{', '.join(record_text(item, quoted) for item in value)}]"
    if value is None or isinstance(value, bool):
        return next(word for word, meant in _WORDS.items() if meant is value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    given = [(one.name, getattr(value, one.name), one.default) for one in fields(value)]
    shown = [
        f"{name}={record_text(held, quoted)}"
        for name, held, default in given
        if default is MISSING or held != default
    ]
    return f"{type(value).__name__}({', '.join(shown)})"


def _number(value: float) -> str:
    """Prints a double so that it reads back as it was."""
    text = json.dumps(value) if abs(value) != float("inf") else str(value)
    return f"{text}d" if text[-1].isdigit() else text


def read_record(line: Line) -> Any:
    """Parses a value that `record_text` wrote. Raises ModelError M001 for anything else."""
    if line.kind == "text":
        return line.text()
    if line.next == "[":
        return line.items("[", lambda: read_record(line), "]")
    if line.kind == "number" or line.next in ("inf", "nan"):
        return line.number()
    word = line.name()
    if word in _WORDS:
        return _WORDS[word]
    if word == "format":
        return _format(line)
    if word not in RECORDS:
        line.refuse(f"no record is called {word}; there are {', '.join(RECORDS)}")
    kind = RECORDS[word]
    given = dict(line.items("(", lambda: _field(line), ")"))
    try:
        return kind(**given)
    except TypeError as error:
        return line.refuse(f"{word}: {str(error).partition(') ')[2] or error}")


def _format(line: Line) -> Format:
    (text,) = line.items("(", line.text, ")") or ("",)
    try:
        return Format.parse(text)
    except ValueError as error:
        return line.refuse(str(error))


def _field(line: Line) -> tuple[str, Any]:
    name = line.name()
    line.want("=")
    return name, read_record(line)
