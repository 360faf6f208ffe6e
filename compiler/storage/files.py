"""Opens and writes the files that users name.

They are opened only when they are files, since to open a pipe may be to wait for ever, and they are
put in place whole.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from compiler.errors import UsageError, one_line


def path_of(value: Any, what: str) -> Path:
    """Makes a path of what a user hands in; UsageError (U004) for what is none."""
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        kind = type(value).__name__
        raise UsageError(f"the {what} is of type {one_line(kind)}, wanted is a path (a text)")
    return Path(value)


def stem_of(path: Path) -> str:
    """Returns a file's name without its ending.

    What is no text in it, as the system allows, becomes escapes: not every file can hold it.
    """
    return path.stem.encode("utf-8", "backslashreplace").decode("utf-8")


def open_regular(path: Path) -> BinaryIO:
    """Opens a regular file, or a link to one, for reading.

    Raises OSError, whose `strerror` says what else it is.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        said = os.strerror(number) if stat.S_ISDIR(mode) else "not a regular file"
        raise OSError(number, said, str(path))
    return os.fdopen(handle, "rb")


def write_whole(path: Path, data: bytes, read: Iterable[Path] = ()) -> None:
    """Puts a file in place at once: readers see all of it or what was there before.

    Missing folders are made, what a killed run left goes.

    A device or a pipe (/dev/null, /dev/stdout) is written to: a file in its place would take it
    from everyone. Raises UsageError (U007) when it cannot be written, or when it is one of the
    files that the data come from: whoever names one of these has mistaken it.
    """
    if any(_is_same(path, source) for source in read):
        raise UsageError(
            f"{one_line(str(path))!r} is read, and would be written over",
            code="U007",
            hint="give another name",
        )
    try:
        kind = _kind(path)
        if kind == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if kind in (stat.S_IFREG, 0):
            _replace(path, data)
        else:
            _pour(path, data)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot write {one_line(str(path))!r}: {reason}", code="U007") from error


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except (OSError, ValueError):
        return False


def _kind(path: Path) -> int:
    """Finds the kind of what stands at a path, as `stat` has it; 0 where nothing does."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return 0


def _pour(path: Path, data: bytes) -> None:
    """Writes to a device or pipe; a pipe that nobody reads is not waited for."""
    handle = os.open(path, os.O_WRONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "wb") as stream:
        os.set_blocking(handle, True)
        stream.write(data)


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _remove_unfinished(path)


def _remove_unfinished(path: Path) -> None:
    """Removes the temporary files that writers of a file left and that no longer run."""
    if os.name != "posix":  # elsewhere a signal of 0 is no question
        return
    start, end = f".{path.name[:100]}.", ".tmp"
    for name in os.listdir(path.parent):
        number = name[len(start) : -len(end)]
        if not (name.startswith(start) and name.endswith(end) and number.isascii()):
            continue
        if number.isdigit() and len(number) < 10 and not _is_running(int(number)):
            (path.parent / name).unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it runs, for somebody else
        return True
    return True
