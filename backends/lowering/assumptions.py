"""Computes the part of a plan's energy that rests on numbers of the chip file without a source."""

from __future__ import annotations

from collections.abc import Sequence

from backends.lowering.form_steps import StepDraft
from backends.lowering.layout import Layout, costs_there
from compiler.ir.graph import Graph
from compiler.target.change import with_quantities
from compiler.target.chip import Target
from compiler.target.quantity import Quantity

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
    return with_quantities(target, _without_assumption)


def _without_assumption(key: str, quantity: Quantity) -> Quantity:
    if not (key.endswith(ENERGY_KEYS) and quantity.is_assumption):
        return quantity
    return Quantity(value=0, low=0, high=0, source=quantity.source)
