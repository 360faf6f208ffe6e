"""Ctrl-C and other requests to stop: what was begun is taken back, and one plain line tells it."""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

STOPS = tuple(
    getattr(signal, name) for name in ("SIGHUP", "SIGINT", "SIGTERM") if hasattr(signal, name)
)
AT_ONCE_S = 0.5
WORDS = {
    "SIGHUP": "hung up",
    "SIGINT": "interrupted",
    "SIGTERM": "terminated",
    "SIGKILL": "killed, as the system does when memory runs out",
}


class StopError(BaseException):  # no Exception: nothing on the way may take it for a failure
    """A signal stops the command.

    `line` says so, and `status` is the exit status that shells expect then.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        name = signal.Signals(number).name
        self.line = WORDS.get(name, f"ended by {name}")
        self.status = 128 + number


def is_ignored(number: int) -> bool:
    """Whether whoever started this process, such as `nohup`, wants a signal to do nothing."""
    return signal.getsignal(number) is signal.SIG_IGN


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """StopError where a signal of `STOPS` arrives while this lasts.

    One that comes at once after another is passed over, so that clearing up is not stopped in turn;
    a later one is not, should the first have been swallowed, as Python does in `__del__`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    last_s = -math.inf

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last_s
        if time.monotonic() - last_s > AT_ONCE_S:
            arrived.append(number)
            last_s = time.monotonic()
            raise StopError(number)

    before = {n: signal.signal(n, stop) for n in STOPS if not is_ignored(n)}
    try:
        yield
    except BaseException as error:
        if arrived and not isinstance(error, StopError):  # what a library made of it
            raise StopError(arrived[0]) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
