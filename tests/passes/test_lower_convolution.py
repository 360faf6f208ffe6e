"""Lowers every convolution and matrix product with constant weights to `Product`.

It is the one form that the arrays take.
"""

from __future__ import annotations

import pytest

from compiler.ir.text import from_text, to_text
from passes.lower_convolution import LowerConvolution
from tests.support.before_and_after import TILE16, after, stays


def test_a_convolution_is_a_matrix() -> None:
    """2 channels x 2 x 2 taps are 8 rows; one output channel is one column."""
    before = """\
graph g(x: float32[1, 2, 3, 3]) -> (y)
w: float32[1, 2, 2, 2] = const [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
b: float32[1] = const [0.5]
y: float32[1, 1, 2, 3] = Conv(x, w, b) kernel_shape=[2, 2] pads=[1, 0, 0, 1] strides=[2, 1] from (Conv_0) at "net.py:7"
ledger (Conv_0)
"""  # noqa: E501
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
"""  # noqa: E501
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
    """The values get an axis, zeros and the old shape back.

    [a, b, c] -> [[a], [b], [c]] -> [[a, 0], [b, 0], [c, 0]] -> [a, 0, b, 0, c, 0] -> [a, 0, b, 0,
    c].
    """
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
