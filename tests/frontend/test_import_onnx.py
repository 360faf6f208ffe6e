"""Import: real models keep their numbers, sizes are bound, and whatever is broken gets one plain
line with its code.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import helper, numpy_helper, parser

import joulec
from compiler.errors import CompileError, ModelError, UsageError
from compiler.execute.interpreter import Interpreter
from compiler.execute.session import open_session
from compiler.frontend.import_onnx import Imported, import_onnx
from compiler.ir.protos import dtype_name, dtype_number
from compiler.ir.verify import verify

Data = npt.NDArray[Any]

BINDS = {
    "ppocr_cls_mbv3_op11.onnx": {"x:2": 48, "x:3": 192},
    "silero_vad_16k_lstm_if_op15.onnx": {"sequence": 576},
}

# The mean of 64 integers is often half a step; how the float sum rounds decides one step ahead of
# the classifier, and Softmax enlarges it.
STEPS = {"mlperf-tiny/ic_int8_qop.onnx": 12}

MODELS = [
    *(
        f"mlperf-tiny/{n}_{k}.onnx"
        for n in ("ad", "ic", "kws", "vww")
        for k in ("float", "int8_qdq", "int8_qop")
    ),
    "mlperf-tiny/kws_hybrid_float.onnx", "mlperf-tiny/sww_int8_qdq.onnx",
    "mlperf-tiny/sww_int8_qop.onnx", "diverse/ad_gemm_bn_op11.onnx",
    "diverse/basic_pitch_nmp_op15.onnx", "diverse/blazeface_front128_op12.onnx",
    "diverse/cifar_mbv2like_bn_clip_op11.onnx", "diverse/mnist8_cntk_op8.onnx",
    "diverse/ppocr_cls_mbv3_op11.onnx", "diverse/resnet8_fp16_op13.onnx",
    "diverse/resnet8_qdq_tf2onnx_op15.onnx", "diverse/silero_vad_16k_lstm_if_op15.onnx",
    "diverse/digits/digits_mlp_op7.onnx", "diverse/digits/digits_cnn_bn_op9.onnx",
    "diverse/digits/digits_gru_op13.onnx", "diverse/digits/digits_bilstm_op14.onnx",
    "diverse/digits/digits_loop_op16.onnx", "diverse/digits/digits_vit_op20.onnx",
    "diverse/digits/digits_mlp_extdata/model.onnx",
]  # fmt: skip


def sample(imported: Imported) -> dict[str, Data]:
    random = np.random.default_rng(0)
    feed: dict[str, Data] = {}
    for name in imported.graph.inputs:
        kind = imported.graph.types[name]
        if name == "sr":
            feed[name] = np.array(16000, kind.dtype)
        elif "float" in kind.dtype:
            feed[name] = random.standard_normal(kind.sizes).astype(kind.dtype)
        else:
            feed[name] = random.integers(-100, 100, kind.sizes).astype(kind.dtype)
    return feed


@pytest.mark.parametrize("file", MODELS)
def test_real_models_keep_their_numbers(file: str, models_folder: Path) -> None:
    path = models_folder / file
    imported = import_onnx(path, BINDS.get(path.name))
    graph = imported.graph
    verify(graph)
    feed = sample(imported)
    session = open_session(path)
    wanted = session.run(list(graph.outputs), feed)
    found = Interpreter(graph).run(feed)
    for name, data in zip(graph.outputs, wanted, strict=True):
        assert graph.types[name].dtype == data.dtype.name
        if data.dtype.kind == "f":
            np.testing.assert_allclose(found[name], data, rtol=1e-5, atol=1e-5)
        else:
            assert np.abs(found[name].astype(int) - data.astype(int)).max() <= STEPS.get(file, 1)
    host = {name for node in graph if node.op == "Segment" for name in node.outputs}
    reached = set(host)
    for node in graph:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
    assert all(kind.is_static for name, kind in graph.types.items() if name not in reached)
    names = [node.name for node in onnx.load(path, load_external_data=False).graph.node]
    assert [name for name in names if name] == [name for name in graph.ledger if name in names]
    standing = {name for node in graph for name in node.origin}
    assert standing == {name for name, fate in graph.ledger.items() if not fate}
    assert not any(data.flags.writeable for data in graph.constants.values())


@pytest.mark.parametrize(
    ("file", "code", "says"),
    [
        ("uint8_conv_type_error.onnx", "M004", "tensor(uint8)"),
        ("brevitas_quant_no_opset_import.onnx", "M003", "onnx.brevitas"),
    ],
)
def test_faulty_models_are_named(file: str, code: str, says: str, models_folder: Path) -> None:
    line = refusal(models_folder / "must-diagnose" / file)
    assert line.startswith(f"error[{code}]: node ")
    assert says in line


def text(body: str) -> onnx.ModelProto:
    """A model of opset 17 from ONNX's own text form."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> g {body}')
    assert isinstance(model, onnx.ModelProto)
    return model


