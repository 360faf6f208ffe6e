"""Made-up inputs look like what a graph does with them, and no two uses draw the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler.errors import CompileError
from compiler.execute.input_kinds import InputKind, kind_of
from compiler.execute.made_up_inputs import made_up_arrays
from compiler.ir.graph import TensorType
from compiler.ir.text import from_text

NUMBERS = InputKind("numbers", -3, 3)
ONES, ZEROS = InputKind("constant", 1, 1), InputKind("constant", 0, 0)
TABLE = "t: float32[50, 4] = const random(1)\n"
PICTURE = "x: float32[1, 3, 16, 16]"
# Inputs, nodes, and what the first input is.
KINDS = [
    ("x: float32[1, 4]", "y: float32[1, 4] = Relu(x)", NUMBERS),
    ("x: int64[1, 4]", "y: int64[1, 4] = Identity(x)", InputKind("integers", 0, 7)),
    ("x: bool[1, 4]", "y: bool[1, 4] = Not(x)", InputKind("truths", 0, 1)),
    ("x: uint8[1, 4]", "y: float32[1, 4] = Cast(x) to=1", InputKind("format", 0, 255)),
    # Indices, also behind a Cast, an offset, a choice.
    ("x: int64[1, 6]", f"{TABLE}y: float32[1, 6, 4] = Gather(t, x)", InputKind("integers", 0, 49)),
    (
        "x: float32[1, 6]",
        f"{TABLE}two: int64[] = const [2]\ni: int64[1, 6] = Cast(x) to=7\n"
        "j: int64[1, 6] = Add(i, two)\ny: float32[1, 6, 4] = Gather(t, j)",
        InputKind("integers", 0, 47),
    ),
    (
        "position_ids: int64[1, 6]",
        f"{TABLE}y: float32[1, 6, 4] = Gather(t, position_ids)",
        InputKind("positions", 0, 49),
    ),
    # A shape is no index, whatever it makes.
    (
        "x: int64[2]",
        f"{TABLE}c: int64[6] = const [1, 1, 1, 1, 1, 1]\ni: int64[?, ?] = Reshape(c, x)\n"
        "y: float32[?, ?, 4] = Gather(t, i)",
        InputKind("integers", 0, 7),
    ),
    # Masks, by what is done with them.
    (
        "m: int64[1, 4], s: float32[1, 4]",
        "one: float32[] = const [1]\nlow: float32[] = const [-10000]\n"
        "f: float32[1, 4] = Cast(m) to=1\nh: float32[1, 4] = Sub(one, f)\n"
        "a: float32[1, 4] = Mul(h, low)\n"
        "y: float32[1, 4] = Add(s, a)",
        ONES,
    ),
    (
        "m: bool[1, 4], s: float32[1, 4]",
        "low: float32[] = const [-1e9]\ny: float32[1, 4] = Where(m, low, s)",
        ZEROS,
    ),
    (
        "m: bool[1, 4], s: float32[1, 4]",
        "low: float32[] = const [-1e9]\ny: float32[1, 4] = Where(m, s, low)",
        ONES,
    ),
    ("attention_mask: int32[1, 4]", "y: float32[1, 4] = Cast(attention_mask) to=1", ONES),
    (
        "attn_mask: float32[1, 4], s: float32[1, 4]",
        "a: float32[1, 4] = Add(s, attn_mask)\ny: float32[1, 4] = Softmax(a)",
        ZEROS,
    ),
    # Lengths, and a switch: the sample rate that a branch asks for.
    (
        "x_lengths: int64[1], x: float32[1, 40, 8]",
        "y: int64[1] = Identity(x_lengths)",
        InputKind("constant", 40, 40),
    ),
    (
        "sr: int64[]",
        "rate: int64[] = const [16000]\ny: bool[] = Equal(sr, rate)",
        InputKind("constant", 16000, 16000),
    ),
    # Pictures, by how they are normalized.
    (PICTURE, f"y: {PICTURE[3:]} = Relu(x)", NUMBERS),
    (
        PICTURE,
        f"c: float32[] = const [255]\ny: {PICTURE[3:]} = Div(x, c)",
        InputKind("pixels", 0, 255),
    ),
    (
        PICTURE,
        f"m: float32[3, 1, 1] = const [0.45, 0.45, 0.45]\n"
        f"s: float32[3, 1, 1] = const [0.22, 0.22, 0.22]\n"
        f"c: {PICTURE[3:]} = Sub(x, m)\ny: {PICTURE[3:]} = Div(c, s)",
        InputKind("pixels", 0, 1),
    ),
    (
        PICTURE,
        f"m: float32[3, 1, 1] = const [118, 118, 118]\ny: {PICTURE[3:]} = Sub(x, m)",
        InputKind("pixels", 0, 255),
    ),
    # Ranges that the model itself quantizes in.
    (
        "x: float32[1, 4]",
        "s: float32[] = const [0.5]\nz: int8[] = const [-128]\n"
        "q: int8[1, 4] = QuantizeLinear(x, s, z)\n"
        "y: float32[1, 4] = DequantizeLinear(q, s, z)",
        InputKind("numbers", 0, 127.5),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "nodes", "wanted"), KINDS)
def test_what_an_input_looks_like(inputs: str, nodes: str, wanted: InputKind) -> None:
    graph = from_text(f"graph g({inputs}) -> (y)\n{nodes}\n")
    first = graph.inputs[0]
    assert kind_of(first, graph.types[first], graph) == wanted
    made = made_up_arrays(graph, 50, 0, "calibration")[first]
    assert made.shape == (50, *graph.types[first].sizes)
    assert made.dtype.name == graph.types[first].dtype
    assert made.min() >= wanted.low
    assert made.max() <= wanted.high
    # They reach across most of it.
    assert float(made.max()) - float(made.min()) >= 0.75 * min(wanted.high - wanted.low, 5)


def test_each_use_draws_samples_of_its_own() -> None:
    graph = from_text("graph g(x: float32[4]) -> (y)\ny: float32[4] = Relu(x)\n")
    drawn = [made_up_arrays(graph, 8, 0, use)["x"] for use in ("calibration", "verification")]
    again = made_up_arrays(graph, 8, 0, "verification")["x"]
    assert np.array_equal(drawn[1], again)
    assert not np.isin(drawn[0], drawn[1]).any()


def test_known_ranges_are_filled() -> None:
    graph = from_text("graph g(x: float32[99]) -> (y)\ny: float32[99] = Relu(x)\n")
    made = made_up_arrays(graph, 99, 0, "verification", {"x": (10.0, 70.0)})["x"]
    assert made.min() == 10
    assert made.max() == 70
    assert abs(float(made.astype(np.float64).mean()) - 40) < 0.5


def test_what_no_sample_can_be_made_up_of() -> None:
    graph = from_text("graph g(x: float32[4]) -> (y)\ny: float32[4] = Relu(x)\n")
    for kind, words in (
        (TensorType("sequence_type { }", None), "of which no sample can be made up"),
        (TensorType("float32", (None, 4)), "has unknown sizes"),
    ):
        strange = replace(graph, types={**graph.types, "x": kind})
        with pytest.raises(CompileError, match=words) as caught:
            made_up_arrays(strange, 1, 0, "batch")
        assert caught.value.code == "U005"


def test_texts_are_words_that_a_graph_knows() -> None:
    graph = from_text("graph g(x: float32[4]) -> (y)\ny: float32[4] = Relu(x)\n")
    texts = replace(graph, types={**graph.types, "x": TensorType("string", (3,))})
    assert made_up_arrays(texts, 2, 0, "batch")["x"].tolist() == [["word"] * 3] * 2
