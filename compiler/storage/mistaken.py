"""Tells what stands at a path where something else is wanted, in the words of users."""

from __future__ import annotations

import stat
from pathlib import Path

from compiler.errors import one_line

_LOOKED_AT = 4096  # bytes of a file
_OURS = {
    "a joulec package", "a numpy array (.npy)", "an npz of arrays", "an ONNX model", "a chip file",
    "a calibration file",
}  # fmt: skip


def what_stands_at(path: Path) -> str:
    """Finds what a path names, such as "an npz of arrays"; an empty string for what is unknown.

    Only regular files are looked into.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return "a joulec package" if (path / "plan.json").is_file() else "a folder"
        if not stat.S_ISREG(mode):
            return ""
        with path.open("rb") as stream:
            return _kind_of(stream.read(_LOOKED_AT))
    except (OSError, ValueError):
        return ""


def why_mistaken(path: Path, wanted: str) -> str:
    """Explains that a path names something else than is `wanted`, or returns an empty string.

    Of what a command of joulec takes elsewhere it asks whether two arguments were swapped.
    """
    found = what_stands_at(path)
    if not found or found == wanted:
        return ""
    swapped = "; were two arguments swapped?" if found in _OURS else ""
    return f"{one_line(str(path))!r} is {found}, wanted is {wanted}{swapped}"


def why_unreadable(error: OSError | ValueError) -> str:
    """Says in plain words why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return "it does not exist"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    return getattr(error, "strerror", None) or one_line(str(error))


def _kind_of(start: bytes) -> str:
    """Finds the kind of a file from how it begins."""
    if not start:
        return "an empty file"
    if start.startswith(b"\x93NUMPY"):
        return "a numpy array (.npy)"
    if start.startswith(b"PK\x03\x04"):
        name_bytes = int.from_bytes(start[26:28], "little")
        return "an npz of arrays" if start[30 : 30 + name_bytes].endswith(b".npy") else ""
    if start[0] == 0x08 and len(start) > 1 and 1 <= start[1] <= 64:  # the IR version, as field 1
        return "an ONNX model"
    if b'"joulec.target/' in start:
        return "a chip file"
    if b'"joulec.calibration/' in start:
        return "a calibration file"
    return ""
