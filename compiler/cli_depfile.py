"""Tells make what a package was made from, as gcc does in its .d files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from compiler.errors import UsageError, one_line

UNWRITABLE = ";|\n\r"  # in a depfile
NO_TARGET = "=%&*?[~"  # what a prerequisite may hold and a target may not


def depfile_text(output: Path, files: Iterable[Path]) -> str:
    """The files a package depends on, as gcc writes them; an empty rule for each lets `make` live with one that is gone.

    Make takes a rule whose first prerequisite holds an equals sign (`epoch=3.onnx`) for an assignment: others go before, if need be this file.
    """
    names = [_escaped(str(file)) for file in dict.fromkeys(files)]
    names.sort(key=lambda name: "=" in name)
    if "=" in names[0]:
        names.insert(0, _escaped(__file__))
    rule = " \\\n  ".join([f"{_escaped(str(output / 'plan.json'))}:", *names])
    targets = (name for name in names if not set(name) & set(NO_TARGET))
    return "\n".join([rule, *(f"\n{name}:" for name in targets)]) + "\n"


def _escaped(name: str) -> str:
    """A file name as make reads it; UsageError for one that it would read as something else, such as a command to run."""
    if set(name) & set(UNWRITABLE):
        raise UsageError(
            f"--depfile cannot hold the name {one_line(name)!r}: make has no way to write ; | or a line break in a name",
            hint="rename it, or leave --depfile out",
        )
    escaped = ""
    for letter in name:
        if letter in " \t":  # backslashes before a blank are doubled, the blank gets its own
            slashes = len(escaped) - len(escaped.rstrip("\\"))
            escaped += "\\" * slashes + "\\" + letter
        else:
            escaped += {"#": "\\#", "$": "$$", ":": "\\:"}.get(letter, letter)
    return escaped
