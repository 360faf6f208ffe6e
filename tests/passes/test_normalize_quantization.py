"""Turns DequantizeLinear, float operation, QuantizeLinear into one integer operation.

Its values have quantized types.
"""

from __future__ import annotations

from passes.normalize_quantization import NormalizeQuantization
from tests.support.before_and_after import after, stays


def test_per_tensor_weights_a_float_bias_and_relu() -> None:
    """One step of the accumulator is 0.5 * 0.25, so a bias of 1.0 is 8 of them."""
    before = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
wq: int8[2, 2] = const [1, -2, 3, 4]
sw: float32[] = const [0.25]
bias: float32[2] = const [1.0, 2.0]
q: int8[1, 2] = QuantizeLinear(x, sx, zx) from (Q_0)
d: float32[1, 2] = DequantizeLinear(q, sx, zx) from (DQ_1)
w: float32[2, 2] = DequantizeLinear(wq, sw) from (DQ_2)
h: float32[1, 2] = Gemm(d, w, bias) from (Gemm_3)
r: float32[1, 2] = Relu(h) from (Relu_4)
yq: int8[1, 2] = QuantizeLinear(r, sx, zx) from (Q_5)
y: float32[1, 2] = DequantizeLinear(yq, sx, zx) from (DQ_6)
ledger (Q_0, DQ_1, DQ_2, Gemm_3, Relu_4, Q_5, DQ_6)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
Gemm_3.weights: int8[1, 2, 2]{scale=0.25} = const [1, -2, 3, 4]
Gemm_3.bias: int32[2] = const [8, 16]
q: int8[1, 2]{scale=0.5, zero=1} = QuantizeLinear(x, sx, zx) from (Q_0)
yq: int8[1, 2]{scale=0.5, zero=1} = Product(q, Gemm_3.weights, Gemm_3.bias) minimum=0.0 from (Gemm_3, Relu_4, Q_5, DQ_1, DQ_2)
y: float32[1, 2] = DequantizeLinear(yq, sx, zx) from (DQ_6)
ledger (Q_0, DQ_1, DQ_2, Gemm_3, Relu_4, Q_5, DQ_6)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_per_channel_uint8_weights_an_int32_bias_and_clip() -> None:
    """uint8 weights around 128 are int8 weights around 0.

    Rows of the matrix are the flattened patch.
    """
    before = """\
graph g(x: float32[1, 1, 3, 3]) -> (y)
sx: float32[] = const [0.5]
zx: uint8[] = const [128]
wq: uint8[2, 1, 2, 2] = const [128, 129, 0, 130, 255, 128, 127, 126]
sw: float32[2] = const [0.25, 0.5]
zw: uint8[2] = const [128, 128]
bq: int32[2] = const [8, -2]
sb: float32[2] = const [0.125, 0.25]
lo: float32[] = const [0.0]
hi: float32[] = const [6.0]
q: uint8[1, 1, 3, 3] = QuantizeLinear(x, sx, zx) from (Q_0)
d: float32[1, 1, 3, 3] = DequantizeLinear(q, sx, zx) from (DQ_1)
w: float32[2, 1, 2, 2] = DequantizeLinear(wq, sw, zw) axis=0 from (DQ_2)
b: float32[2] = DequantizeLinear(bq, sb) axis=0 from (DQ_3)
c: float32[1, 2, 2, 2] = Conv(d, w, b) kernel_shape=[2, 2] from (Conv_4)
r: float32[1, 2, 2, 2] = Clip(c, lo, hi) from (Clip_5)
yq: uint8[1, 2, 2, 2] = QuantizeLinear(r, sx, zx) from (Q_6)
y: float32[1, 2, 2, 2] = DequantizeLinear(yq, sx, zx) from (DQ_7)
ledger (Q_0, DQ_1, DQ_2, DQ_3, Conv_4, Clip_5, Q_6, DQ_7)
"""
    wanted = """\
graph g(x: float32[1, 1, 3, 3]) -> (y)
sx: float32[] = const [0.5]
zx: uint8[] = const [128]
Conv_4.weights: int8[1, 4, 2]{scale=[0.25, 0.5], axis=2} = const [0, 127, 1, 0, -128, -1, 2, -2]
Conv_4.bias: int32[2] = const [8, -2]
q: uint8[1, 1, 3, 3]{scale=0.5, zero=128} = QuantizeLinear(x, sx, zx) from (Q_0)
yq: uint8[1, 2, 2, 2]{scale=0.5, zero=128} = Product(q, Conv_4.weights, Conv_4.bias) kernel=[2, 2] strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1] minimum=0.0 maximum=6.0 from (Conv_4, Clip_5, Q_6, DQ_1, DQ_2, DQ_3)
y: float32[1, 2, 2, 2] = DequantizeLinear(yq, sx, zx) from (DQ_7)
ledger (Q_0, DQ_1, DQ_2, DQ_3, Conv_4, Clip_5, Q_6, DQ_7)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_a_bias_of_another_scale_is_brought_to_the_accumulators() -> None:
    before = """\
