"""Fits a layer to a number format: never worse than rounding, as good as exhaustive search.

The search runs where the layer is small enough.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import numpy.typing as npt
import pytest

from compiler.engines import numerics
from compiler.engines.bit_slicing import digit_factors
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Graph, Quant, TensorType
from compiler.ir.text import from_text
from compiler.target.chip import Analog, load_target
from passes.fitting import fit, rounding
from passes.fitting.engine_nodes import analog_node
from passes.fitting.fit import analog_input, analog_layer, fit_analog, fit_integer
from passes.fitting.float_fit import FloatFit, input_moments
from passes.fitting.layer_data import LayerData, layer_outputs, spread, thinned_patches
from passes.fitting.matrix import product_matrix
from passes.fitting.moments import InputMoments
from passes.fitting.rounding import best_scale, coarse_integers, on_grid, sweep
from passes.fitting.weights import AnalogWeights
from tests.support.chips import only_analog

Doubles = npt.NDArray[np.float64]


def dense(rows: int, columns: int, attributes: str = "") -> Graph:
    return from_text(f"""\
graph g(x: float32[1, {rows}]) -> (y)
w: float32[1, {rows}, {columns}] = const random(1, -0.5, 0.5)
b: float32[{columns}] = const random(2, -1, 1)
y: float32[1, {columns}] = Product(x, w, b) {attributes}
""")


def layer(
    graph: Graph, samples: int = 500, seed: int = 0
) -> tuple[npt.NDArray[np.float32], LayerData]:
    """Correlated, positive inputs (as behind a ReLU), and what the layer makes of them."""
    rows = graph.types["x"].sizes[-1]
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((samples, rows)) @ random.standard_normal((rows, rows))
    values = np.maximum(mixed, 0).astype(np.float32).reshape(samples, 1, rows)
    patches = thinned_patches(values, product_matrix(graph.nodes[0], graph))
    return values, LayerData(
        patches, layer_outputs(patches, product_matrix(graph.nodes[0], graph), graph)
    )


def fitted_to(
    data: LayerData, values: npt.NDArray[np.float32], graph: Graph, digits: int, engine: Analog
) -> AnalogWeights:
    node = graph.nodes[0]
    return fit_analog(analog_layer(data, values, node, graph, engine), node, digits, engine)


def moments_of(data: LayerData, original: Doubles) -> FloatFit:
    return FloatFit.of(input_moments(data.patches), data.patches, data.targets, original)


def output_error(moments: FloatFit, integers: npt.NDArray[np.int8], scale: Doubles) -> Doubles:
    """What rounding adds to the outputs' variance, by column: (w - q s)' H (w - q s)."""
    lost = moments.weights - integers * scale[:, None, :]
    return np.asarray(np.einsum("grk,grs,gsk->gk", lost, moments.inputs.damped, lost))


def rounded_alone(moments: FloatFit, scale: Doubles, reach: int) -> npt.NDArray[np.int8]:
    rounded = np.clip(np.rint(moments.weights / scale[:, None, :]), -reach, reach)
    return rounded.astype(np.int8)


# -- the data


def test_real_weights_of_floats_and_of_integers() -> None:
    graph = from_text("""\
graph g(x: int8[1, 2]{scale=0.5}) -> (y)
w: int8[1, 2, 2]{scale=[0.25, 2.0], axis=2} = const [1, 2, 3, 4]
b: int32[2] = const [8, -1]
y: int8[1, 2]{scale=1.0} = Product(x, w, b)
""")
    matrix = product_matrix(graph.nodes[0], graph)
    weights, bias = matrix.weights(graph), matrix.bias(graph)
    assert weights.tolist() == [[[0.25, 4.0], [0.75, 8.0]]]
    assert bias.tolist() == [[8 * 0.25 * 0.5, -1 * 2.0 * 0.5]]


def test_patches_times_weights_are_what_the_layer_gives() -> None:
    graph = from_text("""\
