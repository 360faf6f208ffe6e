"""Folds a scale and shift per channel into the matrix product before it.

The scale and shift are a BatchNormalization, or Mul and Add by constants.
"""

from __future__ import annotations

from passes.fold_batchnorm import FoldBatchnorm
from tests.support.before_and_after import after, stays


def test_conv_and_batchnorm() -> None:
    """The scales are 2 / sqrt(4) = 1 and 4 / sqrt(1) = 4.

    The biases are 1 * (0.5 - 0.5) + 1 and 4 * (0 - 1) - 1.
    """
    before = """\
graph g(x: float32[1, 1, 2, 2]) -> (y)
w: float32[2, 1, 1, 1] = const [1.0, 2.0]
b: float32[2] = const [0.5, 0.0]
gamma: float32[2] = const [2.0, 4.0]
beta: float32[2] = const [1.0, -1.0]
mean: float32[2] = const [0.5, 1.0]
variance: float32[2] = const [4.0, 1.0]
h: float32[1, 2, 2, 2] = Conv(x, w, b) from (Conv_0)
y: float32[1, 2, 2, 2] = BatchNormalization(h, gamma, beta, mean, variance) epsilon=0.0 from (BatchNormalization_1)
ledger (Conv_0, BatchNormalization_1)
"""  # noqa: E501
    wanted = """\
graph g(x: float32[1, 1, 2, 2]) -> (y)
w.1: float32[2, 1, 1, 1] = const [1.0, 8.0]
Conv_0.bias: float32[2] = const [1.0, -5.0]
y: float32[1, 2, 2, 2] = Conv(x, w.1, Conv_0.bias) from (Conv_0, BatchNormalization_1)
ledger (Conv_0, BatchNormalization_1)
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_gemm_and_batchnorm() -> None:
    """transB: a column of the product is a row of the weights; beta goes into the bias."""
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
b: float32[2] = const [1.0, 1.0]
gamma: float32[2] = const [2.0, 4.0]
beta: float32[2] = const [1.0, -1.0]
mean: float32[2] = const [0.5, 1.0]
variance: float32[2] = const [4.0, 1.0]
h: float32[1, 2] = Gemm(x, w, b) beta=2.0 transB=1
y: float32[1, 2] = BatchNormalization(h, gamma, beta, mean, variance) epsilon=0.0
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
w.1: float32[2, 2] = const [1.0, 2.0, 12.0, 16.0]
h.bias: float32[2] = const [2.5, 3.0]
y: float32[1, 2] = Gemm(x, w.1, h.bias) transB=1 named h
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_matmul_and_batchnorm_become_gemm() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
gamma: float32[2] = const [2.0, 4.0]
beta: float32[2] = const [1.0, -1.0]
mean: float32[2] = const [0.5, 1.0]
variance: float32[2] = const [4.0, 1.0]
h: float32[1, 2] = MatMul(x, w)
y: float32[1, 2] = BatchNormalization(h, gamma, beta, mean, variance) epsilon=0.0
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
w.1: float32[2, 2] = const [1.0, 8.0, 3.0, 16.0]
h.bias: float32[2] = const [0.5, -5.0]
y: float32[1, 2] = Gemm(x, w.1, h.bias) named h
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_transposed_conv_and_batchnorm() -> None:
    """Weights of a transposed convolution are [inputs, outputs of a group, kernel]."""
    before = """\
graph g(x: float32[1, 2, 2]) -> (y)
w: float32[2, 2, 1] = const [1.0, 2.0, 3.0, 4.0]
gamma: float32[4] = const [1.0, 2.0, 3.0, 4.0]
beta: float32[4] = const [0.0, 0.0, 1.0, 1.0]
mean: float32[4] = const [0.0, 1.0, 0.0, 1.0]
variance: float32[4] = const [1.0, 1.0, 1.0, 1.0]
h: float32[1, 4, 2] = ConvTranspose(x, w) group=2
y: float32[1, 4, 2] = BatchNormalization(h, gamma, beta, mean, variance) epsilon=0.0
"""
    wanted = """\
