"""Makes models nobody would make by accident.

Each recipe gives the file's bytes, or writes the files next to it too.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.parser import parse_model

Recipe = Callable[[Path], bytes | None]
HEAD = '<ir_version: 8, opset_import: ["" : 17]> '
GEMM = "g (float[1,8] x) => (float[1,4] y) <float[8,4] w, float[4] b> {y = Gemm(x, w, b)}"
WEIGHTS = {"w": np.ones((8, 4), np.float32), "b": np.zeros(4, np.float32)}
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def model(body: str = GEMM, opset: int = 17, **weights: Any) -> onnx.ModelProto:
    """Makes a model from ONNX's own text form.

    `weights` become its initializers; Gemm has those of its own.
    """
    made: onnx.ModelProto = parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {body}')
    del made.graph.value_info[:]
    for name, data in ({**WEIGHTS, **weights} if body == GEMM else weights).items():
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(data), name))
    return made


def text(body: str, opset: int = 17, **weights: Any) -> Recipe:
    """A model that is its text."""
    return lambda folder: bytes(model(body, opset, **weights).SerializeToString())


def changed(change: Callable[[onnx.ModelProto], Any], body: str = GEMM, **weights: Any) -> Recipe:
    """A sound model in which something is changed."""

    def recipe(folder: Path) -> bytes:
        made = model(body, **weights)
        change(made)
        return bytes(made.SerializeToString())

    return recipe


def raw(data: bytes) -> Recipe:
    """Bytes as they are."""
    return lambda folder: data


def operation(op: str, domain: str = "", version: int = 0) -> Recipe:
    """A Relu that calls itself something else."""

    def change(made: onnx.ModelProto) -> None:
        made.graph.node[0].op_type, made.graph.node[0].domain = op, domain
        if version:
            made.opset_import.add(domain=domain, version=version)

    return changed(change, _RELU)


# -- files that are no models


def big_file(folder: Path) -> None:
    """Three GiB of holes, which no message of protobuf can be."""
    with (folder / "m.onnx").open("wb") as stream:
        stream.truncate(3 << 30)


def pipe(folder: Path) -> None:
    """A named pipe that nobody writes to: to open it is to wait for ever."""
    os.mkfifo(folder / "m.onnx")


def link_to(place: str, folder: Path) -> None:
    """A link to a device that never ends."""
    (folder / "m.onnx").symlink_to(place)


def a_folder(folder: Path) -> None:
    """A folder where a file is wanted."""
    (folder / "m.onnx").mkdir()


# -- sizes that lie


def sized(name: str, *dims: int, **fields: Any) -> Recipe:
    """Gemm with another tensor for the weight `name`."""

    def change(made: onnx.ModelProto) -> None:
        tensor = next(tensor for tensor in made.graph.initializer if tensor.name == name)
        if dims:
            del tensor.dims[:]
            tensor.dims.extend(dims)
        for field, value in fields.items():
            if isinstance(value, list):
                getattr(tensor, field).extend(value)
            else:
                setattr(tensor, field, value)

    return changed(change)


def input_sized(*dims: int) -> Recipe:
    """An input of a shape that nothing can hold."""

    def change(made: onnx.ModelProto) -> None:
        shape = made.graph.input[0].type.tensor_type.shape
        for dim, size in zip(shape.dim, dims, strict=False):
            dim.dim_value = size

    return changed(change, "g (float[1,8] x) => (float[a,b] y) {y = Relu(x)}")


def output_sized(*dims: int) -> Recipe:
    """Gemm whose output is declared in other sizes."""

    def change(made: onnx.ModelProto) -> None:
        shape = made.graph.output[0].type.tensor_type.shape
        del shape.dim[:]
        for size in dims:
            shape.dim.add(dim_value=size)

    return changed(change)


def sparse(values: list[float], indices: list[int], *dims: int) -> Recipe:
    """A sparse weight."""

    def change(made: onnx.ModelProto) -> None:
        made.graph.sparse_initializer.append(
            helper.make_sparse_tensor(
                helper.make_tensor("s", FLOAT, [len(values)], values),
                helper.make_tensor("s.indices", INT64, [len(indices)], indices),
                dims,
            )
        )
        made.graph.node[0].input[2] = "s"

    return changed(change)


def filled(number: float) -> Recipe:
    """Gemm with a weight of one number."""
    return text(GEMM, w=np.full((8, 4), number, np.float32))


# -- bombs


def doublings(count: int) -> bytes:
    """Doubles a constant again and again.

    Each Concat is small to write and twice as large to compute.
    """
    nodes = [helper.make_node("Concat", [f"t{i}"] * 2, [f"t{i + 1}"], axis=0) for i in range(count)]
    nodes.append(helper.make_node("Add", ["x", f"t{count}"], ["y"]))
    return graph(nodes, {"t0": np.ones(4, np.float32)})


def graph(nodes: list[onnx.NodeProto], weights: dict[str, Any], **fields: Any) -> bytes:
    """A model of nodes from x, float[1], to y."""
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", FLOAT, [1])],
            [helper.make_tensor_value_info("y", FLOAT, None)],
            [numpy_helper.from_array(np.asarray(data), name) for name, data in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        ir_version=8,
        **fields,
    )
    return bytes(made.SerializeToString())


def field(number: int, data: bytes) -> bytes:
    """A message as a field of another, as protobuf writes it."""
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + data


def branches(depth: int) -> bytes:
    """A graph in a node in a graph, deeper than protobuf itself would write it."""

    inner = field(2, b"deepest")
    for _ in range(depth):
        branch = field(1, b"then_branch") + field(6, inner)
        inner = field(1, field(4, b"If") + field(5, branch))
    return bytes(model().SerializeToString()) + field(7, inner)


def functions(depth: int, calls: int, last: str) -> bytes:
    """Makes functions that each call the next several times.

    The last calls `last`, an operation or one of them.
    """
    made = []
    for level in range(depth):
        to, domain = (
            (f"f{level + 1}", "own")
            if level + 1 < depth
            else (last, "own" if last.startswith("f") else "")
        )
        names = ["a", *(f"t{call}" for call in range(calls))]
        nodes = [
            helper.make_node(to, [names[call]], [names[call + 1]], domain=domain)
            for call in range(calls)
        ]
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
        made.append(helper.make_function("own", f"f{level}", ["a"], [names[-1]], nodes, opsets))
    return graph([helper.make_node("f0", ["x"], ["y"], domain="own")], {}, functions=made)


def crowd(count: int) -> bytes:
    """So many nodes, of ten bytes each."""
    node = field(1, field(1, b"x") + field(2, b"t") + field(4, b"Abs"))
    return bytes(model(_RELU).SerializeToString()) + field(7, node * count)


# -- external data

Entries = dict[str, str]


def outside(entries: Entries, prepare: Callable[[Path], Any] = lambda folder: None) -> Recipe:
    """Makes a Gemm whose weight w lies in another file, as the entries have it.

    A sound w.bin lies next to it.
    """

    def recipe(folder: Path) -> bytes:
        (folder / "w.bin").write_bytes(bytes(128))
        prepare(folder)
        made = model()
        elsewhere(made.graph.initializer[0], entries)
        return bytes(made.SerializeToString())

    return recipe


def elsewhere(tensor: onnx.TensorProto, entries: Entries) -> None:
    """Takes a tensor's data out and says where they should be."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key.rstrip("2"), value=value)


