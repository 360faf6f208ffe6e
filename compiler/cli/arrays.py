"""Arrays in npz files: read from anyone without trust, written with the same bytes every time."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from compiler.cli.console import did_you_mean
from compiler.errors import UsageError, one_line
from compiler.ir.graph import Array
from compiler.storage.files import write_whole
from compiler.storage.npz import read_npz

EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's own: no clock enters the bytes
LABELS = "y"
STEP_UP = re.compile(r"(?<![^/\\])\.\.(?![^/\\])")


def read_arrays(
    file: Path, wanted: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, Array]:
    """The arrays of these names; others are left alone.

    Raises UsageError or ModelError, never anything else.
    """

    def choose(present: list[str]) -> list[str]:
        for name in wanted:
            if name not in present:
                raise UsageError(
                    f"data file {one_line(str(file))!r} has no array {one_line(name)!r}",
                    code="U005",
                    hint=did_you_mean(name, present) or "it is empty",
                )
        return [*wanted, *(name for name in optional if name in present)]

    return read_npz(file, choose)


def write_arrays(file: Path, values: Mapping[str, Any], read: Iterable[Path] = ()) -> None:
    """Writes arrays under their own names, whatever characters these hold.

    A step up in one, `..`, is written `%2E%2E`: the file is a zip.

    Raises UsageError (U007) when the file cannot be written or is one of those that were `read`. A
    list (samples of different shapes, or a sequence) becomes NAME[0], NAME[1], ...; element types
    that numpy has not become float32.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, value in values.items():
            for member, array in _members(name, value):
                with archive.open(
                    zipfile.ZipInfo(f"{STEP_UP.sub('%2E%2E', member)}.npy", EPOCH),
                    "w",
                    force_zip64=True,
                ) as entry:
                    npy.write_array(entry, array, allow_pickle=False)
    write_whole(file, stream.getvalue(), read)


def _members(name: str, value: Any) -> list[tuple[str, Array]]:
    if isinstance(value, list):
        return [m for index, item in enumerate(value) for m in _members(f"{name}[{index}]", item)]
    if value is None:  # an optional value that is not there
        return []
    array = np.asarray(value)
    if array.dtype == object:
        array = array.astype(np.str_)
    elif array.dtype.kind == "V":  # bfloat16 and the like: every value of theirs is a float32
        array = array.astype(np.float32)
    return [(name, np.ascontiguousarray(array).reshape(array.shape))]


def described(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Names, types and shapes of outputs."""
    rows: list[dict[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, list):
            rows.append({"name": name, "dtype": "list", "shape": [len(value)]})
        elif value is None:
            rows.append({"name": name, "dtype": "none", "shape": []})
        else:
            array = np.asarray(value)
            rows.append({"name": name, "dtype": str(array.dtype), "shape": list(array.shape)})
    return rows
