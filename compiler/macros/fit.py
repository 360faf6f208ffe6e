"""Fits the few constants of the macro formulas that no source gives.

It also measures how far silicon lies from the formulas.

Gauss-Newton on the logarithms of the constants. Residuals are ln(predicted / measured) with Huber's
loss, so that one odd chip does not pull; a chip of n rows weighs sqrt(n); each constant is held to
its prior as by an observation of its width. The spread is the quantile of the residuals at
COVERAGE, each chip counted once. The same input gives the same result to DIGITS digits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import exp, log, sqrt

import numpy as np
from numpy.typing import NDArray

from compiler.cost.efficiency import TOPS_PER_WATT_AT_ONE_FJ
from compiler.macros.model import Macro, energy_fj, silicon_of
from compiler.macros.table import Row, UnpredictableError, macro_of
from compiler.macros.validation import Verdict, assumed_spread, verdict
from compiler.target.parts.constants import Components
from compiler.units import Estimate

Vector = NDArray[np.float64]

# What a fit may learn from; other classes are predicted with what is learnt here.
LEARNT_CLASSES = ("AIMC-SRAM", "DIMC-SRAM")
# The share of chips within the stated interval. Above the 80 % that are promised, because the
# formulas were chosen with the table in view.
COVERAGE = 0.9
# The usual distance of a row from its prediction, in ln: the weight of a prior against a row, and
# where Huber's loss turns linear.
NOISE = 0.35 * log(10)
ROUNDS = 30
DIGITS = 4


def usable(rows: Sequence[Row], components: Components) -> list[tuple[Row, Macro]]:
    """Finds the rows that a fit may learn from: of the right classes, measured, and predictable."""
    found = []
    for row in rows:
        if row.group not in LEARNT_CLASSES or row.measured_tops_w is None:
            continue
        try:
            found.append((row, macro_of(row, components)[0]))
        except UnpredictableError:
            continue
    return found


def fit(rows: Sequence[Row], components: Components) -> Components:
    """Fits the constants to these rows and returns the components with them.

    With no usable row these are the priors.
    """
    known = usable(rows, components)
    names = components.fitted
    priors = [components.constants[name] for name in names]
    centre = np.array([log(prior.prior or 1.0) for prior in priors])
    width = np.array([log(prior.prior_factor or 2.0) for prior in priors])
    point = centre.copy()
    curvature = np.diag(NOISE**2 / width**2)
    if known:
        point, curvature = _descend(known, components, centre, width)
    deviation = NOISE * np.sqrt(np.diag(np.linalg.inv(curvature)))
    values = {
        name: Estimate(*(_rounded(exp(p + sign * 2 * d)) for sign in (0, -1, 1)))
        for name, p, d in zip(names, point, deviation, strict=True)
    }
    moved = components.with_values(values)
    spread = _rounded(10 ** _spread([row for row, _ in known], moved)) if known else 10.0
    return moved.with_values({"spread_factor": Estimate.exact(spread)})


def _descend(
    known: Sequence[tuple[Row, Macro]], components: Components, centre: Vector, width: Vector
) -> tuple[Vector, NDArray[np.float64]]:
    """Finds the least of loss and prior, and the curvature there."""
    names = components.fitted
    counts = Counter(row.chip for row, _ in known)
    weight = np.array([1 / sqrt(counts[row.chip]) for row, _ in known])
    conditions = [silicon_of(macro, components) for _, macro in known]
    target = np.array(
        [
            log(TOPS_PER_WATT_AT_ONE_FJ / (row.measured_tops_w or 1.0) / row.native_macs)
            for row, _ in known
        ]
    )

    def residuals(point: Vector) -> Vector:
        values = {**components.values, **dict(zip(names, np.exp(point).tolist(), strict=True))}
        pairs = zip(known, conditions, strict=True)
        logs = [
            log(sum(energy_fj(macro, replace(silicon, values=values)).values()))
            for (_, macro), silicon in pairs
        ]
        difference: Vector = np.array(logs) - target
        return difference

    def loss(point: Vector) -> float:
        size = np.abs(residuals(point))
        huber = np.where(size < NOISE, size**2 / 2, NOISE * (size - NOISE / 2))
        prior = (((point - centre) * NOISE / width) ** 2).sum() / 2
        return float((weight * huber).sum() + prior)

    point, least = centre.copy(), loss(centre)
    curvature = np.eye(len(names))
    for _ in range(ROUNDS):
        here = residuals(point)
        slopes = np.stack(
            [(residuals(point + step) - here) / 1e-5 for step in 1e-5 * np.eye(len(names))], axis=1
        )
        robust = weight * np.minimum(1.0, NOISE / np.maximum(np.abs(here), 1e-12))
        curvature = slopes.T @ (slopes * robust[:, None]) + np.diag(NOISE**2 / width**2)
        slope = slopes.T @ (robust * here) + NOISE**2 * (point - centre) / width**2
        move = -np.linalg.solve(curvature, slope)
        share = 1.0
        while share > 1e-6 and loss(point + share * move) > least:
            share /= 2
        point = point + share * move if share > 1e-6 else point
        least = loss(point)
        if share <= 1e-6 or float(np.abs(share * move).max()) < 1e-9:
            break
    return point, curvature


def _spread(rows: Sequence[Row], components: Components) -> float:
    """Computes the quantile of the residuals in log10, each chip counted once.

    What a row's own gaps explain is taken off its residual.
    """
    counts = Counter(row.chip for row in rows)
    found = []
    for row in rows:
        error = verdict(row, components).log_error or 0.0
        own = assumed_spread(row, components)
        found.append((sqrt(max(0.0, error**2 - own**2)), 1 / counts[row.chip]))
    found.sort()
    total = sum(weight for _, weight in found)
    middle, places = 0.0, []
    for _, weight in found:
        places.append((middle + weight / 2) / total)
        middle += weight
    return float(np.interp(COVERAGE, places, [size for size, _ in found]))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def leave_one_chip_out(rows: Sequence[Row], components: Components) -> list[Verdict]:
    """Predicts every row with constants and spread fitted without any row of its chip."""
    known = {row.chip for row, _ in usable(rows, components)}
    everything = fit(rows, components)
    without = {
        chip: fit([row for row in rows if row.chip != chip], components) for chip in sorted(known)
    }
    return [verdict(row, without.get(row.chip, everything)) for row in rows]


def fold_ranges(rows: Sequence[Row], components: Components) -> dict[str, tuple[float, float]]:
    """Finds the least and the greatest value of each fitted constant when one chip is left out."""
    chips = sorted({row.chip for row, _ in usable(rows, components)})
    folds = [fit([row for row in rows if row.chip != chip], components).values for chip in chips]
    names = (*components.fitted, "spread_factor")
    return {name: (min(f[name] for f in folds), max(f[name] for f in folds)) for name in names}
