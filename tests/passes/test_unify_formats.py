"""Rewrites integers of fewer than 8 bits as 8-bit integers of a clipped value.

So all later passes know one format.
"""

from __future__ import annotations

from compiler.ir.text import from_text
from passes.unify_formats import UnifyFormats
from tests.support.before_and_after import TILE16, after


def test_a_clip_of_integers_is_a_clip_before_the_rounding() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
s: float32[] = const [0.5]
z: int8[] = const [1]
low: int8[] = const [-7]
high: int8[] = const [7]
q: int8[1, 2] = QuantizeLinear(x, s, z) from (Q_0)
c: int8[1, 2] = Clip(q, low, high) from (Clip_1)
y: float32[1, 2] = DequantizeLinear(c, s, z) from (DQ_2)
ledger (Q_0, Clip_1, DQ_2)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
Q_0.low: float32[] = const [-4.0]
Q_0.high: float32[] = const [3.0]
Q_0.scale: float32[] = const [0.5]
Q_0.zero: int8[] = const [1]
s: float32[] = const [0.5]
x.clipped: float32[1, 2] = Clip(x, Q_0.low, Q_0.high) named Q_0.clip from (Q_0, Clip_1)
c: int8[1, 2] = QuantizeLinear(x.clipped, Q_0.scale, Q_0.zero) from (Q_0, Clip_1)
y: float32[1, 2] = DequantizeLinear(c, s, Q_0.zero) from (DQ_2)
ledger (Q_0, Clip_1, DQ_2)
"""
    assert after(UnifyFormats(), before) == wanted


def test_activations_of_four_bits_are_clipped_and_held_in_eight() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
s: float32[] = const [0.5]
z: uint4[] = const [3]
q: uint4[1, 2] = QuantizeLinear(x, s, z)
y: float32[1, 2] = DequantizeLinear(q, s, z)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
q.low: float32[] = const [-1.5]
q.high: float32[] = const [6.0]
q.scale: float32[] = const [0.5]
q.zero: uint8[] = const [3]
s: float32[] = const [0.5]
x.clipped: float32[1, 2] = Clip(x, q.low, q.high) named q.clip
q: uint8[1, 2] = QuantizeLinear(x.clipped, q.scale, q.zero)
y: float32[1, 2] = DequantizeLinear(q, s, q.zero)
"""
    assert after(UnifyFormats(), before) == wanted


def test_four_bit_floats_are_no_integers() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
s: float32[] = const [0.5]
z: float4_e2m1fn[] = const [0.0]
q: float4_e2m1fn[1, 2] = QuantizeLinear(x, s, z)
y: float32[1, 2] = DequantizeLinear(q, s, z)
"""
    graph = from_text(before)
    assert UnifyFormats()(graph, TILE16) is graph
