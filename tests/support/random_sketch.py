"""Draws a random ONNX model: values with bounds on their numbers, nodes and constants so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

TAME = 4.0  # what is larger is clipped before it is multiplied, so that nothing overflows


@dataclass(frozen=True)
class Value:
    """A float32 tensor of the model; no number in it is larger than `bound`."""

    name: str
    shape: tuple[int, ...]
    bound: float

    @property
    def rank(self) -> int:
        return len(self.shape)


class Sketch:
    """A model being drawn: `values` are the floats that may be used further."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng([0x10C, seed])
        self.opset = int(self.random.integers(13, 24))
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.values: list[Value] = []
        self.feed: dict[str, Any] = {}

    def whole(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.random.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """True in so many of all cases."""
        return bool(self.random.random() < share)

    def one_of(self, things: Sequence[Any]) -> Any:
        """One of several."""
        return things[self.whole(0, len(things) - 1)]

    def value(self, fits: Callable[[Value], bool]) -> Value | None:
        """One of the values that fit, the newest the likeliest."""
        found = [value for value in self.values if fits(value)]
        weight = np.arange(1, len(found) + 1) ** 2.0
        return (
            found[int(self.random.choice(len(found), p=weight / weight.sum()))] if found else None
        )

    def input(self, *shape: int) -> Value:
        """An input of the model, from -1 to 1."""
        name = f"x{len(self.feed)}"
        self.feed[name] = self.random.uniform(-1, 1, shape).astype(np.float32)
        self.values.append(Value(name, shape, 1.0))
        return self.values[-1]

    def constant(self, data: Any, dtype: Any = np.float32) -> str:
        """A constant, now and then as a node."""
        name = f"c{len(self.weights) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(data, dtype), name)
        if self.chance(0.1):
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.weights.append(tensor)
        return name

    def normal(self, *shape: int, fan: int = 1) -> str:
        """Weights for so many inputs."""
        return self.constant(self.random.standard_normal(shape) / sqrt(fan))

    def integers(self, low: int, high: int, *shape: int, dtype: Any) -> str:
        """Whole weights."""
        return self.constant(self.random.integers(low, high + 1, shape), dtype)

    def node(self, op: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> list[str]:
        """A node with so many outputs."""
        outputs = [f"t{len(self.nodes)}{'abc'[i] if count > 1 else ''}" for i in range(count)]
        name = "" if self.chance(0.1) else f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, outputs, name, **attributes))
        return outputs

    def add(
        self, op: str, inputs: Sequence[str], shape: Sequence[int], bound: float, **attributes: Any
    ) -> Value:
        """A node that makes a value to go on with."""
        (name,) = self.node(op, inputs, **attributes)
        self.values.append(Value(name, tuple(shape), bound))
        return self.values[-1]

    def tame(self, value: Value) -> Value:
        """The value, clipped where it is large."""
        if value.bound <= TAME:
            return value
        bounds = [self.constant(-TAME), self.constant(TAME)]
        return self.add("Clip", [value.name, *bounds], value.shape, TAME)
