"""Each pass on a graph small enough to read: the text before, the pass, the text after.

`after` also holds what is true of every pass: the result is sound, the old graph is as it was, a second run changes nothing,
and ONNX Runtime computes the same from both.
"""

from __future__ import annotations

import numpy as np
import pytest

from compiler.interpreter import Interpreter
from compiler.ir import Graph
from compiler.target import load_target
from compiler.text import from_text, to_text
from compiler.verify import verify
from passes.base import Pass
from passes.calibration_inputs import synthetic_inputs
from passes.eliminate_dead import EliminateDead
from passes.fold_batchnorm import FoldBatchnorm
from passes.fold_constants import FoldConstants
from passes.fuse_activations import FuseActivations
from passes.lower_convolution import LowerConvolution
from passes.normalize_quantization import NormalizeQuantization
from passes.pad_to_tiles import PadToTiles, tile_image
from passes.widen_half import WidenHalf

TILE16 = load_target("tile16")


def after(current: Pass, text: str, *, runs: bool = True, lossy: bool = False) -> str:
    """The text of the graph after a pass; `runs` is False where ONNX Runtime has no kernel or a size is free.

    The numbers of a `lossy` pass are within 5 % of the largest.
    """
    before = from_text(text)
    verify(before)
    result = current(before, TILE16)
    verify(result)
    assert to_text(before) == text
    assert current(result, TILE16) is result
    if runs:
        same_numbers(before, result, 0.05 if lossy else 1e-6)
    return to_text(result)


def stays(current: Pass, text: str, *, runs: bool = True) -> bool:
    """Whether a pass hands the very same graph back."""
    before = from_text(text)
    return after(current, text, runs=runs) == text and current(before, TILE16) is before


def same_numbers(before: Graph, result: Graph, relative: float = 1e-6) -> None:
    """Floats to rounding (or another share of the largest), integers to the bit."""
    assert (result.inputs, result.outputs) == (before.inputs, before.outputs)
    samples = synthetic_inputs(before, 8).arrays
    wanted, found = (Interpreter(graph).run_all(samples) for graph in (before, result))
    for name, values in wanted.items():
        assert found[name].dtype == values.dtype
        exact = values.dtype.kind in "iub"
        size = 0 if exact else relative * float(np.abs(values).max())
        largest = np.abs(values.astype(np.float64) - found[name].astype(np.float64)).max()
        assert largest <= size, f"{name} differs by {largest}"


# -- eliminate_dead


def test_unread_nodes_and_copies_go() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x) from (Relu_0)
b: float32[1, 4] = Identity(a) from (Identity_1)
c: float32[1, 4] = Cast(b) to=1 from (Cast_2)
d: float32[1, 4], mask: bool[1, 4] = Dropout(c) from (Dropout_3)
unread: float32[1, 4] = Exp(b) from (Exp_4)
y: float32[1, 4] = Neg(d) from (Neg_5)
ledger (Relu_0, Identity_1, Cast_2, Dropout_3, Exp_4, Neg_5)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x) from (Relu_0)
y: float32[1, 4] = Neg(a) from (Neg_5)
ledger (Relu_0, Identity_1 removed, Cast_2 removed, Dropout_3 removed, Exp_4 removed, Neg_5)
"""
    assert after(EliminateDead(), before) == wanted


def test_a_renamed_output_keeps_its_name() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
a: float32[1, 4] = Relu(x)
y: float32[1, 4] = Identity(a)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
y: float32[1, 4] = Relu(x) named a
"""
    assert after(EliminateDead(), before) == wanted


def test_two_outputs_of_one_value_need_one_copy() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, z)
a: float32[1, 4] = Relu(x)
y: float32[1, 4] = Identity(a)
z: float32[1, 4] = Identity(a)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y, z)
z: float32[1, 4] = Relu(x) named a
y: float32[1, 4] = Identity(z) named y.copy
"""
    assert after(EliminateDead(), before) == wanted


def test_a_copy_of_an_input_and_a_change_of_type_stay() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, z)
y: float32[1, 4] = Identity(x)
h: float64[1, 4] = Cast(x) to=11
z: float64[1, 4] = Neg(h)
"""
    assert stays(EliminateDead(), before)


