"""Opens what users name as files, and nothing else: to open a pipe may be to wait for ever, and a device may have no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """A regular file, or a link to one, open for reading. Raises OSError, whose `strerror` says what else it is."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
        said = os.strerror(number) if stat.S_ISDIR(mode) else "not a regular file"
        raise OSError(number, said, str(path))
    return os.fdopen(handle, "rb")
