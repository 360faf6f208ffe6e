"""Runs models on onnx's reference evaluator: operations that ONNX Runtime lacks or gets wrong.

Each rule below has a test in tests/execute/test_reference_evaluator.py that shows ONNX
Runtime's own answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from math import isclose
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.execute.loop_work import refusal_of, with_limit
from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.protos import attribute_protos, dtype_name

if TYPE_CHECKING:
    import onnx

# Element types, and kinds of values, that ONNX Runtime's Python side cannot take or hand back.
_NOT_EXCHANGED = ("bfloat16", "float8", "float6", "float4", "int4", "int2", "complex")


class ReferenceModel:
    """An ONNX model ready to run by onnx's reference evaluator.

    Raises an error of its own kind for an operation it does not know.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        decodes = any(node.op_type == "ImageDecoder" for node in model.graph.node)
        if decodes and find_spec("PIL") is None:
            raise ImportError("ImageDecoder runs where Pillow is installed (pip install pillow)")
        counted = with_limit(model.SerializeToString(), on_reference=True)
        self._evaluator = ReferenceEvaluator(onnx.ModelProto.FromString(counted))
        weights = {tensor.name for tensor in model.graph.initializer}
        self.inputs = tuple(v.name for v in model.graph.input if v.name not in weights)
        self.outputs = tuple(value.name for value in model.graph.output)

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one inference: values by name in, outputs by name out."""
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its numpy says is for its own authors
            try:
                results = self._evaluator.run(None, {name: values[name] for name in self.inputs})
            except IndexError as error:
                if refusal := refusal_of(error):
                    raise refusal from error
                raise
        plain = (np.asarray(item) if isinstance(item, np.generic) else item for item in results)
        return dict(zip(self.outputs, plain, strict=True))


@lru_cache(maxsize=512)
def why_not_exchanged(kind: str) -> str:
    """Explains why a value of a type cannot pass through ONNX Runtime's Python side.

    The type is written as ONNX Runtime does. Returns an empty string where it can pass.
    """
    found = next((word for word in _NOT_EXCHANGED if word in kind), "")
    return f"ONNX Runtime's Python side does not exchange {kind}" if found else ""


def why_reference(model: bytes) -> str:
    """Explains why a model must not run on ONNX Runtime, or returns an empty string."""
    if not any(op.encode() in model for op in _RULES):  # spares most models the parsing
        return ""
    import onnx

    graph = onnx.ModelProto.FromString(model).graph
    types, constants = _known(graph)
    reasons = (_why(node.op_type, node, types, constants) for node in graph.node if not node.domain)
    return next((reason for reason in reasons if reason), "")


def why_node_on_reference(node: Node, graph: Graph) -> str:
    """Explains why a node of a graph must not share a model with others on ONNX Runtime.

    Returns an empty string where it may.
    """
    if node.op not in _RULES:
        return ""
    import onnx

    proto = onnx.NodeProto(op_type=node.op, input=node.inputs, output=node.outputs)
    proto.attribute.extend(attribute_protos(node))
    return _why(node.op, proto, graph.types, graph.constants)


def deciding_values(nodes: Iterable[Node]) -> list[str]:
    """Finds the values whose types decide what runs some nodes.

    A model of the nodes has to declare these, so that `why_reference` sees what a graph knows.
    """
    names = (name for node in nodes if node.op in _RULES for name in node.inputs if name)
    return list(dict.fromkeys(names))


_Types = Mapping[str, TensorType]
_Constants = Mapping[str, Any]


def _why(op: str, node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    rule = _RULES.get(op)
    return rule(node, types, constants) if rule is not None else ""


def _known(graph: onnx.GraphProto) -> tuple[_Types, _Constants]:
    """Reads the types that a model declares, and its small constants."""
    import onnx

    types = {}
    for value in [*graph.input, *graph.value_info]:
        tensor = value.type.tensor_type
        if tensor.elem_type:
            sizes = (d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)
            shape = tuple(sizes) if tensor.HasField("shape") else None
            types[value.name] = TensorType(dtype_name(tensor.elem_type), shape)
    for tensor in graph.initializer:
        types[tensor.name] = TensorType(dtype_name(tensor.data_type), tuple(tensor.dims))
    small = (tensor for tensor in graph.initializer if len(tensor.dims) <= 1)
    return types, {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in small}


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    """Reads the value of an attribute, None where it is left out."""
    import onnx

    found = (a for a in node.attribute if a.name == name)
    return next((onnx.helper.get_attribute_value(a) for a in found), None)


def _fourier(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    return f"ONNX Runtime's {node.op_type} sums in float32 and is off by 1e-5 of the largest"


def _dropout(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    if len(node.input) < 3 or not node.input[2]:
        return ""
    training = constants.get(node.input[2])
    if training is not None and not np.any(training):
        return ""
    return "ONNX Runtime's Dropout draws other numbers than ONNX for training"


def _max_unpool(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    if len(node.input) < 3 or not node.input[2]:
        return ""
    return "ONNX Runtime's MaxUnpool takes indices for those of the larger output"


def _attention(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    kind = types.get(node.input[0])
    if kind is not None and kind.dtype == "float16":
        return "ONNX Runtime's Attention of float16 rounds in other places than ONNX"
    if len(node.input) > 6 and node.input[6] and node.input[3]:
        return "ONNX Runtime's Attention refuses a mask shorter than the padded keys"
    if len(node.output) > 3 and node.output[3] and _attribute(node, "is_causal"):
        return "ONNX Runtime's Attention hands out its scores without the causal mask"
    return ""


def _resize(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    aligned = _attribute(node, "coordinate_transformation_mode") == b"align_corners"
    if not aligned or len(node.input) < 3 or not node.input[2]:
        return ""
    scales, kind = constants.get(node.input[2]), types.get(node.input[0])
    if scales is not None and kind is not None and kind.is_static:
        wanted = [float(s) * n for s, n in zip(scales, kind.sizes, strict=False)]
        if all(isclose(size, round(size), rel_tol=1e-5) for size in wanted):
            return ""
    return "ONNX Runtime's Resize aligns corners to the rounded size, ONNX to scale times size"


def _convolution_of_integers(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    point = types.get(node.input[3]) if len(node.input) > 3 and node.input[3] else None
    per_channel = point is not None and point.shape not in ((), (1,))
    return "ONNX Runtime's ConvInteger takes one zero point for all weights" if per_channel else ""


def _extreme(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    kind = types.get(node.input[0])
    if kind is None or kind.dtype != "bool" or (kind.is_static and kind.elements):
        return ""
    return f"ONNX Runtime's {node.op_type} refuses booleans of size 0"


def _recurrent(node: onnx.NodeProto, types: _Types, constants: _Constants) -> str:
    kind = types.get(node.input[0])
    if kind is None or not kind.is_static or kind.elements or len(kind.sizes) != 3:
        return ""
    batch = kind.sizes[0 if _attribute(node, "layout") else 1]
    if batch and node.op_type == "LSTM":
        return ""
    return f"ONNX Runtime's {node.op_type} of no elements ends the process"


_RULES: dict[str, Callable[[onnx.NodeProto, _Types, _Constants], str]] = {
    "DFT": _fourier,
    "STFT": _fourier,
    "Dropout": _dropout,
    "MaxUnpool": _max_unpool,
    "Attention": _attention,
    "Resize": _resize,
    "ConvInteger": _convolution_of_integers,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "ReduceMax": _extreme,
    "ReduceMin": _extreme,
}
