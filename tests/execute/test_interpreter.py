"""Samples that run together through large weights give what each of them gives alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from compiler.execute import interpreter
from compiler.execute.interpreter import Interpreter, Model
from compiler.ir.text import from_text

# Floats, integers of them, a product of a single row; `b` is read again behind the first product,
# which is an output as well.
NETWORK = """\
graph net(x: float32[2, 3], v: float32[3]) -> (y, z, u)
w: float32[1, 3, 4] = const [0.5, -1.0, 0.25, 2.0, 1.5, 0.0, -0.5, 1.0, -2.0, 0.75, 1.0, -0.25]
i: int8[1, 3, 2]{scale=0.5} = const [3, -1, 2, 5, -4, 1]
s: float32[] = const [0.01]
p: int8[] = const [3]
b: float32[2, 3] = Tanh(x)
y: float32[2, 4] = Product(b, w) minimum=0.0
a: int8[2, 3]{scale=0.01, zero=3} = QuantizeLinear(b, s, p)
z: int8[2, 2]{scale=0.1} = Product(a, i)
u: float32[4] = Product(v, w)
"""


@pytest.mark.parametrize("together", [1, 2, 5])
def test_samples_run_together_through_large_weights(
    together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph, random = from_text(NETWORK), np.random.default_rng(0)
    samples = {
        "x": random.standard_normal((5, 2, 3), np.float32),
        "v": random.standard_normal((5, 3), np.float32),
    }
    wanted = Interpreter(graph).run_all(samples)  # one model, one sample after the other
    monkeypatch.setattr(interpreter, "FETCHED_BYTES", 0)
    sample_bytes = 2 * 3 * 4 + 2 * 4 * 4  # what `y` is made from, and `y`
    monkeypatch.setattr(interpreter, "TOGETHER_BYTES", together * sample_bytes)
    runner = Interpreter(graph)
    entered: list[int] = []
    run = Model.run

    def watched(model: Model, values: Any) -> Any:
        entered.extend(len(data) // 2 for name, data in values.items() if name in ("a", "b"))
        return run(model, values)

    monkeypatch.setattr(Model, "run", watched)
    found = runner.run_all(samples)
    assert max(entered) == together
    assert list(found) == ["y", "z", "u"]
    for name, data in wanted.items():
        np.testing.assert_array_equal(found[name], data)
    alone = runner.run({name: data[3] for name, data in samples.items()})
    assert np.array_equal(alone["z"], wanted["z"][3])
