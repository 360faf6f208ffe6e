"""How channels pass through every kind of operation that is no matrix product.

What cannot be followed is kept.
"""

from __future__ import annotations

import numpy as np

from compiler.ir.graph import Node
from passes.pruning.layout import reduced_axes, reshaped
from passes.pruning.structure import Channels, Tracer


def keep_all(tracer: Tracer, node: Node) -> None:
    """An operation that channels cannot be followed through."""
    for name in node.inputs:
        tracer.keep(name)


def follow_same(tracer: Tracer, node: Node) -> None:
    """One value in, one out, each channel by itself."""
    data = tracer.values.get(node.inputs[0])
    if any(name in tracer.values for name in node.inputs[1:]) or any(node.outputs[1:]):
        keep_all(tracer, node)
    elif data is not None:
        tracer.values[node.outputs[0]] = data


def follow_aligned(tracer: Tracer, node: Node) -> None:
    """An operation on values that broadcast to one another: channels at the same place are one."""
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
        keep_all(tracer, node)
        return
    first, *others = [tracer.values[name].classes for name in seen]
    for classes in others:
        tracer.join(first, classes)
    for index, name in enumerate(node.inputs):
        if name in tracer.graph.constants and lengths.get(name, 1) == size:
            tracer.cut(node, index, axis - offsets[name], first)
    tracer.values[node.outputs[0]] = Channels(axis, first)


def follow_pool(tracer: Tracer, node: Node) -> None:
    """A window over the axes from 2 on."""
    data = tracer.values.get(node.inputs[0])
    if data is not None and data.axis != 1:
        keep_all(tracer, node)
    else:
        follow_same(tracer, node)


def follow_along_axis(tracer: Tracer, node: Node) -> None:
    """Softmax and its like mix what lies along their axis."""
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None and node.integer("axis", -1) % rank == data.axis:
        keep_all(tracer, node)
    else:
        follow_same(tracer, node)


def follow_reduce(tracer: Tracer, node: Node) -> None:
    """A sum or mean over axes: channels survive it unless it runs over them."""
    data = tracer.values.get(node.inputs[0])
    axes = reduced_axes(node, tracer.graph)
    if data is None:
        return
    if axes is None or data.axis in axes:
        keep_all(tracer, node)
        return
    gone = 0 if node.integer("keepdims", 1) else sum(axis < data.axis for axis in axes)
    tracer.values[node.outputs[0]] = Channels(data.axis - gone, data.classes)


def follow_view(tracer: Tracer, node: Node) -> None:
    """A new shape over the same elements; a Reshape names it in a constant."""
    data = tracer.values.get(node.inputs[0])
    if data is None:
        return
    old, new = tracer.sizes(node.inputs[0]), tracer.sizes(node.outputs[0])
    found = reshaped(data.axis, data.classes, old, new)
    if found is None or (node.op == "Reshape" and node.inputs[1] not in tracer.graph.constants):
        keep_all(tracer, node)
        return
    tracer.values[node.outputs[0]] = Channels(*found)


def follow_transpose(tracer: Tracer, node: Node) -> None:
    """The axes in another order."""
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None:
        order = node.ints("perm", tuple(range(rank))[::-1])
        tracer.values[node.outputs[0]] = Channels(order.index(data.axis), data.classes)


def follow_concat(tracer: Tracer, node: Node) -> None:
    """Along the channels they stand side by side; along another axis they meet."""
    axis = node.integer("axis", 0) % len(tracer.sizes(node.outputs[0]))
    seen = [tracer.values.get(name) for name in node.inputs]
    known = [data for data in seen if data is not None]
    if not known:
        return
    if any(data.axis != axis for data in known):
        same = len({data.axis for data in known}) == 1 and len(known) == len(seen)
        if not same:
            keep_all(tracer, node)
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


def follow_pad(tracer: Tracer, node: Node) -> None:
    """Padding along other axes than that of the channels."""
    data = tracer.values.get(node.inputs[0])
    pads = tracer.graph.constants.get(node.input(1))
    if data is None:
        return
    rank = len(tracer.sizes(node.inputs[0]))
    whole = pads is not None and pads.size == 2 * rank and not any(node.inputs[3:])
    if pads is None or not whole or pads[data.axis] or pads[data.axis + rank]:
        keep_all(tracer, node)
    else:
        follow_same(tracer, node)


def follow_scale(tracer: Tracer, node: Node) -> None:
    """QuantizeLinear and DequantizeLinear: followed when one scale serves all channels."""
    if any(tracer.graph.types[name].elements > 1 for name in node.inputs[1:] if name):
        keep_all(tracer, node)
    else:
        follow_same(tracer, node)


def follow_normalize(tracer: Tracer, node: Node) -> None:
    """BatchNormalization: four constants with a value for each channel."""
    data = tracer.values.get(node.inputs[0])
    plain = all(name in tracer.graph.constants for name in node.inputs[1:])
    if data is None or data.axis != 1 or not plain or any(node.outputs[1:]):
        keep_all(tracer, node)
        return
    for index in range(1, 5):
        tracer.cut(node, index, 0, data.classes)
    tracer.values[node.outputs[0]] = data
