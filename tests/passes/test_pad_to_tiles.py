"""Lays out the digits of analog products as images of array tiles, padded with unused cells."""

from __future__ import annotations

import numpy as np

from compiler.ir.text import from_text
from compiler.target.chip import load_target
from passes.pad_to_tiles import PadToTiles, tile_image
from tests.support.before_and_after import after


def test_digits_lie_side_by_side_in_the_strip_that_the_layer_keeps() -> None:
    before = """\
graph g(x: int8[1, 3]{scale=0.5}) -> (y)
digits: int8[2, 1, 3, 2] = const [1, 2, 3, 4, 5, 6, -1, -2, -3, -4, -5, -6]
gain: float32[1, 1, 2, 2] = const [1.0, 1.0, 1.0, 1.0]
weight: float32[1, 1, 2, 2] = const [1.0, 1.0, 15.0, 15.0]
multiplier: float32[2] = const [0.5, 0.5]
bias: float32[2] = const [0.0, 0.0]
y: int8[1, 2]{scale=1.0} = AnalogProduct(x, digits, gain, weight, multiplier, bias) array_rows=16 converter_bits=8 rows=3 @analog
"""  # noqa: E501
    wanted = """\
graph g(x: int8[1, 3]{scale=0.5}) -> (y)
y.tiles: int8[1, 1, 1, 16, 4] = const random(25962939, -6, 6)
gain: float32[1, 1, 2, 2] = const [1.0, 1.0, 1.0, 1.0]
weight: float32[1, 1, 2, 2] = const [1.0, 1.0, 15.0, 15.0]
multiplier: float32[2] = const [0.5, 0.5]
bias: float32[2] = const [0.0, 0.0]
y: int8[1, 2]{scale=1.0} = AnalogProduct(x, y.tiles, gain, weight, multiplier, bias) array_rows=16 converter_bits=8 rows=3 @analog
"""  # noqa: E501
    assert after(PadToTiles(), before) == wanted


def test_the_image_of_a_tile() -> None:
    """[digits, groups, rows, columns] lie on arrays of 2 x 3 cells.

    3 rows take two tiles, 2 columns x 2 digits take two.
    """
    digits = np.array([[[[1, 2], [3, 4], [5, 6]]], [[[-1, -2], [-3, -4], [-5, -6]]]], np.int8)
    image = tile_image(digits, 2, 3)
    assert image.shape == (1, 2, 2, 2, 3)
    assert image[0, 0].tolist() == [[[1, 2, -1], [3, 4, -3]], [[-2, 0, 0], [-4, 0, 0]]]
    assert image[0, 1].tolist() == [[[5, 6, -5], [0, 0, 0]], [[-6, 0, 0], [0, 0, 0]]]


def test_a_chip_without_analog_arrays_has_no_tiles() -> None:
    graph = from_text("graph g(x: float32[1]) -> (y)\ny: float32[1] = Relu(x)\n")
    assert PadToTiles()(graph, load_target("diana_digital")) is graph
