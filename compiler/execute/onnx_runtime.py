"""Runs a model by ONNX Runtime, optimizations off: the host's usual way, and our reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compiler.execute.loop_work import refusal_of, with_limit
from compiler.execute.reference_evaluator import why_not_exchanged
from compiler.execute.session import open_session


class RuntimeModel:
    """An ONNX model ready to run by ONNX Runtime."""

    def __init__(self, model: bytes) -> None:
        self._session = open_session(with_limit(model))
        self.inputs = tuple(item.name for item in self._session.get_inputs())
        self.outputs = tuple(item.name for item in self._session.get_outputs())

    def why_not(self) -> str:
        """Explains why its values cannot pass through Python, or returns an empty string."""
        ports = [*self._session.get_inputs(), *self._session.get_outputs()]
        reasons = (why_not_exchanged(port.type) for port in ports)
        return next((reason for reason in reasons if reason), "")

    def run(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one inference: values by name in, outputs by name out.

        Raises ModelError (M008) for Loops that pass the limit of work, else ONNX Runtime's errors.
        """
        try:
            results = self._session.run(None, {name: values[name] for name in self.inputs})
        except Exception as error:  # ONNX Runtime's errors share no base
            if refusal := refusal_of(error):
                raise refusal from error
            raise
        return dict(zip(self.outputs, results, strict=True))
