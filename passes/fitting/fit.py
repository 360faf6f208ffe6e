"""Fits the weights of one matrix product to an engine's number format on calibration data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.engines import bit_slicing, numerics, numerics_analog
from compiler.engines.bit_slicing import Slicing
from compiler.engines.numerics import Floats
from compiler.ir.graph import Graph, Node, Quant
from compiler.target.chip import Analog
from passes.fitting.converter_range import bitline_sums, choose_gain, clipped_least_squares
from passes.fitting.layer_data import Doubles, LayerData, real_weights
from passes.fitting.moments import InputMoments, Moments
from passes.fitting.rounding import Int8s, best_scale, coarse_integers, on_grid, sweep


@dataclass(frozen=True)
class IntegerWeights:
    """A product in int8: weights [G,R,K], their scale per column [G*K], the bias in accumulator units, int32."""

    weights: Int8s
    scale: Floats
    bias: npt.NDArray[np.int32]


# Of a layer that are fitted at once: in float64, a few times over, the ones take 200 MB, the others
# stay in the caches.
FIT_WEIGHTS, FIT_WEIGHTS_ALONE = 1 << 22, 1 << 18


def fit_integer(data: LayerData, node: Node, graph: Graph, inputs: Quant) -> IntegerWeights:
    """Int8 weights with one scale a column.

    The columns of a large layer are fitted one block after the other.
    """
    groups, rows, columns = graph.types[node.inputs[1]].sizes
    seen = InputMoments.of(data.patches)
    most = FIT_WEIGHTS_ALONE if seen.is_diagonal else FIT_WEIGHTS
    width = max(1, most // (groups * rows))
    weights = np.empty((groups, rows, columns), np.int8)
    scale = np.empty((groups, columns), np.float32)
    bias = np.empty((groups, columns), np.int32)
    for start in range(0, columns, width):
        block = slice(start, start + width)
        original = real_weights(node, graph, block)
        moments = Moments.of(seen, data.targets[..., block], original)
        weights[..., block], scale[:, block], bias[:, block] = _fit_columns(moments, inputs)
    return IntegerWeights(weights, scale.reshape(-1), bias.reshape(-1))


def _fit_columns(moments: Moments, inputs: Quant) -> tuple[Int8s, Floats, npt.NDArray[np.int32]]:
    """Some columns' weights [G,R,K], scale and bias [G,K]: the model's own integers where it has such."""
    given = on_grid(moments.original, 127)
    scale = (
        (best_scale(moments.weights, moments.inputs.power, 127) if given is None else given[1])
        .astype(np.float32)
        .astype(np.float64)
    )
    # A column that is (nearly) zero still needs a scale its bias can be told in.
    floor = np.abs(moments.mean_out).max(axis=1, keepdims=True) / (inputs.scale[0] * (1 << 30))
    wide = np.maximum(np.maximum(scale, floor), 1e-20).astype(np.float32).astype(np.float64)
    if given is not None and np.array_equal(wide, scale):
        integers = given[0]
    else:
        scale, integers = wide, sweep(moments, wide, 127)
    steps = np.matmul(moments.inputs.mean[:, None, :], integers.astype(np.float64))[:, 0]
    fitted = moments.mean_out - steps * scale
    unit = np.float64(np.float32(inputs.scale[0]) * scale.astype(np.float32))
    limit = float((1 << 31) - 1)
    bias = np.clip(np.rint(fitted / unit), -limit, limit).astype(np.int64).astype(np.int32)
    return integers, scale.astype(np.float32), bias


@dataclass(frozen=True)
class AnalogWeights:
    """A product on an analog array: the format of its inputs, and constants shaped as in compiler.ir.ops."""

    inputs: Quant
    digits: Int8s
    gain: Floats
    digit_weight: Floats
    multiplier: Floats
    bias: Floats


def analog_input(values: npt.NDArray[np.floating], bits: int) -> Quant:
    """The symmetric input format of an analog array with the least squared error on the data (clip search)."""
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
    """A symmetric format moved up by `shift` (real): the same top, finer steps, and rows that are driven around zero.

    Inputs behind a ReLU are never negative; driven as they are they waste half of the drivers'
    range, and every column sums up an offset that wastes the converter's.
    """
    top = quant.scale[0] * quant.highest
    step = float(np.float32(max(top - shift, top / 4) / quant.highest))
    point = int(np.clip(np.rint(-shift / step), quant.lowest, 0))
    return Quant(quant.bits, True, (step,), (point,))


FEWEST_PATCHES, MOST_PATCHES = 2048, 4096  # that a scale and a bias are fitted to
SHIFTS = (0.0, 1.0, 2.0)  # of the mean input: where the rows' zero may lie


@dataclass(frozen=True)
class AnalogLayer:
    """A layer seen through an array's drivers: the symmetric format of its inputs, and the moments of what is left of them.

    The same for any number of digits.
    """

    data: LayerData
    inputs: Quant
    moments: Moments


def analog_layer(
    data: LayerData, values: npt.NDArray[np.floating], node: Node, graph: Graph, engine: Analog
) -> AnalogLayer:
    """`values` are the layer's whole inputs (real numbers), `data` the patches of them that are fitted."""
    original = real_weights(node, graph)
    plain = analog_input(values, engine.input_bits.value)
    rounded = numerics.dequantize(numerics.quantize(data.patches, plain), plain)
    moments = Moments.of(InputMoments.of(rounded), data.targets, original)
    return AnalogLayer(data, plain, moments)


