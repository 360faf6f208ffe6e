"""Stores large constants outside of an ONNX model.

They are the model's inputs when it runs in memory, and external data when it lies in a package.

An ONNX file holds 2 GiB at most, and each copy of large weights takes memory that the machine may
not have.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from compiler.ir.graph import DTYPE_BITS, Array
from compiler.ir.protos import dtype_name, dtype_number
from compiler.storage.payload import Payload

if TYPE_CHECKING:
    import onnx

# All constants lie inside a model up to this size together: of one in a package, which is in memory
# a few times over while it is made, and of one that runs in memory, which copies them.
INSIDE_BYTES, COPIED_BYTES = 64 << 20, 4 << 20
# Constants of up to this size lie inside in any model: shapes, scales, what a kernel wants to know
# beforehand.
SMALL_BYTES = 1 << 16
ALIGNMENT = 4096  # a page, so that external data can be mapped


def is_large(constants: Iterable[Array], *, in_memory: bool = False) -> bool:
    """Whether a model of these constants stores the larger ones outside of itself.

    The model is written to a package or, `in_memory`, runs in memory.
    """
    return sum(data.nbytes for data in constants) > (COPIED_BYTES if in_memory else INSIDE_BYTES)


def may_be_external(data: Array) -> bool:
    """Whether a large model stores a constant outside: it is no small one, of a type numpy has."""
    return data.nbytes > SMALL_BYTES and data.dtype.isbuiltin == 1 and data.dtype.kind in "fiu"


def placeholder(name: str, data: Array) -> onnx.TensorProto:
    """Makes the placeholder that stands among a model's initializers for an external constant."""
    import onnx

    tensor = onnx.TensorProto(name=name, data_type=dtype_number(data.dtype.name), dims=data.shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    return tensor


def take_as_inputs(model: onnx.ModelProto) -> None:
    """Turns the placeholders among a model's initializers into inputs."""
    import onnx

    inside = []
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            kind = onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
            model.graph.input.append(onnx.ValueInfoProto(name=tensor.name, type=kind))
        else:
            inside.append(onnx.TensorProto.FromString(tensor.SerializeToString()))
    del model.graph.initializer[:]
    model.graph.initializer.extend(inside)


def pack_external(constants: Mapping[str, Array]) -> Payload:
    """Packs the external constants of a model as one file."""
    return Payload.laid_out(constants.values(), ALIGNMENT)


def refer(model: onnx.ModelProto, constants: Mapping[str, Array], data: Payload, file: str) -> None:
    """Writes into each placeholder where its constant lies in the file of external data."""
    starts = dict(zip(constants, (start for start, _ in data.pieces), strict=True))
    for tensor in model.graph.initializer:
        if tensor.name in starts:
            place = {
                "location": file,
                "offset": starts[tensor.name],
                "length": constants[tensor.name].nbytes,
            }
            for key, value in place.items():
                tensor.external_data.add(key=key, value=str(value))


def referred(model: onnx.ModelProto, data: Payload | None, file: str) -> dict[str, Array]:
    """Reads the constants of a model that lie in its file of external data.

    ValueError for any that lies elsewhere, or beyond the file.
    """
    import onnx

    found: dict[str, Array] = {}
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        fields = {entry.key: entry.value for entry in tensor.external_data}
        dtype = dtype_name(tensor.data_type)
        size_bytes = prod(tensor.dims) * DTYPE_BITS.get(dtype, 0) // 8
        offset, length = fields.get("offset", ""), fields.get("length", "")
        if data is None or fields.get("location") != file:
            raise ValueError("refers to data in other files")
        if not offset.isascii() or not offset.isdigit() or length != str(size_bytes):
            raise ValueError(f"misstates where {tensor.name!r} lies")
        if min(tensor.dims, default=0) < 0 or len(offset) > 18:
            raise ValueError(f"misstates the size of {tensor.name!r}")
        piece = data.view(int(offset), size_bytes).view(np.dtype(dtype).newbyteorder("<"))
        found[tensor.name] = piece.reshape(tensor.dims)
    return found
