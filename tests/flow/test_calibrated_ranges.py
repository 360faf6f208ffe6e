"""Inputs far from what was calibrated on are told, others are not."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest

import joulec
from compiler.flow.calibrated_ranges import range_notes

TEXT = (
    '<ir_version: 8, opset_import: ["" : 21]> g (float[1, 8] x, int64[1, 8] k) => (float[1, 8] y)'
    " { f = Cast<to=1>(k) s = Relu(x) y = Add(s, f) }"
)


@pytest.fixture(scope="module")
def compiled() -> joulec.Compiled:
    return joulec.compile(onnx.parser.parse_model(TEXT), "diana_digital")


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-3, 3, ""),
        (-1, 2, ""),
        (0, 0, ""),  # silence
        (0, 255, r"input 'x' is \S+ to 25\d\S*, calibrated was -3 to 3; 9\d % of its values lie"),
        (-9, 1, "calibrated was -3 to 3; 4. % of its values lie far outside"),
        (0, 0.01, "8 bits hardly tell its values apart"),
    ],
)
def test_what_is_far(compiled: joulec.Compiled, low: float, high: float, words: str) -> None:
    values = np.random.default_rng(0).uniform(low, high, (200, 8)).astype(np.float32)
    notes = range_notes(compiled.plan, {"x": values, "k": np.full((200, 8), 10**6)})
    assert [note.code for note in notes] == (["W013"] if words else [])
    assert all(re.search(words, note.line()) for note in notes)


def test_values_beyond_numbers_are_left_out(compiled: joulec.Compiled) -> None:
    values = np.array([[0, 1, np.nan, np.inf, -np.inf, 2, 1, 0]], np.float32)
    assert range_notes(compiled.plan, {"x": values}) == ()
