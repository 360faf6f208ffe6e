"""Computes the engines' arithmetic on numpy: integer products, requantization, formats.

Analog arrays are in compiler.engines.numerics_analog. Every function is what the hardware is stated
to do; `compiler.execute.export_onnx` writes the same as ONNX operations, and the tests hold the two
to equal bits. Products of integers run as floating-point products in a type wide enough to be
exact, so no order of summation can change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Node, Quant
from compiler.ir.ops import window_outputs

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.integer]
T = TypeVar("T", bound=np.generic)
Numbers: TypeAlias = npt.NDArray[np.floating] | npt.NDArray[np.integer]

EXACT_IN_FLOAT32 = 1 << 24  # every integer up to here is a float32


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution (N spatial axes).

    No kernel means a dense product over the last axis.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    @staticmethod
    def of(node: Node) -> Window:
        """Reads the geometry in a node's attributes, with ONNX's defaults."""
        kernel = node.ints("kernel", ())
        rank = len(kernel)
        return Window(
            kernel,
            node.ints("strides", (1,) * rank),
            node.ints("pads", (0,) * 2 * rank),
            node.ints("dilations", (1,) * rank),
        )


def patches(data: npt.NDArray[np.floating], window: Window) -> npt.NDArray[np.floating]:
    """Lays out the rows of a convolution (im2col): zero padded patches of each output position.

    [N,C,*sizes] -> [N,C*prod(kernel),*output sizes].
    """
    rank = len(window.kernel)
    before, after = window.pads[:rank], window.pads[rank:]
    padded = np.pad(data, ((0, 0), (0, 0), *zip(before, after, strict=True)))
    spans = tuple(d * (k - 1) + 1 for d, k in zip(window.dilations, window.kernel, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
    steps = tuple(slice(None, None, s) for s in window.strides)
    taps = tuple(slice(None, None, d) for d in window.dilations)
    views = views[(slice(None), slice(None), *steps, *taps)]
    order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
    moved = views.transpose(order)
    outputs = moved.shape[2 + rank :]
    return moved.reshape(data.shape[0], data.shape[1] * prod(window.kernel), *outputs)


def matrix_product(
    data: npt.NDArray[np.floating], weights: npt.NDArray[np.floating], window: Window
) -> npt.NDArray[np.floating]:
    """Multiplies data by weights [G,R,K] in the type of `data`.

    [N,C,*sizes] -> [N,G*K,*outputs], or [..,R] -> [..,K]. ValueError where they do not fit.
    """
    groups, rows, columns = weights.shape
    if not window.kernel:
        return np.asarray(data @ weights[0])
    if rows * groups != data.shape[1] * prod(window.kernel):
        raise ValueError(f"{groups} groups of {rows} rows do not fit {data.shape}")
    if columns == 1 and rows == prod(window.kernel):
        return _depthwise(data, weights, window)
    spread = patches(data, window)
    outputs = spread.shape[2:]
    flat = spread.reshape(data.shape[0], groups, rows, prod(outputs))
    result = np.matmul(weights.transpose(0, 2, 1), flat)
    return np.asarray(result.reshape(data.shape[0], groups * columns, *outputs))


def _depthwise(
    data: npt.NDArray[np.floating], weights: npt.NDArray[np.floating], window: Window
) -> npt.NDArray[np.floating]:
    """Convolves one channel into one: adds the taps of the kernel one by one.

    A matrix product would be all overhead.
    """
    rank = len(window.kernel)
    padded = np.pad(
        data, ((0, 0), (0, 0), *zip(window.pads[:rank], window.pads[rank:], strict=True))
    )
    spans = [d * (k - 1) for d, k in zip(window.dilations, window.kernel, strict=True)]
    sizes = [
        (padded.shape[2 + axis] - spans[axis] - 1) // window.strides[axis] + 1
        for axis in range(rank)
    ]
    result = np.zeros((*data.shape[:2], *sizes), data.dtype)
    for tap, index in enumerate(np.ndindex(*window.kernel)):
        region = tuple(
            slice(start, start + (size - 1) * stride + 1, stride)
            for start, size, stride in zip(
                (i * d for i, d in zip(index, window.dilations, strict=True)),
                sizes,
                window.strides,
                strict=True,
            )
        )
        scale = weights[:, tap, 0].reshape(1, -1, *([1] * rank))
        result += padded[(slice(None), slice(None), *region)] * scale
    return result


def integer_product(data: Integers, weights: Integers, window: Window) -> npt.NDArray[np.int64]:
    """Computes the exact product of integers (zero points already taken off).

    Shapes as `matrix_product`. Raises OverflowError where a sum leaves 32 bits: the accumulator of
    the engines is that wide.
    """
    largest = magnitude(data) * magnitude(weights) * weights.shape[-2]
    width = np.float32 if largest < EXACT_IN_FLOAT32 else np.float64
    result = matrix_product(data.astype(width), weights.astype(width), window).astype(np.int64)
    if (
        largest >= 1 << 31
        and not -(1 << 31) <= result.min(initial=0) <= result.max(initial=0) < 1 << 31
    ):
        raise OverflowError(
            f"a sum of {weights.shape[-2]} products leaves the accumulator's 32 bits"
        )
    return result


def magnitude(data: Integers) -> int:
    """Finds the largest absolute value, at least 1."""
    return max(int(data.max(initial=0)), -int(data.min(initial=0)), 1)


def centered(data: Integers, quant: Quant) -> npt.NDArray[np.int32]:
    """Subtracts zero points from integers (along `quant.axis` where it has one); same shape."""
    points = _along(np.asarray(quant.zero_point, np.int32), quant, data.ndim)
    return np.asarray(data.astype(np.int32) - points)


def _along(values: npt.NDArray[T], quant: Quant, rank: int) -> npt.NDArray[T]:
    """Shapes the scales or zero points of a format to broadcast to a value of this rank."""
    if quant.axis is None:
        return values.reshape(())
    shape = [1] * rank
    shape[quant.axis] = -1
    return values.reshape(shape)


def product_multiplier(data: Quant, weights: Quant, out: Quant | None) -> Floats:
    """Computes the factor from the accumulator to the output's integers, or to reals without `out`.

    float32 [1], or [K] with a scale a column. Computed as ONNX Runtime computes it: (data scale *
    weight scale) / output scale, each step in float32.
    """
    scale = np.float32(data.scale[0]) * np.asarray(weights.scale, np.float32)
    return np.asarray(scale if out is None else scale / np.float32(out.scale[0]), np.float32)


def requantize(
    accumulator: Numbers, multiplier: Floats | np.float32, out: Quant, bounds: tuple[int, int]
) -> Integers:
    """Computes clip(round_half_even(float32(accumulator) * multiplier) + zero point).

    The result is within `bounds` and the format of `out`. `multiplier` must broadcast to the
    accumulator. The digital engines' stated rounding, and MLAS's.
    """
    scaled = np.rint(accumulator.astype(np.float32) * multiplier)
    return to_format(scaled, out, bounds)


def to_format(rounded: Floats, out: Quant, bounds: tuple[int, int]) -> Integers:
    """Turns rounded floats into a format's integers: adds the zero point, clips and stores.

    `bounds`, the lowest and highest result, are integers of the format.
    """
    low, high = bounds
    point = out.zero_point[0]
    clipped = np.clip(rounded, np.float32(low - point), np.float32(high - point))
    result: Integers = (clipped.astype(np.int32) + point).astype(out.storage)
    return result


def output_bounds(out: Quant, node: Node) -> tuple[int, int]:
    """Finds the integers a node may give: the format's, within its real `minimum` and `maximum`."""
    low, high = out.lowest, out.highest
    scale, point = np.float32(out.scale[0]), out.zero_point[0]
    with np.errstate(over="ignore"):  # the largest float, as a bound, means none
        least = np.float32(node.number("minimum", -np.inf)) / scale
        most = np.float32(node.number("maximum", np.inf)) / scale
    if "minimum" in node.attrs:
        low = max(low, round_clipped(least, out) + point)
    if "maximum" in node.attrs:
        high = min(high, round_clipped(most, out) + point)
    return min(max(low, out.lowest), out.highest), max(min(high, out.highest), out.lowest)


