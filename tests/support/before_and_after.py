"""Compares each pass on a graph small enough to read: text before, the pass, text after.

The tests are tests/passes/test_<pass>.py. `after` also checks what is true of every pass: the
result is sound, the old graph is as it was, a second run changes nothing, and ONNX Runtime computes
the same from both.
"""

from __future__ import annotations

import numpy as np

from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Graph
from compiler.ir.text import from_text, to_text
from compiler.ir.verify import verify
from compiler.target.chip import load_target
from passes.base import Pass
from passes.calibration.inputs import synthetic_inputs

TILE16 = load_target("tile16")


def after(current: Pass, text: str, *, runs: bool = True, lossy: bool = False) -> str:
    """Prints the graph after a pass, and checks what is true of every pass.

    `runs` is False where ONNX Runtime has no kernel or a size is free. The numbers of a `lossy`
    pass are within 5 % of the largest.
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
        size = 0 if exact else relative * float(np.abs(values).max(initial=0))
        largest = np.abs(values.astype(np.float64) - found[name].astype(np.float64)).max(initial=0)
        assert largest <= size, f"{name} differs by {largest}"
