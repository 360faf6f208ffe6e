"""Defines operations: our own, type rules, MACs, and which kinds of engine could take them.

Our own operations, next to ONNX's (shapes in brackets; G groups, R rows, K columns of a group, D
digits):

- `Product(x, w[G,R,K], b[G*K]?)`: a matrix product with constant weights. With a `kernel` it is a
  convolution whose rows are the flattened (channel, kernel) patch, else it is dense over the last
  axis. `minimum` and `maximum` clip the result. On float32 tensors it is arithmetic of floats; on
  quantized ones (`TensorType.quant`) it is an integer product and a requantization.
- `AnalogProduct(x, weights, gain, digit_weight, multiplier[G*K], bias[G*K])`: the same on an analog
  array (see compiler.engines.numerics_analog). `weights` is [D,G,R,K], or an image of the tiles
  [G,row tiles,column tiles,array rows,array columns]; `gain` and `digit_weight` are
  [G,row tiles,D,K]. `input_bits_per_step` and `unsigned_digits` are as in
  compiler.engines.bit_slicing.Slicing.
- `ClippedAdd(a, b)`: an Add whose result is clipped to `minimum` and `maximum`.
- `Requantize(x)`: integers of one quantization to another.
- `IntegerAdd(a, b)`, `IntegerMul(a, b)`, `IntegerAveragePool(x)`,
  `IntegerTable(x, table[256])`: the quantized forms of Add, Mul, AveragePool and of any function
  of one value.
- `Segment(...)`: ONNX nodes left whole as a model of their own (`model` holds it), for the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod

from compiler.ir.graph import OPSET, Array, Graph, Node, TensorType
from compiler.ir.inner_work import Work, operation_of_model, work_of_model
from compiler.ir.mapping import ProductShape
from compiler.ir.multiply_accumulates import (
    Call,
    UnknownSizeError,
    multiplies,
    multiply_accumulates,
)
from compiler.ir.protos import attribute_protos, from_type_proto, split_op, type_proto
from compiler.ir.vector_operations import FLOAT_VECTOR as FLOAT_VECTOR
from compiler.ir.vector_operations import UNARY as UNARY

OWN = (
    "Product",
    "AnalogProduct",
    "ClippedAdd",
    "Requantize",
    "IntegerAdd",
    "IntegerMul",
    "IntegerAveragePool",
    "IntegerTable",
    "Segment",
)

# The same elements in another shape: none moves, so these are free on every engine.
VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity")
# Elements move, none is computed: any engine with a path to the memory can do it, whatever the
# element type.
MOVEMENT = ("Transpose", "Slice", "Concat", "Pad", "Split", "DepthToSpace", "SpaceToDepth")
# Between floats and the integers that stand for them. On an engine, which has only the integers,
# these are views or changes of scale.
FORMATS = ("QuantizeLinear", "DequantizeLinear")
PRODUCTS = ("Product", "AnalogProduct")
STANDARD_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
RECURRENT = ("LSTM", "GRU", "RNN")


def product_shape(node: Node, graph: Graph) -> ProductShape | None:
    """Finds the matrices of a node that multiplies activations by constant weights, else None."""
    types = graph.types
    if node.op == "Product":
        groups, rows, columns = types[node.inputs[1]].sizes
        positions = types[node.outputs[0]].elements // (groups * columns)
        return ProductShape(groups, rows, columns, positions)
    if node.op == "AnalogProduct":
        columns_in_all = types[node.inputs[4]].elements
        groups = types[node.inputs[2]].sizes[0]
        positions = types[node.outputs[0]].elements // columns_in_all
        return ProductShape(groups, node.integer("rows", 0), columns_in_all // groups, positions)
    if node.op in STANDARD_PRODUCTS and constant_weights(node, graph) is not None:
        return _standard_product_shape(node, graph)
    return None


def constant_weights(node: Node, graph: Graph) -> str | None:
    """Finds the name of the constant weights of a Conv, ConvTranspose, Gemm or MatMul, else None.

    Weights behind a DequantizeLinear are found too.
    """
    if node.op not in STANDARD_PRODUCTS or len(node.inputs) < 2:
        return None
    weight = node.inputs[1]
    maker = graph.producer.get(weight)
    if maker is not None and maker.op == "DequantizeLinear" and maker.inputs[0] in graph.constants:
        return weight
    return weight if weight in graph.constants else None


def _standard_product_shape(node: Node, graph: Graph) -> ProductShape | None:
    weight, out, data = (
        graph.types[node.inputs[1]],
        graph.types[node.outputs[0]],
        graph.types[node.inputs[0]],
    )
    if not (weight.is_static and out.is_static and data.is_static):
        return None
    if node.op == "Conv":
        groups = node.integer("group", 1)
        outputs, *patch = weight.sizes
        return ProductShape(groups, prod(patch), outputs // groups, out.elements // outputs)
    if node.op == "ConvTranspose":
        groups = node.integer("group", 1)
        inputs, outputs, *kernel = weight.sizes
        return ProductShape(
            groups, inputs // groups, outputs * prod(kernel), data.elements // inputs
        )
    if len(weight.sizes) != 2:
        return None
    rows, columns = weight.sizes
    if node.op == "Gemm" and node.integer("transB", 0):
        rows, columns = columns, rows
    return ProductShape(1, rows, columns, out.elements // columns if columns else 0)


def macs(node: Node, graph: Graph) -> int:
    """Counts a node's multiply-accumulates, those inside it too; 0 for those of unknown sizes."""
    return _counted(node, graph)[0]


