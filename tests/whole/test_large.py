"""Models whose weights are too large for memory: mapped, kept beside the models of the host,
holes kept.
"""

from __future__ import annotations

import os
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import joulec
from compiler.execute import external_constants
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph, Node, TensorType
from compiler.plan.check import check_package
from compiler.plan.package import read_package, write_package
from compiler.storage import spill
from compiler.storage.mapped import blocks, file_of, hash_of, map_file, release_pages
from compiler.storage.payload import Payload
from compiler.storage.spill import spill_to_file

MIB = 1 << 20


def mapped(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return map_file(os.open(path, os.O_RDONLY))


def sparse_file(path: Path, size_bytes: int, pieces: dict[int, bytes]) -> Path:
    """A file of holes with a few pieces of data."""
    with path.open("wb") as file:
        for offset, data in pieces.items():
            file.seek(offset)
            file.write(data)
        file.truncate(size_bytes)
    return path


def decoder(folder: Path, layers: int = 2, size: int = 64) -> Path:
    """Layers of y = Relu(x W), their weights one behind the other in a sparse file of which only
    the first has data.
    """
    nodes, tensors, value = [], [], "x"
    step = size * size * 4
    for index in range(layers):
        tensor = onnx.TensorProto(
            name=f"w{index}", data_type=TensorProto.FLOAT, dims=[size, size],
            data_location=TensorProto.EXTERNAL,
        )  # fmt: skip
        place = {"location": "w.bin", "offset": index * step, "length": step}
        for key, number in place.items():
            tensor.external_data.add(key=key, value=str(number))
        tensors.append(tensor)
        nodes.append(helper.make_node("MatMul", [value, f"w{index}"], [f"p{index}"]))
        nodes.append(helper.make_node("Relu", [f"p{index}"], [f"y{index}"]))
        value = f"y{index}"
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, size]) for name in ("x", value)
    ]
    graph = helper.make_graph(nodes, "decoder", ports[:1], ports[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    first = np.eye(size, dtype=np.float32).tobytes()
    sparse_file(folder / "w.bin", layers * step, {0: first})
    return folder / "model.onnx"


def test_a_mapped_file_is_walked_without_its_holes(tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "f", 64 * MIB, {16 * MIB: b"\1" * 4096})
    array = mapped(path).view(np.float32)
    pieces = list(blocks(array[1:]))
    assert sum(count for count, _ in pieces) == array.size - 1
    read = [piece for _, piece in pieces if piece is not None]
    assert sum(piece.nbytes for piece in read) < MIB
    assert all(piece.any() for piece in read)
    assert hash_of(array) == hash_of(np.array(array))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_a_mapped_array_that_is_let_go_takes_no_memory_and_keeps_its_values(
    tmp_path: Path,
) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(os.urandom(8 * MIB))
    array = mapped(path)[4096 + 3 : -5].view(np.uint8)
    start = resident_bytes()
    digest = hash_of(array)
    assert resident_bytes() - start < 5 * MIB, "a walk lets go what it has seen"
    assert array.max() == 255
    held = resident_bytes()
    release_pages(array)
    assert held - resident_bytes() > 7 * MIB
    assert hash_of(array) == digest
    release_pages(array[::-2])  # not one piece of memory, so it stays
    release_pages(np.zeros(8 * MIB))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells")
def test_a_product_lets_its_weights_go_when_it_has_run(tmp_path: Path) -> None:
    """So a model larger than memory runs in what its largest layer takes."""
    path = tmp_path / "weights.bin"
    path.write_bytes(np.ones((1, 1024, 8192), np.float32).tobytes())
    weights = mapped(path).view(np.float32).reshape(1, 1024, 8192)
    types = {
        "x": TensorType("float32", (1, 1024)),
        "w": TensorType("float32", weights.shape),
        "y": TensorType("float32", (1, 8192)),
    }
    nodes = (Node("y", "Product", ("x", "w"), ("y",)),)
    runner = Interpreter(Graph("net", ("x",), ("y",), nodes, types, {"w": weights}))
    assert weights.all()
    held = resident_bytes()
    made = runner.run_all({"x": np.ones((3, 1, 1024), np.float32)})
    assert held - resident_bytes() > 24 * MIB
    assert np.array_equal(made["y"], np.full((3, 1, 8192), 1024))


def resident_bytes() -> int:
    """What of this process lies in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_a_payload_keeps_holes_and_hashes_what_it_writes(tmp_path: Path) -> None:
    hollow = mapped(sparse_file(tmp_path / "f", 32 * MIB, {0: b"\2" * 4096}))
    payload = Payload.laid_out([np.arange(3, dtype=np.int16), hollow], 4096)
    handle = os.open(tmp_path / "out", os.O_RDWR | os.O_CREAT)
    payload.write(handle)
    os.close(handle)
    written = (tmp_path / "out").read_bytes()
    assert written == payload.tobytes() == b"\0\0\1\0\2\0".ljust(4096, b"\0") + hollow.tobytes()
    assert (tmp_path / "out").stat().st_blocks * 512 < MIB
    assert Payload.of(written).sha256 == payload.sha256
    assert payload.view(4096, 4).tobytes() == b"\2\2\2\2"
    with pytest.raises(ValueError, match="not one piece"):
        payload.view(4, 4096)


def test_constants_beside_a_host_model_run_as_those_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoder(tmp_path / "m", layers=3, size=256)
    options = joulec.Options(precision="float")
    inside = joulec.compile(model, "diana", options=options)
    monkeypatch.setattr(external_constants, "INSIDE_BYTES", MIB // 4)
    beside = joulec.compile(model, "diana", options=options, output=tmp_path / "p")
    assert [name.endswith(".bin") for name in inside.plan.files] == [False]
    assert sorted(name[-4:] for name in beside.plan.files) == [".bin", "onnx"]
    x = {"x": np.random.default_rng(0).standard_normal((1, 256), np.float32)}
    wanted = joulec.run(inside, x)
    for package in (beside, tmp_path / "p"):
        np.testing.assert_array_equal(joulec.run(package, x), wanted)
    (file,) = (tmp_path / "p" / "host").glob("*.bin")
    assert file.stat().st_blocks * 512 < file.stat().st_size // 2  # two of three layers are holes


def test_a_changed_file_beside_a_host_model_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_constants, "INSIDE_BYTES", 0)
    options = joulec.Options(precision="float")
    joulec.compile(
        decoder(tmp_path / "m", size=256), "diana", options=options, output=tmp_path / "p"
    )
    (file,) = (tmp_path / "p" / "host").glob("*.bin")
    with file.open("r+b") as stream:
        stream.seek(300_000)
        stream.write(b"\1")
    with pytest.raises(joulec.CompileError, match="its hash is not what the plan says"):
        check_package(read_package(tmp_path / "p"))


def test_weights_that_change_before_the_package_is_written_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(external_constants, "INSIDE_BYTES", 0)
    model = decoder(tmp_path / "m", size=256)
    made = joulec.compile(model, "diana", options=joulec.Options(precision="float"))
    with (tmp_path / "m" / "w.bin").open("r+b") as stream:
        stream.write(b"\1")
    os.utime(tmp_path / "m" / "w.bin", (1, 1))
    with pytest.raises(joulec.ModelError, match="changed while") as caught:
        write_package(made.package, tmp_path / "p")
    assert caught.value.code == "M006"
    assert not (tmp_path / "p" / "plan.json").exists()


def test_mapped_weights_take_no_memory(tmp_path: Path) -> None:
    model = decoder(tmp_path / "m", layers=4, size=2048)  # 64 MiB
    tracemalloc.start()
    try:
        imported = import_onnx(model)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert sum(data.nbytes for data in imported.graph.constants.values()) == 64 * MIB
    assert peak_bytes < 24 * MIB  # a block of 4 MiB, and the modules that are imported on the way


def test_an_array_put_aside_lies_in_a_file_and_keeps_its_holes() -> None:
    array = np.zeros((3, MIB // 4), np.float32)
    array[2] = np.arange(MIB // 4)
    assert spill_to_file(array) is array, "too small to be worth a file"
    large = np.zeros((3, 4 * MIB), np.float32)
    large[1, -1] = 5
    aside = spill_to_file(large)
    assert np.array_equal(aside, large)
    assert not aside.flags.writeable
    assert spill_to_file(aside) is aside
    file = file_of(aside)
    assert file is not None
    assert sum(end - start for start, end in file.data) <= 4 * MIB
    assert hash_of(aside) == hash_of(large)


def test_an_array_stays_in_memory_where_there_is_no_room_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    large = np.ones((2, 4 * MIB), np.float32)
    assert spill_to_file(large) is large


def test_quantized_weights_take_a_small_part_of_the_models_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 38 MiB of weights a compilation to int8 holds a third at most: blocks of them while
    they are rounded, the rest in files.
    """
    model = decoder(tmp_path / "m", layers=6, size=1280)
    weights = np.random.default_rng(0).standard_normal((6, 1280, 1280), np.float32) / 37
    (tmp_path / "m" / "w.bin").write_bytes(weights.tobytes())
    monkeypatch.setattr(spill, "SPILL_BYTES", MIB)
    joulec.compile(decoder(tmp_path / "warm"), "diana_digital")  # imports what is to be imported
    tracemalloc.start()
    try:
        made = joulec.compile(model, "diana_digital", output=tmp_path / "p")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.plan.peak_bytes["off_chip"] >= weights.size, "the weights are there, in int8"
    assert peak_bytes < weights.nbytes / 3
    check_package(read_package(tmp_path / "p"))


def test_the_integers_of_holes_are_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoder(tmp_path / "m", layers=4, size=1024)
    monkeypatch.setattr(spill, "SPILL_BYTES", MIB // 2)
    joulec.compile(model, "diana_digital", output=tmp_path / "p")
    (file,) = (tmp_path / "p").glob("weights.*.bin")
    assert file.stat().st_size > 4 * MIB, "int8 of four layers"
    assert file.stat().st_blocks * 512 < file.stat().st_size // 2  # three of them are holes
    check_package(read_package(tmp_path / "p"))
