"""Computes the moments that calibration inputs show of a layer.

They are first and second moments of its rows, and of an error at its columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from compiler.ir.graph import Array
from passes.pruning.matrix import Matrix, Reals


@dataclass(frozen=True)
class Moments:
    """Sums over `count` places.

    They are rows [G, R], error [G, K], rows by rows [G, R, R], error by rows [G, K, R] and error
    squared [G].

    Without `whole` products `rows_rows` holds the diagonal only, [G, R], and `error_rows` is empty.
    """

    count: int
    rows: Reals
    error: Reals
    rows_rows: Reals
    error_rows: Reals
    error_error: Reals

    def about_mean(self) -> Moments:
        """Takes the means off the moments."""
        square = self.rows_rows - self.rows[:, :, None] * self.rows[:, None, :] / self.count
        cross = self.error_rows - self.error[:, :, None] * self.rows[:, None, :] / self.count
        power = self.error_error - np.square(self.error).sum(axis=1) / self.count
        zero = np.zeros_like
        return Moments(self.count, zero(self.rows), zero(self.error), square, cross, power)


def moments_of(matrix: Matrix, data: Array, error: Array | None, whole: bool) -> Moments:
    """Accumulates the moments over all samples.

    `data` is what the layer reads, `error` (None: not asked for) lies where its output does.
    """
    groups, rows = matrix.groups, matrix.rows
    columns = 0 if error is None else matrix.columns
    count = 0
    row_sums, error_sums = np.zeros((groups, rows)), np.zeros((groups, columns))
    squares = np.zeros((groups, rows, rows) if whole else (groups, rows))
    crosses = np.zeros((groups, columns, rows if whole else 0))
    powers = np.zeros(groups)
    for samples, chunk in matrix.rows_of(data):
        count += chunk.shape[0] * chunk.shape[3]
        row_sums += chunk.sum(axis=(0, 3))
        columns_of_part = (
            [None] * len(chunk) if error is None else matrix.columns_of(error[samples])
        )
        for row, column in zip(chunk, columns_of_part, strict=True):
            turned = row.transpose(0, 2, 1)
            squares += row @ turned if whole else np.square(row).sum(axis=2)
            if column is not None:
                error_sums += column.sum(axis=2)
                powers += np.square(column).sum(axis=(1, 2))
                if whole:
                    crosses += column @ turned
    return Moments(count, row_sums, error_sums, squares, crosses, powers)
