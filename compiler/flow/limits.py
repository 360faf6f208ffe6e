"""Limits the memory, time and work of Loops that a command takes: past a limit it is refused."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from compiler.errors import CompileError, ModelError

REFUSED = 3
GRACE_S = 10.0  # how long code that is not Python may take to come back, before the process ends
AGAIN_S = 1.0  # the reminder, should the first be swallowed where Python swallows everything
# How numpy, C++, the operating system and its loader say that there was no memory; the last is
# CPython's word for C code that got none and said nothing, such as protobuf's when it is imported.
NO_ROOM = (
    "Unable to allocate", "bad_alloc", "bad allocation", "Failed to allocate memory",
    "out of memory", "Cannot allocate memory", "can't start new thread",
    "cannot map zero-fill pages", "failed to map segment", "error return without exception set",
)  # fmt: skip


class TimeIsUp(
    BaseException
):  # no Exception: nothing on the way may take it for a failure of its own
    """The time is up."""


@contextlib.contextmanager
def limited(
    memory_bytes: int | None, seconds: float | None, loop_work: int | None = None
) -> Iterator[None]:
    """Raises ModelError M008 when what is done inside takes more memory, time or work in Loops.

    Of memory None is what the machine has, of time no limit, of work what it is already.
    """
    from compiler.execute.loop_work import limited_loop_work

    _let_libraries_take_their_room()
    # Time first: it starts a thread, which would be waited for for ever if it got no memory.
    memory = _memory(memory_bytes or machine_bytes())
    with _time(seconds), memory, limited_loop_work(loop_work):
        yield


def machine_bytes() -> int | None:
    """The memory of the machine, None where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


@contextlib.contextmanager
def _memory(limit_bytes: int | None) -> Iterator[None]:
    """Limits memory of the process's own, files that are mapped not counted."""
    try:
        import resource
    except ImportError:
        limit_bytes = None
    if limit_bytes is None:
        yield
        return
    before, highest = resource.getrlimit(resource.RLIMIT_DATA)
    if highest != resource.RLIM_INFINITY:
        limit_bytes = min(limit_bytes, highest)
    limit_bytes = min(limit_bytes, sys.maxsize)
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, highest))
    try:
        yield
    except Exception as error:
        resource.setrlimit(resource.RLIMIT_DATA, (before, highest))
        if not _lacked_room(error):
            raise
        raise ModelError(
            f"it takes more memory than the {limit_bytes:,} bytes of --max-memory", code="M008"
        ) from error
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, highest))


def _let_libraries_take_their_room() -> None:
    """Does before what ends the process when it gets no memory.

    That is OpenBLAS's first product, for which it takes what it keeps, and the making of pydantic's
    validators, when their modules are imported.
    """
    import numpy as np

    import compiler.plan.schema
    import compiler.target.chip  # noqa: F401  # imported for what importing does

    square = np.ones((256, 256), np.float32)
    np.linalg.inv(np.eye(64) + 1e-3 * (square @ square)[:64, :64])


def _lacked_room(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, says that there was no memory."""
    while error is not None:
        if isinstance(error, MemoryError) or any(words in str(error) for words in NO_ROOM):
            return not (isinstance(error, CompileError) and error.code == "M008")
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _time(seconds: float | None) -> Iterator[None]:
    """Ends the work by an exception in the main thread.

    A thread ends the process should that not come back to Python.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if seconds is None or not hasattr(signal, "setitimer") or not on_main_thread:
        yield
        return
    seconds = min(seconds, threading.TIMEOUT_MAX - GRACE_S)  # some centuries
    refusal = ModelError(f"it takes longer than the {seconds:g} s of --time-limit", code="M008")
    over, is_late = threading.Event(), threading.Event()

    def remind(number: int, frame: FrameType | None) -> None:
        if not over.is_set():
            is_late.set()
            raise TimeIsUp

    def end() -> None:
        if not over.wait(seconds + GRACE_S):
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"{refusal.line()}\n")
                sys.stderr.flush()
            os._exit(REFUSED)  # output is only written when all is done, so nothing is left half

    handler = signal.signal(signal.SIGALRM, remind)
    threading.Thread(target=end, daemon=True).start()
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_S)
            yield
        finally:
            over.set()
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
    except BaseException as error:
        if not is_late.is_set():
            raise
        raise refusal from error  # a library may have made another error of the reminder
