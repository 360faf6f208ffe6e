"""Defines the conditions of a formula: constants as plain numbers, node scale, supply, activity.

A capacitance C at 28 nm takes C k V^2 at a node whose gates are k times as far apart; metal takes C
V^2 (fF times V^2 is fJ). Every formula of this package rises with every constant and with the
supply, so its least and its greatest are found at their ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from compiler.target.parts.constants import REFERENCE_NODE_NM, Components
from compiler.units import Estimate

FJ_PER_PJ = 1000.0


@dataclass(frozen=True)
class Silicon:
    """The conditions that every formula is given.

    `input_toggle` is the share of input bits that change from step to step, `weight_density` the
    share of weight bits that are one; None where they are not known: then adders switch at the
    fitted constant `activity`, and analog cells and drivers fully.
    """

    values: Mapping[str, float]
    scale: float
    supply_v: float
    node_nm: float = REFERENCE_NODE_NM
    input_toggle: float | None = None
    weight_density: float | None = None

    def fj(self, capacitance_ff: float) -> float:
        """Computes the energy of charging a capacitance that scales with the node."""
        return capacitance_ff * self.scale * self.supply_v**2

    def metal_fj(self, capacitance_ff: float) -> float:
        """Computes the energy of charging a capacitance that does not scale with the node."""
        return capacitance_ff * self.supply_v**2

    @property
    def driven(self) -> float:
        """The share of row drivers that switch in a step."""
        return 1.0 if self.input_toggle is None else self.input_toggle

    @property
    def conducting(self) -> float:
        """The share of analog cells that take part in a step.

        Their input toggles and their weight is not zero.
        """
        return self.driven * (1.0 if self.weight_density is None else self.weight_density)

    @property
    def activity(self) -> float:
        """The share of adders and multipliers that switch in a step."""
        if self.input_toggle is None and self.weight_density is None:
            return self.values["activity"]
        return self.conducting

    @property
    def register_activity(self) -> float:
        """The share of input registers that switch in a step."""
        return self.values["activity"] if self.input_toggle is None else self.input_toggle


def silicon_at(components: Components, node_nm: float, supply_v: float) -> Silicon:
    """Returns the conditions at a node and supply, with the constants at their values."""
    return Silicon(components.values, components.scale(node_nm), supply_v, node_nm)


Formula = Callable[[Silicon], Mapping[str, float]]


def over_intervals(
    formula: Formula,
    components: Components,
    node_nm: float,
    supply_v: Estimate,
    input_toggle: float | None = None,
    weight_density: float | None = None,
) -> dict[str, Estimate]:
    """Computes the parts of a formula, each over the intervals of its constants and of the supply.

    The value, the least and the greatest come from theirs.
    """
    scale = components.scale(node_nm)
    constants = {name: constant.estimate for name, constant in components.constants.items()}
    middle = Silicon(
        values={},
        scale=scale,
        supply_v=supply_v.value,
        node_nm=node_nm,
        input_toggle=input_toggle,
        weight_density=weight_density,
    )
    value, low, high = (
        formula(replace(middle, values=values, supply_v=supply))
        for values, supply in (
            ({name: estimate.value for name, estimate in constants.items()}, supply_v.value),
            ({name: estimate.low for name, estimate in constants.items()}, supply_v.low),
            ({name: estimate.high for name, estimate in constants.items()}, supply_v.high),
        )
    )
    return {name: Estimate(part, low[name], high[name]) for name, part in value.items()}