graph g(x: float32[1, 1, 3, 3]) -> (y)
sx: float32[] = const [0.5]
zx: uint8[] = const [128]
wq: uint8[2, 1, 2, 2] = const [128, 129, 0, 130, 255, 128, 127, 126]
sw: float32[2] = const [0.25, 0.5]
zw: uint8[2] = const [128, 128]
bq: int32[2] = const [8, -2]
sb: float32[2] = const [0.25, 0.125]
q: uint8[1, 1, 3, 3] = QuantizeLinear(x, sx, zx) from (Q_0)
d: float32[1, 1, 3, 3] = DequantizeLinear(q, sx, zx) from (DQ_1)
w: float32[2, 1, 2, 2] = DequantizeLinear(wq, sw, zw) axis=0 from (DQ_2)
b: float32[2] = DequantizeLinear(bq, sb) axis=0 from (DQ_3)
c: float32[1, 2, 2, 2] = Conv(d, w, b) kernel_shape=[2, 2] from (Conv_4)
r: float32[1, 2, 2, 2] = Relu(c) from (Relu_5)
yq: uint8[1, 2, 2, 2] = QuantizeLinear(r, sx, zx) from (Q_6)
y: float32[1, 2, 2, 2] = DequantizeLinear(yq, sx, zx) from (DQ_7)
ledger (Q_0, DQ_1, DQ_2, DQ_3, Conv_4, Relu_5, Q_6, DQ_7)
"""
    wanted = """\