def linked(folder: Path) -> None:
    """A symbolic link, a hard link, a linked folder, a pipe and a folder next to the model."""
    secret = folder.parent / "secret.bin"
    secret.write_bytes(bytes(128))
    (folder / "soft.bin").symlink_to(secret)
    os.link(secret, folder / "hard.bin")
    (folder / "door").symlink_to(folder.parent)
    os.mkfifo(folder / "pipe.bin")
    (folder / "inside").mkdir()


def holes(folder: Path) -> None:
    """A terabyte that takes no room, and hours to hash."""
    with (folder / "holes.bin").open("wb") as stream:
        stream.truncate(1 << 40)


def outside_in(attribute: str) -> Recipe:
    """External data in other places than an initializer of the main graph."""

    def recipe(folder: Path) -> bytes:
        (folder.parent / "secret.bin").write_bytes(bytes(4))
        tensor = helper.make_tensor("k", FLOAT, [1], [0.0])
        elsewhere(tensor, {"location": "../secret.bin"})
        constant = helper.make_node("Constant", [], ["k"])
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
        add = helper.make_node("Add", ["x", "k"], ["y"])
        if attribute == "Constant":
            return graph([constant, add], {})
        add.output[0] = "v"
        branch = helper.make_graph([add], "b", [], [helper.make_tensor_value_info("v", FLOAT, [1])])
        if attribute == "sub-graph":
            branch.initializer.append(tensor)
        else:
            branch.node.insert(0, constant)
        node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
        test = helper.make_node("Greater", ["x", "zero"], ["c"])
        return graph([test, node], {"zero": np.zeros(1, np.float32)})

    return recipe


