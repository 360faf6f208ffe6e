"""A graph, at any stage, as an ONNX model that ONNX Runtime runs: our own operations are written out in standard ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler import numerics
from compiler.errors import UnsupportedError
from compiler.ir import OPSET, Array, Graph, Node, Quant, TensorType
from compiler.ops import PRODUCTS, attribute_protos, split_op, type_proto
from compiler.slices import Cut, Slice

if TYPE_CHECKING:
    import onnx

IR_VERSION = 10


def export_onnx(graph: Graph, *, annotate: bool = False) -> onnx.ModelProto:
    """The graph as one ModelProto, in opset OPSET.

    With `annotate` each node's metadata tells its engine, energy and reason, for viewers. Raises UnsupportedError when the graph holds a
    Segment (a node in an opset of its own cannot share a model); `compiler.interpreter` runs those in pieces.
    """
    for node in graph:
        if node.op == "Segment":
            raise UnsupportedError(
                "it is kept whole in its own opset and cannot share one ONNX model", node=node.name
            )
    return export_nodes(graph, graph.nodes, graph.inputs, graph.outputs, annotate=annotate)


def export_nodes(
    graph: Graph,
    nodes: Iterable[Node],
    inputs: Iterable[str],
    outputs: Iterable[str],
    *,
    annotate: bool = False,
) -> onnx.ModelProto:
    """Some nodes of a graph, in execution order, as a model with the given inputs and outputs."""
    import onnx
    from onnx import helper

    writer = _Writer(graph, annotate)
    inputs, outputs = tuple(inputs), tuple(outputs)
    for node in nodes:
        writer.write(node)
    made = {name for proto in writer.protos for name in proto.output}
    available = made | set(inputs)
    for output in outputs:
        if output not in available:
            writer.use(output)
    proto = helper.make_graph(
        writer.protos,
        graph.name or "graph",
        [onnx.ValueInfoProto(name=n, type=type_proto(graph.types[n])) for n in inputs],
        [onnx.ValueInfoProto(name=n, type=type_proto(graph.types[n])) for n in outputs],
        list(writer.initializers.values()),
    )
    imports = [helper.make_opsetid("", OPSET)]
    imports += [helper.make_opsetid(name, version) for name, version in graph.domains.items()]
    return helper.make_model(
        proto, opset_imports=imports, ir_version=IR_VERSION, producer_name="joulec"
    )


class _Writer:
    """Collects the ONNX nodes and initializers of a model, with fresh names for what lies in between."""

    def __init__(self, graph: Graph, annotate: bool) -> None:
        self.graph = graph
        self.annotate = annotate
        self.protos: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def write(self, node: Node) -> None:
        start = len(self.protos)
        if node.op in PRODUCTS:
            _write_product(self, node)
        elif node.op in _BODIES:
            _BODIES[node.op](self, node)
        else:
            self._write_standard(node)
        if self.annotate:
            for proto in self.protos[start:]:
                _annotate(proto, node)

    def _write_standard(self, node: Node) -> None:
        import onnx

        domain, op = split_op(node.op)
        for name in node.inputs:
            self.use(name)
        proto = onnx.NodeProto(
            op_type=op, domain=domain, name=node.name, input=node.inputs, output=node.outputs
        )
        proto.attribute.extend(attribute_protos(node))
        self.protos.append(proto)

    def use(self, name: str) -> None:
        """Makes a constant of the graph an initializer, if it is one."""
        import onnx

        data = self.graph.constants.get(name)
        if data is not None and name not in self.initializers:
            self.initializers[name] = onnx.numpy_helper.from_array(np.asarray(data), name)

    def fresh(self) -> str:
        """A name nothing else has."""
        while True:
            self._count += 1
            name = f"_{self._count}"
            if name not in self.graph.types and name not in self.graph.constants:
                return name

    def const(self, data: Any, dtype: Any) -> str:
        """A new initializer."""
        import onnx

        name = self.fresh()
        self.initializers[name] = onnx.numpy_helper.from_array(np.array(data, dtype), name)
        return name

    def emit(self, op: str, *inputs: str, out: str = "", **attrs: Any) -> str:
        """A new standard node with one output; attributes that are None are left out."""
        from onnx import helper

        result = out or self.fresh()
        for name in inputs:
            self.use(name)
        attrs = {name: value for name, value in attrs.items() if value is not None}
        # No name: ONNX Runtime refuses one given twice, and any we make up may be in the model.
        self.protos.append(helper.make_node(op, inputs, [result], **attrs))
        return result

    def cast(self, value: str, dtype: str, out: str = "") -> str:
        from compiler.ops import dtype_number

        return self.emit("Cast", value, out=out, to=dtype_number(dtype))

    def centered(self, value: str, quant: Quant) -> str:
        """Integers less their zero point, as float32 (exact)."""
        floats = self.cast(value, "float32")
        point = quant.zero_point[0]
        return self.emit("Sub", floats, self.const(point, np.float32)) if point else floats

    def round_to(self, scaled: str, out: Quant, bounds: tuple[int, int], target: str) -> None:
        """Rounds floats and clips them into a format: the body of numerics.to_format."""
        low, high = bounds
        point = out.zero_point[0]
        rounded = self.emit("Round", scaled)
        clipped = self.emit(
            "Clip",
            rounded,
            self.const(low - point, np.float32),
            self.const(high - point, np.float32),
        )
        if point:
            clipped = self.emit("Add", clipped, self.const(point, np.float32))
        self.cast(clipped, out.storage, out=target)


def _annotate(proto: onnx.NodeProto, node: Node) -> None:
    notes = {"joulec.node": node.name, "joulec.op": node.op}
    if node.placement is not None:
        notes["joulec.engine"] = node.placement.engine
        notes["joulec.reason"] = node.placement.reason
        notes["joulec.energy_pj"] = f"{node.placement.energy_pj:.6g}"
    for key, value in notes.items():
        proto.metadata_props.add(key=key, value=value)


def _constant(writer: _Writer, name: str) -> Array:
    data = writer.graph.constants.get(name)
    if data is None:
        raise ValueError(f"{name} must be a constant")
    return data


def _quant(kind: TensorType) -> Quant:
    if kind.quant is None:
        raise ValueError(f"{kind} must be quantized")
    return kind.quant


def convolution_weights(weights: Array, data_channels: int, window: numerics.Window) -> Array:
    """Weights [G,R,K] as ONNX's Conv takes them: [G*K, C/G, *kernel]."""
    groups, _, columns = weights.shape
    moved = weights.transpose(0, 2, 1)
    return moved.reshape(groups * columns, data_channels // groups, *window.kernel)


def _multiply(
    writer: _Writer, data: str, weights: Array, window: numerics.Window, channels: int, integer: bool,
    zero_point: str = "",
) -> str:  # fmt: skip
    """A matrix product or convolution with constant weights [G,R,K], in floats or in integers."""
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


def _write_product(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = types[node.inputs[0]], types[node.outputs[0]]
    if node.op == "AnalogProduct":
        _write_analog_product(writer, node)
    elif data.quant is None:
        _write_float_product(writer, node, out)
    else:
        _write_integer_product(writer, node, data, out)


def _per_column(values: npt.ArrayLike, node: Node, out: TensorType) -> Array:
    array = np.asarray(values)
    shape = numerics.column_shape(array, len(out.sizes), not node.ints("kernel", ()))
    return array.reshape(shape)


def _write_float_product(writer: _Writer, node: Node, out: TensorType) -> None:
    channels = writer.graph.types[node.inputs[0]].sizes[1 if node.ints("kernel", ()) else -1]
    weights = _constant(writer, node.inputs[1])
    value = _multiply(
        writer, node.inputs[0], weights, numerics.Window.of(node), channels, integer=False
    )
    if len(node.inputs) > 2:
        bias = _per_column(_constant(writer, node.inputs[2]), node, out)
        value = writer.emit("Add", value, writer.const(bias, out.dtype))
    _write_bounds(writer, node, value, out.dtype)


def _write_bounds(writer: _Writer, node: Node, value: str, dtype: str) -> None:
    """Clips to the node's real bounds, into its output."""
    low = writer.const(node.number("minimum", 0), dtype) if "minimum" in node.attrs else ""
    high = writer.const(node.number("maximum", 0), dtype) if "maximum" in node.attrs else ""
    if low or high:
        writer.emit("Clip", value, low, high, out=node.outputs[0])
    else:
        writer.emit("Identity", value, out=node.outputs[0])


def _write_integer_product(writer: _Writer, node: Node, data: TensorType, out: TensorType) -> None:
    window = numerics.Window.of(node)
    weight_type = writer.graph.types[node.inputs[1]]
    data_quant, weight_quant = _quant(data), _quant(weight_type)
    weights = _constant(writer, node.inputs[1])
    if any(weight_quant.zero_point):
        raise ValueError(f"{node.name}: weights must have zero point 0")
    point = writer.const(data_quant.zero_point[0], data.dtype)
    channels = data.sizes[1 if window.kernel else -1]
    value = _multiply(
        writer, node.inputs[0], weights, window, channels, integer=True, zero_point=point
    )
    if len(node.inputs) > 2:
        bias = _per_column(_constant(writer, node.inputs[2]), node, out)
        value = writer.emit("Add", value, writer.const(bias, np.int32))
    multiplier = numerics.product_multiplier(data_quant, weight_quant, out.quant)
    factor = _per_column(multiplier, node, out) if multiplier.size > 1 else multiplier
    floats = writer.cast(value, "float32")
    scaled = writer.emit("Mul", floats, writer.const(factor, np.float32))
    if out.quant is None:
        _write_bounds(writer, node, scaled, out.dtype)
        return
    writer.round_to(scaled, out.quant, numerics.output_bounds(out.quant, node), node.outputs[0])


def _write_analog_product(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = types[node.inputs[0]], types[node.outputs[0]]
    data_quant = _quant(data)
    window = numerics.Window.of(node)
    digits = logical_digits(node, _constant(writer, node.inputs[1]), writer.graph)
    gain, digit_weight, multiplier, bias = (_constant(writer, name) for name in node.inputs[2:6])
    channels = data.sizes[1 if window.kernel else -1]
    rows, window = _row_drives(writer, node.inputs[0], data_quant, window)
    cut = Cut.of(node, data_quant)
    bits = node.integer("converter_bits", 0)
    driven = [(piece, _slice_of(writer, rows, piece)) for piece in cut.slices]
    ends = {
        unipolar: [writer.const(code, np.float32) for code in numerics.code_range(bits, unipolar)]
        for unipolar in sorted(
            {cut.is_unipolar(p, d) for p in cut.slices for d in range(len(digits))}
        )
    }
    sum_of_codes = ""
    for tile, part in enumerate(numerics.row_tiles(digits.shape[2], node.integer("array_rows", 0))):
        parts = [
            (piece, _Rows.of(writer, value, part, digits.shape[1:3], window, channels))
            for piece, value in driven
        ]
        for digit in range(digits.shape[0]):
            scale = writer.const(
                _per_column(gain[:, tile, digit].reshape(-1), node, out), np.float32
            )
            codes = ""
            for piece, inputs in parts:
                value = inputs.times(writer, digits[digit], window)
                rounded = writer.emit("Round", writer.emit("Mul", value, scale))
                code = writer.emit("Clip", rounded, *ends[cut.is_unipolar(piece, digit)])
                if piece.weight != 1:
                    code = writer.emit("Mul", code, writer.const(piece.weight, np.float32))
                codes = writer.emit("Add", codes, code) if codes else code
            worth = _per_column(digit_weight[:, tile, digit].reshape(-1), node, out)
            share = writer.emit("Mul", codes, writer.const(worth, np.float32))
            sum_of_codes = writer.emit("Add", sum_of_codes, share) if sum_of_codes else share
    factor = writer.const(_per_column(multiplier, node, out), np.float32)
    real = writer.emit("Mul", sum_of_codes, factor)
    real = writer.emit("Add", real, writer.const(_per_column(bias, node, out), np.float32))
    if out.quant is None:
        _write_bounds(writer, node, real, out.dtype)
        return
    scaled = writer.emit("Div", real, writer.const(out.quant.scale[0], np.float32))
    writer.round_to(scaled, out.quant, numerics.output_bounds(out.quant, node), node.outputs[0])


def _row_drives(
    writer: _Writer, value: str, quant: Quant, window: numerics.Window
) -> tuple[str, numerics.Window]:
    """The integers that drive the rows, as floats, with the padding driven at the zero point: the data, and the window that is left."""
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


def _slice_of(writer: _Writer, value: str, piece: Slice) -> str:
    """The body of slices.Slice.of."""

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
    """The inputs that drive one tile's rows: of an ungrouped product only the channels (or features) that reach it, from `first` on."""

    value: str
    part: slice
    first: int
    channels: int
    taps: int

    @staticmethod
    def of(
        writer: _Writer, value: str, part: slice, shape: tuple[int, ...], window: numerics.Window,
        channels: int,
    ) -> _Rows:  # fmt: skip
        groups, _ = shape
        taps = prod(window.kernel)
        if groups > 1:
            return _Rows(value, part, 0, channels, taps)
        first, last = part.start // taps, -(-part.stop // taps)
        if last - first < channels:
            axis = writer.const([1 if window.kernel else -1], np.int64)
            ends = (writer.const([first], np.int64), writer.const([last], np.int64))
            value = writer.emit("Slice", value, *ends, axis)
        return _Rows(value, part, first, last - first, taps)

    def times(self, writer: _Writer, digits: npt.NDArray[np.int8], window: numerics.Window) -> str:
        """The tile's bitline sums of a digit [G,R,K]; rows of other tiles that share a channel count nothing."""
        masked: Array = np.zeros(digits.shape, np.float32)
        masked[:, self.part] = digits[:, self.part]
        groups = len(digits)
        start = self.first * self.taps
        rows = masked[:, start : start + self.channels // groups * self.taps]
        return _multiply(writer, self.value, rows, window, self.channels, integer=False)


def logical_digits(node: Node, weights: Array, graph: Graph) -> npt.NDArray[np.int8]:
    """The digits [D,G,R,K] of an AnalogProduct, cut out of the tile image where it has one."""
    if weights.ndim == 4:
        return weights.astype(np.int8)
    groups, _, count, columns = graph.types[node.inputs[2]].sizes
    return digits_of_tiles(weights, node.integer("rows", 0), groups, count, columns)


def digits_of_tiles(
    tiles: Array, rows: int, groups: int, count: int, columns: int
) -> npt.NDArray[np.int8]:
    """The inverse of passes.pad_to_tiles: [G,row tiles,column tiles,rows,columns] -> [D,G,R,K]."""
    _, row_count, column_count, array_rows, array_columns = tiles.shape
    flat = tiles.transpose(0, 1, 3, 2, 4).reshape(
        groups, row_count * array_rows, column_count * array_columns
    )
    digits = flat[:, :rows, : count * columns].reshape(groups, rows, count, columns)
    return np.ascontiguousarray(digits.transpose(2, 0, 1, 3)).astype(np.int8)


def _write_clipped_add(writer: _Writer, node: Node) -> None:
    total = writer.emit("Add", *node.inputs)
    _write_bounds(writer, node, total, writer.graph.types[node.outputs[0]].dtype)


def _write_requantize(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = _quant(types[node.inputs[0]]), _quant(types[node.outputs[0]])
    value = writer.centered(node.inputs[0], data)
    ratio = np.float32(data.scale[0]) / np.float32(out.scale[0])
    scaled = writer.emit("Mul", value, writer.const(ratio, np.float32))
    writer.round_to(scaled, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_add(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    out = _quant(types[node.outputs[0]])
    shares = []
    for name in node.inputs:
        quant = _quant(types[name])
        ratio = np.float32(quant.scale[0]) / np.float32(out.scale[0])
        shares.append(
            writer.emit("Mul", writer.centered(name, quant), writer.const(ratio, np.float32))
        )
    value = writer.emit("Add", *shares)
    writer.round_to(value, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_mul(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    one, other, out = (_quant(types[n]) for n in (*node.inputs, node.outputs[0]))
    value = writer.emit(
        "Mul", writer.centered(node.inputs[0], one), writer.centered(node.inputs[1], other)
    )
    ratio = np.float32(one.scale[0]) * np.float32(other.scale[0]) / np.float32(out.scale[0])
    scaled = writer.emit("Mul", value, writer.const(ratio, np.float32))
    writer.round_to(scaled, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_average_pool(writer: _Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = _quant(types[node.inputs[0]]), _quant(types[node.outputs[0]])
    window = numerics.Window.of(node)
    mean = writer.emit(
        "AveragePool",
        writer.centered(node.inputs[0], data),
        kernel_shape=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        count_include_pad=node.integer("count_include_pad", 0),
    )
    ratio = np.float32(data.scale[0]) / np.float32(out.scale[0])
    scaled = writer.emit("Mul", mean, writer.const(ratio, np.float32))
    writer.round_to(scaled, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_table(writer: _Writer, node: Node) -> None:
    data = _quant(writer.graph.types[node.inputs[0]])
    index = writer.cast(node.inputs[0], "int32")
    if data.lowest:
        index = writer.emit("Sub", index, writer.const(data.lowest, np.int32))
    writer.emit("Gather", node.inputs[1], index, out=node.outputs[0])


_BODIES = {
    "ClippedAdd": _write_clipped_add,
    "Requantize": _write_requantize,
    "IntegerAdd": _write_integer_add,
    "IntegerMul": _write_integer_mul,
    "IntegerAveragePool": _write_integer_average_pool,
    "IntegerTable": _write_integer_table,
}
