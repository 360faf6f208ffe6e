"""Restores the floats of layers that quantize at run time, so that calibration fixes ranges."""

from __future__ import annotations

from passes.undo_dynamic_quantization import UndoDynamicQuantization
from tests.support.before_and_after import after, stays


def test_a_dynamically_quantized_layer_is_a_product_of_floats() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
sw: float32[] = const [0.5]
w: int8[2, 2] = const [1, -2, 3, 4]
zw: int8[] = const [1]
q: uint8[1, 2], s: float32[], z: uint8[] = DynamicQuantizeLinear(x) from (DQL_0)
scales: float32[] = Mul(s, sw) from (Mul_1)
sums: int32[1, 2] = MatMulInteger(q, w, z, zw) from (MatMulInteger_2)
floats: float32[1, 2] = Cast(sums) to=1 from (Cast_3)
y: float32[1, 2] = Mul(floats, scales) from (Mul_4)
ledger (DQL_0, Mul_1, MatMulInteger_2, Cast_3, Mul_4)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
MatMulInteger_2.weights: float32[2, 2] = const [0.0, -1.5, 1.0, 1.5]
y: float32[1, 2] = MatMul(x, MatMulInteger_2.weights) from (MatMulInteger_2, DQL_0, Cast_3, Mul_4)
ledger (DQL_0, Mul_1 removed, MatMulInteger_2, Cast_3, Mul_4)
"""
    assert after(UndoDynamicQuantization(), before, lossy=True) == wanted


def test_a_layer_whose_weights_are_computed_stays_dynamic() -> None:
    before = """\
graph g(x: float32[1, 2], w: int8[2, 2]) -> (y)
q: uint8[1, 2], s: float32[], z: uint8[] = DynamicQuantizeLinear(x)
sums: int32[1, 2] = MatMulInteger(q, w, z)
floats: float32[1, 2] = Cast(sums) to=1
y: float32[1, 2] = Mul(floats, s)
"""
    assert stays(UndoDynamicQuantization(), before)
