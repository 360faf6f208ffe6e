"""Estimates: numbers with the interval they lie in."""

from __future__ import annotations

import pytest

from compiler.units import ZERO, Estimate, total


def test_intervals_add_end_to_end() -> None:
    assert Estimate(1.0, 0.5, 2.0) + Estimate(10.0, 10.0, 11.0) == Estimate(11.0, 10.5, 13.0)
    assert total([Estimate(1.0, 0.5, 2.0)] * 3) == Estimate(3.0, 1.5, 6.0)
    assert total([]) == ZERO == Estimate.exact(0.0)


def test_scaling_keeps_the_order_of_the_ends() -> None:
    assert Estimate(2.0, 1.0, 4.0).times(3) == Estimate(6.0, 3.0, 12.0)
    assert Estimate(2.0, 1.0, 4.0).times(0) == ZERO
    with pytest.raises(ValueError, match="cannot be scaled by -1"):
        Estimate(2.0, 1.0, 4.0).times(-1)


@pytest.mark.parametrize("ends", [(2.0, 3.0), (-1.0, 0.5), (float("nan"), 2.0)])
def test_a_value_outside_its_interval_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="outside"):
        Estimate(1.0, *ends)
    with pytest.raises(ValueError, match="outside"):
        Estimate(float("nan"), 0.0, 1.0)
