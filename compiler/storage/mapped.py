"""Maps files into memory as arrays, and walks them in blocks.

Holes of a file are known to be zero without being read.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
from bisect import bisect_right
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Array

Bytes: TypeAlias = npt.NDArray[np.uint8]
Range: TypeAlias = tuple[int, int]

BLOCK_BYTES = 1 << 22
MOST_RANGES = 100_000  # of data in a file: one that is torn into more is read as a whole
ZEROS = bytes(BLOCK_BYTES)


class FileMap(mmap.mmap):
    """A file mapped for reading.

    `data` are the ranges of its bytes, in order, that are no holes.
    """

    handle: int = -1  # until it is mapped
    stamp: tuple[int, int]
    data: tuple[Range, ...]

    def is_unchanged(self) -> bool:
        """Whether nobody has written to the file since it was mapped."""
        return _stamp(self.handle) == self.stamp

    def __del__(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)


def map_file(handle: int) -> Bytes:
    """Maps the bytes of an open file, which are read only when they are looked at.

    The handle is theirs from now on.
    """
    size_bytes, _ = stamp = _stamp(handle)
    if not size_bytes:
        os.close(handle)
        return np.zeros(0, np.uint8)
    _allow_more_files(handle)
    try:
        found = FileMap(handle, size_bytes, access=mmap.ACCESS_READ)
    except BaseException:
        os.close(handle)
        raise
    found.handle, found.stamp = handle, stamp
    found.data = data_ranges(handle, size_bytes)
    return np.frombuffer(found, np.uint8)


def _allow_more_files(handle: int) -> None:
    """Raises the limit of open files to the most that the system allows.

    Some exporters write a file for each weight, and the usual limit is one to be raised at will.
    """
    try:
        import resource
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if handle > soft // 2 and soft != hard:  # a map takes a second handle
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def file_of(array: Array) -> FileMap | None:
    """Finds the mapped file that an array's data lie in, None for one in memory."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, memoryview):
        base = base.obj
    return base if isinstance(base, FileMap) else None


def release_pages(array: Array) -> None:
    """Releases the memory of a mapped array to the system; any other array stays as it is.

    The system reads the file again where the array is used.
    """
    base = file_of(array)
    if base is None or not array.flags.forc or not hasattr(mmap, "MADV_DONTNEED"):
        return
    start = _offset(array, base)
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (start + array.nbytes) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        base.madvise(mmap.MADV_DONTNEED, first, last - first)


def _offset(array: Array, base: FileMap) -> int:
    """Finds where in a mapped file the data of an array begin, bytes."""
    whole = np.frombuffer(base, np.uint8)
    return int(array.__array_interface__["data"][0] - whole.__array_interface__["data"][0])


def _stamp(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_size, found.st_mtime_ns


def data_ranges(handle: int, size_bytes: int) -> tuple[Range, ...]:
    """Finds the ranges of an open file that are no holes.

    It is all of the file where the system cannot tell.
    """
    everything = ((0, size_bytes),) if size_bytes else ()
    if not hasattr(os, "SEEK_DATA"):
        return everything
    found: list[Range] = []
    position = 0
    try:
        while position < size_bytes:
            start = os.lseek(handle, position, os.SEEK_DATA)
            position = min(os.lseek(handle, start, os.SEEK_HOLE), size_bytes)
            found.append((start, position))
            if len(found) > MOST_RANGES:
                return everything
    except OSError as error:
        if error.errno != errno.ENXIO:  # that is: no data from here to the end
            return everything
    return tuple(found)


def blocks(array: Array) -> Iterator[tuple[int, Array | None]]:
    """Walks a C-contiguous array as flat pieces in order, each with its number of elements.

    None for a piece that is all zeros, unread.

    A piece of a mapped file leaves memory when the next one is asked for: a walk takes no more of
    it than a piece.
    """
    flat = array.reshape(-1)
    if not flat.size:
        return
    size = flat.itemsize
    done = 0
    for start, end in _element_ranges(flat):
        if start > done:
            yield start - done, None
        for at in range(start, end, BLOCK_BYTES // size):
            piece = flat[at : min(at + BLOCK_BYTES // size, end)]
            yield piece.size, piece
            release_pages(piece)
        done = end
    if done < flat.size:
        yield flat.size - done, None


def _element_ranges(flat: Array) -> Iterator[Range]:
    """Finds the ranges of elements of a flat array that may be other than zero.

    Each of these elements has a byte which is no hole.
    """
    base = file_of(flat)
    if base is None:
        yield 0, flat.size
        return
    offset = _offset(flat, base)
    done = 0
    for low, high in base.data[max(0, bisect_right(base.data, (offset, 0)) - 1) :]:
        if low >= offset + flat.nbytes:
            return
        start = max(done, (low - offset) // flat.itemsize)
        end = min(flat.size, -((offset - high) // flat.itemsize))
        if start < end:
            yield start, end
            done = end


def hash_of(array: Array) -> bytes:
    """Computes the SHA-256 of an array's bytes, of which holes are not read."""
    digest = hashlib.sha256()
    for count, piece in blocks(array):
        feed(digest, count * array.itemsize, piece)
    return digest.digest()


def feed(digest: hashlib._Hash, size_bytes: int, piece: Array | None) -> None:
    """Adds a piece of an array, as `blocks` gives it, to a hash."""
    if piece is not None:
        digest.update(piece.view(np.uint8).data)
        return
    for start in range(0, size_bytes, BLOCK_BYTES):
        digest.update(ZEROS[: size_bytes - start])
