"""Every size that follows from what an operation is defined to do is known, and is ONNX's own.

Over ONNX's backend tests, whose inputs from the second on are made constants.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import joulec
from compiler.errors import CompileError
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.frontend.host_segment import is_tensor
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph
from tests.support.onnx_cases import Case, load, names

# Operations whose sizes depend on the numbers they read.
BY_NUMBERS = (
    "NonZero", "Unique", "NonMaxSuppression", "ImageDecoder", "Range", "ConstantOfShape",
    "StringSplit", "StringNormalizer", "BlackmanWindow", "HammingWindow", "HannWindow",
    "MelWeightMatrix", "Compress",
)  # fmt: skip
# Tests whose loops end by a condition, or whose state grows, or that train.
BY_RUNNING = ("test_loop11", "test_range_", "test_gradient_of_", "test_if_opt")


def imported(case: Case) -> Graph:
    """The graph of a test, without any size that its file declares of what it makes."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    del model.graph.value_info[:]
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")
    weights = {tensor.name for tensor in model.graph.initializer}
    ports = [port for port in model.graph.input if port.name not in weights]
    for position, (port, data) in enumerate(zip(ports, case.data[0][0], strict=False)):
        if not isinstance(data, np.ndarray | np.generic) or np.asarray(data).dtype == object:
            continue
        port.type.tensor_type.shape.SetInParent()
        del port.type.tensor_type.shape.dim[:]
        for size in np.shape(data):
            port.type.tensor_type.shape.dim.add(dim_value=size)
        if position:
            tensor = onnx.numpy_helper.from_array(np.asarray(data), port.name)
            model.graph.initializer.append(tensor)
            model.graph.input.remove(port)
    return import_onnx(model).graph


def faults(case: Case) -> list[str]:
    """The sizes that are open though they follow from what is known, or that are wrong."""
    try:
        graph = imported(case)
    except CompileError:  # what is refused is for other tests
        return []
    found = []
    for node in graph:
        op = node.op
        if op == "Segment":
            model = node.attrs["model"]
            assert isinstance(model, bytes)
            op = onnx.ModelProto.FromString(model).graph.node[0].op_type
        known = all(graph.types[name].is_static for name in node.inputs if name)
        if op in BY_NUMBERS or not known or case.name.startswith(BY_RUNNING):
            continue
        for name in filter(None, node.outputs):
            if is_tensor(graph.types[name]) and not graph.types[name].is_static:
                found.append(f"{case.name}: {op} leaves {name} open")
    for name, wanted in zip(graph.outputs, case.data[0][1], strict=False):
        shape = graph.types[name].shape
        if shape is None or not isinstance(wanted, np.ndarray):
            continue
        if len(shape) != wanted.ndim or any(
            size not in (None, real) for size, real in zip(shape, wanted.shape, strict=True)
        ):
            found.append(f"{case.name}: {name} is taken for {shape}, it is {wanted.shape}")
    return found


@pytest.mark.slow
def test_all_of_onnx_s_own_tests() -> None:
    kinds = ("node", "simple", "pytorch-converted", "pytorch-operator")
    assert [fault for kind, name in names(kinds) for fault in faults(load(kind, name))] == []


# What makes y of x: float[2, 4, 6, 6]; all else is constant.
BY_RULE = {
    "GroupNormalization": "y = GroupNormalization<num_groups = 2>(x, four, four)",
    "MeanVarianceNormalization": "y = MeanVarianceNormalization<axes = [1]>(x)",
    "a window": "a = HannWindow(seven) y = Mul(a, one)",
    "a window of another kind": "a = BlackmanWindow<periodic = 0>(seven) y = Neg(a)",
    "MelWeightMatrix": "a = MelWeightMatrix(three, sixteen, rate, low, high) y = Neg(a)",
    "MaxUnpool": """a, b = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)
        y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(a, b, size)""",
    "Compress": "y = Compress<axis = -1>(x, some)",
    "Compress of all elements": "y = Compress(x, some)",
    "STFT": "a = Reshape(x, signal) y = STFT(a, three, , sixteen)",
    "STFT of both sides, by its window": """a = Reshape(x, signal)
        y = STFT<onesided = 0>(a, three, four)""",
}  # fmt: skip
CONSTANTS = {
    "four": np.ones(4, np.float32), "one": np.float32(1), "seven": np.int64(7),
    "three": np.int64(3), "sixteen": np.int64(16), "rate": np.int64(16000), "low": np.float32(0),
    "high": np.float32(8000), "size": np.array([2, 4, 7, 6]), "signal": np.array([2, 144, 1]),
    "some": np.array([True, False, True, True]),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_RULE)
