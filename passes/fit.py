"""Fits the weights of one matrix product to an engine's number format on calibration data.

The sequential refit gives the float weights that best map the inputs the compressed network really has to the outputs the dense one
had; the GPTQ sweep (Frantar et al., arXiv 2210.17323) rounds them row by row and lets later rows make up for the error; a
converter's range is chosen per array tile from the data; last, a scale and bias per column are fitted to what comes out. Sums
run in float64 and the data are cut to a fixed number of patches, so the result depends neither on threads nor on chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler import numerics
from compiler.ir import Graph, Node, Quant
from compiler.numerics import Floats, Window
from compiler.target import Analog

Doubles: TypeAlias = npt.NDArray[np.float64]
Int8s: TypeAlias = npt.NDArray[np.int8]

DAMPING = 0.01  # of the mean diagonal of the Gram matrix (facts/numerics.md 5.1)
MOST_PATCHES = 16384
MOST_ELEMENTS = 40_000_000  # patches * rows * groups kept for one layer


@dataclass(frozen=True)
class LayerData:
    """What a product sees and should give: patches [G,M,R] of real inputs, target outputs [G,M,K] before any clipping."""

    patches: Floats
    targets: Floats


def real_weights(node: Node, graph: Graph) -> tuple[Doubles, Doubles]:
    """A Product's weights [G,R,K] and bias [G*K] as real numbers (zeros where it has none)."""
    stored = np.asarray(graph.constants[node.inputs[1]], np.float64)
    groups, _, columns = stored.shape
    bias = np.zeros(groups * columns)
    if len(node.inputs) > 2:
        bias = np.asarray(graph.constants[node.inputs[2]], np.float64).reshape(-1)
    quant = graph.types[node.inputs[1]].quant
    data = graph.types[node.inputs[0]].quant
    if quant is None or data is None:
        return stored, bias
    scale = np.broadcast_to(np.asarray(quant.scale), (groups * columns,))
    return stored * scale.reshape(groups, 1, columns), bias * scale * data.scale[0]


