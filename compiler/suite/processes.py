"""Runs trials in processes of their own, so that one that dies or hangs takes no other with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

# What every trial imports is imported once, by the process that the others are made from.
PRELOADED = ("compiler.suite.trial", "compiler.driver", "compiler.flow.stages", "onnxruntime")
GRACE_S = 15.0  # how long a process may go on past its limit before it is ended


@dataclass(frozen=True)
class Died:
    """A process that ended without a result, and what ended it."""

    reason: str


@dataclass
class _Running:
    index: int
    process: BaseProcess
    results: Connection
    deadline_s: float


def run_each(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    jobs: int,
    time_limit_s: float,
) -> Iterator[tuple[int, Result | Died]]:
    """Does the work of each task in a process of its own, `jobs` at a time.

    Gives index and result as they come. A process that has not come back `GRACE_S` after
    `time_limit_s` is ended; the work keeps to that limit by itself where it can.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    waiting = list(enumerate(tasks))[::-1]
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                index, task = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=_child, args=(theirs, work, task))
                process.start()
                theirs.close()
                deadline_s = time.monotonic() + time_limit_s + GRACE_S
                running.append(_Running(index, process, ours, deadline_s))
            ended, running = _next_ended(running)
            for one in ended:
                yield one.index, _result(one)
    finally:
        for one in running:
            one.process.kill()


def _next_ended(running: list[_Running]) -> tuple[list[_Running], list[_Running]]:
    """Waits until a process has sent its result, died, or is past its deadline."""
    left_s = max(0.0, min(one.deadline_s for one in running) - time.monotonic())
    ready = set(wait([one.results for one in running], timeout=left_s))
    now = time.monotonic()
    ended = [one for one in running if one.results in ready or one.deadline_s <= now]
    return ended, [one for one in running if one not in ended]


def _result(one: _Running) -> Any:
    try:
        if one.results.poll():
            result = one.results.recv()
            one.process.join()
            return result
    except EOFError:  # it died before it sent anything
        one.process.join()
        return Died(_ended_by(one.process.exitcode))
    one.process.kill()
    one.process.join()
    return Died("it did not come back in time")


def _ended_by(status: int | None) -> str:
    if status is not None and status < 0:
        return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


def _child(results: Connection, work: Callable[[Task], Result], task: Task) -> None:
    """Does the work; what libraries print on the way is nobody's business."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    results.send(work(task))
