"""What all commands share: how they print, warn and show progress, and their common options."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer

from compiler.cli.flags import flag_of
from compiler.cli.view import has_colour
from compiler.errors import UsageError, nearest, one_line
from compiler.flow.options import Options

TextOrJson: TypeAlias = Annotated[
    Literal["text", "json"], typer.Option("--format", help="For people, or for programs.")
]
Folder: TypeAlias = Annotated[
    Path, typer.Argument(metavar="DIR", help="A package: the folder that compile wrote.")
]
Binds: TypeAlias = Annotated[list[str] | None, flag_of(Options, "bind")]
NoiseSeed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Adds the chip's converter noise, the same for the same seed. Default: no noise."
    ),
]
REFRESH_S = 0.2


class ReaderGoneError(Exception):
    """Whoever read our standard output has read enough."""


def print_result(text: str) -> None:
    """Writes a result to standard output.

    UsageError (U007) where that is full or closed, ReaderGoneError where nobody reads on.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise UsageError(f"standard output: {error.strerror}", code="U007") from error


def print_json(table: Mapping[str, Any]) -> None:
    """Writes a result as JSON: sorted keys, ASCII, None for what is no number."""
    import json

    print_result(json.dumps(_plain(table), sort_keys=True, indent=2, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def print_warning(line: str) -> None:
    """Writes a diagnostic to standard error, on one line."""
    if line[:1] == "W" and line[1:4].isdigit():
        line = f"warning[{line[:4]}]: {line[4:].lstrip(' :')}"
    print_error(line)


def print_error(line: str) -> None:
    """Writes one line to standard error, its label in colour where there is somebody to see it."""
    shown = one_line(line, limit=1200)
    label, found, rest = shown.partition(": ")
    if found and has_colour(sys.stderr):
        shown = f"\x1b[1;{31 if label.startswith('error') else 33}m{label}\x1b[0m: {rest}"
    with contextlib.suppress(OSError):  # nobody is there to be told
        sys.stderr.write(f"{shown}\n")


class Progress:
    """A bar on standard error while `stages` go by.

    Silent where standard error is no terminal, or the reader a program.

    A stage called "NAME: PART" is the one called NAME, further on.
    """

    def __init__(self, stages: int, form: str = "text") -> None:
        self._stages = max(1, stages)
        self._name = ""
        self._done = -1
        self._start = self._written = time.monotonic()
        person = form == "text" and os.environ.get("TERM") != "dumb"
        self._shown = person and sys.stderr.isatty()

    def __call__(self, stage: str) -> None:
        """A stage begins, or is further on; the latter is only shown a few times a second."""
        if not self._shown:
            return
        name, now = stage.partition(":")[0], time.monotonic()
        if name == self._name and now - self._written < REFRESH_S:
            return
        if name != self._name:
            self._done = min(self._done + 1, self._stages)
        self._name, self._written = name, now
        bar = "#" * (20 * self._done // self._stages)
        line = f"[{bar:<20}] {stage} ({now - self._start:.0f} s)"
        sys.stderr.write(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()

    def write(self, name: str, size_bytes: int) -> None:
        """A file of the package is being written."""
        self(f"write {name}, {size_bytes / 1e6:,.1f} MB")

    def clear(self) -> None:
        """Takes the bar away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def help_when_bare(context: typer.Context) -> None:
    """Shows the help of a group of commands that was given none; that is a wrong use."""
    if context.invoked_subcommand is None:
        sys.stderr.write(context.get_help() + "\n")
        raise typer.Exit(2)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """A hint for a misspelt name: the nearest, or what there is."""
    shown = ", ".join(one_line(item, 60) for item in known[:8])
    more = ", ..." if len(known) > 8 else ""
    return nearest(name, list(known)) or (f"there are: {shown}{more}" if known else "")
