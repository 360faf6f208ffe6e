"""Wraps an ONNX node whole, as a model of its own in its own opset, for the host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import onnx

from compiler.execute.session import open_session
from compiler.frontend.builder import Builder
from compiler.frontend.nesting import captures, subgraphs
from compiler.ir.graph import DTYPE_BITS, TensorType
from compiler.ir.inner_work import types_of_outputs
from compiler.ir.protos import dtype_name, from_type_proto, type_proto

# Of the classical learners' domain, what works on each number alone or on each row: neither ONNX
# nor ONNX Runtime tells its shape.
SAME_SHAPE = tuple(
    ("ai.onnx.ml", op) for op in ("Scaler", "Normalizer", "Binarizer", "Imputer", "LabelEncoder")
)


def keep_whole(proto: onnx.NodeProto, model: onnx.ModelProto, builder: Builder) -> None:
    """Adds the node to the graph as a Segment.

    The constants it reads lie inside, outer names that its sub-graphs capture are inputs.
    """
    reads = tuple(dict.fromkeys([*(name for name in proto.input if name), *captures(proto)]))
    values = tuple(name for name in reads if name not in builder.constants)
    outputs = [name for name in proto.output if name]
    segment = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    segment.opset_import.extend(model.opset_import)
    segment.graph.name = "segment"
    segment.graph.node.append(proto)
    segment.graph.node[0].name = builder.name
    for name in values:
        kind = builder.types[name]
        known = None if kind.dtype == "undefined" else type_proto(kind)
        segment.graph.input.append(onnx.ValueInfoProto(name=name, type=known))
    for name in reads:
        if name in builder.constants:
            data = np.asarray(builder.constants[name])
            segment.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    types = _output_types(segment, outputs, builder.hints)
    for name in outputs:
        kind = types[name]
        known = None if kind.dtype == "undefined" else type_proto(kind)
        segment.graph.output.append(onnx.ValueInfoProto(name=name, type=known))
    builder.segment(segment.SerializeToString(deterministic=True), values, types)


def is_tensor(kind: TensorType) -> bool:
    """Whether a value is a tensor of numbers (no text, sequence, map or optional)."""
    return kind.dtype in DTYPE_BITS or kind.dtype.startswith(("float", "int", "uint"))


def _output_types(
    segment: onnx.ModelProto, outputs: Iterable[str], hints: Mapping[str, TensorType]
) -> dict[str, TensorType]:
    """Finds the types of a segment's outputs.

    ONNX's inference is asked first, then what runs inside, then ONNX Runtime, then the model's own
    declaration.
    """
    unknown = TensorType("undefined", None)
    types = dict.fromkeys(outputs, unknown)
    trial = onnx.ModelProto()
    trial.CopyFrom(segment)
    trial.graph.output.extend(onnx.ValueInfoProto(name=name) for name in types)
    try:
        # No data_prop: it computes constants without limit, forty Concats in a branch take all
        # memory.
        inferred = onnx.shape_inference.infer_shapes(trial)
        for value in inferred.graph.output:
            if value.type.WhichOneof("value"):
                types[value.name] = from_type_proto(value.type)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        pass
    if subgraphs(segment.graph.node[0]) and not all(kind.is_static for kind in types.values()):
        for name, kind in types_of_outputs(trial).items():
            if types[name].shape is None or kind.is_static:
                types[name] = kind
    if any(types[name].dtype == "undefined" and name not in hints for name in types):
        types.update(_types_by_runtime(trial, types))
    return types


def _types_by_runtime(
    trial: onnx.ModelProto, types: Mapping[str, TensorType]
) -> dict[str, TensorType]:
    """Asks ONNX Runtime, which knows more domains, for the types of the outputs.

    Nothing when it refuses the node.
    """
    try:
        session = open_session(trial.SerializeToString())
    except Exception:  # ONNX Runtime's errors share no base; the type then stays unknown
        return {}
    (node,) = trial.graph.node
    alike = None
    if (node.domain, node.op_type) in SAME_SHAPE:
        first = next((value for value in trial.graph.input if value.name == node.input[0]), None)
        alike = from_type_proto(first.type).shape if first is not None else None
    found = {}
    for value in session.get_outputs():
        kind = value.type
        if kind.startswith("tensor(") and types[value.name].dtype == "undefined":
            number = onnx.TensorProto.DataType.Value(kind[len("tensor(") : -1].upper())
            # It says [] of a shape that it does not know, too.
            shape = tuple(size if isinstance(size, int) else None for size in value.shape) or None
            found[value.name] = TensorType(dtype_name(number), shape or alike)
    return found