def test_sizes_by_rule_are_those_of_onnx_runtime(case: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2,4,6,6] x) => (y) '
        f"{{ {BY_RULE[case]} }}"
    )
    for name, data in CONSTANTS.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data), name))
    feed = {"x": np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)}
    made = RuntimeModel(model.SerializeToString()).run(feed)["y"]
    assert import_onnx(model).graph.types["y"].shape == made.shape


def test_a_network_behind_a_group_normalization_is_placed() -> None:
    """A convolution behind it is no layer of unknown size, and runs where the one before does."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]> g (float[1,8,6,6] x) => (float[1,8,6,6] y) {
            a = Conv<pads = [1,1,1,1]>(x, w) n = GroupNormalization<num_groups = 4>(a, s, s)
            y = Conv<pads = [1,1,1,1]>(n, w) }""")
    rng = np.random.default_rng(0)
    for name, shape in (("w", (8, 8, 3, 3)), ("s", (8,))):
        data = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(data, name))
    made = joulec.compile(model, "diana_digital", options=joulec.Options(calibration_samples=2))
    assert [step.engine for step in made.plan.steps if step.macs] == ["digital", "digital"]
    assert "W003" not in [found.code for found in made.diagnostics]


LOOPS = {
    "a state that keeps its size, and slices of it": """
        k = Constant<value_int = 3>()
        y, z = Loop<body = b (int64 i, bool g, s) => (h, t, u) {
            h = Identity(g) t = Neg(s) u = Transpose(s) }>(k, , x)""",
    "a scan backwards along other axes": """
        e, y = Scan<num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-1],
            body = b (s, r) => (t, o) { t = Add(s, r) o = Concat<axis = 0>(s, r) }>(start, x)
        z = Neg(e)""",
    "a loop in a branch": """
        k = Constant<value_int = 2>()
        y = If(c)<then_branch = p () => (v) { v = Neg(x) }, else_branch = q () => (w) {
            w = Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g) t = Exp(s) }
            >(k, , x) }>
        z = Neg(y)""",
}


@pytest.mark.parametrize("case", LOOPS)
def test_sizes_behind_loops_are_those_of_onnx_runtime(case: str) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2,3] x, bool c) => (y, z) '
        f"{{ start = Constant<value_floats = [1.0, 2.0]>() {LOOPS[case]} }}"
    )
    graph = import_onnx(model).graph
    feed = {"x": np.ones((2, 3), np.float32), "c": np.array(False)}
    made = RuntimeModel(model.SerializeToString()).run(feed)
    assert {name: graph.types[name].shape for name in graph.outputs} == {
        name: data.shape for name, data in made.items()
    }


def test_a_loop_that_its_condition_ends_has_no_number_of_slices() -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 21]> g (float[2,3] x, bool c) => (y, z) {
            k = Constant<value_int = 3>() two = Constant<value_int = 2>()
            y, z = Loop<body = b (int64 i, bool g, s) => (h, t, u) {
                h = Less(i, two) t = Neg(s) u = Neg(s) }>(k, c, x) }""")
    graph = import_onnx(model).graph
    assert [graph.types[name].shape for name in graph.outputs] == [(2, 3), (None, 2, 3)]