def test_a_dropout_whose_mask_is_read_stays() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y, mask)
d: float32[1, 4], mask: bool[1, 4] = Dropout(x)
y: float32[1, 4] = Neg(d)
"""
    assert stays(EliminateDead(), before)


# -- fold_constants


def test_constant_arithmetic_is_done() -> None:
    before = """\
graph g(x: float32[1, 4]) -> (y)
w: float32[4] = const [1.0, 2.0, 3.0, 4.0]
shape: int64[2] = const [2, 2]
two: float32[] = const [2.0]
m: float32[2, 2] = Reshape(w, shape) from (Reshape_0)
v: float32[2, 2] = Mul(m, two) from (Mul_1)
h: float32[2, 2] = Reshape(x, shape) from (Reshape_2)
y: float32[2, 2] = MatMul(h, v) from (MatMul_3)
ledger (Reshape_0, Mul_1, Reshape_2, MatMul_3)
"""
    wanted = """\
graph g(x: float32[1, 4]) -> (y)
shape: int64[2] = const [2, 2]
v: float32[2, 2] = const [2.0, 4.0, 6.0, 8.0]
h: float32[2, 2] = Reshape(x, shape) from (Reshape_2)
y: float32[2, 2] = MatMul(h, v) from (MatMul_3)
ledger (Reshape_0 folded, Mul_1 folded, Reshape_2, MatMul_3)
"""
    assert after(FoldConstants(), before) == wanted


def test_a_shape_is_known_before_the_values_are() -> None:
    before = """\
graph g(x: float32[1, 2, 3]) -> (y)
minus: int64[1] = const [-1]
h: float32[1, 2, 3] = Relu(x)
batch: int64[1] = Shape(h) end=1
target: int64[2] = Concat(batch, minus) axis=0
y: float32[1, 6] = Reshape(h, target)
"""
    wanted = """\
graph g(x: float32[1, 2, 3]) -> (y)
target: int64[2] = const [1, -1]
h: float32[1, 2, 3] = Relu(x)
y: float32[1, 6] = Reshape(h, target)
"""
    assert after(FoldConstants(), before) == wanted


def test_results_beyond_the_limit_are_left_to_the_run() -> None:
    before = """\
graph g(x: float32[1, 5]) -> (y)
four: int64[2] = const [1, 4]
five: int64[2] = const [1, 5]
a: float32[1, 4] = ConstantOfShape(four)
b: float32[1, 5] = ConstantOfShape(five)
c: float32[1, 9] = Concat(a, b) axis=1
d: float32[1, 9] = Concat(a, x) axis=1
y: float32[1, 9] = Add(c, d)
"""
    wanted = """\
graph g(x: float32[1, 5]) -> (y)
five: int64[2] = const [1, 5]
a: float32[1, 4] = const [0.0, 0.0, 0.0, 0.0]
b: float32[1, 5] = ConstantOfShape(five)
c: float32[1, 9] = Concat(a, b) axis=1
d: float32[1, 9] = Concat(a, x) axis=1
y: float32[1, 9] = Add(c, d)
"""
    assert after(FoldConstants(limit_bytes=16), before) == wanted


def test_quantized_weights_chance_and_outputs_stay() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y, r, c)
q: int8[2, 1] = const [1, -2]
scale: float32[] = const [0.5]
w: float32[2, 1] = DequantizeLinear(q, scale)
r: float32[1] = RandomNormal() shape=[1]
y: float32[1, 1] = MatMul(x, w)
c: float32[] = Neg(scale)
"""
    assert stays(FoldConstants(), before, runs=False)


