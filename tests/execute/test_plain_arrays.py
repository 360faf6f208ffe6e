"""Maps and sequences as arrays: whole where all are alike, as they are where not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.execute.plain_arrays import flat_arrays, plain_outputs

ONE, TWO = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (ONE, {"y": [1.0, 2.0]}),
        ([ONE, TWO], {"y": [[1.0, 2.0], [3.0, 4.0]]}),
        ([[ONE, TWO], [TWO, ONE]], {"y": [[[1, 2], [3, 4]], [[3, 4], [1, 2]]]}),
        ({"a": 0.5, "b": 0.25}, {"y": [0.5, 0.25], "y.keys": ["a", "b"]}),
        ([{7: 1.0, 9: 2.0}, {7: 3.0, 9: 4.0}], {"y": [[1, 2], [3, 4]], "y.keys": [7, 9]}),
        ([[{"a": 1.0}], [{"a": 2.0}]], {"y": [[1.0], [2.0]], "y.keys": ["a"]}),
    ],
)
def test_alike_values_become_arrays(value: Any, plain: dict[str, Any]) -> None:
    found = plain_outputs({"y": value})
    assert {name: array.tolist() for name, array in found.items()} == plain
    if "y.keys" in found:
        assert found["y"].dtype == np.float32


@pytest.mark.parametrize(
    "value",
    [[ONE, ONE[:1]], [], [ONE, [ONE]], [{"a": 1.0}, {"b": 1.0}], [{"a": ONE}], None, [None, ONE]],
)
def test_unlike_values_stay_as_they_are(value: Any) -> None:
    assert plain_outputs({"y": value})["y"] is value


def test_every_value_has_its_arrays_in_order() -> None:
    assert flat_arrays(None) == []
    assert [array.tolist() for array in flat_arrays([ONE, [TWO, None]])] == [[1, 2], [3, 4]]
    maps = np.empty(1, object)
    maps[0] = {"a": 1.0, "b": 2.0}
    assert [array.tolist() for array in flat_arrays(maps)] == [[[1.0, 2.0]]]
    texts = np.array(["a", "b"], object)
    assert flat_arrays(texts)[0] is texts