def layer_patches(values: npt.NDArray[np.floating], node: Node, groups: int) -> Floats:
    """The patches [G,M,R] of samples [S,*shape], thinned to what is kept for fitting."""
    window = Window.of(node)
    merged = values.reshape(-1, *values.shape[2:]) if values.ndim > 1 else values
    if not window.kernel:
        flat = merged.reshape(1, -1, merged.shape[-1])
        return flat[:, _thinned(flat.shape[1], flat.shape[2])].astype(np.float32)
    rows = merged.shape[1] * prod(window.kernel) // groups
    sizes = _output_sizes(merged.shape[2:], window)
    positions = prod(sizes)
    keep = _thinned(len(merged) * positions, rows * groups)
    parts = []
    for sample in range(len(merged)):
        inside = keep[(keep >= sample * positions) & (keep < (sample + 1) * positions)]
        if inside.size:
            spread = numerics.patches(merged[sample : sample + 1], window)
            flat = spread.reshape(groups, rows, positions)
            parts.append(flat[:, :, inside - sample * positions].transpose(0, 2, 1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _output_sizes(sizes: tuple[int, ...], window: Window) -> list[int]:
    rank = len(window.kernel)
    return [
        (sizes[a] + window.pads[a] + window.pads[a + rank] - window.dilations[a] * (window.kernel[a] - 1) - 1)
        // window.strides[a]
        + 1
        for a in range(rank)
    ]  # fmt: skip


def _thinned(count: int, width: int) -> npt.NDArray[np.int64]:
    """Evenly spread indices: at most MOST_PATCHES, fewer for wide layers (1024 at least)."""
    most = max(1024, min(MOST_PATCHES, MOST_ELEMENTS // max(1, width)))
    if count <= most:
        return np.arange(count)
    return (np.arange(most) * (count / most)).astype(np.int64)


def outputs_of(patches: Floats, weights: Doubles, bias: Doubles) -> Floats:
    """Targets [G,M,K]: patches times weights plus bias."""
    groups, _, columns = weights.shape
    product = np.matmul(patches, weights.astype(np.float32))
    return np.asarray(product + bias.reshape(groups, 1, columns).astype(np.float32), np.float32)


@dataclass(frozen=True)
class Moments:
    """Centered second moments of a layer: Gram matrices [G,R,R] (damped), the means, and the refitted weights [G,R,K]."""

    gram: Doubles
    weights: Doubles
    mean_in: Doubles
    mean_out: Doubles

    @staticmethod
    def of(data: LayerData, original: Doubles) -> Moments:
        """The moments of a layer; its weights stay as they are where the data do not determine them."""
        patches = data.patches.astype(np.float64)
        mean_in, mean_out = patches.mean(axis=1), data.targets.mean(axis=1, dtype=np.float64)
        centered = patches - mean_in[:, None, :]
        gram = np.matmul(centered.swapaxes(1, 2), centered) / patches.shape[1]
        diagonal = np.einsum("grr->gr", gram)
        damping = DAMPING * diagonal.mean(axis=1) + 1e-12
        gram = gram + damping[:, None, None] * np.eye(gram.shape[1])
        wanted = data.targets.astype(np.float64) - mean_out[:, None, :]
        cross = np.matmul(centered.swapaxes(1, 2), wanted) / patches.shape[1]
        # Damping pulls towards the original weights, not towards zero.
        cross = cross + damping[:, None, None] * original
        return Moments(gram, np.linalg.solve(gram, cross), mean_in, mean_out)


def sweep(weights: Doubles, gram: Doubles, scale: Doubles, reach: int) -> Int8s:
    """GPTQ: integers [G,R,K] within +-reach, row after row, the error of each spread over the rows that follow.

    `scale` is [G,K]: the real value of one step in each column.
    """
    groups, rows, _ = weights.shape
    result = np.zeros(weights.shape, np.int8)
    for group in range(groups):
        inverse = np.linalg.inv(gram[group])
        upper = np.linalg.cholesky((inverse + inverse.T) / 2).T
        rest = weights[group].copy()
        for row in range(rows):
            rounded = np.clip(np.rint(rest[row] / scale[group]), -reach, reach)
            result[group, row] = rounded
            error = (rest[row] - rounded * scale[group]) / upper[row, row]
            rest[row + 1 :] -= upper[row, row + 1 :, None] * error[None, :]
    return result


def coarse_integers(moments: Moments, reach: int) -> Int8s:
    """Integers [G,R,K] within +-reach for few levels, where the size of the step matters most.

    Several steps are swept, the best is kept for each column (judged with its output scale fitted), and single weights are changed
    while that lowers the error.
    """
    start = best_scale(moments.weights, moments.gram, reach)
    best = np.zeros(moments.weights.shape, np.int8)
    least = np.full(start.shape, np.inf)
    for factor in (1.0, 0.8, 1.25):
        integers = sweep(moments.weights, moments.gram, start * factor, reach)
        error, _ = _output_error(moments, integers)
        better = error < least
        best = np.where(better[:, None, :], integers, best).astype(np.int8)
        least = np.where(better, error, least)
    for _ in range(2):
        best = _descend(moments, best, reach)
    return best


def _output_error(moments: Moments, integers: Int8s) -> tuple[Doubles, Doubles]:
    """The squared output error [G,K] less a constant, with the best scale [G,K] per column: (q H w) / (q H q)."""
    steps = integers.astype(np.float64)
    mapped = np.matmul(moments.gram, steps)
    cross = (mapped * moments.weights).sum(axis=1)
    power = (mapped * steps).sum(axis=1)
    scale = np.where(power > 0, cross / np.where(power > 0, power, 1.0), 0.0)
    return -scale * cross, scale


def _descend(moments: Moments, integers: Int8s, reach: int) -> Int8s:
    """One round of coordinate descent: each row of each column to its best integer, the others held."""
    _, scale = _output_error(moments, integers)
    result = integers.astype(np.float64)
    for group in range(result.shape[0]):
        gram, step = moments.gram[group], scale[group]
        usable = np.abs(step) > 1e-30
        safe = np.where(usable, step, 1.0)
        residual = gram @ (moments.weights[group] - result[group] * step)
        for row in range(gram.shape[0]):
            wish = result[group, row] + residual[row] / (safe * gram[row, row])
            change = np.clip(np.rint(wish), -reach, reach) - result[group, row]
            change = np.where(usable, change, 0.0)
            if np.any(change):
                residual -= gram[:, row, None] * (step * change)[None, :]
                result[group, row] += change
    return result.astype(np.int8)


def best_scale(weights: Doubles, gram: Doubles, reach: int) -> Doubles:
    """The step [G,K] whose rounding error, weighted by the inputs' power, is least (clip search)."""
    largest = np.maximum(np.abs(weights).max(axis=1), 1e-12)
    power = np.einsum("grr->gr", gram)[:, :, None]
    least = np.full(largest.shape, np.inf)
    best = largest / reach
    for factor in np.linspace(1.0, 0.25 if reach == 1 else 0.5, 26):
        scale = factor * largest / reach
        rounded = np.clip(np.rint(weights / scale[:, None, :]), -reach, reach)
        error = (power * (weights - rounded * scale[:, None, :]) ** 2).sum(axis=1)
        better = error < least
        best = np.where(better, scale, best)
        least = np.where(better, error, least)
    return np.asarray(best)


@dataclass(frozen=True)
class IntegerWeights:
    """A product in int8: weights [G,R,K], their scale per column [G*K], the bias in accumulator units, int32."""

    weights: Int8s
    scale: Floats
    bias: npt.NDArray[np.int32]


def fit_integer(data: LayerData, node: Node, graph: Graph, inputs: Quant) -> IntegerWeights:
    """Int8 weights with one scale a column."""
    original, _ = real_weights(node, graph)
    moments = Moments.of(data, original)
    scale = best_scale(moments.weights, moments.gram, 127).astype(np.float32).astype(np.float64)
    # A column that is (nearly) zero still needs a scale its bias can be told in.
    floor = np.abs(moments.mean_out).max(axis=1, keepdims=True) / (inputs.scale[0] * (1 << 30))
    scale = np.maximum(np.maximum(scale, floor), 1e-20).astype(np.float32).astype(np.float64)
    integers = sweep(moments.weights, moments.gram, scale, 127)
    real = integers * scale[:, None, :]
    fitted = moments.mean_out - np.einsum("gr,grk->gk", moments.mean_in, real)
    unit = np.float32(inputs.scale[0]) * scale.astype(np.float32).reshape(-1)
    limit = float((1 << 31) - 1)
    steps = np.clip(np.rint(fitted.reshape(-1) / unit.astype(np.float64)), -limit, limit)
    return IntegerWeights(
        integers, scale.astype(np.float32).reshape(-1), steps.astype(np.int64).astype(np.int32)
    )


@dataclass(frozen=True)
class AnalogWeights:
    """A product on an analog array (shapes as in compiler.ops): digits, converter gain, digit weights, multiplier, bias."""

    digits: Int8s
    gain: Floats
    digit_weight: Floats
    multiplier: Floats
    bias: Floats


def analog_input(values: npt.NDArray[np.floating], bits: int) -> Quant:
    """The symmetric input format of an analog array with the least squared error on the data (clip search)."""
    flat = np.abs(values.reshape(-1))
    if flat.size > 200_000:
        flat = flat[:: flat.size // 200_000 + 1]
    top = float(flat.max(initial=0.0))
    best, least = numerics.symmetric(bits, top), np.inf
    for factor in np.linspace(1.0, 0.4, 25):
        quant = numerics.symmetric(bits, top * factor)
        back = numerics.dequantize(numerics.quantize(flat, quant), quant)
        error = float(((back - flat) ** 2).sum(dtype=np.float64))
        if error < least:
            best, least = quant, error
    return best


def fit_analog(
    data: LayerData, node: Node, graph: Graph, inputs: Quant, digits: int, engine: Analog
) -> AnalogWeights:
    """Digits of cell levels, the converter's gain per array tile, and the scale and bias that fit what comes out.

    `data.patches` are real inputs; they are rounded to `inputs` here.
    """
    original, _ = real_weights(node, graph)
    scale_in = np.float32(inputs.scale[0])
    steps = numerics.quantize(data.patches, inputs).astype(np.float32)
    seen = LayerData(np.asarray(steps * scale_in, np.float32), data.targets)
    moments = Moments.of(seen, original)
    levels = engine.cell_levels.value
    reach = numerics.weight_reach(levels, digits)
    if reach > 127:
        reach = 127
    integers = coarse_integers(moments, reach)
    cells = (
        numerics.binary_digits(integers, digits)
        if levels == 2
        else numerics.balanced_digits(integers, levels, digits)
    )
    sums = _bitline_sums(steps, cells, engine.rows.value)
    factors = np.asarray(numerics.digit_factors(levels, digits), np.float64)
    chosen = _choose_gain(sums, factors, engine, cells.shape[3])
    digit_weight = (factors[None, None, :, None] / chosen).astype(np.float32)
    gain = chosen.astype(np.float32)
    converter = numerics.Converter(engine.converter_bits.value)
    total = np.zeros(data.targets.shape, np.float64)
    for (tile, digit), values in sums.items():
        codes = converter.codes(values, gain[:, tile, digit][:, None, :])
        total += codes * digit_weight[:, tile, digit][:, None, :].astype(np.float64)
    multiplier, bias = _least_squares(total, data.targets.astype(np.float64))
    return AnalogWeights(cells, gain, digit_weight, _flat(multiplier), _flat(bias))


def _flat(values: Doubles) -> Floats:
    return values.reshape(-1).astype(np.float32)


def _bitline_sums(
    steps: Floats, cells: Int8s, array_rows: int
) -> dict[tuple[int, int], npt.NDArray[np.floating]]:
    """The exact sums [G,M,K] of each (row tile, digit)."""
    sums = {}
    for tile, part in enumerate(numerics.row_tiles(cells.shape[2], array_rows)):
        for digit in range(cells.shape[0]):
            weights = cells[digit, :, part].astype(np.float32)
            sums[tile, digit] = np.matmul(steps[:, :, part], weights)
    return sums


def _choose_gain(
    sums: dict[tuple[int, int], npt.NDArray[np.floating]],
    factors: Doubles,
    engine: Analog,
    columns: int,
) -> Doubles:
    """One gain for each array tile (the columns and digits that share it), with the least squared error of the recombined sum.

    Gives [G,row tiles,D,K].
    """
    digits = len(factors)
    row_count = 1 + max(tile for tile, _ in sums)
    groups = next(iter(sums.values())).shape[0]
    highest = (1 << (engine.converter_bits.value - 1)) - 1
    gain = np.ones((groups, row_count, digits, columns))
    physical = np.arange(digits * columns) // engine.columns.value  # the column tile of each
    for tile in range(row_count):
        stacked = np.stack([sums[tile, d] for d in range(digits)], axis=2).astype(np.float32)
        thin = stacked[:, :: max(1, stacked.shape[1] // 2048)]
        flat = thin.reshape(groups, thin.shape[1], digits * columns)
        weight = np.repeat(factors**2, columns).astype(np.float32)
        for column_tile in range(ceil(digits * columns / engine.columns.value)):
            inside = np.flatnonzero(physical == column_tile)
            best = _best_gain(flat[:, :, inside], weight[inside], highest)
            gain.reshape(groups, row_count, -1)[:, tile, inside] = best[:, None]
    return gain


def _best_gain(sums: Floats, weight: Floats, highest: int) -> Doubles:
    """The gain [G] of a tile: from covering every sum down to clipping most of them."""
    top = np.maximum(np.abs(sums).max(axis=(1, 2)), 1.0).astype(np.float64)
    best = np.minimum(highest / top, 1.0)
    least = np.full(top.shape, np.inf)
    for factor in np.geomspace(1.0, 0.05, 28):
        gain = np.minimum(highest / (top * factor), 1.0)
        shaped = gain.astype(np.float32)[:, None, None]
        codes = np.clip(np.rint(sums * shaped), -highest - 1, highest)
        error = (weight * (codes / shaped - sums) ** 2).sum(axis=(1, 2), dtype=np.float64)
        better = error < least
        best, least = np.where(better, gain, best), np.where(better, error, least)
    return np.asarray(best)


def _least_squares(total: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Per column [G,K] the multiplier and bias that map what came out to what should have."""
    mean_total, mean_target = total.mean(axis=1), targets.mean(axis=1)
    spread = total - mean_total[:, None, :]
    variance = (spread**2).sum(axis=1)
    covariance = (spread * (targets - mean_target[:, None, :])).sum(axis=1)
    known = variance > 1e-9 * total.shape[1]
    multiplier = np.where(known, covariance / np.where(known, variance, 1.0), 0.0)
    return multiplier, mean_target - multiplier * mean_total
