"""Traces channels through every kind of operation that is no matrix product.

What cannot be traced is fixed.
"""

from __future__ import annotations

import numpy as np

from compiler.ir.graph import Node
from passes.pruning.layout import reduced_axes, reshaped
from passes.pruning.structure import Channels, Tracer


def fix_all(tracer: Tracer, node: Node) -> None:
    """Fixes all channels of an operation that they cannot be traced through."""
    for name in node.inputs:
        tracer.fix(name)


def trace_same(tracer: Tracer, node: Node) -> None:
    """Traces channels through an operation of one value, each channel by itself."""
    data = tracer.values.get(node.inputs[0])
    if any(name in tracer.values for name in node.inputs[1:]) or any(node.outputs[1:]):
        fix_all(tracer, node)
    elif data is not None:
        tracer.values[node.outputs[0]] = data


def trace_aligned(tracer: Tracer, node: Node) -> None:
    """Traces channels through an operation on values that broadcast to one another.

    Channels at the same place are one.
    """
    rank = len(tracer.sizes(node.outputs[0]))
    names = [name for name in node.inputs if name]
    offsets = {name: rank - len(tracer.sizes(name)) for name in names}
    seen = {n: tracer.values[n].axis + offsets[n] for n in names if n in tracer.values}
    if not seen:
        return
    axis = next(iter(seen.values()))
    size = tracer.sizes(node.outputs[0])[axis]
    lengths = {n: tracer.sizes(n)[axis - offsets[n]] for n in names if axis >= offsets[n]}
    strangers = [n for n in names if n not in seen and n not in tracer.graph.constants]
    if (
        size == 1
        or any(place != axis for place in seen.values())
        or any(lengths[name] != size for name in seen)
        or any(lengths.get(name, 1) != 1 for name in strangers)
    ):
        fix_all(tracer, node)
        return
    first, *others = [tracer.values[name].classes for name in seen]
    for classes in others:
        tracer.join(first, classes)
    for index, name in enumerate(node.inputs):
        if name in tracer.graph.constants and lengths.get(name, 1) == size:
            tracer.add_constant(node, index, axis - offsets[name], first)
    tracer.values[node.outputs[0]] = Channels(axis, first)


def trace_pool(tracer: Tracer, node: Node) -> None:
    """Traces channels through a window over the axes from 2 on."""
    data = tracer.values.get(node.inputs[0])
    if data is not None and data.axis != 1:
        fix_all(tracer, node)
    else:
        trace_same(tracer, node)


def trace_along_axis(tracer: Tracer, node: Node) -> None:
    """Traces channels through Softmax and its like, which mix what lies along their axis."""
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None and node.integer("axis", -1) % rank == data.axis:
        fix_all(tracer, node)
    else:
        trace_same(tracer, node)


def trace_reduce(tracer: Tracer, node: Node) -> None:
    """Traces channels through a sum or mean over axes: they survive it unless it runs over them."""
    data = tracer.values.get(node.inputs[0])
    axes = reduced_axes(node, tracer.graph)
    if data is None:
        return
    if axes is None or data.axis in axes:
        fix_all(tracer, node)
        return
    gone = 0 if node.integer("keepdims", 1) else sum(axis < data.axis for axis in axes)
    tracer.values[node.outputs[0]] = Channels(data.axis - gone, data.classes)


def trace_view(tracer: Tracer, node: Node) -> None:
    """Traces channels through a new shape over the same elements.

    A Reshape names its shape in a constant.
    """
    data = tracer.values.get(node.inputs[0])
    if data is None:
        return
    old, new = tracer.sizes(node.inputs[0]), tracer.sizes(node.outputs[0])
    found = reshaped(data.axis, data.classes, old, new)
    if found is None or (node.op == "Reshape" and node.inputs[1] not in tracer.graph.constants):
        fix_all(tracer, node)
        return
    tracer.values[node.outputs[0]] = Channels(*found)


def trace_transpose(tracer: Tracer, node: Node) -> None:
    """Traces channels through another order of the axes."""
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None:
        order = node.ints("perm", tuple(range(rank))[::-1])
        tracer.values[node.outputs[0]] = Channels(order.index(data.axis), data.classes)


def trace_concat(tracer: Tracer, node: Node) -> None:
    """Traces channels through a Concat.

    Along the channels they stand side by side; along another axis they meet.
    """
    axis = node.integer("axis", 0) % len(tracer.sizes(node.outputs[0]))
    seen = [tracer.values.get(name) for name in node.inputs]
    known = [data for data in seen if data is not None]
    if not known:
        return
    if any(data.axis != axis for data in known):
        same = len({data.axis for data in known}) == 1 and len(known) == len(seen)
        if not same:
            fix_all(tracer, node)
            return
        for data in known[1:]:
            tracer.join(known[0].classes, data.classes)
        tracer.values[node.outputs[0]] = known[0]
        return
    parts = [
        np.zeros(tracer.sizes(name)[axis], np.int64) if data is None else data.classes
        for name, data in zip(node.inputs, seen, strict=True)
    ]
    tracer.values[node.outputs[0]] = Channels(axis, np.concatenate(parts))


def trace_pad(tracer: Tracer, node: Node) -> None:
    """Traces channels through padding along other axes than theirs."""
    data = tracer.values.get(node.inputs[0])
    pads = tracer.graph.constants.get(node.input(1))
    if data is None:
        return
    rank = len(tracer.sizes(node.inputs[0]))
    whole = pads is not None and pads.size == 2 * rank and not any(node.inputs[3:])
    if pads is None or not whole or pads[data.axis] or pads[data.axis + rank]:
        fix_all(tracer, node)
    else:
        trace_same(tracer, node)


def trace_scale(tracer: Tracer, node: Node) -> None:
    """Traces channels through QuantizeLinear and DequantizeLinear of one scale for all channels."""
    if any(tracer.graph.types[name].elements > 1 for name in node.inputs[1:] if name):
        fix_all(tracer, node)
    else:
        trace_same(tracer, node)


def trace_normalize(tracer: Tracer, node: Node) -> None:
    """Traces channels through BatchNormalization: four constants with a value for each channel."""
    data = tracer.values.get(node.inputs[0])
    plain = all(name in tracer.graph.constants for name in node.inputs[1:])
    if data is None or data.axis != 1 or not plain or any(node.outputs[1:]):
        fix_all(tracer, node)
        return
    for index in range(1, 5):
        tracer.add_constant(node, index, 0, data.classes)
    tracer.values[node.outputs[0]] = data
