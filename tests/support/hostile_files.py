"""Data files, chip files, tables and packages that nobody would make by accident."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.lib import format as npy
from onnx import helper

from tests.support.fuzz import rendered

# -- npz: recipes give the bytes of x.npz


def npz(**arrays: Any) -> bytes:
    """A sound file."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def archive(member: str, data: bytes, **fields: Any) -> bytes:
    """A zip of one member, `fields` of its entry set afterwards."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr(member, data)
    return stream.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """An npy of any header."""
    padded = text.encode("latin1")
    padded += b" " * (-(len(padded) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def npy_of(array: Any) -> bytes:
    """A sound npy."""
    stream = io.BytesIO()
    npy.write_array(stream, np.asarray(array))
    return stream.getvalue()


def _shape(shape: str, descr: str = "'<f4'", data: bytes = bytes(64)) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}"
    return archive("image.npy", header(text, data))


def _pickled() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, image=np.array([{"a": 1}, None], object))
    return stream.getvalue()


def _encrypted() -> bytes:
    data = bytearray(npz(image=np.ones((1, 64), np.float32)))
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + at] |= 1
    return bytes(data)


def _lying_size() -> bytes:
    """The entry says that it unpacks to almost 4 GiB of the archive's 300 bytes."""
    data = bytearray(npz(image=np.ones((1, 64), np.float32)))
    at = data.index(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 0xFFFFFFF0)
    return bytes(data)


def _bomb() -> bytes:
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (4096, 1048576), }"
    return archive("image.npy", header(text, bytes(1 << 24)))


IMAGE = np.ones((3, 64), np.float32)
DATA: dict[str, tuple[bytes, str, str]] = {
    "no zip": (b"not a zip", "M009", "not a zip file"),
    "an empty file": (b"", "M009", "is an empty file"),
    "a zip cut short": (npz(image=IMAGE)[:200], "M009", "ends in the middle, after 200 bytes"),
    "no array of the input's name": (npz(imag=IMAGE), "U005", "did you mean 'imag'?"),
    "no arrays": (npz(), "U005", "no array 'image'"),
    "a pickle": (_pickled(), "M009", "allow_pickle"),
    "a member that is no array": (archive("image.npy", b"text"), "M009", "x.npz"),
    "a header that is code": (
        archive("image.npy", header("__import__('os').system('touch litter')")), "M009", "x.npz",
    ),
    "a header without an end": (
        archive("image.npy", b"\x93NUMPY\x01\x00\xff\xff{"), "M009", "x.npz",
    ),
    "a header of a gigabyte": (
        archive("image.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\x3f{"), "M009", "x.npz",
    ),
    "a version to come": (
        archive("image.npy", b"\x93NUMPY\x09\x00\x10\x00" + bytes(16)), "M009", "x.npz",
    ),
    "a shape that lies": (_shape("(1, 1099511627776)"), "M009", "x.npz"),
    "a shape beyond all": (_shape("(9223372036854775807, 9223372036854775807)"), "M009", "x.npz"),
    "a negative shape": (_shape("(-1, 64)"), "M009", "x.npz"),
    "a shape of texts": (_shape("('a', 'b')"), "M009", "x.npz"),
    "an element type that is none": (_shape("(1, 16)", "'<q99'"), "M009", "x.npz"),
    "records": (_shape("(1, 8)", "[('a', '<f4'), ('b', '<f4')]"), "U005", "image"),
    "a bomb": (_bomb(), "M009", "x.npz"),
    "a size that lies": (_lying_size(), "M009", "x.npz"),
    "an encrypted member": (_encrypted(), "M009", "encrypted"),
    "texts": (npz(image=np.array(["a"] * 64)), "U005", "image"),
    "integers beyond floats": (npz(image=np.ones((3, 64), np.complex64)), "U005", "image"),
    "another width": (npz(image=np.ones((3, 63), np.float32)), "U005", "64"),
    "more axes": (npz(image=np.ones((3, 64, 1), np.float32)), "U005", "64"),
    "a number": (npz(image=np.float32(1)), "U005", "64"),
    "no samples": (npz(image=np.ones((0, 64), np.float32)), "U005", ""),
}  # fmt: skip
# What is odd and fine, and gives what the plain file gives.
FINE_DATA: dict[str, bytes] = {
    "columns first": npz(image=np.asfortranarray(IMAGE)),
    "the other end first": npz(image=IMAGE.astype(">f4")),
    "doubles": npz(image=IMAGE.astype(np.float64)),
    "compressed": archive("image.npy", npy_of(IMAGE)),
    "other arrays beside it": npz(image=IMAGE, more=np.ones(5)),
}
LABELS: dict[str, tuple[bytes, str, str]] = {
    "labels that are missing": (npz(image=IMAGE), "U005", "'y'"),
    "labels of another number": (npz(image=IMAGE, y=np.array([1, 2])), "U005", "labels"),
    "labels that are fractions": (npz(image=IMAGE, y=np.array([0.5, 1, 2])), "U005", "labels"),
    "labels that are texts": (npz(image=IMAGE, y=np.array(["a", "b", "c"])), "U005", "labels"),
    "labels below 0": (npz(image=IMAGE, y=np.array([0, -1, 2])), "U005", "labels"),
    "labels beyond the classes": (npz(image=IMAGE, y=np.array([0, 1, 99])), "U005", "labels"),
    "labels that are no numbers": (npz(image=IMAGE, y=np.array([0, np.nan, 2])), "U005", "labels"),
    "labels beyond all integers": (
        npz(image=IMAGE, y=np.array([0, 1, 2**64 - 1], np.uint64)), "U005", "labels",
    ),
}  # fmt: skip

