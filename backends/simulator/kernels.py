"""Computes each kind of step on numpy, over many samples at once.

Every value has a leading sample axis, [S, *shape]; a constant has a sample axis of 1. The engines'
arithmetic stands in compiler.engines.numerics; here the samples are merged into the axes that it
works on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import numpy as np
import numpy.typing as npt

from backends.simulator import float_kernels
from compiler.engines import numerics
from compiler.engines.numerics import Integers
from compiler.engines.numerics_analog import analog_output
from compiler.errors import PackageError
from compiler.ir.graph import Array, Node, Quant, TensorType
from compiler.ir.ops import VIEWS


@dataclass(frozen=True)
class Call:
    """A step ready to run: operation and attributes as a node, types of values, converter noise."""

    node: Node
    types: Mapping[str, TensorType]
    random: np.random.Generator | None = None

    def quant(self, name: str) -> Quant:
        """Finds the quantization of a value that must have one, else raises ValueError."""
        quant = self.types[name].quant
        if quant is None:
            raise ValueError(f"{name} must be quantized")
        return quant

    @property
    def out(self) -> TensorType:
        """The type of the (first) output."""
        return self.types[self.node.outputs[0]]


Kernel = Callable[[Call, Sequence[Array]], list[Array]]


def run_kernel(call: Call, values: Sequence[Array]) -> list[Array]:
    """Computes the outputs of a step, [S, *shape], from its inputs in their order.

    Raises PackageError (P002) for an operation that no engine has, ValueError where types or shapes
    are not what the operation takes.
    """
    kernel = KERNELS.get(call.node.op)
    if kernel is None:
        raise PackageError(f"no engine has the operation {call.node.op!r}", code="P002")
    return kernel(call, values)


def _samples(values: Sequence[Array]) -> int:
    return max(len(value) for value in values)


def _merged(data: Array) -> Array:
    """Merges samples into the first axis: [S,N,...] -> [S*N,...]."""
    return data.reshape(data.shape[0] * data.shape[1], *data.shape[2:])


def _view(call: Call, values: Sequence[Array]) -> list[Array]:
    data = values[0]
    return [data.reshape(data.shape[0], *call.out.sizes)]


def _product(call: Call, values: Sequence[Array]) -> list[Array]:
    """Computes an integer product: exact sums, bias, and the output's integers (or reals)."""
    node, out = call.node, call.out.quant
    if call.types[node.inputs[0]].quant is None:
        return _float_product(call, values)
    data_quant, weight_quant = call.quant(node.inputs[0]), call.quant(node.inputs[1])
    window = numerics.Window.of(node)
    data = values[0]
    rows = _merged(data) if window.kernel else data.reshape(-1, data.shape[-1])
    centered = numerics.centered(_integers(rows), data_quant)
    sums = numerics.integer_product(centered, _integers(values[1][0]), window)
    multiplier = numerics.product_multiplier(data_quant, weight_quant, out)
    if len(values) > 2:
        bias = values[2][0]
        sums += _integers(bias).reshape(_columns(bias, sums.ndim, window))
    factor = multiplier.reshape(_columns(multiplier, sums.ndim, window))
    if out is None:
        result: Array = numerics.bounded(sums.astype(np.float32) * factor, node)
    else:
        result = numerics.requantize(sums, factor, out, numerics.output_bounds(out, node))
    return [result.reshape(data.shape[0], *call.out.sizes)]


def _float_product(call: Call, values: Sequence[Array]) -> list[Array]:
    data = values[0]
    rows = _merged(data) if call.node.ints("kernel", ()) else data
    sums = float_kernels.product(call.node, [rows, *values[1:]])
    return [numerics.bounded(sums, call.node).reshape(data.shape[0], *call.out.sizes)]


def _elementwise(call: Call, values: Sequence[Array]) -> list[Array]:
    found = float_kernels.elementwise(call.node, _aligned(call, values))
    return [_whole(found, _samples(values))]


def _float_average(call: Call, values: Sequence[Array]) -> list[Array]:
    found = float_kernels.average_pool(call.node, _merged(values[0]))
    return [found.reshape(values[0].shape[0], *call.out.sizes)]


def _columns(values: Array, dimensions: int, window: numerics.Window) -> tuple[int, ...]:
    if values.size == 1:
        return (1,) * dimensions
    return numerics.column_shape(values, dimensions, not window.kernel)


