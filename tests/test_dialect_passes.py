"""The passes that bring quantized dialects to one form, each on a graph small enough to read: the text before, the pass, the text after."""

from __future__ import annotations

import time

from compiler.text import from_text
from passes.fold_dequantized import FoldDequantized
from passes.move_quantization import MoveQuantization
from passes.narrow_formats import NarrowFormats
from passes.normalize_quantization import NormalizeQuantization
from passes.pool_means import PoolMeans
from passes.undo_dynamic_quantization import UndoDynamicQuantization
from passes.unify_formats import UnifyFormats
from passes.widen_half import WidenHalf
from tests.test_passes import TILE16, after, stays


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
    """255 - 1 is no int8. The columns are (-0.5, 0.5) and (127, 0), each in 127 steps of its largest."""
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


def test_a_scale_for_each_channel_is_a_depthwise_product() -> None:
    """The weight is 127 steps of 1/127 of the scale; a shift of 1.0 is 254 steps of 0.5 * 1/127."""
    before = """\
graph g(x: int8[1, 2, 1]) -> (y)
s: float32[] = const [0.5]
gamma: float32[2] = const [1.0, -2.0]
beta: float32[2] = const [1.0, 0.0]
mean: float32[2] = const [0.0, 1.0]
variance: float32[2] = const [1.0, 4.0]
z: int8[] = const [0]
d: float32[1, 2, 1] = DequantizeLinear(x, s) from (DQ_0)
b: float32[1, 2, 1] = BatchNormalization(d, gamma, beta, mean, variance) epsilon=0.0 from (BN_1)
r: float32[1, 2, 1] = Relu(b) from (Relu_2)
q: int8[1, 2, 1] = QuantizeLinear(r, s, z) from (Q_3)
y: float32[1, 2, 1] = DequantizeLinear(q, s) from (DQ_4)
ledger (DQ_0, BN_1, Relu_2, Q_3, DQ_4)
"""
    wanted = """\
graph g(x: int8[1, 2, 1]{scale=0.5}) -> (y)
BN_1.weights: int8[2, 1, 1]{scale=[0.007874016, 0.007874016], axis=2} = const [127, -127]
BN_1.bias: int32[2] = const [254, 254]
s: float32[] = const [0.5]
q: int8[1, 2, 1]{scale=0.5} = Product(x, BN_1.weights, BN_1.bias) kernel=[1] strides=[1] pads=[0, 0] dilations=[1] minimum=0.0 from (BN_1, Relu_2, Q_3, DQ_0)
y: float32[1, 2, 1] = DequantizeLinear(q, s) from (DQ_4)
ledger (DQ_0, BN_1, Relu_2, Q_3, DQ_4)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_a_layer_whose_weights_are_computed_stays_dynamic() -> None:
    before = """\
graph g(x: float32[1, 2], w: int8[2, 2]) -> (y)
q: uint8[1, 2], s: float32[], z: uint8[] = DynamicQuantizeLinear(x)
sums: int32[1, 2] = MatMulInteger(q, w, z)
floats: float32[1, 2] = Cast(sums) to=1
y: float32[1, 2] = Mul(floats, s)
"""
    assert stays(UndoDynamicQuantization(), before)


def test_bounds_one_after_the_other_are_one() -> None:
    """Relu, then a Clip to [-1, 6] (of a Quantize-Clip-Dequantize, say), then integers."""
    before = """\
graph g(x: int8[1, 2]) -> (y)
s: float32[] = const [0.5]
w: int8[2, 2] = const [1, -2, 3, 4]
low: float32[] = const [-1.0]
high: float32[] = const [6.0]
z: int8[] = const [0]
d: float32[1, 2] = DequantizeLinear(x, s)
dw: float32[2, 2] = DequantizeLinear(w, s)
p: float32[1, 2] = MatMul(d, dw)
r: float32[1, 2] = Relu(p)
c: float32[1, 2] = Clip(r, low, high)
y: int8[1, 2] = QuantizeLinear(c, s, z)
"""
    line = after(NormalizeQuantization(), before).splitlines()[-1]
    assert line.endswith("Product(x, p.weights) minimum=0.0 maximum=6.0 named p")


def test_functions_one_after_the_other_are_one_table() -> None:
    before = """\
graph g(x: int8[1, 2]) -> (y)
s: float32[] = const [0.0078125]
z: int8[] = const [0]
d: float32[1, 2] = DequantizeLinear(x, s)
t: float32[1, 2] = Tanh(d)
r: float32[1, 2] = Abs(t)
y: int8[1, 2] = QuantizeLinear(r, s, z)
"""
    line = after(NormalizeQuantization(), before).splitlines()[-1]
    assert line.endswith('IntegerTable(x, t.table) of="Tanh" named t')


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


def test_a_scale_that_varies_within_a_channel_stays_in_floats() -> None:
    before = """\
graph g(x: int8[1, 2, 2]{scale=0.5}) -> (y)
s: float32[] = const [0.5]
factor: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
z: int8[] = const [0]
d: float32[1, 2, 2] = DequantizeLinear(x, s)
m: float32[1, 2, 2] = Mul(d, factor)
y: int8[1, 2, 2]{scale=0.5} = QuantizeLinear(m, s, z)
"""
    assert stays(NormalizeQuantization(), before)


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


def test_a_mean_over_feature_maps_is_a_global_pool() -> None:
    before = """\
graph g(x: float32[1, 3, 2, 2]) -> (y, z)
axes: int64[2] = const [-1, 2]
last: int64[1] = const [3]
y: float32[1, 3] = ReduceMean(x, axes) keepdims=0 from (ReduceMean_0)
z: float32[1, 3, 2, 1] = ReduceMean(x, last) from (ReduceMean_1)
ledger (ReduceMean_0, ReduceMean_1)
"""
    wanted = """\
graph g(x: float32[1, 3, 2, 2]) -> (y, z)
ReduceMean_0.shape: int64[2] = const [1, 3]
last: int64[1] = const [3]
y.pooled: float32[1, 3, 1, 1] = GlobalAveragePool(x) from (ReduceMean_0)
y: float32[1, 3] = Reshape(y.pooled, ReduceMean_0.shape) named ReduceMean_0.flat from (ReduceMean_0)
z: float32[1, 3, 2, 1] = ReduceMean(x, last) from (ReduceMean_1)
ledger (ReduceMean_0, ReduceMean_1)
"""
    assert after(PoolMeans(), before) == wanted


def test_small_constants_are_numbers_whoever_reads_them() -> None:
    """A padding value that the quantizer quantized (it ended in a KeyError when the Pad ran on an engine)."""
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


def test_a_long_chain_of_moves_is_walked_once() -> None:
    """3,000 Transposes between a DequantizeLinear and a QuantizeLinear: the integers take the way alone."""
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
