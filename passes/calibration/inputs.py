"""Inputs that stand for what a network will see: from a file, or made up with a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from compiler.errors import ModelError, UsageError, nearest, one_line
from compiler.execute.made_up_inputs import is_read, made_up_arrays
from compiler.ir.graph import DTYPE_BITS, Array, Graph
from compiler.ir.protos import numpy_dtype
from compiler.storage.npz import read_npz

LABELS = "y"


@dataclass(frozen=True, eq=False, repr=False)
class CalibrationInputs:
    """Samples of a graph's inputs: arrays by input name, each [samples, *shape].

    `synthetic` says that they were made up.

    Two are equal when their hashes are; `repr` shows the hash instead of the data.
    """

    arrays: Mapping[str, Array]
    synthetic: bool = False

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.arrays.values()))) if self.arrays else 0

    @cached_property
    def hash(self) -> str:
        """sha256 over names, types, shapes and bytes."""
        digest = hashlib.sha256()
        for name in sorted(self.arrays):
            data = self.arrays[name]
            digest.update(f"{name!r} {data.dtype.str} {data.shape}\n".encode())
            digest.update(np.ascontiguousarray(data).tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        kind = "synthetic" if self.synthetic else "given"
        return f"CalibrationInputs({self.count} {kind}, sha256={self.hash[:16]})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CalibrationInputs):
            return NotImplemented
        return self.synthetic == other.synthetic and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)


def synthetic_inputs(graph: Graph, count: int = 64, seed: int = 0) -> CalibrationInputs:
    """Makes up seeded samples to calibrate on (see compiler.execute.made_up_inputs).

    UsageError U005 for an input that no sample can be made up of.
    """
    for name in graph.inputs:
        if graph.types[name].dtype not in DTYPE_BITS:
            raise UsageError(
                f"input {one_line(name)!r} is of type {one_line(graph.types[name].dtype)}, "
                "for which there are no samples to calibrate on",
                code="U005",
                hint="leave the model's floats as they are, with --precision float",
            )
    return CalibrationInputs(made_up_arrays(graph, count, seed, "calibration"), synthetic=True)


def load_inputs(
    file: str | Path, graph: Graph, count: int | None = None
) -> CalibrationInputs:  # None: all
    """The first `count` samples of an npz whose arrays bear the names of the graph's inputs.

    Samples are stacked on the input's batch axis; an array of exactly the input's shape serves
    every sample. The labels `y` (where no input is called so) and arrays of other names are left
    alone. Raises UsageError or ModelError, never anything else.
    """
    shown = one_line(str(file))
    stacked = _read(Path(file), graph)
    arrays = {name: _samples(name, data, graph, shown) for name, data in stacked.items()}
    lengths = {name: len(data) for name, data in arrays.items() if data is not None}
    if len(set(lengths.values())) > 1:
        shown_counts = ", ".join(f"{one_line(name)!r} has {n}" for name, n in lengths.items())
        raise UsageError(
            f"data file {shown!r}: samples differ in number: {shown_counts}", code="U005"
        )
    samples = max(lengths.values(), default=1)
    samples = samples if count is None else min(samples, count)
    if samples < 1:
        raise UsageError(f"data file {shown!r} holds no samples", code="U005")
    result: dict[str, Array] = {}
    for name, data in arrays.items():
        kind = graph.types[name]
        if data is None:
            data = np.broadcast_to(stacked[name], (samples, *stacked[name].shape))
        taken = np.ascontiguousarray(data[:samples]).astype(numpy_dtype(kind.dtype))
        if taken.dtype.kind == "f" and not np.isfinite(taken).all():
            where = int(np.argwhere(~np.isfinite(taken))[0][0])
            raise ModelError(
                f"data file {shown!r}: array {one_line(name)!r} holds NaN or infinity, "
                f"first in sample {where} (counted from 0)",
                code="M009",
            )
        taken.setflags(write=False)
        result[name] = taken
    return CalibrationInputs(result)


def _read(file: Path, graph: Graph) -> dict[str, Array]:
    """The arrays of an npz that are inputs of the graph."""

    def choose(names: list[str]) -> tuple[str, ...]:
        present = [name for name in names if name != LABELS or name in graph.inputs]
        missing = [name for name in graph.inputs if name not in present]
        if missing:
            raise UsageError(
                f"data file {one_line(str(file))!r} has no array {one_line(missing[0])!r}; it has: "
                f"{one_line(', '.join(present) or 'none')}",
                code="U005",
                hint=nearest(missing[0], present) or "name each array as the model's input",
            )
        return graph.inputs

    return read_npz(file, choose)


def _samples(name: str, data: Array, graph: Graph, shown: str) -> Array | None:
    """[samples, *shape] of one input; None when the array is one value for every sample."""
    kind = graph.types[name]
    where = f"data file {shown!r}: array {one_line(name)!r}"
    if not kind.is_static and not is_read(name, graph):
        return None
    if not kind.is_static:
        raise UsageError(f"{where}: the model's input has unknown sizes {kind.shape}", code="U005")
    try:
        fits = np.can_cast(data.dtype, numpy_dtype(kind.dtype), "same_kind")
    except TypeError:
        fits = False
    if not fits:
        raise UsageError(f"{where} is {data.dtype}, the model takes {kind.dtype}", code="U005")
    axis = graph.batch_axes.get(name)
    sizes = kind.sizes
    if axis is None:
        if data.shape == sizes:
            return None
        if data.shape[1:] == sizes:
            return data
    elif data.ndim == len(sizes) and sizes[axis] > 0 and data.shape[axis] % sizes[axis] == 0:
        rest = (*data.shape[:axis], *data.shape[axis + 1 :])
        if rest == (*sizes[:axis], *sizes[axis + 1 :]):
            first = np.moveaxis(data, axis, 0)
            parts = first.reshape(data.shape[axis] // sizes[axis], sizes[axis], *first.shape[1:])
            return np.moveaxis(parts, 1, axis + 1)
    wanted = ["samples" if i == axis else str(size) for i, size in enumerate(sizes)]
    hint = (
        f"the number of samples must be a multiple of {sizes[axis]}"
        if axis is not None and sizes[axis] > 1
        else ""
    )
    raise UsageError(
        f"{where} is {list(data.shape)}, wanted [{', '.join(wanted)}]", code="U005", hint=hint
    )