def test_what_cannot_be_computed_is_left_to_the_run() -> None:
    before = """\
graph g(x: int64[1]) -> (y)
a: int64[1] = const [1]
b: int64[1] = const [0]
c: int64[1] = Div(a, b)
y: int64[1] = Add(c, x)
"""
    assert stays(FoldConstants(), before, runs=False)


# -- widen_half


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


# -- fold_batchnorm


def test_conv_and_batchnorm() -> None:
    """The scales are 2 / sqrt(4) = 1 and 4 / sqrt(1) = 4; the biases 1 * (0.5 - 0.5) + 1 and 4 * (0 - 1) - 1."""
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
"""
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


# -- normalize_quantization


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
"""
    assert after(NormalizeQuantization(), before) == wanted


def test_per_channel_uint8_weights_an_int32_bias_and_clip() -> None:
    """uint8 weights around 128 are int8 weights around 0; rows of the matrix are the flattened patch."""
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
"""
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
"""
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
"""
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


# -- lower_convolution


def test_a_convolution_is_a_matrix() -> None:
    """2 channels x 2 x 2 taps are 8 rows; one output channel is one column."""
    before = """\
graph g(x: float32[1, 2, 3, 3]) -> (y)
w: float32[1, 2, 2, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
b: float32[1] = const [0.5]
y: float32[1, 1, 2, 3] = Conv(x, w, b) kernel_shape=[2, 2] pads=[1, 0, 0, 1] strides=[2, 1] from (Conv_0) at "net.py:7"
ledger (Conv_0)
"""
    wanted = """\
graph g(x: float32[1, 2, 3, 3]) -> (y)
Conv_0.weights: float32[1, 8, 1] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
Conv_0.bias: float32[1] = const [0.5]
y: float32[1, 1, 2, 3] = Product(x, Conv_0.weights, Conv_0.bias) kernel=[2, 2] strides=[2, 1] pads=[1, 0, 0, 1] dilations=[1, 1] from (Conv_0) at "net.py:7"
ledger (Conv_0)
"""  # noqa: E501
    assert after(LowerConvolution(), before) == wanted


def test_same_upper_pads_more_at_the_end() -> None:
    before = """\
graph g(x: float32[1, 1, 5]) -> (y)
w: float32[1, 1, 4] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 1, 3] = Conv(x, w) auto_pad="SAME_UPPER" strides=[2]
"""
    wanted = """\
graph g(x: float32[1, 1, 5]) -> (y)
y.weights: float32[1, 4, 1] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 1, 3] = Product(x, y.weights) kernel=[4] strides=[2] pads=[1, 2] dilations=[1]
"""
    assert after(LowerConvolution(), before) == wanted


def test_same_lower_pads_more_at_the_beginning() -> None:
    before = """\
graph g(x: float32[1, 1, 5]) -> (y)
w: float32[1, 1, 4] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 1, 3] = Conv(x, w) auto_pad="SAME_LOWER" strides=[2]
"""
    wanted = """\
graph g(x: float32[1, 1, 5]) -> (y)
y.weights: float32[1, 4, 1] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 1, 3] = Product(x, y.weights) kernel=[4] strides=[2] pads=[2, 1] dilations=[1]
"""
    assert after(LowerConvolution(), before) == wanted


def test_a_convolution_that_gives_nothing_is_left_alone() -> None:
    """Its kernel is longer than its data. (ONNX Runtime refuses to run it.)"""
    before = """\
graph g(x: float32[1, 1, 2]) -> (y)
w: float32[1, 1, 3] = const [1.0, 2.0, 3.0]
y: float32[1, 1, 0] = Conv(x, w)
"""
    assert to_text(LowerConvolution()(from_text(before), TILE16)) == before


def test_valid_pads_nothing_and_dilations_stay() -> None:
    before = """\
graph g(x: float32[1, 1, 5]) -> (y)
w: float32[1, 1, 2] = const [1.0, 2.0]
y: float32[1, 1, 2] = Conv(x, w) auto_pad="VALID" dilations=[2] strides=[2]
"""
    wanted = """\
