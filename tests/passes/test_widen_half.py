"""Computes a float16 or bfloat16 model in float32 between its inputs and outputs.

So one set of formats fits every model.
"""

from __future__ import annotations

from passes.widen_half import WidenHalf
from tests.support.before_and_after import after, stays


def test_half_becomes_single_between_the_ports() -> None:
    before = """\
graph g(x: float16[1, 2]) -> (y)
w: float16[2, 2] = const [1.0, 2.0, 3.0, 4.0]
p: float16[1, 2] = MatMul(x, w)
y: float16[1, 2] = Relu(p)
"""
    wanted = """\
graph g(x: float16[1, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
x.wide: float32[1, 2] = Cast(x) to=1 named x.wide.cast
p: float32[1, 2] = MatMul(x.wide, w)
y.wide: float32[1, 2] = Relu(p) named y
y: float16[1, 2] = Cast(y.wide) to=10 named y.cast
"""
    assert after(WidenHalf(), before) == wanted


def test_half_inputs_and_constants_that_are_outputs_stay_half() -> None:
    before = """\
graph g(x: float16[1, 2]) -> (y, x, c)
c: float16[2] = const [1.0, 2.0]
y: float16[1, 2] = Add(x, c)
"""
    wanted = """\
graph g(x: float16[1, 2]) -> (y, x, c)
c.wide: float32[2] = const [1.0, 2.0]
c: float16[2] = const [1.0, 2.0]
x.wide: float32[1, 2] = Cast(x) to=1 named x.wide.cast
y.wide: float32[1, 2] = Add(x.wide, c.wide) named y
y: float16[1, 2] = Cast(y.wide) to=10 named y.cast
"""
    assert after(WidenHalf(), before) == wanted


def test_a_model_that_asks_for_the_type_itself_stays_half() -> None:
    before = """\
graph g(x: float16[1, 2]) -> (y)
p: float32[1, 2] = Cast(x) to=1
y: float32[1, 2] = Relu(p)
"""
    assert stays(WidenHalf(), before)


def test_half_scales_and_casts_are_widened_too() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: int8[2, 2] = const [1, -2, 3, 4]
s: float16[] = const [0.5]
h: float16[1, 2] = Cast(x) to=10
dw: float16[2, 2] = DequantizeLinear(w, s)
p: float16[1, 2] = MatMul(h, dw)
y: float32[1, 2] = Cast(p) to=1
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
w: int8[2, 2] = const [1, -2, 3, 4]
s: float32[] = const [0.5]
h: float32[1, 2] = Cast(x) to=1
dw: float32[2, 2] = DequantizeLinear(w, s)
p: float32[1, 2] = MatMul(h, dw)
y: float32[1, 2] = Cast(p) to=1
"""
    assert after(WidenHalf(), before, lossy=True) == wanted
