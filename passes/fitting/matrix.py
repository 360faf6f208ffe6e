"""A layer with constant weights as matrices, whichever operation it is: rows, weights, bias."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.engines.numerics import Window, patches, product_multiplier
from compiler.ir.graph import Array, Graph, Node, Quant, TensorType
from passes.patterns.products import MATRIX_PRODUCTS

Reals: TypeAlias = npt.NDArray[np.float64]

CHUNK_ELEMENTS = 1 << 20  # of rows held at a time
ALL = slice(None)


@dataclass(frozen=True)
class Matrix:
    """`groups` matrices of `rows` x `columns` weights.

    A row is a (channel, tap) pair, `taps` to a channel. A patch is what the rows hold together for
    one place of the output: places times samples are the patches.

    `window` has no kernel for a dense layer. `bias_node` and `bias_input` say where a bias is or
    could be; `bias_node` is empty where there can be none.
    """

    node: Node
    groups: int
    rows: int
    columns: int
    taps: int
    window: Window
    bias_node: str
    bias_input: int

    def weights(self, graph: Graph, columns: slice = ALL) -> Reals:
        """The weights [G,R,K], or some columns of each group, as real numbers."""
        name = self.node.inputs[1]
        data, quant = graph.constants[name], graph.types[name].quant
        if self.node.op == "Conv":
            data = data.reshape(self.groups, self.columns, self.rows).swapaxes(1, 2)
        elif self.node.op != "Product":
            transposed = self.node.op == "Gemm" and self.node.integer("transB", 0)
            data = (data.T if transposed else data)[None]
        taken = np.asarray(data[..., columns], np.float64)
        if quant is None or graph.types[self.node.inputs[0]].quant is None:
            return taken
        return taken * self._steps(quant)[..., columns]

    def bias(self, graph: Graph) -> Reals:
        """The bias [G,K] in the node itself as real numbers, zeros where it has none."""
        shape = (self.groups, self.columns)
        if len(self.node.inputs) < 3:
            return np.zeros(shape)
        bias = np.asarray(graph.constants[self.node.inputs[2]], np.float64).reshape(shape)
        weights, data = (graph.types[name].quant for name in self.node.inputs[1::-1])
        if weights is None or data is None:
            return bias
        return bias * self._steps(weights)[:, 0] * data.scale[0]

    def format_for(self, weights: Reals, graph: Graph) -> Quant | None:
        """Returns the node's own weight format, with scales that hold these weights.

        A column that would not fit its integers gets a scale as much wider as it needs.
        """
        quant = graph.types[self.node.inputs[1]].quant
        if quant is None:
            return None
        reach = np.abs(weights).max(axis=1, initial=0) / quant.highest
        needed = reach.reshape(-1) if len(quant.scale) > 1 else reach.max(keepdims=True).reshape(-1)
        scale = np.maximum(np.asarray(quant.scale), needed).astype(np.float32)
        return replace(quant, scale=tuple(float(item) for item in scale))

    def stored(self, weights: Reals, graph: Graph, quant: Quant | None) -> Array:
        """Lays weights [G,R,K] out as the node's constant, in its type and format."""
        old = graph.constants[self.node.inputs[1]]
        if self.node.op == "Conv":
            data = weights.swapaxes(1, 2).reshape(old.shape)
        elif self.node.op == "Product":
            data = weights / self._steps(quant)
        else:
            transposed = self.node.op == "Gemm" and self.node.integer("transB", 0)
            data = weights[0].T if transposed else weights[0]
        if quant is not None:
            data = np.clip(np.rint(data), quant.lowest, quant.highest)
        return np.asarray(data.astype(old.dtype))

    def _steps(self, quant: Quant | None) -> Reals:
        """What one integer step of a weight is worth, [G,1,K]: ones for floats."""
        scale = np.array((1.0,) if quant is None else quant.scale, np.float64)
        wide = np.broadcast_to(scale, (self.groups * self.columns,))
        return wide.reshape(self.groups, 1, self.columns)

    def bias_steps(self, graph: Graph, weights: Quant | None) -> Reals:
        """Returns the worth of one step of each column's bias when the weights have a format.

        Ones when the bias is a float.
        """
        data = graph.types[self.node.inputs[0]].quant
        if data is None or weights is None:
            return np.ones(self.groups * self.columns)
        steps = product_multiplier(data, weights, None).astype(np.float64)
        return np.broadcast_to(steps, (self.groups * self.columns,))

    def patches(
        self, data: npt.NDArray[np.floating]
    ) -> Iterator[tuple[slice, npt.NDArray[np.floating]]]:
        """What the matrices multiply, a few samples at a time: the samples, patches [G,M,R]."""
        sizes = data.shape[1:]
        spread = prod(sizes) * max(1, self.taps // max(1, prod(self.window.strides)))
        step = max(1, CHUNK_ELEMENTS // max(1, spread))
        for start in range(0, len(data), step):
            part = slice(start, min(start + step, len(data)))
            chunk = data[part]
            if not self.window.kernel:
                yield part, chunk.reshape(1, -1, self.rows)
                continue
            flat = patches(chunk.reshape(-1, *sizes[1:]), self.window)
            rows = flat.reshape(len(flat), self.groups, self.rows, -1).transpose(1, 0, 3, 2)
            yield part, rows.reshape(self.groups, -1, self.rows)

    def at_patches(self, data: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
        """What lies where the matrices' outputs do, as [G,M,K]."""
        if not self.window.kernel:
            return data.reshape(1, -1, self.columns)
        parts = data.reshape(-1, self.groups, self.columns, prod(data.shape[3:]))
        return parts.transpose(1, 0, 3, 2).reshape(self.groups, -1, self.columns)

    def places(self, data: npt.NDArray[np.floating]) -> int:
        """How many patches there are in data [samples, *shape]."""
        if not self.window.kernel:
            return data.size // self.rows
        samples, parts, _, *sizes = data.shape
        return int(samples * parts * prod(self._output_sizes(sizes)))

    def _output_sizes(self, sizes: Sequence[int]) -> Iterator[int]:
        window, rank = self.window, len(self.window.kernel)
        for axis, size in enumerate(sizes):
            reach = window.dilations[axis] * (window.kernel[axis] - 1) + 1
            padded = size + window.pads[axis] + window.pads[axis + rank]
            yield (padded - reach) // window.strides[axis] + 1


def linear(node: Node, graph: Graph) -> tuple[Node, Graph]:
    """A product without the clip and the format of its output: what weights are fitted to.

    With it a graph in which its output has that type.
    """
    name = node.outputs[0]
    plain = TensorType("float32", graph.types[name].shape)
    bounds = {"minimum", "maximum"} & set(node.attrs)
    if node.op != "Product" or (not bounds and graph.types[name].quant is None):
        return node, graph
    attrs = {key: value for key, value in node.attrs.items() if key not in bounds}
    changed = replace(node, attrs=attrs)
    return changed, replace(graph, nodes=(changed,), types={**graph.types, name: plain})


def matrix_of(node: Node, graph: Graph) -> Matrix | None:
    """The node as matrices to change, or None.

    None for what is no product, or none whose constant weights belong to it alone.
    """
    if node.op not in (*MATRIX_PRODUCTS, "Product") or len(node.inputs) < 2:
        return None
    weight = graph.constants.get(node.inputs[1])
    kinds = [graph.types[name] for name in (node.inputs[0], *node.outputs)]
    if weight is None or not all(kind.is_static for kind in kinds):
        return None
    both = (graph.types[name].quant for name in node.inputs[:2])
    integers = node.op == "Product" and all(quant is not None for quant in both)
    if weight.dtype.kind != "f" and not integers:
        return None
    if len(graph.consumers[node.inputs[1]]) > 1 or node.inputs[0] in graph.constants:
        return None
    if node.op in ("Conv", "Product"):
        return _convolution(node, graph, weight)
    if weight.ndim != 2:
        return None
    rows, columns = weight.shape
    if node.op == "Gemm":
        plain = not node.integer("transA", 0) and all(
            node.number(name, 1.0) == 1.0 for name in ("alpha", "beta")
        )
        if not plain:
            return None
        if node.integer("transB", 0):
            rows, columns = columns, rows
        return _with_bias(node, graph, 1, rows, columns, 1, Window((), (), (), ()))
    bias_node, bias_input = _bias_after(node, graph, columns)
    return Matrix(
        node=node,
        groups=1,
        rows=rows,
        columns=columns,
        taps=1,
        window=Window((), (), (), ()),
        bias_node=bias_node,
        bias_input=bias_input,
    )


def product_matrix(node: Node, graph: Graph) -> Matrix:
    """A Product as matrices to read."""
    groups, rows, columns = graph.types[node.inputs[1]].sizes
    window = Window.of(node)
    return Matrix(
        node=node,
        groups=groups,
        rows=rows,
        columns=columns,
        taps=prod(window.kernel),
        window=window,
        bias_node=node.name,
        bias_input=2,
    )


def _convolution(node: Node, graph: Graph, weight: Array) -> Matrix | None:
    if node.op == "Product":
        whole = product_matrix(node, graph)
        return _with_bias(
            node, graph, whole.groups, whole.rows, whole.columns, whole.taps, whole.window
        )
    groups = node.integer("group", 1)
    outputs, *patch = weight.shape
    rows, columns, taps = prod(patch), outputs // groups, prod(patch[1:])
    window = convolution_window(node, graph)
    return _with_bias(node, graph, groups, rows, columns, taps, window)


def _with_bias(
    node: Node, graph: Graph, groups: int, rows: int, columns: int, taps: int, window: Window
) -> Matrix | None:
    """Makes the matrix of a node that takes its bias as third input.

    None when that is computed or shared.
    """
    name = node.input(2)
    if name:
        bias = graph.constants.get(name)
        if bias is None or bias.size not in (1, groups * columns):
            return None
    return Matrix(
        node=node,
        groups=groups,
        rows=rows,
        columns=columns,
        taps=taps,
        window=window,
        bias_node=node.name,
        bias_input=2,
    )


def _bias_after(node: Node, graph: Graph, columns: int) -> tuple[str, int]:
    """Finds the Add of a constant vector that alone reads a MatMul.

    Returns its name, and which of its inputs the vector is.
    """
    reader = graph.only_consumer(node.outputs[0])
    if reader is None or reader.op != "Add":
        return "", 0
    for index, name in enumerate(reader.inputs):
        bias = graph.constants.get(name)
        if bias is not None and bias.size == columns == bias.shape[-1]:
            return reader.name, index
    return "", 0


def convolution_window(node: Node, graph: Graph) -> Window:
    """Finds the geometry of an ONNX Conv, automatic padding worked out."""
    data, weight = graph.types[node.inputs[0]].sizes, graph.types[node.inputs[1]].sizes
    out = graph.types[node.outputs[0]].sizes
    kernel = weight[2:]
    rank = len(kernel)
    strides = node.ints("strides", (1,) * rank)
    dilations = node.ints("dilations", (1,) * rank)
    automatic = node.text("auto_pad", "NOTSET")
    if automatic in ("NOTSET", "VALID"):
        pads = node.ints("pads", (0,) * 2 * rank) if automatic == "NOTSET" else (0,) * 2 * rank
        return Window(kernel, strides, pads, dilations)
    totals = [
        max((out[2 + i] - 1) * strides[i] + dilations[i] * (kernel[i] - 1) + 1 - data[2 + i], 0)
        for i in range(rank)
    ]
    less, more = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
    pads = (*less, *more) if automatic == "SAME_UPPER" else (*more, *less)
    return Window(kernel, strides, pads, dilations)
