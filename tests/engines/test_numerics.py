"""The arithmetic of the engines against int64, against ONNX Runtime, and at its edges."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines import numerics, numerics_analog
from compiler.engines.bit_slicing import (
    Slicing,
    digit_factors,
    input_slices,
    unsigned_digits,
    weight_digits,
    weight_reach,
)
from compiler.engines.numerics import Window
from compiler.engines.numerics_analog import Converter
from compiler.execute.interpreter import Model
from compiler.ir.graph import Node, Quant

INT8 = Quant(8, True, (1.0,), (0,))
WHOLE = (-128, 127)
Int64 = npt.NDArray[np.int64]


# -- tiles


def test_row_tiles() -> None:
    assert numerics_analog.row_tiles(20, 16) == (slice(0, 16), slice(16, 20))
    assert numerics_analog.row_tiles(16, 16) == (slice(0, 16),)


# -- formats


def test_requantize_rounds_half_to_even_and_clips() -> None:
    sums = np.array([1, 3, 5, -1, -3, -5, 254, 255, 256, -255, -257, 10**6, -(10**6)])
    got = numerics.requantize(sums, np.float32(0.5), INT8, WHOLE)
    assert got.tolist() == [0, 2, 2, 0, -2, -2, 127, 127, 127, -128, -128, 127, -128]
    assert got.dtype == np.int8


def test_requantize_adds_the_zero_point_after_rounding() -> None:
    out = Quant(8, False, (1.0,), (3,))
    got = numerics.requantize(np.array([1, 3, -7, 510]), np.float32(0.5), out, (0, 255))
    assert got.tolist() == [3, 5, 0, 255]
    assert got.dtype == np.uint8
    assert numerics.requantize(np.array([-9, 9]), np.float32(1), out, (2, 5)).tolist() == [2, 5]


@given(
    st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50),
    st.floats(2.0**-30, 1.0, width=32),
    st.sampled_from([INT8, Quant(7, True, (1.0,), (5,)), Quant(8, False, (1.0,), (200,))]),
)
def test_requantize_is_what_onnx_runtime_does(
    sums: list[int], multiplier: float, out: Quant
) -> None:
    floats = np.array(sums, np.int32).astype(np.float32)
    want = np.rint(floats * np.float32(multiplier)) + np.float32(out.zero_point[0])
    got = numerics.requantize(
        np.array(sums), np.float32(multiplier), out, (out.lowest, out.highest)
    )
    np.testing.assert_array_equal(got, np.clip(want, out.lowest, out.highest))


def test_bounds_of_a_node_narrow_the_format() -> None:
    out = Quant(8, True, (0.1,), (-20,))

    def bounds(**attrs: float) -> tuple[int, int]:
        return numerics.output_bounds(out, Node("n", "Product", (), (), attrs))

    assert bounds() == (-128, 127)
    assert bounds(minimum=0.0) == (-20, 127)
    assert bounds(minimum=0.0, maximum=6.0) == (-20, 40)
    assert bounds(minimum=-1e9, maximum=1e9) == (-128, 127)
    assert bounds(minimum=float("-inf"), maximum=float("inf")) == (-128, 127)
    largest = float(np.finfo(np.float32).max)  # how exporters write "no bound"
    assert bounds(minimum=-largest, maximum=largest) == (-128, 127)
    assert bounds(minimum=1e9) == (127, 127)
    assert bounds(maximum=-1e9) == (-128, -128)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([4, 7, 8, 16]))
def test_formats_chosen_for_a_range_hold_it(one: float, other: float, bits: int) -> None:
    low, high = min(one, other), max(one, other)
    quant = numerics.asymmetric(bits, low, high)
    data = np.array([low, high, 0.0], np.float32)
    back = numerics.dequantize(numerics.quantize(data, quant), quant)
    slack = quant.scale[0] * 0.51 + 1e-6 * max(abs(low), abs(high))
    np.testing.assert_allclose(back[:2], data[:2], rtol=0, atol=slack)
    assert back[2] == 0
    reach = max(abs(low), abs(high))
    even = numerics.symmetric(bits, reach)
    assert even.zero_point == (0,)
    back = numerics.dequantize(numerics.quantize(data, even), even)
    np.testing.assert_allclose(back, data, rtol=0, atol=even.scale[0] * 0.51 + 1e-6 * reach)


def test_what_is_too_large_for_a_float_saturates() -> None:
    largest = np.array([3e38, -3e38], np.float32)
    assert numerics.quantize(largest, Quant(8, True, (0.1,), (3,))).tolist() == [127, -128]


def test_a_range_of_nothing_has_a_format() -> None:
    for quant in (numerics.asymmetric(8, 0.0, 0.0), numerics.symmetric(8, 0.0)):
        assert quant.scale[0] > 0
        zeros = numerics.quantize(np.zeros(3, np.float32), quant)
        assert numerics.dequantize(zeros, quant).tolist() == [0, 0, 0]


def test_quantize_is_quantize_linear_along_an_axis() -> None:
    quant = Quant(8, False, (0.5, 0.25), (10, 0), 1)
    data = np.array([[0.25, 0.375], [0.75, -1.0], [1e9, 1e9]], np.float32)
    integers = numerics.quantize(data, quant)
    assert integers.tolist() == [[10, 2], [12, 0], [255, 255]]
    assert numerics.centered(integers, quant).tolist() == [[0, 2], [2, 0], [245, 255]]
    assert numerics.dequantize(integers, quant).tolist() == [[0, 0.5], [1, 0], [122.5, 63.75]]


def test_multipliers_are_float32_at_each_step() -> None:
    data, weights = Quant(8, True, (0.1,), (0,)), Quant(8, True, (0.3, 0.7), (0, 0), 2)
    out = Quant(8, True, (0.9,), (0,))
    f = np.float32
    want = [f(0.1) * f(0.3) / f(0.9), f(0.1) * f(0.7) / f(0.9)]
    got = numerics.product_multiplier(data, weights, out)
    assert got.dtype == np.float32
    assert got.tolist() == [float(item) for item in want]
    reals = numerics.product_multiplier(data, weights, None)
    assert reals.tolist() == [float(f(0.1) * f(0.3)), float(f(0.1) * f(0.7))]


# -- products


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Int64, Int64, Window]:
    """Data [N,C,*sizes], weights [G,R,K] and a window that fits, in one to three dimensions."""
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int, count: int = rank) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    kernel, strides, dilations, pads = each(1, 3), each(1, 3), each(1, 2), each(0, 2, 2 * rank)
    sizes = tuple(
        max(1, d * (k - 1) + 1 - a - b) + extra
        for k, d, a, b, extra in zip(
            kernel, dilations, pads[:rank], pads[rank:], each(0, 4), strict=True
        )
    )
    groups, depth, columns = (
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    data = random.integers(-255, 256, (draw(st.integers(1, 2)), groups * depth, *sizes))
    weights = random.integers(-128, 128, (groups, depth * prod(kernel), columns))
    return data, weights, Window(kernel, strides, pads, dilations)


def reference(data: Int64, weights: Int64, window: Window) -> Int64:
    """The convolution by its definition: a loop over output places, an einsum over each patch."""
    rank = len(window.kernel)
    groups, rows, columns = weights.shape
    before, after = window.pads[:rank], window.pads[rank:]
    padded = np.pad(data, ((0, 0), (0, 0), *zip(before, after, strict=True)))
    spans = [d * (k - 1) + 1 for d, k in zip(window.dilations, window.kernel, strict=True)]
    outputs = [
        (size - span) // stride + 1
        for size, span, stride in zip(padded.shape[2:], spans, window.strides, strict=True)
    ]
    result = np.zeros((len(data), groups * columns, *outputs), np.int64)
    for place in np.ndindex(*outputs):
        taps = tuple(
            slice(p * s, p * s + span, d)
            for p, s, span, d in zip(place, window.strides, spans, window.dilations, strict=True)
        )
        patch = padded[(slice(None), slice(None), *taps)].reshape(len(data), groups, rows)
        result[(slice(None), slice(None), *place)] = np.einsum(
            "ngr,grk->ngk", patch, weights
        ).reshape(len(data), -1)
    return result


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_a_convolution_of_integers_is_exact(case: tuple[Int64, Int64, Window]) -> None:
    data, weights, window = case
    np.testing.assert_array_equal(
        numerics.integer_product(data, weights, window), reference(data, weights, window)
    )


DENSE = Window((), (), (), ())


def test_a_dense_product_is_exact_over_any_leading_axes() -> None:
    random = np.random.default_rng(0)
    data = random.integers(-255, 256, (2, 3, 5000))
    weights = random.integers(-128, 128, (1, 5000, 4))
    np.testing.assert_array_equal(numerics.integer_product(data, weights, DENSE), data @ weights[0])


def test_a_sum_beyond_float32_is_exact() -> None:
    data = np.full((1, 5000), 255, np.int32)
    data[0, 0] = 1
    weights = np.full((1, 5000, 1), 127, np.int8)
    want = 127 + 4999 * 255 * 127
    assert want > numerics.EXACT_IN_FLOAT32
    assert numerics.integer_product(data, weights, DENSE).tolist() == [[want]]


def test_a_sum_beyond_the_accumulator_is_refused() -> None:
    fits = np.full((1, 2**17 // 4), 2**7, np.int32)
    weights = np.full((1, 2**17 // 4, 1), -(2**9), np.int32)
    assert numerics.integer_product(fits, weights, DENSE).tolist() == [[-(2**31)]]
    with pytest.raises(OverflowError, match="32 bits"):
        numerics.integer_product(fits, -weights, DENSE)


def test_groups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 groups of 3 rows do not fit"):
        numerics.integer_product(
            np.zeros((1, 4, 5), np.int8),
            np.zeros((2, 3, 1), np.int8),
            Window((1,), (1,), (0, 0), (1,)),
        )


# -- average pools


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize(
    ("sizes", "kernel", "strides", "pads", "dilations"),
    [
        ((8, 8), (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)),
        ((7, 5), (3, 3), (2, 1), (1, 1, 1, 1), (1, 1)),
        ((9, 9), (3, 2), (1, 2), (0, 1, 2, 0), (2, 3)),
        ((9,), (4,), (3,), (2, 1), (1,)),
        ((5, 6, 4), (2, 3, 2), (1, 2, 2), (0, 1, 1, 1, 1, 0), (1, 1, 1)),
    ],
)
def test_average_pool_is_onnx_runtimes(
    sizes: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
    include: int,
) -> None:
    from compiler.execute.export_onnx import export_onnx
    from compiler.ir.text import from_text

    shape = (2, 3, *sizes)
    node = Node(
        "y", "AveragePool", ("x",), ("y",),
        {
            "kernel": kernel, "kernel_shape": kernel, "strides": strides, "pads": pads,
            "dilations": dilations, "count_include_pad": include,
        },
    )  # fmt: skip
    data = np.random.default_rng(1).integers(-255, 256, shape)
    shown = ", ".join(str(size) for size in shape)
    attrs = " ".join(
        f"{k}={list(v)}" for k, v in node.attrs.items() if isinstance(v, tuple) and k != "kernel"
    )
    graph = from_text(
        f"graph g(x: float32[{shown}]) -> (y)\n"
        f"y: float32[{', '.join('?' * len(shape))}] = AveragePool(x) "
        f"{attrs} count_include_pad={include}\n"
    )
    model = Model(export_onnx(graph).SerializeToString())
    want = model.run({"x": data.astype(np.float32)})["y"]
    got = numerics.average_pool(data, node)
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, want)


# -- the analog array


def test_the_converter_rounds_half_to_even_and_clips_at_its_ends() -> None:
    sums = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 126.5, 127.4, 127.5, 1e9, -128.5, -129, -1e9])
    codes = Converter(8).codes(sums, np.ones(1, np.float32))
    assert codes.tolist() == [0, 2, 2, 0, -2, 126, 127, 127, 127, -128, -128, -128]
    assert codes.dtype == np.float32
    half = np.full(1, 0.5, np.float32)
    assert Converter(6).codes(np.array([100, -100, 62.0]), half).tolist() == [
        31,
        -32,
        31,
    ]


def test_noise_is_drawn_from_its_seed() -> None:
    def codes(seed: int | None, noise: float = 3.0) -> npt.NDArray[np.float32]:
        random = None if seed is None else np.random.default_rng(seed)
        return Converter(16, noise, random).codes(np.zeros(100_000), np.ones(1, np.float32))

    assert codes(1).tobytes() == codes(1).tobytes()
    assert codes(1).tobytes() != codes(2).tobytes()
    assert not codes(None).any()
    assert not codes(1, noise=0.0).any()
    # Rounding to whole steps adds a uniform error of variance 1/12.
    assert abs(codes(1).std() / np.sqrt(9 + 1 / 12) - 1) < 0.01
    assert abs(codes(1).mean()) < 0.03


@settings(max_examples=40, deadline=None)
@given(
    convolutions(), st.integers(1, 12), st.sampled_from([(3, 5), (5, 4), (2, 8), (4, 4), (16, 2)]),
    st.integers(1, 9),
)  # fmt: skip
def test_a_generous_converter_gives_the_exact_product(
    case: tuple[Int64, Int64, Window], array_rows: int, cells: tuple[int, int], bits_per_step: int
) -> None:
    """Whatever the cells, and however many of the inputs' 9 bits drive the rows in a step."""
    data, weights, window = case
    levels, count = cells
    reach = weight_reach(levels, count)
    weights = np.clip(weights, -reach, reach)
    digits = weight_digits(weights, levels, count)
    slicing = Slicing(input_slices(9, True, bits_per_step), unsigned_digits(levels, count))
    got = numerics_analog.analog_product(
        data,
        digits,
        *ideal(digits, levels, array_rows),
        window,
        array_rows,
        Converter(24),
        0,
        slicing,
    )
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, reference(data, weights, window))


