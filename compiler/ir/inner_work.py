"""Counts the work of ONNX nodes with all that runs inside them: branches taken and loops turned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from compiler.ir.graph import Array, TensorType
from compiler.ir.multiply_accumulates import Call, Shape, UnknownSizeError, multiply_accumulates
from compiler.ir.protos import from_type_proto, type_proto
from compiler.ir.type_protos import common_sizes, elements_of, has_all_sizes, shape_of, with_shape

if TYPE_CHECKING:
    import onnx

SMALL = 4096  # elements of a constant whose numbers may decide sizes
MOST_TURNS = 1 << 31  # what exporters write for "until the condition ends it" is more
MOST_NODES = 20_000  # that are looked at, those of a graph looked at again each time
FREE = ("Constant", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze")  # no number changes


@dataclass(frozen=True)
class Work:
    """Counts what an inference does: multiply-accumulates, and elements made by operation.

    `unknown` says why it is more than that, `uncounted` why its multiply-accumulates are; "" where
    everything was counted.
    """

    macs: int = 0
    elements: Mapping[str, int] = field(default_factory=dict)
    unknown: str = ""
    uncounted: str = ""

    def __add__(self, other: Work) -> Work:
        """Adds two pieces of work, one after the other."""
        return Work(
            self.macs + other.macs,
            Counter(self.elements) + Counter(other.elements),
            self.uncounted or other.uncounted or self.unknown or other.unknown,
            self.uncounted or other.uncounted,
        )

    def times(self, turns: int) -> Work:
        """Repeats the work."""
        elements = {op: count * turns for op, count in self.elements.items()}
        return Work(self.macs * turns, elements, self.unknown, self.uncounted)

    @property
    def size(self) -> tuple[int, int]:
        """What orders pieces of work: the MACs, then the elements."""
        return self.macs, sum(self.elements.values())


@lru_cache(maxsize=16)
def work_of_model(
    model: bytes, inputs: tuple[TensorType | None, ...], outputs: tuple[TensorType | None, ...]
) -> Work:
    """Counts the work of a model of one inference, on inputs and to outputs of known types.

    Of an If it is that of the dearest branch, of a Loop that of all the turns it may take.
    """
    import onnx

    proto = onnx.ModelProto.FromString(model)
    opsets = {opset.domain: opset.version for opset in proto.opset_import}
    scope = _Scope({}, {}, opsets, [0])
    for ports, kinds in ((proto.graph.input, inputs), (proto.graph.output, outputs)):
        for port, kind in zip(ports, kinds, strict=False):
            if kind is not None and kind.shape is not None:
                scope.types[port.name] = type_proto(kind)
            elif port.type.WhichOneof("value"):
                scope.types[port.name] = port.type
    return scope.work_of(proto.graph)


@lru_cache(maxsize=64)
def operation_of_model(model: bytes) -> str:
    """Names the operation that a model of a few nodes stands for: its first that computes."""
    import onnx

    names = [node.op_type for node in onnx.ModelProto.FromString(model).graph.node]
    return next((name for name in names if name not in FREE), names[0] if names else "Identity")


def types_of_outputs(model: onnx.ModelProto) -> dict[str, TensorType]:
    """Finds the types of a model's outputs by walking it, where their rank is known.

    ONNX's own inference leaves those behind Loop and Scan open.
    """
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    types = {port.name: port.type for port in model.graph.input if port.type.WhichOneof("value")}
    scope = _Scope(types, {}, opsets, [0])
    scope.work_of(model.graph)
    return {
        port.name: from_type_proto(scope.types[port.name])
        for port in model.graph.output
        if port.name in scope.types and shape_of(scope.types[port.name]) is not None
    }


class _Scope:
    """The values that can be read at a place of a model: their types, and the small constants."""

    def __init__(
        self,
        types: Mapping[str, onnx.TypeProto],
        constants: Mapping[str, Array],
        opsets: Mapping[str, int],
        looked_at: list[int],
    ) -> None:
        self.types = dict(types)
        self.constants = dict(constants)
        self.opsets = opsets
        self.looked_at = looked_at

    def inner(self, given: Mapping[str, onnx.TypeProto]) -> _Scope:
        """Opens the scope of a graph inside, whose inputs have these types."""
        return _Scope({**self.types, **given}, self.constants, self.opsets, self.looked_at)

    def work_of(self, graph: onnx.GraphProto) -> Work:
        """Counts the work of a graph's nodes, one after the other."""
        for tensor in graph.initializer:
            self._set_constant(tensor.name, tensor)
        total = Work()
        for node in graph.node:
            self.looked_at[0] += 1
            if self.looked_at[0] > MOST_NODES:
                why = "it has too many nodes inside to count them all"
                return total + Work(unknown=why, uncounted=why)
            total = total + self._work_of_node(node)
        return total

    def _set_constant(self, name: str, tensor: onnx.TensorProto) -> None:
        import onnx

        self.types[name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
        count = 1
        for size in tensor.dims:
            count *= size
        if count <= SMALL:
            self.constants[name] = onnx.numpy_helper.to_array(tensor)

    def _work_of_node(self, node: onnx.NodeProto) -> Work:
        found = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Constant" and "value" in found:
            self._set_constant(node.output[0], found["value"].t)
            return Work()
        rule = _RULES.get(node.op_type) if not node.domain else None
        work = rule(self, node, found) if rule is not None else Work()
        for name, kind in self._inferred(node).items():
            if has_all_sizes(kind) or name not in self.types:
                self.types[name] = kind
        if rule is not None:
            return work
        self._fold(node)
        return work + self._own_work(node)

    def _own_work(self, node: onnx.NodeProto) -> Work:
        import onnx

        op = f"{node.domain}::{node.op_type}" if node.domain else node.op_type
        attributes: dict[str, Any] = {}
        for attribute in node.attribute:
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
        inputs, outputs = (
            [self.shape(name) for name in names] for names in (node.input, node.output)
        )
        try:
            macs, uncounted = multiply_accumulates(Call(op, inputs, outputs, attributes)), ""
        except UnknownSizeError as error:
            macs, uncounted = 0, str(error)
        unknown = uncounted
        if node.op_type in FREE:
            return Work()
        sizes = [elements_of(shape) for shape in (*inputs[:1], *outputs) if shape is not None]
        if any(name and self.shape(name) is None for name in node.output) or None in sizes:
            unknown = unknown or f"the size of what {op} makes is not known before it runs"
        elements = max((size or 0 for size in sizes), default=0)
        return Work(macs, {node.op_type: elements}, unknown, uncounted)

    def _inferred(self, node: onnx.NodeProto) -> dict[str, onnx.TypeProto]:
        """Infers the types of a node's outputs; nothing where ONNX cannot."""
        import onnx
        from onnx import shape_inference

        version = self.opsets.get(node.domain, 1)
        if not onnx.defs.has(node.op_type, version, node.domain):
            return {}
        schema = onnx.defs.get_schema(node.op_type, version, node.domain)
        if any(name and name not in self.types for name in node.input):
            return {}
        known = {name: self.types[name] for name in node.input if name}
        data = {
            name: onnx.numpy_helper.from_array(self.constants[name])
            for name in node.input
            if name in self.constants
        }
        try:
            found = shape_inference.infer_node_outputs(
                schema, node, known, data, ir_version=10,
                opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in self.opsets.items()],
            )  # fmt: skip
        except (
            shape_inference.InferenceError,
            onnx.checker.ValidationError,
            RuntimeError,
            ValueError,
        ):
            return {}
        return {name: kind for name, kind in found.items() if name}

    def _fold(self, node: onnx.NodeProto) -> None:
        """Computes what follows from sizes: shapes, and integers picked from them."""
        import numpy as np

        shape = self.shape(node.input[0]) if node.input else None
        if node.op_type == "Shape" and shape is not None and None not in shape:
            bounds = {a.name: a.i for a in node.attribute}
            part = shape[bounds.get("start", 0) : bounds.get("end", len(shape))]
            self.constants[node.output[0]] = np.asarray(part, np.int64)
        elif node.op_type == "Identity" and node.input[0] in self.constants:
            self.constants[node.output[0]] = self.constants[node.input[0]]

    def shape(self, name: str) -> Shape | None:
        """Returns the shape of a value, None where nothing is known of it."""
        kind = self.types.get(name)
        return shape_of(kind) if name and kind is not None else None

    # -- nodes with graphs inside

    def _branches(self, node: onnx.NodeProto, found: Mapping[str, onnx.AttributeProto]) -> Work:
        """Counts the dearest branch."""
        works = []
        for name in ("then_branch", "else_branch"):
            inner = self.inner({})
            works.append(inner.work_of(found[name].g))
            for ours, theirs in zip(node.output, found[name].g.output, strict=False):
                if theirs.name in inner.types and (name == "then_branch" or ours in self.types):
                    self._merge(ours, inner.types[theirs.name], name == "then_branch")
        dearest = max(works, key=lambda work: work.size)
        unknown = next((work.unknown for work in works if work.unknown), "")
        uncounted = next((work.uncounted for work in works if work.uncounted), "")
        return Work(dearest.macs, dearest.elements, uncounted or unknown, uncounted)

    def _merge(self, name: str, kind: onnx.TypeProto, is_first: bool) -> None:
        """Takes a type that a branch gives, where the other does not give another."""
        if is_first:
            self.types[name] = kind
        elif shape_of(self.types[name]) != shape_of(kind):
            del self.types[name]

    def _loop(self, node: onnx.NodeProto, found: Mapping[str, onnx.AttributeProto]) -> Work:
        """Counts a turn, whose state keeps its sizes, as often as the loop may turn."""
        body = found["body"].g
        first = {port.name: port.type for port in body.input[:2]}
        states = list(zip(body.input[2:], node.input[2:], body.output[1:], strict=False))
        work, inner = self._turn(body, first, [(a.name, b, c.name) for a, b, c in states])
        for (port, _, _), ours in zip(states, node.output, strict=False):
            if ours and port.name in inner.types:
                self.types[ours] = inner.types[port.name]
        limit = self.constants.get(node.input[0]) if node.input and node.input[0] else None
        turns = max(0, int(limit.reshape(()))) if limit is not None and limit.size == 1 else None
        slices = turns if self._never_ends(node, body) else None
        rest = zip(node.output[len(states) :], body.output[1 + len(states) :], strict=False)
        for ours, port in rest:
            self._stack(ours, inner.types.get(port.name), slices, 0)
        return _repeated(work, turns, "Loop")

    def _never_ends(self, node: onnx.NodeProto, body: onnx.GraphProto) -> bool:
        """Whether a loop's condition is true, and every turn hands it on as it is."""
        condition = node.input[1] if len(node.input) > 1 else ""
        known = self.constants.get(condition) if condition else None
        if condition and (known is None or not known.all()):
            return False
        name, copies = body.output[0].name, {n.output[0]: n for n in body.node if n.output}
        while name in copies and copies[name].op_type == "Identity":
            name = copies[name].input[0]
        return bool(name == body.input[1].name)

    def _stack(self, name: str, kind: onnx.TypeProto | None, turns: int | None, axis: int) -> None:
        """Sets the type of what every turn makes a slice of, along an axis of the whole."""
        shape = shape_of(kind) if kind is not None else None
        if name and kind is not None and shape is not None:
            axis = axis if axis >= 0 else axis + len(shape) + 1
            self.types[name] = with_shape(kind, [*shape[:axis], turns, *shape[axis:]])

    def _scan(self, node: onnx.NodeProto, found: Mapping[str, onnx.AttributeProto]) -> Work:
        """Counts a turn for each slice along the axis that is scanned."""
        body, count = found["body"].g, found["num_scan_inputs"].i
        if self.opsets.get("", 9) < 9:  # with a batch, and the lengths of sequences
            return _repeated(self._turn(body, {}, [])[0], None, "Scan")
        axes = list(found["scan_input_axes"].ints) if "scan_input_axes" in found else [0] * count
        split = len(node.input) - count
        states = list(zip(body.input[:split], node.input, body.output, strict=False))
        turns: int | None = None
        slices: dict[str, onnx.TypeProto] = {}
        for port, name, axis in zip(body.input[split:], node.input[split:], axes, strict=False):
            shape = self.shape(name)
            if shape:
                turns = shape[axis]
                inside = [size for at, size in enumerate(shape) if at != axis % len(shape)]
                slices[port.name] = with_shape(self.types[name], inside)
        work, inner = self._turn(body, slices, [(a.name, b, c.name) for a, b, c in states])
        for (port, _, _), ours in zip(states, node.output, strict=False):
            if ours and port.name in inner.types:
                self.types[ours] = inner.types[port.name]
        rest = list(zip(node.output, body.output, strict=False))[split:]
        where = found.get("scan_output_axes")
        for (ours, port), axis in zip(rest, where.ints if where else [0] * len(rest), strict=False):
            self._stack(ours, inner.types.get(port.name), turns, axis)
        return _repeated(work, turns, "Scan")

    def _turn(
        self,
        body: onnx.GraphProto,
        others: Mapping[str, onnx.TypeProto],
        states: list[tuple[str, str, str]],
    ) -> tuple[Work, _Scope]:
        """Counts a turn of a loop; returns the scope inside, as it is in every turn.

        `states` are, for each, its names in the body, before the loop and behind a turn. A size
        that a turn changes is not known.
        """
        kinds = {name: self.types[ours] for name, ours, _ in states if ours in self.types}
        while True:
            inner = self.inner({**others, **kinds})
            work = inner.work_of(body)
            changed = {}
            for name, _, behind in states:
                before = shape_of(kinds[name]) if name in kinds else None
                after = inner.shape(behind)
                if before is not None and before != after:
                    changed[name] = with_shape(kinds[name], common_sizes(before, after))
            if not changed:
                return work, inner
            kinds |= changed

    def _map(self, node: onnx.NodeProto, found: Mapping[str, onnx.AttributeProto]) -> Work:
        work, _ = self._turn(found["body"].g, {}, [])
        return _repeated(work, None, "SequenceMap")


_RULES = {
    "If": _Scope._branches,
    "Loop": _Scope._loop,
    "Scan": _Scope._scan,
    "SequenceMap": _Scope._map,
}


def _repeated(work: Work, turns: int | None, op: str) -> Work:
    """Repeats the work of a turn; work whose turns nobody knows is left out, and that is said."""
    if turns is None or turns >= MOST_TURNS:
        if not any(work.size):
            return work
        why = f"how often {op} turns is not known before it runs"
        return Work(unknown=why, uncounted=why if work.macs or work.uncounted else "")
    return work.times(max(0, turns))
