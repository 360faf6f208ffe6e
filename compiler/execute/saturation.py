"""Makes ONNX Runtime's products of 8-bit integers exact where processors saturate.

Without VNNI, x86 multiplies unsigned by signed bytes in pairs whose sum saturates at 16 bits, so
ONNX Runtime computes other numbers than ONNX says (onnxruntime_session_options_config_keys.h,
`session.x64quantprecision`; that option needs the optimizations that a reference must do without).
The same product of unsigned weights is exact: signed weights are moved up by 128, and so is their
zero point.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

# Of each operation: the positions of its data's zero point (None: the operation is exact on
# unsigned weights whatever its data are), of its weights and of their zero point.
OPERATIONS: dict[str, tuple[int | None, int, int]] = {
    "MatMulInteger": (None, 1, 3),
    "ConvInteger": (2, 1, 3),
    "QLinearMatMul": (2, 3, 5),
    "QLinearConv": (2, 3, 5),
    "QGemm": (2, 3, 5),
    "MatMulIntegerToFloat": (4, 1, 5),
    "DynamicQuantizeMatMul": (None, 1, 3),
}


@cache
def saturates() -> bool:
    """Whether ONNX Runtime on this processor saturates in products of unsigned by signed bytes."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.full((64, 16), 127, np.int8), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4, 64])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [4, 16])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {"x": np.full((4, 64), 255, np.uint8)})
    return bool(np.any(found != 64 * 127 * 255))


def has_products(data: bytes) -> bool:
    """Whether a serialized model may have an operation of OPERATIONS; this spares the parsing."""
    return any(operation.encode() in data for operation in OPERATIONS)


def with_unsigned_weights(data: bytes) -> bytes:
    """Makes the signed weights under unsigned data unsigned in a serialized model.

    Its results are the same numbers.
    """
    import onnx

    model = onnx.ModelProto.FromString(data)
    known: dict[str, int] = {}
    for graph in _graphs(model.graph):
        known |= {item.name: item.data_type for item in graph.initializer}
        known |= {item.name: item.type.tensor_type.elem_type for item in graph.input}
    changed = False
    for graph in _graphs(model.graph):
        changed |= _rewrite(graph, known)
    return model.SerializeToString() if changed else data


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Walks a graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else []
            for one in (*inner, *attribute.graphs):
                yield from _graphs(one)


def _rewrite(graph: onnx.GraphProto, known: dict[str, int]) -> bool:
    """Puts what makes weights unsigned before each product that wants it; returns whether one did.

    Says whether there was one.
    """
    import onnx

    kinds = known | _made(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if _wants_unsigned(node, kinds):
            nodes += _moved_up(node)
        nodes.append(node)
    changed = len(nodes) > len(graph.node)
    if changed:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    return changed


def _made(graph: onnx.GraphProto) -> dict[str, int]:
    """Finds the types of what Constant nodes and roundings of the graph make."""
    found = {}
    for node in graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t.data_type
    return found


def _wants_unsigned(node: onnx.NodeProto, kinds: dict[str, int]) -> bool:
    from onnx import TensorProto

    if node.op_type not in OPERATIONS:
        return False
    data, weights, _ = OPERATIONS[node.op_type]
    is_signed = kinds.get(node.input[weights]) == TensorProto.INT8
    if data is None or not is_signed:
        return is_signed
    zero_point = node.input[data] if len(node.input) > data else ""
    return kinds.get(zero_point or node.input[0]) == TensorProto.UINT8


def _moved_up(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """Makes the nodes that turn a product's weights and their zero point unsigned.

    The product reads them then.
    """
    from onnx import TensorProto, helper, numpy_helper

    _, weights, zero_point = OPERATIONS[node.op_type]
    base = f"{node.output[0]}.unsigned"
    offset = helper.make_node(
        "Constant", [], [f"{base}.offset"], value=numpy_helper.from_array(np.array(128, np.int32))
    )
    found = [offset]
    for position in (weights, zero_point):
        name = node.input[position] if len(node.input) > position else ""
        new = f"{base}.{position}"
        if name:
            found += [
                helper.make_node("Cast", [name], [f"{new}.wide"], to=TensorProto.INT32),
                helper.make_node("Add", [f"{new}.wide", f"{base}.offset"], [f"{new}.moved"]),
                helper.make_node("Cast", [f"{new}.moved"], [new], to=TensorProto.UINT8),
            ]
        else:
            found.append(
                helper.make_node(
                    "Constant", [], [new], value=numpy_helper.from_array(np.array(128, np.uint8))
                )
            )
            node.input.extend([""] * (position + 1 - len(node.input)))
        node.input[position] = new
    return found