graph g(x: float32[1, 4, 5, 5]) -> (y)
w: float32[2, 18, 3] = const random(1)
b: float32[6] = const random(2)
y: float32[1, 6, 3, 2] = Product(x, w, b) dilations=[1, 2] kernel=[3, 3] pads=[1, 0, 1, 1] \
strides=[2, 1]
""")
    random = np.random.default_rng(0)
    values = random.standard_normal((3, 1, 4, 5, 5)).astype(np.float32)
    matrix = product_matrix(graph.nodes[0], graph)
    found = layer_outputs(thinned_patches(values, matrix), matrix, graph)
    wanted = Interpreter(graph).run_all({"x": values})["y"]  # [samples, 1, 2 groups * 3, 3, 2]
    moved = wanted.reshape(3, 2, 3, 6).transpose(1, 0, 3, 2).reshape(2, 18, 3)
    assert np.abs(found - moved.astype(np.float32)).max() < 1e-5


# -- GPTQ


def test_the_moments_give_the_weights_back() -> None:
    """Without noise the refit finds the weights that made the targets.

    Even where the inputs do not determine them.
    """
    graph = dense(6, 4)
    _, data = layer(graph)
    original = product_matrix(graph.nodes[0], graph).weights(graph)
    np.testing.assert_allclose(moments_of(data, original).weights, original, atol=1e-4)
    blind = LayerData(np.zeros_like(data.patches), np.zeros_like(data.targets))
    np.testing.assert_allclose(moments_of(blind, original).weights, original)


def test_few_patches_are_not_learned_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ternary weights of 64 rows are fitted from 16 patches.

    On 2,000 others more damping leaves less error, however little it was on the 16.
    """
    graph = dense(64, 16)
    original, (_, unseen) = (
        product_matrix(graph.nodes[0], graph).weights(graph),
        layer(graph, 2000, seed=9),
    )

    def error(seed: int) -> float:
        values, _ = layer(graph, 2000, seed=9)  # the same distribution: every 125th of it is seen
        patches = thinned_patches(values[seed::125], product_matrix(graph.nodes[0], graph))
        few = LayerData(
            patches, layer_outputs(patches, product_matrix(graph.nodes[0], graph), graph)
        )
        integers = coarse_integers(moments_of(few, original), 1).astype(np.float64)
        made = np.matmul(unseen.patches, integers)
        wanted = unseen.targets - unseen.targets.mean(axis=1, keepdims=True)
        made -= made.mean(axis=1, keepdims=True)
        scale = (made * wanted).sum(axis=1) / (made**2).sum(axis=1)
        return float(((made * scale[:, None, :] - wanted) ** 2).sum())

    damped = [error(seed) for seed in range(5)]
    monkeypatch.setattr("passes.fitting.moments.ENOUGH_PATCHES", 0.0)
    assert sum(damped) < 0.95 * sum(error(seed) for seed in range(5))


@pytest.mark.parametrize("reach", [1, 4, 13, 127])
@pytest.mark.parametrize("seed", range(5))
def test_the_sweep_beats_rounding_to_the_nearest(seed: int, reach: int) -> None:
    graph = dense(24, 8)
    _, data = layer(graph, seed=seed)
    moments = moments_of(data, product_matrix(graph.nodes[0], graph).weights(graph))
    scale = best_scale(moments.weights, moments.inputs.power, reach)
    swept = output_error(moments, sweep(moments, scale, reach), scale).sum()
    plain = output_error(moments, rounded_alone(moments, scale, reach), scale).sum()
    assert swept < plain


def test_on_uncorrelated_inputs_the_sweep_is_rounding_to_the_nearest() -> None:
    weights = np.random.default_rng(0).standard_normal((1, 6, 3))
    inputs = InputMoments(1, np.zeros((1, 6)), np.eye(6)[None])
    moments = FloatFit(inputs, weights, np.zeros((1, 3)), weights)
    scale = np.full((1, 3), 0.1)
    assert np.array_equal(sweep(moments, scale, 20), rounded_alone(moments, scale, 20))