def _integers(data: Array) -> Integers:
    if not np.issubdtype(data.dtype, np.integer):
        raise ValueError(f"{data.dtype} where integers are expected")
    return cast(Integers, data)


def _analog_product(call: Call, values: Sequence[Array]) -> list[Array]:
    constants = [value[0] for value in values[1:]]
    data = _integers(values[0])
    return [analog_output(call.node, call.types, data, constants, call.random)]


def _requantize(call: Call, values: Sequence[Array]) -> list[Array]:
    data, out = call.quant(call.node.inputs[0]), call.quant(call.node.outputs[0])
    ratio = np.float32(data.scale[0]) / np.float32(out.scale[0])
    centered = numerics.centered(_integers(values[0]), data)
    bounds = numerics.output_bounds(out, call.node)
    return [numerics.requantize(centered, ratio, out, bounds)]


def _aligned(call: Call, values: Sequence[Array]) -> list[Array]:
    """Inserts axes of 1 behind the sample axis, so that operands broadcast as in ONNX."""
    rank = len(call.out.sizes)
    return [
        value.reshape(value.shape[0], *(1,) * (rank - (value.ndim - 1)), *value.shape[1:])
        for value in values
    ]


def _centered(call: Call, values: Sequence[Array]) -> list[npt.NDArray[np.int32]]:
    """Subtracts their zero points from aligned operands."""
    return [
        numerics.centered(_integers(value), _behind_samples(call.quant(name)))
        for name, value in zip(call.node.inputs, _aligned(call, values), strict=True)
    ]


def _behind_samples(quant: Quant) -> Quant:
    if quant.axis is not None:
        raise ValueError("a sum of integers needs one scale per operand")
    return quant


def _add(call: Call, values: Sequence[Array]) -> list[Array]:
    out = call.quant(call.node.outputs[0])
    shares = [
        centered.astype(np.float32)
        * (np.float32(call.quant(name).scale[0]) / np.float32(out.scale[0]))
        for name, centered in zip(call.node.inputs, _centered(call, values), strict=True)
    ]
    rounded = np.rint(shares[0] + shares[1])
    result = numerics.to_format(rounded, out, numerics.output_bounds(out, call.node))
    return [_whole(result, _samples(values))]


def _multiply(call: Call, values: Sequence[Array]) -> list[Array]:
    one, other = (call.quant(name) for name in call.node.inputs)
    out = call.quant(call.node.outputs[0])
    left, right = _centered(call, values)
    product = left.astype(np.float32) * right.astype(np.float32)
    ratio = np.float32(one.scale[0]) * np.float32(other.scale[0]) / np.float32(out.scale[0])
    result = numerics.to_format(
        np.rint(product * ratio), out, numerics.output_bounds(out, call.node)
    )
    return [_whole(result, _samples(values))]


def _whole(data: Array, samples: int) -> Array:
    """Broadcasts a result to one entry per sample, also where every operand was a constant."""
    return np.broadcast_to(data, (samples, *data.shape[1:]))


def _average_pool(call: Call, values: Sequence[Array]) -> list[Array]:
    data, out = call.quant(call.node.inputs[0]), call.quant(call.node.outputs[0])
    centered = numerics.centered(_integers(_merged(values[0])), data)
    mean = numerics.average_pool(centered, call.node)
    ratio = np.float32(data.scale[0]) / np.float32(out.scale[0])
    bounds = numerics.output_bounds(out, call.node)
    result = numerics.to_format(np.rint(mean * ratio), out, bounds)
    return [result.reshape(values[0].shape[0], *call.out.sizes)]


def _table(call: Call, values: Sequence[Array]) -> list[Array]:
    data = call.quant(call.node.inputs[0])
    table = values[1][0]
    return [table[_integers(values[0]).astype(np.int32) - data.lowest]]