def ideal(
    digits: npt.NDArray[np.int8], levels: int, array_rows: int
) -> tuple[numerics.Floats, numerics.Floats]:
    """Gain 1 and each digit's own factor: [G,row tiles,D,K]."""
    count, groups, rows, columns = digits.shape
    tiles = len(numerics_analog.row_tiles(rows, array_rows))
    factors = np.array(digit_factors(levels, count), np.float32)
    gain = np.ones((groups, tiles, count, columns), np.float32)
    return gain, gain * factors[:, None]


def test_each_slice_passes_the_converter_by_itself() -> None:
    """Inputs -3 and 6 on weights 1: bit by bit the sums are 1, 1 + 1, 1 + 0 and, worth -8, 1."""
    data = np.array([[-3, 6]])  # 1101 and 0110
    digits = np.ones((1, 1, 2, 1), np.int8)
    one = np.ones((1, 1, 1, 1), np.float32)
    slicing = Slicing(input_slices(4, True, 1), 1)
    for bits, says in ((8, 1 + 2 + 2 * 4 - 8), (1, 1 + 2 + 4 - 8)):
        got = numerics_analog.analog_product(
            data, digits, one, one, DENSE, 2, Converter(bits), 0, slicing
        )
        assert got.tolist() == [[says]]  # one unipolar bit tells 0 and 1, so a sum of 2 is clipped


