"""Writes and reads names, types, attributes and quantizations of nodes in ONNX's form."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from compiler.ir.graph import DTYPE_BITS, Array, Node, Quant, TensorType

if TYPE_CHECKING:
    import numpy as np
    import onnx


def split_op(op: str) -> tuple[str, str]:
    """Splits `domain::operation` into (domain, operation); ONNX's default domain is ""."""
    domain, found, name = op.rpartition("::")
    return (domain, name) if found else ("", op)


def attribute_protos(node: Node) -> list[onnx.AttributeProto]:
    """Writes the attributes of a standard node in ONNX's form."""
    import onnx

    protos = []
    for name, value in node.attrs.items():
        if isinstance(value, bytes):
            tensor = onnx.TensorProto.FromString(value)
            protos.append(onnx.helper.make_attribute(name, tensor))
        elif isinstance(value, tuple) and not value:
            protos.append(onnx.AttributeProto(name=name, type=onnx.AttributeProto.INTS))
        else:
            protos.append(onnx.helper.make_attribute(name, value))
    return protos


# Where ONNX's name of an element type is not numpy's (or ml_dtypes') in capitals.
_ONNX_NAMES = {
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "float8_e4m3fn": "FLOAT8E4M3FN",
    "float8_e4m3fnuz": "FLOAT8E4M3FNUZ",
    "float8_e5m2": "FLOAT8E5M2",
    "float8_e5m2fnuz": "FLOAT8E5M2FNUZ",
    "float8_e8m0fnu": "FLOAT8E8M0",
    "float6_e2m3fn": "FLOAT6E2M3",
    "float6_e3m2fn": "FLOAT6E3M2",
    "float4_e2m1fn": "FLOAT4E2M1",
}


@lru_cache(maxsize=512)
def dtype_number(dtype: str) -> int:
    """Finds ONNX's number of an element type named as numpy names it ("string" for texts)."""
    import onnx

    return int(onnx.TensorProto.DataType.Value(_ONNX_NAMES.get(dtype, dtype.upper())))


@lru_cache(maxsize=512)
def dtype_name(number: int) -> str:
    """Finds the name of an element type from ONNX's number: the inverse of `dtype_number`."""
    import onnx

    names = {name: dtype for dtype, name in _ONNX_NAMES.items()}
    name = str(onnx.TensorProto.DataType.Name(number))
    return names.get(name, name.lower())


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Finds numpy's type of an element type; ml_dtypes has those that numpy lacks.

    TypeError for what is no number.
    """
    import ml_dtypes
    import numpy as np

    return np.dtype(getattr(ml_dtypes, dtype, dtype))


def type_proto(kind: TensorType) -> onnx.TypeProto:
    """Writes a type in ONNX's form; quantized integers as the integers that hold them."""
    import onnx
    from google.protobuf import text_format

    if kind.dtype in DTYPE_BITS or kind.dtype in ("string", "undefined") or "float" in kind.dtype:
        return onnx.helper.make_tensor_type_proto(dtype_number(kind.dtype), kind.shape)
    proto = onnx.TypeProto()
    text_format.Parse(kind.dtype, proto)
    return proto


def from_type_proto(proto: onnx.TypeProto) -> TensorType:
    """Reads a type from ONNX; a sequence, map or optional has its ONNX text as element type."""
    from google.protobuf import text_format

    if proto.WhichOneof("value") != "tensor_type":
        return TensorType(text_format.MessageToString(proto, as_one_line=True), None)
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(dtype_name(tensor.elem_type), None)
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return TensorType(dtype_name(tensor.elem_type), shape)


def quant_of(scale: Array, zero_point: Array | None, dtype: str, axis: int | None) -> Quant:
    """Builds the quantization that a scale and zero point constant of ONNX describe."""
    import numpy as np

    scales = tuple(float(item) for item in np.asarray(scale, np.float32).reshape(-1))
    points = (
        (0,) * len(scales)
        if zero_point is None
        else tuple(int(item) for item in np.asarray(zero_point).reshape(-1))
    )
    bits = DTYPE_BITS[dtype]
    return Quant(
        bits=bits,
        signed=dtype.startswith("int"),
        scale=scales,
        zero_point=points,
        axis=axis if len(scales) > 1 else None,
    )