def bounded(data: Floats, node: Node) -> Floats:
    """Clips reals to the node's `minimum` and `maximum`."""
    if "minimum" in node.attrs:
        data = np.maximum(data, np.float32(node.number("minimum", 0)))
    if "maximum" in node.attrs:
        data = np.minimum(data, np.float32(node.number("maximum", 0)))
    return data


def round_clipped(value: np.float32, out: Quant) -> int:
    """Rounds a real in units of the scale, and clips it to twice the format.

    So infinities are harmless.
    """
    reach = float(1 << (out.bits + 1))
    return int(np.rint(np.clip(value, -reach, reach)))


def quantize(data: npt.NDArray[np.floating], quant: Quant) -> Integers:
    """Quantizes reals to integers of the same shape, as ONNX's QuantizeLinear rounds and saturates.

    Per tensor, or along `quant.axis`. What becomes of NaN is the processor's, as in ONNX Runtime.
    """
    scale = _along(np.asarray(quant.scale, np.float32), quant, data.ndim)
    point = _along(np.asarray(quant.zero_point, np.float32), quant, data.ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.rint(data.astype(np.float32) / scale) + point
        clipped = np.clip(rounded, quant.lowest, quant.highest)
        result: Integers = clipped.astype(np.int32).astype(quant.storage)
    return result


def dequantize(data: Integers, quant: Quant) -> Floats:
    """Computes reals of integers as ONNX's DequantizeLinear, in the same shape.

    (integer - zero point) * scale in float32.
    """
    scale = _along(np.asarray(quant.scale, np.float32), quant, data.ndim)
    return np.asarray(centered(data, quant).astype(np.float32) * scale, np.float32)


def reals(data: npt.NDArray[np.generic], quant: Quant | None) -> Floats:
    """Computes values as reals, whatever integers stand for them (None: they are floats)."""
    if quant is None:
        return np.asarray(data, np.float32)
    return dequantize(np.asarray(data, quant.storage), quant)


def squared_errors(data: Floats, bits: int, low: Doubles, high: Doubles) -> Doubles:
    """Computes for each range [Q] the squared error of its `asymmetric` format over the data [N].

    sum((dequantize(quantize(x)) - x)^2).
    """
    step, point = _steps(bits, low, high)
    scale, zero = step.astype(np.float32)[:, None], point.astype(np.float32)[:, None]
    lowest = -(1 << (bits - 1))
    with np.errstate(over="ignore"):
        error = data / scale  # in place from here on: this runs over all values of a network
        np.rint(error, out=error)
        error += zero
        np.clip(error, lowest, -1 - lowest, out=error)
        error -= zero
        error *= scale
        error -= data
        error *= error
        return np.asarray(error.sum(axis=1, dtype=np.float64))


def symmetric(bits: int, reach: float) -> Quant:
    """Builds a signed format with zero point 0 that reaches `reach`.

    A `reach` below 1e-30 counts as 1e-30, so that the scale is a normal float.
    """
    highest = (1 << (bits - 1)) - 1
    scale = float(np.float32(max(reach, 1e-30) / highest))
    return Quant(bits, True, (scale,), (0,))


def asymmetric(bits: int, low: float, high: float) -> Quant:
    """Builds a signed format whose integers span [low, high], widened to hold 0 exactly."""
    scale, point = _steps(bits, np.asarray(low, np.float64), np.asarray(high, np.float64))
    return Quant(bits, True, (float(np.float32(scale)),), (int(point),))


def _steps(bits: int, low: Doubles, high: Doubles) -> tuple[Doubles, Doubles]:
    """Computes step and zero point of integers that span [low, high] and hold 0.

    Of one range or of many, shaped alike.
    """
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    steps, lowest = (1 << bits) - 1, -(1 << (bits - 1))
    scale = np.maximum((high - low) / steps, 1e-30)
    return scale, np.minimum(np.maximum(np.rint(lowest - low / scale), lowest), lowest + steps)


def average_pool(data: Numbers, node: Node) -> Floats:
    """Averages floats or centered integers over windows: [N,C,*sizes] -> [N,C,*outputs].

    Sums are divided by the count in float32. With `count_include_pad` 0 (ONNX's default) padding
    does not count.
    """
    window = Window.of(node)
    sums = _window_sums(data.astype(np.float64), window)
    if node.integer("count_include_pad", 0):
        counts = np.full(sums.shape[2:], prod(window.kernel), np.float64)
    else:
        ones = np.ones((1, 1, *data.shape[2:]))
        counts = _window_sums(ones, window)[0, 0]
    assert sums.shape[2:] == window_outputs(data.shape[2:], node)
    return np.asarray(sums.astype(np.float32) / counts.astype(np.float32), np.float32)


def _window_sums(data: npt.NDArray[np.float64], window: Window) -> npt.NDArray[np.float64]:
    taps = np.ones((data.shape[1], prod(window.kernel), 1))
    return np.asarray(_depthwise(data, taps, window), np.float64)


def column_shape(values: npt.NDArray[np.generic], dimensions: int, dense: bool) -> tuple[int, ...]:
    """Finds the shape in which one value per output column broadcasts to a product's output."""
    return (values.size,) if dense else (1, values.size, *([1] * (dimensions - 2)))
