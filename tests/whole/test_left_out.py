"""An optional input or output that a node leaves out ('') is no value, wherever the node stands."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import joulec
from compiler.choices import Precision
from compiler.execute.onnx_runtime import RuntimeModel

OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)]
X = np.random.default_rng(0).uniform(-1, 1, (3, 1, 2)).astype(np.float32)
# For every operation of ONNX with an optional output that ONNX Runtime runs (training left out):
# its attributes and the shapes of all its inputs from the second on.
WITH_OPTIONAL_OUTPUTS: dict[str, tuple[dict[str, Any], list[tuple[int, ...] | str]]] = {
    "RNN": ({"hidden_size": 4}, [(1, 4, 2), (1, 4, 4), (1, 8), "length", (1, 1, 4)]),
    "GRU": ({"hidden_size": 4}, [(1, 12, 2), (1, 12, 4), (1, 24), "length", (1, 1, 4)]),
    "LSTM": (
        {"hidden_size": 4},
        [(1, 16, 2), (1, 16, 4), (1, 32), "length", (1, 1, 4), (1, 1, 4), (1, 12)],
    ),
    "MaxPool": ({"kernel_shape": [2]}, []),
    "LayerNormalization": ({}, [(2,), (2,)]),
    "Dropout": ({}, ["ratio"]),
    "Unique": ({"sorted": 1}, []),
}
NOT_HERE = {
    "Attention": "tests/whole/test_conformance.py has them",
    "BatchNormalization": "outputs of training",
    "SoftmaxCrossEntropyLoss": "a loss of training",
}


class Drawing:
    """Nodes that leave out whatever they can, and the values that they make."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.made: list[str] = []
        self.random = np.random.default_rng(1)

    def weight(self, shape: tuple[int, ...] | str) -> str:
        """A constant: random numbers of a shape, the lengths of sequences, or a share."""
        if isinstance(shape, str):
            return self._stored(
                {"length": np.array([2], np.int32), "ratio": np.array(0.5, "f")}[shape]
            )
        return self._stored(self.random.uniform(-0.5, 0.5, shape).astype(np.float32))

    def _stored(self, data: npt.NDArray[Any]) -> str:
        self.weights.append(numpy_helper.from_array(data, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def all_of(self, op: str) -> None:
        """Every choice of optional outputs, with all optional inputs, and with none but the last.

        A Clip without a lower bound stands before each.
        """
        attributes, shapes = WITH_OPTIONAL_OUTPUTS[op]
        schema = onnx.defs.get_schema(op, 21)
        wanted = [(False, True) if o.option == OPTIONAL else (True,) for o in schema.outputs]
        for outputs, sparse in product(product(*wanted), (False, True)):
            if not any(outputs):
                continue
            inputs = [self.clipped("x")]
            for position, shape in enumerate(shapes, start=1):
                needed = schema.inputs[position].option != OPTIONAL or position == len(shapes)
                inputs.append("" if sparse and not needed else self.weight(shape))
            names = [
                f"{op}{len(self.nodes)}.{i}" if is_made else "" for i, is_made in enumerate(outputs)
            ]
            while not names[-1]:
                names.pop()
            self.nodes.append(helper.make_node(op, inputs, names, **attributes))
            self.made += filter(None, names)

    def clipped(self, value: str) -> str:
        name = f"clipped{len(self.nodes)}"
        top = self._stored(np.array(0.75, np.float32))
        self.nodes.append(helper.make_node("Clip", [value, "", top], [name]))
        return name


def _values(names: Iterable[str]) -> list[onnx.ValueInfoProto]:
    return [onnx.ValueInfoProto(name=name) for name in names]


def _model(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], outputs: list[str], **more: Any
) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, X.shape)
    graph = helper.make_graph(nodes, "g", [x], _values(outputs), weights)
    return helper.make_model(graph, opset_imports=OPSETS, ir_version=10, **more)


def plain(drawn: Drawing) -> onnx.ModelProto:
    return _model(drawn.nodes, drawn.weights, drawn.made)


def in_a_branch(drawn: Drawing) -> onnx.ModelProto:
    """In both branches of an If that the input decides."""
    inner = helper.make_graph(drawn.nodes, "then", [], _values(drawn.made), drawn.weights)
    other = onnx.GraphProto.FromString(inner.SerializeToString())
    other.name = "else"
    condition = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("IsNaN", ["sum"], ["is_nan"]),
    ]
    outputs = [f"out.{name}" for name in drawn.made]
    choice = helper.make_node("If", ["is_nan"], outputs, then_branch=inner, else_branch=other)
    return _model([*condition, choice], [], outputs)


def in_a_function(drawn: Drawing) -> onnx.ModelProto:
    """In a function whose first output, and every second behind it, the call leaves out."""
    weights = [helper.make_node("Constant", [], [w.name], value=w) for w in drawn.weights]
    function = helper.make_function(
        "own", "all", ["x"], drawn.made, [*weights, *drawn.nodes], OPSETS[:1]
    )
    names = [
        "" if i % 2 == 0 and i + 1 < len(drawn.made) else f"out.{n}"
        for i, n in enumerate(drawn.made)
    ]
    call = helper.make_node("all", ["x"], names, domain="own")
    return _model([call], [], [name for name in names if name], functions=[function])


FORMS = {"plain": plain, "in a branch": in_a_branch, "in a function": in_a_function}


def test_every_operation_with_optional_outputs_is_here() -> None:
    found = {
        schema.name
        for schema in onnx.defs.get_all_schemas()
        if not schema.domain and any(output.option == OPTIONAL for output in schema.outputs)
    }
    assert found == {*WITH_OPTIONAL_OUTPUTS, *NOT_HERE}


@pytest.mark.parametrize(
    ("precision", "form"),
    [
        *(("float", form) for form in FORMS),
        ("integer", "plain"),
        pytest.param("integer", "in a branch", marks=pytest.mark.slow),
        pytest.param("integer", "in a function", marks=pytest.mark.slow),
    ],
)
def test_what_is_left_out_is_no_value(form: str, precision: Precision) -> None:
    drawn = Drawing()
    for op in WITH_OPTIONAL_OUTPUTS:
        drawn.all_of(op)
    model = FORMS[form](drawn)
    wanted = RuntimeModel(model.SerializeToString()).run({"x": X})
    made = joulec.compile(model, "diana_digital", options=joulec.Options(precision=precision))
    found = joulec.run(made, {"x": X})
    for (name, one), other in zip(wanted.items(), found, strict=True):
        tolerance = 1e-6 if precision == "float" else 0.05
        np.testing.assert_allclose(other, one, rtol=0, atol=tolerance, err_msg=name)
