"""Turns clusters of DequantizeLinear, float operation, QuantizeLinear into integer operations on quantized types."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.interpreter import Interpreter
from compiler.ir import Attribute, Graph, Node, Quant, Rewriter, TensorType
from compiler.ops import MOVEMENT, UNARY, VIEWS, quant_of, window_outputs
from compiler.target import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate
from passes.fuse_activations import activation_bounds
from passes.products import matrices, why_not_product

INT8 = ("int8", "uint8")


@dataclass(frozen=True)
class NormalizeQuantization(Pass):
    """QDQ becomes the normal form: integers whose TensorType says their scale and zero point.

    Products, moves and tables give the integers the cluster gives; sums, products of activations and pools are within one step of it
    (they round once, where the cluster rounds in float). What has no integer form stays between its DequantizeLinear and QuantizeLinear.
    """

    name: ClassVar[str] = "normalize_quantization"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph with its clusters as integer operations."""
        if not any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph):
            return graph
        return eliminate(_Normalizer(_with_types(graph)).run())


def _linear_quant(node: Node, graph: Graph) -> Quant | None:
    """The quantization of a QuantizeLinear or DequantizeLinear with constant parameters to or from int8, else None."""
    scale = graph.constant(node.inputs[1])
    if scale is None or scale.dtype != np.float32 or node.integer("block_size", 0):
        return None
    point = None
    if len(node.inputs) > 2 and node.inputs[2]:
        point = graph.constant(node.inputs[2])
        if point is None:
            return None
    integers = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    kind = graph.types[integers]
    if not kind.is_static or not np.all(np.asarray(scale, np.float32) > 0):
        return None
    axis = node.integer("axis", 1) if scale.size > 1 else None
    if axis is not None and axis < 0:
        axis += len(kind.sizes)
    return quant_of(scale, point, kind.dtype, axis)


def _with_types(graph: Graph) -> Graph:
    """The graph with the quantization of every int8 value written on its type."""
    types = dict(graph.types)
    for node in graph:
        if node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        quant = _linear_quant(node, graph)
        value = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
        if quant is not None and types[value].dtype in INT8 and types[value].quant is None:
            types[value] = replace(types[value], quant=quant)
    return graph if types == graph.types else replace(graph, types=types)


