"""Computes the cost of removing channels, by second order (OBS) or by plain magnitude.

A layer with weights W [K, R] and the second moments H of its input loses, when the rows P of its
input go and the rest is refitted, sum over outputs of w_P (inv(H)_PP)^-1 w_P^T (optimal brain
surgeon, in groups). Removing greedily and updating W and inv(H) after each removal gives the error
of every number of removed channels in one sweep.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from passes.fitting.matrix import Reals
from passes.pruning.structure import FIXED, Classes, Layer, Structure

Indices: TypeAlias = npt.NDArray[np.int64]

SATURATED = 0.999  # a larger relative error counts as this


@dataclass(frozen=True)
class Space:
    """Classes that stand in the same places of the same layers: a width that can shrink.

    Any of them may go.
    """

    classes: Classes
    rows_per_channel: int

    @property
    def width(self) -> int:
        """How many there are."""
        return len(self.classes)


@dataclass(frozen=True)
class Curve:
    """The order in which `space` gives up its classes, and the error after 0, 1, 2, ... of them."""

    space: Space
    order: Classes
    error: Reals


@dataclass(frozen=True)
class Reader:
    """A layer with the moments of its input.

    `weights` [K, R], `moments` [R, R] (or their diagonal [R]), and the `power` its errors are
    relative to.
    """

    layer: Layer
    weights: Reals
    moments: Reals
    power: float


class Saliency(Protocol):
    """The state of a reader while classes are removed from it."""

    def costs(self, rows: Indices) -> Reals:
        """Computes the error that removing each of [n, p] rows would add."""

    def remove(self, rows: Indices) -> None:
        """Removes [p] rows."""


class SecondOrder:
    """Holds the state of the sweep by second order.

    It is the weights and the inverse second moments, with the removed rows projected out.
    """

    def __init__(self, weights: Reals, moments: Reals) -> None:
        self.weights = weights.copy()
        self.inverse = np.linalg.inv(moments)

    def costs(self, rows: Indices) -> Reals:
        """Computes w_P (inv(H)_PP)^-1 w_P^T, summed over outputs."""
        blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
        parts = self.weights[:, rows].transpose(1, 2, 0)
        return np.asarray((parts * np.linalg.solve(blocks, parts)).sum(axis=(1, 2)))

    def remove(self, rows: Indices) -> None:
        """Projects rows out; what is removed is exactly zero afterwards."""
        share = np.linalg.solve(self.inverse[np.ix_(rows, rows)], self.inverse[rows])
        self.weights -= self.weights[:, rows] @ share
        self.inverse -= self.inverse[:, rows] @ share
        self.weights[:, rows] = 0
        self.inverse[rows] = 0
        self.inverse[:, rows] = 0


class Separate:
    """Takes rows as independent of one another.

    That is the second order of a diagonal H, and plain magnitude where the diagonal is all ones.
    """

    def __init__(self, weights: Reals, diagonal: Reals) -> None:
        self._cost = (weights**2).sum(axis=0) * diagonal

    def costs(self, rows: Indices) -> Reals:
        """Computes the sum over rows of |w|^2 h."""
        return np.asarray(self._cost[rows].sum(axis=1))

    def remove(self, rows: Indices) -> None:
        """Does nothing: no other cost depends on these rows."""


def spaces_of(structure: Structure) -> tuple[Space, ...]:
    """Groups the classes of a graph by where they stand, in the order of their birth."""
    standing = []
    for layer in structure.layers:
        for classes in (layer.rows, layer.columns):
            if classes is not None:
                standing.append(np.bincount(classes, minlength=structure.count))
    if not standing:
        return ()
    places = np.stack(standing)
    groups: dict[bytes, list[int]] = {}
    for item in range(structure.count):
        if item != FIXED:
            groups.setdefault(places[:, item].tobytes(), []).append(item)
    result = []
    for members in groups.values():
        rows = [
            layer.taps * int((layer.rows == members[0]).sum())
            for layer in structure.layers
            if layer.rows is not None
        ]
        result.append(Space(np.array(members), max(rows, default=1)))
    return tuple(result)


def removal_curve(space: Space, readers: tuple[Reader, ...]) -> Curve:
    """Removes a space's classes one by one, each time the one that adds the least error.

    The error is relative to the outputs of the space's readers.

    A reader that has lost the share e of its output counts e / (1 - e), so that losing all of it is
    never cheap.
    """
    states: list[tuple[Saliency, dict[int, Indices], float]] = []
    for reader in readers:
        rows = rows_of_classes(reader.layer, space.classes)
        if rows is not None:
            states.append((_state(reader), rows, max(reader.power, 1e-30)))
    left = space.classes.tolist()
    order, error = [], [0.0]
    lost = np.zeros(len(states))
    while left:
        costs = np.zeros((len(states), len(left)))
        for place, (state, rows, power) in enumerate(states):
            added = state.costs(np.stack([rows[item] for item in left]))
            costs[place] = np.maximum(added, 0) / power
        least = int(np.argmin(costs.sum(axis=0)))
        lost += costs[:, least]
        chosen = left.pop(least)
        order.append(chosen)
        error.append(float((lost / (1 - np.minimum(lost, SATURATED))).sum()))
        for state, rows, _ in states:
            state.remove(rows[chosen])
    return Curve(space, np.array(order), np.array(error))


def rows_of_classes(layer: Layer, classes: Classes) -> dict[int, Indices] | None:
    """Finds the rows of a layer that each class fills; None when the layer does not read them."""
    if layer.rows is None or not np.isin(layer.rows, classes).any():
        return None
    taps = np.arange(layer.taps)
    return {
        item: (np.flatnonzero(layer.rows == item)[:, None] * layer.taps + taps).reshape(-1)
        for item in classes.tolist()
    }


def _state(reader: Reader) -> Saliency:
    separate = reader.moments.ndim == 1
    return (Separate if separate else SecondOrder)(reader.weights, reader.moments)
