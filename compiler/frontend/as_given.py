"""Runs a model as given, in ONNX Runtime or onnx's reference evaluator, before it is compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from compiler.execute.interpreter import Model
from compiler.execute.made_up_inputs import made_up_arrays
from compiler.frontend.load import Loaded, whole_message
from compiler.ir.graph import Array, Graph

MOST_BYTES = 1 << 28  # of inputs, and of weights that are copied: beyond it they are handed over


def runs_as_given(source: str | Path | bytes | onnx.ModelProto, loaded: Loaded) -> bool:
    """Whether ONNX Runtime, or onnx's evaluator, takes a model with its sizes left free."""
    try:
        open_as_given(source, loaded)
    except MemoryError:
        raise
    except Exception:  # there is no one error for what does not load
        return False
    return True


def shapes_as_given(
    source: str | Path | bytes | onnx.ModelProto, loaded: Loaded, graph: Graph
) -> dict[str, tuple[int, ...]]:
    """Finds the shapes of a model's outputs by a run on made-up inputs; none where it does not run.

    `graph` says what the inputs are. Outputs that are no tensors are left out.
    """
    try:
        made = made_up_arrays(graph, 1, 0, "batch")
        found = open_as_given(source, loaded).run(
            {name: np.asarray(made[name][0]) for name in made}
        )
    except MemoryError:
        raise
    except Exception:  # there is no one error for what does not run
        return {}
    return {name: value.shape for name, value in found.items() if isinstance(value, np.ndarray)}


def open_as_given(source: str | Path | bytes | onnx.ModelProto, loaded: Loaded) -> Model:
    """Opens a model as given; large weights are handed over as inputs, without a copy."""
    if sum(data.nbytes for data in loaded.weights.values()) > MOST_BYTES:
        return _with_weights_outside(loaded)
    if isinstance(source, onnx.ModelProto):
        return Model(source.SerializeToString())
    if isinstance(source, bytes | bytearray | memoryview):
        return Model(bytes(source))
    return Model(whole_message(Path(source)).SerializeToString())


def _with_weights_outside(loaded: Loaded) -> Model:
    model = onnx.ModelProto()
    model.CopyFrom(loaded.model)
    model.ir_version = max(model.ir_version, 4)
    outside: dict[str, Array] = {}
    for name, data in loaded.weights.items():
        if data.size <= 64:  # shapes, axes, clips: what inference wants to see
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(data), name))
        else:
            outside[name] = data
    known = {value.name for value in model.graph.input}
    for name, data in outside.items():
        if name not in known:
            number = onnx.helper.np_dtype_to_tensor_dtype(data.dtype)
            model.graph.input.append(
                onnx.helper.make_tensor_value_info(name, number, list(data.shape))
            )
    return Model(model.SerializeToString(), outside)
