"""Draws the layers of random networks.

Each adds itself to a sketch, on a value that it can take; where there is none, nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt
from typing import Any

import numpy as np

from tests.support.random_sketch import Sketch, Value

MOST_ELEMENTS = 1 << 14


def _window(s: Sketch, sizes: Sequence[int]) -> tuple[dict[str, Any], list[int]]:
    """Kernel, strides and padding that fit the sizes, and the sizes that come out."""
    kernel = [s.whole(1, min(3, size)) for size in sizes]
    strides = [s.whole(1, 2) for _ in sizes]
    if s.chance(0.2):
        mode = s.one_of(["SAME_UPPER", "SAME_LOWER", "VALID"])
        out = [
            (size - k) // step + 1 if mode == "VALID" else -(-size // step)
            for size, k, step in zip(sizes, kernel, strides, strict=True)
        ]
        return {"kernel_shape": kernel, "strides": strides, "auto_pad": mode}, out
    pads = [s.whole(0, k // 2) for k in (*kernel, *kernel)]
    out = [
        (size + pads[i] + pads[i + len(sizes)] - kernel[i]) // strides[i] + 1
        for i, size in enumerate(sizes)
    ]
    return {"kernel_shape": kernel, "strides": strides, "pads": pads}, out


def convolution(s: Sketch) -> None:
    x = s.value(lambda v: v.rank in (3, 4, 5) and v.shape[1] <= 40)
    if x is None:
        return
    window, out = _window(s, x.shape[2:])
    x, channels = s.tame(x), x.shape[1]
    group = channels if s.chance(0.25) else s.one_of([g for g in (1, 2) if channels % g == 0])
    columns = group * s.whole(1, max(1, s.one_of([12, 12, 12, 40]) // group))
    kernel = window["kernel_shape"]
    fan = channels // group * prod(kernel)
    inputs = [x.name, s.normal(columns, channels // group, *kernel, fan=fan)]
    inputs += [s.normal(columns, fan=100)] if s.chance(0.6) else []
    s.add(
        "Conv", inputs, (x.shape[0], columns, *out), 6 * x.bound * sqrt(fan), group=group, **window
    )


def transposed(s: Sketch) -> None:
    x = s.value(lambda v: v.rank in (3, 4) and v.shape[1] <= 16 and max(v.shape[2:]) <= 8)
    if x is None:
        return
    x, columns = s.tame(x), s.whole(1, 6)
    kernel, strides = ([s.whole(1, 3) for _ in x.shape[2:]] for _ in range(2))
    out = [
        (size - 1) * step + k for size, step, k in zip(x.shape[2:], strides, kernel, strict=True)
    ]
    weights = s.normal(x.shape[1], columns, *kernel, fan=x.shape[1] * prod(kernel))
    shape = (x.shape[0], columns, *out)
    s.add(
        "ConvTranspose",
        [x.name, weights],
        shape,
        x.bound * 6 * sqrt(x.shape[1] * prod(kernel)),
        strides=strides,
    )


def pool(s: Sketch) -> None:
    x = s.value(lambda v: v.rank in (3, 4, 5))
    if x is None:
        return
    window, out = _window(s, x.shape[2:])
    if s.chance(0.2):
        shape = (*x.shape[:2], *(1 for _ in out))
        s.add(s.one_of(["GlobalAveragePool", "GlobalMaxPool"]), [x.name], shape, x.bound)
        return
    if any(k < step for k, step in zip(window["kernel_shape"], window["strides"], strict=True)):
        return
    op = s.one_of(["MaxPool", "AveragePool"])
    more = {"count_include_pad": 1} if op == "AveragePool" and s.chance(0.3) else {}
    s.add(op, [x.name], (*x.shape[:2], *out), x.bound, **window, **more)


def norm(s: Sketch) -> None:
    x = s.value(lambda v: v.rank >= 2)
    if x is None:
        return
    x = s.tame(x)
    kind = s.one_of(["BatchNormalization", "BatchNormalization", "LayerNormalization", "Softmax"])
    if kind == "Softmax":
        s.add(kind, [x.name], x.shape, 1.0, axis=s.whole(-x.rank, x.rank - 1))
    elif kind == "LayerNormalization" and s.opset >= 17 and x.shape[-1] > 1:
        s.add(kind, [x.name, s.normal(x.shape[-1]), s.normal(x.shape[-1])], x.shape, 40.0)
    elif kind == "BatchNormalization":
        ranges = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0))
        about = [s.constant(s.random.uniform(*ends, x.shape[1])) for ends in ranges]
        s.add(kind, [x.name, *about], x.shape, 3 * x.bound + 3)


_FUNCTIONS = (
    "Relu", "Relu", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "Selu", "Softplus", "Softsign",
    "HardSigmoid", "HardSwish", "Erf", "Abs", "Neg", "Exp", "Sin", "Floor", "Ceil", "Round", "Sign",
    "ThresholdedRelu", "Celu", "Clip", "PRelu", "Sqrt", "Identity",
)  # fmt: skip


def function(s: Sketch) -> None:
    x = s.value(lambda v: True)
    if x is None:
        return
    op = s.one_of(_FUNCTIONS)
    if op == "HardSwish" and s.opset < 14:
        op = "Relu"
    if op == "Clip":
        s.add(op, [x.name, s.constant(0.0), s.constant(6.0)], x.shape, 6.0)
    elif op == "PRelu":
        s.add(op, [x.name, s.constant(s.random.uniform(0, 0.3, (1,)))], x.shape, x.bound)
    elif op == "Sqrt":
        s.add(op, [s.add("Abs", [x.name], x.shape, x.bound).name], x.shape, x.bound + 1)
    elif op == "Exp":
        s.add(op, [s.tame(x).name], x.shape, 55.0)
    else:
        s.add(op, [x.name], x.shape, 2 * x.bound + 1)


def binary(s: Sketch) -> None:
    x = s.value(lambda v: True)
    if x is None:
        return
    size = x.shape
    op = s.one_of(["Add", "Add", "Sub", "Mul", "Div", "Min", "Max"])
    mate = s.value(lambda v: v.shape == size) if op != "Div" else None
    if mate is None or s.chance(0.3):
        shape = [size if s.chance(0.6) else 1 for size in x.shape][s.whole(0, x.rank) :]
        mate = Value(s.constant(s.random.uniform(0.5, 2.0, shape)), tuple(shape), 2.0)
    if op == "Mul":
        x, mate = s.tame(x), s.tame(mate)
    s.add(
        op,
        [x.name, mate.name],
        x.shape,
        max(x.bound * mate.bound, x.bound * 2, x.bound + mate.bound),
    )


def dense(s: Sketch) -> None:
    x = s.value(lambda v: 2 <= v.rank <= 4 and v.shape[-1] <= 128)
    if x is None:
        return
    x, rows, columns = s.tame(x), x.shape[-1], s.whole(1, s.one_of([24, 24, 24, 100]))
    shape, bound = (*x.shape[:-1], columns), 6 * x.bound * sqrt(rows) + 1
    if x.rank > 2 or s.chance(0.4):
        s.add("MatMul", [x.name, s.normal(rows, columns, fan=rows)], shape, bound)
        return
    turned = s.chance(0.5)
    weights = s.normal(*((columns, rows) if turned else (rows, columns)), fan=rows)
    bias = [s.normal(*s.one_of([(columns,), (1, columns), ()]), fan=25)] if s.chance(0.7) else []
    s.add(
        "Gemm",
        [x.name, weights, *bias],
        shape,
        bound,
        transB=int(turned),
        alpha=s.one_of([1.0, 1.0, 0.5]),
    )


def attention(s: Sketch) -> None:
    x = s.value(lambda v: v.rank == 3 and v.shape[-1] <= 32)
    if x is None:
        return
    x, width = s.tame(x), x.shape[-1]
    query, key, data = (
        s.add(
            "MatMul",
            [x.name, s.normal(width, width, fan=width)],
            x.shape,
            6 * x.bound * sqrt(width),
        )
        for _ in range(3)
    )
    (turned,) = s.node("Transpose", [key.name], perm=[0, 2, 1])
    (scores,) = s.node("MatMul", [query.name, turned])
    (scaled,) = s.node("Div", [scores, s.constant(sqrt(width))])
    (shares,) = s.node("Softmax", [scaled], axis=-1)
    mixed = s.add("MatMul", [shares, data.name], x.shape, data.bound)
    s.add("Add", [mixed.name, x.name], x.shape, mixed.bound + x.bound)


def recurrent(s: Sketch) -> None:
    x = s.value(lambda v: v.rank == 3 and v.shape[-1] <= 24 and v.shape[0] <= 12)
    if x is None:
        return
    x = s.tame(x)
    steps, batch, width = x.shape
    op, gates = s.one_of([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    hidden = s.whole(2, 6)
    weights = [s.normal(1, gates * hidden, n, fan=n) for n in (width, hidden)]
    more = {"linear_before_reset": 1} if op == "GRU" and s.chance(0.5) else {}
    (found,) = s.node(op, [x.name, *weights], hidden_size=hidden, **more)
    axes = s.constant([1], np.int64)
    s.add("Squeeze", [found, axes], (steps, batch, hidden), 1.0)


def reduce(s: Sketch) -> None:
    x = s.value(lambda v: v.rank >= 1)
    if x is None:
        return
    x, op = s.tame(x), s.one_of(["ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax", "ReduceL2"])
    axes = sorted(s.random.choice(x.rank, s.whole(1, x.rank), replace=False).tolist())
    keep = s.chance(0.5)
    shape = [1 if i in axes else size for i, size in enumerate(x.shape) if keep or i not in axes]
    bound = x.bound * prod(x.shape[axis] for axis in axes)
    if op == "ReduceSum" or s.opset >= 18:
        inputs = [x.name, s.constant(axes, np.int64)]
        s.add(op, inputs, shape, bound, keepdims=int(keep))
    else:
        s.add(op, [x.name], shape, bound, axes=axes, keepdims=int(keep))


def move(s: Sketch) -> None:
    """Something that moves elements, or only looks at them in another shape."""
    x = s.value(lambda v: v.rank >= 1)
    if x is None:
        return
    axis = s.whole(0, x.rank - 1)
    size, shape = x.shape[axis], list(x.shape)
    op = s.one_of(
        [
            "Transpose", "Reshape", "Flatten", "Unsqueeze", "Slice", "Pad", "Split", "Gather",
            "Concat", "Expand", "Where",
        ]
    )  # fmt: skip
    if op == "Transpose":
        order = s.random.permutation(x.rank).tolist()
        s.add(op, [x.name], [shape[i] for i in order], x.bound, perm=order)
    elif op == "Reshape":
        s.add(
            op, [x.name, s.constant([shape[0], -1], np.int64)], (shape[0], prod(shape[1:])), x.bound
        )
    elif op == "Flatten":
        s.add(op, [x.name], (prod(shape[:axis]), prod(shape[axis:])), x.bound, axis=axis)
    elif op == "Unsqueeze" and x.rank < 5:
        s.add(
            op, [x.name, s.constant([axis], np.int64)], [*shape[:axis], 1, *shape[axis:]], x.bound
        )
    elif op == "Slice":
        start, step = s.whole(0, size - 1), s.one_of([1, 1, 2, -1])
        numbers = ([start], [-(1 << 31)] if step < 0 else [size], [axis], [step])
        shape[axis] = len(range(start, -1 if step < 0 else size, step))
        s.add(op, [x.name, *(s.constant(n, np.int64) for n in numbers)], shape, x.bound)
    elif op == "Pad" and prod(shape) * 4 < MOST_ELEMENTS:
        mode = s.one_of(["constant", "edge", "reflect"])
        pads = [s.whole(0, min(2, n - 1)) for n in (*shape, *shape)]
        shape = [n + pads[i] + pads[i + x.rank] for i, n in enumerate(shape)]
        s.add(op, [x.name, s.constant(pads, np.int64)], shape, x.bound, mode=mode)
    elif op == "Split" and size > 1:
        parts = [size // 2, size - size // 2]
        names = s.node(op, [x.name, s.constant(parts, np.int64)], 2, axis=axis)
        s.values += [
            Value(name, (*shape[:axis], part, *shape[axis + 1 :]), x.bound)
            for name, part in zip(names, parts, strict=True)
        ]
    elif op == "Gather":
        indices = s.integers(-size, size - 1, 3, dtype=np.int64)
        s.add(op, [x.name, indices], [*shape[:axis], 3, *shape[axis + 1 :]], x.bound, axis=axis)
    elif op == "Concat" and prod(shape) * 2 < MOST_ELEMENTS:
        mate = s.value(lambda v: v.shape == x.shape) or x
        shape[axis] *= 2
        s.add(op, [x.name, mate.name], shape, max(x.bound, mate.bound), axis=axis)
    elif op == "Expand" and prod(shape) * 3 < MOST_ELEMENTS and x.rank < 5:
        s.add(op, [x.name, s.constant([3, *shape], np.int64)], [3, *shape], x.bound)
    elif op == "Where":
        (less,) = s.node("Less", [x.name, s.constant(0.1)])
        s.add(op, [less, x.name, s.constant(0.25)], shape, x.bound + 0.25)


def fake_quantized(s: Sketch) -> None:
    """A value through QuantizeLinear and DequantizeLinear."""
    x = s.value(lambda v: True)
    if x is None:
        return
    x, dtype = s.tame(x), s.one_of([np.int8, np.uint8])
    scale = s.constant(x.bound / s.whole(90, 127))
    point = s.constant(s.whole(100, 156) if dtype == np.uint8 else s.whole(-8, 8), dtype)
    (integers,) = s.node("QuantizeLinear", [x.name, scale, point])
    s.add("DequantizeLinear", [integers, scale, point], x.shape, 3 * x.bound)


def quantized_dense(s: Sketch) -> None:
    """A product of integers: QLinearMatMul, or DequantizeLinear around MatMul."""
    x = s.value(lambda v: v.rank in (2, 3) and v.shape[-1] <= 128)
    if x is None:
        return
    x, rows, columns = s.tame(x), x.shape[-1], s.whole(1, 16)
    scale, point = s.constant(x.bound / 127), s.constant(128, np.uint8)
    (data,) = s.node("QuantizeLinear", [x.name, scale, point])
    weights = s.integers(-127, 127, rows, columns, dtype=np.int8)
    wide, zero = s.constant(0.01 / sqrt(rows)), s.constant(0, np.int8)
    shape = (*x.shape[:-1], columns)
    out = s.constant(x.bound * 0.02)
    if s.chance(0.5):
        (found,) = s.node("QLinearMatMul", [data, scale, point, weights, wide, zero, out, point])
    else:
        (floats,) = s.node("DequantizeLinear", [data, scale, point])
        (real,) = s.node("DequantizeLinear", [weights, wide, zero])
        (sums,) = s.node("MatMul", [floats, real])
        (found,) = s.node("QuantizeLinear", [sums, out, point])
    s.add("DequantizeLinear", [found, out, point], shape, 3 * x.bound)
