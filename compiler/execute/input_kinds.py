"""Judges what a graph's inputs look like from what the graph does with them.

An input that indexes a table holds its ids, one that hides positions is a mask, one that is
normalized as pictures are holds pixels. Where structure says nothing an exporter's usual names
do: `attention_mask`, `lengths`, `position_ids`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from compiler.ir.graph import DTYPE_BITS, Graph, Node, TensorType
from compiler.ir.ops import MOVEMENT, RECURRENT, VIEWS

Look = Literal["numbers", "pixels", "integers", "positions", "format", "constant", "truths"]
REACH = 3.0  # numbers of unknown size: a standard normal, clipped here
SMALL_INTEGERS = 8  # integers of unknown use lie below this: they may be counts or axes
HIDING = -1e3  # what masks add to scores that shall not count is below this
# Nodes behind which the elements of their first input are still the same.
_PASSING = (*VIEWS, *MOVEMENT, "Cast", "Expand", "Tile", "Clip")
# The operations that index their first input with their second.
_INDEXING = ("Gather", "GatherElements", "GatherND", "ScatterElements", "ScatterND")
_LENGTHS = re.compile(r"(^|[^a-z])(len|lens|length|lengths)([^a-z]|$)")


@dataclass(frozen=True)
class InputKind:
    """What values of an input look like: all of them lie from `low` to `high`.

    `numbers` are spread as a normal distribution is, `pixels`, `integers` and `format` (the codes
    of a quantized input) evenly; `positions` count up along the last axis.
    """

    look: Look
    low: float
    high: float


def kind_of(name: str, kind: TensorType, graph: Graph) -> InputKind:
    """Judges an input, whose type is one of numbers and of known sizes."""
    limit = _table_size(name, graph)
    if limit is not None:
        look: Look = "positions" if "position" in name.lower() else "integers"
        return InputKind(look, 0, limit - 1)
    mask = _neutral_mask(name, graph)
    if mask is not None:
        return _constant(mask)
    if kind.dtype == "bool":
        return InputKind("truths", 0, 1)
    if kind.quant is not None:
        return InputKind("format", kind.quant.lowest, kind.quant.highest)
    if kind.dtype.startswith(("int", "uint")):
        return _of_integers(name, kind, graph)
    if _holds_pixels(kind) and (highest := _highest_pixel(name, graph)):
        return InputKind("pixels", 0, highest)
    low, high = _quantized_range(name, graph) or (-REACH, REACH)
    return InputKind("numbers", low, high)


def _of_integers(name: str, kind: TensorType, graph: Graph) -> InputKind:
    bits = DTYPE_BITS[kind.dtype]
    if bits <= 8:
        low = -(1 << (bits - 1)) if kind.dtype.startswith("int") else 0
        return InputKind("format", low, low + (1 << bits) - 1)
    length = _length(name, graph)
    if length is not None:
        return _constant(length)
    compared = _compared_with(name, graph) if kind.elements == 1 else None
    if compared is not None:
        return _constant(compared)
    return InputKind("integers", 0, SMALL_INTEGERS - 1)


def _constant(value: float) -> InputKind:
    return InputKind("constant", value, value)


def _readers(name: str, graph: Graph) -> Iterator[tuple[Node, str, float]]:
    """Walks the nodes that read a value as it is: moved, reshaped, cast, or a constant added.

    Yields each with the name under which it reads the value and what was added to it.
    """
    pending, seen = [(name, 0.0)], {name}
    while pending:
        value, added = pending.pop(0)
        for node in graph.consumers.get(value, ()):
            yield node, value, added
            more = _added(node, value, graph)
            if more is None and not _passes(node, value):
                continue
            for output in node.outputs:
                if output and output not in seen:
                    seen.add(output)
                    pending.append((output, added + (more or 0.0)))


def _passes(node: Node, value: str) -> bool:
    """Whether elements of a value are those of a node's output."""
    if node.op in ("Concat", "Max", "Min"):
        return True
    if node.op == "Where":
        return value in node.inputs[1:]
    return node.op in _PASSING and node.inputs[0] == value


