"""Writes matrix products in standard ONNX operations.

They are products of floats, of integers, and as an analog array computes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics, numerics_analog
from compiler.engines.bit_slicing import Slice, Slicing, digits_of_tiles
from compiler.execute.writer import Writer, constant_of, needed_quant, per_column, write_bounds
from compiler.ir.graph import Array, Graph, Node, Quant, TensorType


def write_product(writer: Writer, node: Node) -> None:
    """Writes a Product or an AnalogProduct."""
    types = writer.graph.types
    data, out = types[node.inputs[0]], types[node.outputs[0]]
    if node.op == "AnalogProduct":
        _write_analog_product(writer, node)
    elif data.quant is None:
        _write_float_product(writer, node, out)
    else:
        _write_integer_product(writer, node, data, out)


def convolution_weights(weights: Array, data_channels: int, window: numerics.Window) -> Array:
    """Brings weights [G,R,K] to the shape ONNX's Conv takes: [G*K, C/G, *kernel]."""
    groups, _, columns = weights.shape
    moved = weights.transpose(0, 2, 1)
    return moved.reshape(groups * columns, data_channels // groups, *window.kernel)


def _multiply(
    writer: Writer,
    data: str,
    weights: Array,
    window: numerics.Window,
    channels: int,
    integer: bool,
    zero_point: str = "",
) -> str:
    """Writes a matrix product or convolution with constant weights [G,R,K].

    It is one of floats or of integers.
    """
    groups = weights.shape[0]
    if not window.kernel:
        op = "MatMulInteger" if integer else "MatMul"
        inputs = [data, writer.const(weights[0], weights.dtype)]
        return writer.emit(op, *inputs, *([zero_point] if zero_point else []))
    inputs = [
        data,
        writer.const(convolution_weights(weights, channels, window), weights.dtype),
    ]
    return writer.emit(
        "ConvInteger" if integer else "Conv",
        *inputs,
        *([zero_point] if zero_point else []),
        group=groups,
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
    )


def _write_float_product(writer: Writer, node: Node, out: TensorType) -> None:
    channels = writer.graph.types[node.inputs[0]].sizes[1 if node.ints("kernel", ()) else -1]
    weights = constant_of(writer, node.inputs[1])
    value = _multiply(
        writer, node.inputs[0], weights, numerics.Window.of(node), channels, integer=False
    )
    if len(node.inputs) > 2:
        bias = per_column(constant_of(writer, node.inputs[2]), node, out)
        value = writer.emit("Add", value, writer.const(bias, out.dtype))
    write_bounds(writer, node, value, out.dtype)


def _write_integer_product(writer: Writer, node: Node, data: TensorType, out: TensorType) -> None:
    window = numerics.Window.of(node)
    weight_type = writer.graph.types[node.inputs[1]]
    data_quant, weight_quant = needed_quant(data), needed_quant(weight_type)
    weights = constant_of(writer, node.inputs[1])
    if any(weight_quant.zero_point):
        raise ValueError(f"{node.name}: weights must have zero point 0")
    point = writer.const(data_quant.zero_point[0], data.dtype)
    channels = data.sizes[1 if window.kernel else -1]
    value = _multiply(
        writer, node.inputs[0], weights, window, channels, integer=True, zero_point=point
    )
    if len(node.inputs) > 2:
        bias = per_column(constant_of(writer, node.inputs[2]), node, out)
        value = writer.emit("Add", value, writer.const(bias, np.int32))
    multiplier = numerics.product_multiplier(data_quant, weight_quant, out.quant)
    factor = per_column(multiplier, node, out) if multiplier.size > 1 else multiplier
    floats = writer.cast(value, "float32")
    scaled = writer.emit("Mul", floats, writer.const(factor, np.float32))
    if out.quant is None:
        write_bounds(writer, node, scaled, out.dtype)
        return
    writer.round_to(scaled, out.quant, numerics.output_bounds(out.quant, node), node.outputs[0])


def _write_analog_product(writer: Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = types[node.inputs[0]], types[node.outputs[0]]
    data_quant = needed_quant(data)
    window = numerics.Window.of(node)
    weight_slices = _weight_slices(node, constant_of(writer, node.inputs[1]), writer.graph)
    gain, digit_weight, multiplier, bias = (constant_of(writer, name) for name in node.inputs[2:6])
    channels = data.sizes[1 if window.kernel else -1]
    rows, window = _row_drives(writer, node.inputs[0], data_quant, window)
    slicing = Slicing.of(node, data_quant)
    bits = node.integer("converter_bits", 0)
    driven = [(piece, _slice_of(writer, rows, piece)) for piece in slicing.slices]
    ends = {
        unipolar: [
            writer.const(code, np.float32) for code in numerics_analog.code_range(bits, unipolar)
        ]
        for unipolar in sorted(
            {slicing.is_unipolar(p, d) for p in slicing.slices for d in range(len(weight_slices))}
        )
    }
    sum_of_codes = ""
    for tile, part in enumerate(
        numerics_analog.row_tiles(weight_slices.shape[2], node.integer("array_rows", 0))
    ):
        parts = [
            (piece, _Rows.of(writer, value, part, weight_slices.shape[1:3], window, channels))
            for piece, value in driven
        ]
        for index in range(len(weight_slices)):
            scale = writer.const(
                per_column(gain[:, tile, index].reshape(-1), node, out), np.float32
            )
            codes = ""
            for piece, inputs in parts:
                value = inputs.times(writer, weight_slices[index], window)
                rounded = writer.emit("Round", writer.emit("Mul", value, scale))
                code = writer.emit("Clip", rounded, *ends[slicing.is_unipolar(piece, index)])
                if piece.weight != 1:
                    code = writer.emit("Mul", code, writer.const(piece.weight, np.float32))
                codes = writer.emit("Add", codes, code) if codes else code
            worth = per_column(digit_weight[:, tile, index].reshape(-1), node, out)
            share = writer.emit("Mul", codes, writer.const(worth, np.float32))
            sum_of_codes = writer.emit("Add", sum_of_codes, share) if sum_of_codes else share
    factor = writer.const(per_column(multiplier, node, out), np.float32)
    real = writer.emit("Mul", sum_of_codes, factor)
    real = writer.emit("Add", real, writer.const(per_column(bias, node, out), np.float32))
    if out.quant is None:
        write_bounds(writer, node, real, out.dtype)
        return
    scaled = writer.emit("Div", real, writer.const(out.quant.scale[0], np.float32))
    writer.round_to(scaled, out.quant, numerics.output_bounds(out.quant, node), node.outputs[0])


def _row_drives(
    writer: Writer, value: str, quant: Quant, window: numerics.Window
) -> tuple[str, numerics.Window]:
    """Writes the integers that drive the rows, as floats, and returns them with the window left.

    The padding is driven at the zero point.
    """
    floats = writer.cast(value, "float32")
    point = quant.zero_point[0]
    if not point or not any(window.pads):
        return floats, window
    rank = len(window.kernel)
    pads = (0, 0, *window.pads[:rank], 0, 0, *window.pads[rank:])
    padded = writer.emit(
        "Pad", floats, writer.const(pads, np.int64), writer.const(point, np.float32)
    )
    return padded, numerics.Window(window.kernel, window.strides, (0,) * 2 * rank, window.dilations)


def _slice_of(writer: Writer, value: str, piece: Slice) -> str:
    """Writes what compiler.engines.bit_slicing.Slice.of computes."""

    def floor(shift: int) -> str:
        return writer.emit(
            "Floor", writer.emit("Mul", value, writer.const(2.0**-shift, np.float32))
        )

    shifted = floor(piece.shift) if piece.shift else value
    if piece.is_top and piece.is_signed:
        return shifted
    above = floor(piece.shift + piece.bits)
    return writer.emit(
        "Sub", shifted, writer.emit("Mul", above, writer.const(2.0**piece.bits, np.float32))
    )


@dataclass(frozen=True)
class _Rows:
    """The inputs that drive one tile's rows.

    Of an ungrouped product these are only the channels (or features) that reach it, from `first`
    on.
    """

    value: str
    part: slice
    first: int
    channels: int
    taps: int

    @staticmethod
    def of(
        writer: Writer, value: str, part: slice, shape: tuple[int, ...], window: numerics.Window,
        channels: int,
    ) -> _Rows:  # fmt: skip
        groups, _ = shape
        taps = prod(window.kernel)
        if groups > 1:
            return _Rows(value=value, part=part, first=0, channels=channels, taps=taps)
        first, last = part.start // taps, -(-part.stop // taps)
        if last - first < channels:
            axis = writer.const([1 if window.kernel else -1], np.int64)
            ends = (writer.const([first], np.int64), writer.const([last], np.int64))
            value = writer.emit("Slice", value, *ends, axis)
        return _Rows(value=value, part=part, first=first, channels=last - first, taps=taps)

    def times(self, writer: Writer, cells: npt.NDArray[np.int8], window: numerics.Window) -> str:
        """Writes the tile's bitline sums of `cells`, a weight slice [G,R,K].

        Rows of other tiles that share a channel count nothing.
        """
        masked: Array = np.zeros(cells.shape, np.float32)
        masked[:, self.part] = cells[:, self.part]
        groups = len(cells)
        start = self.first * self.taps
        rows = masked[:, start : start + self.channels // groups * self.taps]
        return _multiply(writer, self.value, rows, window, self.channels, integer=False)


def _weight_slices(node: Node, weights: Array, graph: Graph) -> npt.NDArray[np.int8]:
    """Returns the weight slices [D,G,R,K] of an AnalogProduct.

    They are taken out of the tile image where it has one.
    """
    if weights.ndim == 4:
        return weights.astype(np.int8)
    groups, _, count, columns = graph.types[node.inputs[2]].sizes
    return digits_of_tiles(weights, node.integer("rows", 0), groups, count, columns)