class _Normalizer:
    """One walk: every float operation between integers is replaced where its QuantizeLinear stands."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rewriter = Rewriter(graph)

    def run(self) -> Graph:
        for node in self.graph:
            if not self._replace(node):
                self.rewriter.keep(node)
        return self.rewriter.finish()

    def _replace(self, node: Node) -> bool:
        """Writes the integer form of what ends in a node; False when the node stays."""
        if node.op == "QuantizeLinear":
            out = self._tensor_quant(node.outputs[0])
            made = self.graph.producer.get(node.inputs[0])
            if out is None or made is None:
                return False
            return self._cluster(node, made, out)
        if node.op in ("Conv", "Gemm", "MatMul") and not self._is_quantized_later(node):
            return self._product(node, node, {}, None)
        return False

    def _is_quantized_later(self, node: Node) -> bool:
        """Whether the cluster of a product ends in a QuantizeLinear that will take it along."""
        value = node.outputs[0]
        for _ in range(3):
            reader = self.graph.only_consumer(value)
            if reader is None:
                return False
            if reader.op == "QuantizeLinear":
                return self._tensor_quant(reader.outputs[0]) is not None
            if activation_bounds(reader, self.graph) is None:
                return False
            value = reader.outputs[0]
        return False

    def _cluster(self, last: Node, made: Node, out: Quant) -> bool:
        if made.op == "DequantizeLinear":
            return self._requantize(last, made, out)
        bounds: dict[str, Attribute] = {}
        fused = [last]
        core = made
        found = activation_bounds(made, self.graph)
        before = self.graph.producer.get(made.inputs[0]) if found is not None else None
        absorbing = ("Conv", "Gemm", "MatMul", "Add", "Mul", "AveragePool", "GlobalAveragePool")
        if found is not None and before is not None and before.op in absorbing:
            if self.graph.only_consumer(before.outputs[0]) is not made:
                return False
            bounds, core, fused = found, before, [made, last]
        if self.graph.only_consumer(made.outputs[0]) is not last:
            return False
        if core.op in ("Conv", "Gemm", "MatMul"):
            return self._product(core, fused[-1], bounds, out, fused)
        if core.op in ("Add", "Mul"):
            return self._two(core, bounds, out, fused)
        if core.op in ("AveragePool", "GlobalAveragePool"):
            return self._pool(core, bounds, out, fused)
        if core.op in (*VIEWS, *MOVEMENT, "MaxPool"):
            return self._move(core, out, fused)
        if core.op in UNARY:
            return self._table(core, out, fused)
        return False

    # -- what stands before and after

    def _tensor_quant(self, value: str) -> Quant | None:
        """The per-tensor int8 quantization of a value."""
        quant = self.graph.types[value].quant
        if quant is None or len(quant.scale) != 1 or self.graph.types[value].dtype not in INT8:
            return None
        return quant

    def _integers(self, value: str) -> str | None:
        """The int8 value that a float value is dequantized from, or None."""
        made = self.graph.producer.get(value)
        if made is None or made.op != "DequantizeLinear":
            return None
        source = made.inputs[0]
        quant = self._tensor_quant(source)
        return source if quant is not None and _linear_quant(made, self.graph) == quant else None

    def _add(
        self, core: Node, op: str, inputs: tuple[str, ...], attrs: dict[str, Attribute], fused: list[Node],
        read: tuple[str, ...] = (),
    ) -> bool:  # fmt: skip
        """Adds the integer node, with the nodes it stands for as its origin."""
        output = fused[-1].outputs[0]
        origin = core.origin
        for node in fused:
            if node is not core:
                origin += node.origin
        for value in read:
            made = self.graph.producer.get(value)
            if made is not None and made.op == "DequantizeLinear":
                origin += made.origin
        node = Node(
            core.name, op, inputs, (output,), attrs,
            origin=tuple(dict.fromkeys(origin)), source=core.source,
        )  # fmt: skip
        self.rewriter.add(node)
        return True

    # -- one method a kind of cluster

    def _requantize(self, last: Node, made: Node, out: Quant) -> bool:
        source = self._integers(made.outputs[0])
        if source is None:
            return False
        if self.graph.types[source].quant == out and last.outputs[0] not in self.graph.outputs:
            self.rewriter.forward(last.outputs[0], source)
            return True
        return self._add(last, "Requantize", (source,), {}, [last], (made.outputs[0],))

    def _product(
        self, core: Node, last: Node, bounds: dict[str, Attribute], out: Quant | None,
        fused: list[Node] | None = None,
    ) -> bool:  # fmt: skip
        graph = self.graph
        source = self._integers(core.inputs[0])
        weight_maker = graph.producer.get(core.inputs[1])
        if source is None or weight_maker is None or weight_maker.op != "DequantizeLinear":
            return False
        weights = graph.constant(weight_maker.inputs[0])
        quant = _linear_quant(weight_maker, graph)
        if weights is None or quant is None or why_not_product(core, graph):
            return False
        if core.number("alpha", 1.0) != 1.0 or core.number("beta", 1.0) != 1.0:
            return False
        centered = _centered_weights(core, weights, quant)
        if centered is None:
            return False
        form = matrices(core, graph, centered)
        groups, _, columns = form.weights.shape
        if len(quant.scale) not in (1, groups * columns):
            return False
        scales = quant.scale
        data_quant = graph.types[source].quant
        assert data_quant is not None
        bias = self._bias(core, data_quant, scales, groups * columns) if form.has_bias else None
        if form.has_bias and bias is None:
            return False
        inputs = [
            source,
            self.rewriter.constant(
                f"{core.name}.weights",
                form.weights,
                Quant(8, True, scales, (0,) * len(scales), 2 if len(scales) > 1 else None),
            ),
        ]
        read = [core.inputs[0], core.inputs[1]]
        if bias is not None:
            inputs.append(self.rewriter.constant(f"{core.name}.bias", bias))
            read.append(core.inputs[2])
        attrs = {**form.attrs, **bounds}
        return self._add(core, "Product", tuple(inputs), attrs, fused or [last], tuple(read))

    def _bias(
        self, core: Node, data: Quant, scales: tuple[float, ...], columns: int
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]] | None:
        """The bias as int32 in units of data scale * weight scale."""
        graph = self.graph
        unit = np.float32(data.scale[0]) * np.asarray(scales, np.float32)
        name = core.inputs[2]
        made = graph.producer.get(name)
        if made is not None and made.op == "DequantizeLinear":
            integers = graph.constant(made.inputs[0])
            scale = graph.constant(made.inputs[1])
            if integers is None or scale is None:
                return None
            flat = np.asarray(scale, np.float32).reshape(-1)
            integers = integers.reshape(-1)
            same = flat.size in (1, unit.size) and np.allclose(flat, unit, rtol=1e-6)
            if same and integers.dtype == np.int32 and integers.size == columns:
                return np.asarray(integers, np.int32)
            real = integers.astype(np.float64) * flat.astype(np.float64)
        elif name in graph.constants:
            real = np.asarray(graph.constants[name], np.float64).reshape(-1)
        else:
            return None
        if real.size not in (1, columns):
            return None
        rounded = np.rint(np.broadcast_to(real, (columns,)) / unit.astype(np.float64))
        if np.abs(rounded).max(initial=0) >= 1 << 31:
            return None
        return rounded.astype(np.int32)

    def _two(self, core: Node, bounds: dict[str, Attribute], out: Quant, fused: list[Node]) -> bool:
        sources = []
        for value in core.inputs:
            source = self._integers(value)
            if source is None or not self._is_int8_data(source):
                return False
            sources.append(source)
        return self._add(core, f"Integer{core.op}", tuple(sources), bounds, fused, core.inputs)

    def _is_int8_data(self, value: str) -> bool:
        return self.graph.types[value].dtype in INT8

    def _pool(
        self, core: Node, bounds: dict[str, Attribute], out: Quant, fused: list[Node]
    ) -> bool:
        source = self._integers(core.inputs[0])
        if source is None:
            return False
        attrs = pool_window(core, self.graph)
        if attrs is None:
            return False
        return self._add(
            core, "IntegerAveragePool", (source,), {**attrs, **bounds}, fused, core.inputs
        )

    def _move(self, core: Node, out: Quant, fused: list[Node]) -> bool:
        """An operation that only moves values is done on the integers; another scale needs a Requantize."""
        floats = [v for v in core.inputs if v and self.graph.types[v].dtype == "float32"]
        if core.op == "Pad":
            floats = floats[:1]
        if len([name for name in core.outputs if name]) != 1:
            return False
        sources = {value: self._integers(value) for value in floats}
        if not floats or any(source is None for source in sources.values()):
            return False
        if core.op == "Pad" and core.text("mode", "constant") == "constant":
            return False
        quants = {self.graph.types[str(source)].quant for source in sources.values()}
        same = quants == {out}
        if not same and core.op == "Concat":
            sources = {v: self._converted(core, str(source), out) for v, source in sources.items()}
            same = True
        inputs = tuple(str(sources[value]) if value in sources else value for value in core.inputs)
        if same:
            return self._add(core, core.op, inputs, dict(core.attrs), fused, tuple(floats))
        source_quant = next(iter(quants))
        assert source_quant is not None
        middle = self.rewriter.unique(f"{core.outputs[0]}.integers")
        kind = self.graph.types[core.outputs[0]]
        self.rewriter.add(
            replace(core, inputs=inputs, outputs=(middle,)),
            {middle: TensorType(source_quant.storage, kind.shape, source_quant)},
        )
        last = replace(fused[-1], name=fused[-1].name)
        return self._add(last, "Requantize", (middle,), {}, [last], tuple(floats))

    def _converted(self, core: Node, source: str, out: Quant) -> str:
        if self.graph.types[source].quant == out:
            return source
        value = self.rewriter.unique(f"{source}.requantized")
        kind = TensorType(out.storage, self.graph.types[source].shape, out)
        node = Node(
            self.rewriter.unique(f"{core.name}.requantize"), "Requantize", (source,), (value,),
            origin=core.origin, source=core.source,
        )  # fmt: skip
        self.rewriter.add(node, {value: kind})
        return value

    def _table(self, core: Node, out: Quant, fused: list[Node]) -> bool:
        source = self._integers(core.inputs[0])
        if source is None or any(n and n not in self.graph.constants for n in core.inputs[1:]):
            return False
        data = self.graph.types[source].quant
        assert data is not None
        table = self.rewriter.constant(
            f"{core.name}.table", table_of(core, self.graph, data, out), out
        )
        attrs: dict[str, Attribute] = {"of": core.op}
        return self._add(core, "IntegerTable", (source, table), attrs, fused, core.inputs)


def table_of(
    node: Node, graph: Graph, data: Quant, out: Quant
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The 256 results of a function of one value, from the lowest integer up: quantize(f(dequantize(i))), by ONNX Runtime."""
    integers = np.arange(data.lowest, data.highest + 1).astype(data.storage)
    constants = {name: graph.constants[name] for name in node.inputs[1:] if name}
    constants |= {
        "in.scale": np.array(data.scale[0], np.float32),
        "in.point": np.array(data.zero_point[0], data.storage),
        "out.scale": np.array(out.scale[0], np.float32),
        "out.point": np.array(out.zero_point[0], out.storage),
    }
    types = {name: TensorType(a.dtype.name, a.shape) for name, a in constants.items()}
    size = (integers.size,)
    types |= {
        "i": TensorType(data.storage, size), "x": TensorType("float32", size),
        "f": TensorType("float32", size), "y": TensorType(out.storage, size),
    }  # fmt: skip
    nodes = (
        Node("d", "DequantizeLinear", ("i", "in.scale", "in.point"), ("x",)),
        replace(node, inputs=("x", *node.inputs[1:]), outputs=("f",)),
        Node("q", "QuantizeLinear", ("f", "out.scale", "out.point"), ("y",)),
    )
    single = Graph("table", ("i",), ("y",), nodes, types, constants)
    result = Interpreter(single).run({"i": integers})["y"]
    return np.asarray(np.clip(result, out.lowest, out.highest), out.storage)


