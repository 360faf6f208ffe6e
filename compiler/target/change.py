"""Makes chips that differ from one in some of their numbers: to see what rests on these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from compiler.target.chip import Target
from compiler.target.quantity import Quantity

Part = TypeVar("Part", bound=BaseModel)
Change = Callable[[str, Quantity], Quantity]


def with_quantities(target: Target, change: Change) -> Target:
    """Returns the chip with `change(key, quantity)` in place of each physical number."""
    chip = target.chip
    update = {
        "memories": {name: _changed(part, change) for name, part in chip.memories.items()},
        "engines": {name: _changed(part, change) for name, part in chip.engines.items()},
        "links": tuple(_changed(part, change) for part in chip.links),
    }
    return replace(target, chip=_changed(chip, change).model_copy(update=update))


def _changed(part: Part, change: Change) -> Part:
    """Changes the numbers of a part of the chip, and of the parts inside it."""
    update: dict[str, BaseModel] = {}
    for key in type(part).model_fields:
        inside = getattr(part, key)
        if isinstance(inside, Quantity):
            update[key] = change(key, inside)
        elif isinstance(inside, BaseModel):
            update[key] = _changed(inside, change)
    return part.model_copy(update=update)
