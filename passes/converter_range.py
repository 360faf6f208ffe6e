"""Chooses what stands between an analog array's bitlines and a layer's output: converter gains, output scale and bias."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.numerics import Floats
from compiler.target import Analog
from passes.layer_data import Doubles

GAIN_PATCHES = 640  # enough to choose a converter's range


def choose_gain(
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
    for factor in np.geomspace(1.0, 0.1, 16):
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


def clipped_least_squares(
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
