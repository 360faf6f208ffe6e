"""Chooses converter gains, output scale and bias, between an array's bitlines and an output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.engines.bit_slicing import Slice, Slicing
from compiler.engines.numerics import Floats
from compiler.engines.numerics_analog import code_range, row_tiles
from compiler.target.chip import Analog
from passes.fitting.layer_data import Doubles, spread
from passes.fitting.rounding import Int8s

GAIN_PATCHES = 640  # enough to choose a converter's range


@dataclass(frozen=True)
class Sums:
    """The exact bitline sums [G,M,K] of one tile of rows, digit and slice of the inputs."""

    tile: int
    digit: int
    piece: Slice
    unipolar: bool
    values: npt.NDArray[np.floating]


def bitline_sums(steps: Floats, cells: Int8s, array_rows: int, slicing: Slicing) -> Iterator[Sums]:
    """The sums of every tile, digit and slice, in the order in which an array makes them.

    `steps` are [G,M,R], `cells` [D,G,R,K].
    """
    for tile, part in enumerate(row_tiles(cells.shape[2], array_rows)):
        driven = [(piece, piece.of(steps[:, :, part])) for piece in slicing.slices]
        for digit in range(cells.shape[0]):
            weights = cells[digit, :, part].astype(np.float32)
            for piece, values in driven:
                unipolar = slicing.is_unipolar(piece, digit)
                yield Sums(
                    tile=tile,
                    digit=digit,
                    piece=piece,
                    unipolar=unipolar,
                    values=np.matmul(values, weights),
                )


def choose_gain(
    steps: Floats,
    cells: Int8s,
    factors: Doubles,
    slicing: Slicing,
    targets: Floats,
    bounds: tuple[float, float],
    engine: Analog,
) -> Doubles:
    """Chooses one gain for each array tile, [G,row tiles,D,K].

    The columns and digits on a tile share it, in all steps. Each tile's gain has the least squared
    error of the layer's output after its clipping, the other tiles taken as exact: what a ReLU cuts
    off need not be converted well. `steps` are the inputs' integers [G,M,R], `cells` the weights'
    digits [D,G,R,K].
    """
    digits, columns = len(factors), targets.shape[2]
    groups = targets.shape[0]
    thin = spread(targets.shape[1], GAIN_PATCHES)
    parts = list(bitline_sums(steps[:, thin], cells, engine.rows.value, slicing))
    row_count = 1 + max(sums.tile for sums in parts)
    total = np.zeros(targets[:, thin].shape, np.float32)
    for sums in parts:
        total += sums.values * np.float32(factors[sums.digit] * sums.piece.weight)
    slope, offset = _least_squares(total.astype(np.float64), targets[:, thin].astype(np.float64))
    scale = _Output(slope.astype(np.float32), offset.astype(np.float32), bounds)
    tiles = _ColumnTiles.of(digits, columns, engine.columns.value)
    gain = np.ones((groups, row_count, digits, columns))
    for row_tile in range(row_count):
        of_tile = [sums for sums in parts if sums.tile == row_tile]
        bits = engine.converter_bits.value
        gain[:, row_tile] = _best_gains(of_tile, factors, total, scale, tiles, bits)
    return gain


def covering_gain(steps: Floats, cells: Int8s, slicing: Slicing, engine: Analog) -> Doubles:
    """Finds the gain of each array tile that clips no sum of the given inputs: [G,row tiles,D,K].

    `steps` and `cells` are as in `choose_gain`.
    """
    digits, _, rows, columns = cells.shape
    bits, tiles = (
        engine.converter_bits.value,
        _ColumnTiles.of(digits, columns, engine.columns.value),
    )
    parts = list(bitline_sums(steps, cells, engine.rows.value, slicing))
    gains = []
    for row_tile in range(len(row_tiles(rows, engine.rows.value))):
        top = _largest_sums([sums for sums in parts if sums.tile == row_tile], tiles, bits)
        gains.append(np.minimum(code_range(bits, False)[1] / top, 1.0)[:, tiles.index])
    return np.stack(gains, axis=1)


@dataclass(frozen=True)
class _ColumnTiles:
    """Which column tile each digit of each column lies on: `index` [D,K].

    `speaks` [D,K] are the digits that count for their column on a tile, the first there.
    """

    index: npt.NDArray[np.int64]
    speaks: npt.NDArray[np.bool_]

    @staticmethod
    def of(digits: int, columns: int, array_columns: int) -> _ColumnTiles:
        """Lays digits along the columns, lowest first, as passes.pad_to_tiles does."""
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
    """How a recombined sum becomes the layer's output.

    Slope and offset per column [G,K], then clipping.
    """

    slope: Floats
    offset: Floats
    bounds: tuple[float, float]

    def of(self, total: Floats, columns: slice | npt.NDArray[np.int64] = slice(None)) -> Floats:
        """The outputs of some columns' sums [G,M,columns]."""
        real = total * self.slope[:, None, columns] + self.offset[:, None, columns]
        return np.asarray(np.clip(real, *self.bounds), np.float32)


