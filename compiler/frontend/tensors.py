"""Reads the weights of a model as arrays, and checks them.

Sizes are within limits, data of the length the shape asks for, numbers finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from compiler.errors import ModelError
from compiler.frontend.external_data import External
from compiler.frontend.nesting import every_graph, every_node
from compiler.ir.graph import DTYPE_BITS, Array
from compiler.ir.protos import dtype_name
from compiler.storage.mapped import blocks

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operations

# Operations whose inputs from the second on are weights: nothing in them may be infinite.
WEIGHTED = (
    "Conv", "ConvTranspose", "ConvInteger", "Gemm", "MatMul", "MatMulInteger", "PRelu",
    "BatchNormalization", "LayerNormalization", "InstanceNormalization", "GroupNormalization",
    "RMSNormalization", "LSTM", "GRU", "RNN", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
    "DequantizeLinear", "QGemm", "QLinearAdd", "QLinearMul", "QLinearAveragePool",
    "QLinearGlobalAveragePool",
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """How large a model may be, checked before anything of that size is made."""

    nodes: int
    tensor_bytes: int

    def check_nodes(self, model: onnx.ModelProto) -> None:
        """Raises ModelError M008 for too many nodes, sub-graphs and functions counted in."""
        self.check_count(sum(1 for _ in every_node(model)))

    def check_count(self, count: int) -> None:
        """Raises ModelError M008 for too many nodes."""
        if count > self.nodes:
            raise ModelError(
                f"the model has {count} nodes, the limit is {self.nodes}",
                code="M008", hint="--max-nodes allows more",
            )  # fmt: skip

    def check_bytes(self, name: str, total: int) -> None:
        """Raises ModelError M008 for too many bytes in tensors, all counted up to one."""
        if total > self.tensor_bytes:
            raise ModelError(
                f"with tensor {name!r} the model's tensors take {total} bytes, the limit is "
                f"{self.tensor_bytes}",
                code="M008",
                hint="--max-tensor-bytes allows more",
            )


def take_weights(model: onnx.ModelProto, limits: Limits, external: External) -> dict[str, Array]:
    """Moves the initializers out of the model into arrays.

    Every other tensor is checked and fetched in place.

    ModelError: M008 beyond the limits, M004 for data that are not what type and shape ask for, M005
    for NaN, M006 for external data, M007 for a name given twice.
    """
    total = 0
    for tensor, _ in every_tensor(model):
        total += _size_bytes(tensor)
        limits.check_bytes(tensor.name, total)
    for sparse in _sparse_tensors(model):
        total += prod(sparse.dims) * 8
        limits.check_bytes(sparse.values.name, total)
    weights: dict[str, Array] = {}
    for tensor, is_weight in every_tensor(model):
        data = _mapped(tensor, external) if is_weight else None
        if data is None:
            data = _fetched(tensor, external)
        if is_weight:
            if tensor.name in weights:
                raise ModelError(f"two initializers are named {tensor.name!r}", code="M007")
            weights[tensor.name] = data
    for sparse in model.graph.sparse_initializer:
        weights[sparse.values.name] = dense(sparse)
    del model.graph.initializer[:]
    del model.graph.sparse_initializer[:]
    return weights


def check_finite(graph: onnx.GraphProto, weights: Mapping[str, Array]) -> None:
    """Raises ModelError M005 for a constant that holds NaN, or a weight that holds an infinity."""
    constants = dict(weights)
    for node in graph.node:
        if node.op_type != "Constant" or not node.attribute:
            continue
        attribute = node.attribute[0]
        if attribute.name == "value":
            constants[node.output[0]] = onnx.numpy_helper.to_array(attribute.t)
        elif attribute.name in ("value_float", "value_floats"):
            constants[node.output[0]] = np.asarray([attribute.f, *attribute.floats], np.float32)
    for name, data in constants.items():
        if _is_float(data) and _any(np.isnan, data):
            raise ModelError(
                f"tensor {name!r} holds NaN", code="M005", hint="train it again or repair it"
            )
    for node in graph.node:
        if node.op_type not in WEIGHTED:
            continue
        for name in node.input[1:]:
            data_or_none = constants.get(name)
            if (
                data_or_none is not None
                and _is_float(data_or_none)
                and _any(np.isinf, data_or_none)
            ):
                raise ModelError(f"weight {name!r} holds an infinity", code="M005", node=node.name)


def dense(sparse: onnx.SparseTensorProto) -> Array:
    """Writes a sparse tensor out (its size was checked against the limits)."""
    values = decoded(sparse.values)
    indices = decoded(sparse.indices).astype(np.int64)
    shape = tuple(sparse.dims)
    table = indices.reshape(-1, 1) if indices.ndim == 1 else indices
    limits = np.array([prod(shape)] if indices.ndim == 1 else shape, np.int64)
    fits = table.shape == (values.size, limits.size) and bool(
        ((table >= 0) & (table < limits)).all()
    )
    if not fits:
        raise ModelError(
            f"sparse tensor {sparse.values.name!r} has indices outside its shape", code="M004"
        )
    result = np.zeros(shape, values.dtype)
    places = table[:, 0] if indices.ndim == 1 else np.ravel_multi_index(tuple(table.T), shape)
    result.reshape(-1)[places] = values.reshape(-1)
    return result


def decoded(tensor: onnx.TensorProto) -> Array:
    """Decodes a tensor as an array.

    ModelError M004 when its data is not what its type and shape ask for.
    """
    try:
        return np.asarray(onnx.numpy_helper.to_array(tensor))
    except Exception as error:  # numpy, ml_dtypes and onnx each raise errors of their own
        raise ModelError(
            f"tensor {tensor.name!r} of shape {list(tensor.dims)} does not have the data for it: "
            f"{error}",
            code="M004",
        ) from error


def every_tensor(model: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, bool]]:
    """Walks every dense tensor of the model, and whether it is an initializer of the main graph."""
    for tensor in model.graph.initializer:
        yield tensor, True
    _, *inner = every_graph(model)
    for graph in inner:
        for tensor in graph.initializer:
            yield tensor, False
    for attribute in _attributes(model):
        if attribute.HasField("t"):
            yield attribute.t, False
        for tensor in attribute.tensors:
            yield tensor, False


def _sparse_tensors(model: onnx.ModelProto) -> Iterator[onnx.SparseTensorProto]:
    for graph in every_graph(model):
        yield from graph.sparse_initializer
    for attribute in _attributes(model):
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor
        yield from attribute.sparse_tensors


def _attributes(model: onnx.ModelProto) -> Iterator[onnx.AttributeProto]:
    """Walks the attributes of all nodes, and those that functions have defaults for."""
    for node in every_node(model):
        yield from node.attribute
    for function in model.functions:
        yield from function.attribute_proto


def _size_bytes(tensor: onnx.TensorProto) -> int:
    if any(size < 0 for size in tensor.dims):
        raise ModelError(
            f"tensor {tensor.name!r} has a negative size in its shape {list(tensor.dims)}",
            code="M004",
        )
    try:
        dtype = dtype_name(tensor.data_type)
    except ValueError as error:
        raise ModelError(
            f"tensor {tensor.name!r} has the unknown element type {tensor.data_type}", code="M004"
        ) from error
    if dtype == "undefined":
        raise ModelError(f"tensor {tensor.name!r} has no element type", code="M004")
    return int(prod(tensor.dims) * DTYPE_BITS.get(dtype, 8) + 7) // 8


def _mapped(tensor: onnx.TensorProto, external: External) -> Array | None:
    """Maps a tensor whose bytes are its elements, as they lie in its file.

    None for any other, such as one of 4-bit integers.
    """
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return None
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if dtype.kind in "Ob" or DTYPE_BITS.get(dtype.name) != 8 * dtype.itemsize:
        return None
    data = external.bytes_of(tensor, _size_bytes(tensor)).view(dtype).reshape(tensor.dims)
    return data if data.flags.aligned else data.copy()


def _any(test: Callable[[Array], Array], data: Array) -> bool:
    """Whether an element passes a test that zero does not."""
    return any(piece is not None and test(piece).any() for _, piece in blocks(data))


def take_inside(tensor: onnx.TensorProto, external: External) -> None:
    """Puts the bytes that a tensor has in a file into the tensor.

    ModelError M006 where they are not as they should be.
    """
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ModelError(f"tensor {tensor.name!r} keeps texts in external data", code="M006")
    tensor.raw_data = external.bytes_of(tensor, _size_bytes(tensor)).tobytes()
    tensor.data_location = onnx.TensorProto.DEFAULT
    del tensor.external_data[:]


def _fetched(tensor: onnx.TensorProto, external: External) -> Array:
    """Fetches a tensor's data, from its file where it has one; the tensor itself then holds it."""
    size_bytes = _size_bytes(tensor)
    take_inside(tensor, external)
    forms = [field.name for field, _ in tensor.ListFields() if field.name.endswith("_data")]
    if len(forms) > 1:
        raise ModelError(
            f"tensor {tensor.name!r} has its data twice, as {' and '.join(forms)}", code="M004"
        )
    if tensor.HasField("raw_data") and len(tensor.raw_data) != size_bytes:
        raise ModelError(
            f"tensor {tensor.name!r} has {len(tensor.raw_data)} bytes of data, its shape "
            f"{list(tensor.dims)} asks for {size_bytes}",
            code="M004",
        )
    return decoded(tensor)


def _is_float(data: Array) -> bool:
    return data.dtype.kind in "fc" or data.dtype.name in (
        "bfloat16",
        "float8_e5m2",
        "float8_e4m3fn",
    )
