"""The range of a value that 8 bits serve best."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics

# Of the ranges that are tried at once: small values cost the calls, large ones the caches.
CLIP_ELEMENTS = 1 << 16
CLIP_FACTORS = np.linspace(1.0, 0.5, 21)  # of the range of all values, those that are tried


def clipped_range(values: npt.NDArray[np.float32]) -> tuple[float, float]:
    """Finds the range whose 256 steps give values back with the least squared error.

    Both ends are clipped together.
    """
    flat = values.reshape(-1)
    if flat.size > 200_000:
        flat = flat[:: flat.size // 200_000 + 1]
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if high - low > 1e30:  # the squares would overflow, and no step of such a range tells anything
        return low, high
    errors: list[float] = []
    together = max(1, CLIP_ELEMENTS // flat.size)
    for start in range(0, len(CLIP_FACTORS), together):
        part = CLIP_FACTORS[start : start + together]
        errors += numerics.squared_errors(flat, 8, low * part, high * part).tolist()
    best = float(CLIP_FACTORS[int(np.argmin(errors))])
    return low * best, high * best
