"""Gives shapes that ONNX's inference leaves open though the operation's definition fixes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.ir.graph import Array

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Operands:
    """What an operation reads, by position: shapes (None: nothing is known), data of constants."""

    shapes: Sequence[Shape | None]
    data: Sequence[Array | None]
    attributes: Mapping[str, Any]

    def shape(self, position: int) -> Shape | None:
        """Returns the shape of an input, None where it is left out or not known."""
        return self.shapes[position] if position < len(self.shapes) else None

    def numbers(self, position: int) -> list[int] | None:
        """Returns the integers of a constant input, None where it is not constant."""
        data = self.data[position] if position < len(self.data) else None
        return None if data is None else [int(value) for value in np.asarray(data).reshape(-1)]


def shape_by_definition(op: str, operands: Operands, inferred: Shape | None) -> Shape | None:
    """Finds the shape of an operation's first output; None where inference's is not bettered.

    `inferred` is that of ONNX's inference, which gives a one-sided STFT all its frequencies.
    """
    if inferred is not None and None not in inferred and op != "STFT":
        return None
    rule = _RULES.get(op)
    return rule(operands) if rule is not None else None


def _as_the_first(operands: Operands) -> Shape | None:
    return operands.shape(0)


def _window(operands: Operands) -> Shape | None:
    size = operands.numbers(0)
    return (max(0, size[0]),) if size else None


def _unpooled(operands: Operands) -> Shape | None:
    shape = operands.numbers(2)
    return tuple(shape) if shape is not None else None


def _mel_weights(operands: Operands) -> Shape | None:
    """Gives a row for each frequency up to half the rate, and a column for each band."""
    bands, length = operands.numbers(0), operands.numbers(1)
    return (length[0] // 2 + 1, bands[0]) if bands and length else None


def _compressed(operands: Operands) -> Shape | None:
    """Gives one slice for each true condition; those behind the last condition are dropped."""
    shape, chosen = operands.shape(0), operands.numbers(1)
    if chosen is None:
        return None
    axis = operands.attributes.get("axis")
    if axis is None:
        return (sum(map(bool, chosen)),)
    if not shape or not -len(shape) <= axis < len(shape):
        return None
    sizes = list(shape)
    sizes[axis] = sum(map(bool, chosen))
    return tuple(sizes)


def _spectra(operands: Operands) -> Shape | None:
    """Gives a spectrum for each frame that fits; a one-sided one has half the frequencies, and 0.

    Without a length the frames have that of the window.
    """
    signal, step, length = operands.shape(0), operands.numbers(1), operands.numbers(3)
    window = operands.shape(2)
    size = length[0] if length else window[0] if window else None
    if not signal or len(signal) < 2 or signal[1] is None or not step or not size or step[0] < 1:
        return None
    frequencies = size // 2 + 1 if operands.attributes.get("onesided", 1) else size
    return (signal[0], (signal[1] - size) // step[0] + 1, frequencies, 2)


_RULES: dict[str, Callable[[Operands], Shape | None]] = {
    "GroupNormalization": _as_the_first,
    "MeanVarianceNormalization": _as_the_first,
    "BlackmanWindow": _window,
    "HammingWindow": _window,
    "HannWindow": _window,
    "MaxUnpool": _unpooled,
    "MelWeightMatrix": _mel_weights,
    "Compress": _compressed,
    "STFT": _spectra,
}