def why_not_counted(node: Node, graph: Graph) -> str:
    """Explains why a node has more multiply-accumulates than `macs`; "" where it has not."""
    return _counted(node, graph)[1]


def _counted(node: Node, graph: Graph) -> tuple[int, str]:
    """Counts a node's multiply-accumulates and explains what is missing."""
    if node.op == "Segment":
        work = work_inside(node, graph)
        return work.macs, work.uncounted
    if not multiplies(node.op) and node.op not in PRODUCTS:
        return 0, ""
    shape = product_shape(node, graph)
    if shape is not None:
        return shape.macs, ""
    inputs, outputs = (
        [graph.types[name].shape if name else None for name in names]
        for names in (node.inputs, node.outputs)
    )
    try:
        return multiply_accumulates(Call(node.op, inputs, outputs, node.attrs)), ""
    except UnknownSizeError as error:
        return 0, str(error)


def work_inside(node: Node, graph: Graph) -> Work:
    """Counts the work of a Segment with all that runs inside it."""
    model = node.attrs["model"]
    assert isinstance(model, bytes)
    inputs, outputs = (
        tuple(graph.types[name] for name in names if name) for names in (node.inputs, node.outputs)
    )
    return work_of_model(model, inputs, outputs)


def operation_name(node: Node) -> str:
    """Names a node's operation for people: of what is left whole the user's own, such as Loop."""
    model = node.attrs.get("model")
    return operation_of_model(model) if isinstance(model, bytes) else node.op


def infer_types(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, Array]
) -> dict[str, TensorType]:
    """Infers the types of a node's outputs.

    A standard operation obeys its ONNX schema; its outputs carry no quantization. Raises ValueError
    with the reason when the node's inputs are not what it takes.
    """
    if node.op in OWN:
        return _own_types(node, types)
    return _standard_types(node, types, constants)


def _own_types(node: Node, types: Mapping[str, TensorType]) -> dict[str, TensorType]:
    """Infers the types of our own operations.

    The shape is inferred; element type and quantization are what the output declares.
    """
    if node.op == "Segment":
        return {name: types[name] for name in node.outputs if name}
    out = types[node.outputs[0]]
    data = types[node.inputs[0]]
    if node.op in PRODUCTS:
        shape = _product_output(node, types)
    elif node.op == "IntegerAveragePool":
        shape = (*data.sizes[:2], *window_outputs(data.sizes[2:], node))
    elif node.op in ("ClippedAdd", "IntegerAdd", "IntegerMul"):
        shape = broadcast(data.sizes, types[node.inputs[1]].sizes)
    else:
        shape = data.sizes
    if node.op not in ("Product", "ClippedAdd") and data.quant is None:
        raise ValueError(f"{node.op} takes quantized integers, found {data.dtype}")
    if out.quant is not None and out.dtype != out.quant.storage:
        raise ValueError(f"{out.dtype} cannot hold {out.quant.bits}-bit integers")
    return {node.outputs[0]: TensorType(out.dtype, shape, out.quant)}


