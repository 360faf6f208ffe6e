"""First and second moments of what a layer reads, and of targets or errors at its outputs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from passes.fitting.layer_data import Doubles

Reals = npt.NDArray[np.floating]

DAMPING = 0.1  # of the mean diagonal: the usual 1 % lets the sweep learn the samples by heart
# Patches for each row, below which the damping grows as they get fewer: then many directions are
# seen by chance only. Measured on 64 held-in and 150 held-out samples: relative squared error of a
# digit classifier .041 to .022, of an anomaly detector .0080 to .0074.
ENOUGH_PATCHES = 2.0
TOGETHER = 2048  # patches that are brought to float64 at once


@dataclass(frozen=True)
class InputMoments:
    """Sums over `count` patches of what a layer reads.

    `sums` [G,R], and `squares` [G,R,R] of pairs. Where only each row by itself is looked at,
    `squares` are [G,R,1].
    """

    count: int
    sums: Doubles
    squares: Doubles

    @staticmethod
    def of(patches: Reals, *, whole: bool = True) -> InputMoments:
        """Sums patches [G,M,R] up; `whole` asks for pairs of rows."""
        return Moments.of([(patches, None)], whole=whole).inputs

    @property
    def is_diagonal(self) -> bool:
        """Whether only each row by itself was looked at."""
        return bool(self.squares.shape[2] != self.squares.shape[1])

    @cached_property
    def mean(self) -> Doubles:
        """The mean of each row, [G,R]."""
        return self.sums / self.count

    def about_mean(self) -> InputMoments:
        """The moments with the means taken off."""
        other = self.sums[:, :, None] if self.is_diagonal else self.sums[:, None, :]
        by = self.sums[:, :, None] * other / self.count
        return InputMoments(self.count, np.zeros_like(self.sums), self.squares - by)

    @cached_property
    def gram(self) -> Doubles:
        """The covariances of the rows [G,R,R], or their variances [G,R,1]."""
        return self.about_mean().squares / self.count

    @cached_property
    def damped(self) -> Doubles:
        """The Gram matrices with a share of their mean diagonal added: they can be inverted.

        The share is DAMPING, more for layers with few patches for so many rows. Shape as `gram`.
        """
        few = 1.0 if self.is_diagonal else ENOUGH_PATCHES * self.gram.shape[1] / self.count
        return damped(self.gram, DAMPING * max(1.0, few))

    @cached_property
    def power(self) -> Doubles:
        """The diagonals of `damped` [G,R,1]: how much the error of each row counts."""
        return _diagonal(self.damped)

    @cached_property
    def upper(self) -> Doubles:
        """The upper Cholesky factors [G,R,R] of the inverse of `damped`: what the GPTQ sweep uses.

        Where J turns the order of the rows round and J H J = L L', they are the inverse of J L J.
        """
        lower = np.asarray(np.linalg.cholesky(self.damped[:, ::-1, ::-1]), np.float64)
        return _inverse_of_lower(lower)[:, ::-1, ::-1]


@dataclass(frozen=True)
class ErrorMoments:
    """Sums over patches of errors (or targets) at a layer's outputs.

    `sums` [G,K], `crosses` [G,R,K] with what the layer reads, `powers` [G] of their squares.
    """

    sums: Doubles
    crosses: Doubles
    powers: Doubles


@dataclass(frozen=True)
class Moments:
    """The moments of what a layer reads, and of errors at its outputs."""

    inputs: InputMoments
    errors: ErrorMoments

    @staticmethod
    def of(
        parts: Iterable[tuple[Reals, Reals | None]], *, whole: bool = True, squares: bool = True
    ) -> Moments:
        """Sums parts up: patches [G,M,R] with errors [G,M,K] there (None: not asked for).

        `whole` asks for pairs: of rows, and of rows with errors; without `squares` those of rows
        are left out.
        """
        total: list[Doubles] = []
        count = 0
        for part in _pieces(parts):
            count += part[0].shape[1]
            found = _sums(*part, whole=whole, squares=squares)
            if not total:
                total = found
                continue
            for one, other in zip(total, found, strict=True):
                one += other
        rows, pairs, errors, crosses, powers = total
        return Moments(InputMoments(count, rows, pairs), ErrorMoments(errors, crosses, powers))

    def about_mean(self) -> Moments:
        """The moments with the means taken off, of inputs and of errors."""
        inputs, errors, count = self.inputs, self.errors, self.inputs.count
        crosses = errors.crosses - inputs.sums[:, :, None] * errors.sums[:, None, :] / count
        powers = errors.powers - np.square(errors.sums).sum(axis=1) / count
        centered = ErrorMoments(np.zeros_like(errors.sums), crosses, powers)
        return Moments(inputs.about_mean(), centered)


def _pieces(parts: Iterable[tuple[Reals, Reals | None]]) -> Iterable[tuple[Doubles, Doubles]]:
    """The parts in float64, a few patches at a time; errors of no columns where none are given."""
    for patches, errors in parts:
        if errors is None:
            errors = np.zeros((*patches.shape[:2], 0))
        for start in range(0, patches.shape[1], TOGETHER):
            piece = slice(start, start + TOGETHER)
            yield patches[:, piece].astype(np.float64), errors[:, piece].astype(np.float64)


def _sums(rows: Doubles, errors: Doubles, *, whole: bool, squares: bool) -> list[Doubles]:
    """The sums over some patches: of rows, their pairs, errors, rows by errors, errors squared."""
    turned = rows.swapaxes(1, 2)
    groups, size, columns = len(rows), rows.shape[2], errors.shape[2]
    if not squares:
        pairs = np.zeros((groups, 0, 0))
    elif whole:
        pairs = np.matmul(turned, rows)
    else:
        pairs = np.square(rows).sum(axis=1)[:, :, None]
    crosses = np.matmul(turned, errors) if whole and columns else np.zeros((groups, size, columns))
    powers = np.square(errors).sum(axis=(1, 2))
    return [rows.sum(axis=1), pairs, errors.sum(axis=1), crosses, powers]


def damped(squares: Doubles, share: float) -> Doubles:
    """Adds a share of their mean diagonal to the diagonals of matrices [G,R,R] (or of [G,R,1])."""
    mean = np.asarray(_diagonal(squares).mean(axis=1, keepdims=True) + 1e-12)
    if squares.shape[2] != squares.shape[1]:
        return squares + share * mean
    return squares + share * mean * np.eye(squares.shape[1])


def _diagonal(matrices: Doubles) -> Doubles:
    """The diagonals [G,R,1] of square matrices [G,R,R], or of what are diagonals already."""
    if matrices.shape[2] != matrices.shape[1]:
        return matrices
    return np.asarray(np.einsum("grr->gr", matrices)[:, :, None])


def _inverse_of_lower(matrices: Doubles) -> Doubles:
    """The inverses of lower triangular matrices [G,R,R].

    Block by block it is a sixth of the work that any matrix takes.
    """
    size = matrices.shape[1]
    if size <= 64:
        return np.asarray(np.tril(np.linalg.inv(matrices)))
    half = size // 2
    top = _inverse_of_lower(matrices[:, :half, :half])
    bottom = _inverse_of_lower(matrices[:, half:, half:])
    result = np.zeros_like(matrices)
    result[:, :half, :half], result[:, half:, half:] = top, bottom
    result[:, half:, :half] = -np.matmul(bottom, np.matmul(matrices[:, half:, :half], top))
    return result
