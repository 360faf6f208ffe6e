"""Collects what a step needs of a node besides its values: plain numbers for its arithmetic.

Arguments that ONNX passes as constant tensors (the bounds of a Slice, the amounts of a Pad) become
attributes here, with ONNX's defaults and negative axes resolved, so that whoever runs a plan needs
no knowledge of ONNX.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.ops import FLOAT_VECTOR, VIEWS
from compiler.plan.schema import Attribute

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
    """A node as a step of the simulator's kernels: the inputs it reads, and its attributes.

    Constants are among the inputs.
    """

    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


def form_of(node: Node, graph: Graph) -> Form | None:
    """Forms a step of its own from a node; None when only ONNX Runtime knows its meaning."""
    names = [name for name in (*node.inputs, *node.outputs) if name]
    kinds = [graph.types[name] for name in names]
    if not all(kind.is_static and kind.dtype in NATIVE for kind in kinds):
        return None
    if node.op in VIEWS:
        return Form(node.inputs[:1])
    make = _FORMS.get(node.op)
    return make(node, graph) if make is not None else None


def _integer_product(node: Node, graph: Graph) -> Form | None:
    in_floats = {graph.types[name].dtype for name in node.inputs} == {"float32"}
    if graph.types[node.inputs[0]].quant is None and not in_floats:
        return None
    return Form(node.inputs, _plain(node))


def _integer(node: Node, graph: Graph) -> Form:
    return Form(node.inputs, _plain(node))


def _plain(node: Node) -> dict[str, Attribute]:
    """Copies the attributes; an infinite bound is no bound."""
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
    known = data.dtype.endswith("int8") or data.dtype == "float32"
    if len(node.outputs) > 1 or automatic or not known or node.integer("ceil_mode", 0):
        return None
    return Form(node.inputs, _window(node))


def _window(node: Node) -> dict[str, Attribute]:
    """Reads the geometry of a pool, with ONNX's defaults."""
    kernel = node.ints("kernel_shape", ())
    rank = len(kernel)
    padded = node.text("auto_pad", "NOTSET") == "NOTSET"
    return {
        "kernel": kernel,
        "strides": node.ints("strides", (1,) * rank),
        "pads": node.ints("pads", (0,) * 2 * rank) if padded else (0,) * 2 * rank,
        "dilations": node.ints("dilations", (1,) * rank),
    }


def _float_average(node: Node, graph: Graph) -> Form | None:
    if node.op == "GlobalAveragePool":
        return Form(node.inputs, {"kernel": graph.types[node.inputs[0]].sizes[2:]})
    counted = {"count_include_pad": node.integer("count_include_pad", 0)}
    return Form(node.inputs, {**_window(node), **counted})


def _elementwise(node: Node, graph: Graph) -> Form | None:
    if {graph.types[name].dtype for name in node.inputs if name} != {"float32"}:
        return None
    if node.op != "Clip":
        return Form(node.inputs, _plain(node))
    bounds = list(zip(("minimum", "maximum"), node.inputs[1:], strict=False))
    if any(name and name not in graph.constants for _, name in bounds):
        return None
    known = {key: float(graph.constants[name].item()) for key, name in bounds if name}
    return Form(
        node.inputs[:1], {key: number for key, number in known.items() if math.isfinite(number)}
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
    """Reads the integer tensors after the first input.

    None for one left out, None in all when one is computed.
    """
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
    if (
        amounts is None
        or mode not in ("constant", "edge", "reflect")
        or data.dtype in ("float16", "float64")
    ):
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
    fill = 0 if value is None else value.reshape(-1)[0].item()
    return Form(node.inputs[:1], {"pads": tuple(pads), "mode": mode, "value": fill})


def _blocks(node: Node, graph: Graph) -> Form:
    return Form(
        node.inputs,
        {"blocksize": node.integer("blocksize", 1), "mode": node.text("mode", "DCR")},
    )


_FORMS: dict[str, Callable[[Node, Graph], Form | None]] = {
    **dict.fromkeys(FLOAT_VECTOR, _elementwise),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool"), _float_average),
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