def _product_output(node: Node, types: Mapping[str, TensorType]) -> tuple[int, ...]:
    data = types[node.inputs[0]].sizes
    if node.op == "Product":
        groups, rows, columns = types[node.inputs[1]].sizes
        outputs = groups * columns
    else:
        groups = types[node.inputs[2]].sizes[0]
        rows, outputs = node.integer("rows", 0), types[node.inputs[4]].elements
    kernel = node.ints("kernel", ())
    if not kernel:
        if groups != 1 or data[-1] != rows:
            raise ValueError(f"a product of {rows} rows cannot take {data[-1]} inputs")
        return (*data[:-1], outputs)
    if len(data) != len(kernel) + 2 or data[1] * prod(kernel) != rows * groups:
        raise ValueError(f"{groups} groups of {rows} rows do not fit input {data}, kernel {kernel}")
    return (data[0], outputs, *window_outputs(data[2:], node))


def window_outputs(spatial: tuple[int, ...], node: Node) -> tuple[int, ...]:
    """Computes the output sizes of a convolution or pool without ceiling.

    floor((size + pads - span) / stride) + 1. ValueError where the kernel is larger than what it
    slides over.
    """
    kernel = node.ints("kernel", ())
    rank = len(kernel)
    strides, dilations = node.ints("strides", (1,) * rank), node.ints("dilations", (1,) * rank)
    pads = node.ints("pads", (0,) * 2 * rank)
    sizes = []
    for axis, size in enumerate(spatial):
        span = dilations[axis] * (kernel[axis] - 1) + 1
        sizes.append((size + pads[axis] + pads[axis + rank] - span) // strides[axis] + 1)
    if any(size < 1 for size in sizes):
        raise ValueError(f"kernel {kernel} is larger than the padded input {spatial}")
    return tuple(sizes)


def broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Finds the shape two tensors broadcast to (ONNX's and numpy's rule); ValueError for none."""
    length = max(len(one), len(other))
    left, right = (1,) * (length - len(one)) + one, (1,) * (length - len(other)) + other
    if any(a != b and 1 not in (a, b) for a, b in zip(left, right, strict=True)):
        raise ValueError(f"shapes {one} and {other} do not broadcast")
    return tuple(b if a == 1 else a for a, b in zip(left, right, strict=True))


def _standard_types(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, Array]
) -> dict[str, TensorType]:
    if any(name in constants for name in node.inputs) or node.attrs:
        return _inferred(node, types, constants)
    kinds = tuple(types[name] if name else None for name in node.inputs)
    found = _inferred_alike(node.op, kinds, tuple(bool(name) for name in node.outputs))
    if found is None:
        return _inferred(node, types, constants)
    return {name: kind for name, kind in zip(node.outputs, found, strict=True) if name and kind}


@lru_cache(maxsize=512)
def _inferred_alike(
    op: str, kinds: tuple[TensorType | None, ...], made: tuple[bool, ...]
) -> tuple[TensorType | None, ...] | None:
    """Infers the output types of a node without constants and attributes, once for all alike.

    Long networks have many. None where the types depend on more.
    """
    inputs = tuple(f"i{index}" if kind else "" for index, kind in enumerate(kinds))
    outputs = tuple(f"o{index}" if is_made else "" for index, is_made in enumerate(made))
    types = {name: kind for name, kind in zip(inputs, kinds, strict=True) if kind}
    try:
        found = _inferred(Node("", op, inputs, outputs), types, {})
    except (ValueError, TypeError, LookupError):
        return None
    return tuple(found.get(name) for name in outputs) if found else None


def _inferred(
    node: Node, types: Mapping[str, TensorType], constants: Mapping[str, Array]
) -> dict[str, TensorType]:
    import onnx
    from onnx import shape_inference

    domain, op = split_op(node.op)
    try:
        schema = onnx.defs.get_schema(op, OPSET, domain)
    except onnx.defs.SchemaError:
        return {name: types[name] for name in node.outputs if name in types}
    proto = onnx.NodeProto(op_type=op, input=node.inputs, output=node.outputs, domain=domain)
    proto.attribute.extend(attribute_protos(node))
    known = {name: type_proto(types[name]) for name in node.inputs if name}
    small = {
        name: onnx.numpy_helper.from_array(constants[name])
        for name in node.inputs
        if name in constants and constants[name].size <= 4096
    }
    try:
        inferred = shape_inference.infer_node_outputs(
            schema, proto, known, small, opset_imports=[onnx.helper.make_opsetid(domain, OPSET)],
            ir_version=10,
        )  # fmt: skip
    except (shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError) as error:
        raise ValueError(str(error).strip().splitlines()[-1]) from error
    return {name: from_type_proto(proto) for name, proto in inferred.items() if name}
