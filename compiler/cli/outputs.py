"""The flag that chooses among the outputs of a package."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from compiler.errors import UsageError, nearest, one_line

if TYPE_CHECKING:
    from compiler.plan.schema import Plan

OutputNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--output", metavar="NAME", help="Only this output; may be repeated. Default: all."
    ),
]


def chosen_outputs(plan: Plan, names: Sequence[str] | None) -> list[str]:
    """The outputs of these names, all where none is named; UsageError (U005) for one unknown."""
    known = [port.name for port in plan.outputs]
    for name in names or ():
        if name not in known:
            raise UsageError(
                f"there is no output {one_line(name)!r}; "
                f"the package has {one_line(', '.join(known))}",
                code="U005",
                hint=nearest(name, known),
            )
    return [name for name in known if not names or name in names]