def fit_analog(layer: AnalogLayer, node: Node, digits: int, engine: Analog) -> AnalogWeights:
    """Digits of cell levels, the input format, the converter's gain per array tile, and the scale and bias that fit what comes out."""
    levels, plain = engine.cell_levels.value, layer.inputs
    integers = coarse_integers(layer.moments, min(bit_slicing.weight_reach(levels, digits), 127))
    cells = bit_slicing.weight_digits(integers, levels, digits)
    mean = max(0.0, float(layer.data.patches.mean()))
    formats = dict.fromkeys(shifted(plain, mean * share) if share else plain for share in SHIFTS)
    tried = [_converted(layer.data, node, cells, inputs, engine) for inputs in formats]
    return min(tried, key=lambda pair: pair[0])[1]


def input_slicing(engine: Analog, digits: int) -> Slicing:
    """How an engine cuts a product: the slices that drive its rows in turn, and the digits that are never negative."""
    bits = engine.input_bits.value
    pieces = bit_slicing.input_slices(bits, True, engine.bits_per_step)
    return Slicing(pieces, bit_slicing.unsigned_digits(engine.cell_levels.value, digits))


def _converted(
    data: LayerData, node: Node, cells: Int8s, inputs: Quant, engine: Analog
) -> tuple[float, AnalogWeights]:
    """The converters' gains and the output's scale and bias for one input format, with the squared error that is left.

    Where inputs enter in slices, fewer patches are converted: the work of each is as many times as
    large.
    """
    digits = len(cells)
    cut = input_slicing(engine, digits)
    factors = np.asarray(bit_slicing.digit_factors(engine.cell_levels.value, digits), np.float64)
    data = data.thinned(max(FEWEST_PATCHES, MOST_PATCHES // len(cut.slices)))
    steps = numerics.quantize(data.patches, inputs).astype(np.float32)
    bounds = (node.number("minimum", -np.inf), node.number("maximum", np.inf))
    chosen = choose_gain(steps, cells, factors, cut, data.targets, bounds, engine)
    digit_weight = (factors[None, None, :, None] / chosen).astype(np.float32)
    gain = chosen.astype(np.float32)
    converter = numerics_analog.Converter(engine.converter_bits.value)
    total = np.zeros(data.targets.shape, np.float64)
    for sums in bitline_sums(steps, cells, engine.rows.value, cut):
        scale = gain[:, sums.tile, sums.digit][:, None, :]
        codes = converter.codes(sums.values, scale, unipolar=sums.unipolar)
        worth = digit_weight[:, sums.tile, sums.digit][:, None, :].astype(np.float64)
        total += codes * worth * sums.piece.weight
    targets = data.targets.astype(np.float64)
    multiplier, bias = clipped_least_squares(total, targets, bounds)
    found = np.clip(total * multiplier[:, None, :] + bias[:, None, :], *bounds)
    error = float(((found - np.clip(targets, *bounds)) ** 2).sum())
    fitted = AnalogWeights(inputs, cells, gain, digit_weight, _flat(multiplier), _flat(bias))
    return error, fitted


def _flat(values: Doubles) -> Floats:
    return values.reshape(-1).astype(np.float32)