def refusal(model: Any, bind: dict[str, int] | None = None, **limits: Any) -> str:
    with pytest.raises(CompileError) as caught:
        import_onnx(model, bind, **limits)
    line = caught.value.line()
    assert "\n" not in line
    return line


# Sizes


def test_a_free_batch_becomes_one_without_a_word() -> None:
    model = text("(float[N, 3] x, float[2, N, 3] s) => (float[2, N, 3] y) { y = Add(x, s) }")
    imported = import_onnx(model)
    assert imported.graph.types["y"].shape == (2, 1, 3)
    assert imported.graph.batch_axes == {"x": 0, "s": 1, "y": 1}
    assert imported.notes == ()


def test_another_free_size_must_be_bound_by_its_name() -> None:
    model = text("(float[1, T] x) => (float[1, T] y) { y = Relu(x) }")
    line = refusal(model)
    assert line.startswith("error[U003]: the size of axis 1 ('T') of input 'x' is free")
    assert line.endswith("add --bind T=SIZE")
    graph = import_onnx(model, {"T": 7}).graph
    assert graph.types["y"].shape == (1, 7)
    assert graph.batch_axes == {"x": 0, "y": 0}


def test_a_size_without_a_name_is_bound_by_input_and_axis() -> None:
    model = text("(float[?, 3, ?] x) => (float[?, 3, ?] y) { y = Relu(x) }")
    assert refusal(model).endswith("add --bind x:2=SIZE")
    assert import_onnx(model, {"x:0": 2, "x:2": 5}).graph.types["y"].shape == (2, 3, 5)


@pytest.mark.parametrize(
    ("bind", "says"), [({"M": 3}, "no free size 'M'"), ({"N": -1}, "0 or more")]
)
def test_a_wrong_bind_is_a_usage_error(bind: dict[str, int], says: str) -> None:
    line = refusal(text("(float[N] x) => (float[N] y) { y = Relu(x) }"), bind)
    assert line.startswith("error[U004]")
    assert says in line


def test_a_size_may_be_bound_to_0() -> None:
    model = text("(float[N] x) => (float[N] y) { y = Relu(x) }")
    assert import_onnx(model, {"N": 0}).graph.types["y"].shape == (0,)


def test_chains_of_shapes_become_numbers() -> None:
    model = text("""(float[N, 3, 4] x) => (float[A, B] y)
    <int64[1] zero = {0}, int64[1] rest = {-1}, int64[1] one = {1}> {
      shape = Shape(x)
      first = Slice(shape, zero, one)
      target = Concat<axis = 0>(first, rest)
      y = Reshape(x, target)
    }""")
    graph = import_onnx(model).graph
    assert [node.op for node in graph] == ["Reshape"]
    assert graph.types["y"].shape == (1, 12)
    assert dict(graph.ledger) == {
        "Shape_0": "folded", "Slice_1": "folded", "Concat_2": "folded", "Reshape_3": ""
    }  # fmt: skip


# What is taken over


