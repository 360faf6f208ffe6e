"""Which channels of a graph hang together: those that can only be removed at once form a class.

Channels are born as the outputs of a matrix product with constant weights. From there each rule follows them through one kind of operation;
where two channels meet (a residual addition, a depthwise convolution) their classes become one, and where they cannot be followed (a graph
output, an operation that mixes them) they join the class KEPT, which is never removed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir import Graph, Node
from compiler.ops import UNARY, VIEWS, product_shape
from passes.pruning_layout import reduced_axes, reshaped

Classes: TypeAlias = npt.NDArray[np.int64]

KEPT = 0  # the class of channels that stay


@dataclass(frozen=True)
class Channels:
    """The class of each index of a value along one axis."""

    axis: int
    classes: Classes


@dataclass(frozen=True)
class Cut:
    """An input constant of a node that shrinks along `axis`; each index belongs to a class."""

    node: str
    input: int
    axis: int
    classes: Classes


@dataclass(frozen=True)
class Layer:
    """A matrix product: the classes of its input and output channels, `taps` rows to an input channel.

    A depthwise convolution has no `rows`: it works on each of its columns alone.
    """

    node: str
    rows: Classes | None
    columns: Classes
    taps: int
    positions: int

    def macs(self, kept: npt.NDArray[np.bool_]) -> int:
        """Multiply-accumulates when only the classes marked in `kept` stay."""
        rows = 1 if self.rows is None else int(kept[self.rows].sum())
        return self.positions * self.taps * rows * int(kept[self.columns].sum())


@dataclass(frozen=True)
class Structure:
    """A graph's channels: how many classes, where each stands in values and constants, and the layers they make."""

    count: int
    values: dict[str, Channels]
    cuts: tuple[Cut, ...]
    layers: tuple[Layer, ...]


def channel_structure(graph: Graph) -> Structure:
    """Follows every channel of a graph from its layer to its readers."""
    tracer = _Tracer(graph)
    for node in graph.nodes:
        kinds = [graph.types[name] for name in (*node.inputs, *node.outputs) if name]
        known = all(kind.is_static for kind in kinds)
        _RULES.get(node.op, _keep)(tracer, node) if known else _keep(tracer, node)
    for name in graph.outputs:
        tracer.keep(name)
    return tracer.finish()


