"""Restores the floats of weights that alone are quantized, where their activations are floats."""

from __future__ import annotations

from passes.fold_dequantized import FoldDequantized
from tests.support.before_and_after import after, stays


def test_a_node_without_its_first_output_stays() -> None:
    """ONNX's recurrent layers may leave out the values of all steps and give the last alone."""
    text = """\
graph g(x: float32[2, 1, 1]) -> (y)
w: float32[1, 1, 1] = const [0.5]
r: float32[1, 1, 1] = const [-1.0]
"", y: float32[1, 1, 1] = RNN(x, w, r) hidden_size=1 from (RNN_0)
ledger (RNN_0)
"""
    assert stays(FoldDequantized(), text)


def test_weights_in_blocks_become_floats_where_activations_are() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
w: uint4[4, 2] = const [1, 2, 3, 4, 5, 6, 7, 8]
s: float32[2, 2] = const [0.5, 1.0, 2.0, 4.0]
z: uint4[2, 2] = const [1, 0, 8, 8]
dw: float32[4, 2] = DequantizeLinear(w, s, z) axis=0 block_size=2 from (DQ_0)
y: float32[1, 2] = MatMul(x, dw) from (MatMul_1)
ledger (DQ_0, MatMul_1)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
dw: float32[4, 2] = const [0.0, 2.0, 1.0, 4.0, -6.0, -8.0, -2.0, 0.0]
y: float32[1, 2] = MatMul(x, dw) from (MatMul_1)
ledger (DQ_0 folded, MatMul_1)
"""
    assert after(FoldDequantized(), before) == wanted


def test_small_constants_are_numbers_whoever_reads_them() -> None:
    """The quantizer quantized a padding value.

    It ended in a KeyError when the Pad ran on an engine.
    """
    before = """\
graph g(x: float32[2]) -> (y)
c: int8[] = const [4]
s: float32[] = const [0.5]
pads: int64[2] = const [1, 0]
v: float32[] = DequantizeLinear(c, s)
y: float32[3] = Pad(x, pads, v)
"""
    wanted = """\
graph g(x: float32[2]) -> (y)
pads: int64[2] = const [1, 0]
v: float32[] = const [2.0]
y: float32[3] = Pad(x, pads, v)
"""
    assert after(FoldDequantized(), before) == wanted
