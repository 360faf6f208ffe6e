"""Fits the weights of one matrix product to an engine's number format on calibration data.

The sequential refit gives the float weights that best map the inputs the compressed network really has to the outputs the dense one
had; the GPTQ sweep (Frantar et al., arXiv 2210.17323) rounds them row by row and lets later rows make up for the error; a
converter's range is chosen per array tile from the data; last, a scale and bias per column are fitted to what comes out. Sums
run in float64 and the data are cut to a fixed number of patches, so the result depends neither on threads nor on chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
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
WIDEST = 3072  # rows beyond which a layer's Gram matrix is taken as diagonal: its inverse would cost more than it brings
GAIN_PATCHES = 1024  # enough to choose a converter's range
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
    """Centered second moments of a layer: Gram matrices [G,R,R] (damped), the means, and the refitted weights [G,R,K].

    Of a layer with more than WIDEST rows only the diagonals [G,R,1] are known; its weights are rounded one by one.
    """

    gram: Doubles
    weights: Doubles
    mean_in: Doubles
    mean_out: Doubles

    @cached_property
    def upper(self) -> Doubles:
        """The upper Cholesky factors [G,R,R] of the inverse Gram matrices, which the GPTQ sweep walks along."""
        inverse = np.linalg.inv(self.gram)
        symmetric = (inverse + inverse.swapaxes(1, 2)) / 2
        return np.asarray(np.linalg.cholesky(symmetric).swapaxes(1, 2))

    @staticmethod
    def of(data: LayerData, original: Doubles) -> Moments:
        """The moments of a layer; its weights stay as they are where the data do not determine them."""
        if original.shape[1] > WIDEST:
            return Moments._diagonal(data, original)
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

    @staticmethod
    def _diagonal(data: LayerData, original: Doubles) -> Moments:
        mean_in = data.patches.mean(axis=1, dtype=np.float64)
        power = data.patches.var(axis=1, dtype=np.float64)
        power = power + DAMPING * power.mean(axis=1, keepdims=True) + 1e-12
        mean_out = data.targets.mean(axis=1, dtype=np.float64)
        return Moments(power[:, :, None], original, mean_in, mean_out)

    @property
    def power(self) -> Doubles:
        """The variance of each input row, [G,R,1]."""
        if self.is_diagonal:
            return self.gram
        return np.asarray(np.einsum("grr->gr", self.gram)[:, :, None])

    @property
    def is_diagonal(self) -> bool:
        """Whether only the diagonal is known."""
        return bool(self.gram.shape[2] != self.gram.shape[1])


def sweep(moments: Moments, scale: Doubles, reach: int) -> Int8s:
    """GPTQ: integers [G,R,K] within +-reach, row after row, the error of each spread over the rows that follow.

    `scale` is [G,K]: the real value of one step in each column.
    """
    groups, rows, _ = moments.weights.shape
    if moments.is_diagonal:
        rounded = np.rint(moments.weights / scale[:, None, :])
        return np.clip(rounded, -reach, reach).astype(np.int8)
    result = np.zeros(moments.weights.shape, np.int8)
    for group in range(groups):
        upper = moments.upper[group]
        rest = moments.weights[group].copy()
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
    start = best_scale(moments.weights, moments.power, reach)
    if moments.is_diagonal:
        return sweep(moments, start, reach)
    best = np.zeros(moments.weights.shape, np.int8)
    least = np.full(start.shape, np.inf)
    for factor in (1.0, 0.8, 1.25):
        integers = sweep(moments, start * factor, reach)
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


def best_scale(weights: Doubles, power: Doubles, reach: int) -> Doubles:
    """The step [G,K] whose rounding error, weighted by the inputs' power, is least (clip search)."""
    largest = np.maximum(np.abs(weights).max(axis=1), 1e-12)
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
    scale = best_scale(moments.weights, moments.power, 127).astype(np.float32).astype(np.float64)
    # A column that is (nearly) zero still needs a scale its bias can be told in.
    floor = np.abs(moments.mean_out).max(axis=1, keepdims=True) / (inputs.scale[0] * (1 << 30))
    scale = np.maximum(np.maximum(scale, floor), 1e-20).astype(np.float32).astype(np.float64)
    integers = sweep(moments, scale, 127)
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
    """A product on an analog array: the format of its inputs, and constants shaped as in compiler.ops."""

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

    Inputs behind a ReLU are never negative; driven as they are they waste half of the drivers' range, and every column sums up an
    offset that wastes the converter's.
    """
    top = quant.scale[0] * quant.highest
    step = float(np.float32(max(top - shift, top / 4) / quant.highest))
    point = int(np.clip(np.rint(-shift / step), quant.lowest, 0))
    return Quant(quant.bits, True, (step,), (point,))


SHIFTS = (0.0, 1.0, 2.0)  # of the mean input: where the rows' zero may lie


def fit_analog(
    data: LayerData,
    values: npt.NDArray[np.floating],
    node: Node,
    graph: Graph,
    digits: int,
    engine: Analog,
) -> AnalogWeights:
    """Digits of cell levels, the input format, the converter's gain per array tile, and the scale and bias that fit what comes out.

    `values` are the layer's whole inputs (real numbers), `data` the patches of them that are fitted.
    """
    original, _ = real_weights(node, graph)
    plain = analog_input(values, engine.input_bits.value)
    rounded = numerics.dequantize(numerics.quantize(data.patches, plain), plain)
    moments = Moments.of(LayerData(rounded, data.targets), original)
    levels = engine.cell_levels.value
    integers = coarse_integers(moments, min(numerics.weight_reach(levels, digits), 127))
    cells = (
        numerics.binary_digits(integers, digits)
        if levels == 2
        else numerics.balanced_digits(integers, levels, digits)
    )
    factors = np.asarray(numerics.digit_factors(levels, digits), np.float64)
    mean = max(0.0, float(data.patches.mean()))
    formats = dict.fromkeys(shifted(plain, mean * share) if share else plain for share in SHIFTS)
    tried = [_converted(data, node, cells, factors, inputs, engine) for inputs in formats]
    return min(tried, key=lambda pair: pair[0])[1]


def _converted(
    data: LayerData, node: Node, cells: Int8s, factors: Doubles, inputs: Quant, engine: Analog
) -> tuple[float, AnalogWeights]:
    """The converters' gains and the output's scale and bias for one input format, with the squared error that is left."""
    steps = numerics.quantize(data.patches, inputs).astype(np.float32)
    sums = _bitline_sums(steps, cells, engine.rows.value)
    bounds = (node.number("minimum", -np.inf), node.number("maximum", np.inf))
    chosen = _choose_gain(sums, factors, data.targets, bounds, engine)
    digit_weight = (factors[None, None, :, None] / chosen).astype(np.float32)
    gain = chosen.astype(np.float32)
    converter = numerics.Converter(engine.converter_bits.value)
    total = np.zeros(data.targets.shape, np.float64)
    for (tile, digit), values in sums.items():
        codes = converter.codes(values, gain[:, tile, digit][:, None, :])
        total += codes * digit_weight[:, tile, digit][:, None, :].astype(np.float64)
    targets = data.targets.astype(np.float64)
    multiplier, bias = _clipped_least_squares(total, targets, bounds)
    found = np.clip(total * multiplier[:, None, :] + bias[:, None, :], *bounds)
    error = float(((found - np.clip(targets, *bounds)) ** 2).sum())
    fitted = AnalogWeights(inputs, cells, gain, digit_weight, _flat(multiplier), _flat(bias))
    return error, fitted


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
    targets: Floats,
    bounds: tuple[float, float],
    engine: Analog,
) -> Doubles:
    """One gain for each array tile (the columns and digits that share it): [G,row tiles,D,K].

    Each tile's gain has the least squared error of the layer's output after its clipping, the other tiles taken as exact: what a ReLU
    cuts off need not be converted well.
    """
    digits, columns = len(factors), targets.shape[2]
    row_count = 1 + max(tile for tile, _ in sums)
    groups = targets.shape[0]
    thin = slice(None, None, max(1, targets.shape[1] // GAIN_PATCHES))
    parts = {key: np.asarray(values[:, thin], np.float32) for key, values in sums.items()}
    total = sum(
        (values * np.float32(factors[digit]) for (_, digit), values in parts.items()),
        np.zeros(targets[:, thin].shape, np.float32),
    )
    slope, offset = _least_squares(total.astype(np.float64), targets[:, thin].astype(np.float64))
    scale = _Output(slope.astype(np.float32), offset.astype(np.float32), bounds)
    highest = (1 << (engine.converter_bits.value - 1)) - 1
    tiles = _ColumnTiles.of(digits, columns, engine.columns.value)
    gain = np.ones((groups, row_count, digits, columns))
    for row_tile in range(row_count):
        sums_of_tile = np.stack([parts[row_tile, digit] for digit in range(digits)])
        gain[:, row_tile] = _best_gains(sums_of_tile, factors, total, scale, tiles, highest)
    return gain


@dataclass(frozen=True)
class _ColumnTiles:
    """Which column tile each digit of each column lies on [D,K], and which digits speak for their column on a tile (the first there)."""

    index: npt.NDArray[np.int64]
    speaks: npt.NDArray[np.bool_]

    @staticmethod
    def of(digits: int, columns: int, array_columns: int) -> _ColumnTiles:
        """Digits side by side along the columns, lowest first, as passes.pad_to_tiles lays them out."""
        index = (np.arange(digits * columns) // array_columns).reshape(digits, columns)
        speaks = np.ones((digits, columns), np.bool_)
        for digit in range(1, digits):
            speaks[digit] = np.all(index[:digit] != index[digit], axis=0)
        return _ColumnTiles(index, speaks)

    @property
    def count(self) -> int:
        """The number of column tiles."""
        return int(self.index.max()) + 1


@dataclass(frozen=True)
class _Output:
    """How a recombined sum becomes the layer's output: slope and offset per column [G,K], then clipping."""

    slope: Floats
    offset: Floats
    bounds: tuple[float, float]

    def of(self, total: Floats, columns: slice | npt.NDArray[np.int64] = slice(None)) -> Floats:
        """The outputs of some columns' sums [G,M,columns]."""
        real = total * self.slope[:, None, columns] + self.offset[:, None, columns]
        return np.asarray(np.clip(real, *self.bounds), np.float32)


