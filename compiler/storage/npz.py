"""Reads arrays from an npz that anyone may have made.

Nothing is unpickled, and no header is believed before the file's own sizes bear it out.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy

from compiler.errors import CompileError, ModelError, UsageError, one_line
from compiler.ir.graph import Array
from compiler.storage.files import open_regular
from compiler.storage.mistaken import what_stands_at, why_mistaken, why_unreadable

MAX_FILE_BYTES = 1 << 34  # uncompressed, over all arrays of a file
MOST_PACKED = 1032  # deflate makes at most so many bytes of one
_BROKEN = (
    ValueError, EOFError, KeyError, SyntaxError, RuntimeError, TypeError, NotImplementedError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def read_npz(file: Path, choose: Callable[[list[str]], Iterable[str]]) -> dict[str, Array]:
    """Reads the arrays that `choose` picks from the names in the file; others are not looked at.

    Raises UsageError (U001) for a file that cannot be read, ModelError (M009) for one that is
    broken or unsafe, and what `choose` raises.
    """
    shown = one_line(str(file))
    try:
        with open_regular(file) as stream, zipfile.ZipFile(stream) as archive:
            entries = {item.filename.removesuffix(".npy"): item for item in archive.infolist()}
            if sum(item.file_size for item in archive.infolist()) > MAX_FILE_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_FILE_BYTES:,} bytes")
            names = dict.fromkeys(choose(list(entries)))
            return {name: _array(name, archive, entries[name]) for name in names}
    except CompileError:
        raise
    except OSError as error:
        reason = why_mistaken(file, "an npz of arrays") or why_unreadable(error)
        raise UsageError(f"data file {shown!r}: {reason}", code="U001") from error
    except _BROKEN as error:
        mistaken = why_mistaken(file, "an npz of arrays")
        if mistaken:
            hint = "numpy.savez(FILE, NAME=array) writes one" if mistaken.count("(.npy)") else ""
            raise ModelError(f"data file {mistaken}", code="M009", hint=hint) from error
        reason = one_line(str(error)) or type(error).__name__
        if isinstance(error, zipfile.BadZipFile) and what_stands_at(file):
            size_bytes = file.stat().st_size
            reason = f"it ends in the middle, after {size_bytes:,} bytes: the zip is cut short"
        raise ModelError(f"data file {shown!r}: {reason}", code="M009") from error


def _array(name: str, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Array:
    """Reads one array of a sound entry.

    Its header has to agree with the size of the entry, and that with the number of packed bytes.
    """
    shown = f"array {one_line(name)!r}"
    if entry.file_size > MOST_PACKED * entry.compress_size + MOST_PACKED:
        raise ValueError(
            f"{shown} says it unpacks {entry.compress_size} bytes to {entry.file_size}"
        )
    with archive.open(entry) as packed:
        stream = cast(BinaryIO, packed)
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        start = stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{shown} holds Python objects, which are not unpickled (allow_pickle)")
    wanted = prod(shape) * dtype.itemsize
    if any(size < 0 for size in shape) or wanted != entry.file_size - start:
        raise ValueError(
            f"{shown} says it is {dtype}{list(shape)}, {wanted} bytes, and has "
            f"{entry.file_size - start}"
        )
    with archive.open(entry) as packed:
        return np.asarray(npy.read_array(cast(BinaryIO, packed), allow_pickle=False))
