"""How many labels an error of the scores behind them changes, by the margins between scores.

Of a few samples hardly any changes its label by the format of one node, and an optimizer finds the
formats that happened to change none. The scores tell more: every sample has a margin by which its
largest score leads, and every error is one that any other sample could have had as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler.cost.divergence import measure_of
from compiler.ir.graph import Graph

Doubles = npt.NDArray[np.float64]

RIVALS = 4  # classes next to the largest that are looked at
MOST_ERRORS = 1 << 16
MOST_ELEMENTS = 1 << 22  # of the scores of evenly spread positions that are looked at


@dataclass(frozen=True)
class Scores:
    """The value that labels are the largest of, along an axis; the smallest where `sign` is -1."""

    value: str
    axis: int
    sign: int


def scores_behind(output: str, graph: Graph) -> Scores | None:
    """Finds the scores that the labels of an output are chosen from by ArgMax or ArgMin.

    None where the output holds no labels, or not of a choice that is looked up, cast or reshaped.
    """
    if measure_of(output, graph).kind != "labels":
        return None
    name = output
    while (made := graph.producer.get(name)) is not None:
        read = [one for one in made.inputs if one and one not in graph.constants]
        if made.op in ("ArgMax", "ArgMin"):
            scores = Scores(read[0], made.integer("axis", 0), 1 if made.op == "ArgMax" else -1)
            return scores if graph.types[read[0]].quant is None else None
        if len(read) != 1 or not graph.types[read[0]].dtype.startswith(("int", "uint")):
            return None
        name = read[0]
    return None


def expected_label_changes(scores: Scores, wanted: Any, found: Any) -> float:
    """The share of labels that an error of scores [S, *shape] changes, as is to be expected.

    For each position the probability that a rival's error, less that of the largest score, exceeds
    its margin: how often the errors of all positions do, either way round, added up over the
    nearest rivals. More than changes in the end, where several rivals pass at once.
    """
    before, after = (_by_class(values, scores) for values in (wanted, found))
    is_fine = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    before, after = before[is_fine], after[is_fine]
    if not before.size or before.shape[1] < 2:
        return 0.0
    rows = np.arange(len(before))
    largest = before.argmax(axis=1)
    error = after - before
    moved = np.delete(error, 0, axis=1)  # of the rivals, in any order
    others = np.where(np.arange(1, before.shape[1]) == largest[:, None], error[:, :1], moved)
    errors = np.abs(others - error[rows, largest][:, None]).reshape(-1)
    errors = np.sort(errors[:: len(errors) // MOST_ERRORS + 1])
    rivals = min(RIVALS, before.shape[1] - 1)
    nearest = -np.partition(-before, rivals, axis=1)[:, : rivals + 1]
    margins = np.sort(nearest.max(axis=1)[:, None] - nearest, axis=1)[:, 1:]
    beyond = len(errors) - np.searchsorted(errors, margins, side="right")
    return float(np.minimum(1.0, 0.5 * beyond.sum(axis=1) / len(errors)).mean())


def _by_class(values: Any, scores: Scores) -> Doubles:
    """Scores [S, *shape] as [positions, classes], the largest being the best."""
    axis = scores.axis + 1 if scores.axis >= 0 else scores.axis
    moved = np.moveaxis(np.asarray(values), axis, -1)
    positions = moved.reshape(-1, moved.shape[-1])[:: moved.size // MOST_ELEMENTS + 1]
    return scores.sign * positions.astype(np.float64)
