"""Makes random sound ONNX models with local functions from a seed, with inputs.

Every value is a float32 [2, 3] that stays small. Functions call one another, inside branches and
loops too; their attributes have defaults, are handed through, overridden or left out; their names
are those of operations, and what is inside one is named as what is inside the others.
`python -m tests.support.random_check 0:1000 --generator tests/support/random_functions.py` holds
them to ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

OPSET = 20
DOMAINS = ("own", "other")
# The last is an operation of ONNX Runtime, which runs in the function's place.
NAMES = (
    ("own", "Relu"),
    ("own", "f"),
    ("other", "f"),
    ("own", "Softmax"),
    ("com.microsoft", "Gelu"),
)
SHAPE = (2, 3)
KINDS = {
    "float": AttributeProto.FLOAT,
    "int": AttributeProto.INT,
    "axis": AttributeProto.INT,
    "ints": AttributeProto.INTS,
    "floats": AttributeProto.FLOATS,
    "string": AttributeProto.STRING,
    "tensor": AttributeProto.TENSOR,
    "branch": AttributeProto.GRAPH,
    "body": AttributeProto.GRAPH,
}
# Of these, what refers to them needs a value.
NEEDED = ("floats", "tensor", "branch", "body")


@dataclass(frozen=True)
class Parameter:
    """An attribute of a function: its kind, and its default where it has one."""

    name: str
    kind: str
    default: AttributeProto | None


@dataclass(frozen=True)
class Function:
    """A function that may be called: how many inputs must be given, and what it has."""

    proto: onnx.FunctionProto
    needed: int
    parameters: tuple[Parameter, ...]


@dataclass
class Scope:
    """The body that is being drawn: what may be read in it, and what was drawn so far.

    `parameters` are those of the function around it; inner graphs share the names given.
    """

    values: list[str]
    parameters: tuple[Parameter, ...] = ()
    optional: tuple[str, ...] = ()
    depth: int = 0
    is_main: bool = False
    prefix: str = "v"
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    names: dict[str, None] = field(default_factory=dict)

    def fresh(self) -> str:
        """A name that nothing in the function has, but others may."""
        name = f"{self.prefix}{len(self.names)}"
        self.names[name] = None
        return name


class Drawing:
    """A model being drawn: the functions so far."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng([0x5F, seed])
        self.functions: list[Function] = []
        self.graphs = 0

    def whole(self, low: int, high: int) -> int:
        """A number from low to high."""
        return int(self.random.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        """True in so many of all cases."""
        return bool(self.random.random() < share)

    def one_of(self, things: Any) -> Any:
        """One of several."""
        return things[self.whole(0, len(things) - 1)]

    # -- attributes

    def literal(self, name: str, kind: str) -> AttributeProto:
        """An attribute with a value of its own."""
        values: dict[str, Callable[[], Any]] = {
            "float": lambda: float(np.float32(self.random.uniform(-1, 1))),
            "int": lambda: self.whole(0, 1),
            "axis": lambda: self.whole(-2, 1),
            "ints": lambda: self.one_of([[0, 1], [1, 0]]),
            "floats": lambda: [float(v) for v in self.random.uniform(-1, 1, 3).astype(np.float32)],
            "string": lambda: self.one_of(["none", "tanh"]),
            "tensor": lambda: numpy_helper.from_array(
                self.random.uniform(-1, 1, self.one_of([(), (3,), SHAPE])).astype(np.float32)
            ),
            "branch": self._branch_alone,
            "body": self._loop_alone,
        }
        return helper.make_attribute(name, values[kind](), attr_type=KINDS[kind])

    def set(self, node: onnx.NodeProto, name: str, kind: str, scope: Scope) -> None:
        """Gives a node an attribute: one of the function's, a value, or none where none is fine."""
        needed = kind in NEEDED
        fits = [p.name for p in scope.parameters if p.kind == kind and (p.default or not needed)]
        if not needed and scope.parameters and self.chance(0.05):
            fits.append("undeclared")
        if fits and self.chance(0.8):
            attribute = AttributeProto(name=name, type=KINDS[kind], ref_attr_name=self.one_of(fits))
            node.attribute.append(attribute)
        elif needed or self.chance(0.6):
            node.attribute.append(self.literal(name, kind))

    # -- statements: each adds nodes that make one value more

    def statement(self, scope: Scope) -> None:
        """Draws what makes one value, or several, from those before."""
        drawn = [
            self._activation, self._activation, self._constant, self._moved, self._binary,
            self._clipped,
        ]  # fmt: skip
        if self.functions:
            drawn += [self._call] * 3
        if scope.depth < 2:
            drawn += [self._branching, self._branching, self._looping]
        self.one_of(drawn)(scope)

    def _node(
        self, scope: Scope, op: str, inputs: list[str], domain: str = "", outputs: int = 1
    ) -> onnx.NodeProto:
        names = [scope.fresh() for _ in range(outputs)]
        scope.nodes.append(helper.make_node(op, inputs, names, domain=domain))
        return scope.nodes[-1]

    def _activation(self, scope: Scope) -> None:
        op, name, kind = self.one_of([
            ("LeakyRelu", "alpha", "float"), ("Elu", "alpha", "float"),
            ("ThresholdedRelu", "alpha", "float"), ("Gelu", "approximate", "string"),
            ("Softmax", "axis", "axis"), ("Relu", "", ""), ("Tanh", "", ""),
        ])  # fmt: skip
        node = self._node(scope, op, [self.one_of(scope.values)])
        if kind:
            self.set(node, name, kind, scope)
        scope.values.append(node.output[0])

    def _constant(self, scope: Scope) -> None:
        name, kind = self.one_of([("value", "tensor"), ("value_floats", "floats")])
        node = self._node(scope, "Constant", [])
        self.set(node, name, kind, scope)
        self._tame(scope, "Mul", self.one_of(scope.values), node.output[0])

    def _moved(self, scope: Scope) -> None:
        if self.chance(0.5):
            axis = self._known(scope, np.asarray(self.whole(0, 1)))
            node = self._node(scope, "CumSum", [self.one_of(scope.values), axis])
            self.set(node, "exclusive", "int", scope)
            self.set(node, "reverse", "int", scope)
            scope.values.append(self._node(scope, "Tanh", [node.output[0]]).output[0])
            return
        node = self._node(scope, "Transpose", [self.one_of(scope.values)])
        self.set(node, "perm", "ints", scope)
        shape = self._known(scope, np.asarray(SHAPE))
        scope.values.append(self._node(scope, "Reshape", [node.output[0], shape]).output[0])

    def _binary(self, scope: Scope) -> None:
        op = self.one_of(["Add", "Sub", "Mul", "Max"])
        self._tame(scope, op, self.one_of(scope.values), self.one_of(scope.values))

    def _tame(self, scope: Scope, op: str, one: str, other: str) -> None:
        found = self._node(scope, op, [one, other]).output[0]
        scope.values.append(self._node(scope, "Tanh", [found]).output[0])

    def _clipped(self, scope: Scope) -> None:
        """A Clip whose bounds may be inputs of the function that a call leaves out."""
        bounds = [self.one_of([*scope.optional, ""]) for _ in range(2)]
        scope.values.append(
            self._node(scope, "Clip", [self.one_of(scope.values), *bounds]).output[0]
        )

    def _call(self, scope: Scope) -> None:
        # ONNX Runtime forgets inside functions and inner graphs which overload is meant.
        able = [f for f in self.functions if scope.is_main or not f.proto.overload]
        function = self.one_of(able or self.functions[:1])
        proto = function.proto
        inputs = [self.one_of(scope.values) for _ in range(function.needed)]
        for _ in proto.input[function.needed :]:
            inputs.append(self.one_of([*scope.optional, ""]) if self.chance(0.7) else "")
        node = self._node(scope, proto.name, inputs, proto.domain, len(proto.output))
        node.overload = proto.overload
        for parameter in function.parameters:
            is_graph_in_graph = scope.depth > 1 and parameter.kind in ("branch", "body")
            if not is_graph_in_graph and self.chance(0.6):
                self.set(node, parameter.name, parameter.kind, scope)
        if len(node.output) > 1 and self.chance(0.3):
            node.output[0] = ""
        scope.values.extend(name for name in node.output if name)

    def _branching(self, scope: Scope) -> None:
        condition = self._condition(scope, self.one_of(scope.values))
        node = self._node(scope, "If", [condition])
        for name in ("then_branch", "else_branch"):
            if (
                not scope.depth
                and any(p.kind == "branch" for p in scope.parameters)
                and self.chance(0.5)
            ):
                self.set(node, name, "branch", scope)
            else:
                node.attribute.append(helper.make_attribute(name, self._inner(scope, [], [])))
        scope.values.append(node.output[0])

    def _looping(self, scope: Scope) -> None:
        count, goes_on = (
            self._known(scope, np.asarray(self.whole(0, 3))),
            self._known(scope, np.asarray(True)),
        )
        node = self._node(scope, "Loop", [count, goes_on, self.one_of(scope.values)])
        if not scope.depth and any(p.kind == "body" for p in scope.parameters) and self.chance(0.5):
            self.set(node, "body", "body", scope)
        else:
            node.attribute.append(helper.make_attribute("body", self._loop_body(scope)))
        scope.values.append(node.output[0])

    # -- graphs inside

    def _inner(
        self, scope: Scope, inputs: list[onnx.ValueInfoProto], carried: list[str]
    ) -> onnx.GraphProto:
        """A graph that reads what its inputs and the scope have, and gives its last value."""
        inner = Scope(
            [*scope.values, *carried], scope.parameters, scope.optional, scope.depth + 1,
            prefix=scope.prefix, names=scope.names,
        )  # fmt: skip
        if not inner.values:  # a graph that reads nothing begins with a constant
            tensor = self.random.uniform(-1, 1, SHAPE).astype(np.float32)
            inner.values.append(self._known(inner, tensor))
        for _ in range(self.whole(1, 3)):
            self.statement(inner)
        last = self._node(inner, "Identity", [inner.values[-1]]).output[0]
        outputs = [helper.make_tensor_value_info(last, TensorProto.FLOAT, SHAPE)]
        return helper.make_graph(inner.nodes, "inner", inputs, outputs)

    def _loop_body(self, scope: Scope) -> onnx.GraphProto:
        turn, going, state = scope.fresh(), scope.fresh(), scope.fresh()
        inputs = [
            helper.make_tensor_value_info(turn, TensorProto.INT64, []),
            helper.make_tensor_value_info(going, TensorProto.BOOL, []),
            helper.make_tensor_value_info(state, TensorProto.FLOAT, SHAPE),
        ]
        graph = self._inner(scope, inputs, [state])
        still = scope.fresh()
        graph.node.append(helper.make_node("Identity", [going], [still]))
        graph.output.insert(0, helper.make_tensor_value_info(still, TensorProto.BOOL, []))
        return graph

    def _branch_alone(self) -> onnx.GraphProto:
        """A branch that reads nothing outside: ONNX Runtime cannot infer types of what does."""
        return self._inner(self._alone(), [], [])

    def _loop_alone(self) -> onnx.GraphProto:
        return self._loop_body(self._alone())

    def _alone(self) -> Scope:
        """The scope of a graph that stands wherever a function puts it: its names are its own."""
        self.graphs += 1
        return Scope([], depth=2, prefix=f"g{self.graphs}.")

    # -- small values

    def _known(self, scope: Scope, data: Any) -> str:
        """A constant of the scope."""
        node = self._node(scope, "Constant", [])
        node.attribute.append(helper.make_attribute("value", numpy_helper.from_array(data)))
        return str(node.output[0])

    def _condition(self, scope: Scope, value: str) -> str:
        """Known when the model is imported, or not."""
        if self.chance(0.2):
            return self._known(scope, np.asarray(True))
        total = self._node(scope, "ReduceMax", [value])
        total.attribute.append(helper.make_attribute("keepdims", 0))
        level = self._known(scope, np.asarray(0.25, np.float32))
        return str(self._node(scope, "Greater", [total.output[0], level]).output[0])

    # -- functions

    def function(self, domain: str, name: str, overload: str) -> None:
        """Draws one more function, which may call those before."""
        parameters = []
        for position, kind in enumerate(self.random.choice(list(KINDS), self.whole(0, 4))):
            attribute = f"a{position}"
            has_default = kind in NEEDED or self.chance(0.6)
            default = self.literal(attribute, kind) if has_default else None
            parameters.append(Parameter(attribute, str(kind), default))
        # ONNX Runtime mixes up values of functions of one name, so those have names of their own.
        alike = sum(function.proto.name == name for function in self.functions)
        scope = Scope([], tuple(parameters), prefix="vwxyz"[alike])
        needed, optional = self.whole(1, 2), self.whole(0, 1)
        inputs = [scope.fresh() for _ in range(needed + optional)]
        scope.values, scope.optional = inputs[:needed], tuple(inputs[needed:])
        for _ in range(self.whole(2, 5)):
            self.statement(scope)
        made = [name for name in scope.values if name not in inputs]
        outputs = made[-self.whole(1, min(2, len(made))) :]
        proto = helper.make_function(
            domain, name, inputs, outputs, scope.nodes, _opsets(),
            [p.name for p in parameters if p.default is None],
            [p.default for p in parameters if p.default is not None], overload=overload,
        )  # fmt: skip
        self.functions.append(Function(proto, needed, tuple(parameters)))


def _opsets() -> list[onnx.OperatorSetIdProto]:
    versions: Mapping[str, int] = {"": OPSET, "own": 1, "other": 1, "com.microsoft": 1}
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def build(seed: int) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model with functions, and inputs for it by name."""
    drawing = Drawing(seed)
    for position in drawing.random.permutation(len(NAMES))[: drawing.whole(1, len(NAMES))]:
        domain, name = NAMES[position]
        if domain == "com.microsoft":
            continue
        for overload in ("", "b")[: drawing.whole(1, 2)]:
            drawing.function(domain, name, overload)
    if not drawing.functions:
        drawing.function("own", "f", "")
    scope = Scope([], is_main=True)
    inputs = [scope.fresh() for _ in range(drawing.whole(1, 2))]
    scope.values = [*inputs]
    scope.optional = tuple(
        drawing._known(scope, np.float32(drawing.random.uniform(-1, 1))) for _ in range(2)
    )
    for _ in range(drawing.whole(2, 5)):
        drawing._call(scope) if drawing.chance(0.6) else drawing.statement(scope)
    outputs = [name for name in scope.values if name not in inputs][-3:]
    protos = [function.proto for function in drawing.functions]
    graph = helper.make_graph(
        scope.nodes, f"functions_{seed}",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in outputs],
    )  # fmt: skip
    model = helper.make_model(
        graph, opset_imports=_opsets(), ir_version=10,
        functions=[protos[i] for i in drawing.random.permutation(len(protos))],
    )  # fmt: skip
    return model, {n: drawing.random.uniform(-1, 1, SHAPE).astype(np.float32) for n in inputs}
