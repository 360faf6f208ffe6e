"""Holds the channels of a graph: their classes, where each stands, and the layers they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Graph, Node

Classes: TypeAlias = npt.NDArray[np.int64]

FIXED = 0  # the class of channels that stay


@dataclass(frozen=True)
class Channels:
    """The class of each index of a value along one axis."""

    axis: int
    classes: Classes


@dataclass(frozen=True)
class ConstantChannels:
    """The class of each index of a node's input constant along one axis.

    The constant shrinks along `axis`.
    """

    node: str
    input: int
    axis: int
    classes: Classes


@dataclass(frozen=True)
class Layer:
    """A matrix product: the classes of its input and output channels.

    `taps` are the rows to an input channel. A depthwise convolution has no `rows`: it works on each
    of its columns alone.
    """

    node: str
    rows: Classes | None
    columns: Classes
    taps: int
    positions: int

    def macs(self, surviving: npt.NDArray[np.bool_]) -> int:
        """Counts the multiply-accumulates when only the classes marked in `surviving` stay."""
        rows = 1 if self.rows is None else int(surviving[self.rows].sum())
        return self.positions * self.taps * rows * int(surviving[self.columns].sum())


@dataclass(frozen=True)
class Structure:
    """A graph's channels.

    `count` is the number of classes; `values` and `constants` are where each stands, `layers` what
    they make.
    """

    count: int
    values: dict[str, Channels]
    constants: tuple[ConstantChannels, ...]
    layers: tuple[Layer, ...]


class Tracer:
    """The channels traced so far; classes are joined as in a union-find forest."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Channels] = {}
        self.constants: list[ConstantChannels] = []
        self.layers: list[Layer] = []
        self._parent = [FIXED]

    def fresh(self, count: int) -> Classes:
        """Makes classes for channels that are born."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, item: int) -> int:
        """Finds the class that a class has become a part of."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: Classes, other: Classes) -> None:
        """Makes each pair of classes one; FIXED takes what it meets."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def fix(self, value: str) -> None:
        """Fixes the channels of a value: none of them may go."""
        if value in self.values:
            classes = self.values[value].classes
            self.join(classes, np.zeros_like(classes))

    def add_constant(self, node: Node, index: int, axis: int, classes: Classes) -> None:
        """Adds an input constant of a node that holds channels along an axis."""
        self.constants.append(ConstantChannels(node.name, index, axis, classes))

    def sizes(self, value: str) -> tuple[int, ...]:
        """Returns the shape of a value."""
        return self.graph.types[value].sizes

    def finish(self) -> Structure:
        """Returns what was found, the classes numbered from 0 (FIXED) without gaps."""
        roots = np.array([self.find(item) for item in range(len(self._parent))])
        names, classes = np.unique(roots, return_inverse=True)
        return Structure(
            len(names),
            {n: Channels(c.axis, classes[c.classes]) for n, c in self.values.items()},
            tuple(
                ConstantChannels(c.node, c.input, c.axis, classes[c.classes])
                for c in self.constants
            ),
            tuple(
                Layer(
                    node=layer.node,
                    rows=None if layer.rows is None else classes[layer.rows],
                    columns=classes[layer.columns],
                    taps=layer.taps,
                    positions=layer.positions,
                )
                for layer in self.layers
            ),
        )