def _added(node: Node, value: str, graph: Graph) -> float | None:
    """The constant that a node adds to a value; None for a node that does something else."""
    if node.op not in ("Add", "Sub") or (node.op == "Sub" and node.inputs[0] != value):
        return None
    other = graph.constant(node.inputs[1] if node.inputs[0] == value else node.inputs[0])
    if other is None or not other.size or other.dtype.kind not in "iuf":
        return None
    return float(other.max()) if node.op == "Add" else -float(other.min())


# -- indices


def _table_size(name: str, graph: Graph) -> int | None:
    """Counts the ids that every table which an input indexes has; None where it indexes none."""
    limits = [
        size - added
        for node, value, added in _readers(name, graph)
        for size in _sizes_indexed(node, value, graph)
    ]
    return max(1, int(min(limits))) if limits else None


def _sizes_indexed(node: Node, value: str, graph: Graph) -> list[int]:
    if node.op == "Segment":
        return _sizes_indexed_inside(node, value)
    if node.op == "OneHot" and node.inputs[0] == value:
        depth = graph.constant(node.inputs[1])
        return [int(np.max(depth))] if depth is not None and depth.size else []
    if node.op not in _INDEXING or node.input(1) != value:
        return []
    table = graph.types[node.inputs[0]]
    if not table.is_static or not table.sizes:
        return []
    if node.op in ("GatherND", "ScatterND"):
        depth_of_index = graph.types[value].shape
        axes = (depth_of_index[-1] if depth_of_index else None) or 1
        first = node.integer("batch_dims", 0)
        return list(table.sizes[first : first + axes])
    return [table.sizes[node.integer("axis", 0)]]


def _sizes_indexed_inside(node: Node, value: str) -> list[int]:
    """The sizes of the tables of constants that a node kept whole indexes with a value."""
    import onnx

    model = node.attrs["model"]
    assert isinstance(model, bytes)
    graph = onnx.ModelProto.FromString(model).graph
    # By position: a pass may have renamed what the node reads.
    given = [port.name for port in graph.input]
    read = [one for one in node.inputs if one]
    names = {inner for inner, outer in zip(given, read, strict=False) if outer == value}
    tables = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    tables |= {
        port.name: tuple(dim.dim_value for dim in port.type.tensor_type.shape.dim)
        for port in graph.input
    }
    found = []
    for inner in graph.node:
        pairs = [(inner.input[0], inner.input[1])] if inner.op_type in _INDEXING[:2] else []
        if inner.op_type == "EmbedLayerNormalization":  # of com.microsoft: ids, then their tables
            pairs = list(zip(inner.input[2:5:2], inner.input[0:2], strict=False))
        for table, index in pairs:
            sizes = tables.get(table, ())
            if index in names and sizes and sizes[0] > 0:
                found.append(sizes[0])
    return found


# -- masks, lengths, switches


def _neutral_mask(name: str, graph: Graph) -> float | None:
    """Finds the value of a mask that hides nothing; None for what is no mask."""
    for node, value, _ in _readers(name, graph):
        if node.op == "Where" and node.inputs[0] == value:
            for position, hidden in ((1, 0.0), (2, 1.0)):
                if _hides(graph, node.inputs[position]):
                    return hidden
        if node.op == "Sub" and node.inputs[1] == value and _is_one(graph, node.inputs[0]):
            scaled = graph.consumers.get(node.outputs[0], ())
            if any(one.op == "Mul" and any(_hides(graph, n) for n in one.inputs) for one in scaled):
                return 1.0
    if "mask" not in name.lower():
        return None
    added = any(
        node.op == "Add"
        and any(r.op == "Softmax" for r in graph.consumers.get(node.outputs[0], ()))
        for node, _, _ in _readers(name, graph)
    )
    return 0.0 if added else 1.0


def _hides(graph: Graph, name: str) -> bool:
    data = graph.constant(name)
    return data is not None and data.size == 1 and data.dtype.kind == "f" and data.max() <= HIDING


def _is_one(graph: Graph, name: str) -> bool:
    data = graph.constant(name)
    return data is not None and data.size == 1 and data.dtype.kind in "iuf" and data.max() == 1


