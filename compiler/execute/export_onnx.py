"""Exports a graph, at any stage, as an ONNX model that ONNX Runtime runs.

Our own operations are written out in standard ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

import numpy as np

from compiler.engines import numerics
from compiler.errors import UnsupportedError
from compiler.execute.external_constants import is_large
from compiler.execute.products import write_product
from compiler.execute.writer import Writer, needed_quant, write_bounds
from compiler.ir.graph import OPSET, Array, Graph, Node
from compiler.ir.ops import PRODUCTS
from compiler.ir.protos import type_proto

if TYPE_CHECKING:
    import onnx

IR_VERSION = 10


def export_onnx(graph: Graph, *, annotate: bool = False) -> onnx.ModelProto:
    """Exports the graph as one ModelProto, in opset OPSET.

    With `annotate` each node's metadata holds its engine, energy and reason, for viewers. Raises
    UnsupportedError when the graph holds a Segment (a node in an opset of its own cannot share a
    model); `compiler.execute.interpreter` runs those in pieces.
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
    external: dict[str, Array] | None = None,
    in_memory: bool = False,
    value_info: Collection[str] = (),
) -> onnx.ModelProto:
    """Exports some nodes of a graph, in execution order, as a model with these inputs and outputs.

    `value_info` are the values in between whose types the model declares as well. Where `external`
    is given and the constants are large in all (compiler.execute.external_constants; `in_memory`
    says that the model is to run, not to be written), the larger ones are added to it and have a
    placeholder in the model.
    """
    import onnx
    from onnx import helper

    nodes, inputs, outputs = tuple(nodes), tuple(inputs), tuple(outputs)
    if external is not None:
        read = dict.fromkeys(name for node in nodes for name in node.inputs if name)
        constants = (graph.constants[name] for name in read if name in graph.constants)
        external = external if is_large(constants, in_memory=in_memory) else None
    writer = Writer(graph, external)
    for node in nodes:
        start = len(writer.protos)
        _write(writer, node)
        for proto in writer.protos[start:] if annotate else ():
            _annotate(proto, node)
    made = {name for proto in writer.protos for name in proto.output if name}
    available = made | set(inputs)
    for output in outputs:
        if output not in available:
            writer.use(output)

    def declared(names: Iterable[str]) -> list[onnx.ValueInfoProto]:
        return [onnx.ValueInfoProto(name=n, type=type_proto(graph.types[n])) for n in names]

    between = [name for name in value_info if name in made and name not in outputs]
    proto = helper.make_graph(
        writer.protos,
        graph.name or "graph",
        declared(inputs),
        declared(outputs),
        list(writer.initializers.values()),
        value_info=declared(between),
    )
    imports = [helper.make_opsetid("", OPSET)]
    imports += [helper.make_opsetid(name, version) for name, version in graph.domains.items()]
    return helper.make_model(
        proto, opset_imports=imports, ir_version=IR_VERSION, producer_name="joulec"
    )


def _write(writer: Writer, node: Node) -> None:
    body = _BODIES.get(node.op, Writer.standard)
    body(writer, node)


def _annotate(proto: onnx.NodeProto, node: Node) -> None:
    notes = {"joulec.node": node.name, "joulec.op": node.op}
    if node.placement is not None:
        notes["joulec.engine"] = node.placement.engine
        notes["joulec.reason"] = node.placement.reason
        notes["joulec.energy_pj"] = f"{node.placement.energy_pj:.6g}"
    for key, value in notes.items():
        proto.metadata_props.add(key=key, value=value)


def _write_clipped_add(writer: Writer, node: Node) -> None:
    total = writer.emit("Add", *node.inputs)
    write_bounds(writer, node, total, writer.graph.types[node.outputs[0]].dtype)


def _write_requantize(writer: Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = needed_quant(types[node.inputs[0]]), needed_quant(types[node.outputs[0]])
    value = writer.centered(node.inputs[0], data)
    ratio = np.float32(data.scale[0]) / np.float32(out.scale[0])
    scaled = writer.emit("Mul", value, writer.const(ratio, np.float32))
    writer.round_to(scaled, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_add(writer: Writer, node: Node) -> None:
    types = writer.graph.types
    out = needed_quant(types[node.outputs[0]])
    shares = []
    for name in node.inputs:
        quant = needed_quant(types[name])
        ratio = np.float32(quant.scale[0]) / np.float32(out.scale[0])
        shares.append(
            writer.emit("Mul", writer.centered(name, quant), writer.const(ratio, np.float32))
        )
    value = writer.emit("Add", *shares)
    writer.round_to(value, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_mul(writer: Writer, node: Node) -> None:
    types = writer.graph.types
    one, other, out = (needed_quant(types[n]) for n in (*node.inputs, node.outputs[0]))
    value = writer.emit(
        "Mul", writer.centered(node.inputs[0], one), writer.centered(node.inputs[1], other)
    )
    ratio = np.float32(one.scale[0]) * np.float32(other.scale[0]) / np.float32(out.scale[0])
    scaled = writer.emit("Mul", value, writer.const(ratio, np.float32))
    writer.round_to(scaled, out, numerics.output_bounds(out, node), node.outputs[0])


def _write_integer_average_pool(writer: Writer, node: Node) -> None:
    types = writer.graph.types
    data, out = needed_quant(types[node.inputs[0]]), needed_quant(types[node.outputs[0]])
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


def _write_integer_table(writer: Writer, node: Node) -> None:
    data = needed_quant(writer.graph.types[node.inputs[0]])
    index = writer.cast(node.inputs[0], "int32")
    if data.lowest:
        index = writer.emit("Sub", index, writer.const(data.lowest, np.int32))
    writer.emit("Gather", node.inputs[1], index, out=node.outputs[0])


_BODIES: dict[str, Callable[[Writer, Node], None]] = {
    **dict.fromkeys(PRODUCTS, write_product),
    "ClippedAdd": _write_clipped_add,
    "Requantize": _write_requantize,
    "IntegerAdd": _write_integer_add,
    "IntegerMul": _write_integer_mul,
    "IntegerAveragePool": _write_integer_average_pool,
    "IntegerTable": _write_integer_table,
}
