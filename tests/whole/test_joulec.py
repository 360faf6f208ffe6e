"""The Python face with arguments of other types than theirs: an error with a code, never an
accident further in.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import joulec

DIM20 = Path(__file__).parents[2] / "models" / "dim20.onnx"
IMAGES = np.ones((3, 64), np.float32)


@pytest.fixture(scope="module")
def compiled() -> joulec.Compiled:
    """A small package."""
    return joulec.compile(DIM20, "tile16", options=joulec.Options(calibration_samples=2))


def refused(call: Callable[[], Any]) -> str:
    """The line of the error that a call raises."""
    with pytest.raises(joulec.CompileError) as raised:
        call()
    return raised.value.line()


@pytest.mark.parametrize(
    "model", [None, 3, [DIM20], io.BytesIO(b""), onnx.GraphProto()], ids=lambda m: type(m).__name__
)
def test_a_model_that_is_none(model: Any) -> None:
    message = refused(lambda: joulec.compile(model, "tile16"))
    assert message.startswith("error[U004]: the model is of type ")


def test_bytes_of_any_kind_are_a_model() -> None:
    options = joulec.Options(precision="float")
    data = DIM20.read_bytes()
    models: list[Any] = [data, bytearray(data), memoryview(data)]
    plans = [joulec.compile(model, "tile16", options=options).plan for model in models]
    assert len({plan.hash for plan in plans}) == 1


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"seed": None}, "option seed is None: wanted is a valid integer"),
        ({"seed": -1}, "--seed -1: wanted 0 or more"),
        (
            {"objective": "speed"},
            "option objective is 'speed': wanted is 'energy', 'latency' or 'edp'",
        ),
        ({"weights": "x"}, "option weights is 'x': wanted is 'auto', 'resident' or 'reload'"),
        ({"precision": 8}, "option precision is 8: wanted is 'integer' or 'float'"),
        ({"prune_method": "x"}, "option prune_method is 'x'"),
        ({"prune": "half"}, "option prune is 'half': wanted is a valid number"),
        ({"bind": [("N", 1)]}, "option bind is [('N', 1)]: wanted is a valid dictionary"),
        ({"bind": {5: 1}}, "option bind is {5: 1}: wanted is a valid string"),
        ({"data": {"image": 1}}, "option data is {'image': 1}"),
        ({"calibration_samples": 1.5}, "option calibration_samples is 1.5"),
        ({"max_divergence": "x"}, "option max_divergence is 'x'"),
        ({"max_nodes": None}, "option max_nodes is None"),
        ({"place": "*=host"}, "option place is '*=host': wanted is a valid tuple"),
        ({"place": (("a",),)}, "option place is (('a',),)"),
    ],
    ids=str,
)  # fmt: skip
def test_an_option_of_another_type_or_kind(option: dict[str, Any], words: str) -> None:
    message = refused(lambda: joulec.compile(DIM20, "tile16", options=joulec.Options(**option)))
    assert message.startswith(f"error[U004]: {words}")


def test_options_and_paths_of_another_type(compiled: joulec.Compiled) -> None:
    anything: Any = {"seed": 1}
    message = refused(lambda: joulec.compile(DIM20, "tile16", options=anything))
    assert message == "error[U004]: options are of type dict, wanted is joulec.Options"
    for what, call in (
        ("output", compiled.save), ("package", joulec.load), ("chip", joulec.load_target),
    ):  # fmt: skip
        for value in (None, 5, b"x", anything):
            message = refused(lambda call=call, value=value: call(value))  # type: ignore[misc]
            kind = type(value).__name__
            assert (
                message == f"error[U004]: the {what} is of type {kind}, wanted is a path (a text)"
            )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (None, "the inputs are of type NoneType"),
        ([IMAGES], "the inputs are of type list"),
        ({5: IMAGES}, "there is no input '5'; the model has image"),
        ({"image": [[1, 2], [3]]}, "input 'image' is no array"),
        ({"image": None}, "input 'image' is object"),
        ({"image": "abc"}, "input 'image' is <U3"),
    ],
    ids=["nothing", "a list", "a number for a name", "ragged", "None", "a text"],
)
def test_inputs_that_are_none(compiled: joulec.Compiled, inputs: Any, words: str) -> None:
    assert refused(lambda: joulec.run(compiled, inputs)).startswith(f"error[U005]: {words}")


def test_limits() -> None:
    options = joulec.Options(calibration_samples=2)

    def compile_within(seconds: float) -> joulec.Compiled:
        with joulec.limited(seconds=seconds):
            return joulec.compile(DIM20, "tile16", options=options)

    assert "it takes longer than the 0.01 s" in refused(lambda: compile_within(0.01))
    assert (
        compile_within(600).plan.hash == joulec.compile(DIM20, "tile16", options=options).plan.hash
    )
