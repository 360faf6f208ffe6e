"""Opens ONNX Runtime in the one way that is exact and repeatable."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    import onnxruntime


def open_session(model: bytes | str | os.PathLike[str]) -> onnxruntime.InferenceSession:
    """A model, its bytes or its file, in ONNX Runtime: no optimization, one thread, nothing printed. Raises ONNX Runtime's errors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
