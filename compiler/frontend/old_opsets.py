"""Brings a model older than ONNX Runtime's oldest opset to that one."""

from __future__ import annotations

import onnx
import onnx.version_converter

from compiler.errors import ModelError
from compiler.frontend.rules import OLDEST_OPSET


def not_older_than_7(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts an older model by ONNX's own converter; raises ModelError M003 where that cannot."""
    opset = next((o.version for o in model.opset_import if not o.domain), OLDEST_OPSET)
    if opset >= OLDEST_OPSET or opset < 1:  # the latter is no opset, which is said elsewhere
        return model
    try:
        _spread_slopes(model)
        return onnx.version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:  # the converter raises what its C++ raises
        raise ModelError(
            f"the model is of opset {opset} and cannot be converted to {OLDEST_OPSET}: {error}",
            code="M003", hint="export it again with a newer opset",
        ) from error  # fmt: skip


def _spread_slopes(model: onnx.ModelProto) -> None:
    """Gives slopes of PRelu, one a channel, the trailing axes that opset 7 wants.

    The converter leaves them as they are.
    """
    slopes = {node.input[1]: node.input[0] for node in model.graph.node if node.op_type == "PRelu"}
    if not slopes:
        return
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = [*graph.input, *graph.value_info]
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in known}
    for tensor in model.graph.initializer:
        missing = ranks.get(slopes.get(tensor.name, ""), 0) - 2
        if len(tensor.dims) == 1 and tensor.dims[0] > 1 and missing > 0:
            tensor.dims.extend([1] * missing)
            for value in model.graph.input:
                if value.name == tensor.name:
                    for _ in range(missing):
                        value.type.tensor_type.shape.dim.add(dim_value=1)
