"""Counts the work of the graphs inside nodes: so much for each node, more for one of many elements.

What sizes are known only when the graph runs, it counts itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import isqrt, prod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

# What a node does in the time that starting one takes.
ELEMENTS = 1_000
PRODUCTS = 10_000
_PRODUCTS = (
    "MatMul", "Gemm", "Conv", "ConvTranspose", "ConvInteger", "MatMulInteger", "QLinearMatMul",
    "QLinearConv", "Einsum", "LSTM", "GRU", "RNN", "Attention", "DFT",
)  # fmt: skip
_LARGEST_CONSTANT = 16  # elements of one that may be a trip count or a condition


def inner_graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Returns the graphs among a node's attributes."""
    return [
        graph
        for attribute in node.attribute
        for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs)
    ]


def body_of(loop: onnx.NodeProto) -> onnx.GraphProto:
    """Returns the body of a Loop or Scan."""
    return inner_graphs(loop)[0]


def is_batched(scan: onnx.NodeProto) -> bool:
    """Whether a Scan is of opset 8: lengths precede its states, a batch its axis."""
    return len(scan.input) > len(body_of(scan).input)


def loops_in(graph: onnx.GraphProto) -> bool:
    """Whether a Loop or Scan stands in a graph, at any depth."""
    pending = [graph]
    while pending:
        for node in pending.pop().node:
            if node.op_type in ("Loop", "Scan"):
                return True
            pending += inner_graphs(node)
    return False


@dataclass(frozen=True)
class Costs:
    """What is known of the values that a graph sees: element counts, small constants, shapes.

    `sizes` has the number of elements of a tensor, None where it is not known; what is no tensor,
    or of an unknown type, is missing. `shapes` has those of known rank, -1 for an open axis.
    """

    sizes: Mapping[str, int | None]
    constants: Mapping[str, Any] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def inside(self, graph: onnx.GraphProto, constants: Mapping[str, Any] | None = None) -> Costs:
        """Adds what a graph inside declares; its inputs hide constants of the same name."""
        hidden = {value.name for value in graph.input}
        outer = {
            name: value
            for name, value in (self.constants if constants is None else constants).items()
            if name not in hidden
        }
        declared = _shapes(graph)
        sizes = {
            name: None if shape is None or min(shape, default=0) < 0 else prod(shape)
            for name, shape in declared.items()
        }
        outside = {name: shape for name, shape in self.shapes.items() if name not in declared}
        known = {name: shape for name, shape in declared.items() if shape is not None}
        return Costs({**self.sizes, **sizes}, {**outer, **_constants(graph)}, {**outside, **known})

    def turns(self, loop: onnx.NodeProto) -> int | None:
        """Returns the trip count of a Loop or Scan; None where it has none or it is not known."""
        if loop.op_type == "Scan":
            return self._length(loop)
        name = loop.input[0] if loop.input else ""
        value = self.constants.get(name)
        return max(0, int(value.reshape(-1)[0])) if value is not None and value.size == 1 else None

    def _length(self, scan: onnx.NodeProto) -> int | None:
        """Returns the size of a Scan's last input along the axis it scans; None if not known."""
        attributes = {attribute.name: attribute for attribute in scan.attribute}
        count = attributes["num_scan_inputs"].i if "num_scan_inputs" in attributes else 0
        if not 0 < count <= len(scan.input):
            return None
        if is_batched(scan):
            sizes = self.shapes.get(scan.input[-1], ())[:2]
            return prod(sizes) if len(sizes) == 2 and min(sizes) >= 0 else None
        axes = attributes["scan_input_axes"].ints if "scan_input_axes" in attributes else ()
        shape, axis = self.shapes.get(scan.input[-1], ()), axes[-1] if axes else 0
        length = shape[axis] if -len(shape) <= axis < len(shape) else -1
        return length if length >= 0 else None

    def is_always_true(self, body: onnx.GraphProto, loop: onnx.NodeProto) -> bool:
        """Whether a Loop's condition is true at first and never changes."""
        start = loop.input[1] if len(loop.input) > 1 else ""
        first = self.constants.get(start) if start else None
        if start and (first is None or not first.all()):
            return False
        name = body.output[0].name
        made = {output: node for node in body.node for output in node.output}
        while name in made and made[name].op_type == "Identity" and made[name].input:
            name = made[name].input[0]
        if len(body.input) > 1 and name == body.input[1].name:
            return True
        known = self.inside(body).constants.get(name)
        return known is not None and bool(known.all())

    def static(self, graph: onnx.GraphProto) -> int | None:
        """Counts the work of a graph's own nodes; None where a size is not known."""
        total = 0
        for node in graph.node:
            names = [name for name in (*node.input, *node.output) if name]
            if any(self.sizes.get(name) is None for name in names):
                return None
            total += self._work(node)
        return total

    def charge(
        self, graph: onnx.GraphProto, fresh: Callable[[], str], number: Callable[[int], str]
    ) -> tuple[int, list[onnx.NodeProto], list[str]]:
        """Counts the work of a graph's own nodes: what is known, and nodes that count the rest.

        The names are those of the counts; `number` names a constant, `fresh` a new value.
        """
        import onnx

        nodes: list[onnx.NodeProto] = []
        terms: list[str] = []
        counted: dict[str, str] = {}

        def emit(op: str, *inputs: str, to: int = 0) -> str:
            made = fresh()
            node = onnx.NodeProto(op_type=op, input=inputs, output=[made])
            if to:
                node.attribute.append(onnx.helper.make_attribute("to", to))
            nodes.append(node)
            return made

        def size(name: str) -> str:
            known = self.sizes.get(name)
            if known is not None:
                return number(known)
            if name not in counted:
                counted[name] = emit("Size", name)
            return counted[name]

        fixed = 0
        for node in graph.node:
            fixed += self._work(node)
            unknown = [name for name in self._touched(node) if self.sizes[name] is None]
            terms += [emit("Div", size(name), number(ELEMENTS)) for name in unknown]
            operands = self._operands(node)
            if operands and any(self.sizes[name] is None for name in operands):
                floats = [emit("Cast", size(name), to=onnx.TensorProto.DOUBLE) for name in operands]
                product = floats[0]
                for other in floats[1:]:
                    product = emit("Mul", product, other)
                root = emit("Cast", emit("Sqrt", product), to=onnx.TensorProto.INT64)
                terms.append(emit("Div", root, number(PRODUCTS)))
        return fixed, nodes, list(dict.fromkeys(terms))

    def _work(self, node: onnx.NodeProto) -> int:
        """Counts the work of a node as far as sizes are known."""
        elements = sum(self.sizes[name] or 0 for name in self._touched(node))
        operands = self._operands(node)
        products = isqrt(prod(self.sizes[name] or 0 for name in operands)) if operands else 0
        return 1 + elements // ELEMENTS + products // PRODUCTS

    def _touched(self, node: onnx.NodeProto) -> list[str]:
        names = dict.fromkeys((*node.input, *node.output))
        return [name for name in names if name and name in self.sizes]

    def _operands(self, node: onnx.NodeProto) -> list[str]:
        """Finds the two operands and the result of a product.

        The root of the product of their sizes is the number of multiplications of a matrix product.
        """
        if node.op_type not in _PRODUCTS or len(node.input) < 2 or not node.output:
            return []
        names = [node.input[0], node.input[1], node.output[0]]
        return names if all(name in self.sizes for name in names) else []