def _max_pool(call: Call, values: Sequence[Array]) -> list[Array]:
    """Finds the largest of each window; what lies outside never wins."""
    window = numerics.Window.of(call.node)
    data = _merged(values[0])
    rank = len(window.kernel)
    sizes = call.out.sizes[2:]
    widths = []
    for axis in range(rank):
        span = window.dilations[axis] * (window.kernel[axis] - 1) + 1
        reach = (sizes[axis] - 1) * window.strides[axis] + span
        before = window.pads[axis]
        widths.append((before, max(0, reach - before - data.shape[2 + axis])))
    in_floats = data.dtype.kind == "f"
    lowest = -np.inf if in_floats else int(np.iinfo(_integers(data).dtype).min)
    padded = np.pad(data, ((0, 0), (0, 0), *widths), constant_values=lowest)
    result = np.full((*data.shape[:2], *sizes), lowest, data.dtype)
    for index in np.ndindex(*window.kernel):
        region = []
        for axis, tap in enumerate(index):
            start, step = tap * window.dilations[axis], window.strides[axis]
            region.append(slice(start, start + (sizes[axis] - 1) * step + 1, step))
        np.maximum(result, padded[(slice(None), slice(None), *region)], out=result)
    return [result.reshape(values[0].shape[0], *call.out.sizes)]


def _transpose(call: Call, values: Sequence[Array]) -> list[Array]:
    perm = call.node.ints("perm", ())
    return [np.ascontiguousarray(values[0].transpose(0, *(axis + 1 for axis in perm)))]


def _slice(call: Call, values: Sequence[Array]) -> list[Array]:
    node = call.node
    region = [slice(None)]
    for start, step, size in zip(
        node.ints("starts", ()), node.ints("steps", ()), node.ints("sizes", ()), strict=True
    ):
        stop = start + step * size
        region.append(slice(start, stop if stop >= 0 else None, step) if size else slice(0, 0))
    return [np.ascontiguousarray(values[0][tuple(region)])]


def _concat(call: Call, values: Sequence[Array]) -> list[Array]:
    samples = _samples(values)
    whole = [_whole(value, samples) for value in values]
    return [np.concatenate(whole, call.node.integer("axis", 0) + 1)]


def _split(call: Call, values: Sequence[Array]) -> list[Array]:
    axis = call.node.integer("axis", 0) + 1
    ends = list(accumulate(call.node.ints("sizes", ())))[:-1]
    return [np.ascontiguousarray(part) for part in np.split(values[0], ends, axis)]


def _pad(call: Call, values: Sequence[Array]) -> list[Array]:
    node = call.node
    pads = node.ints("pads", ())
    rank = len(pads) // 2
    widths = ((0, 0), *zip(pads[:rank], pads[rank:], strict=True))
    mode = node.text("mode")
    if mode == "constant":
        in_floats = values[0].dtype.kind == "f"
        fill = node.number("value", 0.0) if in_floats else node.integer("value", 0)
        return [np.pad(values[0], widths, constant_values=fill)]
    if mode == "edge":
        return [np.pad(values[0], widths, mode="edge")]
    return [np.pad(values[0], widths, mode="reflect")]


def _depth_to_space(call: Call, values: Sequence[Array]) -> list[Array]:
    data, block = _merged(values[0]), call.node.integer("blocksize", 1)
    count, channels, height, width = data.shape
    inner = channels // block**2
    if call.node.text("mode") == "CRD":
        split = data.reshape(count, inner, block, block, height, width)
        moved = split.transpose(0, 1, 4, 2, 5, 3)
    else:
        split = data.reshape(count, block, block, inner, height, width)
        moved = split.transpose(0, 3, 4, 1, 5, 2)
    return [moved.reshape(values[0].shape[0], *call.out.sizes)]


def _space_to_depth(call: Call, values: Sequence[Array]) -> list[Array]:
    data, block = _merged(values[0]), call.node.integer("blocksize", 1)
    count, channels, height, width = data.shape
    split = data.reshape(count, channels, height // block, block, width // block, block)
    moved = split.transpose(0, 3, 5, 1, 2, 4)
    return [moved.reshape(values[0].shape[0], *call.out.sizes)]


KERNELS: dict[str, Kernel] = {
    **dict.fromkeys(float_kernels.ELEMENTWISE, _elementwise),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool"), _float_average),
    "Product": _product,
    "AnalogProduct": _analog_product,
    "Requantize": _requantize,
    "IntegerAdd": _add,
    "IntegerMul": _multiply,
    "IntegerAveragePool": _average_pool,
    "IntegerTable": _table,
    "MaxPool": _max_pool,
    "Transpose": _transpose,
    "Slice": _slice,
    "Concat": _concat,
    "Split": _split,
    "Pad": _pad,
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    **dict.fromkeys(VIEWS, _view),
}