graph g(x: float32[1, 1, 3, 3]) -> (y)
sx: float32[] = const [0.5]
zx: uint8[] = const [128]
Conv_4.weights: int8[1, 4, 2]{scale=[0.25, 0.5], axis=2} = const [0, 127, 1, 0, -128, -1, 2, -2]
Conv_4.bias: int32[2] = const [16, -1]
q: uint8[1, 1, 3, 3]{scale=0.5, zero=128} = QuantizeLinear(x, sx, zx) from (Q_0)
yq: uint8[1, 2, 2, 2]{scale=0.5, zero=128} = Product(q, Conv_4.weights, Conv_4.bias) kernel=[2, 2] strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1] minimum=0.0 from (Conv_4, Relu_5, Q_6, DQ_1, DQ_2, DQ_3)
y: float32[1, 2, 2, 2] = DequantizeLinear(yq, sx, zx) from (DQ_7)
ledger (Q_0, DQ_1, DQ_2, DQ_3, Conv_4, Relu_5, Q_6, DQ_7)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_a_product_that_ends_in_floats_takes_its_bias_along() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
wq: int8[2, 2] = const [1, -2, 3, 4]
sw: float32[] = const [0.25]
bias: float32[2] = const [1.0, 2.0]
q: int8[1, 2] = QuantizeLinear(x, sx, zx) from (Q_0)
d: float32[1, 2] = DequantizeLinear(q, sx, zx) from (DQ_1)
w: float32[2, 2] = DequantizeLinear(wq, sw) from (DQ_2)
h: float32[1, 2] = MatMul(d, w) from (MatMul_3)
y: float32[1, 2] = Add(h, bias) from (Add_4)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
MatMul_3.weights: int8[1, 2, 2]{scale=0.25} = const [1, -2, 3, 4]
MatMul_3.bias: int32[2] = const [8, 16]
q: int8[1, 2]{scale=0.5, zero=1} = QuantizeLinear(x, sx, zx) from (Q_0)
y: float32[1, 2] = Product(q, MatMul_3.weights, MatMul_3.bias) from (MatMul_3, Add_4, DQ_1, DQ_2)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_matmul_on_three_axes_with_a_scale_a_column() -> None:
    before = """\
graph g(x: float32[1, 2, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
wq: int8[2, 2] = const [1, -2, 3, 4]
sw: float32[2] = const [0.5, 0.25]
q: int8[1, 2, 2] = QuantizeLinear(x, sx, zx)
d: float32[1, 2, 2] = DequantizeLinear(q, sx, zx)
w: float32[2, 2] = DequantizeLinear(wq, sw) axis=-1
h: float32[1, 2, 2] = MatMul(d, w)
yq: int8[1, 2, 2] = QuantizeLinear(h, sx, zx)
y: float32[1, 2, 2] = DequantizeLinear(yq, sx, zx)
"""
    wanted = """\
graph g(x: float32[1, 2, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
h.weights: int8[1, 2, 2]{scale=[0.5, 0.25], axis=2} = const [1, -2, 3, 4]
q: int8[1, 2, 2]{scale=0.5, zero=1} = QuantizeLinear(x, sx, zx)
yq: int8[1, 2, 2]{scale=0.5, zero=1} = Product(q, h.weights) named h
y: float32[1, 2, 2] = DequantizeLinear(yq, sx, zx)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_a_scale_for_each_row_of_weights_has_no_integer_form() -> None:
    before = """\
graph g(x: int8[1, 2]{scale=0.5, zero=1}) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
wq: int8[2, 2]{scale=[0.5, 0.25], axis=0} = const [1, -2, 3, 4]
sw: float32[2] = const [0.5, 0.25]
d: float32[1, 2] = DequantizeLinear(x, sx, zx)
w: float32[2, 2] = DequantizeLinear(wq, sw) axis=0
y: float32[1, 2] = MatMul(d, w)
"""
    assert stays(NormalizeQuantization(), before)


def test_a_bias_for_each_row_has_no_integer_form() -> None:
    before = """\
graph g(x: int8[2, 2]{scale=0.5, zero=1}) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
wq: int8[2, 2]{scale=0.5} = const [1, -2, 3, 4]
bias: float32[2, 1] = const [1.0, 2.0]
d: float32[2, 2] = DequantizeLinear(x, sx, zx)
w: float32[2, 2] = DequantizeLinear(wq, sx)
y: float32[2, 2] = Gemm(d, w, bias)
"""
    assert stays(NormalizeQuantization(), before)


def test_add_of_two_scales_with_relu() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
e: float32[1, 2, 2, 2] = Add(c, d) from (Add_3)
h: float32[1, 2, 2, 2] = Relu(e) from (Relu_4)
y: int8[1, 2, 2, 2] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 2, 2]{scale=1.0} = IntegerAdd(a, b) minimum=0.0 from (Add_3, Relu_4, Q_4, DQ_1, DQ_2)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_mul_of_two_scales() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 2, 2] = Mul(c, d) from (Mul_3)
y: int8[1, 2, 2, 2] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 2, 2]{scale=1.0} = IntegerMul(a, b) from (Mul_3, Q_4, DQ_1, DQ_2)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_add_of_a_quantized_constant() -> None:
    before = """\
graph g(x: int8[1, 2, 2]{scale=0.5, zero=1}) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
k: uint8[2, 1] = const [100, 130]
zu: uint8[] = const [128]
d: float32[1, 2, 2] = DequantizeLinear(x, sx, zx)
e: float32[2, 1] = DequantizeLinear(k, sx, zu)
h: float32[1, 2, 2] = Add(e, d)
y: uint8[1, 2, 2] = QuantizeLinear(h, sx, zu)
"""
    wanted = """\
