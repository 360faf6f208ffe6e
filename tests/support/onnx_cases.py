"""Loads ONNX's own backend tests: models, inputs, wanted outputs, and how hard they are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.backend.test
from onnx.backend.test.loader import load_model_tests

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
# Tier 1: fixed sizes, no sub-graph, plain element types, only what edge devices are asked for. Tier
# 2: with any operation of ONNX.
_EDGE = """
    Abs Add And ArgMax ArgMin Attention AveragePool BatchNormalization Cast Ceil Celu Clip Concat
    Constant ConstantOfShape Conv ConvInteger ConvTranspose Cos DepthToSpace DequantizeLinear Div
    Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand Flatten Floor GRU Gather Gelu Gemm
    GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid HardSwish
    Hardmax Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual
    Log LogSoftmax LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean
    MeanVarianceNormalization Min Mish Mul Neg Not Or PRelu Pad Pow QLinearConv QLinearMatMul
    QuantizeLinear RMSNormalization RNN Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round
    Selu Shape Shrink Sigmoid Sign Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK Transpose Unsqueeze Upsample Where Xor
"""
EDGE = frozenset(_EDGE.split())
PLAIN = ("FLOAT", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "BOOL")


@dataclass(frozen=True)
class Case:
    """One of ONNX's tests: a model, and pairs of inputs and outputs by position."""

    name: str
    kind: str
    model: onnx.ModelProto
    data: Sequence[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


def names(kinds: Sequence[str] = KINDS) -> list[tuple[str, str]]:
    """(kind, name) of every test."""
    return [(kind, name) for kind in kinds for name in _index(kind)]


def load(kind: str, name: str) -> Case:
    """A test by its name."""
    found = _index(kind)[name]
    if kind == "light":
        return _light(Path(found))
    if not found.model_dir:
        return Case(name, kind, found.model, found.data_sets, found.rtol, found.atol)
    folder = Path(found.model_dir)
    model = onnx.load(folder / "model.onnx")
    data = [
        (_files(one, "input", model.graph.input), _files(one, "output", model.graph.output))
        for one in sorted(folder.glob("test_data_set*"))
    ]
    return Case(name, kind, model, data, found.rtol, found.atol)


@cache
def _index(kind: str) -> dict[str, Any]:
    if kind == "light":
        folder = Path(onnx.backend.test.__file__).parent / "data" / "light"
        return {path.stem: path for path in sorted(folder.glob("*.onnx"))}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # the tests' own arithmetic overflows on purpose
        return {
            case.name: case for case in sorted(load_model_tests(kind=kind), key=lambda c: c.name)
        }


def _light(path: Path) -> Case:
    """Loads one of the nine graphs of well-known networks.

    With the output that onnx ships for inputs made by a rule.
    """
    model = onnx.load(path)
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = []
    for value in model.graph.input:
        if value.name not in weights:
            dims = value.type.tensor_type.shape.dim
            shape = tuple(dim.dim_value if dim.HasField("dim_value") else 1 for dim in dims)
            count = int(np.prod(shape))
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
    outputs = []
    for index in range(len(model.graph.output)):
        data = path.with_name(f"{path.stem}_output_{index}.pb").read_bytes()
        outputs.append(onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data)))
    return Case(path.stem, "light", model, [(inputs, outputs)], 1e-3, 1e-7)


def _files(folder: Path, which: str, values: Sequence[onnx.ValueInfoProto]) -> list[Any]:
    count = len(list(folder.glob(f"{which}_*.pb")))
    return [_value((folder / f"{which}_{i}.pb").read_bytes(), values[i].type) for i in range(count)]


def _value(data: bytes, kind: onnx.TypeProto) -> Any:
    if kind.HasField("sequence_type"):
        return onnx.numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind.HasField("optional_type"):
        return onnx.numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return onnx.numpy_helper.to_array(onnx.TensorProto.FromString(data))


def tier(model: onnx.ModelProto) -> int:
    """1, 2, or 3: free sizes, sub-graphs, other element types or domains."""
    for value in [*model.graph.input, *model.graph.output]:
        tensor = value.type.tensor_type
        plain = onnx.TensorProto.DataType.Name(tensor.elem_type) in PLAIN
        if not plain or not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            return 3
    for node in model.graph.node:
        graphs = any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)
        if graphs or node.domain not in ("", "ai.onnx"):
            return 3
    return 1 if all(node.op_type in EDGE for node in model.graph.node) else 2


def plain(value: Any) -> Any:
    """A value of a test as users hand it in."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return onnx.numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return onnx.numpy_helper.to_optional(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return np.asarray(value) if isinstance(value, np.generic) else value
