"""Holds inputs that are handed in against the ranges that a package was calibrated on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.errors import Diagnostic, one_line

if TYPE_CHECKING:
    from compiler.plan.schema import Plan
    from passes.calibration.inputs import CalibrationInputs

# What is far: more than this share of the values lies beyond the range by more than this share of
# it. Other samples of one kind go beyond it a little, in few values.
FAR_VALUES, FAR_BEYOND = 0.01, 0.25
# Values that all lie within this share of the range are told apart by four codes of 8 bits at most.
LITTLE = 1 / 64


def calibrated_ranges(inputs: CalibrationInputs | None) -> dict[str, tuple[float, float]]:
    """The least and the largest value of each input of floats that is calibrated on."""
    if inputs is None:
        return {}
    found = {}
    for name, data in inputs.arrays.items():
        if data.dtype.name in ("float16", "float32", "float64") and data.size:
            finite = data[np.isfinite(data)]
            if finite.size:
                found[name] = (float(finite.min()), float(finite.max()))
    return found


def range_notes(plan: Plan, arrays: Mapping[str, Any]) -> tuple[Diagnostic, ...]:
    """Warns (W013) of inputs that lie far outside the range calibrated, or in hardly any of it."""
    notes = []
    for port in plan.inputs:
        data = np.asarray(arrays.get(port.name, ()))
        if port.calibrated is None or data.dtype.kind != "f" or not data.size:
            continue
        reason = _why_far(data[np.isfinite(data)].astype(np.float64), *port.calibrated)
        if reason:
            notes.append(
                Diagnostic(
                    code="W013",
                    message=f"input {one_line(port.name)!r} {reason}: the outputs may mean nothing",
                    hint="scale it as the calibration samples were, or calibrate on samples like "
                    "these (compile --data)",
                )
            )
    return tuple(notes)


def _why_far(values: Any, low: float, high: float) -> str:
    """How values lie beside the range that was calibrated; an empty string where they fit it."""
    if not values.size:
        return ""
    least, largest, span = float(values.min()), float(values.max()), high - low
    margin = FAR_BEYOND * span
    beyond = float(np.mean((values < low - margin) | (values > high + margin)))
    found = f"is {least:.4g} to {largest:.4g}, calibrated was {low:.4g} to {high:.4g}"
    if beyond > FAR_VALUES:
        return f"{found}; {100 * beyond:.0f} % of its values lie far outside"
    if 0 < largest - least < LITTLE * span and values.size > 1:
        return f"{found}; 8 bits hardly tell its values apart"
    return ""
