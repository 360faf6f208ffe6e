"""Computes an engine's float32 arithmetic, on numpy.

Shapes as in backends.simulator.kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np

from compiler.engines import numerics
from compiler.engines.numerics import Floats
from compiler.ir.graph import Array, Node


def product(node: Node, values: Sequence[Array]) -> Floats:
    """Multiplies floats [N,C,*sizes] or [N,..,R] by weights [1,G,R,K] and adds a bias if any."""
    window = numerics.Window.of(node)
    sums = np.asarray(numerics.matrix_product(_floats(values[0]), _floats(values[1][0]), window))
    if len(values) > 2:
        bias = values[2][0]
        sums = sums + bias.reshape(numerics.column_shape(bias, sums.ndim, not window.kernel))
    return np.asarray(sums, np.float32)


def elementwise(node: Node, operands: Sequence[Array]) -> Floats:
    """Computes an operation of ELEMENTWISE on values of float32 that broadcast.

    ValueError for another type.
    """
    with np.errstate(all="ignore"):  # infinities and NaN are answers here
        found = ELEMENTWISE[node.op](node, [_floats(value) for value in operands])
    return np.asarray(found, np.float32)


def average_pool(node: Node, data: Array) -> Floats:
    """Averages each window of [N,C,*sizes], counted as `numerics.average_pool` does.

    Without a kernel the window is all of them.
    """
    return np.asarray(numerics.average_pool(_floats(data), node), np.float32)


def _floats(data: Array) -> Floats:
    if data.dtype != np.float32:
        raise ValueError(f"{data.dtype} where float32 is expected")
    return np.asarray(data, np.float32)


def _clip(node: Node, x: Any) -> Any:
    low, high = node.number("minimum", -np.inf), node.number("maximum", np.inf)
    return np.minimum(np.maximum(x, np.float32(low)), np.float32(high))


def _hard_sigmoid(x: Any, alpha: float, beta: float) -> Any:
    return np.clip(np.float32(alpha) * x + np.float32(beta), 0, 1)


def _one(function: Callable[[Node, Any], Any]) -> Callable[[Node, Sequence[Any]], Any]:
    return lambda node, operands: function(node, operands[0])


def _all(function: Callable[[Any, Any], Any]) -> Callable[[Node, Sequence[Any]], Any]:
    return lambda node, operands: reduce(function, operands)


ELEMENTWISE: dict[str, Callable[[Node, Sequence[Any]], Any]] = {
    "Add": _all(np.add),
    "Sub": _all(np.subtract),
    "Mul": _all(np.multiply),
    "Div": _all(np.divide),
    "Max": _all(np.maximum),
    "Min": _all(np.minimum),
    "Abs": _one(lambda node, x: np.abs(x)),
    "Neg": _one(lambda node, x: -x),
    "Sqrt": _one(lambda node, x: np.sqrt(x)),
    "Exp": _one(lambda node, x: np.exp(x)),
    "Relu": _one(lambda node, x: np.maximum(x, np.float32(0))),
    "LeakyRelu": _one(
        lambda node, x: np.where(x < 0, np.float32(node.number("alpha", 0.01)) * x, x)
    ),
    "Clip": _one(_clip),
    "Sigmoid": _one(lambda node, x: 1 / (1 + np.exp(-x))),
    "Tanh": _one(lambda node, x: np.tanh(x)),
    "HardSigmoid": _one(
        lambda node, x: _hard_sigmoid(x, node.number("alpha", 0.2), node.number("beta", 0.5))
    ),
    "HardSwish": _one(lambda node, x: x * _hard_sigmoid(x, 1 / 6, 0.5)),
}  # fmt: skip
