"""Computes at compile time what does not depend on the inputs."""

from __future__ import annotations

from passes.fold_constants import FoldConstants
from tests.support.before_and_after import after, stays


def test_constant_arithmetic_is_done() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
w: float32[4] = const [1.0, 2.0, 3.0, 4.0]
shape: int64[2] = const [2, 2]
two: float32[] = const [2.0]
m: float32[2, 2] = Reshape(w, shape) from (Reshape_0)
v: float32[2, 2] = Mul(m, two) from (Mul_1)
h: float32[2, 2] = Reshape(x, shape) from (Reshape_2)
y: float32[2, 2] = MatMul(h, v) from (MatMul_3)
ledger (Reshape_0, Mul_1, Reshape_2, MatMul_3)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
shape: int64[2] = const [2, 2]
v: float32[2, 2] = const [2.0, 4.0, 6.0, 8.0]
h: float32[2, 2] = Reshape(x, shape) from (Reshape_2)
y: float32[2, 2] = MatMul(h, v) from (MatMul_3)
ledger (Reshape_0 folded, Mul_1 folded, Reshape_2, MatMul_3)
"""
    assert after(FoldConstants(), before) == wanted


def test_a_shape_is_known_before_the_values_are() -> None:
    before = """\
graph g(x: float32[1, 2, 3]) -> (y)
minus: int64[1] = const [-1]
h: float32[1, 2, 3] = Relu(x)
batch: int64[1] = Shape(h) end=1
target: int64[2] = Concat(batch, minus) axis=0
y: float32[1, 6] = Reshape(h, target)
"""
    wanted = """\
graph g(x: float32[1, 2, 3]) -> (y)
target: int64[2] = const [1, -1]
h: float32[1, 2, 3] = Relu(x)
y: float32[1, 6] = Reshape(h, target)
"""
    assert after(FoldConstants(), before) == wanted


def test_results_beyond_the_limit_are_left_to_the_run() -> None:
    before = """\
graph g(x: float32[1, 5]) -> (y)
four: int64[2] = const [1, 4]
five: int64[2] = const [1, 5]
a: float32[1, 4] = ConstantOfShape(four)
b: float32[1, 5] = ConstantOfShape(five)
c: float32[1, 9] = Concat(a, b) axis=1
d: float32[1, 9] = Concat(a, x) axis=1
y: float32[1, 9] = Add(c, d)
"""
    wanted = """\
graph g(x: float32[1, 5]) -> (y)
five: int64[2] = const [1, 5]
a: float32[1, 4] = const [0.0, 0.0, 0.0, 0.0]
b: float32[1, 5] = ConstantOfShape(five)
c: float32[1, 9] = Concat(a, b) axis=1
d: float32[1, 9] = Concat(a, x) axis=1
y: float32[1, 9] = Add(c, d)
"""
    assert after(FoldConstants(limit_bytes=16), before) == wanted


def test_quantized_weights_chance_and_outputs_stay() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y, r, c)
q: int8[2, 1] = const [1, -2]
scale: float32[] = const [0.5]
w: float32[2, 1] = DequantizeLinear(q, scale)
r: float32[1] = RandomNormal() shape=[1]
y: float32[1, 1] = MatMul(x, w)
c: float32[] = Neg(scale)
"""
    assert stays(FoldConstants(), before, runs=False)


def test_what_cannot_be_computed_is_left_to_the_run() -> None:
    before = """\
graph g(x: int64[1]) -> (y)
a: int64[1] = const [1]
b: int64[1] = const [0]
c: int64[1] = Div(a, b)
y: int64[1] = Add(c, x)
"""
    assert stays(FoldConstants(), before, runs=False)


def test_what_has_no_elements_needs_nothing_of_the_network() -> None:
    """An empty part of a Concat is a constant, an empty output is made of no input."""
    before = """\
graph g(x: float32[1, 4]) -> (y, e)
from: int64[1] = const [2]
to: int64[1] = const [2]
axis: int64[1] = const [1]
h: float32[1, 4] = Relu(x) from (Relu_0)
a: float32[1, 0] = Slice(h, from, to, axis) from (Slice_1)
y: float32[1, 4] = Concat(h, a) axis=1 from (Concat_2)
e: float32[1, 0] = Slice(h, from, to, axis) from (Slice_3)
ledger (Relu_0, Slice_1, Concat_2, Slice_3)
"""
    found = after(FoldConstants(), before)
    assert "a: float32[1, 0] = const []" in found
    assert "e: float32[1, 0] = ConstantOfShape(e.sizes)" in found
    assert found.endswith("ledger (Relu_0, Slice_1 folded, Concat_2, Slice_3)\n")
    assert "Slice(" not in found
