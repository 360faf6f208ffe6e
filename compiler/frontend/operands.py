"""Finds faults in the sizes and axes of what a node reads, where ONNX's inference does not look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

from compiler.frontend.convolution import why_convolution_misfits
from compiler.ir.graph import Node, TensorType

_Shape = tuple[int | None, ...]
_Shapes = tuple[_Shape | None, ...]  # by position; None for one that is left out or not known
MOST_INPUTS = 8  # of the operations below
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def why_sizes_misfit(node: Node, types: Mapping[str, TensorType]) -> str:
    """Explains why the values that a node of the graph's opset reads do not belong together.

    "" when it does, or nobody knows (a size is free).
    """
    rule = _RULES.get(node.op)
    if rule is None:
        return ""
    kinds = [types.get(name) for name in node.inputs]
    shapes = [kind.shape if kind is not None else None for kind in kinds]
    known = (*shapes, *[None] * (MOST_INPUTS - len(shapes)))
    return rule(node, known) if known[0] is not None else ""


def _differs(found: _Shape | None, wanted: _Shape) -> bool:
    """Whether two shapes cannot be the same, free sizes being any."""
    if found is None:
        return False
    return len(found) != len(wanted) or any(
        None not in pair and pair[0] != pair[1] for pair in zip(found, wanted, strict=True)
    )


def _spreads(small: _Shape | None, large: _Shape) -> bool:
    """Whether a shape can be broadcast to another as that stands."""
    if small is None:
        return True
    if len(small) > len(large):
        return False
    pairs = zip(small[::-1], large[::-1], strict=False)
    return all(one == 1 or None in (one, other) or one == other for one, other in pairs)


def _named(shape: _Shape) -> str:
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _gemm(node: Node, shapes: _Shapes) -> str:
    first, second, bias = shapes[0], shapes[1], shapes[2]
    if first is None or second is None or bias is None or len(first) != 2 or len(second) != 2:
        return ""
    made = (first[node.integer("transA", 0) and 1], second[not node.integer("transB", 0)])
    if _spreads(bias, made):
        return ""
    return f"a bias of shape {_named(bias)} does not go with a product of shape {_named(made)}"


def _normalization_of_last_axes(node: Node, shapes: _Shapes) -> str:
    data = shapes[0]
    assert data is not None
    axis = node.integer("axis", -1)
    if not -len(data) <= axis < len(data):
        return f"axis {axis} is none of a value of {len(data)} axes"
    for what, shape in zip(("scale", "bias"), shapes[1:3], strict=True):
        # It is spread over the whole value, not over the axes alone.
        if shape is not None and not _spreads(shape, data):
            return (
                f"a {what} of shape {_named(shape)} does not go with a value of shape "
                f"{_named(data)}"
            )
    return ""


def _normalization_of_channels(node: Node, shapes: _Shapes) -> str:
    data = shapes[0]
    assert data is not None
    if len(data) < 2:
        return f"a value of shape {_named(data)} has no channels"
    for what, shape in zip(("scale", "bias"), shapes[1:3], strict=True):
        if shape is not None and _differs(shape, data[1:2]):
            return f"a {what} of shape {_named(shape)} does not go with {data[1]} channels"
    groups = node.integer("num_groups", 1)
    if data[1] is not None and (groups < 1 or data[1] % groups):
        return f"{data[1]} channels do not make {groups} groups"
    return ""


def _recurrent(node: Node, shapes: _Shapes) -> str:
    gates = GATES[node.op]
    data, weights, again = shapes[0], shapes[1], shapes[2]
    if data is None or weights is None or again is None:
        return ""
    if len(data) != 3 or len(weights) != 3 or len(again) != 3:
        return (
            f"its input, weights and recurrence weights have {len(data)}, {len(weights)} and "
            f"{len(again)} axes, wanted 3 each"
        )
    hidden = node.integer("hidden_size", 0) or again[2]
    if hidden is None:
        return ""
    directions = 2 if node.text("direction", "forward") == "bidirectional" else 1
    batch_first = bool(node.integer("layout", 0))
    batch = data[0 if batch_first else 1]
    state: _Shape = (batch, directions, hidden) if batch_first else (directions, batch, hidden)
    wanted: tuple[tuple[str, _Shape], ...] = (
        ("weights W", (directions, gates * hidden, data[2])),
        ("recurrence weights R", (directions, gates * hidden, hidden)),
        ("a bias B", (directions, 2 * gates * hidden)),
        ("sequence lengths", (batch,)),
        ("an initial_h", state),
        ("an initial_c", state),
        ("peepholes P", (directions, 3 * hidden)),
    )
    for position, (what, shape) in enumerate(wanted, 1):
        found = shapes[position]
        if found is not None and _differs(found, shape):
            return (
                f"it has {what} of shape {_named(found)}, wanted {_named(shape)} for {hidden} "
                "hidden units"
            )
    return ""


def _along_elements(node: Node, shapes: _Shapes) -> str:
    data, indices, updates = shapes[0], shapes[1], shapes[2]
    assert data is not None
    if indices is not None and len(indices) != len(data):
        return f"indices of shape {_named(indices)} do not go with data of {len(data)} axes"
    if indices is not None and updates is not None and _differs(updates, indices):
        return (
            f"updates of shape {_named(updates)} do not go with indices of shape {_named(indices)}"
        )
    return ""


def _scatter_nd(node: Node, shapes: _Shapes) -> str:
    data, indices, updates = shapes[0], shapes[1], shapes[2]
    if data is None or not indices or updates is None or indices[-1] is None:
        return ""
    depth = indices[-1]
    if depth > len(data):
        return f"indices of {depth} numbers each do not go with data of {len(data)} axes"
    wanted = (*indices[:-1], *data[depth:])
    if not _differs(updates, wanted):
        return ""
    return f"updates are of shape {_named(updates)}, wanted {_named(wanted)}"


def _prelu(node: Node, shapes: _Shapes) -> str:
    data, slope = shapes[0], shapes[1]
    if data is None or slope is None or _spreads(slope, data) or set(slope) == {1}:
        return ""  # a slope of one number is taken for a scalar's too, with however many axes
    return f"a slope of shape {_named(slope)} does not go with data of shape {_named(data)}"


def _einsum(node: Node, shapes: _Shapes) -> str:
    equation = node.text("equation", "").replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=False):
        if shape is None or "." in term or len(term) != len(shape):
            continue
        for letter, size in zip(term, shape, strict=True):
            if size in (None, 1):
                continue
            if sizes.setdefault(letter, size) != size:
                return f"in {equation!r} {letter!r} is {sizes[letter]} and {size}"
    return ""


def _blocks(node: Node, shapes: _Shapes) -> str:
    data, block = shapes[0], node.integer("blocksize", 0)
    assert data is not None
    if len(data) != 4 or block < 1:
        return f"a value of shape {_named(data)} has no blocks of {block}x{block}"
    deep = node.op == "DepthToSpace"
    divided = [(data[1], block * block)] if deep else [(data[2], block), (data[3], block)]
    wrong = next((pair for pair in divided if pair[0] is not None and pair[0] % pair[1]), None)
    if wrong is None:
        return ""
    return f"in a value of shape {_named(data)} {wrong[0]} is no multiple of {wrong[1]}"


def _global_pool(node: Node, shapes: _Shapes) -> str:
    data = shapes[0]
    assert data is not None
    if len(data) >= 3:
        return ""
    return f"a value of shape {_named(data)} has nothing behind its channels"


def _clip(node: Node, shapes: _Shapes) -> str:
    for shape in shapes[1:]:
        if shape is not None and None not in shape and prod(size or 0 for size in shape) != 1:
            return f"a bound is of shape {_named(shape)}, wanted one number"
    return ""


def _quantization(node: Node, shapes: _Shapes) -> str:
    data, scale, point = shapes[0], shapes[1], shapes[2]
    if data is None or scale is None:
        return ""
    if point is not None and _differs(point, scale) and {point, scale} != {(), (1,)}:
        return f"its zero points are of shape {_named(point)}, its scales of {_named(scale)}"
    if len(scale) < 2:
        return ""
    block, axis = node.integer("block_size", 0), node.integer("axis", 1)
    if not block or len(scale) != len(data) or not -len(data) <= axis < len(data):
        blocks = f"in blocks of {block}" if block else "without a block_size"
        return (
            f"scales of shape {_named(scale)} do not go with data of shape {_named(data)} {blocks}"
        )
    axis %= len(data)
    along, wanted = data[axis], list(data)
    wanted[axis] = None if along is None else -(-along // block)
    if not _differs(scale, tuple(wanted)):
        return ""
    return (
        f"scales are of shape {_named(scale)}, wanted {_named(tuple(wanted))} for blocks of {block}"
    )


def _attention(node: Node, shapes: _Shapes) -> str:
    heads = (node.integer("q_num_heads", 0), *(node.integer("kv_num_heads", 0),) * 2)
    for what, shape, count in zip(("queries", "keys", "values"), shapes, heads, strict=False):
        size = shape[2] if shape is not None and len(shape) == 3 else None
        if size is not None and count and size % count:
            return f"{what} of size {size} do not make {count} heads"
    return ""


_RULES: dict[str, Callable[[Node, _Shapes], str]] = {
    "Attention": _attention,
    "Clip": _clip,
    "Conv": why_convolution_misfits,
    "ConvInteger": why_convolution_misfits,
    "ConvTranspose": why_convolution_misfits,
    "DepthToSpace": _blocks,
    "DequantizeLinear": _quantization,
    "Einsum": _einsum,
    "GRU": _recurrent,
    "GatherElements": _along_elements,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "GroupNormalization": _normalization_of_channels,
    "InstanceNormalization": _normalization_of_channels,
    "LSTM": _recurrent,
    "LayerNormalization": _normalization_of_last_axes,
    "PRelu": _prelu,
    "QuantizeLinear": _quantization,
    "RMSNormalization": _normalization_of_last_axes,
    "RNN": _recurrent,
    "ScatterElements": _along_elements,
    "ScatterND": _scatter_nd,
    "SpaceToDepth": _blocks,
}
