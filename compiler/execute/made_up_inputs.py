"""Makes up inputs of a graph with a seed, such as it might see: the one place where that is done.

Calibration without data, verification without data and the trial of a batch all draw from here,
each with a seed of its own use.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from compiler.errors import UsageError, one_line
from compiler.execute.input_kinds import InputKind, kind_of
from compiler.ir.graph import DTYPE_BITS, Array, Graph, TensorType
from compiler.ir.protos import numpy_dtype

Use = Literal["calibration", "verification", "batch"]
_STREAMS: dict[Use, tuple[int, ...]] = {"calibration": (), "verification": (1,), "batch": (2,)}


def made_up_arrays(
    graph: Graph,
    count: int,
    seed: int,
    use: Use,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> dict[str, Array]:
    """Draws samples of every input of a graph: [count, *shape] by name.

    The same seed gives other samples for another use. `ranges` says from where to where inputs of
    floats are known to reach; without it that is judged from the graph.

    Raises UsageError U005 for an input that no sample can be made up of.
    """
    stream = _STREAMS[use]
    random = np.random.default_rng([seed, *stream] if stream else seed)
    arrays = {}
    for name in graph.inputs:
        kind = graph.types[name]
        if not kind.is_static and not is_read(name, graph):  # of any size, so of the smallest
            kind = TensorType(kind.dtype, tuple(size or 1 for size in kind.shape or ()))
        _require_made_up(name, kind)
        if kind.dtype == "string":
            arrays[name] = _texts(kind, count, random, words_of(graph))
            continue
        found = kind_of(name, kind, graph)
        if ranges and name in ranges and found.look in ("numbers", "pixels"):
            found = InputKind(found.look, *ranges[name])
        arrays[name] = _drawn(found, kind, count, random)
    return arrays


def is_read(name: str, graph: Graph) -> bool:
    """Whether a node reads a value, or it is an output."""
    return bool(graph.consumers.get(name)) or name in graph.outputs


def _require_made_up(name: str, kind: TensorType) -> None:
    if kind.dtype not in DTYPE_BITS and kind.dtype != "string":
        raise UsageError(
            f"input {one_line(name)!r} is of type {one_line(kind.dtype, 40)}, "
            "of which no sample can be made up",
            code="U005",
        )
    if not kind.is_static:
        raise UsageError(
            f"input {one_line(name)!r} has unknown sizes {kind.shape}, so no sample can be made up",
            code="U005",
            hint="bind its sizes with --bind, or hand in samples with --data",
        )


def _drawn(found: InputKind, kind: TensorType, count: int, random: np.random.Generator) -> Array:
    """Draws [count, *shape] of one input of numbers."""
    shape, dtype = (count, *kind.sizes), numpy_dtype(kind.dtype)
    low, high = found.low, found.high
    if found.look == "constant":
        return np.full(shape, low).astype(dtype)
    if found.look == "positions":
        steps = np.arange(kind.sizes[-1] if kind.sizes else 1) % (int(high) + 1)
        return np.broadcast_to(steps, shape).astype(dtype)
    if found.look in ("integers", "format", "truths"):
        return random.integers(int(low), int(high) + 1, shape).astype(dtype)
    if found.look == "pixels":
        return random.uniform(low, high, shape).astype(dtype)
    # A standard normal that reaches from end to end: six of its deviations.
    middle, deviation = (low + high) / 2, (high - low) / 6
    normal = np.clip(middle + deviation * random.standard_normal(shape), low, high)
    if kind.dtype == "float8_e8m0fnu":  # scales: positive powers of two
        normal = np.exp2(normal)
    return normal.astype(dtype)


def _texts(kind: TensorType, count: int, random: np.random.Generator, words: list[str]) -> Array:
    drawn = random.integers(0, len(words), (count, *kind.sizes))
    return np.array(words, object)[drawn]


def words_of(graph: Graph) -> list[str]:
    """Lists texts for inputs of texts: those that a graph's own nodes know, and one they do not."""
    import onnx

    found: dict[str, None] = {}
    for node in graph:
        model = node.attrs.get("model")
        if node.op != "Segment" or not isinstance(model, bytes):
            continue
        for inner in onnx.ModelProto.FromString(model).graph.node:
            for attribute in inner.attribute:
                texts = [*attribute.strings, *attribute.t.string_data]
                found.update(dict.fromkeys(text.decode("utf-8", "replace") for text in texts))
    return [*found, "word"]
