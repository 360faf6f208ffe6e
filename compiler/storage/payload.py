"""Defines the payload of a package: bytes, or arrays one behind the other, never all in memory."""

from __future__ import annotations

import hashlib
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from compiler.ir.graph import Array
from compiler.storage.mapped import Bytes, blocks, feed, file_of


@dataclass(frozen=True, eq=False)
class Payload:
    """Pieces of bytes, each at its offset, in order; what lies between them is zero.

    Holes of mapped files stay holes.
    """

    pieces: tuple[tuple[int, Bytes], ...]
    size_bytes: int

    @staticmethod
    def of(data: bytes | Bytes) -> Payload:
        """Makes a payload of some bytes."""
        array = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
        return Payload(((0, array),) if array.size else (), array.size)

    @staticmethod
    def laid_out(arrays: Iterable[Array], alignment: int) -> Payload:
        """Lays arrays out at multiples of an alignment, little-endian, as numpy's rows."""
        pieces: list[tuple[int, Bytes]] = []
        end = 0
        for array in arrays:
            start = -(-end // alignment) * alignment
            ordered = array.astype(array.dtype.newbyteorder("<"), copy=False)
            pieces.append((start, np.ascontiguousarray(ordered).reshape(-1).view(np.uint8)))
            end = start + array.nbytes
        return Payload(tuple(pieces), end)

    @cached_property
    def sha256(self) -> str:
        """The hash of the bytes."""
        digest = hashlib.sha256()
        for count, piece in self._blocks():
            feed(digest, count, piece)
        return digest.hexdigest()

    def view(self, offset: int, size_bytes: int) -> Bytes:
        """Returns some bytes, where they lie in one piece; ValueError when they do not."""
        index = bisect_right(self._starts, offset) - 1
        if not size_bytes:
            return np.zeros(0, np.uint8)
        start, piece = self.pieces[index] if index >= 0 else (0, np.zeros(0, np.uint8))
        if offset + size_bytes > start + piece.size:
            raise ValueError(f"bytes {offset} to {offset + size_bytes} are not one piece")
        return piece[offset - start : offset - start + size_bytes]

    def tobytes(self) -> bytes:
        """Reads all bytes into memory."""
        return b"".join(
            bytes(count) if piece is None else piece.tobytes() for count, piece in self._blocks()
        )

    def write(self, handle: int) -> None:
        """Writes the bytes to an empty file; a hole stays a hole."""
        position = 0
        for count, piece in self._blocks():
            rest = memoryview(b"") if piece is None else piece.data
            position += 0 if rest else count
            while rest:
                done = os.pwrite(handle, rest, position)
                position, rest = position + done, rest[done:]
        os.truncate(handle, self.size_bytes)

    def is_unchanged(self) -> bool:
        """Whether the files that pieces are mapped from are what they were."""
        files = {id(file): file for _, piece in self.pieces if (file := file_of(piece))}
        return all(file.is_unchanged() for file in files.values())

    @cached_property
    def _starts(self) -> list[int]:
        return [start for start, _ in self.pieces]

    def _blocks(self) -> Iterator[tuple[int, Bytes | None]]:
        position = 0
        for start, piece in self.pieces:
            if start > position:
                yield start - position, None
            for count, part in blocks(piece):
                yield count, None if part is None else part.view(np.uint8)
            position = start + piece.size
