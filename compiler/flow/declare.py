"""Declares an option once: its flag, its check and its part in the key of a plan derive from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

# What of an option stands in the key that says whether a plan is up to date: its value, the hash of
# the file that it names, or nothing.
Keyed = Literal["value", "file", "nothing"]
# Where a compilation first reads an option: from there on it can be gone on with another value.
STAGES = ("import", "clean", "prune", "lower", "calibrate", "place", "quantize")
Stage = Literal["import", "clean", "prune", "lower", "calibrate", "place", "quantize"]


@dataclass(frozen=True)
class Declaration:
    """What is known of an option beside its name, type and default.

    `fault` says what is wrong with a value, or nothing. `minimum` is for the command line's parser.
    `parse` makes a value of the words that a repeated flag was given. `stage` is None in tables
    that no compilation reads. With `is_file` the value names a file that is read.
    """

    help: str
    metavar: str | None = None
    fault: Callable[[Any], str] = lambda _: ""
    minimum: float | None = None
    parse: Callable[[Sequence[str] | None], Any] | None = None
    stage: Stage | None = None
    keyed: Keyed = "value"
    is_file: bool = False


def option(
    default: T,
    *,
    help: str,  # noqa: A002  # as typer calls it
    metavar: str | None = None,
    fault: Callable[[T], str] = lambda _: "",
    minimum: float | None = None,
    parse: Callable[[Sequence[str] | None], T] | None = None,
    stage: Stage | None = None,
    keyed: Keyed = "value",
    is_file: bool = False,
) -> T:
    """Declares an option as a field of a dataclass; see `Declaration`. A dict is a default too."""
    declared = Declaration(
        help=help,
        metavar=metavar,
        fault=fault,
        minimum=minimum,
        parse=parse,
        stage=stage,
        keyed=keyed,
        is_file=is_file,
    )
    metadata = {"declaration": declared}
    if isinstance(default, dict):
        return cast(T, field(default_factory=default.copy, metadata=metadata))
    return field(default=default, metadata=metadata)


def declaration(one: Field[Any]) -> Declaration:
    """How a field was declared."""
    return cast(Declaration, one.metadata["declaration"])


def declarations(table: type) -> dict[str, Declaration]:
    """All options of a table by name, in their order."""
    return {one.name: declaration(one) for one in fields(table)}


def files_of(table: Any) -> dict[str, Path]:
    """The files that options name, by the option's name."""
    named = (
        (name, getattr(table, name))
        for name, declared in declarations(type(table)).items()
        if declared.is_file
    )
    return {name: Path(path) for name, path in named if path is not None}


def default_of(one: Field[Any]) -> Any:
    """The value of an option that nobody gives."""
    return one.default if one.default_factory is MISSING else one.default_factory()


def flag(name: str) -> str:
    """How an option is spelled on the command line."""
    return f"--{name.replace('_', '-')}"


def read_by(stage: str, table: type) -> tuple[str, ...]:
    """The options that a compilation has read when it is past a stage."""
    known = STAGES[: STAGES.index(stage) + 1]
    return tuple(name for name, declared in declarations(table).items() if declared.stage in known)
