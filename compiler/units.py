"""Numbers that say how wrong they may be: a value between a low and a high."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with the interval it lies in; the unit is in the name of whatever holds it.

    Intervals add end to end (parts are taken as fully correlated), which never understates the
    spread.
    """

    value: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"estimate {self.value} outside [{self.low}, {self.high}]")

    @staticmethod
    def exact(value: float) -> Estimate:
        """Makes an estimate of a number with no spread."""
        return Estimate(value, value, value)

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Estimate:
        """Scales the estimate by a number of 0 or more; ValueError for another."""
        if factor < 0:
            raise ValueError(f"an estimate cannot be scaled by {factor}")
        return Estimate(self.value * factor, self.low * factor, self.high * factor)


ZERO = Estimate(0.0, 0.0, 0.0)


def is_assumption(source: str) -> bool:
    """Whether the source of a number is no source but a stated guess."""
    return source.startswith("assumption")


def total(estimates: list[Estimate]) -> Estimate:
    """Adds up estimates, in the order given (so that the bytes are the same every time)."""
    value = low = high = 0.0
    for estimate in estimates:
        value += estimate.value
        low += estimate.low
        high += estimate.high
    return Estimate(value, low, high)