graph g(x: int8[1, 2, 2]{scale=0.5, zero=1}) -> (y)
k: uint8[2, 1]{scale=0.5, zero=128} = const [100, 130]
y: uint8[1, 2, 2]{scale=0.5, zero=128} = IntegerAdd(k, x) named h
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_average_pool() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 1, 1] = AveragePool(c) kernel_shape=[2, 2] from (AveragePool_3)
y: int8[1, 2, 1, 1] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 1, 1]{scale=1.0} = IntegerAveragePool(a) kernel=[2, 2] strides=[1, 1] pads=[0, 0, 0, 0] count_include_pad=0 from (AveragePool_3, Q_4, DQ_1)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_global_average_pool() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 1, 1] = GlobalAveragePool(c) from (Pool_3)
y: int8[1, 2, 1, 1] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 1, 1]{scale=1.0} = IntegerAveragePool(a) kernel=[2, 2] strides=[1, 1] pads=[0, 0, 0, 0] from (Pool_3, Q_4, DQ_1)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_a_pool_that_rounds_its_size_up_stays_float() -> None:
    before = """\
graph g(x: int8[1, 1, 3]{scale=0.5}) -> (y)
s: float32[] = const [0.5]
z: int8[] = const [0]
d: float32[1, 1, 3] = DequantizeLinear(x, s)
h: float32[1, 1, 2] = AveragePool(d) ceil_mode=1 kernel_shape=[2] strides=[2]
y: int8[1, 1, 2]{scale=0.5} = QuantizeLinear(h, s, z)
"""
    assert stays(NormalizeQuantization(), before)


