"""Fits the weights of one matrix product to an engine's number format on calibration data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.engines import bit_slicing, numerics, numerics_analog
from compiler.engines.bit_slicing import Slicing
from compiler.engines.numerics import Floats
from compiler.ir.graph import Graph, Node, Quant
from compiler.target.chip import Analog
from passes.fitting.converter_range import bitline_sums, choose_gain, clipped_least_squares
from passes.fitting.float_fit import FloatFit, input_moments
from passes.fitting.layer_data import Doubles, LayerData
from passes.fitting.matrix import product_matrix
from passes.fitting.rounding import Int8s, best_scale, coarse_integers, on_grid, sweep
from passes.fitting.weights import AnalogWeights, IntegerWeights

# Of a layer that are fitted at once: in float64, a few times over, the ones take 200 MB, the others
# stay in the caches.
FIT_WEIGHTS, FIT_WEIGHTS_ALONE = 1 << 22, 1 << 18


def column_blocks(weights: int, columns: int, *, alone: bool) -> Iterator[slice]:
    """The columns of a layer in blocks of so few that their weights, `weights` each, fit memory.

    `alone` says that no weight depends on others.
    """
    width = max(1, (FIT_WEIGHTS_ALONE if alone else FIT_WEIGHTS) // weights)
    return (slice(start, start + width) for start in range(0, columns, width))


def fit_integer(data: LayerData, node: Node, graph: Graph, inputs: Quant) -> IntegerWeights:
    """Fits int8 weights with one scale a column.

    The columns of a large layer are fitted one block after the other.
    """
    groups, rows, columns = graph.types[node.inputs[1]].sizes
    matrix, seen = product_matrix(node, graph), input_moments(data.patches)
    weights = np.empty((groups, rows, columns), np.int8)
    scale = np.empty((groups, columns), np.float32)
    bias = np.empty((groups, columns), np.int32)
    for block in column_blocks(groups * rows, columns, alone=seen.is_diagonal):
        original = matrix.weights(graph, block)
        moments = FloatFit.of(seen, data.patches, data.targets[..., block], original)
        weights[..., block], scale[:, block], bias[:, block] = _fit_columns(moments, inputs)
    return IntegerWeights(weights, scale.reshape(-1), bias.reshape(-1))


def _fit_columns(moments: FloatFit, inputs: Quant) -> tuple[Int8s, Doubles, npt.NDArray[np.int32]]:
    """Fits some columns' weights [G,R,K], scale and bias [G,K].

    The weights are the model's own integers where it has such.
    """
    given = on_grid(moments.original, 127)
    scale = (
        (best_scale(moments.weights, moments.inputs.power, 127) if given is None else given[1])
        .astype(np.float32)
        .astype(np.float64)
    )
    wide = usable_scale(scale, moments.mean_out, inputs)
    if given is not None and np.array_equal(wide, scale):
        integers = given[0]
    else:
        scale, integers = wide, sweep(moments, wide, 127)
    steps = np.matmul(moments.inputs.mean[:, None, :], integers.astype(np.float64))[:, 0]
    return integers, scale, integer_bias(moments.mean_out - steps * scale, scale, inputs)


def usable_scale(scale: Doubles, bias: Doubles, inputs: Quant) -> Doubles:
    """Widens scales [G,K] to float32 ones in which a bias [G,K] fits its 32 bits.

    A column that is (nearly) zero still needs a scale its bias can be told in.
    """
    floor = np.abs(bias).max(axis=1, keepdims=True) / (inputs.scale[0] * (1 << 30))
    wide = np.maximum(np.maximum(scale, floor), 1e-20).astype(np.float32)
    return np.asarray(wide, np.float64)


def integer_bias(bias: Doubles, scale: Doubles, inputs: Quant) -> npt.NDArray[np.int32]:
    """Rounds a bias [G,K] to steps of the accumulator."""
    unit = np.float64(np.float32(inputs.scale[0]) * scale.astype(np.float32))
    limit = float((1 << 31) - 1)
    return np.clip(np.rint(bias / unit), -limit, limit).astype(np.int64).astype(np.int32)


def analog_input(values: npt.NDArray[np.floating], bits: int) -> Quant:
    """Finds the symmetric input format of an array with the least squared error on the data."""
    flat = np.abs(values.reshape(-1))
    if flat.size > 50_000:
        flat = flat[:: flat.size // 50_000 + 1]
    top = float(flat.max(initial=0.0))
    best, least = numerics.symmetric(bits, top), np.inf
    for factor in np.linspace(1.0, 0.4, 25):
        quant = numerics.symmetric(bits, top * factor)
        back = numerics.dequantize(numerics.quantize(flat, quant), quant)
        error = float(((back - flat) ** 2).sum(dtype=np.float64))
        if error < least:
            best, least = quant, error
    return best


def shifted(quant: Quant, shift: float) -> Quant:
    """Moves a symmetric format up by `shift` (real).

    It has the same top and finer steps, and rows are driven around zero. Inputs behind a ReLU are
    never negative; driven as they are they waste half of the drivers' range, and every column sums
    up an offset that wastes the converter's.
    """
    top = quant.scale[0] * quant.highest
    step = float(np.float32(max(top - shift, top / 4) / quant.highest))
    point = int(np.clip(np.rint(-shift / step), quant.lowest, 0))
    return Quant(quant.bits, True, (step,), (point,))


FEWEST_PATCHES, MOST_PATCHES = 2048, 4096  # that a scale and a bias are fitted to
SHIFTS = (0.0, 1.0, 2.0)  # of the mean input: where the rows' zero may lie


@dataclass(frozen=True)
class AnalogLayer:
    """A layer seen through an array's drivers, the same for any number of digits.

    `formats` are those that its inputs may have, `moments` are of what the first leaves of them.
    """

    data: LayerData
    formats: tuple[Quant, ...]
    moments: FloatFit


def analog_layer(
    data: LayerData,
    values: npt.NDArray[np.floating],
    node: Node,
    graph: Graph,
    engine: Analog,
    inputs: Quant | None = None,
) -> AnalogLayer:
    """Looks at a layer through the drivers of an engine.

    `values` are the layer's whole inputs (real numbers), `data` the patches of them that are
    fitted, `inputs` the format that its inputs have (None: any that the drivers take).
    """
    original = product_matrix(node, graph).weights(graph)
    plain = inputs or analog_input(values, engine.input_bits.value)
    rounded = numerics.dequantize(numerics.quantize(data.patches, plain), plain)
    moments = FloatFit.of(input_moments(rounded), rounded, data.targets, original)
    mean = max(0.0, float(data.patches.mean()))
    shifts = SHIFTS if inputs is None else (0.0,)
    formats = dict.fromkeys(shifted(plain, mean * share) if share else plain for share in shifts)
    return AnalogLayer(data, tuple(formats), moments)


def fit_analog(layer: AnalogLayer, node: Node, digits: int, engine: Analog) -> AnalogWeights:
    """Fits a layer to an array with its cells in `digits` digits.

    Digits of cell levels, the input format, the converter's gain per array tile, and the scale and
    bias that fit what comes out.
    """
    levels = engine.cell_levels.value
    integers = coarse_integers(layer.moments, min(bit_slicing.weight_reach(levels, digits), 127))
    cells = bit_slicing.weight_digits(integers, levels, digits)
    tried = [_converted(layer.data, node, cells, inputs, engine) for inputs in layer.formats]
    return min(tried, key=lambda pair: pair[0])[1]


def input_slicing(engine: Analog, digits: int) -> Slicing:
    """Cuts a product as an engine does.

    Into the slices that drive its rows in turn, and digits of which some are never negative.
    """
    bits = engine.input_bits.value
    pieces = bit_slicing.input_slices(bits, True, engine.bits_per_step)
    return Slicing(pieces, bit_slicing.unsigned_digits(engine.cell_levels.value, digits))


def converted_patches(data: LayerData, slicing: Slicing) -> LayerData:
    """The patches that are converted: where inputs enter in slices, fewer, each with more to do."""
    return data.thinned(max(FEWEST_PATCHES, MOST_PATCHES // len(slicing.slices)))


def _converted(
    data: LayerData, node: Node, cells: Int8s, inputs: Quant, engine: Analog
) -> tuple[float, AnalogWeights]:
    """Fits gains, output scale and bias for one input format; gives the squared error left too."""
    digits = len(cells)
    slicing = input_slicing(engine, digits)
    factors = np.asarray(bit_slicing.digit_factors(engine.cell_levels.value, digits), np.float64)
    data = converted_patches(data, slicing)
    steps = numerics.quantize(data.patches, inputs).astype(np.float32)
    bounds = output_bounds(node)
    chosen = choose_gain(steps, cells, factors, slicing, data.targets, bounds, engine)
    digit_weight = (factors[None, None, :, None] / chosen).astype(np.float32)
    gain = chosen.astype(np.float32)
    total = recombined(steps, cells, gain, digit_weight, engine)
    targets = data.targets.astype(np.float64)
    multiplier, bias = clipped_least_squares(total, targets, bounds)
    found = np.clip(total * multiplier[:, None, :] + bias[:, None, :], *bounds)
    error = float(((found - np.clip(targets, *bounds)) ** 2).sum())
    fitted = AnalogWeights(
        inputs=inputs,
        digits=cells,
        gain=gain,
        digit_weight=digit_weight,
        multiplier=multiplier.reshape(-1).astype(np.float32),
        bias=bias.reshape(-1).astype(np.float32),
    )
    return error, fitted


def output_bounds(node: Node) -> tuple[float, float]:
    """The bounds that a product clips its output to."""
    return node.number("minimum", -np.inf), node.number("maximum", np.inf)


def recombined(
    steps: Floats, cells: Int8s, gain: Floats, digit_weight: Floats, engine: Analog
) -> Doubles:
    """The sums [G,M,K] that the converters of an array give, added up over tiles, digits, slices.

    `steps` are the inputs' integers [G,M,R], `cells` the weights' digits [D,G,R,K]; `gain` and
    `digit_weight` are [G,row tiles,D,K].
    """
    converter = numerics_analog.Converter(engine.converter_bits.value)
    total = np.zeros((*steps.shape[:2], cells.shape[3]), np.float64)
    for sums in bitline_sums(steps, cells, engine.rows.value, input_slicing(engine, len(cells))):
        scale = gain[:, sums.tile, sums.digit][:, None, :]
        codes = converter.codes(sums.values, scale, unipolar=sums.unipolar)
        worth = digit_weight[:, sums.tile, sums.digit][:, None, :].astype(np.float64)
        total += codes * worth * sums.piece.weight
    return total