class _Tracer:
    """The channels known so far; classes are joined as in a union-find forest."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: dict[str, Channels] = {}
        self.cuts: list[Cut] = []
        self.layers: list[Layer] = []
        self._parent = [KEPT]

    def fresh(self, count: int) -> Classes:
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def find(self, item: int) -> int:
        while self._parent[item] != item:
            self._parent[item] = self._parent[self._parent[item]]
            item = self._parent[item]
        return item

    def join(self, one: Classes, other: Classes) -> None:
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low

    def keep(self, value: str) -> None:
        """No channel of a value may go."""
        if value in self.values:
            classes = self.values[value].classes
            self.join(classes, np.zeros_like(classes))

    def cut(self, node: Node, index: int, axis: int, classes: Classes) -> None:
        self.cuts.append(Cut(node.name, index, axis, classes))

    def sizes(self, value: str) -> tuple[int, ...]:
        return self.graph.types[value].sizes

    def finish(self) -> Structure:
        roots = np.array([self.find(item) for item in range(len(self._parent))])
        names, classes = np.unique(roots, return_inverse=True)
        return Structure(
            len(names),
            {n: Channels(c.axis, classes[c.classes]) for n, c in self.values.items()},
            tuple(Cut(c.node, c.input, c.axis, classes[c.classes]) for c in self.cuts),
            tuple(
                Layer(
                    layer.node,
                    None if layer.rows is None else classes[layer.rows],
                    classes[layer.columns],
                    layer.taps,
                    layer.positions,
                )
                for layer in self.layers
            ),
        )


_Rule: TypeAlias = Callable[[_Tracer, Node], None]


def _keep(tracer: _Tracer, node: Node) -> None:
    """An operation that channels cannot be followed through."""
    for name in node.inputs:
        tracer.keep(name)


def _same(tracer: _Tracer, node: Node) -> None:
    """One value in, one out, each channel by itself."""
    data = tracer.values.get(node.inputs[0])
    if any(name in tracer.values for name in node.inputs[1:]) or any(node.outputs[1:]):
        _keep(tracer, node)
    elif data is not None:
        tracer.values[node.outputs[0]] = data


def _aligned(tracer: _Tracer, node: Node) -> None:
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
        _keep(tracer, node)
        return
    first, *others = [tracer.values[name].classes for name in seen]
    for classes in others:
        tracer.join(first, classes)
    for index, name in enumerate(node.inputs):
        if name in tracer.graph.constants and lengths.get(name, 1) == size:
            tracer.cut(node, index, axis - offsets[name], first)
    tracer.values[node.outputs[0]] = Channels(axis, first)


def _pool(tracer: _Tracer, node: Node) -> None:
    """A window over the axes from 2 on."""
    data = tracer.values.get(node.inputs[0])
    if data is not None and data.axis != 1:
        _keep(tracer, node)
    else:
        _same(tracer, node)


def _along_axis(tracer: _Tracer, node: Node) -> None:
    """Softmax and its like mix what lies along their axis."""
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None and node.integer("axis", -1) % rank == data.axis:
        _keep(tracer, node)
    else:
        _same(tracer, node)


def _reduce(tracer: _Tracer, node: Node) -> None:
    data = tracer.values.get(node.inputs[0])
    axes = reduced_axes(node, tracer.graph)
    if data is None:
        return
    if axes is None or data.axis in axes:
        _keep(tracer, node)
        return
    gone = 0 if node.integer("keepdims", 1) else sum(axis < data.axis for axis in axes)
    tracer.values[node.outputs[0]] = Channels(data.axis - gone, data.classes)


def _view(tracer: _Tracer, node: Node) -> None:
    """A new shape over the same elements; a Reshape names it in a constant."""
    data = tracer.values.get(node.inputs[0])
    if data is None:
        return
    old, new = tracer.sizes(node.inputs[0]), tracer.sizes(node.outputs[0])
    found = reshaped(data.axis, data.classes, old, new)
    if found is None or (node.op == "Reshape" and node.inputs[1] not in tracer.graph.constants):
        _keep(tracer, node)
        return
    tracer.values[node.outputs[0]] = Channels(*found)


def _transpose(tracer: _Tracer, node: Node) -> None:
    data = tracer.values.get(node.inputs[0])
    rank = len(tracer.sizes(node.inputs[0]))
    if data is not None:
        order = node.ints("perm", tuple(range(rank))[::-1])
        tracer.values[node.outputs[0]] = Channels(order.index(data.axis), data.classes)


def _concat(tracer: _Tracer, node: Node) -> None:
    """Along the channels they stand side by side; along another axis they meet."""
    axis = node.integer("axis", 0) % len(tracer.sizes(node.outputs[0]))
    seen = [tracer.values.get(name) for name in node.inputs]
    known = [data for data in seen if data is not None]
    if not known:
        return
    if any(data.axis != axis for data in known):
        same = len({data.axis for data in known}) == 1 and len(known) == len(seen)
        if not same:
            _keep(tracer, node)
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


def _pad(tracer: _Tracer, node: Node) -> None:
    data = tracer.values.get(node.inputs[0])
    pads = tracer.graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if data is None:
        return
    rank = len(tracer.sizes(node.inputs[0]))
    whole = pads is not None and pads.size == 2 * rank and not any(node.inputs[3:])
    if pads is None or not whole or pads[data.axis] or pads[data.axis + rank]:
        _keep(tracer, node)
    else:
        _same(tracer, node)


def _scale(tracer: _Tracer, node: Node) -> None:
    """QuantizeLinear and DequantizeLinear: followed when one scale serves all channels."""
    if any(tracer.graph.types[name].elements > 1 for name in node.inputs[1:] if name):
        _keep(tracer, node)
    else:
        _same(tracer, node)


def _normalize(tracer: _Tracer, node: Node) -> None:
    """BatchNormalization: four constants with a value for each channel."""
    data = tracer.values.get(node.inputs[0])
    plain = all(name in tracer.graph.constants for name in node.inputs[1:])
    if data is None or data.axis != 1 or not plain or any(node.outputs[1:]):
        _keep(tracer, node)
        return
    for index in range(1, 5):
        tracer.cut(node, index, 0, data.classes)
    tracer.values[node.outputs[0]] = data


def _product(tracer: _Tracer, node: Node) -> None:
    """A matrix product: channels end in its rows and new ones begin at its columns."""
    graph = tracer.graph
    shape = product_shape(node, graph)
    own = len(graph.consumers[node.inputs[1]]) == 1 and node.inputs[1] in graph.constants
    if shape is None or not own or (node.op == "Gemm" and node.integer("transA", 0)):
        _keep(tracer, node)
        return
    taps, rows_axis, columns_axis = _weight_axes(tracer, node)
    convolves = node.op == "Conv" or bool(node.ints("kernel", ()))
    axis = 1 if convolves else len(tracer.sizes(node.inputs[0])) - 1
    channels = shape.rows // taps
    data = tracer.values.get(node.inputs[0])
    if data is not None and (data.axis != axis or (shape.groups > 1 and channels > 1)):
        _keep(tracer, node)
        data = None
    if shape.groups > 1:
        if channels == 1:
            _depthwise(tracer, node, data, shape.columns, taps, shape.positions)
        return
    rows = np.zeros(channels, np.int64) if data is None else data.classes
    columns = tracer.fresh(shape.columns)
    if data is not None:
        tracer.cut(node, 1, rows_axis, np.repeat(rows, taps) if node.op == "Product" else rows)
    tracer.cut(node, 1, columns_axis, columns)
    _cut_bias(tracer, node, columns)
    tracer.layers.append(Layer(node.name, rows, columns, taps, shape.positions))
    tracer.values[node.outputs[0]] = Channels(axis, columns)


def _depthwise(
    tracer: _Tracer, node: Node, data: Channels | None, multiple: int, taps: int, positions: int
) -> None:
    """Each input channel makes `multiple` output channels, which go with it."""
    if data is None:
        return
    columns = np.repeat(data.classes, multiple)
    tracer.cut(node, 1, 0, data.classes if node.op == "Product" else columns)
    _cut_bias(tracer, node, columns)
    tracer.layers.append(Layer(node.name, None, columns, taps, positions))
    tracer.values[node.outputs[0]] = Channels(1, columns)


def _cut_bias(tracer: _Tracer, node: Node, columns: Classes) -> None:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return
    sizes = tracer.sizes(node.inputs[2])
    if node.inputs[2] not in tracer.graph.constants:
        tracer.join(columns, np.zeros_like(columns))
    elif sizes and sizes[-1] == len(columns) and len(columns) > 1:
        tracer.cut(node, 2, len(sizes) - 1, columns)


def _weight_axes(tracer: _Tracer, node: Node) -> tuple[int, int, int]:
    """Rows to an input channel, and the axes of the weights along which input and output channels lie."""
    if node.op == "Product":
        return prod(node.ints("kernel", ())), 1, 2
    if node.op == "Conv":
        return prod(tracer.sizes(node.inputs[1])[2:]), 1, 0
    if node.op == "Gemm" and node.integer("transB", 0):
        return 1, 1, 0
    return 1, 0, 1


_ALIGNED = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "IntegerAdd", "IntegerMul")
_POOLS = ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "GlobalLpPool", "IntegerAveragePool")  # fmt: skip
_REDUCTIONS = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2")  # fmt: skip
_RULES: dict[str, _Rule] = {
    **dict.fromkeys((*UNARY, "Identity", "Cast", "Dropout", "Requantize", "IntegerTable"), _same),
    **dict.fromkeys(_ALIGNED, _aligned),
    **dict.fromkeys(_POOLS, _pool),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _along_axis),
    **dict.fromkeys([name for name in VIEWS if name != "Identity"], _view),
    **dict.fromkeys(("Conv", "Gemm", "MatMul", "Product"), _product),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _scale),
    "Transpose": _transpose,
    "Concat": _concat,
    "Pad": _pad,
    "BatchNormalization": _normalize,
}
