"""A model run by ONNX Runtime, optimizations off: the host's usual way, and the judge of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from compiler.reference_host import why_not_exchanged

if TYPE_CHECKING:
    import onnxruntime


def session_options() -> onnxruntime.SessionOptions:
    """Options that make ONNX Runtime exact and repeatable: no optimization, one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class RuntimeModel:
    """An ONNX model ready to run by ONNX Runtime."""

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        self._session = onnxruntime.InferenceSession(
            model, session_options(), providers=["CPUExecutionProvider"]
        )
        self.inputs = tuple(item.name for item in self._session.get_inputs())
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def why_not(self) -> str:
        """Why its values cannot pass through Python, or an empty string."""
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        reasons = (why_not_exchanged(port.type) for port in ports)
        return next((reason for reason in reasons if reason), "")

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """One inference: values by name in, outputs by name out."""
        results = self._session.run(None, {name: values[name] for name in self.inputs})
        return dict(zip(self.outputs, results, strict=True))