def pool_window(node: Node, graph: Graph) -> dict[str, Attribute] | None:
    """The window of an average pool as IntegerAveragePool says it, or None when the vector unit's rules exclude it."""
    sizes = graph.types[node.inputs[0]].sizes[2:]
    rank = len(sizes)
    if node.op == "GlobalAveragePool":
        return {"kernel": sizes, "strides": (1,) * rank, "pads": (0,) * 2 * rank}
    mode = node.text("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID") or node.integer("ceil_mode", 0):
        return None
    if any(d != 1 for d in node.ints("dilations", (1,))):
        return None
    attrs: dict[str, Attribute] = {
        "kernel": node.ints("kernel_shape", ()),
        "strides": node.ints("strides", (1,) * rank),
        "pads": node.ints("pads", (0,) * 2 * rank) if mode == "NOTSET" else (0,) * 2 * rank,
        "count_include_pad": node.integer("count_include_pad", 0),
    }
    probe = Node("probe", "IntegerAveragePool", (), (), attrs)
    if window_outputs(sizes, probe) != graph.types[node.outputs[0]].sizes[2:]:
        return None
    return attrs


def _centered_weights(
    core: Node, weights: np.ndarray[tuple[int, ...], np.dtype[np.generic]], quant: Quant
) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]] | None:
    """Weights less their zero point as int8, or None when that does not fit or the scale runs along another axis."""
    if weights.dtype.name not in ("int8", "uint8", "int4", "uint4"):
        return None
    outputs_axis = 0 if core.op == "Conv" or core.integer("transB", 0) else 1
    if quant.axis is not None and quant.axis != outputs_axis:
        return None
    shape = [1] * weights.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    points = np.asarray(quant.zero_point, np.int32).reshape(shape)
    centered = weights.astype(np.int32) - points
    if centered.min(initial=0) < -128 or centered.max(initial=0) > 127:
        return None
    return centered.astype(np.int8)
