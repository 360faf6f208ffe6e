"""Computes the change of weights that takes most of an error, damped against few samples.

Ridge regression: dW = E X^T (X X^T + lambda I)^-1. With many places lambda is a small share of the
mean variance. A layer that is seen at few places (a classifier: one a sample) would be fitted to
their noise; there lambda is the one with the least generalized cross-validation error, |E - dW X|^2
/ (places - degrees of freedom)^2 (Golub, Heath, Wahba 1979).
"""

from __future__ import annotations

import numpy as np

from passes.pruning.matrix import Reals
from passes.pruning.moments import Moments

RIDGE = 0.01  # lambda, as a share of the mean variance of a layer's inputs
FEW = 64  # places for each row: with fewer, lambda is chosen
CHOICES = tuple(RIDGE * 10 ** (step / 2) for step in range(11))  # 0.01 to 1000


def regression(moments: Moments) -> Reals:
    """Computes the change of weights, [groups, columns, rows]."""
    square, cross = moments.rows_rows, moments.error_rows
    size = square.shape[1]
    variance = np.trace(square, axis1=1, axis2=2) / size
    variance = np.where(variance > 0, variance, 1.0)
    share = RIDGE if moments.count >= FEW * size else chosen_ridge(moments, variance)
    damped = square + share * variance[:, None, None] * np.eye(size)
    return np.asarray(np.linalg.solve(damped, cross.transpose(0, 2, 1)).transpose(0, 2, 1))


def chosen_ridge(moments: Moments, variance: Reals) -> float:
    """Finds the share of the variance with the least generalized cross-validation error.

    The error is that over all groups.
    """
    spectrum, basis = np.linalg.eigh(moments.rows_rows)
    spectrum = np.maximum(spectrum, 0)
    seen = np.square(moments.error_rows @ basis).sum(axis=1)
    best, least = CHOICES[-1], np.inf
    for share in CHOICES:
        damped = spectrum + share * variance[:, None]
        explained = (seen * (2 - spectrum / damped) / damped).sum(axis=1)
        freedom = 1 + (spectrum / damped).sum(axis=1)
        left = np.maximum(moments.count - freedom, 1e-3)
        score = float((np.maximum(moments.error_error - explained, 0) / left**2).sum())
        if score < least:
            best, least = share, score
    return best
