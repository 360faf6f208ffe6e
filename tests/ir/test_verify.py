"""The rules of a graph: each broken once, by a graph small enough to read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from compiler.ir.graph import TensorType
from compiler.ir.text import from_text
from compiler.ir.verify import GraphError, verify

SOUND = """\
graph g(x: float32[1, 4]) -> (y, z)
w: float32[4, 2] = const [1, 2, 3, 4, 5, 6, 7, 8]
h: float32[1, 2] = MatMul(x, w)
a: float32[1, 1], b: float32[1, ?] = Split(h) axis=1 num_outputs=2
y: float32[1, 1] = Add(a, a)
z: float32[...] = MyDomain::Odd(y, "", b)
"""


def test_a_sound_graph_passes() -> None:
    verify(from_text(SOUND))


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("(x: float32[1, 4])", "(x)", "input 'x' has no type"),
        ("(x: float32[1, 4])", "(x: float32[1, 4], x)", "input 'x' is given twice"),
        ("(x: float32[1, 4])", "(x: float32[1, 4], w)", "input 'w' is a constant"),
        ("MatMul(x, w)", "MatMul(x, w) named y", "two nodes are named 'y'"),
        ("MatMul(x, w)", "MatMul(x, v)", "node 'h' reads 'v' too early"),
        ("MatMul(x, w)", "MatMul(y, w)", "node 'h' reads 'y' too early"),
        (
            'z: float32[...] = MyDomain::Odd(y, "", b)', "h: float32[1, 2] = Relu(h) named z",
            "value 'h' is made twice",
        ),
        ("b: float32[1, ?] =", "a: float32[1, 1] =", "value 'a' is made twice"),
        ("h: float32[1, 2] =", "w: float32[4, 2] =", "value 'w' is made twice"),
        ("y: float32[1, 1] =", "y =", "value 'y' has no type"),
        ("MatMul(x, w)", "MatMul(w, x)", "MatMul: .*Incompatible dimensions"),
        ("MatMul(x, w)", "MatMul(x)", "MatMul: .*has input size 1"),
        ("axis=1", 'axis="1"', "Split: "),
        (
            "y: float32[1, 1]", "y: float32[1, 2]",
            r"value 'y' of Add is .*\(1, 2\).*, inferred is .*\(1, 1\)",
        ),
        ("y: float32[1, 1]", "y: float32[1]", "value 'y' of Add is .*"),
        (
            "y: float32[1, 1]", "y: float64[1, 1]",
            "value 'y' of Add is .*float64.*, inferred is .*float32.*",
        ),
        ("(y, z)", "(y, q)", "output 'q' is never made"),
    ],
)  # fmt: skip
def test_each_rule(was: str, now: str, message: str) -> None:
    assert was in SOUND
    with pytest.raises(GraphError) as caught:
        verify(from_text(SOUND.replace(was, now)))
    assert caught.match(message)
    assert (caught.value.code, caught.value.exit_status) == ("X001", 1)


def test_a_constant_is_what_its_type_says() -> None:
    graph = from_text(SOUND)
    without = {name: kind for name, kind in graph.types.items() if name != "w"}
    with pytest.raises(GraphError, match="constant 'w' has no type"):
        verify(dataclasses.replace(graph, types=without))
    for data in (np.zeros((2, 4), np.float32), np.zeros((4, 2), np.float64)):
        with pytest.raises(GraphError, match="constant 'w' is float"):
            verify(dataclasses.replace(graph, constants={"w": data}))


QUANTIZED = """\
graph g(x: int8[1, 2, 4]{scale=0.5, zero=-1}, f: float32[1, 4]) -> (y)
w: int8[1, 6, 3]{scale=0.5} = const random(1)
p: int8[1, 3, 2]{scale=1.0} = Product(x, w) kernel=[3]
y: int8:7[1, 3, 2]{scale=1.0} = Requantize(p)
"""


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("kernel=[3]", "kernel=[2]", "1 groups of 6 rows do not fit input"),
        ("kernel=[3]", "kernel=[3] strides=[2]", "value 'p' of Product"),
        ("kernel=[3]", "", "a product of 6 rows cannot take 4 inputs"),
        ("kernel=[3]", 'kernel="3"', "Product: attribute kernel of p is not a list of integers"),
        ("Product(x, w)", "Product(x)", "Product lacks an input or output"),
        ("kernel=[3]", "kernel=[3] dilations=[3]", "is larger than the padded input"),
        ("Requantize(p)", "Requantize(f)", "Requantize takes quantized integers, found float32"),
        ("y: int8:7[1, 3, 2]", "y: int8:9[1, 3, 2]", "int8 cannot hold 9-bit integers"),
        ("Requantize(p)", "IntegerAdd(p, x)", "do not broadcast"),
    ],
)
def test_our_own_operations(was: str, now: str, message: str) -> None:
    verify(from_text(QUANTIZED))
    assert was in QUANTIZED
    with pytest.raises(GraphError, match=message):
        verify(from_text(QUANTIZED.replace(was, now)))


def test_an_unknown_size_agrees_with_any() -> None:
    graph = from_text(SOUND)
    types = {**graph.types, "b": TensorType("float32", None)}
    verify(dataclasses.replace(graph, types=types))