def test_max_pool_moves_integers_and_rescales_after() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 1, 1] = MaxPool(c) kernel_shape=[2, 2] from (MaxPool_3)
y: int8[1, 2, 1, 1] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
h.integers: int8[1, 2, 1, 1]{scale=0.5, zero=1} = MaxPool(a) kernel_shape=[2, 2] from (MaxPool_3)
y: int8[1, 2, 1, 1]{scale=1.0} = Requantize(h.integers) from (Q_4, DQ_1)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_max_pool_of_one_scale_is_only_a_max_pool() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 1, 1] = MaxPool(c) kernel_shape=[2, 2] from (MaxPool_3)
y: int8[1, 2, 1, 1] = QuantizeLinear(h, sa, za) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 1, 1]{scale=0.5, zero=1} = MaxPool(a) kernel_shape=[2, 2] from (MaxPool_3, Q_4, DQ_1)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_concat_of_different_scales_rescales_before() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 4, 2, 2] = Concat(c, d) axis=1 from (Concat_3)
y: int8[1, 4, 2, 2] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
a.requantized: int8[1, 2, 2, 2]{scale=1.0} = Requantize(a) named Concat_3.requantize from (Concat_3)
b.requantized: int8[1, 2, 2, 2]{scale=1.0} = Requantize(b) named Concat_3.requantize.1 from (Concat_3)
y: int8[1, 4, 2, 2]{scale=1.0} = Concat(a.requantized, b.requantized) axis=1 from (Concat_3, Q_4, DQ_1, DQ_2)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_reshape_and_transpose_move_integers() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
to: int64[3] = const [1, 2, 4]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
t: float32[1, 2, 2, 2] = Transpose(c) perm=[0, 2, 3, 1] from (Transpose_3)
tq: int8[1, 2, 2, 2] = QuantizeLinear(t, sa, za)
u: float32[1, 2, 2, 2] = DequantizeLinear(tq, sa, za)
h: float32[1, 2, 4] = Reshape(u, to) from (Reshape_3)
y: int8[1, 2, 4] = QuantizeLinear(h, sa, za) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
to: int64[3] = const [1, 2, 4]
tq: int8[1, 2, 2, 2]{scale=0.5, zero=1} = Transpose(a) perm=[0, 2, 3, 1] from (Transpose_3, DQ_1)
y: int8[1, 2, 4]{scale=0.5, zero=1} = Reshape(tq, to) from (Reshape_3, Q_4)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_any_function_of_one_value_is_a_table() -> None:
    """256 results: of -128, -127 .. 127."""
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
h: float32[1, 2, 2, 2] = Sigmoid(c) from (Sigmoid_3)
y: int8[1, 2, 2, 2] = QuantizeLinear(h, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
Sigmoid_3.table: int8[256]{scale=1.0} = const random(2407867814, 0, 1)
y: int8[1, 2, 2, 2]{scale=1.0} = IntegerTable(a, Sigmoid_3.table) of="Sigmoid" from (Sigmoid_3, Q_4, DQ_1)
"""  # noqa: E501
    assert after(NormalizeQuantization(), before) == wanted


def test_a_change_of_scale_is_a_requantize() -> None:
    before = """\
graph g(a: int8[1, 2, 2, 2], b: int8[1, 2, 2, 2]) -> (y)
sa: float32[] = const [0.5]
za: int8[] = const [1]
sb: float32[] = const [0.25]
zb: int8[] = const [-3]
so: float32[] = const [1.0]
zo: int8[] = const [0]
c: float32[1, 2, 2, 2] = DequantizeLinear(a, sa, za) from (DQ_1)
d: float32[1, 2, 2, 2] = DequantizeLinear(b, sb, zb) from (DQ_2)
y: int8[1, 2, 2, 2] = QuantizeLinear(c, so, zo) from (Q_4)
"""
    wanted = """\
graph g(a: int8[1, 2, 2, 2]{scale=0.5, zero=1}, b: int8[1, 2, 2, 2]{scale=0.25, zero=-3}) -> (y)
y: int8[1, 2, 2, 2]{scale=1.0} = Requantize(a) from (Q_4, DQ_1)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_back_and_forth_at_one_scale_is_nothing() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
a: int8[1, 2] = QuantizeLinear(x, sx, zx)
b: float32[1, 2] = DequantizeLinear(a, sx, zx)
c: int8[1, 2] = QuantizeLinear(b, sx, zx)
y: float32[1, 2] = DequantizeLinear(c, sx, zx)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
sx: float32[] = const [0.5]
zx: int8[] = const [1]
a: int8[1, 2]{scale=0.5, zero=1} = QuantizeLinear(x, sx, zx)
y: float32[1, 2] = DequantizeLinear(a, sx, zx)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_one_value_read_at_two_scales_keeps_the_second_in_float() -> None:
    before = """\
graph g(x: int8[1, 2]) -> (y, z)
sa: float32[] = const [0.5]
so: float32[] = const [1.0]
zo: int8[] = const [0]
sb: float32[] = const [0.25]
a: float32[1, 2] = DequantizeLinear(x, sa)
c: float32[1, 2] = Add(a, a)
y: int8[1, 2] = QuantizeLinear(c, so, zo)
b: float32[1, 2] = DequantizeLinear(x, sb)
e: float32[1, 2] = Add(b, b)
z: int8[1, 2] = QuantizeLinear(e, so, zo)
"""
    wanted = """\
graph g(x: int8[1, 2]{scale=0.5}) -> (y, z)
sb: float32[] = const [0.25]
so: float32[] = const [1.0]
zo: int8[] = const [0]
y: int8[1, 2]{scale=1.0} = IntegerAdd(x, x) named c
b: float32[1, 2] = DequantizeLinear(x, sb)
e: float32[1, 2] = Add(b, b)
z: int8[1, 2]{scale=1.0} = QuantizeLinear(e, so, zo)
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_a_sum_that_someone_else_reads_stays_float() -> None:
    before = """\
graph g(x: int8[1, 2]{scale=0.5}) -> (y, c)
s: float32[] = const [0.5]
z: int8[] = const [0]
a: float32[1, 2] = DequantizeLinear(x, s)
c: float32[1, 2] = Add(a, a)
y: int8[1, 2]{scale=0.5} = QuantizeLinear(c, s, z)
"""
    assert stays(NormalizeQuantization(), before)


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