def test_what_no_output_needs_is_left_out() -> None:
    model = text("(float[2] x) => (float[2] y) { z = Exp(x)  y = Relu(x) }")
    graph = import_onnx(model).graph
    assert dict(graph.ledger) == {"Exp_0": "removed", "Relu_1": ""}
    assert "z" not in graph.types


def test_nodes_out_of_order_are_sorted() -> None:
    model = text("(float[2] x) => (float[2] y) { a = Relu(x)  y = Exp(a) }")
    model.graph.node.reverse()
    graph = import_onnx(model).graph
    assert [node.op for node in graph] == ["Relu", "Exp"]
    assert list(graph.ledger) == ["Exp_0", "Relu_1"]


def test_names_given_twice_become_two() -> None:
    model = text("(float[2] x) => (float[2] y) { a = Relu(x)  y = Exp(a) }")
    for node in model.graph.node:
        node.name = "n"
    assert [node.name for node in import_onnx(model).graph] == ["n", "n.1"]


def test_a_local_function_is_written_out_in_the_opset_of_the_model() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13, "own" : 1]>
        g (float[2, 3] x) => (float[2, 3] y) { y = own.twice(x) }
        <domain: "own", opset_import: ["" : 11]>
        twice (a) => (b) { b = Add(a, a) }""")
    graph = import_onnx(model).graph
    assert [node.op for node in graph] == ["Add"]


def test_a_branch_captures_outer_values_as_inputs() -> None:
    model = text("""(bool c, float[2] x) => (float[2] y) {
      a = Relu(x)
      y = If (c) <
        then_branch = t () => (float[2] p) { p = Exp(a) },
        else_branch = e () => (float[2] q) { q = Neg(x) }
      >
    }""")
    graph = import_onnx(model).graph
    segment = graph.producer["y"]
    assert (segment.op, segment.inputs) == ("Segment", ("c", "a", "x"))
    feed = {"c": np.array(True), "x": np.array([-1, 1], np.float32)}
    np.testing.assert_allclose(Interpreter(graph).run(feed)["y"], np.exp([0, 1]), rtol=1e-6)


def test_a_branch_that_is_known_is_written_out() -> None:
    model = text("""(float[1, 3] x) => (float[3] y, float[1, 3] z) <int64[1] axis = {0}> {
      shape = Shape(x)
      one = Constant<value = int64[2] {1, 3}>()
      same = Equal(shape, one)
      bits = Cast<to = 7>(same)
      all = ReduceMin<axes = [0], keepdims = 0>(bits)
      c = Cast<to = 9>(all)
      y, z = If (c) <
        then_branch = t () => (float[3] p, float[1, 3] a) { a = Relu(x)  p = Squeeze(a, axis) },
        else_branch = e () => (float[3] q, float[1, 3] r) { q = Neg(x)  r = Exp(x) }
      >
    }""")
    graph = import_onnx(model).graph
    assert [(node.name, node.op, node.outputs) for node in graph] == [
        ("If_6/Relu_0", "Relu", ("z",)),
        ("If_6/Squeeze_1", "Squeeze", ("y",)),
    ]
    assert {node.origin for node in graph} == {("If_6",)}
    assert graph.types["y"].shape == (3,)
    assert [name for name, fate in graph.ledger.items() if not fate] == ["If_6"]


def test_sequences_stay_on_the_host() -> None:
    model = text("""(float[2] x) => (float[4] y) {
      s = SequenceConstruct(x, x)
      y = ConcatFromSequence<axis = 0>(s)
    }""")
    graph = import_onnx(model).graph
    assert [node.op for node in graph] == ["Segment", "Segment"]
    feed = {"x": np.array([1, 2], np.float32)}
    np.testing.assert_array_equal(Interpreter(graph).run(feed)["y"], [1, 2, 1, 2])


def test_initializers_that_are_inputs_too_are_constants() -> None:
    model = text("(float[2] x, float[2] w) => (float[2] y) <float[2] w = {1, 2}> { y = Mul(x, w) }")
    graph = import_onnx(model).graph
    assert graph.inputs == ("x",)
    np.testing.assert_array_equal(graph.constants["w"], [1, 2])


def test_the_exporters_line_is_kept() -> None:
    model = text("(float[2] x) => (float[2] y) { y = Relu(x) }")
    trace = 'File "model.py", line 3, in forward\n  f(x)\nFile "layers.py", line 41, in f\n'
    model.graph.node[0].metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    assert import_onnx(model).graph.nodes[0].source == "layers.py:41"


def test_a_model_handed_in_is_left_as_it_was() -> None:
    model = text("(float[N] x) => (float[N] y) <float[1] w = {1}> { y = Mul(x, w) }")
    before = model.SerializeToString()
    import_onnx(model)
    assert model.SerializeToString() == before


def test_name_hash_and_files_say_what_was_read(tmp_path: Path) -> None:
    model = text("(float[2] x) => (float[2] y) { y = Relu(x) }")
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    imported = import_onnx(path)
    assert imported.name == "net"
    assert imported.files == (path,)
    assert imported.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert import_onnx(path.read_bytes()).sha256 == imported.sha256


@pytest.mark.parametrize("number", [n for n in onnx.TensorProto.DataType.values() if n])
def test_element_types_have_the_names_of_their_arrays(number: int) -> None:
    name = dtype_name(number)
    assert dtype_number(name) == number
    if name != "string":
        assert np.dtype(getattr(ml_dtypes, name, name)).name == name
        assert helper.tensor_dtype_to_np_dtype(number).name == name


# What is refused

RELU = "(float[2] x) => (float[2] y) { y = Relu(x) }"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello world, this is no model", "is not an ONNX model"),
        (b"PK\x03\x04" + bytes(60), "zip archive"),
        (b"\x80\x02ctorch\nload\n", "pickle"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (text(RELU).SerializeToString()[:-9], "is not an ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
    ],
)
def test_junk_is_called_by_what_it_looks_like(data: bytes, says: str, tmp_path: Path) -> None:
    assert says in refusal(data)
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    line = refusal(path)
    assert line.startswith("error[M001]")
    assert says in line


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        import_onnx(tmp_path / "absent.onnx")
    assert caught.value.code == "U001"
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert "is a folder" in refusal(tmp_path)
    assert "a.onnx" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        ("(float[2] x) => (float[2] y) { y = Reluu(x) }", "M003", "did you mean 'Relu'?"),
        ("(float[2] x) => (float[2] y) { y = Gelu(x) }", "M003", "since opset 20"),
        ("(float[2] x) => (float[2] y) { y = foo.Bar(x) }", "M003", "'foo'"),
        ("(float[2] x) => (float[2] y) { y = Relu(z) }", "M007", "reads 'z', which nothing makes"),
        ("(float[2] x) => (float[2] z) { y = Relu(x) }", "M007", "nothing makes the output 'z'"),
        ("(float[2] x) => (float[2] y) { y = Relu(x)  y = Exp(x) }", "M007", "made before"),
        ("(float[2] x) => (float[2] y) { a = Add(x, b)  b = Relu(a)  y = Exp(b) }", "M007",
         "cycle: Add_0 -> Relu_1 -> Add_0"),
        ("(float[2,3] x, float[4,5] w) => (float[2,5] y) { y = MatMul(x, w) }", "M004", "MatMul_0"),
        ("(float[2] x, int64[2] w) => (float[2] y) { y = Add(x, w) }", "M004", "tensor(int64)"),
        ("(float[2] x) => (float[2] y) { y = Relu<alpha = 1.0>(x) }", "M002", "alpha"),
        ("(float[2] x) => (float[2] y) { y = Relu(x, x) }", "M002", "input size 2"),
    ],
)  # fmt: skip
def test_broken_rules_have_their_code(body: str, code: str, says: str) -> None:
    line = refusal(text(body))
    assert line.startswith(f"error[{code}]")
    assert says in line


@pytest.mark.parametrize("opset", [0, 99, 2**40])
def test_an_opset_nobody_knows(opset: int) -> None:
    model = text(RELU)
    model.opset_import[0].version = opset
    assert refusal(model).startswith("error[M003]")


def test_functions_that_call_each_other() -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13, "own" : 1]>
        g (float[2] x) => (float[2] y) { y = own.f(x) }
        <domain: "own", opset_import: ["" : 13, "own" : 1]> f (a) => (b) { b = own.h(a) }
        <domain: "own", opset_import: ["" : 13, "own" : 1]> h (a) => (b) { b = own.f(a) }""")
    assert "f -> h -> f" in refusal(model)


