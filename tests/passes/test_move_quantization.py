"""Moves DequantizeLinear and QuantizeLinear past data movement, next to the arithmetic.

DequantizeLinear moves behind it, QuantizeLinear before it.
"""

from __future__ import annotations

import time

from compiler.ir.text import from_text
from passes.move_quantization import MoveQuantization
from tests.support.before_and_after import TILE16, after, stays


def test_scales_move_behind_what_moves_their_values() -> None:
    """Of weights, integers and scales are moved here and now."""
    before = """\
graph g(x: int8[1, 1, 2, 2], a: float32[2, 2]) -> (y, z)
s: float32[] = const [0.5]
shape: int64[2] = const [1, 4]
w: int8[2, 2] = const [1, -2, 3, 4]
sw: float32[2] = const [0.5, 0.25]
d: float32[1, 1, 2, 2] = DequantizeLinear(x, s) from (DQ_0)
flat: float32[1, 4] = Reshape(d, shape) from (Reshape_1)
y: float32[1, 4] = Relu(flat) from (Relu_2)
dw: float32[2, 2] = DequantizeLinear(w, sw) axis=0 from (DQ_3)
t: float32[2, 2] = Transpose(dw) perm=[1, 0] from (Transpose_4)
z: float32[2, 2] = MatMul(a, t) from (MatMul_5)
ledger (DQ_0, Reshape_1, Relu_2, DQ_3, Transpose_4, MatMul_5)
"""
    wanted = """\
graph g(x: int8[1, 1, 2, 2], a: float32[2, 2]) -> (y, z)
shape: int64[2] = const [1, 4]
s: float32[] = const [0.5]
w.moved: int8[2, 2] = const [1, 3, -2, 4]
sw: float32[2] = const [0.5, 0.25]
flat.integers: int8[1, 4] = Reshape(x, shape) from (Reshape_1)
flat: float32[1, 4] = DequantizeLinear(flat.integers, s) named flat.dequantize from (DQ_0)
y: float32[1, 4] = Relu(flat) from (Relu_2)
t: float32[2, 2] = DequantizeLinear(w.moved, sw) axis=1 named Transpose_4 from (DQ_3, Transpose_4)
z: float32[2, 2] = MatMul(a, t) from (MatMul_5)
ledger (DQ_0, Reshape_1, Relu_2, DQ_3, Transpose_4, MatMul_5)
"""
    assert after(MoveQuantization(), before) == wanted


def test_rounding_moves_before_what_moves_the_values() -> None:
    before = """\
graph g(x: float32[1, 2, 1]) -> (y)
s: float32[] = const [0.5]
r: float32[1, 2, 1] = Relu(x)
t: float32[1, 1, 2] = Transpose(r) perm=[0, 2, 1]
y: uint8[1, 1, 2] = QuantizeLinear(t, s)
"""
    wanted = """\
graph g(x: float32[1, 2, 1]) -> (y)
s: float32[] = const [0.5]
r: float32[1, 2, 1] = Relu(x)
r.integers: uint8[1, 2, 1] = QuantizeLinear(r, s) named y
y: uint8[1, 1, 2] = Transpose(r.integers) perm=[0, 2, 1] named t.moved
"""
    assert after(MoveQuantization(), before) == wanted


def test_padding_with_zero_moves_with_its_integer() -> None:
    before = """\
graph g(x: uint8[2]) -> (y)
s: float32[] = const [0.5]
z: uint8[] = const [7]
pads: int64[2] = const [1, 0]
d: float32[2] = DequantizeLinear(x, s, z)
p: float32[3] = Pad(d, pads)
y: float32[3] = Neg(p)
"""
    lines = after(MoveQuantization(), before).splitlines()
    assert lines[-3] == "p.integers: uint8[3] = Pad(x, pads, p.zero) named p"
    assert "p.zero: uint8[] = const [7]" in lines


def test_what_no_kernel_or_no_scale_allows_does_not_move() -> None:
    scale_per_axis = """\
graph g(x: int8[2, 2]) -> (y)
s: float32[2] = const [0.5, 0.25]
d: float32[2, 2] = DequantizeLinear(x, s) axis=0
y: float32[2, 2] = Transpose(d)
"""
    assert stays(MoveQuantization(), scale_per_axis)


def test_a_long_chain_of_moves_is_walked_once() -> None:
    """3,000 Transposes stand between a DequantizeLinear and a QuantizeLinear.

    Only integers pass them afterwards.
    """
    steps = [f"v{i + 1}: float32[2, 2] = Transpose(v{i})" for i in range(3000)]
    text = "\n".join([
        "graph g(x: int8[2, 2]) -> (y)",
        "s: float32[] = const [0.5]",
        "z: int8[] = const [1]",
        "v0: float32[2, 2] = DequantizeLinear(x, s, z)",
        *steps,
        "y: int8[2, 2] = QuantizeLinear(v3000, s, z)",
        "",
    ])  # fmt: skip
    start = time.process_time()
    result = MoveQuantization()(from_text(text), TILE16)
    assert time.process_time() - start < 10
    assert [node.op for node in result][-3:] == ["Transpose", "DequantizeLinear", "QuantizeLinear"]
