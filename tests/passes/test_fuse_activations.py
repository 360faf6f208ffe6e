"""Fuses a bias, ReLU or Clip into the matrix product or addition before it, which clips itself."""

from __future__ import annotations

from passes.fuse_activations import FuseActivations
from tests.support.before_and_after import after, stays


def test_bias_and_relu_become_part_of_the_product() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
t: float32[2] = const [1.0, -1.0]
p: float32[1, 2] = Product(x, w) from (MatMul_0)
a: float32[1, 2] = Add(t, p) from (Add_1)
y: float32[1, 2] = Relu(a) from (Relu_2)
ledger (MatMul_0, Add_1, Relu_2)
"""
    wanted = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
MatMul_0.bias: float32[2] = const [1.0, -1.0]
y: float32[1, 2] = Product(x, w, MatMul_0.bias) minimum=0.0 from (MatMul_0, Add_1, Relu_2)
ledger (MatMul_0, Add_1, Relu_2)
"""
    assert after(FuseActivations(), before) == wanted


def test_two_biases_are_added() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
b: float32[2] = const [0.5, 0.5]
t: float32[1] = const [1.0]
p: float32[1, 2] = Product(x, w, b)
y: float32[1, 2] = Add(p, t)
"""
    wanted = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
p.bias: float32[2] = const [1.5, 1.5]
y: float32[1, 2] = Product(x, w, p.bias) named p
"""
    assert after(FuseActivations(), before) == wanted


def test_a_convolution_takes_a_bias_per_channel_only() -> None:
    before = """\
graph g(x: float32[1, 1, 2]) -> (y, along_width)
w: float32[1, 1, 2] = const [1.0, 2.0]
t: float32[2, 1] = const [1.0, -1.0]
u: float32[2] = const [1.0, -1.0]
p: float32[1, 2, 2] = Product(x, w) kernel=[1]
y: float32[1, 2, 2] = Add(p, t)
q: float32[1, 2, 2] = Product(x, w) kernel=[1]
along_width: float32[1, 2, 2] = Add(q, u)
"""
    wanted = """\
graph g(x: float32[1, 1, 2]) -> (y, along_width)
w: float32[1, 1, 2] = const [1.0, 2.0]
p.bias: float32[2] = const [1.0, -1.0]
u: float32[2] = const [1.0, -1.0]
y: float32[1, 2, 2] = Product(x, w, p.bias) kernel=[1] named p
q: float32[1, 2, 2] = Product(x, w) kernel=[1]
along_width: float32[1, 2, 2] = Add(q, u)
"""
    assert after(FuseActivations(), before) == wanted


def test_clip_with_one_bound_or_two() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y, v)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
lo: float32[] = const [0.0]
hi: float32[] = const [6.0]
p: float32[1, 2] = Product(x, w)
y: float32[1, 2] = Clip(p, lo, hi)
q: float32[1, 2] = Product(z, w)
v: float32[1, 2] = Clip(q, "", hi)
"""
    wanted = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y, v)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 2] = Product(x, w) minimum=0.0 maximum=6.0 named p
v: float32[1, 2] = Product(z, w) maximum=6.0 named q
"""
    assert after(FuseActivations(), before) == wanted


def test_add_and_relu_become_clipped_add() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
p: float32[1, 2] = Product(x, w)
a: float32[1, 2] = Add(p, z)
y: float32[1, 2] = Relu(a)
"""
    wanted = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
p: float32[1, 2] = Product(x, w)
y: float32[1, 2] = ClippedAdd(p, z) minimum=0.0 named a
"""
    assert after(FuseActivations(), before) == wanted


def test_nothing_fuses_behind_a_clip() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
t: float32[2] = const [1.0, -1.0]
p: float32[1, 2] = Product(x, w) minimum=0.0
y: float32[1, 2] = Add(p, t)
"""
    assert stays(FuseActivations(), before)


def test_a_shared_value_is_not_fused() -> None:
    before = """\
graph g(x: float32[1, 2], z: float32[1, 2]) -> (y, s, u, v)
w: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
p: float32[1, 2] = Product(x, w)
y: float32[1, 2] = Relu(p)
s: float32[1, 2] = Neg(p)
u: float32[1, 2] = Add(x, z)
v: float32[1, 2] = Relu(u)
"""
    assert stays(FuseActivations(), before)


def test_a_float_bias_does_not_go_into_an_integer_product() -> None:
    """Its bias is in steps of the accumulator (here 0.125)."""
    before = """\
graph g(x: int8[1, 2]{scale=0.5}) -> (y)
w: int8[1, 2, 2]{scale=0.25} = const [1, -2, 3, 4]
t: float32[2] = const [1.0, -1.0]
p: float32[1, 2] = Product(x, w)
y: float32[1, 2] = Add(p, t)
"""
    assert stays(FuseActivations(), before)


def test_integers_of_the_model_itself_are_left_alone() -> None:
    before = """\
graph g(x: int32[1, 2], z: int32[1, 2]) -> (y)
a: int32[1, 2] = Add(x, z)
y: int32[1, 2] = Relu(a)
"""
    assert stays(FuseActivations(), before)