def _best_gains(
    parts: Sequence[Sums],
    factors: Doubles,
    total: Floats,
    output: _Output,
    tiles: _ColumnTiles,
    bits: int,
) -> Doubles:
    """Finds the gains [G,D,K] of one row of tiles.

    Tried are, for each tile, from covering every sum down to clipping most of them. `parts` are the
    sums of the row's digits and slices. All tiles are tried at once, the error of each with the
    others taken as exact.
    """
    groups, digits = total.shape[0], len(factors)
    highest, top = code_range(bits, False)[1], _largest_sums(parts, tiles, bits)
    wanted = output.of(total)
    best = np.minimum(highest / top, 1.0)
    if np.all(best == 1.0):  # every sum has a code of its own, whatever is tried
        return np.asarray(best[:, tiles.index])
    least = np.full(top.shape, np.inf)
    change = np.empty((digits, *total.shape), np.float32)
    for factor in np.geomspace(1.0, 0.1, 16):
        tried = np.minimum(highest / (top * factor), 1.0)
        gain = tried[:, tiles.index].astype(np.float32)  # [G,D,K]
        change[:] = 0
        for sums in parts:
            worth = np.float32(factors[sums.digit] * sums.piece.weight)
            change[sums.digit] += (
                _conversion_error(sums, gain[:, sums.digit][:, None, :], bits) * worth
            )
        error = np.zeros(top.shape)
        for digit in range(digits):
            inside = _positions(tiles.speaks[digit])
            tile = tiles.index[digit, inside]
            if not tile.size:
                continue
            sum_of_tile = total[..., inside].copy()
            for other in range(digits):
                together = tiles.index[other, inside] == tile
                if together.any():
                    sum_of_tile += change[other][..., inside] * together
            lost = output.of(sum_of_tile, inside)
            lost -= wanted[..., inside]
            lost *= lost
            squares = lost.sum(axis=1, dtype=np.float64)
            for group in range(groups):
                np.add.at(error[group], tile, squares[group])
        better = error < least
        best, least = np.where(better, tried, best), np.where(better, error, least)
    return np.asarray(best[:, tiles.index])


def _largest_sums(parts: Sequence[Sums], tiles: _ColumnTiles, bits: int) -> Doubles:
    """The largest sum on each column tile [G,column tiles], at least 1.

    A sum without a sign counts as what it would be if unsigned codes reached no farther than signed
    ones.
    """
    groups = parts[0].values.shape[0]
    top = np.ones((groups, tiles.count))
    highest = code_range(bits, False)[1]
    for sums in parts:
        share = highest / code_range(bits, sums.unipolar)[1]
        reach = np.abs(sums.values).max(axis=1) * share  # [G,K]
        for group in range(groups):
            np.maximum.at(top[group], tiles.index[sums.digit], reach[group])
    return top


def _conversion_error(sums: Sums, gain: Floats, bits: int) -> Floats:
    """What converters of a gain, which broadcasts to the sums, make of them less what they are."""
    codes = np.asarray(sums.values * gain, np.float32)
    np.rint(codes, out=codes)
    np.clip(codes, *code_range(bits, sums.unipolar), out=codes)
    codes /= gain
    codes -= sums.values
    return codes


def _positions(chosen: npt.NDArray[np.bool_]) -> slice | npt.NDArray[np.int64]:
    """An index of the chosen: all of them without a copy."""
    return slice(None) if chosen.all() else np.flatnonzero(chosen)


def clipped_least_squares(
    total: Doubles, targets: Doubles, bounds: tuple[float, float]
) -> tuple[Doubles, Doubles]:
    """Fits slope and offset of a clipped output; patches that both sides clip do not count."""
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
