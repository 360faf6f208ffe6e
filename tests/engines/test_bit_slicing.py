"""Cutting numbers for an analog array: digits and slices always add up to what they were cut
from.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.bit_slicing import (
    digit_factors,
    input_slices,
    unsigned_digits,
    useful_digits,
    weight_digits,
    weight_reach,
)

VALUES = st.lists(st.integers(-(2**40), 2**40), max_size=20)


@settings(deadline=None)
@given(st.sampled_from([3, 5, 7, 15, 255]), st.integers(1, 6), VALUES)
def test_balanced_digits_recombine(levels: int, digits: int, values: list[int]) -> None:
    reach = weight_reach(levels, digits)
    assert reach == (levels**digits - 1) // 2
    integers = np.array([-reach, reach, 0, *(v % (2 * reach + 1) - reach for v in values)])
    parts = weight_digits(integers, levels, digits)
    assert parts.shape == (digits, len(integers))
    assert np.abs(parts.astype(int)).max() <= (levels - 1) // 2
    assert unsigned_digits(levels, digits) == 0
    factors = np.array(digit_factors(levels, digits))
    np.testing.assert_array_equal(factors @ parts.astype(np.int64), integers)
    with pytest.raises(ValueError, match="cannot hold"):
        weight_digits(np.array([reach + 1]), levels, digits)


@settings(deadline=None)
@given(st.sampled_from([2, 4, 8, 16, 128]), st.integers(1, 6), VALUES)
def test_digits_of_two_s_complement_recombine(levels: int, digits: int, values: list[int]) -> None:
    low, high = -(levels**digits) // 2, levels**digits // 2 - 1
    assert weight_reach(levels, digits) == high
    integers = np.array([low, high, *(value % levels**digits + low for value in values)])
    parts = weight_digits(integers, levels, digits)
    assert parts[: unsigned_digits(levels, digits)].min(initial=0) >= 0
    assert parts.max() < levels
    factors = np.array(digit_factors(levels, digits))
    np.testing.assert_array_equal(factors @ parts.astype(np.int64), integers)
    for outside in (low - 1, high + 1):
        with pytest.raises(ValueError, match="cannot hold"):
            weight_digits(np.array([outside]), levels, digits)


def test_the_digits_of_small_numbers() -> None:
    assert weight_digits(np.array([-3]), 2, 3).tolist() == [[1], [0], [1]]  # 1 + 0 - 4
    assert weight_digits(np.array([-3]), 4, 2).tolist() == [[1], [-1]]  # 1 - 4
    assert weight_digits(np.array([-3]), 3, 2).tolist() == [[0], [-1]]  # 0 - 3
    assert weight_digits(np.array([-3]), 15, 1).tolist() == [[-3]]


def test_digits_of_small_types_do_not_wrap() -> None:
    integers = np.array([-128, 127, 5], np.int8)
    for levels, digits in ((3, 6), (2, 8), (4, 4)):
        parts = weight_digits(integers, levels, digits).astype(np.int64)
        np.testing.assert_array_equal(np.array(digit_factors(levels, digits)) @ parts, integers)


@pytest.mark.parametrize(
    ("levels", "most", "counts"),
    [(2, 8, range(2, 9)), (4, 8, range(1, 5)), (15, 2, range(1, 3)), (3, 3, range(1, 4))],
)
def test_digits_worth_trying(levels: int, most: int, counts: range) -> None:
    """From the first that tells both signs to the first that holds an int8."""
    assert useful_digits(levels, most) == counts


@settings(deadline=None)
@given(st.integers(2, 16), st.booleans(), st.integers(1, 16))
def test_slices_recombine(bits: int, signed: bool, bits_per_step: int) -> None:
    low = -(1 << (bits - 1)) if signed else 0
    data = np.unique(np.linspace(low, low + (1 << bits) - 1, 999).astype(int)).astype(np.float32)
    pieces = input_slices(bits, signed, bits_per_step)
    assert len(pieces) == -(-bits // bits_per_step)
    total = np.zeros(data.shape)
    for piece in pieces:
        values = piece.of(data)
        total += values * piece.weight
        assert values.min() >= 0 or piece.is_signed
        assert values.max() < 1 << piece.bits
    np.testing.assert_array_equal(total, data)
