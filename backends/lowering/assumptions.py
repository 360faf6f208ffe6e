"""Computes the part of a plan's energy that rests on numbers of the chip file without a source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel

from backends.lowering.form_steps import StepDraft
from backends.lowering.layout import Layout, costs_there
from compiler.ir.graph import Graph
from compiler.target.chip import Target
from compiler.target.quantity import Quantity

Part = TypeVar("Part", bound=BaseModel)

# The names of energies and powers; what assumed times and cycles add is not separated.
ENERGY_KEYS = ("_pj", "pj_per_byte", "_pj_per_bit", "_mw")


def assumed_energy_pj(
    drafts: Sequence[StepDraft], graph: Graph, layout: Layout, target: Target, energy_pj: float
) -> float:
    """Computes what an energy loses when every assumed energy of the chip is taken as 0.

    Times and places do not depend on energies, so they stay.
    """
    costs = costs_there(drafts, graph, layout, without_assumptions(target))
    return max(0.0, energy_pj - sum(cost.energy_pj.value for cost in costs))


def without_assumptions(target: Target) -> Target:
    """Sets every energy of the chip that is an assumption to 0."""
    chip = target.chip
    memories = {name: _blank(memory) for name, memory in chip.memories.items()}
    engines = {name: _blank(engine) for name, engine in chip.engines.items()}
    links = tuple(_blank(link) for link in chip.links)
    update = {"memories": memories, "engines": engines, "links": links}
    bare = _blank(chip).model_copy(update=update)
    return replace(target, chip=bare)


def _blank(part: Part) -> Part:
    """Sets the assumed energies of a part of the chip, and of the parts inside it, to 0."""
    update: dict[str, BaseModel] = {}
    for key in type(part).model_fields:
        inside = getattr(part, key)
        if isinstance(inside, Quantity):
            if key.endswith(ENERGY_KEYS) and inside.is_assumption:
                update[key] = Quantity(value=0, low=0, high=0, source=inside.source)
        elif isinstance(inside, BaseModel):
            update[key] = _blank(inside)
    return part.model_copy(update=update)
