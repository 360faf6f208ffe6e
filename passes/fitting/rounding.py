"""Rounds a layer's weights to integers so that its outputs change least on the calibration data.

The sequential refit (passes.fitting.float_fit) gives the float weights that best map the inputs the
compressed network really has to the outputs the dense one had; the GPTQ sweep (Frantar et al.,
arXiv 2210.17323) rounds them row by row and lets later rows make up for the error. Sums run in
float64 and the data are cut to a fixed number of patches, so the result depends neither on threads
nor on chance.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from passes.fitting.float_fit import FloatFit
from passes.fitting.layer_data import Doubles

Int8s: TypeAlias = npt.NDArray[np.int8]

BLOCK_ROWS = 64  # of a sweep whose errors are handed on to the rows behind them together


def on_grid(weights: Doubles, reach: int) -> tuple[Int8s, Doubles] | None:
    """Finds integers [G,R,K] within +-reach and steps [G,K] that give the weights as they are.

    None where a column lies on no such grid. So do weights that the model itself stores in few
    bits, one scale a column, also after a batch norm was folded into them.
    """
    groups, rows, columns = weights.shape
    flat = weights.swapaxes(0, 1).reshape(rows, groups * columns)
    largest = np.abs(flat).max(axis=0)
    safe = np.where(largest > 0, largest, 1.0)
    few = flat[:: max(1, rows // 16)] / safe  # enough to rule most steps out
    counts = np.arange(1, reach + 1)
    if not _whole(few[:, :1] * counts).any():
        return None  # the first column lies on no grid
    step = np.full(flat.shape[1], np.inf)
    for count in counts:
        open_columns = np.flatnonzero(np.isinf(step))
        if not open_columns.size:
            break
        hits = open_columns[_whole(few[:, open_columns] * count)]
        hits = hits[_whole(flat[:, hits] / safe[hits] * count)]
        step[hits] = safe[hits] / count
    if np.isinf(step).any():
        return None
    integers = np.rint(flat / step).astype(np.int8)
    shaped = integers.reshape(rows, groups, columns).swapaxes(0, 1)
    return np.ascontiguousarray(shaped), step.reshape(groups, columns)


def _whole(numbers: Doubles) -> npt.NDArray[np.bool_]:
    """Which columns are all integers, but for the rounding of float32."""
    return np.asarray((np.abs(numbers - np.rint(numbers)) < 1e-4).all(axis=0))


def sweep(moments: FloatFit, scale: Doubles, reach: int) -> Int8s:
    """Rounds weights to integers [G,R,K] within +-reach by GPTQ, row after row.

    The error of each row is spread over the rows behind it. `scale` is [G,K]: the real value of one
    step in each column. Rows behind a block of BLOCK_ROWS take over its errors in one product.
    """
    step = scale[:, None, :]
    if moments.inputs.is_diagonal:
        return nearest(moments.weights, step, reach).astype(np.int8)
    rest = moments.weights.copy()
    upper = moments.inputs.upper
    result = np.zeros(rest.shape, np.int8)
    for start in range(0, rest.shape[1], BLOCK_ROWS):
        block = rest[:, start : start + BLOCK_ROWS]
        inner = upper[:, start : start + BLOCK_ROWS]
        errors = np.empty_like(block)
        for row in range(block.shape[1]):
            ahead = inner[:, row, start + row : start + block.shape[1], None]
            rounded = nearest(block[:, row : row + 1], step, reach)
            result[:, start + row] = rounded[:, 0]
            error = (block[:, row : row + 1] - rounded * step) / ahead[:, :1]
            block[:, row + 1 :] -= ahead[:, 1:] * error
            errors[:, row] = error[:, 0]
        behind = start + block.shape[1]
        rest[:, behind:] -= np.matmul(inner[:, :, behind:].swapaxes(1, 2), errors)
    return result


def nearest(weights: Doubles, step: Doubles, reach: int) -> Doubles:
    """Rounds weights to the nearest steps within +-reach; `step` broadcasts to them."""
    steps = weights / step
    np.rint(steps, out=steps)
    return np.clip(steps, -reach, reach, out=steps)


def coarse_integers(moments: FloatFit, reach: int) -> Int8s:
    """Integers [G,R,K] within +-reach for few levels, where the size of the step matters most.

    Several steps are swept, the best is kept for each column (by its error with its output scale
    fitted), and single weights are changed while that lowers the error.
    """
    given = on_grid(moments.original, reach)
    if given is not None:
        return given[0]
    start = best_scale(moments.weights, moments.inputs.power, reach)
    if moments.inputs.is_diagonal:
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


def _output_error(moments: FloatFit, integers: Int8s) -> tuple[Doubles, Doubles]:
    """Computes the squared output error [G,K] less a constant, and each column's best scale [G,K].

    The scale is (q H w) / (q H q).
    """
    steps = integers.astype(np.float64)
    mapped = np.matmul(moments.inputs.damped, steps)
    cross = (mapped * moments.weights).sum(axis=1)
    power = (mapped * steps).sum(axis=1)
    scale = np.where(power > 0, cross / np.where(power > 0, power, 1.0), 0.0)
    return -scale * cross, scale


def _descend(moments: FloatFit, integers: Int8s, reach: int) -> Int8s:
    """Brings each row of each column to its best integer, the others held: coordinate descent."""
    _, scale = _output_error(moments, integers)
    step = scale[:, None, :]
    usable = np.abs(step) > 1e-30
    safe = np.where(usable, step, 1.0)
    result = integers.astype(np.float64)
    gram = moments.inputs.damped
    residual = np.matmul(gram, moments.weights - result * step)
    for start in range(0, gram.shape[1], BLOCK_ROWS):
        block = slice(start, min(start + BLOCK_ROWS, gram.shape[1]))
        inner = gram[:, block, block]
        left = residual[:, block]
        before = result[:, block].copy()
        for row in range(inner.shape[1]):
            now = result[:, start + row : start + row + 1]
            wish = now + left[:, row : row + 1] / (safe * inner[:, row : row + 1, row : row + 1])
            change = np.clip(np.rint(wish), -reach, reach) - now
            change = np.where(usable, change, 0.0)
            if np.any(change):
                left -= inner[:, :, row : row + 1] * (step * change)
                now += change
        changed = (result[:, block] - before) * step
        behind = slice(block.stop, None)
        residual[:, behind] -= np.matmul(gram[:, behind, block], changed)
    return result.astype(np.int8)


MANY_STEPS = 127  # each way, on which MANY_ROWS weights lie at all places between two steps alike
MANY_ROWS = 1024


def best_scale(weights: Doubles, power: Doubles, reach: int) -> Doubles:
    """Finds the step [G,K] whose rounding error is least, weighted by the power [G,R,1]."""
    largest = np.maximum(np.abs(weights).max(axis=1), 1e-12)
    factors = np.linspace(1.0, 0.25 if reach == 1 else 0.5, 26)
    if reach >= MANY_STEPS and weights.shape[1] >= MANY_ROWS:
        errors = _even_errors(weights, power, largest, factors, reach)
    else:
        errors = _tried_errors(weights, power, largest, factors, reach)
    return np.asarray(factors[errors.argmin(axis=0)] * largest / reach)


def _tried_errors(
    weights: Doubles, power: Doubles, largest: Doubles, factors: Doubles, reach: int
) -> Doubles:
    """The error [factors,G,K] of steps that reach to a factor of the largest weight."""
    errors = np.empty((len(factors), *largest.shape))
    for index, factor in enumerate(factors):
        step = (factor * largest / reach)[:, None, :]
        lost = nearest(weights, step, reach)
        lost *= step
        lost -= weights
        lost *= lost
        errors[index] = np.matmul(power.swapaxes(1, 2), lost)[:, 0]
    return errors


def _even_errors(
    weights: Doubles, power: Doubles, largest: Doubles, factors: Doubles, reach: int
) -> Doubles:
    """Computes what `_tried_errors` does, in one pass.

    Rounding adds a twelfth of the step's square to each weight within reach, so only those beyond
    matter.
    """
    groups, _, columns = weights.shape
    size = np.abs(weights)
    group, row, column = np.nonzero(size > (factors[-1] * largest)[:, None, :])
    share = size[group, row, column] / largest[group, column]
    first = len(factors) - np.searchsorted(factors[::-1], share)  # the first factor that clips it
    counts = power[group, row, 0]
    place = (group * columns + column) * len(factors) + first

    def clipped(amounts: Doubles) -> Doubles:
        """The sums of amounts over the weights that each factor clips, [G,K,factors]."""
        sums = np.bincount(place, amounts, groups * columns * len(factors))
        return np.asarray(sums.reshape(groups, columns, -1).cumsum(axis=2))

    alone, once, twice = (clipped(counts * share**degree) for degree in range(3))
    inside = (power.sum(axis=1)[:, :, None] - alone) * (factors / reach) ** 2 / 12
    errors = inside + twice - 2 * factors * once + factors**2 * alone
    return np.asarray(np.moveaxis(errors * largest[..., None] ** 2, 2, 0))