def test_a_dense_analog_product_over_leading_axes() -> None:
    random = np.random.default_rng(3)
    data = random.integers(-64, 64, (2, 5, 20))
    weights = random.integers(-1, 2, (1, 20, 7))
    digits = weight_digits(weights, 3, 1)
    got = numerics_analog.analog_product(
        data, digits, *ideal(digits, 3, 16), DENSE, 16, Converter(16)
    )
    np.testing.assert_array_equal(got, data @ weights[0])


def test_each_tile_and_digit_passes_the_converter_by_itself() -> None:
    # Rows 1 and 1 on tiles of one row, gain 1/4: each sum of 6 becomes the code round(1.5) = 2,
    # worth 4.
    data = np.array([[6, 6]])
    digits = np.array([[[[1], [1]]]], np.int8)
    gain = np.full((1, 2, 1, 1), 0.25, np.float32)
    worth = np.full((1, 2, 1, 1), 4, np.float32)
    got = numerics_analog.analog_product(data, digits, gain, worth, DENSE, 1, Converter(8))
    assert got.tolist() == [[16]]
    # On one tile of two rows the sum of 12 is the code 3, exactly.
    got = numerics_analog.analog_product(
        data, digits, gain[:, :1], worth[:, :1], DENSE, 2, Converter(8)
    )
    assert got.tolist() == [[12]]
    # A converter of 2 bits clips the code 3 to 1.
    got = numerics_analog.analog_product(
        data, digits, gain[:, :1], worth[:, :1], DENSE, 2, Converter(2)
    )
    assert got.tolist() == [[4]]
