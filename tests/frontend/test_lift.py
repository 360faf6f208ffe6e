"""Every operation whose form or meaning changed between opsets: the graph does what ONNX Runtime
does with the old node.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper

from compiler.execute.interpreter import Interpreter, Model
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.verify import verify

Data = npt.NDArray[Any]
RANDOM = np.random.default_rng(5)


def normal(*shape: int) -> Data:
    return RANDOM.standard_normal(shape).astype(np.float32)


def positive(*shape: int) -> Data:
    return RANDOM.uniform(0.5, 2, shape).astype(np.float32)


def ints(*values: int) -> Data:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """One node of an old opset: inputs that vary, then constants, and what it becomes."""

    op: str
    opset: int
    inputs: tuple[Data | None, ...]
    constants: tuple[Data | None, ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    becomes: tuple[str, ...] = ()

    def model(self) -> tuple[onnx.ModelProto, dict[str, Data]]:
        feed = {f"x{i}": data for i, data in enumerate(self.inputs) if data is not None}
        fixed = {f"c{i}": data for i, data in enumerate(self.constants) if data is not None}
        names = [f"x{i}" if f"x{i}" in feed else "" for i in range(len(self.inputs))]
        names += [f"c{i}" if f"c{i}" in fixed else "" for i in range(len(self.constants))]
        outputs = [f"y{i}" for i in range(self.outputs)]
        node = helper.make_node(self.op, names, outputs, name="node", **self.attrs)
        schema = onnx.defs.get_schema(self.op, self.opset)
        graph = helper.make_graph(
            [node],
            "one_node",
            [
                helper.make_tensor_value_info(
                    n, helper.np_dtype_to_tensor_dtype(d.dtype), list(d.shape)
                )
                for n, d in feed.items()
            ],
            [
                helper.make_tensor_value_info(name, self.output_type(schema, i), None)
                for i, name in enumerate(outputs)
            ],
            [onnx.numpy_helper.from_array(data, name) for name, data in fixed.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=7), feed

    def output_type(self, schema: onnx.defs.OpSchema, index: int) -> int:
        """The output's element type: the one input's of the same type variable, or the only one
        allowed.
        """
        formal = schema.outputs[min(index, len(schema.outputs) - 1)]
        for i, data in enumerate([*self.inputs, *self.constants]):
            there = schema.inputs[min(i, len(schema.inputs) - 1)]
            if data is not None and there.type_str == formal.type_str:
                return int(helper.np_dtype_to_tensor_dtype(data.dtype))
        if "to" in self.attrs or "dtype" in self.attrs:
            return int(self.attrs.get("to", 0) or self.attrs["dtype"])
        (only,) = formal.types
        return int(onnx.TensorProto.DataType.Value(only[len("tensor(") : -1].upper()))


IMAGE = normal(1, 3, 6, 5)
CHANNELS = tuple(positive(4) for _ in range(4))
AXES: list[tuple[int, dict[str, Any]]] = [
    (7, {"axes": [1]}),
    (11, {"axes": [-1, 0], "keepdims": 0}),
    (12, {}),
]
REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

CASES = [
    Case("Clip", 7, (normal(4, 5),), (), {"min": -0.5, "max": 0.5}, becomes=("Clip",)),
    Case("Clip", 7, (normal(4, 5),), (), {"min": 0.0}),
    Case("Clip", 10, (normal(4, 5),)),
    Case(
        "Clip", 11, (normal(4, 5),), (np.array(-1, np.float32), np.array(1, np.float32)),
        becomes=("Clip",),
    ),
    *(
        Case(f"Reduce{kind}", opset, (positive(2, 3, 4),), (), attrs)
        for kind in REDUCTIONS
        for opset, attrs in AXES
    ),
    Case("ReduceSum", 13, (normal(2, 3),), (ints(1),), becomes=("ReduceSum",)),
    Case("ReduceMean", 17, (normal(2, 3),), (), {"axes": [1]}, becomes=("ReduceMean",)),
    Case("Squeeze", 7, (normal(1, 3, 1),), (), {"axes": [0]}),
    Case("Squeeze", 11, (normal(1, 3, 1),), (), {"axes": [-1]}),
    Case("Squeeze", 12, (normal(1, 3, 1),)),
    Case("Unsqueeze", 7, (normal(3, 2),), (), {"axes": [0, 3]}),
    Case("Unsqueeze", 12, (normal(3, 2),), (), {"axes": [-1]}),
    Case("Slice", 7, (normal(4, 5),), (), {"starts": [1, 0], "ends": [3, 1000], "axes": [1, 0]}),
    Case("Slice", 9, (normal(4, 5),), (), {"starts": [-3], "ends": [-1]}),
    Case("Slice", 10, (normal(4, 5),), (ints(0), ints(4), ints(1), ints(2)), becomes=("Slice",)),
    Case("Pad", 7, (normal(2, 3),), (), {"pads": [0, 1, 1, 0], "value": 2.5}),
    Case("Pad", 10, (normal(2, 3),), (), {"pads": [0, 2, 0, 1], "mode": "reflect"}),
    Case("Pad", 10, (normal(2, 3),), (), {"pads": [0, -1, 0, 1], "mode": "edge"}),
    Case("Pad", 11, (normal(2, 3),), (ints(0, 1, 1, 0), np.array(1, np.float32)), becomes=("Pad",)),
    Case("Split", 7, (normal(6, 2),), (), {"axis": 0}, 3),
    Case("Split", 11, (normal(6, 2),), (), {"axis": -2, "split": [1, 5]}, 2),
    Case("Split", 13, (normal(6, 2),), (), {}, 2),
    Case("Split", 13, (normal(6, 2),), (ints(4, 2),), {}, 2),
    Case("Dropout", 7, (normal(3),), (), {"ratio": 0.4}, becomes=("Identity",)),
    Case("Dropout", 10, (normal(3),), outputs=2),
    Case("Dropout", 12, (normal(3),), (np.array(0.3, np.float32),), becomes=("Dropout",)),
    Case("TopK", 7, (normal(3, 7),), (), {"k": 2, "axis": 1}, 2),
    Case("TopK", 10, (normal(3, 7),), (ints(3),), {}, 2),
    Case("TopK", 11, (normal(3, 7),), (ints(3),), {"largest": 0, "axis": 0}, 2),
    *(
        Case(op, opset, (normal(2, 3, 4),), (), attrs)
        for op in ("Softmax", "LogSoftmax", "Hardmax")
        for opset in (7, 11, 12)
        for attrs in ({}, {"axis": 0}, {"axis": 1}, {"axis": 2})
    ),
    Case("Softmax", 11, (normal(2, 3, 4),), (), {"axis": -2}),
    Case("Softmax", 9, (normal(2, 3),), becomes=("Softmax",)),
    Case("Softmax", 9, (normal(2, 3, 4),), becomes=("Reshape", "Softmax", "Reshape")),
    Case("Softmax", 13, (normal(2, 3, 4),), (), {"axis": 1}, becomes=("Softmax",)),
    Case("BatchNormalization", 7, (normal(2, 4, 3),), CHANNELS, {"epsilon": 0.01}),
    Case("BatchNormalization", 9, (normal(2, 4, 3),), CHANNELS),
    Case("BatchNormalization", 14, (normal(2, 4, 3),), CHANNELS, becomes=("BatchNormalization",)),
    Case("Upsample", 7, (IMAGE,), (), {"scales": [1.0, 1.0, 2.0, 3.0]}, becomes=("Resize",)),
    Case("Upsample", 8, (IMAGE,), (), {"scales": [1.0, 1.0, 2.0, 2.0], "mode": "linear"}),
    Case("Upsample", 9, (IMAGE,), (np.array([1, 1, 2.5, 1.5], np.float32),)),
    Case("Upsample", 9, (IMAGE,), (np.array([1, 1, 2, 1.6], np.float32),), {"mode": "linear"}),
    Case("Resize", 10, (IMAGE,), (np.array([1, 1, 2, 1.5], np.float32),), becomes=("Resize",)),
    Case("Resize", 10, (IMAGE,), (np.array([1, 1, 0.5, 0.7], np.float32),), becomes=("Resize",)),
    Case("Resize", 10, (IMAGE,), (np.array([1, 1, 0.5, 2], np.float32),), becomes=("Segment",)),
    Case("Resize", 10, (IMAGE,), (np.array([1, 1, 0.6, 2], np.float32),), {"mode": "linear"}),
    Case(
        "Resize", 11, (IMAGE,),
        (np.zeros(0, np.float32), np.zeros(0, np.float32), ints(1, 3, 9, 4)),
    ),
    *(
        Case(
            "Resize", 11, (IMAGE,),
            (np.zeros(0, np.float32), np.array([1, 1, 1.7, 0.6], np.float32)),
            {"coordinate_transformation_mode": transform, "mode": mode, "nearest_mode": rounding},
        )
        for transform in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
        for mode, rounding in [
            ("nearest", "floor"), ("nearest", "round_prefer_floor"), ("linear", "floor"),
        ]
    ),
    Case(
        "Resize", 11, (IMAGE,), (np.zeros(0, np.float32), np.array([1, 1, 2, 0.5], np.float32)),
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
        becomes=("Resize",),
    ),
    Case("Resize", 13, (IMAGE,), (None, np.array([1, 1, 2, 2], np.float32)), becomes=("Resize",)),
    Case(
        "Resize", 18, (IMAGE,), (None, None, ints(1, 3, 3, 9)), {"mode": "cubic"},
        becomes=("Resize",),
    ),
    Case(
        "RoiAlign", 10, (IMAGE, np.array([[0, 0, 3, 4], [1, 1, 4, 5]], np.float32)), (ints(0, 0),),
        {"output_height": 2, "output_width": 3}, becomes=("Segment",),
    ),
    Case(
        "RoiAlign", 16, (IMAGE, np.array([[0, 0, 3, 4]], np.float32)), (ints(0),),
        {"output_height": 2, "output_width": 3}, becomes=("Segment",),
    ),
    *(
        Case(
            "GridSample", 16, (IMAGE, RANDOM.uniform(-1, 1, (1, 2, 3, 2)).astype(np.float32)), (),
            {"mode": mode}, becomes=("GridSample",),
        )
        for mode in ("bilinear", "bicubic", "nearest")
    ),
    Case("DFT", 17, (normal(1, 6, 2, 1),), (), {"axis": 2}, becomes=("DFT",)),
    Case("DFT", 17, (normal(1, 8, 1),), (), {"onesided": 1}, becomes=("DFT",)),
    Case(
        "Scatter", 9, (normal(3, 3),), (np.array([[1, 0, 2]]), normal(1, 3)),
        becomes=("ScatterElements",),
    ),
    Case(
        "ScatterElements", 11, (normal(3, 3),), (np.array([[1, 0, 2]]), normal(1, 3)), {"axis": 1},
    ),
    Case(
        "ScatterND", 11, (normal(3, 3),), (np.array([[1], [0]]), normal(2, 3)),
        becomes=("ScatterND",),
    ),
    Case("OneHot", 9, (ints(0, 2, 1),), (ints(4), np.array([0, 1], np.float32)), {"axis": 0}),
    Case(
        "OneHot", 11, (ints(0, -2, 1),), (ints(4), np.array([0, 1], np.float32)),
        becomes=("OneHot",),
    ),
    Case("Gather", 7, (normal(4, 3),), (ints(2, 0),), {"axis": 1}, becomes=("Gather",)),
    Case("Gather", 11, (normal(4, 3),), (ints(-1, 0),), becomes=("Gather",)),
    Case("GatherND", 11, (normal(4, 3),), (np.array([[1, 2]]),), becomes=("GatherND",)),
    Case("Cast", 7, (normal(4) * 9,), (), {"to": onnx.TensorProto.INT32}, becomes=("Cast",)),
    Case("Cast", 9, (ints(0, 5),), (), {"to": onnx.TensorProto.BOOL}, becomes=("Cast",)),
    Case("MaxPool", 7, (IMAGE,), (), {"kernel_shape": [2, 3], "pads": [0, 1, 1, 0]}),
    Case("MaxPool", 8, (IMAGE,), (), {"kernel_shape": [2, 2], "strides": [2, 1]}, 2),
    Case("MaxPool", 10, (IMAGE,), (), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    Case("MaxPool", 12, (IMAGE,), (), {"kernel_shape": [3, 3], "auto_pad": "SAME_LOWER"}),
    Case("AveragePool", 7, (IMAGE,), (), {"kernel_shape": [2, 3], "pads": [0, 1, 1, 0]}),
    Case(
        "AveragePool", 7, (IMAGE,), (),
        {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1},
    ),
    Case(
        "AveragePool", 10, (IMAGE,), (),
        {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1},
    ),
    Case(
        "AveragePool", 11, (IMAGE,), (),
        {
            "kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1,
            "count_include_pad": 1,
        },
    ),
    Case("LpPool", 7, (IMAGE,), (), {"kernel_shape": [2, 2], "p": 2}, becomes=("LpPool",)),
    Case("Gemm", 7, (normal(2, 3),), (normal(3, 4), normal(4)), becomes=("Gemm",)),
    Case("Gemm", 11, (normal(2, 3),), (normal(4, 3),), {"transB": 1, "alpha": 0.5}),
    *(
        Case(
            op, opset, (normal(5, 2, 3),), (normal(1, gates * 4, 3), normal(1, gates * 4, 4)),
            {"hidden_size": 4}, 2,
        )
        for op, gates in (("RNN", 1), ("GRU", 3), ("LSTM", 4))
        for opset in (7, 14)
    ),
    Case(
        "GRU", 7, (normal(5, 2, 3),), (normal(1, 12, 3), normal(1, 12, 4)),
        {"hidden_size": 4, "linear_before_reset": 1},
    ),
    Case("EyeLike", 9, (normal(3, 4),), (), {"k": 1, "dtype": 7}, becomes=("EyeLike",)),
    Case("Pow", 7, (positive(3),), (np.array(2.5, np.float32),), becomes=("Pow",)),
    Case("Pow", 12, (positive(3),), (ints(2),), becomes=("Pow",)),
    Case("Mod", 10, (ints(-7, 5, 9),), (ints(3, -3, 4),), becomes=("Mod",)),
    Case("Mod", 10, (normal(3),), (positive(3),), {"fmod": 1}, becomes=("Mod",)),
    Case("Mod", 28, (normal(3),), (positive(3),), becomes=("Segment",)),
    Case("Reshape", 7, (normal(2, 6),), (ints(0, 3, -1),), becomes=("Reshape",)),
    Case("Flatten", 7, (normal(2, 3, 4),), (), {"axis": 2}, becomes=("Flatten",)),
    Case("PRelu", 7, (normal(1, 4, 3),), (positive(4, 1),), becomes=("PRelu",)),
    Case("ArgMax", 7, (normal(3, 4),), (), {"axis": 1, "keepdims": 0}, becomes=("ArgMax",)),
    Case("ArgMin", 11, (normal(3, 4),), (), {"axis": -1}, becomes=("ArgMin",)),
    Case("DepthToSpace", 7, (normal(1, 8, 2, 3),), (), {"blocksize": 2}, becomes=("DepthToSpace",)),
    Case(
        "ConvTranspose", 7, (IMAGE,), (normal(3, 2, 3, 3),),
        {"strides": [2, 2], "output_padding": [1, 1]},
    ),
    Case(
        "Conv", 7, (IMAGE,), (normal(4, 3, 3, 3), normal(4)), {"auto_pad": "SAME_UPPER"},
        becomes=("Conv",),
    ),
    Case("InstanceNormalization", 7, (IMAGE,), (positive(3), normal(3))),
    Case("LRN", 7, (IMAGE,), (), {"size": 3}, becomes=("LRN",)),
    Case("MeanVarianceNormalization", 9, (IMAGE,)),
    Case("Max", 7, (normal(3), normal(3)), becomes=("Max",)),
    Case("Sum", 8, (normal(2, 3), normal(3)), becomes=("Sum",)),
    Case("CumSum", 11, (normal(3, 4),), (np.array(1),), {"reverse": 1}, becomes=("CumSum",)),
    Case("Range", 11, (), (np.array(1), np.array(9), np.array(2))),
    Case("Shape", 7, (normal(2, 3),), becomes=()),
    Case("HardSigmoid", 7, (normal(9) * 4,), becomes=("HardSigmoid",)),
    Case("Elu", 7, (normal(9),), becomes=("Elu",)),
    Case(
        "QuantizeLinear", 10, (normal(3, 4),),
        (np.array(0.02, np.float32), np.array(120, np.uint8)),
    ),
    Case("QuantizeLinear", 13, (normal(3, 4),), (positive(4), np.zeros(4, np.int8)), {"axis": 1}),
    Case(
        "DequantizeLinear", 10, (np.array([1, 250], np.uint8),),
        (np.array(0.02, np.float32), np.array(120, np.uint8)),
    ),
]  # fmt: skip


def name_of(case: Case) -> str:
    shown = "-".join(f"{key}={value}" for key, value in case.attrs.items())
    return f"{case.op}-{case.opset}-{shown}"[:60]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_lifted_node_does_what_the_old_one_did(case: Case) -> None:
    model, feed = case.model()
    # ONNX Runtime, but for what it is known to get wrong.
    reference = Model(model.SerializeToString())
    wanted = [reference.run(feed)[name] for name in reference.outputs]
    graph = import_onnx(model).graph
    verify(graph)
    found = Interpreter(graph).run(feed)
    for name, data in zip(graph.outputs, wanted, strict=True):
        assert graph.types[name].dtype == data.dtype.name
        assert graph.types[name].shape == data.shape
        np.testing.assert_allclose(found[name], data, rtol=1e-6, atol=1e-7)
    if case.becomes:
        assert tuple(node.op for node in graph) == case.becomes


def test_range_takes_lists_of_one_as_onnx_runtime_does() -> None:
    case = Case("Range", 11, (ints(1), ints(9), ints(2)))
    model, feed = case.model()
    graph = import_onnx(model).graph
    assert [node.op for node in graph] == ["Squeeze", "Squeeze", "Squeeze", "Range"]
    np.testing.assert_array_equal(Interpreter(graph).run(feed)["y0"], [1, 3, 5, 7])


def test_every_operation_of_the_past_is_taken_over_or_has_a_lift_or_is_kept_whole() -> None:
    """A new opset of onnx that changes an operation shows here: someone must decide."""
    from compiler.frontend.lift_rules import LIFTS
    from compiler.ir.graph import OPSET

    undecided = []
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain or schema.name in LIFTS or schema.name in ("If", "Loop", "Scan"):
            continue
        try:
            new = onnx.defs.get_schema(schema.name, OPSET, "")
            active = onnx.defs.get_schema(schema.name, 7, "")
        except onnx.defs.SchemaError:
            continue
        if not active.since_version <= schema.since_version <= OPSET:
            continue
        names = [formal.name for formal in schema.inputs]
        kept = [formal.name for formal in new.inputs][: len(names)]
        gone = {
            name
            for name, attribute in schema.attributes.items()
            if name not in new.attributes
            or attribute.default_value != new.attributes[name].default_value
        }
        if len(names) > len(new.inputs) or gone:
            undecided.append((schema.name, schema.since_version, names, kept, gone))
    assert undecided == []
