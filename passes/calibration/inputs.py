"""Inputs that stand for what a network will see: from a file, or made up with a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from compiler.errors import ModelError, UsageError, nearest, one_line
from compiler.ir.graph import DTYPE_BITS, Array, Graph, TensorType
from compiler.ir.ops import VIEWS
from compiler.ir.protos import numpy_dtype
from compiler.storage.npz import read_npz

LABELS = "y"
REACH = 3.0  # made-up floats are a standard normal, clipped here
SMALL_INTEGERS = 8  # made-up integers lie below this: they may be indices


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
    """Seeded plausible samples: clipped normal floats, small integers, both truths.

    Quantized inputs over their whole format.

    UsageError U005 for an input that no sample can be made up of.
    """
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name in graph.inputs:
        kind = graph.types[name]
        if kind.dtype not in DTYPE_BITS:
            raise UsageError(
                f"input {one_line(name)!r} is of type {one_line(kind.dtype)}, "
                "for which there are no samples to calibrate on",
                code="U005",
                hint="leave the model's floats as they are, with --precision float",
            )
        if not kind.is_static and not is_read(name, graph):  # of any size, so of the smallest
            kind = TensorType(kind.dtype, tuple(size or 1 for size in kind.shape or ()))
        if not kind.is_static:
            raise UsageError(
                f"input {one_line(name)!r} has unknown sizes {kind.shape}, "
                "so no sample can be made up",
                code="U005",
                hint="bind its sizes with --bind, or hand in samples with --data",
            )
        arrays[name] = _made_up(kind, count, random, _index_limit(name, graph))
    return CalibrationInputs(arrays, synthetic=True)


def is_read(name: str, graph: Graph) -> bool:
    """Whether a node reads a value, or it is an output."""
    return bool(graph.consumers.get(name)) or name in graph.outputs


def _index_limit(name: str, graph: Graph) -> int:
    """Finds what integers of an input stay below.

    Those that index a table (embeddings of words, of segments) must lie in it.
    """
    limit, pending, seen = SMALL_INTEGERS, [name], {name}
    while pending:
        value = pending.pop()
        for node in graph.consumers.get(value, ()):
            table = graph.types[node.inputs[0]]
            if node.op == "Gather" and node.inputs[1] == value and table.is_static and table.sizes:
                limit = min(limit, table.sizes[node.integer("axis", 0)])
            elif node.op in ("Cast", "Segment", *VIEWS):
                pending += [output for output in node.outputs if output and output not in seen]
                seen.update(node.outputs)
    return max(1, limit)


def _made_up(kind: TensorType, count: int, random: np.random.Generator, limit: int) -> Array:
    shape = (count, *kind.sizes)
    if kind.quant is not None:
        integers = random.integers(kind.quant.lowest, kind.quant.highest + 1, shape)
        return integers.astype(kind.dtype)
    if kind.dtype == "bool":
        return random.integers(0, 2, shape).astype(np.bool_)
    if kind.dtype.startswith(("int", "uint")):
        below = min(limit, 1 << (DTYPE_BITS[kind.dtype] - 1))
        return random.integers(0, below, shape).astype(numpy_dtype(kind.dtype))
    normal = np.clip(random.standard_normal(shape), -REACH, REACH)
    if kind.dtype == "float8_e8m0fnu":  # scales: positive powers of two
        normal = np.exp2(normal)
    return normal.astype(numpy_dtype(kind.dtype))


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
