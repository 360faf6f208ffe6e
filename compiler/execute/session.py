"""Opens ONNX Runtime in the one way that is exact and repeatable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.execute.saturation import has_products, saturates, with_unsigned_weights

if TYPE_CHECKING:
    import onnxruntime


def open_session(model: bytes | str | os.PathLike[str]) -> onnxruntime.InferenceSession:
    """Opens a model, its bytes or its file, in ONNX Runtime: no optimization, one thread, silent.

    Raises ONNX Runtime's errors.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    data = model if isinstance(model, bytes) else Path(model).read_bytes()
    if has_products(data) and saturates():
        exact = with_unsigned_weights(data)
        if exact is not data and not isinstance(model, bytes):
            folder = str(Path(model).parent.resolve())
            key = "session.model_external_initializers_file_folder_path"
            options.add_session_config_entry(key, folder)
        model = model if exact is data else exact
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
