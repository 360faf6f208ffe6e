"""Tells make what a package was made from, as gcc does in its .d files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from compiler.errors import UsageError, one_line

UNWRITABLE = re.compile(r"[;|\n\r]|^[~=]|\\=")  # in a depfile
UNWRITABLE_TARGET = re.compile(r"[=%\t]")  # as what is made
QUOTED = " \t#:"  # by a backslash
NO_TARGET = "=%&*?[~"  # what a prerequisite may hold and an empty rule's target may not


def depfile_text(output: Path, files: Iterable[Path]) -> str:
    """The files a package depends on, as gcc writes them.

    An empty rule for each lets `make` live with one that is gone.

    Make takes a rule whose first prerequisite holds an equals sign (`epoch=3.onnx`) for an
    assignment: others go before, if need be this file.
    """
    names = [_escaped(str(file)) for file in dict.fromkeys(files)]
    names.sort(key=lambda name: "=" in name)
    if "=" in names[0]:
        names.insert(0, _escaped(__file__))
    rule = " \\\n  ".join([f"{target_of(output)}:", *names])
    targets = (name for name in names if not set(name) & set(NO_TARGET))
    return "\n".join([rule, *(f"\n{name}:" for name in targets)]) + "\n"


def target_of(output: Path) -> str:
    """The name of what is made, as make reads it.

    UsageError for one that it would read as something else, such as a variable.
    """
    name = str(output / "plan.json")
    _require_writable(name, UNWRITABLE_TARGET)
    return _escaped(name)


def _escaped(name: str) -> str:
    """A file name as make reads it.

    UsageError for one that it would read as something else, such as a command to run.
    """
    _require_writable(name, UNWRITABLE)
    escaped = ""
    for letter in name.replace("$", "$$"):
        if letter in QUOTED:  # gets a backslash, and those before it are doubled
            slashes = len(escaped) - len(escaped.rstrip("\\"))
            escaped += "\\" * (slashes + 1)
        escaped += letter
    return escaped


def _require_writable(name: str, unwritable: re.Pattern[str]) -> None:
    if found := unwritable.search(name):
        raise UsageError(
            f"--depfile cannot hold the name {one_line(name)!r}: "
            f"make has no way to write {one_line(found[0])!r} there",
            hint="rename it, or leave --depfile out",
        )