graph g(x: float32[1, 2, 2]) -> (y)
w.1: float32[2, 2, 1] = const [1.0, 4.0, 9.0, 16.0]
h.bias: float32[4] = const [0.0, -2.0, 1.0, -3.0]
y: float32[1, 4, 2] = ConvTranspose(x, w.1, h.bias) group=2 named h
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_mul_add_sub_and_div_one_after_the_other() -> None:
    """((2 w x + t) - m) / 4 = w/2 x + (t - m) / 4."""
    before = """\
graph g(x: float32[1, 1, 2, 2]) -> (y)
w: float32[2, 1, 1, 1] = const [1.0, 2.0]
two: float32[] = const [2.0]
t: float32[2, 1, 1] = const [1.0, -1.0]
m: float32[1, 2, 1, 1] = const [0.5, 0.5]
four: float32[1] = const [4.0]
a: float32[1, 2, 2, 2] = Conv(x, w)
b: float32[1, 2, 2, 2] = Mul(a, two)
c: float32[1, 2, 2, 2] = Add(t, b)
d: float32[1, 2, 2, 2] = Sub(c, m)
y: float32[1, 2, 2, 2] = Div(d, four)
"""
    wanted = """\
graph g(x: float32[1, 1, 2, 2]) -> (y)
w.1.1.1.1: float32[2, 1, 1, 1] = const [0.5, 1.0]
a.bias: float32[2] = const [0.125, -0.375]
y: float32[1, 2, 2, 2] = Conv(x, w.1.1.1.1, a.bias) named a
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_gemm_keeps_its_alpha() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
b: float32[2] = const [1.0, 1.0]
s: float32[2] = const [2.0, 4.0]
t: float32[2] = const [1.0, -1.0]
h: float32[1, 2] = Gemm(x, w, b) alpha=0.5 beta=2.0
m: float32[1, 2] = Mul(h, s)
y: float32[1, 2] = Add(t, m)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
w.1.1: float32[2, 2] = const [2.0, 8.0, 6.0, 16.0]
h.bias.1: float32[2] = const [5.0, 7.0]
y: float32[1, 2] = Gemm(x, w.1.1, h.bias.1) alpha=0.5 named h
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_matmul_on_three_axes_takes_the_scale_and_leaves_the_shift() -> None:
    before = """\
graph g(x: float32[1, 3, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
s: float32[2] = const [2.0, 4.0]
t: float32[2] = const [1.0, -1.0]
h: float32[1, 3, 2] = MatMul(x, w)
m: float32[1, 3, 2] = Mul(h, s)
y: float32[1, 3, 2] = Add(m, t)
"""
    wanted = """\
graph g(x: float32[1, 3, 2]) -> (y)
w.1: float32[2, 2] = const [2.0, 8.0, 6.0, 16.0]
t: float32[2] = const [1.0, -1.0]
m: float32[1, 3, 2] = MatMul(x, w.1) named h
y: float32[1, 3, 2] = Add(m, t)
"""
    assert after(FoldBatchnorm(), before) == wanted


def test_a_value_that_others_read_is_not_scaled() -> None:
    before = """\
graph g(x: float32[1, 1, 2, 2]) -> (y, b)
w: float32[2, 1, 1, 1] = const [1.0, 2.0]
two: float32[] = const [2.0]
a: float32[1, 2, 2, 2] = Conv(x, w)
b: float32[1, 2, 2, 2] = Relu(a)
y: float32[1, 2, 2, 2] = Mul(a, two)
"""
    assert stays(FoldBatchnorm(), before)


def test_only_a_scale_per_channel_folds() -> None:
    before = """\
graph g(x: float32[1, 1, 2, 2], v: float32[1, 2]) -> (along_width, reversed, more_rows)
w: float32[2, 1, 1, 1] = const [1.0, 2.0]
row: float32[2] = const [1.0, 2.0]
two: float32[] = const [2.0]
m: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
rows: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
a: float32[1, 2, 2, 2] = Conv(x, w)
along_width: float32[1, 2, 2, 2] = Mul(a, row)
b: float32[1, 2, 2, 2] = Conv(x, w)
reversed: float32[1, 2, 2, 2] = Sub(two, b)
c: float32[1, 2] = MatMul(v, m)
more_rows: float32[2, 2] = Mul(c, rows)
"""
    assert stays(FoldBatchnorm(), before)


def test_a_bias_for_each_row_is_no_bias_of_columns() -> None:
    before = """\
graph g(x: float32[2, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
b: float32[2, 1] = const [5.0, 7.0]
s: float32[2] = const [2.0, 4.0]
h: float32[2, 2] = Gemm(x, w, b)
y: float32[2, 2] = Mul(h, s)
"""
    assert stays(FoldBatchnorm(), before)


def test_free_sizes_are_left_to_the_host() -> None:
    before = """\
graph g(x: float32[1, 1, ?]) -> (y, z)
w: float32[2, 1, 1] = const [1.0, 2.0]
s: float32[2, 1] = const [2.0, 4.0]
v: float32[1, 2] = const [1.0, 2.0]
t: float32[2] = const [2.0, 4.0]
h: float32[1, 2, ?] = Conv(x, w)
y: float32[1, 2, ?] = Mul(h, s)
r: float32[...] = MyDomain::Odd(x)
k: float32[...] = MatMul(r, v)
z: float32[...] = Mul(k, t)
"""
    assert stays(FoldBatchnorm(), before, runs=False)


def test_weights_stay_finite() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y, z, n)
w: float32[2, 2] = const [1e+30, 2.0, 3.0, 4.0]
s: float32[2] = const [1e+30, 4.0]
zero: float32[2] = const [0.0, 1.0]
gamma: float32[2] = const [2.0, 4.0]
negative: float32[2] = const [-4.0, 1.0]
h: float32[1, 2] = Gemm(x, w)
y: float32[1, 2] = Mul(h, s)
k: float32[1, 2] = Gemm(x, w)
z: float32[1, 2] = Div(k, zero)
m: float32[1, 2] = Gemm(x, w)
n: float32[1, 2] = BatchNormalization(m, gamma, gamma, gamma, negative)
"""
    assert stays(FoldBatchnorm(), before, runs=False)
