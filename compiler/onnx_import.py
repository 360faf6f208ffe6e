"""An ONNX model as a Graph: loaded, checked, sizes bound, every operation lifted to the graph's opset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx

from compiler.ir import OPSET, Attribute, Graph, Node, TensorType
from compiler.ops import from_type_proto


def import_onnx(
    model: str | Path | bytes | onnx.ModelProto, bind: Mapping[str, int] | None = None
) -> Graph:
    """FIRST SKETCH, to be replaced."""
    bind = dict(bind or {})
    if isinstance(model, str | Path):
        model = onnx.load(str(model))
    elif isinstance(model, bytes):
        model = onnx.ModelProto.FromString(model)
    onnx.checker.check_model(model)
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in constants]
    axes = {}
    for value in [*inputs, *model.graph.output]:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value") or dim.dim_value < 1:
                dim.dim_value = bind.get(dim.dim_param, 1)
        axes[value.name] = 0
    model = onnx.version_converter.convert_version(model, OPSET)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    types = {
        v.name: from_type_proto(v.type)
        for v in [*model.graph.input, *model.graph.output, *model.graph.value_info]
    }
    nodes = []
    for index, proto in enumerate(model.graph.node):
        attrs: dict[str, Attribute] = {}
        for a in proto.attribute:
            value = onnx.helper.get_attribute_value(a)
            if isinstance(value, bytes):
                value = value.decode()
            elif isinstance(value, list):
                value = tuple(value)
            elif isinstance(value, onnx.TensorProto):
                value = value.SerializeToString()
            attrs[a.name] = value
        name = proto.name or f"{proto.op_type}_{index}"
        if proto.op_type == "Constant":
            constants[proto.output[0]] = onnx.numpy_helper.to_array(proto.attribute[0].t)
            continue
        nodes.append(
            Node(
                name, proto.op_type, tuple(proto.input), tuple(proto.output), attrs, origin=(name,)
            )
        )
    for name, data in constants.items():
        types[name] = TensorType(data.dtype.name, data.shape)
        data.setflags(write=False)
    constants = {k: np.asarray(v) for k, v in constants.items()}
    return Graph(
        model.graph.name,
        tuple(i.name for i in inputs),
        tuple(o.name for o in model.graph.output),
        tuple(nodes),
        types,
        constants,
        {},
        axes,
        {n.name: "" for n in nodes},
    )
