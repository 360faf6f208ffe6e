"""Narrows integers of more than 8 bits: activations by calibration, weights by rounding."""

from __future__ import annotations

from passes.narrow_formats import NarrowFormats
from tests.support.before_and_after import after


def test_sixteen_bits_leave_their_range() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
s: float32[] = const [0.001]
z: int16[] = const [1]
h: float32[1, 2] = Neg(x) from (Neg_0)
q: int16[1, 2] = QuantizeLinear(h, s, z) from (Q_1)
d: float32[1, 2] = DequantizeLinear(q, s, z) from (DQ_2)
y: float32[1, 2] = Relu(d) from (Relu_3)
ledger (Neg_0, Q_1, DQ_2, Relu_3)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
DQ_2.low: float32[] = const [-32.769]
DQ_2.high: float32[] = const [32.766003]
h: float32[1, 2] = Neg(x) from (Neg_0)
d: float32[1, 2] = Clip(h, DQ_2.low, DQ_2.high) named DQ_2 from (Q_1, DQ_2)
y: float32[1, 2] = Relu(d) from (Relu_3)
ledger (Neg_0, Q_1, DQ_2, Relu_3)
"""
    assert after(NarrowFormats(), before, lossy=True) == wanted


def test_weights_of_nine_bits_are_rounded_to_eight_a_column() -> None:
    """255 - 1 is no int8.

    The columns are (-0.5, 0.5) and (127, 0), each in 127 steps of its largest.
    """
    before = """\
graph g(x: int8[1, 2]) -> (y)
s: float32[] = const [0.5]
w: uint8[2, 2] = const [0, 255, 2, 1]
z: uint8[] = const [1]
d: float32[1, 2] = DequantizeLinear(x, s)
dw: float32[2, 2] = DequantizeLinear(w, s, z)
y: float32[1, 2] = MatMul(d, dw)
"""
    wanted = """\
graph g(x: int8[1, 2]) -> (y)
s: float32[] = const [0.5]
w.narrow: int8[2, 2] = const [-127, 127, 127, 0]
s.narrow: float32[2] = const [0.003937008, 1.0]
w.zero: int8[2] = const [0, 0]
d: float32[1, 2] = DequantizeLinear(x, s)
dw.narrow: float32[2, 2] = DequantizeLinear(w.narrow, s.narrow, w.zero) axis=1 named dw.narrow.1
y: float32[1, 2] = MatMul(d, dw.narrow)
"""
    assert after(NarrowFormats(), before, lossy=True) == wanted
