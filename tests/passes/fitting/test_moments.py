"""What samples say about a layer, and the damped solve that every fit of weights goes through."""

from __future__ import annotations

import numpy as np
import pytest

from compiler.ir.text import from_text
from passes.fitting import moments as module
from passes.fitting.float_fit import FloatFit, input_moments
from passes.fitting.matrix import matrix_of, product_matrix
from passes.fitting.moments import Moments
from passes.fitting.regression import damped_change, regression

RANDOM = np.random.default_rng(0)
ROWS = RANDOM.standard_normal((2, 300, 5)) + 3
ERRORS = RANDOM.standard_normal((2, 300, 4))


def test_moments_are_those_of_all_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Moments.of([(ROWS, ERRORS)])
    monkeypatch.setattr(module, "TOGETHER", 7)
    parts = Moments.of([(ROWS[:, :100], ERRORS[:, :100]), (ROWS[:, 100:], ERRORS[:, 100:])])
    assert whole.inputs.count == parts.inputs.count == 300
    for kind in ("inputs", "errors"):
        for name, values in vars(getattr(whole, kind)).items():
            np.testing.assert_allclose(getattr(getattr(parts, kind), name), values, rtol=1e-12)


def test_moments_about_the_mean_are_those_of_centered_data() -> None:
    centered = Moments.of(
        [(ROWS - ROWS.mean(axis=1, keepdims=True), ERRORS - ERRORS.mean(axis=1, keepdims=True))]
    )
    found = Moments.of([(ROWS, ERRORS)]).about_mean()
    np.testing.assert_allclose(found.inputs.squares, centered.inputs.squares, atol=1e-9)
    np.testing.assert_allclose(found.errors.crosses, centered.errors.crosses, atol=1e-9)
    np.testing.assert_allclose(found.errors.powers, centered.errors.powers, atol=1e-9)
    diagonal = Moments.of([(ROWS, None)], whole=False).inputs
    assert diagonal.is_diagonal
    np.testing.assert_allclose(diagonal.gram[:, :, 0], ROWS.var(axis=1), rtol=1e-9)


def test_the_damped_solve_pulls_towards_no_change() -> None:
    """Without damping it is least squares; with much of it nothing changes."""
    found = Moments.of([(ROWS, ERRORS)])
    for share, tolerance in ((0.0, 1e-9), (1e9, 1e-6)):
        change = damped_change(found.inputs.squares, found.errors.crosses, share)
        for group in range(2):
            wanted = np.linalg.lstsq(ROWS[group], ERRORS[group], rcond=None)[0]
            np.testing.assert_allclose(change[group], wanted * (share == 0), atol=tolerance)


def test_pruning_and_quantization_solve_the_same_thing() -> None:
    """The weights that fit targets are the old ones and the change that takes their error."""
    rows, targets = ROWS.astype(np.float32), ERRORS.astype(np.float32)
    original = RANDOM.standard_normal((2, 5, 4))
    fit = FloatFit.of(input_moments(rows), rows, targets, original)
    seen = Moments.of([(rows, targets - rows @ original)]).about_mean()
    change = damped_change(seen.inputs.squares, seen.errors.crosses, 1.0)
    np.testing.assert_allclose(fit.weights, original + change, atol=1e-9)
    assert np.abs(regression(seen)).max() > np.abs(change).max(), "of many places less damped"


LAYERS = """\
graph g(x: float32[1, 4, 5, 5]) -> (y, z)
v: float32[6, 2, 3, 3] = const random(1)
w: float32[2, 18, 3] = const random(2)
y: float32[1, 6, 3, 3] = Conv(x, v) group=2 kernel_shape=[3, 3]
z: float32[1, 6, 1, 3] = Product(x, w) dilations=[2, 1] kernel=[3, 3] pads=[0,0,0,0] strides=[1, 1]
"""


def test_every_layer_is_patches_times_weights() -> None:
    graph = from_text(LAYERS)
    conv = matrix_of(graph.nodes[0], graph)
    assert conv is not None
    product = product_matrix(graph.nodes[1], graph)
    data = RANDOM.standard_normal((7, 1, 4, 5, 5)).astype(np.float32)
    for matrix in (conv, product):
        parts = [part for _, part in matrix.patches(data)]
        patches = np.concatenate(parts, axis=1)
        assert patches.shape == (2, matrix.places(data), 18)
        assert matrix.weights(graph).shape == (2, 18, 3)
        stored = matrix.stored(matrix.weights(graph), graph, None)
        assert np.array_equal(stored, graph.constants[matrix.node.inputs[1]])
    assert np.array_equal(
        conv.weights(graph), graph.constants["v"].reshape(2, 3, 18).swapaxes(1, 2)
    )
