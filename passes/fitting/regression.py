"""Solves for the change of weights that takes most of an error, damped against few samples.

Ridge regression: dW = (X'X + lambda I)^-1 X'E, with lambda a share of the mean variance. With many
places pruning takes a small share. A layer that is seen at few places (a classifier: one a sample)
would be fitted to their noise; there lambda is the one with the least generalized cross-validation
error, |E - X dW|^2 / (places - degrees of freedom)^2 (Golub, Heath, Wahba 1979).
"""

from __future__ import annotations

import numpy as np

from passes.fitting.layer_data import Doubles
from passes.fitting.moments import Moments, damped

RIDGE = 0.01  # lambda, as a share of the mean variance of a layer's inputs
FEW = 64  # places for each row: with fewer, lambda is chosen
CHOICES = tuple(RIDGE * 10 ** (step / 2) for step in range(11))  # 0.01 to 1000


def damped_change(squares: Doubles, crosses: Doubles, share: float) -> Doubles:
    """Solves for the change of weights [G,R,K].

    `squares` [G,R,R] are of what the layer reads, `crosses` [G,R,K] of that with the errors.
    """
    return np.asarray(np.linalg.solve(damped(squares, share), crosses))


def regression(moments: Moments) -> Doubles:
    """Solves for the change of weights [G,R,K], with lambda as the number of places asks for."""
    squares, crosses = moments.inputs.squares, moments.errors.crosses
    many = moments.inputs.count >= FEW * squares.shape[1]
    return damped_change(squares, crosses, RIDGE if many else chosen_ridge(moments))


def chosen_ridge(moments: Moments) -> float:
    """Finds the share of the variance with the least cross-validation error over all groups."""
    inputs, errors = moments.inputs, moments.errors
    spectrum, basis = np.linalg.eigh(inputs.squares)
    spectrum = np.maximum(spectrum, 0)
    variance = spectrum.mean(axis=1, keepdims=True) + 1e-12
    seen = np.square(np.matmul(basis.swapaxes(1, 2), errors.crosses)).sum(axis=2)
    best, least = CHOICES[-1], np.inf
    for share in CHOICES:
        raised = spectrum + share * variance
        explained = (seen * (2 - spectrum / raised) / raised).sum(axis=1)
        freedom = 1 + (spectrum / raised).sum(axis=1)
        left = np.maximum(inputs.count - freedom, 1e-3)
        score = float((np.maximum(errors.powers - explained, 0) / left**2).sum())
        if score < least:
            best, least = share, score
    return best