def weighted(data: Data, op: str = "Mul") -> onnx.ModelProto:
    model = text(f"(float[2, 2] x) => (float[2, 2] y) {{ y = {op}(x, w) }}")
    model.graph.initializer.append(numpy_helper.from_array(data, "w"))
    return model


def test_weights_are_finite() -> None:
    nan = np.array([[1, np.nan], [0, 0]], np.float32)
    inf = np.array([[1, -np.inf], [0, 0]], np.float32)
    assert refusal(weighted(nan)).startswith("error[M005]: tensor 'w' holds NaN")
    assert refusal(weighted(inf, "MatMul")).startswith("error[M005]: node 'MatMul_0'")
    verify(import_onnx(weighted(inf, "Add")).graph)


def test_weights_have_the_data_their_shape_asks_for() -> None:
    model = weighted(np.ones((2, 2), np.float32))
    model.graph.initializer[0].raw_data = bytes(15)
    assert refusal(model).startswith("error[M004]: tensor 'w' has 15 bytes of data")
    model.graph.initializer[0].dims[0] = -2
    assert "negative size" in refusal(model)
    model.graph.initializer[0].data_type = 77
    model.graph.initializer[0].dims[0] = 2
    assert "element type 77" in refusal(model)


def test_limits_are_checked_before_memory_is_taken() -> None:
    assert refusal(text(RELU), max_nodes=0).startswith("error[M008]")
    model = weighted(np.ones((2, 2), np.float32))
    assert refusal(model, max_tensor_bytes=15).startswith("error[M008]")
    model.graph.initializer[0].ClearField("raw_data")
    model.graph.initializer[0].dims[:] = [1 << 40, 1 << 40]
    assert refusal(model).startswith("error[M008]")


