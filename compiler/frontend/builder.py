"""Collects the graph while the nodes of an ONNX model are walked.

It gives fresh names, finds the types of what nodes make, and writes the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from compiler.errors import ModelError
from compiler.frontend.constants import why_constants_misfit
from compiler.frontend.operands import why_sizes_misfit
from compiler.frontend.sizes_by_definition import Operands, shape_by_definition
from compiler.ir.graph import Array, Attribute, Graph, Node, TensorType
from compiler.ir.ops import infer_types
from compiler.ir.protos import dtype_number


def input_of(proto: onnx.NodeProto, position: int) -> str:
    """Returns the input of an ONNX node at a position, or an empty string where it is left out."""
    return proto.input[position] if position < len(proto.input) else ""


def attributes_of(proto: onnx.NodeProto) -> dict[str, Any]:
    """Reads the attributes of an ONNX node as Python's values: texts decoded, lists as tuples."""
    found = {}
    for attribute in proto.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        found[attribute.name] = tuple(value) if isinstance(value, list) else value
    return found


class Unliftable(Exception):  # noqa: N818 (an answer, not an error: the node is then kept whole)
    """A node cannot be said in the graph's opset; the text says why."""


class Builder:
    """A graph under construction.

    `name`, `source` and `reserved` outputs belong to the ONNX node that is being walked.
    """

    def __init__(self, taken: Iterable[str], hints: Mapping[str, TensorType]) -> None:
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.constants: dict[str, Array] = {}
        self.ledger: dict[str, str] = {}
        self.hints = hints
        self.name = ""  # of the ONNX node: the origin of what is emitted
        self.label = ""  # what nodes and values are named after
        self.source = ""
        self._taken = set(taken)
        self._node_names: set[str] = set()

    def begin(self, name: str, source: str) -> None:
        """Starts on an ONNX node: what is emitted from now on comes from it."""
        self.name = self.label = name
        self.source = source
        self.ledger[self.name] = ""

    def fresh(self, hint: str) -> str:
        """Makes a value name that nothing in the model has."""
        name = _unused(f"{self.label}.{hint}", self._taken)
        self._taken.add(name)
        return name

    def constant(self, data: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> str:
        """Adds a constant under a fresh name."""
        name = self.fresh("const")
        self.set_constant(name, np.array(data, dtype))
        return name

    def set_constant(self, name: str, data: Array) -> None:
        """Gives a name the data of a constant."""
        stored = np.ascontiguousarray(data).reshape(data.shape)
        stored.setflags(write=False)
        self.constants[name] = stored
        self.types[name] = TensorType(stored.dtype.name, stored.shape)

    def emit(
        self,
        op: str,
        inputs: Iterable[str],
        outputs: tuple[str, ...] | None = None,
        attrs: Mapping[str, Attribute] | None = None,
    ) -> str:
        """Adds a node in the graph's opset and gives its first output.

        `outputs` None makes one fresh value.
        """
        main = outputs is not None
        outputs = outputs or (self.fresh(op.lower()),)
        name = _unused(self.label if main else f"{self.label}.{op}", self._node_names)
        inputs = _without_trailing_blanks(inputs)
        node = Node(
            name=name,
            op=op,
            inputs=inputs,
            outputs=outputs,
            attrs=dict(attrs or {}),
            placement=None,
            origin=(self.name,),
            source=self.source,
        )
        self.add(node)
        return outputs[0]

    def add(self, node: Node) -> None:
        """Adds a node and the types of its outputs, which follow from its inputs.

        ModelError M004 when shapes do not fit, Unliftable for a type that the graph's opset does
        not have.
        """
        self.types.update(self.types_of(node))
        self._node_names.add(node.name)
        self.nodes.append(node)

    def types_of(self, node: Node) -> dict[str, TensorType]:
        """Finds the types of a node's outputs.

        Inference finds them; where it finds nothing, the model's own declaration counts.

        ModelError M004 where the inputs are not what it takes; Unliftable where ONNX's checker
        knows no such form of it.
        """
        misfit = why_sizes_misfit(node, self.types)
        if misfit:
            raise ModelError(f"{node.op}: {misfit}", code="M004", node=self.name)
        try:
            found = infer_types(node, self.types, self.constants)
        except Exception as error:
            if isinstance(error.__cause__ or error, onnx.checker.ValidationError):
                raise Unliftable(plain_reason(error)) from error
            raise ModelError(plain_reason(error), code="M004", node=self.name) from error
        found |= self._by_definition(node, found)
        types = {
            value: merged(found.get(value), self.hints.get(value))
            for value in node.outputs
            if value
        }
        misfit = why_constants_misfit(node, {**self._types_read(node), **types}, self.constants)
        if misfit:
            raise ModelError(f"{node.op}: {misfit}", code="M004", node=self.name)
        return types

    def _by_definition(self, node: Node, found: Mapping[str, TensorType]) -> dict[str, TensorType]:
        """Finds the type of the first output where inference leaves its sizes open, or errs."""
        first = found.get(node.outputs[0]) if node.outputs and node.outputs[0] else None
        if first is None:
            return {}
        operands = Operands(
            [self.types[name].shape if name else None for name in node.inputs],
            [self.constants.get(name) for name in node.inputs],
            node.attrs,
        )
        shape = shape_by_definition(node.op, operands, first.shape)
        if shape is None:
            return {}
        dtype = first.dtype if first.dtype != "undefined" else self.types[node.inputs[0]].dtype
        return {node.outputs[0]: TensorType(dtype, shape)}

    def _types_read(self, node: Node) -> dict[str, TensorType]:
        return {name: self.types[name] for name in node.inputs if name}

    def segment(
        self, model: bytes, inputs: tuple[str, ...], types: Mapping[str, TensorType]
    ) -> None:
        """Adds the ONNX node, kept whole as a model of its own, with the types of its outputs."""
        for value, kind in types.items():
            self.types[value] = merged(kind, self.hints.get(value))
        name = _unused(self.label, self._node_names)
        self._node_names.add(name)
        outputs = tuple(types)
        attrs: dict[str, Attribute] = {"model": model}
        self.nodes.append(
            Node(
                name=name,
                op="Segment",
                inputs=inputs,
                outputs=outputs,
                attrs=attrs,
                placement=None,
                origin=(self.name,),
                source=self.source,
            )
        )

    def sizes(self, value: str) -> tuple[int, ...]:
        """Returns the sizes of a value; raises Unliftable when they are not all known."""
        kind = self.types[value]
        if not kind.is_static:
            raise Unliftable(f"the sizes of {value} are not known")
        return kind.sizes

    def rank(self, value: str) -> int:
        """Returns the number of axes of a value; raises Unliftable when it is not known."""
        shape = self.types[value].shape
        if shape is None:
            raise Unliftable(f"the rank of {value} is not known")
        return len(shape)

    def dtype_number(self, value: str) -> int:
        """Returns ONNX's number of a value's element type."""
        return dtype_number(self.types[value].dtype)

    def finish(self, name: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Graph:
        """Makes the graph, without nodes and values that no output needs; the ledger says so."""
        wanted = set(outputs)
        nodes = []
        for node in reversed(self.nodes):
            if wanted.intersection(node.outputs):
                nodes.append(node)
                wanted.update(name for name in node.inputs if name)
        nodes.reverse()
        wanted.update(inputs, *(node.outputs for node in nodes))
        standing = {name for node in nodes for name in node.origin}
        ledger = {
            key: fate or ("" if key in standing else "removed") for key, fate in self.ledger.items()
        }
        return Graph(
            name=name,
            inputs=inputs,
            outputs=outputs,
            nodes=tuple(nodes),
            types={value: kind for value, kind in self.types.items() if value in wanted},
            constants={value: data for value, data in self.constants.items() if value in wanted},
            ledger=ledger,
        )


def merged(found: TensorType | None, hint: TensorType | None) -> TensorType:
    """Completes the type that inference found by the one that the model declares.

    Where they contradict, inference is right.
    """
    if found is None or found.dtype == "undefined":
        return hint or found or TensorType("undefined", None)
    if hint is None or hint.dtype != found.dtype or hint.shape is None:
        return found
    if found.shape is None:
        return hint
    if len(found.shape) != len(hint.shape):
        return found
    pairs = zip(found.shape, hint.shape, strict=True)
    return TensorType(found.dtype, tuple(b if a is None else a for a, b in pairs))


def plain_reason(error: Exception) -> str:
    """Takes the last line of a library's message, without the library's own markers."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    while text.startswith("["):
        text = text.partition("]")[2].lstrip(": ")
    return text or type(error).__name__


def _unused(name: str, taken: Iterable[str]) -> str:
    found, count = name, 0
    while found in taken:
        count += 1
        found = f"{name}.{count}"
    return found


def _without_trailing_blanks(names: Iterable[str]) -> tuple[str, ...]:
    names = list(names)
    while names and not names[-1]:
        names.pop()
    return tuple(names)
