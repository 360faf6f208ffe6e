"""Writes ONNX nodes and initializers one by one, with fresh names.

The bodies of our own operations are made with it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.execute.external_constants import may_be_external, placeholder
from compiler.ir.graph import Array, Graph, Node, Quant, TensorType
from compiler.ir.protos import attribute_protos, dtype_number, split_op

if TYPE_CHECKING:
    import onnx


class Writer:
    """Collects the ONNX nodes and initializers of a model, with fresh names for the values between.

    Large constants go to `external`, where there is one, and have a placeholder among the
    initializers (compiler.execute.external_constants).
    """

    def __init__(self, graph: Graph, external: dict[str, Array] | None = None) -> None:
        self.graph = graph
        self.external = external
        self.protos: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._count = 0

    def standard(self, node: Node) -> None:
        """Writes a node that is an ONNX operator of its own."""
        import onnx

        domain, op = split_op(node.op)
        for name in node.inputs:
            self.use(name)
        proto = onnx.NodeProto(
            op_type=op, domain=domain, name=node.name, input=node.inputs, output=node.outputs
        )
        proto.attribute.extend(attribute_protos(node))
        self.protos.append(proto)

    def use(self, name: str) -> None:
        """Makes a constant of the graph an initializer, if it is one."""
        data = self.graph.constants.get(name)
        if data is not None and name not in self.initializers:
            self._initialize(name, np.asarray(data))

    def _initialize(self, name: str, data: Array) -> None:
        import onnx

        if self.external is not None and may_be_external(data):
            self.external[name] = np.ascontiguousarray(data)
            self.initializers[name] = placeholder(name, data)
        else:
            self.initializers[name] = onnx.numpy_helper.from_array(data, name)

    def fresh(self) -> str:
        """Makes a name nothing else has."""
        while True:
            self._count += 1
            name = f"_{self._count}"
            if name not in self.graph.types and name not in self.graph.constants:
                return name

    def const(self, data: Any, dtype: Any) -> str:
        """Makes a new initializer and returns its name."""
        name = self.fresh()
        self._initialize(name, np.asarray(data, dtype))
        return name

    def emit(self, op: str, *inputs: str, out: str = "", **attrs: Any) -> str:
        """Writes a new standard node with one output; attributes that are None are left out."""
        import onnx

        result = out or self.fresh()
        for name in inputs:
            self.use(name)
        # No name: ONNX Runtime refuses one given twice, and any we make up may be in the model.
        proto = onnx.NodeProto(op_type=op, input=inputs, output=[result])
        given = sorted((name, value) for name, value in attrs.items() if value is not None)
        proto.attribute.extend(_attribute(name, value) for name, value in given)
        self.protos.append(proto)
        return result

    def cast(self, value: str, dtype: str, out: str = "") -> str:
        """Writes a Cast to one of our types."""
        return self.emit("Cast", value, out=out, to=dtype_number(dtype))

    def centered(self, value: str, quant: Quant) -> str:
        """Writes integers less their zero point, as float32 (exact)."""
        floats = self.cast(value, "float32")
        point = quant.zero_point[0]
        return self.emit("Sub", floats, self.const(point, np.float32)) if point else floats

    def round_to(self, scaled: str, out: Quant, bounds: tuple[int, int], target: str) -> None:
        """Rounds floats and clips them into a format: the body of numerics.to_format."""
        low, high = bounds
        point = out.zero_point[0]
        rounded = self.emit("Round", scaled)
        clipped = self.emit(
            "Clip",
            rounded,
            self.const(low - point, np.float32),
            self.const(high - point, np.float32),
        )
        if point:
            clipped = self.emit("Add", clipped, self.const(point, np.float32))
        self.cast(clipped, out.storage, out=target)


@lru_cache(maxsize=512)  # one analog product has hundreds of convolutions of the same window
def _attribute(name: str, value: Any) -> onnx.AttributeProto:
    from onnx import helper

    return helper.make_attribute(name, value)


def constant_of(writer: Writer, name: str) -> Array:
    """Returns the data of a value that must be a constant, else raises ValueError."""
    data = writer.graph.constants.get(name)
    if data is None:
        raise ValueError(f"{name} must be a constant")
    return data


def needed_quant(kind: TensorType) -> Quant:
    """Returns the quantization of a value that must have one, else raises ValueError."""
    if kind.quant is None:
        raise ValueError(f"{kind} must be quantized")
    return kind.quant


def per_column(values: npt.ArrayLike, node: Node, out: TensorType) -> Array:
    """Shapes values, one per output column [K] or one for all, to broadcast to a product's output.

    The shape is [1,K,1,..] for a convolution, else [..,K].
    """
    array = np.asarray(values)
    shape = numerics.column_shape(array, len(out.sizes), not node.ints("kernel", ()))
    return array.reshape(shape)


def write_bounds(writer: Writer, node: Node, value: str, dtype: str) -> None:
    """Clips to the node's real bounds, into its output."""
    low = writer.const(node.number("minimum", 0), dtype) if "minimum" in node.attrs else ""
    high = writer.const(node.number("maximum", 0), dtype) if "maximum" in node.attrs else ""
    if low or high:
        writer.emit("Clip", value, low, high, out=node.outputs[0])
    else:
        writer.emit("Identity", value, out=node.outputs[0])
