"""How a person sees a report: as wide as the terminal, in colour where it has any."""

from __future__ import annotations

import os
import shutil
import sys
from typing import IO, TYPE_CHECKING, Annotated, TypeAlias

import typer

if TYPE_CHECKING:
    from backends.reports.page import Page

AllSteps: TypeAlias = Annotated[
    bool, typer.Option("--all", help="Shows all steps of a long model.")
]
Wide: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--wide", help="Shows all columns, however long the lines. Default: what fits the terminal."
    ),
]
COLUMNS = 100  # where no terminal says how many it has


def page_for(wide: bool = False) -> Page:
    """The page that standard output is."""
    from backends.reports.page import Page

    columns = shutil.get_terminal_size((COLUMNS, 24)).columns
    return Page(width=None if wide else columns, colour=has_colour(sys.stdout))


def has_colour(stream: IO[str]) -> bool:
    """Whether somebody sees the stream in colour, and wants to."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
