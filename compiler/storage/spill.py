"""Spills large arrays to mapped files without a name, so that the system can take their memory."""

from __future__ import annotations

import os
import tempfile

import numpy as np

from compiler.ir.graph import Array
from compiler.storage.mapped import BLOCK_BYTES, file_of, map_file

SPILL_BYTES = 4 << 20  # what is smaller is not worth a file


def spill_to_file(array: Array) -> Array:
    """Writes a large array to a temporary file and returns the same values mapped from it.

    The file lies in the folder for temporary files (TMPDIR); zeros are holes in it. Returns the
    array itself where it is small, lies in a file already, or finds no room there.
    """
    if array.nbytes < SPILL_BYTES or array.dtype.isbuiltin != 1 or file_of(array) is not None:
        return array
    try:
        with tempfile.TemporaryFile() as file:
            _write(np.ascontiguousarray(array), file.fileno())
            data = map_file(os.dup(file.fileno()))
    except OSError:  # the disk is full, or too many files are open
        return array
    return data.view(array.dtype).reshape(array.shape)


def _write(array: Array, handle: int) -> None:
    """Writes an array to an empty file, but for blocks of zeros."""
    flat = array.reshape(-1).view(np.uint8)
    for start in range(0, flat.size, BLOCK_BYTES):
        block = flat[start : start + BLOCK_BYTES]
        rest = block.data if block.any() else block[:0].data
        while rest:
            done = os.pwrite(handle, rest, start)
            start, rest = start + done, rest[done:]
    os.truncate(handle, flat.size)