def costs_of(model: onnx.ModelProto) -> Costs:
    """Infers what is known of a model's values, those of graphs inside nodes included.

    The graphs inside then declare what was found.
    """
    import onnx

    # Its errors share no base; where it fails, only what is declared is known. Without data_prop,
    # which computes constants without limit.
    with contextlib.suppress(Exception):
        inferred = onnx.shape_inference.infer_shapes(model)
        model.graph.CopyFrom(inferred.graph)
    return Costs({}).inside(model.graph)


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...] | None]:
    """Reads the shape of each declared tensor: -1 for an open axis, None for an open rank."""
    found: dict[str, tuple[int, ...] | None] = {}
    for value in _values(graph):
        if value.type.HasField("tensor_type"):
            tensor = value.type.tensor_type
            dims = (d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)
            found[value.name] = tuple(dims) if tensor.HasField("shape") else None
    found.update({name: tuple(tensor.dims) for name, tensor in _tensors(graph)})
    return found


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.output
    yield from graph.value_info
    yield from graph.input  # last: a run holds the model's to their shapes


def _constants(graph: onnx.GraphProto) -> dict[str, Any]:
    """Decodes the small constants of a graph."""
    import onnx

    found = {}
    for name, tensor in _tensors(graph):
        is_inside = tensor.data_location != onnx.TensorProto.EXTERNAL
        if is_inside and prod(tensor.dims) <= _LARGEST_CONSTANT:
            # Data that are not what the shape asks for are left to what runs the model.
            with contextlib.suppress(Exception):
                found[name] = onnx.numpy_helper.to_array(tensor)
    return found


def _tensors(graph: onnx.GraphProto) -> Iterator[tuple[str, onnx.TensorProto]]:
    """Walks the constant tensors of a graph by name."""
    import onnx

    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.HasField("t"):
                yield node.output[0], attribute.t
            elif attribute.name in ("value_int", "value_ints"):
                numbers = list(attribute.ints) or [attribute.i]
                dims = [len(numbers)] if attribute.name == "value_ints" else []
                kind = onnx.TensorProto.INT64
                yield node.output[0], onnx.helper.make_tensor("", kind, dims, numbers)
