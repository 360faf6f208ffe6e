"""What is known of the channels of a graph: their classes, where each stands, and the layers they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Graph, Node

Classes: TypeAlias = npt.NDArray[np.int64]

KEPT = 0  # the class of channels that stay


@dataclass(frozen=True)
class Channels:
    """The class of each index of a value along one axis."""

    axis: int
    classes: Classes


@dataclass(frozen=True)
class Cut:
    """An input constant of a node that shrinks along `axis`; each index belongs to a class."""

    node: str
    input: int
    axis: int
    classes: Classes


@dataclass(frozen=True)
class Layer:
    """A matrix product: the classes of its input and output channels, `taps` rows to an input channel.

    A depthwise convolution has no `rows`: it works on each of its columns alone.
    """

    node: str
    rows: Classes | None
    columns: Classes
    taps: int
    positions: int

    def macs(self, kept: npt.NDArray[np.bool_]) -> int:
        """Multiply-accumulates when only the classes marked in `kept` stay."""
        rows = 1 if self.rows is None else int(kept[self.rows].sum())
        return self.positions * self.taps * rows * int(kept[self.columns].sum())


@dataclass(frozen=True)
class Structure:
    """A graph's channels: how many classes, where each stands in values and constants, and the layers they make."""

    count: int
    values: dict[str, Channels]
    cuts: tuple[Cut, ...]
    layers: tuple[Layer, ...]


class Tracer:
    """The channels known so far; classes are joined as in a union-find forest."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Channels] = {}
        self.cuts: list[Cut] = []
        self.layers: list[Layer] = []
        self._parent = [KEPT]

    def fresh(self, count: int) -> Classes:
        """Classes for channels that are born."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, item: int) -> int:
        """The class that a class has become a part of."""
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: Classes, other: Classes) -> None:
        """Makes each pair of classes one; KEPT takes what it meets."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def keep(self, value: str) -> None:
        """No channel of a value may go."""
        if value in self.values:
            classes = self.values[value].classes
            self.join(classes, np.zeros_like(classes))

    def cut(self, node: Node, index: int, axis: int, classes: Classes) -> None:
        """Notes that an input constant of a node holds channels along an axis."""
        self.cuts.append(Cut(node.name, index, axis, classes))

    def sizes(self, value: str) -> tuple[int, ...]:
        """The shape of a value."""
        return self.graph.types[value].sizes

    def finish(self) -> Structure:
        """What was found, the classes numbered from 0 (KEPT) without gaps."""
        roots = np.array([self.find(item) for item in range(len(self._parent))])
        names, classes = np.unique(roots, return_inverse=True)
        return Structure(
            len(names),
            {n: Channels(c.axis, classes[c.classes]) for n, c in self.values.items()},
            tuple(Cut(c.node, c.input, c.axis, classes[c.classes]) for c in self.cuts),
            tuple(
                Layer(
                    layer.node,
                    None if layer.rows is None else classes[layer.rows],
                    classes[layer.columns],
                    layer.taps,
                    layer.positions,
                )
                for layer in self.layers
            ),
        )
