"""Fits a layer's float weights on samples: what is then rounded to an engine's numbers."""

from __future__ import annotations

from dataclasses import dataclass

from compiler.engines.numerics import Floats
from passes.fitting.layer_data import Doubles
from passes.fitting.moments import InputMoments, Moments
from passes.fitting.regression import damped_change

# Lambda as a share of the mean variance, large as so many weights are fitted: measured on held-out
# images of ResNet-8 and MobileNet, KL .047 to .033 and .031 to .028.
RIDGE = 1.0
# Rows beyond which a layer's rows are taken by themselves: the inverse of their Gram matrix would
# cost more than it brings; or, from DETERMINED on, where fewer patches than rows say nothing of
# most directions.
WIDEST, DETERMINED = 3072, 1024


def input_moments(patches: Floats) -> InputMoments:
    """The moments of patches [G,M,R], of each row by itself where there are too many rows."""
    _, count, rows = patches.shape
    return InputMoments.of(patches, whole=rows <= min(WIDEST, max(DETERMINED, count)))


@dataclass(frozen=True)
class FloatFit:
    """Some columns of a layer: moments of its inputs, and what these columns should be.

    The fitted `weights` [G,R,K], the mean outputs [G,K], and the `original` weights [G,R,K].
    """

    inputs: InputMoments
    weights: Doubles
    mean_out: Doubles
    original: Doubles

    @staticmethod
    def of(inputs: InputMoments, patches: Floats, targets: Floats, original: Doubles) -> FloatFit:
        """Fits columns that should give `targets` [G,M,K] on patches [G,M,R] of these moments.

        They stay the original ones where the patches do not determine them.
        """
        seen = Moments.of([(patches, targets)], whole=not inputs.is_diagonal, squares=False)
        mean_out = seen.errors.sums / inputs.count
        if inputs.is_diagonal:
            return FloatFit(inputs, original, mean_out, original)
        by_mean = inputs.mean[:, :, None] * mean_out[:, None, :]
        errors = seen.errors.crosses / inputs.count - by_mean - inputs.gram @ original
        return FloatFit(
            inputs, original + damped_change(inputs.gram, errors, RIDGE), mean_out, original
        )