def test_the_sweep_by_blocks_is_the_sweep_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """So is the descent that follows it; 150 rows make three blocks, the last of them short."""
    graph = dense(150, 8)
    _, data = layer(graph)
    moments = moments_of(data, product_matrix(graph.nodes[0], graph).weights(graph))
    scale = best_scale(moments.weights, moments.inputs.power, 13)
    found = sweep(moments, scale, 13), coarse_integers(moments, 1)
    monkeypatch.setattr(rounding, "BLOCK_ROWS", 1)
    for blocks, rows in zip(
        found, (sweep(moments, scale, 13), coarse_integers(moments, 1)), strict=True
    ):
        assert np.array_equal(blocks, rows)


def test_the_sweep_walks_the_factor_of_the_inverse() -> None:
    """U' U is the inverse of the Gram matrix; 200 rows are inverted in several blocks."""
    patches = np.random.default_rng(0).standard_normal((2, 300, 200)).astype(np.float32)
    inputs = InputMoments.of(patches)
    product = inputs.upper.swapaxes(1, 2) @ inputs.upper @ inputs.damped
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(200), (2, 200, 200)), atol=1e-9)
    assert not np.tril(inputs.upper, -1).any()


def test_of_many_rows_that_few_patches_see_only_the_power_is_known() -> None:
    """There is one patch fewer than rows, beyond the rows where it matters.

    Their weights are rounded one by one.
    """
    random = np.random.default_rng(0)
    patches = random.standard_normal((1, 1100, 1100)).astype(np.float32)
    assert not input_moments(patches[..., :1024]).is_diagonal
    assert not input_moments(patches).is_diagonal
    few = input_moments(patches[:, :-1])
    assert few.is_diagonal
    variance = patches[:, :-1].var(axis=1, dtype=np.float64)[:, :, None]
    np.testing.assert_allclose(few.power, variance + 0.1 * variance.mean(), rtol=1e-6)
    weights = random.standard_normal((1, 1100, 3))
    targets = random.standard_normal((1, 1099, 3)).astype(np.float32)
    moments = FloatFit.of(few, patches[:, :-1], targets, weights)
    assert moments.weights is weights
    scale = np.full((1, 3), 0.1)
    assert np.array_equal(sweep(moments, scale, 20), rounded_alone(moments, scale, 20))


def test_the_scale_of_many_weights_is_as_good_as_the_best_that_was_tried() -> None:
    """Found from the weights beyond reach alone; where the tails are long clipping pays."""
    random = np.random.default_rng(0)
    weights = np.concatenate(
        (random.standard_normal((1, 8192, 3)), random.laplace(size=(1, 8192, 3))), axis=2
    )
    power = random.uniform(0.1, 2.0, (1, 8192, 1))
    largest = np.abs(weights).max(axis=1)

    def error(scale: Doubles) -> Doubles:
        step = scale[:, None, :]
        rounded = np.clip(np.rint(weights / step), -127, 127)
        return np.asarray((power * (weights - rounded * step) ** 2).sum(axis=1))

    found = best_scale(weights, power, 127)
    tried = [error(factor * largest / 127) for factor in np.linspace(1.0, 0.5, 26)]
    assert np.all(error(found) <= 1.02 * np.min(tried, axis=0))
    assert np.any(found < 0.95 * largest / 127)