def _best_gains(
    sums: Floats,
    factors: Doubles,
    total: Floats,
    output: _Output,
    tiles: _ColumnTiles,
    highest: int,
) -> Doubles:
    """The gains [G,D,K] of one row of tiles: for each tile, from covering every sum down to clipping most of them.

    `sums` are [D,G,M,K]. All tiles are tried at once; each is judged with the others taken as exact.
    """
    groups = sums.shape[1]
    reach = np.abs(sums).max(axis=2).swapaxes(0, 1)  # [G,D,K]
    top = np.ones((groups, tiles.count))
    for group in range(groups):
        np.maximum.at(top[group], tiles.index, reach[group])
    wanted = output.of(total)
    best = np.minimum(highest / top, 1.0)
    least = np.full(top.shape, np.inf)
    for factor in np.geomspace(1.0, 0.08, 24):
        tried = np.minimum(highest / (top * factor), 1.0)
        shaped = tried[:, tiles.index].astype(np.float32).swapaxes(0, 1)[:, :, None, :]
        codes = np.clip(np.rint(sums * shaped), -highest - 1, highest)
        change = (codes / shaped - sums) * factors.astype(np.float32)[:, None, None, None]
        error = np.zeros(top.shape)
        for digit in range(len(factors)):
            inside = np.flatnonzero(tiles.speaks[digit])
            if not inside.size:
                continue
            together = tiles.index[:, inside] == tiles.index[digit, inside]
            joint = (change[..., inside] * together[:, None, None, :]).sum(axis=0)
            found = output.of(total[..., inside] + joint, inside)
            squares = ((found - wanted[..., inside]) ** 2).sum(axis=1, dtype=np.float64)
            for group in range(groups):
                np.add.at(error[group], tiles.index[digit, inside], squares[group])
        better = error < least
        best, least = np.where(better, tried, best), np.where(better, error, least)
    return np.asarray(best[:, tiles.index])


