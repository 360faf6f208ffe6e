"""Reads weights that a model keeps in files of their own, and only from inside the model's folder."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import onnx

from compiler.errors import ModelError


class External:
    """The files beside a model. `folder` is None for a model that came without one: then external data is refused."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.files: list[Path] = []
        self._sizes: dict[str, int] = {}

    def read(self, tensor: onnx.TensorProto, size_bytes: int) -> bytes:
        """The bytes of a tensor; ModelError M006 when its entry is not one whole piece of a plain file inside the folder."""
        entries = [(entry.key, entry.value) for entry in tensor.external_data]
        fields = dict(entries)
        if len(fields) != len(entries) or not fields.get("location"):
            raise _refused(tensor, "it must have one location, and each key once")
        path = self._path(tensor, fields["location"])
        offset = _number(tensor, "offset", fields.get("offset", "0"))
        length = _number(tensor, "length", fields.get("length", str(size_bytes)))
        if length != size_bytes:
            raise _refused(tensor, f"its length is {length} bytes, the tensor has {size_bytes}")
        if offset + length > self._sizes[fields["location"]]:
            raise _refused(
                tensor,
                f"bytes {offset} to {offset + length} lie beyond the end of {path.name!r}, which has {self._sizes[fields['location']]}",
            )
        with _open(tensor, path) as file:
            file.seek(offset)
            return file.read(length)

    def digests(self) -> list[bytes]:
        """The hash of each file that was read, in order of first use."""
        found = []
        for path in self.files:
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").digest())
        return found

    def _path(self, tensor: onnx.TensorProto, location: str) -> Path:
        if self.folder is None:
            raise _refused(
                tensor,
                "the model was handed in without its folder",
                hint="hand in the path of its file",
            )
        path = self.folder / location
        if location not in self._sizes:
            self._sizes[location] = _size_of(tensor, self.folder, location)
            self.files.append(path)
        return path


def _size_of(tensor: onnx.TensorProto, folder: Path, location: str) -> int:
    """The size of the file at a location, after all that could lead elsewhere is ruled out."""
    parts = PurePosixPath(location).parts
    if (
        PurePosixPath(location).is_absolute()
        or ".." in parts
        or "\\" in location
        or "\0" in location
    ):
        raise _refused(tensor, f"location {location!r} must lie inside the model's folder")
    here = folder
    for part in parts:
        here = here / part
        try:
            found = os.lstat(here)
        except OSError as error:
            raise _refused(tensor, f"there is no file {location!r} beside the model") from error
        if stat.S_ISLNK(found.st_mode):
            raise _refused(tensor, f"location {location!r} leads through a symbolic link")
    if not parts or not stat.S_ISREG(found.st_mode):
        raise _refused(tensor, f"location {location!r} is not a regular file")
    if found.st_nlink != 1:
        raise _refused(tensor, f"{location!r} is a hard link to a file that has other names")
    return found.st_size


def _open(tensor: onnx.TensorProto, path: Path) -> BinaryIO:
    """Opens a file that must still be no symbolic link."""
    try:
        return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError as error:
        raise _refused(tensor, f"{path.name!r} cannot be read: {error.strerror}") from error


def _number(tensor: onnx.TensorProto, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _refused(tensor, f"its {key} {text!r} is not a number of bytes")
    return int(text)


def _refused(tensor: onnx.TensorProto, reason: str, hint: str = "") -> ModelError:
    return ModelError(f"external data of tensor {tensor.name!r}: {reason}", code="M006", hint=hint)
