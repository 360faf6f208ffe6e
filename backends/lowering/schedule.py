"""Schedules steps: every engine does one step at a time, engines overlap where data allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A step to be timed: its engine, its time, and earlier tasks (by position) it waits for."""

    engine: str
    latency_ns: float
    after: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """Start and end of each task, in ns from the start of the inference."""

    starts_ns: tuple[float, ...]
    ends_ns: tuple[float, ...]

    @property
    def latency_ns(self) -> float:
        """When the last task ends."""
        return max(self.ends_ns, default=0.0)


def schedule(tasks: Sequence[Task]) -> Schedule:
    """Schedules tasks in the order given: each starts when its data are there and its engine free.

    An engine takes its tasks in the order given, so running them one by one in that order is a
    legal run too.
    """
    engine_free: dict[str, float] = {}
    starts: list[float] = []
    ends: list[float] = []
    for task in tasks:
        ready = max((ends[position] for position in task.after), default=0.0)
        start = max(ready, engine_free.get(task.engine, 0.0))
        starts.append(start)
        ends.append(start + task.latency_ns)
        engine_free[task.engine] = ends[-1]
    return Schedule(tuple(starts), tuple(ends))
