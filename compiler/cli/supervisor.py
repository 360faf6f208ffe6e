"""Runs a command in a child process, so that whatever ends it is reported in one line.

A crash in a library's C code is too.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

from compiler.cli.signals import STOPS, StopError, is_ignored
from compiler.errors import ModelError

GRACE_S = 5.0  # how long a child that is asked to stop may take, before it is ended
AGAIN_S = 1.0  # asked again meanwhile: the first may have been swallowed
CRASHES = ("SIGABRT", "SIGFPE", "SIGILL", "SIGSEGV")
DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl
CUT_SHORT = ModelError(
    "a file (external data, or the weights of a package) was cut short while it was read",
    code="M006",
    hint="run it again when the file is complete",
)


class CrashError(Exception):
    """The code of a library ended the process."""


def run_supervised(work: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """The exit status of the work; in this process where the system makes no other."""
    if not hasattr(os, "fork"):
        return work(arguments)
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # until both know what to do with one
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError:  # no room for another process
        child = 0
    if child:
        return _watch(child, arguments)
    _end_with(parent)
    for number in STOPS:  # where nothing can be left half, it ends at once
        if not is_ignored(number):
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    # What a compilation makes lives to its end: looking for cycles at every 700th object takes a
    # tenth of the time and finds none.
    gc.set_threshold(100_000)
    return work(arguments)


def _end_with(parent: int) -> None:
    """Ends this process when its parent is killed, where the system can.

    Nobody is left then who wants what it makes.
    """
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None and os.getpid() != parent:
        prctl(DEATH_OF_PARENT, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before
            os._exit(128 + signal.SIGKILL)


def _watch(child: int, arguments: Sequence[str]) -> int:
    """Waits for the child, hands on what asks for a stop, and gives its exit status.

    Tells what ended it when it could not.
    """
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S, AGAIN_S)
        _send(child, number)

    def insist(number: int, frame: FrameType | None) -> None:
        asked.append(asked[0])
        _send(child, asked[0] if len(asked) * AGAIN_S < GRACE_S else signal.SIGKILL)

    signal.signal(signal.SIGALRM, insist)
    for number in STOPS:
        if not is_ignored(number):
            signal.signal(number, ask)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.setitimer(signal.ITIMER_REAL, 0)
    return status if status >= 0 else _report_signal(asked[0] if asked else -status, arguments)


def _send(child: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended
        os.kill(child, number)


def _report_signal(number: int, arguments: Sequence[str]) -> int:
    """Prints which signal ended the work and returns the exit status for it."""
    from compiler.cli.console import print_error
    from compiler.cli.failures import bug, restrain_streams

    restrain_streams()
    name = signal.Signals(number).name
    if name == "SIGBUS":  # bytes of a mapped file were read beyond its new end
        print_error(CUT_SHORT.line())
        return CUT_SHORT.exit_status
    if name in CRASHES:
        print_error(bug(CrashError(f"a library ended the process by {name}"), arguments))
        return 1
    stop = StopError(number)
    print_error(stop.line)
    return stop.status
