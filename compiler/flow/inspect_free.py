"""Looks at a model whose sizes are not all bound: what can be told of it without them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from compiler.choices import MAX_NODES, MAX_TENSOR_BYTES
from compiler.frontend.load import load_model
from compiler.frontend.tensors import Limits
from compiler.ir.protos import dtype_name

DEPENDS = "MACs, the sizes of values, and what each engine could take"


@dataclass(frozen=True)
class FreeType:
    """A type with sizes that are numbers or, where they are free, names ("?" without one).

    `sizes` is None where not even their number is known.
    """

    dtype: str
    sizes: tuple[int | str, ...] | None

    def words(self) -> str:
        """Writes the type, such as float32[N, 3, ?]."""
        return (
            self.dtype if self.sizes is None else f"{self.dtype}[{', '.join(map(str, self.sizes))}]"
        )


@dataclass(frozen=True, kw_only=True)
class FreeInspection:
    """What a model is whatever its free sizes are.

    `operations` has the file's own, the most frequent first; `hint` says how to bind what is free.
    """

    name: str
    sha256: str
    opset: int
    nodes: int
    parameters: int
    inputs: Mapping[str, FreeType]
    outputs: Mapping[str, FreeType]
    operations: Mapping[str, int]
    hint: str


def inspect_free(model: str | Path, hint: str) -> FreeInspection:
    """Reads and checks a model and tells what depends on no free size; raises as `load_model`."""
    loaded = load_model(model, Limits(MAX_NODES, MAX_TENSOR_BYTES))
    graph = loaded.model.graph
    counted = Counter(
        f"{node.domain}::{node.op_type}" if node.domain else node.op_type for node in graph.node
    )
    read = {name for node in graph.node for name in node.input}
    return FreeInspection(
        name=loaded.name,
        sha256=loaded.sha256,
        opset=loaded.opset,
        nodes=len(graph.node),
        parameters=sum(data.size for name, data in loaded.weights.items() if name in read),
        inputs={v.name: _type_of(v) for v in graph.input if v.name not in loaded.weights},
        outputs={value.name: _type_of(value) for value in graph.output},
        operations=dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
        hint=hint,
    )


def free_table(found: FreeInspection) -> dict[str, Any]:
    """The inspection as plain values: the keys of "joulec.inspection/1" that are known."""
    return {
        "schema": "joulec.inspection/1",
        "model": {"name": found.name, "sha256": found.sha256, "opset": found.opset},
        "inputs": [_port_table(name, kind) for name, kind in found.inputs.items()],
        "outputs": [_port_table(name, kind) for name, kind in found.outputs.items()],
        "nodes": found.nodes,
        "operations": dict(found.operations),
        "parameters": found.parameters,
        "macs": None,
        "notes": [f"{DEPENDS} depend on free sizes: {found.hint}"],
        "targets": [],
    }


def _port_table(name: str, kind: FreeType) -> dict[str, Any]:
    sizes = None
    if kind.sizes is not None:
        sizes = [size if isinstance(size, int) else None for size in kind.sizes]
    return {"name": name, "dtype": kind.dtype, "shape": sizes, "type": kind.words()}


def _type_of(value: onnx.ValueInfoProto) -> FreeType:
    if not value.type.HasField("tensor_type"):
        return FreeType((value.type.WhichOneof("value") or "unknown").removesuffix("_type"), None)
    tensor = value.type.tensor_type
    dtype = dtype_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return FreeType(dtype, None)
    return FreeType(
        dtype,
        tuple(
            dim.dim_value
            if dim.HasField("dim_value") and dim.dim_value >= 0
            else dim.dim_param or "?"
            for dim in tensor.shape.dim
        ),
    )