# -- the table: what it is, how it is made, the code, words of the one line


def _clear(field: str, of: Callable[[onnx.ModelProto], Any]) -> Recipe:
    return changed(lambda made: of(made).ClearField(field))


def _attribute(name: str, value: Any, body: str) -> Recipe:
    return changed(
        lambda made: made.graph.node[0].attribute.append(helper.make_attribute(name, value)), body
    )


def _renamed(number: int, field: str, position: int, name: str) -> Recipe:
    def change(made: onnx.ModelProto) -> None:
        getattr(made.graph.node[number], field)[position] = name

    return changed(change, "g (float[2] x) => (float[2] y) {a = Relu(x) b = Neg(a) y = Abs(b)}")


_LOOP = """g (float[1,8] x) => (float[1,8] y) {yes = Constant<value_int = 1>()
t = Cast<to = 9>(yes) y = Loop("COUNT", t, x)<body = b (int64 i, bool go, float[1,8] v)
=> (bool goes, float[1,8] w) {goes = Identity(COND) w = Neg(v)}>}"""
_SCAN = """g (float[1,8] x) => (float[1,8] y) {one = Constant<value_float = 1.0>()
c = Expand(one, n) y = Scan<num_scan_inputs = 1, body = b (float[1,8] v, float s)
=> (float[1,8] w) {w = Add(v, s)}>(x, c)}"""
_RELU = "g (float[2] x) => (float[2] y) {y = Relu(x)}"
_LEAKY = "g (float[2] x) => (float[2] y) {y = LeakyRelu<alpha = 0.1>(x)}"
_CONV = "g (float[1,2,4,4] x) => (float[a,b,c,d] y) {y = Conv<ATTRIBUTES>(x, w)}"
_CONV_OF_ONES = "g (float[1,2,4,4] x, float[3,2,3,3] w) => (y) {y = Conv(x, w)}"
_CONV_W = np.ones((3, 2, 3, 3), np.float32)
_QUANTIZE = "g (float[1,8] x) => (int8[1,8] y) {y = QuantizeLinear(x, s, z)}"


def _conv(attributes: str, weights: Any = _CONV_W) -> Recipe:
    return text(_CONV.replace("<ATTRIBUTES>", f"<{attributes}>" if attributes else ""), w=weights)


def _utf16(data: bytes) -> bytes:
    return data.decode("latin1").encode("utf-16")