def test_kept_patches_are_spread_over_all_places() -> None:
    """One patch is sampled in each of equal parts.

    They are not on the same columns of an image 32 wide again and again.
    """
    kept = spread(32 * 32 * 128, 4096)
    part = 32 * 32 * 128 // 4096
    assert np.array_equal(kept // part, np.arange(4096))
    assert np.bincount(kept % 32, minlength=32).min() > 4096 / 32 * 0.9
    assert np.array_equal(spread(7, 8), np.arange(7))


@pytest.mark.parametrize("seed", range(8))
def test_few_levels_come_near_the_best_of_all_assignments(seed: int) -> None:
    """Ternary weights of 5 rows: 243 columns to choose from, each with its best scale.

    The sweep with its descent never does worse than rounding, and on the average takes most of what
    is to be had.
    """
    graph = dense(5, 6)
    _, data = layer(graph, seed=seed)
    moments = moments_of(data, product_matrix(graph.nodes[0], graph).weights(graph))

    def error(integers: npt.NDArray[np.int8]) -> Doubles:
        mapped = np.matmul(moments.inputs.damped, integers.astype(float))
        cross = (mapped * moments.weights).sum(axis=1)
        power = np.maximum((mapped * integers).sum(axis=1), 1e-30)
        whole = np.einsum(
            "grk,grs,gsk->gk", moments.weights, moments.inputs.damped, moments.weights
        )
        return np.asarray((whole - cross**2 / power)[0])

    every = np.array(list(product((-1, 0, 1), repeat=5)), np.int8)
    best = np.min([error(np.repeat(one[None, :, None], 6, axis=2)) for one in every], axis=0)
    scale = best_scale(moments.weights, moments.inputs.power, 1)
    rounded, found = error(rounded_alone(moments, scale, 1)), error(coarse_integers(moments, 1))
    assert np.all(found >= best - 1e-9)
    assert found.sum() <= rounded.sum() + 1e-9
    # Where rounding alone is within a per cent of the best there is little left to halve.
    gap, left = rounded.sum() - best.sum(), found.sum() - best.sum()
    assert left <= max(0.5 * gap, 0.01 * best.sum())


# -- int8


def run(graph: Graph, values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    return np.asarray(Interpreter(graph).run_all({"x": values})["y"], np.float64)


def relative_error(wanted: npt.NDArray[np.floating], found: npt.NDArray[np.floating]) -> float:
    return float(((wanted - found) ** 2).mean() / wanted.var())


def test_fit_integer_gives_what_the_floats_give() -> None:
    """Checked by running the integer Product that is built from it."""
    graph = dense(24, 8)
    values, data = layer(graph)
    inputs = numerics.asymmetric(8, float(values.min()), float(values.max()))
    wanted = run(graph, values)
    out = numerics.asymmetric(8, float(wanted.min()), float(wanted.max()))
    constants = fit_integer(data, graph.nodes[0], graph, inputs).constants
    node = replace(graph.nodes[0], inputs=("x", *(label for label, _, _ in constants)))
    types = {
        "x": TensorType("int8", (1, 24), inputs),
        "y": TensorType("int8", (1, 8), out),
        **{n: TensorType(d.dtype.name, d.shape, q) for n, d, q in constants},
    }
    held = {name: data for name, data, _ in constants}
    integers = Graph("int", ("x",), ("y",), (node,), types, held)
    steps = Interpreter(integers).run_all({"x": numerics.quantize(values, inputs)})["y"]
    found = numerics.dequantize(np.asarray(steps, np.int8), out)
    assert relative_error(wanted, found) < 1e-4


def test_fit_integer_fills_the_format_and_fits_the_accumulator() -> None:
    graph = dense(24, 8)
    _, data = layer(graph)
    fitted = fit_integer(data, graph.nodes[0], graph, Quant(8, True, (0.01,), (0,)))
    assert fitted.weights.dtype == np.int8
    assert fitted.bias.dtype == np.int32
    assert fitted.scale.shape == fitted.bias.shape == (8,)
    assert np.abs(fitted.weights.astype(int)).max() <= 127
    assert np.all(np.abs(fitted.weights.astype(int)).max(axis=1) > 60)


def test_a_column_of_zeros_keeps_its_bias() -> None:
    graph = dense(4, 2)
    weights = np.array(graph.constants["w"])
    weights[..., 0] = 0
    graph = replace(graph, constants={**graph.constants, "w": weights})
    _, data = layer(graph)
    fitted = fit_integer(data, graph.nodes[0], graph, Quant(8, True, (0.01,), (0,)))
    bias = fitted.bias * np.float64(np.float32(0.01)) * fitted.scale
    np.testing.assert_allclose(bias[0], graph.constants["b"][0], rtol=1e-3)


# -- analog


def engine_of(name: str) -> Analog:
    return only_analog(load_target(name))


def test_the_input_format_covers_the_data_or_clips_little() -> None:
    values = np.random.default_rng(0).standard_normal(10_000).astype(np.float32)
    for bits in (4, 7, 8):
        quant = analog_input(values, bits)
        assert (quant.bits, quant.signed, quant.zero_point) == (bits, True, (0,))
        plain = numerics.symmetric(bits, float(np.abs(values).max()))
        error, naive = (
            float(((numerics.dequantize(numerics.quantize(values, q), q) - values) ** 2).sum())
            for q in (quant, plain)
        )
        assert error <= naive
    assert analog_input(np.zeros(4, np.float32), 7).scale[0] > 0


@pytest.mark.parametrize("name", ["tile16", "diana"])
def test_a_converter_has_one_gain_inside_an_array_tile(name: str) -> None:
    """20 x 20 on 16 x 16: columns of one tile share a gain for each row tile and digit.

    Of the physical columns 0-15 share one, 16-31 the next.
    """
    graph = dense(20, 20)
    values, data = layer(graph)
    engine = engine_of(name)
    fitted = fitted_to(data, values, graph, 2, engine)
    row_tiles = -(-20 // engine.rows.value)
    assert fitted.gain.shape == fitted.digit_weight.shape == (1, row_tiles, 2, 20)
    tile = np.arange(40) // engine.columns.value
    for row_tile in range(row_tiles):
        physical = fitted.gain[0, row_tile].reshape(-1)
        for index in set(tile):
            assert len(set(physical[tile == index])) == 1
    factors = digit_factors(engine.cell_levels.value, 2)
    for digit in range(2):
        np.testing.assert_allclose(
            fitted.digit_weight[:, :, digit] * fitted.gain[:, :, digit], factors[digit], rtol=1e-6
        )


@pytest.mark.parametrize("name", ["tile16", "diana"])
def test_the_cells_hold_the_levels_they_have(name: str) -> None:
    graph = dense(20, 10)
    values, data = layer(graph)
    engine = engine_of(name)
    for digits in range(1, engine.max_digits.value + 1):
        fitted = fitted_to(data, values, graph, digits, engine)
        assert fitted.digits.shape == (digits, 1, 20, 10)
        assert np.abs(fitted.digits).max() <= (engine.cell_levels.value - 1) // 2
        assert np.all(fitted.gain > 0)
        assert np.all(fitted.gain <= 1)


def analog_outputs(graph: Graph, digits: int, engine: Analog) -> tuple[Doubles, Doubles]:
    """Computes what the float layer gives and what the array would give.

    By ONNX Runtime on the AnalogProduct that is built.
    """
    values, data = layer(graph)
    wanted = run(graph, values)
    fitted = fitted_to(data, values, graph, digits, engine)
    constants = fitted.constants
    rows, columns = graph.types["w"].sizes[1:]
    names = ("x", *(label for label, _, _ in constants))
    out = numerics.asymmetric(8, float(wanted.min()), float(wanted.max()))
    types = {
        "x": TensorType(fitted.inputs.storage, (1, rows), fitted.inputs),
        "y": TensorType("int8", (1, columns), out),
        **{n: TensorType(d.dtype.name, d.shape, q) for n, d, q in constants},
    }
    node = analog_node(graph.nodes[0], names, "y", rows, digits, engine)
    held = {name: data for name, data, _ in constants}
    steps = numerics.quantize(values, fitted.inputs)
    made = Interpreter(Graph("analog", ("x",), ("y",), (node,), types, held)).run_all({"x": steps})
    return wanted, np.asarray(numerics.dequantize(np.asarray(made["y"], np.int8), out), np.float64)


@pytest.mark.parametrize("attributes", ["", "minimum=0.0", "maximum=6.0 minimum=0.0"])
def test_more_digits_come_nearer(attributes: str) -> None:
    """Ternary cells, 6-bit converters: one digit is rough, three are close."""
    graph = dense(40, 8, attributes)
    errors = [
        relative_error(*analog_outputs(graph, digits, engine_of("diana"))) for digits in (1, 2, 3)
    ]
    assert errors[0] < 0.3
    assert errors[2] < errors[1] < errors[0]
    assert errors[2] < 0.02


def test_cells_of_fifteen_levels_are_close_with_one_digit() -> None:
    assert relative_error(*analog_outputs(dense(40, 8), 1, engine_of("tile16"))) < 0.02


@pytest.mark.parametrize(("levels", "digits"), [(2, 8), (4, 4), (16, 2)])
@pytest.mark.parametrize("bits_per_step", [1, 3])
def test_inputs_in_slices_and_cells_of_two_s_complement_are_close(
    levels: int, digits: int, bits_per_step: int
) -> None:
    """Eight bits of weights are in each.

    Converters of 8 bits lose nothing of one-bit slices on 16 rows.
    """
    engine = with_numbers(cell_levels=levels, max_digits=8, input_bits_per_step=bits_per_step)
    assert relative_error(*analog_outputs(dense(40, 8), digits, engine)) < 0.001


def with_numbers(**numbers: int) -> Analog:
    """tile16's array with other numbers."""
    given = {key: {"value": value, "source": "a test"} for key, value in numbers.items()}
    return Analog.model_validate({**engine_of("tile16").model_dump(), **given})


def test_fitting_is_repeatable() -> None:
    graph = dense(20, 10)
    values, data = layer(graph)
    one, other = (fitted_to(data, values, graph, 2, engine_of("diana")) for _ in "ab")
    for key, value in vars(one).items():
        assert np.array_equal(value, getattr(other, key)), key


def test_a_large_layer_is_fitted_in_blocks_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = dense(24, 10)
    _, data = layer(graph)
    inputs = numerics.asymmetric(8, 0.0, 10.0)
    whole = fit_integer(data, graph.nodes[0], graph, inputs)
    monkeypatch.setattr(fit, "FIT_WEIGHTS", 24 * 4)
    parts = fit_integer(data, graph.nodes[0], graph, inputs)
    np.testing.assert_array_equal(parts.weights, whole.weights)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-6)
    np.testing.assert_allclose(parts.bias, whole.bias, atol=1)


def test_weights_that_lie_on_a_grid_keep_it() -> None:
    """The grid is of 4 bits, with a scale a column that a batch norm may have stretched.

    Float weights lie on none.
    """
    random = np.random.default_rng(0)
    integers = random.integers(-7, 8, (2, 9, 5))
    integers[:, 0] = 7
    steps = random.uniform(0.01, 0.5, (2, 5))
    weights = (integers * steps[:, None, :]).astype(np.float32).astype(np.float64)
    found = on_grid(weights, 127)
    assert found is not None
    np.testing.assert_array_equal(found[0], integers)
    np.testing.assert_allclose(found[1], steps, rtol=1e-6)
    assert on_grid(weights, 6) is None
    assert on_grid(random.standard_normal((1, 9, 5)), 127) is None
    data = LayerData(
        random.standard_normal((2, 400, 9)).astype(np.float32), np.zeros((2, 400, 5), np.float32)
    )
    assert np.array_equal(coarse_integers(moments_of(data, weights), 13), integers), "not refitted"
