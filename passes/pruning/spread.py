"""Spreads a share of the MACs to remove over the widths of a network.

The step with the least error for each MAC saved goes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from passes.pruning.saliency import Curve, Space
from passes.pruning.structure import Structure

LOOK_AHEAD = 8  # widths beyond the next that a step may jump to


@dataclass(frozen=True)
class Step:
    """A narrower width for one space: the error it adds and the MACs it saves."""

    space: int
    width: int
    error: float
    saved: float


class Widths:
    """The widths of all spaces while they shrink.

    A layer's MACs are the product of two sums over them.
    """

    def __init__(self, structure: Structure, spaces: Sequence[Space]) -> None:
        layers = structure.layers
        self.width = np.array([space.width for space in spaces], float)
        self._scale = np.array([layer.positions * layer.taps for layer in layers], float)
        self._rows = np.zeros((len(layers), len(spaces)))
        self._columns = np.zeros((len(layers), len(spaces)))
        self._fixed_rows = np.ones(len(layers))
        self._fixed_columns = np.zeros(len(layers))
        for i, layer in enumerate(layers):
            self._fixed_columns[i] = len(layer.columns)
            if layer.rows is not None:
                self._fixed_rows[i] = len(layer.rows)
            for j, space in enumerate(spaces):
                if layer.rows is not None:
                    self._rows[i, j] = (layer.rows == space.classes[0]).sum()
                self._columns[i, j] = (layer.columns == space.classes[0]).sum()
        self._fixed_rows -= self._rows @ self.width
        self._fixed_columns -= self._columns @ self.width

    def macs(self, width: npt.NDArray[np.float64]) -> float:
        """Counts the multiply-accumulates of all layers at these widths."""
        rows = self._fixed_rows + self._rows @ width
        columns = self._fixed_columns + self._columns @ width
        return float(self._scale @ (rows * columns))

    def with_width(self, space: int, width: int) -> npt.NDArray[np.float64]:
        """Returns the present widths with one changed."""
        changed = self.width.copy()
        changed[space] = width
        return changed


def spread(
    widths: Widths,
    curves: Sequence[Curve],
    allowed: Sequence[Sequence[int]],
    most: float,
    least: float = 0.0,
) -> None:
    """Narrows `widths` in place until the MACs are at most `most`.

    It ends before when no allowed width is left that keeps them above `least`.

    Each step is the one with the least error for each MAC saved; the last is the one with the least
    error of those that reach the goal.
    """
    while (now := widths.macs(widths.width)) > most:
        steps = [
            step
            for space, choices in enumerate(allowed)
            for step in _steps(space, choices, widths, curves[space], now)
            if now - step.saved >= least
        ]
        if not steps:
            return
        best = min(steps, key=lambda step: step.error / step.saved)
        if now - best.saved <= most:
            reaching = [step for step in steps if now - step.saved <= most]
            best = min(reaching, key=lambda step: (step.error, step.saved))
        widths.width[best.space] = best.width


def _steps(
    space: int, choices: Sequence[int], widths: Widths, curve: Curve, now: float
) -> list[Step]:
    current = int(widths.width[space])
    total = len(curve.order)
    narrower = [width for width in choices if width < current][:LOOK_AHEAD]
    steps = []
    for width in narrower:
        saved = now - widths.macs(widths.with_width(space, width))
        error = float(curve.error[total - width] - curve.error[total - current])
        if saved > 0:
            steps.append(Step(space, width, error, saved))
    return steps
