"""Rounds a layer's weights to integers so that its outputs change least on the calibration data.

The sequential refit gives the float weights that best map the inputs the compressed network really has to the outputs the dense one
had; the GPTQ sweep (Frantar et al., arXiv 2210.17323) rounds them row by row and lets later rows make up for the error. Sums
run in float64 and the data are cut to a fixed number of patches, so the result depends neither on threads nor on chance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from passes.layer_data import Doubles, LayerData

Int8s: TypeAlias = npt.NDArray[np.int8]

DAMPING = 0.1  # of the mean diagonal of the Gram matrix: more than the usual 1 % keeps the sweep from learning the samples by heart
RIDGE = 1.0  # the same for the refit (measured on held-out images of ResNet-8 and MobileNet: KL .047 to .033 and .031 to .028)
WIDEST = 3072  # rows beyond which a layer's Gram matrix is taken as diagonal: its inverse would cost more than it brings


@dataclass(frozen=True)
class Moments:
    """Centered second moments of a layer: Gram matrices [G,R,R] (damped), the means, the refitted weights [G,R,K] and those before.

    Of a layer with more than WIDEST rows only the diagonals [G,R,1] are known; its weights are rounded one by one.
    """

    gram: Doubles
    weights: Doubles
    mean_in: Doubles
    mean_out: Doubles
    original: Doubles

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
        mean_power = np.einsum("grr->gr", gram).mean(axis=1)[:, None, None] + 1e-12
        identity = np.eye(gram.shape[1])
        wanted = data.targets.astype(np.float64) - mean_out[:, None, :]
        cross = np.matmul(centered.swapaxes(1, 2), wanted) / patches.shape[1]
        # The ridge pulls towards the original weights, not towards zero.
        ridge = RIDGE * mean_power
        refitted = np.linalg.solve(gram + ridge * identity, cross + ridge * original)
        damped = gram + DAMPING * mean_power * identity
        return Moments(damped, refitted, mean_in, mean_out, original)

    @staticmethod
    def _diagonal(data: LayerData, original: Doubles) -> Moments:
        mean_in = data.patches.mean(axis=1, dtype=np.float64)
        power = data.patches.var(axis=1, dtype=np.float64)
        power = power + DAMPING * power.mean(axis=1, keepdims=True) + 1e-12
        mean_out = data.targets.mean(axis=1, dtype=np.float64)
        return Moments(power[:, :, None], original, mean_in, mean_out, original)

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


def on_grid(weights: Doubles, reach: int) -> tuple[Int8s, Doubles] | None:
    """Integers [G,R,K] within +-reach and steps [G,K] that give the weights as they are, or None where a column lies on no such grid.

    So do weights that the model itself stores in few bits, one scale a column, also after a batch norm was folded into them.
    """
    groups, rows, columns = weights.shape
    flat = weights.swapaxes(1, 2).reshape(groups * columns, rows)
    largest = np.abs(flat).max(axis=1)
    safe = np.where(largest > 0, largest, 1.0)
    few = flat[:, :: max(1, rows // 16)] / safe[:, None]  # enough to rule most steps out
    step = np.full(len(flat), np.inf)
    for count in range(1, reach + 1):
        open_columns = np.flatnonzero(np.isinf(step))
        hits = open_columns[_whole(few[open_columns] * count)]
        hits = hits[_whole(flat[hits] / safe[hits, None] * count)]
        step[hits] = safe[hits] / count
    if np.isinf(step).any():
        return None
    integers = np.rint(flat / step[:, None]).astype(np.int8)
    shaped = integers.reshape(groups, columns, rows).swapaxes(1, 2)
    return np.ascontiguousarray(shaped), step.reshape(groups, columns)


def _whole(numbers: Doubles) -> npt.NDArray[np.bool_]:
    """Which rows are all integers, but for the rounding of float32."""
    return np.asarray((np.abs(numbers - np.rint(numbers)) < 1e-4).all(axis=1))


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
    given = on_grid(moments.original, reach)
    if given is not None:
        return given[0]
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