def test_a_constant_too_large_to_fold_is_left_to_run_time() -> None:
    model = text("""(float[1] x) => (float[A] y) <int64[1] s = {100000000}> {
      z = ConstantOfShape(s)  y = Add(x, z) }""")
    assert [node.op for node in import_onnx(model).graph] == ["ConstantOfShape", "Add"]


# External data


def external(folder: Path, **entries: str) -> Path:
    """A model in a folder whose weight is in a file of its own."""
    model = weighted(np.ones((2, 2), np.float32))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "w.bin", **entries}.items():
        tensor.external_data.add(key=key, value=value)
    folder.mkdir(exist_ok=True)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    (folder / "w.bin").write_bytes(np.arange(6, dtype=np.float32).tobytes())
    return folder / "m.onnx"


def test_external_data_is_read_and_hashed(tmp_path: Path) -> None:
    path = external(tmp_path / "a", offset="8", length="16")
    imported = import_onnx(path)
    np.testing.assert_array_equal(imported.graph.constants["w"], [[2, 3], [4, 5]])
    weights = path.parent / "w.bin"
    assert imported.files == (path, weights)
    whole = hashlib.sha256(path.read_bytes() + hashlib.sha256(weights.read_bytes()).digest())
    assert imported.sha256 == whole.hexdigest()
    assert "without its folder" in refusal(path.read_bytes())


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"location": "../w.bin"}, "must lie inside"),
        ({"location": "/etc/passwd"}, "must lie inside"),
        ({"location": "sub/../w.bin"}, "must lie inside"),
        ({"location": "absent.bin"}, "there is no file"),
        ({"location": "link.bin"}, "symbolic link"),
        ({"location": "inner/w.bin"}, "symbolic link"),
        ({"location": "hard.bin"}, "hard link"),
        ({"location": "."}, "not a regular file"),
        ({"location": ""}, "one location"),
        ({"length": "15"}, "length is 15 bytes, the tensor has 16"),
        ({"offset": "16"}, "beyond the end"),
        ({"offset": "-8"}, "not a number"),
        ({"offset": "9" * 30}, "not a number"),
    ],
)
def test_external_data_stays_inside(tmp_path: Path, entries: dict[str, str], says: str) -> None:
    path = external(tmp_path / "a", **entries)
    (tmp_path / "other").write_bytes(bytes(24))
    (path.parent / "link.bin").symlink_to(path.parent / "w.bin")
    (path.parent / "inner").symlink_to(path.parent)
    os.link(tmp_path / "other", path.parent / "hard.bin")
    line = refusal(path)
    assert line.startswith("error[M006]: external data of tensor 'w'")
    assert says in line