graph g(x: float32[1, 1, 5]) -> (y)
y.weights: float32[1, 2, 1] = const [1.0, 2.0]
y: float32[1, 1, 2] = Product(x, y.weights) kernel=[2] strides=[2] pads=[0, 0] dilations=[2]
"""
    assert after(LowerConvolution(), before) == wanted


def test_groups_are_matrices_of_their_own() -> None:
    """Weights [4, 2, 1] are two matrices [2, 2], transposed: rows are inputs."""
    before = """\
graph g(x: float32[1, 4, 2]) -> (y)
w: float32[4, 2, 1] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
y: float32[1, 4, 2] = Conv(x, w) group=2
"""
    wanted = """\
graph g(x: float32[1, 4, 2]) -> (y)
y.weights: float32[2, 2, 2] = const [1.0, 3.0, 2.0, 4.0, 5.0, 7.0, 6.0, 8.0]
y: float32[1, 4, 2] = Product(x, y.weights) kernel=[1] strides=[1] pads=[0, 0] dilations=[1]
"""
    assert after(LowerConvolution(), before) == wanted


def test_depthwise_is_one_column_a_group() -> None:
    before = """\
graph g(x: float32[1, 2, 3, 3]) -> (y)
w: float32[2, 1, 2, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
y: float32[1, 2, 2, 2] = Conv(x, w) group=2
"""
    wanted = """\
graph g(x: float32[1, 2, 3, 3]) -> (y)
y.weights: float32[2, 4, 1] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
y: float32[1, 2, 2, 2] = Product(x, y.weights) kernel=[2, 2] strides=[1, 1] pads=[0, 0, 0, 0] dilations=[1, 1]
"""
    assert after(LowerConvolution(), before) == wanted


def test_gemm_loses_alpha_beta_and_transb() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[3, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
b: float32[1, 3] = const [1.0, 2.0, 3.0]
y: float32[1, 3] = Gemm(x, w, b) alpha=0.5 beta=2.0 transB=1
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
y.weights: float32[1, 2, 3] = const [0.5, 1.5, 2.5, 1.0, 2.0, 3.0]
y.bias: float32[3] = const [2.0, 4.0, 6.0]
y: float32[1, 3] = Product(x, y.weights, y.bias)
"""
    assert after(LowerConvolution(), before) == wanted


def test_a_bias_of_one_value_is_spread_over_the_columns() -> None:
    before = """\
graph g(x: float32[1, 2]) -> (y)
w: float32[2, 3] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
b: float32[] = const [1.0]
y: float32[1, 3] = Gemm(x, w, b)
"""
    wanted = """\
graph g(x: float32[1, 2]) -> (y)
y.weights: float32[1, 2, 3] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
y.bias: float32[3] = const [1.0, 1.0, 1.0]
y: float32[1, 3] = Product(x, y.weights, y.bias)
"""
    assert after(LowerConvolution(), before) == wanted


def test_matmul_on_three_axes() -> None:
    before = """\
graph g(x: float32[2, 3, 2]) -> (y)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
y: float32[2, 3, 2] = MatMul(x, w)
"""
    wanted = """\
graph g(x: float32[2, 3, 2]) -> (y)
y.weights: float32[1, 2, 2] = const [1.0, 2.0, 3.0, 4.0]
y: float32[2, 3, 2] = Product(x, y.weights)
"""
    assert after(LowerConvolution(), before) == wanted


def test_a_transposed_convolution_is_a_convolution_with_the_mirrored_kernel() -> None:
    before = """\
graph g(x: float32[1, 1, 3]) -> (y)
w: float32[1, 1, 2] = const [1.0, 2.0]
y: float32[1, 1, 4] = ConvTranspose(x, w)
"""
    wanted = """\
graph g(x: float32[1, 1, 3]) -> (y)
y.weights: float32[1, 2, 1] = const [2.0, 1.0]
y: float32[1, 1, 4] = Product(x, y.weights) kernel=[2] strides=[1] pads=[1, 1] dilations=[1]
"""
    assert after(LowerConvolution(), before) == wanted


def test_a_stride_becomes_zeros_between_the_values() -> None:
    """[a, b, c] -> [[a], [b], [c]] -> [[a, 0], [b, 0], [c, 0]] -> [a, 0, b, 0, c, 0] -> [a, 0, b, 0, c]."""
    before = """\
graph g(x: float32[1, 1, 3]) -> (y)
w: float32[1, 1, 3] = const [1.0, 2.0, 3.0]
y: float32[1, 1, 8] = ConvTranspose(x, w) dilations=[2] output_padding=[1] pads=[1, 1] strides=[2]
"""
    wanted = """\
graph g(x: float32[1, 1, 3]) -> (y)
y.apart.0: int64[4] = const [1, 1, 3, 1]
y.zeros.0: int64[8] = const [0, 0, 0, 0, 0, 0, 0, 1]
y.joined.0: int64[3] = const [1, 1, 6]
y.cut.0: int64[1] = const [0]
y.cut.1: int64[1] = const [5]
y.cut.2: int64[1] = const [2]
y.weights: float32[1, 3, 1] = const [3.0, 2.0, 1.0]
y.apart: float32[1, 1, 3, 1] = Reshape(x, y.apart.0) named y.apart.node
y.zeros: float32[1, 1, 3, 2] = Pad(y.apart, y.zeros.0) named y.zeros.node
y.joined: float32[1, 1, 6] = Reshape(y.zeros, y.joined.0) named y.joined.node
y.cut: float32[1, 1, 5] = Slice(y.joined, y.cut.0, y.cut.1, y.cut.2) named y.cut.node
y: float32[1, 1, 8] = Product(y.cut, y.weights) kernel=[3] strides=[1] pads=[3, 4] dilations=[2]
"""
    assert after(LowerConvolution(), before) == wanted


def test_groups_of_a_transposed_convolution() -> None:
    before = """\
graph g(x: float32[1, 2, 2]) -> (y)
w: float32[2, 2, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
b: float32[4] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 4, 3] = ConvTranspose(x, w, b) group=2
"""
    wanted = """\
graph g(x: float32[1, 2, 2]) -> (y)
y.weights: float32[2, 2, 2] = const [2.0, 4.0, 1.0, 3.0, 6.0, 8.0, 5.0, 7.0]
y.bias: float32[4] = const [1.0, 2.0, 3.0, 4.0]
y: float32[1, 4, 3] = Product(x, y.weights, y.bias) kernel=[2] strides=[1] pads=[1, 1] dilations=[1]
"""
    assert after(LowerConvolution(), before) == wanted


@pytest.mark.parametrize(
    ("size", "attributes"),
    [
        (6, 'auto_pad="SAME_UPPER" strides=[2]'),
        (6, 'auto_pad="SAME_LOWER" strides=[2]'),
        (7, 'auto_pad="VALID" strides=[2]'),
        (6, "output_shape=[6] strides=[2]"),
        (6, 'auto_pad="SAME_UPPER" output_shape=[6] strides=[2]'),
        (6, "output_shape=[6] pads=[0, 1] strides=[2]"),
        (10, "output_padding=[1] strides=[3]"),
        (3, "pads=[2, 2] strides=[2]"),
        (7, "dilations=[2]"),
    ],
)
def test_every_padding_of_a_transposed_convolution(size: int, attributes: str) -> None:
    """`after` compares with ONNX Runtime."""
    text = after(
        LowerConvolution(),
        f"""\
graph g(x: float32[1, 1, 3]) -> (y)
w: float32[1, 1, 3] = const [1.0, 2.0, 3.0]
y: float32[1, 1, {size}] = ConvTranspose(x, w) {attributes}
""",
    )
    assert "Product" in text


def test_what_is_no_product_with_one_constant_matrix_stays() -> None:
    before = """\
graph g(x: float32[2, 1], a: float32[1, 2], z: float32[2, 2], b: float32[2, 1, 2], v: float32[2]) -> (transposed, two_activations, matrix_first, batch_of_matrices, vector, row_bias)
w: float32[2, 2] = const [1.0, 2.0, 3.0, 4.0]
batch: float32[2, 2, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
bias: float32[2, 1] = const [5.0, 7.0]
transposed: float32[1, 2] = Gemm(x, w) transA=1
two_activations: float32[1, 2] = MatMul(a, z)
matrix_first: float32[2, 1] = MatMul(w, x)
batch_of_matrices: float32[2, 1, 2] = MatMul(b, batch)
vector: float32[2] = MatMul(v, w)
row_bias: float32[2, 2] = Gemm(z, w, bias)
"""  # noqa: E501
    assert stays(LowerConvolution(), before)


def test_padding_that_cuts_the_kernel_off_stays() -> None:
    """A convolution cannot have negative padding."""
    before = """\
graph g(x: float32[1, 1, 3]) -> (y)
w: float32[1, 1, 1] = const [2.0]
y: float32[1, 1, 3] = ConvTranspose(x, w) pads=[1, 1] strides=[2]
"""
    assert stays(LowerConvolution(), before)


# -- fuse_activations


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


# -- pad_to_tiles


def test_digits_lie_side_by_side_in_the_strip_that_the_layer_keeps() -> None:
    before = """\
graph g(x: int8[1, 3]{scale=0.5}) -> (y)
digits: int8[2, 1, 3, 2] = const [1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6]
gain: float32[1, 1, 2, 2] = const [1.0, 1.0, 1.0, 1.0]
weight: float32[1, 1, 2, 2] = const [1.0, 1.0, 15.0, 15.0]
multiplier: float32[2] = const [0.5, 0.5]
bias: float32[2] = const [0.0, 0.0]
y: int8[1, 2]{scale=1.0} = AnalogProduct(x, digits, gain, weight, multiplier, bias) array_rows=16 converter_bits=8 rows=3 @analog(slices=2)
"""
    wanted = """\
graph g(x: int8[1, 3]{scale=0.5}) -> (y)
y.tiles: int8[1, 1, 1, 16, 4] = const random(25962939, -6, 6)
gain: float32[1, 1, 2, 2] = const [1.0, 1.0, 1.0, 1.0]
weight: float32[1, 1, 2, 2] = const [1.0, 1.0, 15.0, 15.0]
multiplier: float32[2] = const [0.5, 0.5]
bias: float32[2] = const [0.0, 0.0]
y: int8[1, 2]{scale=1.0} = AnalogProduct(x, y.tiles, gain, weight, multiplier, bias) array_rows=16 converter_bits=8 rows=3 @analog(slices=2)
"""
    assert after(PadToTiles(), before) == wanted


def test_the_image_of_a_tile() -> None:
    """[digits, groups, rows, columns] on arrays of 2 x 3 cells: 3 rows take two tiles, 2 columns x 2 digits take two."""
    digits = np.array([[[[1, 2], [3, 4], [5, 6]]], [[[-1, -2], [-3, -4], [-5, -6]]]], np.int8)
    image = tile_image(digits, 2, 3)
    assert image.shape == (1, 2, 2, 2, 3)
    assert image[0, 0].tolist() == [[[1, 2, -1], [3, 4, -3]], [[-2, 0, 0], [-4, 0, 0]]]
    assert image[0, 1].tolist() == [[[5, 6, -5], [0, 0, 0]], [[-6, 0, 0], [0, 0, 0]]]


def test_a_chip_without_analog_arrays_has_no_tiles() -> None:
    graph = from_text("graph g(x: float32[1]) -> (y)\ny: float32[1] = Relu(x)\n")
    assert PadToTiles()(graph, load_target("diana_digital")) is graph
