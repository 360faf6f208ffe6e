"""Computes an analog array's arithmetic on numpy: tiles, converters, products in output formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.engines.bit_slicing import WHOLE, Slicing, digits_of_tiles
from compiler.engines.numerics import Floats, Integers, Window
from compiler.ir.graph import Array, Node, TensorType


def row_tiles(rows: int, array_rows: int) -> tuple[slice, ...]:
    """Lists the rows of each tile, in order."""
    return tuple(slice(r, min(r + array_rows, rows)) for r in range(0, rows, array_rows))


@dataclass(frozen=True)
class Converter:
    """Turns a bitline's sum into an integer of `bits` bits: clip(round_half_even(sum * gain)).

    Codes are signed, or unsigned (`unipolar`) where no sum can be negative. `noise_lsb` is the
    standard deviation added before rounding, in steps of the converter, drawn from `random`.
    """

    bits: int
    noise_lsb: float = 0.0
    random: np.random.Generator | None = None

    def codes(
        self, sums: npt.NDArray[np.floating], gain: Floats, *, unipolar: bool = False
    ) -> Floats:
        """Converts bitline sums (products of cells' levels) to codes: whole numbers, same shape.

        `gain` (codes a unit of sum) broadcasts to `sums`.
        """
        scaled = sums.astype(np.float32) * gain
        if self.random is not None and self.noise_lsb > 0:
            scaled += self.random.standard_normal(scaled.shape, np.float32) * np.float32(
                self.noise_lsb
            )
        lowest, highest = code_range(self.bits, unipolar)
        return np.asarray(
            np.clip(np.rint(scaled), np.float32(lowest), np.float32(highest)), np.float32
        )


def code_range(bits: int, unipolar: bool) -> tuple[int, int]:
    """Finds the lowest and the highest code of a converter.

    Codes are unsigned (`unipolar`) where no sum can be negative.
    """
    if unipolar:
        return 0, (1 << bits) - 1
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def analog_product(
    data: Integers,
    digits: npt.NDArray[np.int8],
    gain: Floats,
    digit_weight: Floats,
    window: Window,
    array_rows: int,
    converter: Converter,
    zero_point: int = 0,
    slicing: Slicing = WHOLE,
) -> Floats:
    """Computes the product that an analog array gives: float32, shape as `matrix_product`.

    It is in units of (input step x lowest digit). `data` are the integers that drive the rows;
    padding drives `zero_point`, which stands for 0 (what it adds to a column is constant, and part
    of the layer's bias). `digits` are [D,G,R,K]. For each tile of rows and each digit, in that
    order, the exact bitline sums of each slice of the inputs pass the converter, the codes are
    added with the slices' weights, and the sum is added times `digit_weight` [G,row tiles,D,K] (the
    digit's factor over `gain`).
    """
    count, groups, rows, columns = digits.shape
    dense = not window.kernel
    reach = (
        (numerics.magnitude(data) + abs(zero_point))
        * numerics.magnitude(digits)
        * min(rows, array_rows)
    )
    width = np.float32 if reach < numerics.EXACT_IN_FLOAT32 else np.float64
    spread: npt.NDArray[np.floating] = data.astype(width)
    if not dense:
        spread = numerics.patches(spread - width(zero_point), window) + width(zero_point)
        outputs = spread.shape[2:]
        spread = spread.reshape(data.shape[0], groups, rows, prod(outputs)).swapaxes(2, 3)
    else:
        spread = spread.reshape(-1, 1, 1, rows)
    result = np.zeros((*spread.shape[:3], columns), np.float32)
    for tile, part in enumerate(row_tiles(rows, array_rows)):
        driven = [(piece, piece.of(spread[..., part])) for piece in slicing.slices]
        for digit in range(count):
            weights = digits[digit, :, part].astype(width)
            scale = gain[:, tile, digit][:, None, :]
            codes = np.zeros(result.shape, np.float32)
            for piece, values in driven:
                unipolar = slicing.is_unipolar(piece, digit)
                step = converter.codes(np.matmul(values, weights), scale, unipolar=unipolar)
                codes += step * np.float32(piece.weight)
            result += codes * digit_weight[:, tile, digit][:, None, :]
    if dense:
        return np.asarray(result.reshape(*data.shape[:-1], columns))
    moved = result.swapaxes(2, 3).reshape(data.shape[0], groups * columns, *outputs)
    return np.asarray(moved)


def analog_output(
    node: Node,
    types: Mapping[str, TensorType],
    data: Integers,
    constants: Sequence[Array],
    random: np.random.Generator | None = None,
) -> Array:
    """Computes a product of many samples as reals, or as integers where the output has a format.

    `data` are the inputs [S, *shape], `constants` the node's other inputs as in compiler.ir.ops;
    the outputs are [S, *shape]. With `random` the converters have their noise. Raises ValueError
    where the input has no quantization.
    """
    out, given = types[node.outputs[0]], types[node.inputs[0]].quant
    if given is None:
        raise ValueError(f"{node.inputs[0]} must be quantized")
    image, gain, digit_weight, multiplier, bias = constants[:5]
    window = Window.of(node)
    codes = analog_product(
        data.reshape(-1, *data.shape[2:]) if window.kernel else data,
        _digits(node, image, gain),
        np.asarray(gain, np.float32),
        np.asarray(digit_weight, np.float32),
        window,
        node.integer("array_rows", 0),
        Converter(node.integer("converter_bits", 0), node.number("noise_lsb", 0.0), random),
        given.zero_point[0],
        Slicing.of(node, given),
    )
    shape = numerics.column_shape(multiplier, codes.ndim, not window.kernel)
    real = codes * np.asarray(multiplier, np.float32).reshape(shape)
    real += np.asarray(bias, np.float32).reshape(shape)
    result: Array
    if out.quant is None:
        result = numerics.bounded(real, node)
    else:
        scaled = np.rint(real / np.float32(out.quant.scale[0]))
        bounds = numerics.output_bounds(out.quant, node)
        result = numerics.to_format(scaled, out.quant, bounds)
    return result.reshape(len(data), *out.sizes)


def _digits(node: Node, image: Array, gain: Array) -> npt.NDArray[np.int8]:
    """Reads weight digits [D,G,R,K], from the image of the array tiles where that is stored."""
    if image.ndim == 4:
        return image.astype(np.int8)
    groups, _, count, columns = gain.shape
    return digits_of_tiles(image, node.integer("rows", 0), groups, count, columns)
