"""Refuses an option of one value that is given twice: the last one would win without a word."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand

from compiler.errors import UsageError


class OnceCommand(TyperCommand):
    """A command each of whose options of one value may be given once."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parses the words of the command line; UsageError (U004) for an option given twice."""
        if args:
            _, _, order = self.make_parser(ctx).parse_args(args=list(args))
            _require_once(order)
        return super().parse_args(ctx, args)


class Commands(typer.Typer):
    """Commands that refuse what is given twice."""

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Registers a command; `options` are those of typer."""
        return super().command(name, **{"cls": OnceCommand, **options})


def _require_once(order: list[Any]) -> None:
    """Checks the parameters of a command line, one for each time that it was given."""
    for position, times in Counter(map(id, order)).items():
        one = next(parameter for parameter in order if id(parameter) == position)
        takes_one = one.param_type_name == "option" and not one.multiple and not one.is_flag
        if times > 1 and takes_one:
            flag = max(one.opts, key=len)
            raise UsageError(
                f"{flag} is given {times} times, and takes one value", hint="leave all but one out"
            )
