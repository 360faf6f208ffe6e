"""Numbers that say how wrong they may be: a value between a low and a high."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with the interval it lies in; the unit is in the name of whatever holds it.

    Intervals add and multiply end to end (what they come from is taken as fully correlated), which
    never understates the spread. Sums and products keep count of assumptions where one of the two
    does (`TracedEstimate`).
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"estimate {self.value} outside [{self.low}, {self.high}]")

    @property
    def assumed(self) -> float:
        """The part of the value that rests on assumptions, as far as it is known."""
        return 0.0

    @staticmethod
    def exact(value: float) -> Estimate:
        """Makes an estimate of a number with no spread."""
        return Estimate(value, value, value)

    @property
    def is_exact(self) -> bool:
        """Whether it has no spread."""
        return self.low == self.high

    @property
    def plain(self) -> Estimate:
        """The three numbers alone."""
        return Estimate(self.value, self.low, self.high)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Estimate):
            return NotImplemented
        return (self.value, self.low, self.high) == (other.value, other.low, other.high)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def __mul__(self, other: Estimate) -> Estimate:
        """Multiplies two estimates of 0 or more, such as a power and a time."""
        return Estimate(self.value * other.value, self.low * other.low, self.high * other.high)

    def times(self, factor: float) -> Estimate:
        """Scales the estimate by a number of 0 or more; ValueError for another."""
        _require_factor(factor)
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, eq=False)
class TracedEstimate(Estimate):
    """An estimate that keeps count of how much of its value rests on assumptions.

    Of a sum that is what rests on them in its terms; of a product all but what the factors have
    without them, so whatever is multiplied by an assumption rests on it.
    """

    assumed: float = 0.0

    def __add__(self, other: Estimate) -> TracedEstimate:
        return TracedEstimate(
            self.value + other.value,
            self.low + other.low,
            self.high + other.high,
            self.assumed + other.assumed,
        )

    __radd__ = __add__

    def __mul__(self, other: Estimate) -> TracedEstimate:
        """Multiplies two estimates of 0 or more, such as a power and a time."""
        value = self.value * other.value
        sourced = (self.value - self.assumed) * (other.value - other.assumed)
        return TracedEstimate(
            value, self.low * other.low, self.high * other.high, max(0.0, value - sourced)
        )

    __rmul__ = __mul__

    def times(self, factor: float) -> TracedEstimate:
        """Scales the estimate by a number of 0 or more; ValueError for another."""
        _require_factor(factor)
        return TracedEstimate(
            self.value * factor, self.low * factor, self.high * factor, self.assumed * factor
        )

    def inverse(self, amount: float = 1.0) -> TracedEstimate:
        """Divides an amount by the estimate: the time that it takes at this rate."""
        value = amount / self.value
        assumed = value if self.assumed else 0.0
        return TracedEstimate(value, amount / self.high, amount / self.low, assumed)


ZERO = Estimate(0.0, 0.0, 0.0)


def longest(estimates: Sequence[Estimate]) -> TracedEstimate:
    """Finds the longest of several times that pass side by side: value, low and high each.

    It rests on what the one with the largest value rests on.
    """
    first = max(estimates, key=lambda one: (one.value, -one.assumed))
    return TracedEstimate(
        first.value,
        max(one.low for one in estimates),
        max(one.high for one in estimates),
        first.assumed,
    )


def is_assumption(source: str) -> bool:
    """Whether the source of a number is no source but a stated guess."""
    return source.startswith("assumption")


def total(estimates: list[Estimate]) -> Estimate:
    """Adds up estimates, in the order given (so that the bytes are the same every time)."""
    value = low = high = assumed = 0.0
    for estimate in estimates:
        value += estimate.value
        low += estimate.low
        high += estimate.high
        assumed += estimate.assumed
    return TracedEstimate(value, low, high, assumed) if assumed else Estimate(value, low, high)


def _require_factor(factor: float) -> None:
    if factor < 0:
        raise ValueError(f"an estimate cannot be scaled by {factor}")