def _clipped_least_squares(
    total: Doubles, targets: Doubles, bounds: tuple[float, float]
) -> tuple[Doubles, Doubles]:
    """`_least_squares` for an output that is clipped: patches that both sides clip alike have no say."""
    slope, offset = _least_squares(total, targets)
    if bounds == (-np.inf, np.inf):
        return slope, offset
    low, high = bounds
    wanted = np.clip(targets, low, high)
    for _ in range(3):
        found = total * slope[:, None, :] + offset[:, None, :]
        idle = ((found <= low) & (wanted <= low)) | ((found >= high) & (wanted >= high))
        weight = np.where(idle, 0.0, 1.0)
        share = weight.sum(axis=1)
        safe = np.maximum(share, 1.0)
        mean_total = (weight * total).sum(axis=1) / safe
        mean_target = (weight * wanted).sum(axis=1) / safe
        spread = (total - mean_total[:, None, :]) * weight
        variance = (spread**2).sum(axis=1)
        covariance = (spread * (wanted - mean_target[:, None, :])).sum(axis=1)
        known = (variance > 1e-9) & (share >= 32)
        slope = np.where(known, covariance / np.where(known, variance, 1.0), slope)
        offset = np.where(known, mean_target - slope * mean_total, offset)
    return slope, offset


def _least_squares(total: Doubles, targets: Doubles) -> tuple[Doubles, Doubles]:
    """Per column [G,K] the multiplier and bias that map what came out to what should have."""
    mean_total, mean_target = total.mean(axis=1), targets.mean(axis=1)
    spread = total - mean_total[:, None, :]
    variance = (spread**2).sum(axis=1)
    covariance = (spread * (targets - mean_target[:, None, :])).sum(axis=1)
    known = variance > 1e-9 * total.shape[1]
    multiplier = np.where(known, covariance / np.where(known, variance, 1.0), 0.0)
    return multiplier, mean_target - multiplier * mean_total
