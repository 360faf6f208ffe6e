"""Measures how often a classifier is right: its outputs against labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compiler.errors import UsageError, one_line
from compiler.execute.plain_arrays import flat_arrays, map_keys, map_matrix, plain_outputs
from compiler.ir.graph import Array


@dataclass(frozen=True)
class Accuracy:
    """How many samples were classified as labelled."""

    right: int
    samples: int

    @property
    def share(self) -> float:
        """The share that is right."""
        return self.right / self.samples if self.samples else 0.0

    def __str__(self) -> str:
        return f"{100 * self.share:.1f} % ({self.right:,} of {self.samples:,})"


def accuracy(output: Any, labels: Array, name: str = "the output") -> Accuracy:
    """Compares an output with the labels.

    Where the output holds labels itself (integers or texts, as many as there are labels), they are
    to be the same; where it holds maps, the key of the largest value; else the class with the
    largest score along the last axis, and labels are class numbers, or one row of scores (one-hot)
    for each sample. Raises UsageError (U005) when output and labels do not belong together.
    """
    own = own_labels(output, labels.size)
    if own is not None:
        if own.dtype.kind in "OUS" or labels.dtype.kind in "OUS":
            own, labels = (array.astype(np.str_) for array in (own, labels))
        return Accuracy(int((own == labels.reshape(-1)).sum()), int(labels.size))
    output = plain_outputs({name: output})[name]
    classes = predictions(output, name)
    if labels.shape == np.shape(output) and labels.size > classes.size:
        labels = labels.argmax(axis=-1)
    if labels.size != classes.size:
        raise UsageError(
            f"there are {labels.size:,} labels and "
            f"{classes.size:,} predictions of {one_line(name)!r}",
            code="U005",
            hint="the array y holds one class number for each sample",
        )
    count = int(np.shape(output)[-1])
    numbers = labels.dtype.kind in "iuf"
    given = labels.astype(np.float64) if numbers else np.full(1, np.nan)
    if not np.all((given >= 0) & (given < count) & (given == np.rint(given))):
        found = "" if numbers else f", {labels.dtype},"
        raise UsageError(
            f"the labels{found} are not all class numbers, "
            f"from 0 to {count - 1} for {one_line(name)!r}",
            code="U005",
        )
    right = int((labels.reshape(-1) == classes.reshape(-1)).sum())
    return Accuracy(right, int(labels.size))


def own_labels(output: Any, count: int) -> Array | None:
    """Finds the labels that an output itself holds, `count` of them; None where it holds none."""
    keys = map_keys(output)
    if keys is not None:
        labels = np.asarray(keys)[map_matrix(output, keys).argmax(axis=-1)].reshape(-1)
    else:
        arrays = flat_arrays(output)
        if not arrays or any(array.dtype.kind not in "biuOUS" for array in arrays):
            return None
        labels = np.concatenate([array.reshape(-1) for array in arrays])
    return labels if len(labels) == count else None


def predictions(output: Any, name: str = "the output") -> Array:
    """Finds the class with the largest score of every sample.

    Raises UsageError (U005) for what are no class scores.
    """
    scores = None if isinstance(output, list) else np.asarray(output)
    if scores is None or scores.ndim < 1 or scores.shape[-1] < 2 or scores.dtype.kind not in "iufV":
        found = "a list" if scores is None else f"{scores.dtype}{list(scores.shape)}"
        raise UsageError(
            f"{one_line(name)!r} is {found}, "
            "wanted are scores of at least two classes on its last axis",
            code="U005",
        )
    if scores.dtype.kind == "V":
        scores = scores.astype(np.float32)
    return np.asarray(scores.argmax(axis=-1))
