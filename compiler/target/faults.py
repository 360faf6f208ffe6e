"""Says what is wrong with a chip file in words of its own: the key, what was found, what is wanted.

The checks are pydantic's; none of its words reach a user.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from compiler.errors import nearest, one_line
from compiler.target.keys import keys_of, kinds_in, unit_of
from compiler.target.quantity import Quantity, Statement, Strict, Whole

# How a value is written in a file, by its kind.
NUMBER = '{ value = NUMBER, source = "WHERE FROM" }'
COUNT = '{ value = WHOLE NUMBER, source = "WHERE FROM" }'
ANSWER = '{ value = true or false, source = "WHERE FROM" }'
PLAIN = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
NAMES = "lower-case letters, digits and underscores, a letter first, at most 64"
MOST_SHOWN = 12
_Context = Mapping[str, Any]


def faults(error: ValidationError, table: type[Strict]) -> list[str]:
    """Describes every fault of a file that people write, as 'key.path: what is wrong'."""
    return [_fault(item, table) for item in error.errors()]


def _fault(item: ErrorDetails, table: type[Strict]) -> str:
    """Describes one fault."""
    where = [str(part) for part in item["loc"] if part != "[key]"]
    if where[:1] == ["engines"]:
        del where[2:3]  # pydantic puts the kind of an engine behind its name
    path = ".".join(where)
    message = _words(item, where, table)
    # A table's own check may name one of its keys first.
    own, colon, _ = message.partition(": ")
    joint = "." if colon and own.isidentifier() else ": "
    return one_line(f"{path}{joint}{message}" if path else message, 400)


def _words(item: ErrorDetails, where: list[str], table: type[Strict]) -> str:
    """Writes what was found, what is wanted and the way out; any kind of fault has an answer."""
    kind, context = item["type"], item.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "extra_forbidden":
        known = _keys_beside(item, where, table)
        hint = nearest(where[-1], known) or f"there are {', '.join(known[:MOST_SHOWN])}"
        return f"no such key; {hint}"
    if kind == "missing":
        return f"missing; wanted {_wanted(where, table)}"
    found = _found(item["input"])
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        given = item["input"]
        if not isinstance(given, Mapping):
            return f"found {found}, wanted a table with a kind"
        has = _found(given["kind"]) if "kind" in given else "none"
        return f'kind: found {has}, wanted "analog", "digital" or "host"'
    if kind == "string_pattern_mismatch":
        return f"found {found}, wanted {NAMES}"
    limit = LIMITS.get(kind)
    wanted = limit(context) if limit else _wanted(where, table, item["input"])
    return f"found {found}, wanted {wanted}"


def _at_least(context: _Context) -> str:
    count = context["min_length"]
    return "at least one entry" if count == 1 else f"at least {count} characters"


LIMITS: dict[str, Callable[[_Context], str]] = {
    "greater_than": lambda context: f"more than {context['gt']:g}",
    "greater_than_equal": lambda context: f"{context['ge']:g} or more",
    "less_than": lambda context: f"less than {context['lt']:g}",
    "less_than_equal": lambda context: f"{_found(context['le'])} or less",
    "finite_number": lambda _: "a finite number",
    "literal_error": lambda context: str(context["expected"]).replace("'", '"'),
    "string_too_short": _at_least,
    "too_short": _at_least,
}  # fmt: skip


def _found(value: object) -> str:
    """Shows a value as a file has it, in a few words."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"the text {one_line(value, 60)!r}"
    if isinstance(value, int | float):
        return one_line(f"{value:.15g}" if isinstance(value, float) else f"{value:,}"[:60])
    if isinstance(value, Mapping):
        keys = one_line(", ".join(map(str, value)), 60)
        return f"a table of {keys}" if keys else "an empty table"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, BaseModel):
        return "a component"
    return one_line(f"a {type(value).__name__}")


def _wanted(where: list[str], table: type[Strict], found: object = None) -> str:
    """Writes what stands at a key path: its form, unit and meaning.

    A plain number that was found is written as it should be.
    """
    fields = [field for _, field in _fields_along(where, table)]
    if not fields:
        return "the keys of a chip file"
    last, name = fields[-1], where[-1]
    form = _form(last.annotation)
    if name in ("value", "low", "high") and len(fields) > 1:
        last, name = fields[-2], where[-2]
    if isinstance(found, int | float) and not isinstance(found, bool):
        form = form if form == COUNT else form.replace("NUMBER", _plain(found))
        form = form.replace("WHOLE NUMBER", _plain(found)) if isinstance(found, int) else form
    unit = unit_of(name, last)
    inside = f" in {unit}" if unit and form != COUNT else ""
    meaning = (last.description or "").split(";")[0]
    return f"{form}{inside} ({meaning})" if meaning else f"{form}{inside}"


def _plain(number: float) -> str:
    return repr(number) if isinstance(number, float) else str(number)[:60]


def _form(annotation: Any) -> str:
    """Writes how a value of a kind is written in a file."""
    kinds = list(kinds_in(annotation))
    if get_origin(annotation) is Literal:
        return " or ".join(f'"{word}"' for word in get_args(annotation))
    first = kinds[0] if kinds else object
    if _container(annotation) is tuple:
        return "a list of texts" if first is str else "a list of tables"
    if _container(annotation) is dict:
        return "a table of tables"
    if first in PLAIN:
        return PLAIN[first]
    for base, form in ((Quantity, NUMBER), (Whole, COUNT), (Statement, ANSWER)):
        if issubclass(first, base):
            return form
    if issubclass(first, Strict):
        keys = [name for name, field in keys_of(first).items() if field.is_required()]
        return f"a table of {', '.join(keys[:MOST_SHOWN])}"
    return "another value"


def _container(annotation: Any) -> object:
    """The tuple or dict that an annotation is, through Annotated and Optional; None for neither."""
    origin = get_origin(annotation)
    if origin in (tuple, dict):
        return origin
    if origin is Literal or origin is None:
        return None
    return next((kind for one in get_args(annotation) if (kind := _container(one))), None)


def _fields_along(
    where: list[str], table: type[Strict]
) -> Iterator[tuple[type[Strict], FieldInfo]]:
    """The tables and fields along a key path, as far as they are known.

    Names of memories and engines, and positions in lists, lie between.
    """
    tables: list[type[Strict]] = [table]
    for name in where:
        for one in tables:
            field = keys_of(one).get(name)
            if field is not None:
                yield one, field
                tables = [k for k in kinds_in(field.annotation) if issubclass(k, Strict)]
                break


def _keys_beside(item: ErrorDetails, where: list[str], table: type[Strict]) -> list[str]:
    """The keys that the table around an unknown key has."""
    tables: list[type[Strict]] = [table]
    for _, field in _fields_along(where[:-1], table):
        tables = [kind for kind in kinds_in(field.annotation) if issubclass(kind, Strict)]
    kinds = {str(part) for part in item["loc"][2:3]} if item["loc"][:1] == ("engines",) else set()
    own = [one for one in tables if kinds & set(_literal(one))] or tables
    return [name for one in own for name in keys_of(one)]


def _literal(table: type[Strict]) -> tuple[str, ...]:
    """The word that names a kind of engine."""
    field = table.model_fields.get("kind")
    return tuple(map(str, get_args(field.annotation))) if field else ()