def _length(name: str, graph: Graph) -> int | None:
    """Finds the whole length of the sequence whose length an input tells; None for no length."""
    for node, value, _ in _readers(name, graph):
        if node.op in RECURRENT and node.input(4) == value:
            data = graph.types[node.inputs[0]]
            return data.sizes[node.integer("layout", 0)] if data.is_static else None
    if not _LENGTHS.search(name.lower()):
        return None
    others = (graph.types[other] for other in graph.inputs if other != name)
    lengths = [kind.sizes[1] for kind in others if kind.is_static and len(kind.sizes) > 1]
    return max(lengths, default=None)


def _compared_with(name: str, graph: Graph) -> float | None:
    """Finds the first constant that an input is compared with: the sample rate of a branch, say."""
    for node, value, added in _readers(name, graph):
        if node.op == "Equal":
            other = graph.constant(node.inputs[1 if node.inputs[0] == value else 0])
            if other is not None and other.size == 1 and other.dtype.kind in "iu":
                return float(other.max()) - added
    return None


# -- pictures


def _holds_pixels(kind: TensorType) -> bool:
    """Whether sizes are those of pictures: one to four channels, and two sides of 8 or more."""
    sizes = kind.sizes[1:] if len(kind.sizes) == 4 else kind.sizes
    if len(sizes) != 3:
        return False
    return any(
        channels in (1, 3, 4) and min(sides) >= 8
        for channels, sides in ((sizes[0], sizes[1:]), (sizes[2], sizes[:2]))
    )


def _highest_pixel(name: str, graph: Graph) -> float | None:
    """Finds the brightest pixel, 255 or 1, by how a graph normalizes them; None where it does not.

    What it does first is (x - mean) * scale: means above 1.5 or scales up to 1/16 are for 0..255.
    """
    scale, shift, value = 1.0, 0.0, name
    while len(readers := graph.consumers.get(value, ())) == 1:
        (node,) = readers
        if node.op not in (*VIEWS, *MOVEMENT, "Cast"):
            factor = _affine(node, value, graph)
            if factor is None:
                break
            scale, shift = scale * factor[0], shift * factor[0] + factor[1]
        value = node.outputs[0]
    if scale == 0.0 or (scale, shift) == (1.0, 0.0):
        return None
    mean = -shift / scale
    if abs(scale) <= 1 / 16 or 1.5 < mean <= 255:
        return 255.0
    return 1.0 if abs(scale) >= 1.5 or 0.05 < mean <= 1 else None


def _affine(node: Node, value: str, graph: Graph) -> tuple[float, float] | None:
    """The mean scale and shift of a node that computes value * scale + shift."""
    if node.op not in ("Add", "Sub", "Mul", "Div") or len(set(node.inputs)) != 2:
        return None
    first = node.inputs[0] == value
    other = graph.constant(node.inputs[1] if first else node.inputs[0])
    if other is None or not other.size or other.dtype.kind not in "iuf":
        return None
    mean = float(np.mean(other.astype(np.float64)))
    if node.op == "Add":
        return 1.0, mean
    if node.op == "Sub":
        return (1.0, -mean) if first else (-1.0, mean)
    if node.op == "Mul":
        return mean, 0.0
    return (1 / mean, 0.0) if first and mean else None


def _quantized_range(name: str, graph: Graph) -> tuple[float, float] | None:
    """Finds the range in which a model itself quantizes an input to 8 bits; None where it does not.

    It covers 0, as every quantized range does.
    """
    for node, value, added in _readers(name, graph):
        if node.op != "QuantizeLinear" or node.inputs[0] != value or added:
            continue
        dtype = graph.types[node.outputs[0]].dtype
        scale, point = graph.constant(node.inputs[1]), graph.constant(node.input(2))
        if dtype in ("int8", "uint8") and scale is not None and scale.size == 1:
            zero = int(np.max(point)) if point is not None and point.size else 0
            lowest = -128 if dtype == "int8" else 0
            step = float(np.max(scale))
            return (lowest - zero) * step, (lowest + 255 - zero) * step
    return None
