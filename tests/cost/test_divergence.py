"""The one measure of how far outputs are from a reference: by hand, by kind, and over nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.cost.divergence import (
    BEYOND_MEASURE,
    Measure,
    Measured,
    divergence,
    kl_divergence,
    label_divergence,
    measure_of,
    relative_squared_error,
)
from compiler.ir.text import from_text

NUMBERS = Measure("relative squared error")
SCORES = Measure("KL")
LOGS = Measure("KL", logs=True)
LABELS = Measure("labels")


def test_the_relative_squared_error_is_in_variances() -> None:
    """One of two is off by 1: the mean square is 1/2, the variance of 0 and 2 is 1."""
    assert relative_squared_error(np.array([0.0, 2.0]), np.array([0.0, 3.0])) == 0.5
    values = np.random.default_rng(0).standard_normal(1000) + 7
    mean = np.full(1000, values.mean())
    assert relative_squared_error(values, mean) == pytest.approx(1), "1 is answering the mean"
    assert relative_squared_error(3 * values - 5, 3 * mean - 5) == pytest.approx(1), "of any unit"


def test_of_values_that_are_all_one_it_is_in_their_square() -> None:
    assert relative_squared_error(np.full(4, 2.0), np.full(4, 3.0)) == 0.25
    assert relative_squared_error(np.zeros(3), np.zeros(3)) == 0
    assert 0 < relative_squared_error(np.zeros(3), np.full(3, 1e-3)) < BEYOND_MEASURE


def test_kl_by_hand() -> None:
    """KL([1/2, 1/2] || [1/4, 3/4]) = 1/2 ln 2 + 1/2 ln 2/3, along any axis of classes."""
    wanted, found = np.array([[[0.5, 0.5]]]), np.array([[[0.25, 0.75]]])
    kl = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    assert kl_divergence(wanted, found) == pytest.approx(kl)
    assert divergence(LOGS, np.log(wanted), np.log(found)).divergence == pytest.approx(kl)
    turned = Measure("KL", axis=0)
    wanted, found = wanted.reshape(1, 2, 1), found.reshape(1, 2, 1)
    assert divergence(turned, wanted, found).divergence == pytest.approx(kl)
    assert kl_divergence(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])) < 20


def test_labels_are_judged_by_the_share_that_differs() -> None:
    integers = np.array([[3], [4], [5], [6]])
    assert label_divergence(integers, integers) == 0
    assert label_divergence(integers, np.array([[3], [4], [9], [6]])) == 0.25, "9 is no nearer"
    texts = np.array([["cat"], ["dog"]], object)
    assert label_divergence(texts, np.array([["cat"], ["cat"]], object)) == 0.5
    sizes = [np.arange(3), np.arange(2)], [np.arange(3), np.arange(5)]
    assert label_divergence(*sizes) == 5 / 8, "of other sizes all elements differ"


@pytest.mark.parametrize("measure", [NUMBERS, SCORES, LOGS, LABELS])
@pytest.mark.parametrize("shape", [(0, 3), (4, 0), (4, 0, 2)])
def test_nothing_does_not_diverge(measure: Measure, shape: tuple[int, ...]) -> None:
    empty = np.zeros(shape)
    assert divergence(measure, empty, empty).divergence == 0


@pytest.mark.parametrize("measure", [NUMBERS, SCORES])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_sample_on_which_the_reference_is_no_number_is_left_out(
    measure: Measure, bad: float
) -> None:
    wanted = np.random.default_rng(0).random((6, 4))
    found = wanted + 0.01
    others = [0, 1, 3, 4, 5]
    expected = divergence(measure, wanted[others], found[others]).divergence
    wanted[2, 1] = bad
    assert divergence(measure, wanted, found) == Measured(expected, (2,))
    assert divergence(measure, list(wanted), list(found)) == Measured(expected, (2,))
    found[3, 0] = bad  # where the reference is a number: as if it answered the mean
    assert 0 < divergence(measure, wanted, found).divergence < 1
    others = [0, 1, 3, 4, 5]
    assert divergence(measure, wanted[others], found[others]) == Measured(BEYOND_MEASURE)


def test_where_every_sample_has_an_infinity_the_elements_alone_are_left_out() -> None:
    """Such as scores behind a mask."""
    wanted = np.array([[1.0, -np.inf], [3.0, -np.inf]])
    found = np.array([[1.0, -1e9], [4.0, -np.inf]])
    assert divergence(NUMBERS, wanted, found) == Measured(0.5, (0, 1))


def test_the_logarithm_of_an_impossible_class_is_a_number() -> None:
    certain = np.array([[0.0, -np.inf]])
    assert divergence(LOGS, certain, certain) == Measured(0.0)


def test_sequences_and_maps_are_measured_by_what_they_hold() -> None:
    """Samples of any size: a sequence of tensors, and the list of maps that ZipMap makes."""
    rows: list[Any] = [[np.array([0.0, 2.0])], [np.array([1.0])]]
    off: list[Any] = [[np.array([0.0, 3.0])], [np.array([1.0])]]
    assert divergence(NUMBERS, rows, off).divergence == pytest.approx(0.5)
    maps = [[{"a": 0.0, "b": 2.0}], [{"a": 1.0, "b": 1.0}]]
    others = [[{"a": 0.0, "b": 3.0}], [{"a": 1.0, "b": 1.0}]]
    assert divergence(NUMBERS, maps, others).divergence == pytest.approx(0.5)
    missing: list[Any] = [[np.array([0.0, 2.0])], []]
    assert divergence(NUMBERS, rows, missing).divergence == 0, "the mean is 1, which is right"


def test_the_kind_follows_from_the_type_and_from_what_makes_an_output() -> None:
    graph = from_text("""\
graph g(x: float32[1, 4], q: int8[4]{scale=0.5}, s: string[2]) -> (x, p, l, k, q, s)
p: float32[1, 4] = Softmax(x) axis=1
l: float32[1, 4] = LogSoftmax(x)
k: int64[1] = ArgMax(x) axis=1 keepdims=0
""")
    found = {name: measure_of(name, graph) for name in graph.outputs}
    assert {name: (one.kind, one.axis, one.logs) for name, one in found.items()} == {
        "x": ("relative squared error", -1, False),
        "p": ("KL", 1, False),
        "l": ("KL", -1, True),
        "k": ("labels", -1, False),
        "q": ("relative squared error", -1, False),
        "s": ("labels", -1, False),
    }
    assert found["q"].quant == graph.types["q"].quant
