"""Labels that are expected to change: against counting, on more samples than calibration has."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.text import from_text
from passes.calibration.label_margins import Scores, expected_label_changes, scores_behind

ALONG_LAST = Scores("c", -1, 1)


@pytest.mark.parametrize("classes", [2, 5, 50])
@pytest.mark.parametrize("size", [1e-2, 0.1, 0.5])
def test_few_samples_tell_on_average_what_many_would_count(classes: int, size: float) -> None:
    """Not less than is counted on all of them, and not much more, of errors of any size."""
    random = np.random.default_rng(classes)
    scores = random.standard_normal((200, 64, classes))
    found = scores + size * random.standard_normal(scores.shape)
    counted = float((scores.argmax(-1) != found.argmax(-1)).mean())
    told = [expected_label_changes(ALONG_LAST, *pair) for pair in zip(scores, found, strict=True)]
    assert 0.9 * counted <= np.mean(told) <= 2 * counted
    assert np.std(told) < np.std((scores.argmax(-1) != found.argmax(-1)).mean(axis=1))


def test_no_error_changes_no_label_and_a_common_one_neither() -> None:
    scores = np.random.default_rng(0).standard_normal((64, 1, 10))
    assert expected_label_changes(ALONG_LAST, scores, scores) == 0
    assert expected_label_changes(ALONG_LAST, scores, scores + 3) < 1e-12
    assert expected_label_changes(ALONG_LAST, scores, 10 * scores) > 0


def test_the_axis_and_the_direction_are_those_of_the_choice() -> None:
    random = np.random.default_rng(1)
    scores = random.standard_normal((64, 3, 7))
    found = scores + 0.3 * random.standard_normal(scores.shape)
    along_last = expected_label_changes(ALONG_LAST, scores, found)
    turned = [np.swapaxes(values, 1, 2) for values in (scores, found)]
    assert expected_label_changes(Scores("c", 0, 1), *turned) == pytest.approx(along_last)
    smallest = expected_label_changes(Scores("c", -1, -1), -scores, -found)
    assert smallest == pytest.approx(along_last)


def test_a_sample_of_no_numbers_tells_nothing() -> None:
    scores = np.array([[1.0, np.nan], [2.0, 1.0]])
    assert expected_label_changes(ALONG_LAST, scores, scores) == 0
    assert expected_label_changes(ALONG_LAST, scores[:, :1], scores[:, :1]) == 0
    assert expected_label_changes(ALONG_LAST, scores[:0], scores[:0]) == 0


def test_the_scores_behind_labels_are_found_through_what_names_them() -> None:
    graph = from_text("""\
graph g(c: float32[1, 4], i: int64[1]) -> (k, n, s, i, c)
names: int64[4] = const [7, 8, 9, 6]
a: int64[1] = ArgMax(c) axis=1 keepdims=0
k: int32[1] = Cast(a) to=6
b: int64[1, 1] = ArgMin(c) axis=1
n: int64[1, 1] = Gather(names, b)
s: int64[1] = Add(a, i)
""")
    assert scores_behind("k", graph) == Scores("c", 1, 1)
    assert scores_behind("n", graph) == Scores("c", 1, -1)
    assert [scores_behind(name, graph) for name in ("s", "i", "c")] == [None] * 3
