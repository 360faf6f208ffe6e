"""Finds the axes along which samples are stacked, by trying: two samples together, and each alone.

A free first size is a batch only where the model itself gives the same both ways. It is run as
given, in ONNX Runtime or onnx's reference evaluator, once: of what our import made of it nothing is
asked but what its inputs look like. Where no size is free nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from compiler.errors import CompileError, UsageError, one_line
from compiler.execute.made_up_inputs import made_up_arrays
from compiler.frontend.as_given import MOST_BYTES, open_as_given
from compiler.frontend.load import Loaded
from compiler.frontend.sizes import Sizes, unbound
from compiler.ir.graph import Graph

# The squared error of a batch, relative to its values. Float32 sums in another order, which may
# round a few numbers of 8 bits to the next; where the range of the whole batch decides on the steps
# all are rounded otherwise, layer after layer.
SAME, SAME_QUANTIZED, SAME_BY_BATCH = 1e-6, 1e-4, 1e-2
NO_BATCH = "it is no batch"
UNTRIED = "whether it is a batch cannot be tried"


def batch_axes(
    source: str | Path | bytes | onnx.ModelProto, loaded: Loaded, graph: Graph, sizes: Sizes
) -> dict[str, int]:
    """Finds the batch axis of every input and output that has one.

    Fixed sizes of 1 in front are taken for one: there is no other way to hand in several samples.

    Raises UsageError (U003) where a size was left free that is no batch.
    """
    fixed = {
        name: 0
        for name in (*graph.inputs, *graph.outputs)
        if name not in sizes.batch_axes and (graph.types[name].shape or (0,))[0] == 1
    }
    if not sizes.batch_axes:
        return fixed
    reason = ""
    for tried in dict.fromkeys((tuple(sizes.batch_axes.items()), tuple(sizes.assumed.items()))):
        if not tried:
            break
        trial = _tried(source, loaded, graph, dict(tried))
        if not isinstance(trial, str):
            found = {**fixed, **dict(tried), **trial}
            return {n: found[n] for n in (*graph.inputs, *graph.outputs) if n in found}
        reason = trial
    if sizes.assumed:
        raise unbound(sizes, reason)
    return fixed


def _tried(
    source: str | Path | bytes | onnx.ModelProto,
    loaded: Loaded,
    graph: Graph,
    axes: Mapping[str, int],
) -> dict[str, int] | str:
    """The batch axis of each output, or why there is none."""
    try:
        kinds = [graph.types[name] for name in graph.inputs]
        if sum(kind.size_bytes for kind in kinds if kind.is_static) > MOST_BYTES:
            return f"{UNTRIED}: the inputs are too large"
        made = made_up_arrays(graph, 2, 0, "batch")
    except UsageError as error:
        return f"{UNTRIED}: {error.message}"
    feeds = [
        {name: np.asarray(data[index if name in axes else 0]) for name, data in made.items()}
        for index in (0, 1)
    ]
    both = {
        name: np.concatenate([feed[name] for feed in feeds], axes[name])
        if name in axes
        else feeds[0][name]
        for name in made
    }
    try:
        model = open_as_given(source, loaded)
        alone = [model.run(feed) for feed in feeds]
    except (MemoryError, CompileError):
        raise
    except Exception as error:  # there is no one error for what does not run
        return f"{UNTRIED}: the model does not run on made-up inputs: {one_line(str(error))}"
    try:
        together = model.run(both)
    except (MemoryError, CompileError):
        raise
    except Exception as error:
        return f"{NO_BATCH}: one sample runs, two together do not: {one_line(str(error))}"
    allowed = _allowed(loaded.model.graph)
    found = {}
    for name in graph.outputs:
        axis = _joined_along([one[name] for one in alone], together[name], allowed)
        if axis is None:
            shown = one_line(name)
            return f"{NO_BATCH}: output {shown!r} of two samples together is not that of each alone"
        found[name] = axis
    return found


def _allowed(graph: onnx.GraphProto) -> float:
    """The squared error of a batch that rounding alone may make."""
    operations = {node.op_type for node in graph.node}
    if any(op.startswith("DynamicQuantize") for op in operations):
        return SAME_BY_BATCH
    quantized = any(op.startswith(("Quant", "QLinear", "QGemm", "QAttention")) for op in operations)
    return SAME_QUANTIZED if quantized else SAME


def _joined_along(alone: list[Any], together: Any, allowed: float) -> int | None:
    """Finds the axis along which what two samples give alone is what they give together."""
    if isinstance(together, list):
        if not all(isinstance(one, list) for one in alone):
            return None
        items = [item for one in alone for item in one]
        same = len(items) == len(together) and all(
            _same(one, other, allowed) for one, other in zip(items, together, strict=True)
        )
        return 0 if same else None
    if not all(isinstance(value, np.ndarray) for value in (*alone, together)):
        return None
    first, second = alone
    for axis in range(first.ndim if first.ndim == second.ndim == together.ndim else 0):
        sizes = [(*one.shape[:axis], *one.shape[axis + 1 :]) for one in (first, second, together)]
        if sizes[0] == sizes[1] == sizes[2] and (
            first.shape[axis] + second.shape[axis] == together.shape[axis]
        ):
            joined = np.concatenate([first, second], axis)
            return axis if _same(joined, together, allowed) else None
    return None


def _same(one: Any, other: Any, allowed: float) -> bool:
    """Whether two values are the same, floats up to `allowed` of their sum of squares."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _same(one[key], other[key], allowed) for key in one
        )
    first, second = np.asarray(one), np.asarray(other)
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "fcV" and first.dtype.name not in ("int8", "uint8"):
        return bool(np.array_equal(first, second))
    kind = np.complex128 if first.dtype.kind == "c" else np.float64
    wide, found = first.astype(kind), second.astype(kind)
    settled = (wide == found) | (np.isnan(wide) & np.isnan(found))
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.sum(np.abs(np.where(settled, 0, wide - found)) ** 2))
        size = float(np.sum(np.abs(np.where(np.isfinite(wide), wide, 0)) ** 2))
    return error <= allowed * size
