"""What a user reads when something is wrong: one line, a stable code, an exit status."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler import errors
from compiler.errors import CODES, CompileError, ModelError, nearest, one_line

ROOT = Path(__file__).parents[2]


def test_a_diagnostic_is_one_line() -> None:
    error = ModelError("found 3", code="M004", node="conv\n1", hint="take 4")
    assert error.line() == r"error[M004]: node 'conv\\n1': found 3; take 4"
    assert ModelError("found 3").line() == "error[M002]: found 3"
    assert str(error) == "found 3"


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [
        ("UsageError", 2, "U004"),
        ("TargetError", 2, "U002"),
        ("ModelError", 3, "M002"),
        ("UnsupportedError", 3, "M010"),
        ("PackageError", 3, "P001"),
        ("CapacityError", 4, "C001"),
        ("GateError", 5, "G001"),
    ],
)
def test_exit_statuses_are_a_promise(name: str, status: int, code: str) -> None:
    error = getattr(errors, name)("why")
    assert isinstance(error, CompileError)
    assert (error.exit_status, error.code) == (status, code)


def test_every_code_in_the_sources_is_in_the_table() -> None:
    sources = [
        path
        for folder in ("compiler", "passes", "backends")
        for path in (ROOT / folder).rglob("*.py")
    ]
    used = {
        (code, path.name)
        for path in sources
        for code in re.findall(r'\b(?:code|default_code) ?= ?"(\w+)"', path.read_text("utf-8"))
    }
    assert ("M001", "text_lexer.py") in used
    assert [item for item in sorted(used) if item[0] not in CODES] == []


def test_text_from_a_stranger_cannot_move_the_cursor() -> None:
    assert one_line("a\x1b[2J\u202eb\n\ud800") == r"a\x1b[2J\u202eb\n\ud800"
    assert one_line("straße ✓") == "straße ✓"
    assert one_line("x" * 400) == "x" * 297 + "..."
    assert one_line("x" * 300) == "x" * 300


def test_did_you_mean() -> None:
    assert nearest("toy_hybrit", ["diana", "toy_hybrid"]) == "did you mean 'toy_hybrid'?"
    assert nearest("zebra", ["diana"]) == ""