MODELS: dict[str, tuple[Recipe, str, str]] = {
    # no models
    "empty": (raw(b""), "M001", "is empty"),
    "a text": (raw(b"hello, world\n" * 20), "M001", "is not an ONNX model"),
    "a zip": (raw(b"PK\x03\x04" + bytes(60)), "M001", "a zip archive"),
    "a pickle": (raw(b"\x80\x04\x95" + bytes(60)), "M001", "a Python pickle"),
    "HDF5": (raw(b"\x89HDF\r\n\x1a\n" + bytes(60)), "M001", "an HDF5 file"),
    "TensorFlow Lite": (raw(bytes(4) + b"TFL3" + bytes(60)), "M001", "a TensorFlow Lite model"),
    "gzip": (raw(b"\x1f\x8b\x08" + bytes(60)), "M001", "a gzip file"),
    "a pointer of LFS": (
        raw(b"version https://git-lfs.github.com/spec/v1\n"), "M001", "run git lfs pull",
    ),
    "a web page": (raw(b"<!DOCTYPE html><html></html>"), "M001", "a web page"),
    "JSON": (raw(b'{"graph": {}}'), "M001", "a JSON text"),
    "another encoding": (
        lambda folder: _utf16(bytes(model().SerializeToString())), "M001", "is not an ONNX model",
    ),
    "cut short": (
        lambda folder: bytes(model().SerializeToString())[:-40], "M001", "ends in the middle",
    ),
    "no graph": (_clear("graph", lambda made: made), "M001", "it holds no graph"),
    "an empty graph": (
        changed(lambda made: made.graph.Clear()), "M001", "neither nodes nor outputs",
    ),
    "3 GiB of nothing": (big_file, "M008", "3221225472 bytes"),
    "a pipe": (pipe, "M001", "is not a regular file"),
    "a device": (partial(link_to, "/dev/zero"), "M001", "is not a regular file"),
    "a folder": (a_folder, "M001", "is a folder"),
    "a link that leads nowhere": (partial(link_to, "nowhere"), "U001", "there is no file"),
    "a length that lies": (
        raw(b"\x08\x08\x3a" + b"\xff" * 9 + b"\x01"), "M001", "is not an ONNX model",
    ),
    # names and order
    "a cycle": (_renamed(0, "input", 0, "b"), "M007", "form a cycle: Relu_0 -> Neg_1 -> Relu_0"),
    "a node that reads itself": (
        _renamed(1, "input", 0, "b"), "M007", "form a cycle: Neg_1 -> Neg_1",
    ),
    "a cycle in a branch": (
        text("""g (float[1] x, bool c) => (float[1] y) {y = If(c)<then_branch = t () => (float[1] u)
        {u = Relu(v) v = Neg(u)}, else_branch = e () => (float[1] w) {w = Neg(x)}>}"""),
        "M007", "reads 'v', before it is made",
    ),
    "a name that nothing makes": (
        _renamed(1, "input", 0, "aa"), "M007", "reads 'aa', which nothing makes; did you mean 'a'?",
    ),
    "a name made twice": (
        _renamed(1, "output", 0, "a"), "M007", "makes 'a', which node 'Relu_0' made before",
    ),
    "an input made again": (_renamed(1, "output", 0, "x"), "M007", "makes 'x'"),
    "an output that nothing makes": (
        changed(lambda made: made.graph.output.add(name="z"), _RELU), "M007",
        "nothing makes the output 'z'",
    ),
    "two inputs of a name": (
        changed(lambda made: made.graph.input.append(made.graph.input[0]), _RELU), "M007",
        "two inputs are named 'x'",
    ),
    "two weights of a name": (
        changed(lambda made: made.graph.initializer.append(made.graph.initializer[0])),
        "M007", "two initializers are named 'w'",
    ),
    "a weight that a node makes": (text(_RELU, y=np.ones(2, np.float32)), "M007", "makes 'y'"),
    "a branch that reads what nothing makes": (
        text("""g (float[1] x, bool c) => (float[1] y) {y = If(c)<then_branch = t () => (float[1] u)
        {u = Relu(nowhere)}, else_branch = e () => (float[1] w) {w = Neg(x)}>}"""),
        "M007", "'nowhere', which nothing makes",
    ),
    "a name that is no text": (
        lambda folder: bytes(
            model(_RELU).SerializeToString()
        ).replace(b"\x0a\x01x", b"\x0a\x01\xff"),
        "M002", "UTF-8",
    ),
    # operations
    "an unknown operation": (
        operation("Rellu"), "M003", "no operation 'Rellu'; did you mean 'Relu'?",
    ),
    "an unknown domain": (
        operation("Relu", "my.own", 1), "M003",
        "'my.own', which neither ONNX nor ONNX Runtime knows",
    ),
    "a misspelt domain": (
        operation("Gelu", "com.microsft", 1), "M003", "did you mean 'com.microsoft'?",
    ),
    "a domain without an opset": (operation("Relu", "my.own"), "M003", "imports no opset"),
    "an operation of Microsoft's that is none": (
        operation("FusedGem", "com.microsoft", 1), "M003", "did you mean 'FusedGemm'?",
    ),
    "an opset to come": (
        changed(lambda made: setattr(made.opset_import[0], "version", 999), _RELU), "M003",
        "opset 999",
    ),
    "a negative opset": (
        changed(lambda made: setattr(made.opset_import[0], "version", -3), _RELU), "M003",
        "no opset -3",
    ),
    "two opsets": (
        changed(lambda made: made.opset_import.add(domain="", version=11), _RELU), "M003",
        "two opsets",
    ),
    "an operation of a later opset": (
        text("g (float[2] x) => (float[2] y) {y = Gelu(x)}", 13), "M003", "since opset 20",
    ),
    "an operation without a name": (operation(""), "M003", "no operation ''"),
    "one of a list of inputs left out": (
        text('g (float[2] x) => (float[2] y) {y = Sum(x, , x)}'), "M002", "left out: input 1",
    ),
    # attributes
    "an attribute of another type": (_conv('kernel_shape = "three"'), "M002", "kernel_shape"),
    "an attribute that is not there": (
        text("g (float[2] x) => (float[4] y) {y = Concat(x, x)}"), "M002", "axis",
    ),
    "an attribute nobody knows": (_attribute("beta2", 1.0, _RELU), "M002", "beta2"),
    "an attribute twice": (_attribute("alpha", 0.5, _LEAKY), "M002", "alpha"),
    "an attribute of a function outside of one": (
        changed(
            lambda made: setattr(made.graph.node[0].attribute[0], "ref_attr_name", "a"), _LEAKY,
        ),
        "M002", "stands in none",
    ),
    "an attribute that is a list of nothing": (
        _attribute("kernel_shape", [0], _CONV_OF_ONES), "M004", "kernel",
    ),
    "an axis far outside": (
        text("g (float[2] x) => (y) {y = Softmax<axis = 99>(x)}"), "M004", "axis",
    ),
    "a window larger than its data": (
        text("g (float[1,2,0,6] x) => (y) {y = MaxPool<kernel_shape = [2, 2]>(x)}"), "M004",
        "would be of shape",
    ),
    "a permutation that is none": (
        text("g (float[2,3] x) => (y) {y = Transpose<perm = [0, 0]>(x)}"), "M004", "perm",
    ),
    "a type number that is none": (
        text("g (float[2] x) => (y) {y = Cast<to = 77>(x)}"), "M004", "Cast",
    ),
    "strides of 0": (_conv("strides = [0, 0]"), "M004", "Conv"),
    "negative pads": (_conv("pads = [-9, -9, -9, -9]"), "M004", "Conv"),
    "dilations beyond all": (
        _conv("dilations = [4611686018427387904, 4611686018427387904]"), "M004", "Conv",
    ),
    "groups of 0": (_conv("group = 0"), "M004", "Conv"),
    "groups that do not divide": (_conv("group = 7"), "M004", "Conv"),
    "a kernel that is not the weights'": (_conv("kernel_shape = [5, 5]"), "M004", "kernel"),
    # types and shapes
    "shapes that do not go together": (
        text("g (float[1,8] x) => (y) {y = MatMul(x, w)}", w=np.ones((7, 4), np.float32)), "M004",
        "MatMul",
    ),
    "types that do not go together": (
        text("g (float[2] x) => (y) {y = Add(x, w)}", w=np.ones(2, np.int64)), "M004", "Add",
    ),
    "an input without a type": (
        changed(lambda made: made.graph.input[0].ClearField("type"), _RELU), "M002",
        "input 'x' has no type",
    ),
    "an input of any number of axes": (
        changed(lambda made: made.graph.input[0].type.tensor_type.ClearField("shape"), _RELU),
        "M002", "input 'x' does not say how many axes it has",
    ),
    "too many inputs": (
        changed(lambda made: made.graph.node[0].input.extend(["x"] * 9), _RELU), "M002", "Relu",
    ),
    "too few inputs": (
        changed(lambda made: made.graph.node[0].ClearField("input"), _RELU), "M002", "Relu",
    ),
    "a scalar where a list is wanted": (
        text("g (float[2] x) => (y) {y = Reshape(x, s)}", s=np.int64(2)), "M004", "Reshape",
    ),
    "a shape of other size": (
        text("g (float[2] x) => (y) {y = Reshape(x, s)}", s=np.array([3])), "M004", "Reshape",
    ),
    "two free sizes": (
        text("g (float[2] x) => (y) {y = Reshape(x, s)}", s=np.array([-1, -1])), "M004", "Reshape",
    ),
    # sizes
    "a negative size": (sized("w", 8, -4), "M004", "negative size"),
    "sizes beyond all memory": (sized("w", 1 << 40, 1 << 40), "M008", "limit"),
    "sizes that overflow to 0": (sized("w", 1 << 32, 1 << 32), "M008", "limit"),
    "data too short": (
        sized("w", 8, 5), "M004", "128 bytes of data, its shape [8, 5] asks for 160",
    ),
    "data too long": (sized("w", 8, 3), "M004", "128 bytes of data, its shape [8, 3] asks for 96"),
    "no data": (sized("w", 8, 4, raw_data=b""), "M004", "0 bytes of data"),
    "data in two forms": (sized("w", float_data=[1.0]), "M004", "has its data twice"),
    "an element type that is none": (sized("w", data_type=99), "M004", "unknown element type 99"),
    "no element type": (sized("w", data_type=0), "M004", "no element type"),
    "texts as weights": (sized("w", data_type=8), "M004", "'w'"),
    "an input beyond all memory": (input_sized(1 << 40, 1 << 20), "C001", "elements"),
    "an input of negative size": (input_sized(-5, 8), "M004", "negative size, -5"),
    "a constant beyond all memory": (
        text(
            "g (float[2] x) => (y) "
            "{c = ConstantOfShape(s) r = ReduceSum<keepdims = 0>(c) y = Add(x, r)}",
            s=np.array([1 << 40]),
        ),
        "C001", "elements",
    ),
    "a constant of negative size": (
        text("g (float[2] x) => (y) {y = ConstantOfShape(s)}", s=np.array([-7])), "M004",
        "ConstantOfShape",
    ),
    "a tile beyond all memory": (
        text("g (float[2] x) => (y) {y = Tile(x, s)}", s=np.array([1 << 40])), "C001", "elements",
    ),
    "an expansion beyond all memory": (
        text("g (float[1] x) => (y) {y = Expand(x, s)}", s=np.array([1 << 40])), "C001", "elements",
    ),
    "pads beyond all memory": (
        text("g (float[2] x) => (y) {y = Pad(x, s)}", s=np.array([0, 1 << 40])), "C001", "elements",
    ),
    "an enlargement beyond all memory": (
        text(
            "g (float[1,1,2,2] x) => (y) {y = Resize(x, , s)}",
            s=np.array([1, 1, 1e6, 1e6], np.float32),
        ),
        "C001", "elements",
    ),
    "a range beyond all memory": (
        text(
            "g (int64[1] x) => (y) {r = Range(a, b, c) y = Add(r, x)}", a=np.int64(0),
            b=np.int64(1 << 40), c=np.int64(1),
        ),
        "C001", "elements",
    ),
    "a range without an end": (
        text(
            "g (int64[1] x) => (y) {r = Range(a, b, c) y = Add(r, x)}", a=np.int64(0),
            b=np.int64(9), c=np.int64(0),
        ),
        "M004", "Range",
    ),
    "a one-hot beyond all memory": (
        text(
            "g (int64[2] x) => (y) {y = OneHot(x, d, v)}", d=np.int64(1 << 40),
            v=np.array([0.0, 1.0], np.float32),
        ),
        "C001", "elements",
    ),
    "a sparse weight beyond all memory": (sparse([1.0], [0], 1 << 40), "M008", "limit"),
    "a sparse weight with indices outside": (
        sparse([1.0], [9], 4), "M004", "indices outside its shape",
    ),
    "a sparse weight with negative indices": (
        sparse([1.0], [-1], 4), "M004", "indices outside its shape",
    ),
    # numbers
    "NaN": (filled(np.nan), "M005", "holds NaN"),
    "an infinite weight": (filled(np.inf), "M005", "an infinity"),
    "NaN in a Constant": (
        text("g (float[2] x) => (y) {c = Constant<value_floats = [nan, 1.0]>() y = Add(x, c)}"),
        "M005", "holds NaN",
    ),
    "an index outside": (
        text("g (float[2] x) => (y) {y = Gather(x, i)}", i=np.int64(9)), "M004", "Gather",
    ),
    "a scale of 0": (text(_QUANTIZE, s=np.float32(0), z=np.int8(0)), "M004", "scale"),
    "a negative scale": (text(_QUANTIZE, s=np.float32(-1), z=np.int8(0)), "M004", "scale"),
    "a scale that is NaN": (
        text(_QUANTIZE, s=np.float32(np.nan), z=np.int8(0)), "M005", "holds NaN",
    ),
    "scales of another number": (
        text(_QUANTIZE, s=np.ones(5, np.float32), z=np.zeros(5, np.int8)), "M004", "scale",
    ),
    # bombs
    "constants that double 40 times": (lambda folder: doublings(40), "C001", "elements"),
    "constants that double 80 times": (lambda folder: doublings(80), "M004", "overflow"),
    "functions that call themselves": (lambda folder: functions(2, 1, "f0"), "M007", "call"),
    "functions that double 40 times": (lambda folder: functions(40, 2, "Relu"), "M008", "limit"),
    "branches 60 deep": (lambda folder: branches(60), "M008", "nested too deeply"),
    "more nodes than allowed": (lambda folder: crowd(1_000_001), "M008", "nodes, the limit is"),
    # what does not end, or does not run
    "a Loop without an end": (
        text(_LOOP.replace("COUNT", "").replace("COND", "go")), "M008", "node 'Loop_2': its Loop",
    ),
    "a Loop of 2^62 turns": (
        text(_LOOP.replace('"COUNT"', "n").replace("COND", "go"), n=np.array(1 << 62)), "M008",
        "node 'Loop_2': its Loop does more work",
    ),
    "a Loop of large products": (
        text(_LOOP.replace('"COUNT"', "n").replace("COND", "go").replace("Neg(v)", "MatMul(v, m)")
             .replace("1,8", "512,512"), n=np.array(1 << 62), m=np.zeros((512, 512), np.float32)),
        "M008", "node 'Loop_2': its Loop does more work",
    ),
    "a Loop on constants": (
        text(_LOOP.replace('"COUNT"', "n").replace("COND", "go").replace(", x)", ", k)")
             .replace(" y = Loop", " l = Loop").replace("}>}", "}> y = Add(l, x)}"),
             n=np.array(1 << 62), k=np.ones((1, 8), np.float32)),
        "M008", "its Loop does more work",
    ),
    "a Scan of 30 million turns": (
        text(_SCAN, n=np.array([30_000_000])), "M008", "node 'Scan_2': its Scan does more work",
    ),
    "a Scan on constants": (
        text(_SCAN.replace("y = Scan", "l = Scan").replace("}>(x,", "}>(k,")
             .replace("c)}", "c) y = Add(l, x)}"),
             n=np.array([30_000_000]), k=np.ones((1, 8), np.float32)),
        "M008", "its Scan does more work",
    ),
    "a Scan as long as its input says": (
        text(_SCAN.replace("Expand(one, n)", "Expand(one, m) ")
             .replace("{", "{m1 = ReduceMax<keepdims = 0>(x) m2 = Exp(m1) m3 = Add(m2, many) "
                      "m4 = Cast<to = 7>(m3) m = Unsqueeze(m4, axes) ", 1),
             axes=np.array([0]), many=np.array(3e7, np.float32)),
        "M008", "its Scan does more work",
    ),
    "a convolution that no input runs": (
        text("""g (float[1,2,6,6] x) => (float[1,2,30,30] y)
        {y = ConvTranspose<output_shape = [30, 30]>(x, w)}""", w=np.ones((2, 2, 2, 2), np.float32)),
        "M011", "node 'ConvTranspose_0': ConvTranspose cannot be run, whatever the inputs",
    ),
    # outputs and sizes that are none
    "no outputs": (_clear("output", lambda made: made.graph), "M002", "has no outputs"),
    "a negative input": (input_sized(2, -7), "M004", "a negative size, -7"),
    "a negative output": (output_sized(1, -4), "M004", "a negative size, -4"),
    "an output of another type": (
        text(_RELU.replace("=> (float", "=> (int64")), "M004", "its element type is false",
    ),
    "a batch of none": (
        text("g (float[0,8] x) => (float[0,4] y) {y = MatMul(x, w)}", w=WEIGHTS["w"]), "M004",
        "a batch of 0 samples",
    ),
    # external data
    "a file above": (
        outside({"location": "../secret.bin"}, linked), "M006",
        "must lie inside the model's folder",
    ),
    "a file above, by a detour": (
        outside({"location": "inside/../../secret.bin"}, linked), "M006", "must lie inside",
    ),
    "an absolute file": (outside({"location": "/etc/passwd"}), "M006", "must lie inside"),
    "a file of the kernel": (
        outside({"location": "/proc/self/environ"}), "M006", "must lie inside",
    ),
    "backslashes": (outside({"location": "..\\secret.bin"}), "M006", "must lie inside"),
    "a symbolic link": (outside({"location": "soft.bin"}, linked), "M006", "a symbolic link"),
    "a linked folder": (
        outside({"location": "door/secret.bin"}, linked), "M006", "a symbolic link",
    ),
    "a hard link": (outside({"location": "hard.bin"}, linked), "M006", "a hard link"),
    "a pipe for weights": (
        outside({"location": "pipe.bin"}, linked), "M006", "is not a regular file",
    ),
    "a folder for weights": (
        outside({"location": "inside"}, linked), "M006", "is not a regular file",
    ),
    "the folder itself": (outside({"location": "."}), "M006", "is not a regular file"),
    "no file": (outside({"location": "gone.bin"}), "M006", "there is no file 'gone.bin'"),
    "no location": (outside({"offset": "0"}), "M006", "must have one location"),
    "an empty location": (outside({"location": ""}), "M006", "must have one location"),
    "two locations": (
        outside({"location": "w.bin", "location2": "v.bin"}), "M006", "each key once",
    ),
    "a name with a zero byte": (outside({"location": "w.bin\0.txt"}), "M006", "must lie inside"),
    "a name longer than names can be": (
        outside({"location": "w" * 5000}), "M006", "there is no file",
    ),
    "a negative offset": (
        outside({"location": "w.bin", "offset": "-1"}), "M006", "not a number of bytes",
    ),
    "an offset beyond the end": (
        outside({"location": "w.bin", "offset": "64"}), "M006", "beyond the end",
    ),
    "an offset beyond all": (
        outside({"location": "w.bin", "offset": "9" * 30}), "M006", "not a number of bytes",
    ),
    "an offset in other digits": (
        outside({"location": "w.bin", "offset": "٣"}), "M006", "not a number of bytes",
    ),
    "a length that is not the tensor's": (
        outside({"location": "w.bin", "length": "64"}), "M006",
        "its length is 64 bytes, the tensor has 128",
    ),
    "a piece of a terabyte of holes": (
        outside({"location": "holes.bin", "offset": "0"}, holes), "M008",
        "--max-tensor-bytes allows more",
    ),
    "external data in a Constant": (outside_in("Constant"), "M006", "must lie inside"),
    "external data in a branch": (outside_in("sub-graph"), "M006", "must lie inside"),
    "external data in a branch's Constant": (outside_in("branch"), "M006", "must lie inside"),
}  # fmt: skip