def test_mutilated_models_never_end_in_a_traceback() -> None:
    """Bytes changed at random: imported, or refused by one of our errors."""
    model = text("""(float[N, 3, 8] x) => (float[N, 24] y) \
<float[1] s = {0.5}, int64[2] t = {0, -1}> {
      a = Mul(x, s)  b = Reshape(a, t)  y = Softmax<axis = 1>(b) }""")
    data = model.SerializeToString()
    random = np.random.default_rng(7)
    outcomes = set()
    for _ in range(500):
        broken = bytearray(data)
        for position in random.integers(0, len(data), 2):
            broken[position] = random.integers(0, 256)
        try:
            import_onnx(bytes(broken))
        except ModelError as error:
            outcomes.add(error.code)
        except UsageError:
            pass
    assert len(outcomes) > 3


def classical(*behind: onnx.NodeProto, outputs: tuple[onnx.ValueInfoProto, ...]) -> onnx.ModelProto:
    """A Scaler, whose output's shape neither ONNX nor ONNX Runtime tells, a layer, and what
    comes behind it; as skl2onnx writes them.
    """
    scaler = helper.make_node(
        "Scaler", ["x"], ["scaled"], domain="ai.onnx.ml", offset=[1.0] * 4, scale=[2.0] * 4
    )
    layer = helper.make_node("MatMul", ["scaled", "w"], ["made"])
    graph = helper.make_graph(
        [scaler, layer, *behind],
        "classical",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 4])],
        list(outputs),
        [onnx.numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) / 12, "w")],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_a_layer_behind_a_classical_scaler_runs_on_an_engine() -> None:
    made = helper.make_tensor_value_info("made", onnx.TensorProto.FLOAT, [1, 3])
    graph = import_onnx(classical(outputs=(made,))).graph
    assert [node.op for node in graph] == ["Segment", "MatMul"]
    assert graph.types["scaled"].shape == (1, 4)
    compiled = joulec.compile(classical(outputs=(made,)), "diana_digital")
    assert [step.engine for step in compiled.plan.steps if step.macs] == ["digital"]


def test_a_shape_that_nobody_tells_is_unknown_and_not_that_of_a_scalar() -> None:
    """A ZipMap refuses the scalar that an unknown shape was taken for."""
    normal = helper.make_node("Normalizer", ["made"], ["shares"], domain="ai.onnx.ml", norm="L1")
    names = helper.make_node(
        "ZipMap", ["shares"], ["named"], domain="ai.onnx.ml", classlabels_int64s=[1, 2, 3]
    )
    named = onnx.ValueInfoProto(name="named")
    named.type.sequence_type.elem_type.map_type.key_type = onnx.TensorProto.INT64
    named.type.sequence_type.elem_type.map_type.value_type.tensor_type.elem_type = 1
    model = classical(normal, names, outputs=(named,))
    compiled = joulec.compile(model, "diana_digital", options=joulec.Options(precision="float"))
    x = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
    (found,) = joulec.run(compiled, {"x": x})
    (wanted,) = open_session(model.SerializeToString()).run(None, {"x": x})
    assert found == wanted
