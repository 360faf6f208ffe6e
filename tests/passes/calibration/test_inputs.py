"""Calibration inputs: their name is a hash, made-up ones repeat, bad files give one-line errors."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.ir.graph import TensorType
from compiler.ir.text import from_text
from passes.calibration.inputs import CalibrationInputs, load_inputs, synthetic_inputs

GRAPH = from_text("""\
graph two(x: float32[1, 3] batch 0, n: int64[], q: int8:7[2, 1]{scale=0.1, zero=0} batch 1) -> (y)
y: float32[1, 3] = Relu(x)
""")


def save(folder: Path, **arrays: object) -> Path:
    file = folder / "data.npz"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in arrays.items():
            with archive.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array(stream, np.asarray(data))
    return file


def whole(count: int) -> dict[str, object]:
    numbers = np.arange(2 * count, dtype=np.int8).reshape(2, count)
    return {"x": np.arange(3.0 * count).reshape(count, 3), "n": np.int64(4), "q": numbers}


def test_repr_and_equality_go_by_hash() -> None:
    one = CalibrationInputs({"x": np.zeros((4, 1, 3), np.float32)})
    two = CalibrationInputs({"x": np.zeros((4, 1, 3), np.float32)})
    other = CalibrationInputs({"x": np.zeros((2, 2, 3), np.float32)})
    assert one == two
    assert hash(one) == hash(two)
    assert one != other
    assert repr(one) == f"CalibrationInputs(4 given, sha256={one.hash[:16]})"


def test_made_up_inputs_repeat_and_are_plausible() -> None:
    inputs = synthetic_inputs(GRAPH, 50, seed=3)
    assert inputs == synthetic_inputs(GRAPH, 50, seed=3)
    assert inputs != synthetic_inputs(GRAPH, 50, seed=4)
    assert inputs.synthetic
    assert {name: (a.shape, a.dtype.name) for name, a in inputs.arrays.items()} == {
        "x": ((50, 1, 3), "float32"),
        "n": ((50,), "int64"),
        "q": ((50, 2, 1), "int8"),
    }
    assert abs(inputs.arrays["x"]).max() <= 3
    assert inputs.arrays["q"].min() >= -64
    assert inputs.arrays["q"].max() <= 63


def test_an_input_may_be_named_like_the_labels(tmp_path: Path) -> None:
    graph = from_text("graph g(x: float32[2], y: float32[2]) -> (z)\nz: float32[2] = Mul(x, y)\n")
    inputs = load_inputs(save(tmp_path, x=np.ones((3, 2)), y=np.full((3, 2), 7.0)), graph)
    assert inputs.arrays["y"].tolist() == [[7, 7]] * 3


@pytest.mark.parametrize(
    "dtype",
    [
        "float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu",
        "float4_e2m1fn", "bool", "int4", "uint4", "int2", "uint2", "uint64", "complex64",
    ],
)  # fmt: skip
def test_samples_of_every_type_of_numbers(dtype: str) -> None:
    graph = from_text(f"graph g(x: {dtype}[4]) -> (y)\ny: {dtype}[4] = Identity(x)\n")
    made = synthetic_inputs(graph, 50).arrays["x"]
    assert (made.dtype.name, made.shape) == (dtype, (50, 4))
    numbers = made.astype(np.complex64)
    assert np.isfinite(numbers).all()
    assert len(np.unique(numbers)) > 1


def test_texts_are_no_samples() -> None:
    graph = replace(GRAPH, types={**GRAPH.types, "n": TensorType("string", (2,))})
    with pytest.raises(CompileError, match="input 'n' is of type string") as caught:
        synthetic_inputs(graph, 1)
    assert "--precision float" in caught.value.hint


def test_samples_are_stacked_on_the_batch_axis(tmp_path: Path) -> None:
    file = save(tmp_path, **whole(5), y=np.zeros(5), other=np.zeros(2))
    inputs = load_inputs(file, GRAPH, count=4)
    assert {name: a.shape for name, a in inputs.arrays.items()} == {
        "x": (4, 1, 3),
        "n": (4,),
        "q": (4, 2, 1),
    }
    assert inputs.arrays["x"][3].tolist() == [[9, 10, 11]]
    assert inputs.arrays["q"][3].tolist() == [[3], [8]]
    assert inputs.arrays["n"].tolist() == [4, 4, 4, 4]
    assert inputs.arrays["x"].dtype == np.float32


BAD = [
    ({"x": np.zeros((5, 3))}, "U005", "has no array 'n'"),
    ({**whole(5), "x": np.zeros((5, 4))}, "U005", "is [5, 4], wanted [samples, 3]"),
    ({**whole(5), "x": np.zeros((4, 3))}, "U005", "samples differ in number"),
    ({**whole(5), "n": np.float32(3)}, "U005", "the model takes int64"),
    ({**whole(5), "x": np.full((5, 3), np.nan)}, "M009", "NaN or infinity"),
    ({**whole(0)}, "U005", "no samples"),
    ({**whole(5), "x": np.array([{}] * 5, object)}, "M009", "pickle"),
]


@pytest.mark.parametrize(("arrays", "code", "words"), BAD)
def test_a_bad_array_is_told(
    tmp_path: Path, arrays: dict[str, object], code: str, words: str
) -> None:
    with pytest.raises(CompileError) as caught:
        load_inputs(save(tmp_path, **arrays), GRAPH)
    assert caught.value.code == code
    assert words in caught.value.line()
    assert "\n" not in caught.value.line()


def test_a_bad_file_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none.npz"
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"PK\x03\x04 but not really")
    text = tmp_path / "text.npz"
    with zipfile.ZipFile(text, "w") as archive:
        archive.writestr("x.npy", "not an array")
        archive.writestr("n.npy", "")
        archive.writestr("q.npy", "")
    short = save(tmp_path, **whole(5))
    short.write_bytes(short.read_bytes()[:-40])
    for file, code in (
        (missing, "U001"),
        (tmp_path, "U001"),
        (junk, "M009"),
        (text, "M009"),
        (short, "M009"),
    ):
        with pytest.raises(CompileError) as caught:
            load_inputs(file, GRAPH)
        assert caught.value.code == code, caught.value.line()


def test_made_up_indices_lie_in_the_tables_they_index() -> None:
    graph = from_text("""\
graph text(words: int64[1, 6], kinds: int32[1, 6]) -> (y)
of_words: float32[100, 4] = const random(1)
of_kinds: float32[2, 4] = const random(2)
a: float32[1, 6, 4] = Gather(of_words, words)
long: int64[1, 6] = Cast(kinds) to=7
b: float32[1, 6, 4] = Gather(of_kinds, long)
y: float32[1, 6, 4] = Add(a, b)
""")
    made = synthetic_inputs(graph, 50).arrays
    assert set(made["words"].reshape(-1).tolist()) > set(range(60, 90))
    assert made["words"].max() <= 99
    assert made["kinds"].max() == 1
