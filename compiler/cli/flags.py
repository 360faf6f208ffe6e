"""Gives a command a flag for each option of the tables that it takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, fields, is_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from compiler.flow.declare import declaration, declarations, default_of, flag

Command = Callable[..., None]


@dataclass(frozen=True)
class _Table:
    """A parameter of a command that holds options: its name and its type."""

    name: str
    kind: type

    def value(self, given: dict[str, Any]) -> Any:
        """The table that flags make; takes them out of what was given."""
        values = {}
        for name, declared in declarations(self.kind).items():
            value = given.pop(name)
            values[name] = declared.parse(value) if declared.parse is not None else value
        return self.kind(**values)


def with_flags(command: Command) -> Command:
    """Gives a command flags in place of its parameters that are tables of declared options.

    The command is called with the tables; their flags stand in the help where they stand.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[Parameter] = []
    tables: list[_Table] = []
    for name, parameter in signature(command).parameters.items():
        if is_dataclass(kind := hints[name]) and isinstance(kind, type):
            tables.append(_Table(name, kind))
            parameters += _parameters(kind)
        else:
            own = parameter.replace(annotation=hints[name], kind=Parameter.KEYWORD_ONLY)
            parameters.append(own)

    def with_tables(**given: Any) -> None:
        made = {table.name: table.value(given) for table in tables}
        command(**given, **made)

    with_tables.__doc__ = command.__doc__
    with_tables.__annotations__ = {one.name: one.annotation for one in parameters}
    with_tables.__signature__ = signature(command).replace(parameters=parameters)  # type: ignore[attr-defined]
    return with_tables


def flag_of(table: type, name: str) -> Any:
    """The flag of one option, for a command that takes no other of its table."""
    declared = declarations(table)[name]
    return typer.Option(
        flag(name), metavar=declared.metavar, help=declared.help, min=declared.minimum
    )


def _parameters(table: type) -> list[Parameter]:
    """A parameter for each option of a table, as typer reads them."""
    hints = get_type_hints(table)
    return [
        Parameter(
            one.name,
            Parameter.KEYWORD_ONLY,
            default=None if declaration(one).parse is not None else default_of(one),
            annotation=Annotated[_type(one, hints[one.name]), flag_of(table, one.name)],
        )
        for one in fields(table)
    ]


def _type(one: Field[Any], hint: Any) -> Any:
    """What the command line makes of a flag: words where they are parsed, a path if it may be."""
    if declaration(one).parse is not None:
        return list[str] | None
    return Path | None if Path in get_args(hint) else hint