# -- chips: recipes make bytes of those of a sound chip file

Change = Callable[[bytes], bytes]


def put(old: str, new: str) -> Change:
    """One text in place of another."""

    def change(chip: bytes) -> bytes:
        assert old.encode() in chip, old
        return chip.replace(old.encode(), new.encode(), 1)

    return change


def instead(data: bytes) -> Change:
    """Something else altogether."""
    return lambda chip: data


def also(line: str) -> Change:
    """A line before all."""
    return lambda chip: line.encode() + b"\n" + chip


CLOCK = "clock_mhz = { value = "
CHIPS: dict[str, tuple[Change, str, str]] = {
    "empty": (instead(b""), "U002", "schema"),
    "binary": (instead(bytes(range(256))), "U002", "not a TOML file"),
    "another encoding": (
        instead('schema = "joulec.target/1"'.encode("utf-16")), "U002", "not a TOML file",
    ),
    "too large": (lambda chip: chip + b"#" * (2 << 20), "U002", "larger than"),
    "lists 100,000 deep": (instead(b"a = " + b"[" * 100_000), "U002", "not a TOML file"),
    "tables 100,000 deep": (instead(b"[" + b".".join([b"a"] * 100_000) + b"]"), "U002", ""),
    "keys 10,000 deep": (instead(b".".join([b"a"] * 10_000) + b" = 1"), "U002", ""),
    "a number of 10,000 digits": (put(CLOCK, f"clock_mhz = {{ value = {'9' * 10_000}"), "U002", ""),
    "a number beyond all": (
        put(CLOCK, "clock_mhz = { value = 1e400, source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "NaN": (
        put(CLOCK, "clock_mhz = { value = nan, source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "a text for a number": (
        put(CLOCK, "clock_mhz = { value = '100', source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "a list for a number": (
        put(CLOCK, "clock_mhz = { value = [1], source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "a date for a number": (
        put(CLOCK, "clock_mhz = { value = 2026-01-01, source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "a negative number": (
        put(CLOCK, "clock_mhz = { value = -1, source = 'x' }\nspare = { value = "), "U002",
        "clock_mhz",
    ),
    "a clock that stands": (
        put(CLOCK, "clock_mhz = { value = 0, source = 'exact' }\n#"), "U002",
        "clock_mhz.value: found 0, wanted 1e-06 or more",
    ),
    "a memory that takes no bytes": (
        put("bytes_per_cycle = { value = 16", "bytes_per_cycle = { value = 0"),
        "U002", "bytes_per_cycle.value: found 0, wanted 1e-06 or more",
    ),
    "a memory that takes next to no bytes": (
        put("bytes_per_cycle = { value = 16", "bytes_per_cycle = { value = 1e-300"),
        "U002", "bytes_per_cycle.value: found 1e-300, wanted 1e-06",
    ),
    "no number": (put(CLOCK, "clock_mhz = { low = "), "U002", "clock_mhz.value"),
    "a key nobody knows": (also("colour = 'red'"), "U002", "colour"),
    "a key misspelt": (
        put("clock_mhz", "clok_mhz"), "U002", "clok_mhz: no such key; did you mean 'clock_mhz'?",
    ),
    "a key twice": (also('name = "x"'), "U002", "not a TOML file"),
    "a name that is a path": (put('name = "tile16"', 'name = "../../x"'), "U002", "name"),
    "a name that is a line": (put('name = "tile16"', 'name = "a\\nb"'), "U002", "name"),
    "another schema": (put("joulec.target/1", "joulec.target/9"), "U002", "schema"),
}  # fmt: skip

# -- tables for validate

TABLES: dict[str, tuple[bytes, str, str]] = {
    "100,000 columns": (b",".join(b"c%d" % i for i in range(100_000)) + b"\n", "M009", ""),
}


# -- packages: recipes change a sound one of a stranger who makes the hashes fit


def table_changed(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """Another plan.json, whose own hash is right."""

    def recipe(folder: Path) -> None:
        table = json.loads((folder / "plan.json").read_text())
        change(table)
        seal(folder, table)

    return recipe


def seal(folder: Path, table: dict[str, Any]) -> None:
    """Writes a plan as the compiler writes it, with the hash that belongs to it."""
    table["hash"] = ""
    table["hash"] = hashlib.sha256(rendered(table)).hexdigest()
    (folder / "plan.json").write_bytes(rendered(table))


def host_replaced(model: Callable[[], bytes]) -> Callable[[Path], None]:
    """Another model for the package's first host segment, all hashes right."""

    def recipe(folder: Path) -> None:
        table = json.loads((folder / "plan.json").read_text())
        old = next(name for name in table["files"] if name.endswith(".onnx"))
        data = model()
        digest = hashlib.sha256(data).hexdigest()
        new = f"host/{digest[:16]}.onnx"
        (folder / old).unlink()
        (folder / new).write_bytes(data)
        table["files"][new] = {"sha256": digest, "size_bytes": len(data)}
        del table["files"][old]
        seal(folder, json.loads(json.dumps(table).replace(old, new)))

    return recipe


def file_changed(kind: str, change: Callable[[Path], Any]) -> Callable[[Path], None]:
    """Something done to a file of the package."""

    def recipe(folder: Path) -> None:
        change(next(path for path in sorted(folder.rglob(kind)) if path.is_file()))

    return recipe


def plan_bytes(data: bytes) -> Callable[[Path], None]:
    """Other bytes for plan.json."""

    def recipe(folder: Path) -> None:
        (folder / "plan.json").write_bytes(data)

    return recipe


def _linked(path: Path) -> None:
    moved = path.rename(path.parent.parent.parent / "elsewhere")
    path.symlink_to(moved)


def _linked_folder(folder: Path) -> None:
    moved = (folder / "host").rename(folder.parent / "elsewhere")
    (folder / "host").symlink_to(moved)


def _piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def segment(nodes: list[onnx.NodeProto], **initializers: onnx.TensorProto) -> bytes:
    """A model with the ports of the host segment of `package`: x, float[1,8], to y, float[1,4]."""
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", 1, [1, 8])],
            [helper.make_tensor_value_info("y", 1, [1, 4])],
            list(initializers.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    return bytes(made.SerializeToString())


def _constant(name: str, value: Any) -> onnx.NodeProto:
    return helper.make_node(
        "Constant", [], [name], value=onnx.numpy_helper.from_array(np.asarray(value))
    )


def bomb(computed: bool = False) -> bytes:
    """A terabyte of zeros, summed; its size is a constant or computed from one."""
    size = [_constant("s", [1 << 38])]
    if computed:
        size = [_constant("r0", [1 << 19]), helper.make_node("Mul", ["r0", "r0"], ["s"])]
    return segment(
        [
            *size,
            helper.make_node("ConstantOfShape", ["s"], ["c"]),
            helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0),
            _constant("k", np.zeros((1, 4), np.float32)),
            helper.make_node("Add", ["k", "r"], ["y"]),
        ]
    )


def endless() -> bytes:
    """A loop that takes some centuries."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes"]),
            helper.make_node("Identity", ["v"], ["w"]),
        ],
        "b",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("go", 9, []),
            helper.make_tensor_value_info("v", 1, [1, 4]),
        ],
        [
            helper.make_tensor_value_info("goes", 9, []),
            helper.make_tensor_value_info("w", 1, [1, 4]),
        ],
    )  # fmt: skip
    return segment(
        [
            _constant("n", 1 << 60),
            _constant("t", True),
            _constant("k", np.zeros((1, 4), np.float32)),
            helper.make_node("Loop", ["n", "t", "k"], ["y"], body=body),
        ]
    )


def long_scan(turns: int = 200_000_000, known: bool = True) -> bytes:
    """A Scan of many turns, whose number follows from the model or only from values."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "s"], ["w"])],
        "b",
        [helper.make_tensor_value_info("v", 1, [1, 4]), helper.make_tensor_value_info("s", 1, [])],
        [helper.make_tensor_value_info("w", 1, [1, 4])],
    )
    return segment(
        [
            _constant("n", np.array([turns])),
            helper.make_node("Abs", ["n"], ["many"]),
            _constant("one", np.float32(1)),
            _constant("k", np.zeros((1, 4), np.float32)),
            helper.make_node("Expand", ["one", "n" if known else "many"], ["c"]),
            helper.make_node("Scan", ["k", "c"], ["y"], body=body, num_scan_inputs=1),
        ]
    )


def bodiless(made: Callable[[], bytes]) -> bytes:
    """The same nodes, the last without its attributes."""
    model = onnx.ModelProto.FromString(made())
    del model.graph.node[-1].attribute[:]
    return bytes(model.SerializeToString())


def branched(made: Callable[[], bytes]) -> bytes:
    """The same nodes, in both branches of an If."""
    inner = onnx.ModelProto.FromString(made()).graph
    del inner.input[:]
    choose = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["sum"], ["choice"], to=onnx.TensorProto.BOOL),
        helper.make_node("If", ["choice"], ["out"], then_branch=inner, else_branch=inner),
        helper.make_node("Identity", ["out"], ["y"]),
    ]
    inner.output[0].name = inner.node[-1].output[0] = "inner"
    for attribute in choose[2].attribute:
        attribute.g.CopyFrom(inner)
    return segment(choose)


def large(op: str, to: list[int]) -> bytes:
    """A small constant that becomes 256 GiB and more, of which little is left."""
    return segment(
        [
            _constant("k", np.zeros((1, 4), np.float32)),
            _constant("to", np.array(to)),
            helper.make_node(op, ["k", "to"], ["much"]),
            helper.make_node("ReduceMax", ["much"], ["y"], axes=[0]),
        ]
    )


def hidden() -> bytes:
    """An endless Loop in a local function."""
    made = onnx.ModelProto.FromString(endless())
    opsets = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("own", "f", [], ["y"], made.graph.node, opsets))
    made.opset_import.append(helper.make_opsetid("own", 1))
    del made.graph.node[:]
    made.graph.node.append(helper.make_node("f", [], ["y"], domain="own"))
    return bytes(made.SerializeToString())


def outside() -> bytes:
    """Weights in a file that is not the package's."""
    tensor = onnx.TensorProto(name="k", data_type=1, dims=[1, 4], data_location="EXTERNAL")
    tensor.external_data.add(key="location", value="/etc/passwd")
    return segment([helper.make_node("Identity", ["k"], ["y"])], k=tensor)


def outside_in_a_function() -> bytes:
    """The same, in a local function's Constant."""
    made = onnx.ModelProto.FromString(outside())
    tensor = copy.deepcopy(made.graph.initializer[0])
    del made.graph.initializer[:]
    inner = helper.make_node("Constant", [], ["o"])
    inner.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    opsets = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("own", "f", [], ["o"], [inner], opsets))
    made.opset_import.append(helper.make_opsetid("own", 1))
    made.graph.node[0].CopyFrom(helper.make_node("f", [], ["y"], domain="own"))
    return bytes(made.SerializeToString())


def _step(table: dict[str, Any], op: str = "") -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in table["steps"] if not op or s["op"] == op)
    return found


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets what a dotted path names; * is the first key."""

    def change(table: dict[str, Any]) -> None:
        here: Any = table
        *keys, last = path.split(".")
        for key in keys:
            here = (
                here[int(key)]
                if isinstance(here, list)
                else here[next(iter(here)) if key == "*" else key]
            )
        if isinstance(here, list):
            here[int(last)] = value
        else:
            here[next(iter(here)) if last == "*" else last] = value

    return change


PACKAGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "no plan": (file_changed("plan.json", Path.unlink), "P001", "plan.json is missing"),
    "an empty plan": (plan_bytes(b""), "P001", "plan.json is not a plan"),
    "a plan that is no JSON": (plan_bytes(b"{"), "P001", "plan.json is not a plan"),
    "lists 100,000 deep": (
        plan_bytes(b'{"a": ' + b"[" * 100_000), "P001", "plan.json is not a plan",
    ),
    "a deep partition": (
        lambda folder: table_changed(_set("partition", json.loads("[" * 500 + "]" * 500)))(folder),
        "P001", "plan.json",
    ),
    "a number of 100,000 digits": (
        plan_bytes(b'{"a": ' + b"9" * 100_000 + b"}"), "P001", "plan.json is not a plan",
    ),
    "a plan of bytes": (plan_bytes(bytes(range(256)) * 40), "P001", "plan.json is not a plan"),
    "a plan behind a link": (file_changed("plan.json", _linked), "P001", "plan.json"),
    "a plan behind a pipe": (file_changed("plan.json", _piped), "P001", "no plain file"),
    "a plan of another hash": (
        file_changed(
            "plan.json",
            lambda path: path.write_bytes(
                path.read_bytes().replace(b'"name": "m"', b'"name": "n"')
            ),
        ),
        "P001", "its own hash",
    ),
    "weights that are missing": (file_changed("weights.*.bin", Path.unlink), "P001", "is missing"),
    "weights behind a link": (file_changed("weights.*.bin", _linked), "P001", "weights."),
    "weights behind a pipe": (file_changed("weights.*.bin", _piped), "P001", "no plain file"),
    "weights with another byte": (
        file_changed(
            "weights.*.bin", lambda path: path.write_bytes(b"\x7f" + path.read_bytes()[1:]),
        ),
        "P001", "was changed",
    ),
    "a host folder behind a link": (_linked_folder, "P001", "host is a link"),
    "a payload above": (
        table_changed(
            lambda table: table["files"].update({"../../x": {"sha256": "0" * 64, "size_bytes": 1}})
        ),
        "P001", "files",
    ),
    "a payload of an absolute path": (
        table_changed(
            lambda table: table["files"].update(
                {"/etc/passwd": {"sha256": "0" * 64, "size_bytes": 1}}
            )
        ),
        "P001", "files",
    ),
    "a payload of exabytes": (table_changed(_set("files.*.size_bytes", 1 << 60)), "P001", ""),
    "a buffer of exabytes": (
        table_changed(_set("buffers.0.size_bytes", 1 << 60)), "P002", "buffer",
    ),
    "a buffer of negative size": (
        table_changed(_set("buffers.0.size_bytes", -1)), "P001", "buffers",
    ),
    "a shape of exabytes": (
        table_changed(_set("buffers.0.shape", [1 << 30, 1 << 30])), "P002", "buffer",
    ),
    "a buffer nobody has": (
        table_changed(_set("steps.0.outputs", ["nowhere"])), "P002", "no buffer",
    ),
    "a value before it is made": (
        table_changed(_set("steps.0.inputs", ["y"])), "P002", "before it is made",
    ),
    "steps in another order": (
        table_changed(lambda table: table["steps"].reverse()), "P002", "says it is step",
    ),
    "a step on an engine that is none": (
        table_changed(_set("steps.0.engine", "magic")), "P002", "unknown engine",
    ),
    "an operation that is none": (
        table_changed(lambda table: _step(table, "AnalogProduct").update(op="Magic")), "P002", "",
    ),
    "an energy that lies": (table_changed(_set("energy_pj.total.value", 1.0)), "P001", "outside ["),
    "a latency that lies": (
        table_changed(_set("latency_ns", {"value": 1.0, "low": 1.0, "high": 1.0})),
        "P002",
        "latency",
    ),
    "a constant beyond the weights": (
        table_changed(
            lambda table: _step(table, "AnalogProduct")["constants"][0].update(offset=1 << 50)
        ),
        "P002", "outside the weights",
    ),
    "a constant of texts": (
        table_changed(
            lambda table: _step(table, "AnalogProduct")["constants"][0].update(dtype="object")
        ),
        "P002", "outside the weights",
    ),
    "an attribute of another kind": (
        table_changed(
            lambda table: _step(table, "AnalogProduct")["attributes"].update(array_rows="many")
        ),
        "P003", "",
    ),
    "rows of 0": (
        table_changed(
            lambda table: _step(table, "AnalogProduct")["attributes"].update(array_rows=0)
        ),
        "P003", "",
    ),
    "an input of another type": (table_changed(_set("inputs.0.dtype", "float64")), "P002", ""),
    "a name that is a line": (table_changed(_set("model.name", "a\nerror[X001]: forged")), "", ""),
}  # fmt: skip
# Models for the one step of a package on the host.
HOSTS: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "a host model that is none": (lambda: b"junk", "P002", "is not an ONNX model"),
    "a host model with other ports": (
        lambda: segment([helper.make_node("Relu", ["z"], ["y"])]), "P002",
        "is refused by ONNX Runtime",
    ),
    "a host model that reads elsewhere": (outside, "P002", "refers to data in other files"),
    "a host model whose function reads elsewhere": (
        outside_in_a_function, "P002", "refers to data in other files",
    ),
    "a host model of a terabyte": (bomb, "P002", "makes value 'c' of 1,099,511,627,776 bytes"),
    "a host model that computes its terabyte": (
        partial(bomb, computed=True), "M008", "--max-memory",
    ),
    "a host model of a terabyte in a branch": (
        partial(branched, bomb), "P002", "makes value 'c' of 1,099,511,627,776 bytes",
    ),
    "a host model that repeats beyond memory": (
        partial(large, "Tile", [1 << 36, 1]), "P002", "bytes, the most of a host model is",
    ),
    "a host model that expands beyond memory": (
        partial(large, "Expand", [1 << 36, 4]), "P002", "bytes, the most of a host model is",
    ),
    "a host model without an end": (endless, "M008", "its Loop never ends or does more work"),
    "a host model without an end in a branch": (
        partial(branched, endless), "M008", "its Loop never ends or does more work",
    ),
    "a host model of a long Scan": (long_scan, "M008", "its Scan does more work than"),
    "a host model of a long Scan in a branch": (
        partial(branched, long_scan), "M008", "its Scan does more work than",
    ),
    "a host model of a Scan of unknown length": (
        partial(long_scan, 20_000_000, known=False), "M008", "its Scan does more work in a run",
    ),
    "a host model of a Loop without a body": (
        partial(bodiless, endless), "P002", "is refused by ONNX Runtime",
    ),
    "a host model of a Scan without a body": (
        partial(bodiless, long_scan), "P002", "is refused by ONNX Runtime",
    ),
    "a host model whose functions hide": (hidden, "P002", "functions of its own"),
}  # fmt: skip
# What only a run finds out.
RUN_ONLY = (
    "a host model with other ports", "a host model that computes its terabyte",
    "a host model of a Scan of unknown length", "a host model of a Loop without a body",
    "a host model of a Scan without a body",
)  # fmt: skip
CHECKED = {name: case for name, case in HOSTS.items() if name not in RUN_ONLY}
