"""Reads weights from a model's external files, and only from inside the model's folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath

import onnx

from compiler.errors import ModelError
from compiler.storage.mapped import Bytes, file_of, hash_of, map_file

READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is not waited for


class External:
    """The files of a model's external data.

    `folder` is None for a model that came without one: then external data is refused.

    Together they may have `most_bytes` (None: any number), whatever part of them is asked for: all
    of them is hashed. Their bytes are mapped, so they take no memory of the process's own and are
    read when they are looked at.
    """

    def __init__(self, folder: Path | None, most_bytes: int | None = None) -> None:
        self.folder = folder
        self.most_bytes = most_bytes
        self._files: dict[str, Bytes] = {}

    @property
    def files(self) -> list[Path]:
        """The files that were opened, in order of first use."""
        folder = self.folder or Path()
        return [folder / location for location in self._files]

    def open(self, tensor: onnx.TensorProto) -> None:
        """Opens the file that a tensor lies in, wherever in it.

        ModelError M006 when that is no plain file inside the folder.
        """
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            locations = [entry.value for entry in tensor.external_data if entry.key == "location"]
            self._file(tensor, "".join(locations))

    def bytes_of(self, tensor: onnx.TensorProto, size_bytes: int) -> Bytes:
        """Returns the bytes of a tensor.

        ModelError M006 when its entry is not one whole piece of a plain file inside the folder.
        """
        entries = [(entry.key, entry.value) for entry in tensor.external_data]
        fields = dict(entries)
        location = fields.get("location", "")
        if len(fields) != len(entries) or not location:
            raise _refused(tensor, "it must have one location, and each key once")
        data = self._file(tensor, location)
        offset = _number(tensor, "offset", fields.get("offset", "0"))
        length = _number(tensor, "length", fields.get("length", str(size_bytes)))
        if length != size_bytes:
            raise _refused(tensor, f"its length is {length} bytes, the tensor has {size_bytes}")
        if offset + length > data.size:
            raise _refused(
                tensor,
                f"bytes {offset} to {offset + length} lie beyond the end of {location!r}, which "
                f"has {data.size}",
            )
        return data[offset : offset + length]

    def digests(self) -> list[bytes]:
        """Hashes each file that was opened, in order of first use.

        ModelError M006 for one that changed meanwhile.
        """
        found = [hash_of(data) for data in self._files.values()]
        for location, data in self._files.items():
            file = file_of(data)
            if file is not None and not file.is_unchanged():
                raise ModelError(
                    f"external data {location!r} changed while it was read", code="M006"
                )
        return found

    def _file(self, tensor: onnx.TensorProto, location: str) -> Bytes:
        if self.folder is None:
            raise _refused(
                tensor,
                "the model was handed in without its folder",
                hint="hand in the path of its file",
            )
        if location not in self._files:
            try:
                handle = _open(tensor, self.folder, location)
                self._check_size(location, handle)
                self._files[location] = map_file(handle)
            except OSError as error:
                raise _refused(tensor, f"{location!r} cannot be read: {error.strerror}") from error
        return self._files[location]

    def _check_size(self, location: str, handle: int) -> None:
        total = os.fstat(handle).st_size + sum(data.size for data in self._files.values())
        if self.most_bytes is not None and total > self.most_bytes:
            os.close(handle)
            raise ModelError(
                f"with {location!r} the files of external data have {total} bytes, the limit is "
                f"{self.most_bytes}",
                code="M008",
                hint="--max-tensor-bytes allows more",
            )


def _open(tensor: onnx.TensorProto, folder: Path, location: str) -> int:
    """Opens the plain file at a location and returns its handle.

    The location is reached folder by folder, so that nothing on the way can lead elsewhere.
    """
    parts = PurePosixPath(location).parts
    if (
        PurePosixPath(location).is_absolute()
        or ".." in parts
        or "\\" in location
        or "\0" in location
    ):
        raise _refused(tensor, f"location {location!r} must lie inside the model's folder")
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for position, part in enumerate(parts, 1):
            try:
                is_link = stat.S_ISLNK(os.lstat(part, dir_fd=here).st_mode)
            except OSError as error:
                raise _refused(tensor, f"there is no file {location!r} beside the model") from error
            if is_link:
                raise _refused(tensor, f"location {location!r} leads through a symbolic link")
            inner = _open_part(tensor, location, part, here, position == len(parts))
            os.close(here)
            here = inner
        found = os.fstat(here)
        if not stat.S_ISREG(found.st_mode):
            raise _refused(tensor, f"location {location!r} is not a regular file")
        if found.st_nlink != 1:
            raise _refused(tensor, f"{location!r} is a hard link to a file that has other names")
    except BaseException:
        os.close(here)
        raise
    return here


def _open_part(
    tensor: onnx.TensorProto, location: str, part: str, folder: int, is_file: bool
) -> int:
    try:
        return os.open(part, READ if is_file else READ | os.O_DIRECTORY, dir_fd=folder)
    except OSError as error:
        raise _refused(tensor, f"{location!r} cannot be read: {error.strerror}") from error


def _number(tensor: onnx.TensorProto, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise _refused(tensor, f"its {key} {text!r} is not a number of bytes")
    return int(text)


def _refused(tensor: onnx.TensorProto, reason: str, hint: str = "") -> ModelError:
    return ModelError(f"external data of tensor {tensor.name!r}: {reason}", code="M006", hint=hint)
