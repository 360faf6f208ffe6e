"""What a step carries of a node: everything its arithmetic needs beside the values, told in plain numbers.

Arguments that ONNX passes as constant tensors (the bounds of a Slice, the amounts of a Pad) become attributes here, with
ONNX's defaults and negative axes resolved, so that whoever runs a plan needs no knowledge of ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from compiler.ir import Graph, Node, TensorType
from compiler.ops import VIEWS
from compiler.plan import Attribute

NATIVE = frozenset(
    f"{kind}{bits}"
    for kind, widths in {
        "int": (8, 16, 32, 64),
        "uint": (8, 16, 32, 64),
        "float": (16, 32, 64),
    }.items()
    for bits in widths
) | {"bool"}


@dataclass(frozen=True)
class Form:
    """A node as a step that the simulator's kernels run: the inputs it reads (constants among them) and its attributes."""

    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def form_of(node: Node, graph: Graph) -> Form | None:
    """How a node becomes a step of its own, or None when only ONNX Runtime knows its meaning."""
    names = [name for name in (*node.inputs, *node.outputs) if name]
    kinds = [graph.types[name] for name in names]
    if not all(kind.is_static and kind.dtype in NATIVE for kind in kinds):
        return None
    if node.op in VIEWS:
        return Form(node.inputs[:1])
    make = _FORMS.get(node.op)
    return make(node, graph) if make is not None else None


def _integer_product(node: Node, graph: Graph) -> Form | None:
    if graph.types[node.inputs[0]].quant is None:
        return None
    return Form(node.inputs, _plain(node))


def _integer(node: Node, graph: Graph) -> Form:
    return Form(node.inputs, _plain(node))


def _plain(node: Node) -> dict[str, Attribute]:
    """The attributes as they are; an infinite bound is no bound."""
    return {
        name: value
        for name, value in node.attrs.items()
        if not isinstance(value, bytes) and not (isinstance(value, float) and math.isinf(value))
    }


def _average_pool(node: Node, graph: Graph) -> Form | None:
    simple = node.integer("ceil_mode", 0) == 0 and set(node.ints("dilations", (1,))) == {1}
    return _integer(node, graph) if simple else None


def _max_pool(node: Node, graph: Graph) -> Form | None:
    data = graph.types[node.inputs[0]]
    automatic = node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    if len(node.outputs) > 1 or automatic or not data.dtype.endswith("int8"):
        return None
    kernel = node.ints("kernel_shape", ())
    rank = len(kernel)
    return Form(
        node.inputs,
        {
            "kernel": kernel,
            "strides": node.ints("strides", (1,) * rank),
            "pads": node.ints("pads", (0,) * 2 * rank),
            "dilations": node.ints("dilations", (1,) * rank),
        },
    )


def _transpose(node: Node, graph: Graph) -> Form:
    rank = len(graph.types[node.inputs[0]].sizes)
    return Form(node.inputs, {"perm": node.ints("perm", tuple(reversed(range(rank))))})


def _slice(node: Node, graph: Graph) -> Form | None:
    sizes = graph.types[node.inputs[0]].sizes
    out = graph.types[node.outputs[0]].sizes
    given = _constants(node, graph)
    if given is None:
        return None
    first, _, axes, strides = (*given, None, None, None, None)[:4]
    assert first is not None
    axes = tuple(range(len(first))) if axes is None else axes
    strides = (1,) * len(first) if strides is None else strides
    starts, steps = [0] * len(sizes), [1] * len(sizes)
    for start, axis, step in zip(first, axes, strides, strict=True):
        size = sizes[axis]
        position = start + size if start < 0 else start
        starts[axis] = min(max(position, 0), size if step > 0 else size - 1)
        steps[axis] = step
    return Form(node.inputs[:1], {"starts": tuple(starts), "steps": tuple(steps), "sizes": out})


def _constants(node: Node, graph: Graph) -> list[tuple[int, ...] | None] | None:
    """The integer tensors after the first input; None for one left out, None in all when one is computed."""
    found: list[tuple[int, ...] | None] = []
    for name in node.inputs[1:]:
        data = graph.constant(name) if name else None
        if name and data is None:
            return None
        found.append(None if data is None else tuple(int(x) for x in np.asarray(data).reshape(-1)))
    return found


def _concat(node: Node, graph: Graph) -> Form:
    return Form(node.inputs, {"axis": _axis(node, graph.types[node.outputs[0]])})


def _split(node: Node, graph: Graph) -> Form | None:
    if not all(node.outputs):
        return None
    axis = _axis(node, graph.types[node.inputs[0]])
    sizes = tuple(graph.types[name].sizes[axis] for name in node.outputs)
    return Form(node.inputs[:1], {"axis": axis, "sizes": sizes})


def _axis(node: Node, kind: TensorType) -> int:
    return node.integer("axis", 0) % max(1, len(kind.sizes))


def _pad(node: Node, graph: Graph) -> Form | None:
    data = graph.types[node.inputs[0]]
    mode = node.text("mode", "constant")
    names = (*node.inputs, "", "", "")[1:4]
    found = [graph.constant(name) if name else None for name in names]
    if any(name and value is None for name, value in zip(names, found, strict=True)):
        return None
    amounts, value, given_axes = found
    if amounts is None or mode not in ("constant", "edge", "reflect") or "float" in data.dtype:
        return None
    rank = len(data.sizes)
    axes = range(rank) if given_axes is None else [int(a) % rank for a in given_axes.reshape(-1)]
    pads = [0] * 2 * rank
    count = len(axes)
    for position, axis in enumerate(axes):
        pads[axis] = int(amounts.reshape(-1)[position])
        pads[axis + rank] = int(amounts.reshape(-1)[position + count])
    if min(pads, default=0) < 0:
        return None
    widest = all(max(pads[a], pads[a + rank]) < max(1, data.sizes[a]) for a in range(rank))
    if mode == "reflect" and not widest:
        return None
    fill = 0 if value is None else int(value.reshape(-1)[0])
    return Form(node.inputs[:1], {"pads": tuple(pads), "mode": mode, "value": fill})


def _blocks(node: Node, graph: Graph) -> Form:
    return Form(
        node.inputs,
        {"blocksize": node.integer("blocksize", 1), "mode": node.text("mode", "DCR")},
    )


_FORMS: dict[str, Callable[[Node, Graph], Form | None]] = {
    "Product": _integer_product,
    "AnalogProduct": _integer,
    "Requantize": _integer,
    "IntegerAdd": _integer,
    "IntegerMul": _integer,
    "IntegerAveragePool": _average_pool,
    "IntegerTable": _integer,
    "MaxPool": _max_pool,
    "Transpose": _transpose,
    "Slice": _slice,
    "Concat": _concat,
    "Split": _split,
    "Pad": _pad,
    "DepthToSpace": _blocks,
    "SpaceToDepth": _blocks,
}
