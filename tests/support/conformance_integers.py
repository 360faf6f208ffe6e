"""Compiles one of ONNX's own tests for integers, as a user would, and compares it.

It is calibrated on its own input, checked, run on it, and compared with its references.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import joulec
from compiler.cost.divergence import output_divergence
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Graph
from compiler.target.chip import load_target
from passes.place_in_float import RANDOM
from tests.passes.test_every_pass import same
from tests.support.random_check import compile_held

MOST = 0.02  # of divergence: what a compilation allows by default, all formats together
SAMPLES = 2  # calibrated on where they are made up
FLOATS = ("float16", "float32", "float64")


def fault(
    model: onnx.ModelProto, inputs: Mapping[str, Any], target: str, bind: Mapping[str, int]
) -> str:
    """Compiles a model for integers, runs the test's inputs, and explains what does not hold.

    An empty string where all holds; raises what compiling raises.

    Exact passes preserve the numbers, the package is sound, its outputs are bit for bit those of
    the placed graph in ONNX Runtime; calibrated on the very inputs, its floats are within the
    divergence allowed of the float model's, its integers within a step. (Samples that no file of
    data may hold, of NaN or of types that numpy lacks, are made up, and then nothing bounds how
    near a result must be.)
    """
    with tempfile.TemporaryDirectory() as folder:
        data = (
            Path(folder) / "inputs.npz"
            if inputs and all(map(_is_sample, inputs.values()))
            else None
        )
        if data is not None:
            np.savez(data, allow_pickle=False, **inputs)
        options = joulec.Options(bind=bind, data=data, calibration_samples=SAMPLES)
        wrong: list[str] = []
        package, found = compile_held(model, inputs, load_target(target), options, wrong)
    if any(op.encode() in model.SerializeToString() for op in RANDOM):
        return ""  # no two runs give the same
    if wrong:
        return wrong[0]
    if data is None:
        return ""
    graph = import_onnx(model, bind).graph
    wanted = Interpreter(graph).run(inputs)
    names = [port.name for port in package.plan.outputs]
    pairs = zip(names, found, strict=True)
    return next((why for name, value in pairs if (why := _far(name, graph, wanted, value))), "")


def _is_sample(value: Any) -> bool:
    """Whether a file of data may hold an input."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        return False
    return value.dtype.name in np.sctypeDict and bool(np.isfinite(value).all())


def _far(name: str, graph: Graph, wanted: Mapping[str, Any], found: Any) -> str:
    """How an output is not near the float model's, or an empty string."""
    kind, value = graph.types[name], wanted[name]
    if same(value, found):
        return ""
    if kind.quant is None and kind.dtype in FLOATS:
        far = output_divergence(graph, {name: value}, {name: found})
        return f"output {name!r} diverges by {far:.3g}, allowed are {MOST}" if far > MOST else ""
    if kind.quant is not None or kind.dtype in ("int8", "uint8"):
        steps = np.abs(np.asarray(value, np.int64) - found).max()
        return f"output {name!r} is {steps} steps off" if steps > 1 else ""
    if np.dtype(value.dtype).name != "bfloat16":
        return f"output {name!r} is another"
    near = np.allclose(value.astype(np.float32), found.astype(np.float32), 2**-6, 2**-6)
    return "" if near else f"output {name!r} is another"
