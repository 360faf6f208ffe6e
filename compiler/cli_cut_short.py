"""Ends with a plain line when a file is cut short while it is mapped, where the system would end the process without a word."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

from compiler.errors import ModelError

REFUSAL = ModelError(
    "a file (external data, or the weights of a package) was cut short while it was read",
    code="M006",
    hint="run it again when the file is complete",
)


@contextlib.contextmanager
def told_when_cut_short() -> Iterator[None]:
    """Answers the signal SIGBUS, which a process gets that reads mapped bytes beyond a file's new end, for as long as this lasts.

    The bytes are read by the C code of numpy and others, to which nothing can be raised, and a handler of Python's `signal` would only run when
    that is done: the handler is set in C, and ends the process. Output is only put in place when it is whole, so nothing is left half.
    """
    if not hasattr(signal, "SIGBUS"):
        yield
        return
    import ctypes

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(_end)
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype = ctypes.c_void_p
    set_handler.argtypes = (ctypes.c_int, ctypes.c_void_p)
    before = set_handler(signal.SIGBUS, ctypes.cast(handler, ctypes.c_void_p))
    try:
        yield
    finally:
        set_handler(signal.SIGBUS, before)


def _end(number: int) -> None:
    os.write(2, f"{REFUSAL.line()}\n".encode())
    os._exit(REFUSAL.exit_status)
