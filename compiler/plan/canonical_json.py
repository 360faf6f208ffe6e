"""Writes and reads the bytes of plan.json.

A plan is written one way only, so that every byte is under its own hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from pydantic import ValidationError

from compiler.errors import PackageError, one_line
from compiler.plan.schema import SCHEMA, Plan

MAX_PLAN_BYTES = 256 << 20

_ENCODER: Final = json.JSONEncoder(sort_keys=True, allow_nan=False)
_VERSION: Final = re.compile(rb'\n"schema": "(joulec\.plan/[0-9]{1,3})"')
_BLANK_HASH: Final = (
    b'\n"hash": ""'  # line breaks inside texts are escaped: no other line begins so
)


def render_plan(plan: Plan) -> bytes:
    """The bytes of `plan.json`: sorted keys, one list item (one step, one buffer) a line.

    Raises ValueError at a NaN.
    """
    table = plan.model_dump(by_alias=True)
    lines = []
    for key in sorted(table):
        value = table[key]
        if isinstance(value, tuple | list) and value:
            items = ",\n".join(f"  {_ENCODER.encode(item)}" for item in value)
            lines.append(f"{_ENCODER.encode(key)}: [\n{items}\n]")
        else:
            lines.append(f"{_ENCODER.encode(key)}: {_ENCODER.encode(value)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode("ascii")


def _hash_line(own_hash: str) -> bytes:
    """The line of `plan.json` that holds the plan's own hash, with the line break before it."""
    return _BLANK_HASH[:-1] + own_hash.encode() + b'"'


def sealed(plan: Plan) -> tuple[Plan, bytes]:
    """Fills in a plan's own hash; returns the plan and the bytes of its `plan.json`.

    The hash is SHA-256 over the plan's bytes with the field `hash` blank.
    """
    blank = render_plan(plan.model_copy(update={"hash": ""}))
    own_hash = hashlib.sha256(blank).hexdigest()
    data = blank.replace(_BLANK_HASH, _hash_line(own_hash), 1)
    return plan.model_copy(update={"hash": own_hash}), data


def parse_plan(data: bytes) -> Plan:
    """Reads a plan from the bytes of its file, whoever wrote them.

    Raises: PackageError unless the bytes are what `render_plan` writes and the hash holds.
    """
    if len(data) > MAX_PLAN_BYTES:
        raise PackageError(f"plan.json is larger than {MAX_PLAN_BYTES:,} bytes")
    _require_version(data)
    try:
        plan = Plan.model_validate_json(data)
    except ValidationError as error:
        fault = _first_fault(error)
        if "EOF while parsing" in fault:
            fault = f"it ends in the middle, after {len(data):,} bytes"
        raise PackageError(f"plan.json is not a plan: {fault}") from error
    try:
        proper, rendered = sealed(plan)
    except (ValueError, RecursionError) as error:
        raise PackageError(f"plan.json is not a plan: {one_line(str(error))}") from error
    if rendered.replace(_hash_line(proper.hash), _hash_line(plan.hash), 1) != data:
        raise PackageError("plan.json was changed: it is not written as joulec writes it")
    if proper.hash != plan.hash:
        raise PackageError("plan.json was changed: its own hash does not match")
    return plan


def _require_version(data: bytes) -> None:
    """Raises PackageError for a plan of another version of the schema, in the words of its user."""
    found = _VERSION.search(data)
    if found is not None and found[1].decode() != SCHEMA:
        raise PackageError(
            f"plan.json is written as {found[1].decode()}, and this joulec reads {SCHEMA}",
            hint="compile the model again",
        )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in fault["loc"])
    count = error.error_count()
    more = f" (and {count - 1} more)" if count > 1 else ""
    return one_line(f"{path}: {fault['msg']}{more}" if path else f"{fault['msg']}{more}")


def plan_schema() -> dict[str, Any]:
    """The JSON Schema of plan.json."""
    schema = Plan.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **schema}
