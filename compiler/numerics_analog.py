"""What a product on an analog array gives, in the format of its output: the arithmetic of an AnalogProduct as a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from compiler import numerics
from compiler.ir import Array, Node, TensorType
from compiler.numerics import Converter, Integers, Window
from compiler.slices import Cut, digits_of_tiles


def analog_output(
    node: Node,
    types: Mapping[str, TensorType],
    data: Integers,
    constants: Sequence[Array],
    random: np.random.Generator | None = None,
) -> Array:
    """The product of many samples brought to reals per column, and to the output's integers where it has a format.

    `data` are the inputs [S, *shape], `constants` the node's other inputs as in compiler.ops; the outputs are [S, *shape]. With `random`
    the converters have their noise. Raises ValueError where the input has no quantization.
    """
    out, given = types[node.outputs[0]], types[node.inputs[0]].quant
    if given is None:
        raise ValueError(f"{node.inputs[0]} must be quantized")
    image, gain, digit_weight, multiplier, bias = constants[:5]
    window = Window.of(node)
    codes = numerics.analog_product(
        data.reshape(-1, *data.shape[2:]) if window.kernel else data,
        _digits(node, image, gain),
        np.asarray(gain, np.float32),
        np.asarray(digit_weight, np.float32),
        window,
        node.integer("array_rows", 0),
        Converter(node.integer("converter_bits", 0), node.number("noise_lsb", 0.0), random),
        given.zero_point[0],
        Cut.of(node, given),
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
    """Weight digits [D,G,R,K], cut out of the image of the array tiles where that is what is stored."""
    if image.ndim == 4:
        return image.astype(np.int8)
    groups, _, count, columns = gain.shape
    return digits_of_tiles(image, node.integer("rows", 0), groups, count, columns)
