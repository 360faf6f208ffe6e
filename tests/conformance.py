"""Counts how many of ONNX's own backend tests the compiler passes: compiled with --precision float, packaged, simulated.

`make conformance` runs all of them. A test passes when every output has the wanted type, shape and values (by the rules of
onnx.backend.test.runner); it is refused when the compiler says in one line which operation or value it cannot take; anything else fails.
"""

from __future__ import annotations

import argparse
import datetime
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx.backend.test
from onnx.backend.test.loader import load_model_tests

import joulec
from compiler.errors import CompileError

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "light")
# Tier 1: fixed sizes, no sub-graph, plain element types, only what edge devices are asked for. Tier 2: with any operation of ONNX.
_EDGE = """
    Abs Add And ArgMax ArgMin Attention AveragePool BatchNormalization Cast Ceil Celu Clip Concat Constant ConstantOfShape Conv
    ConvInteger ConvTranspose Cos DepthToSpace DequantizeLinear Div Dropout DynamicQuantizeLinear Einsum Elu Equal Erf Exp Expand
    Flatten Floor GRU Gather Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual GroupNormalization HardSigmoid
    HardSwish Hardmax Identity InstanceNormalization LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax
    LpNormalization LpPool MatMul MatMulInteger Max MaxPool Mean MeanVarianceNormalization Min Mish Mul Neg Not Or PRelu Pad Pow
    QLinearConv QLinearMatMul QuantizeLinear RMSNormalization RNN Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize Round Selu Shape Shrink Sigmoid Sign
    Sin Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tanh ThresholdedRelu Tile TopK
    Transpose Unsqueeze Upsample Where Xor
"""
EDGE = frozenset(_EDGE.split())
PLAIN = ("FLOAT", "INT8", "UINT8", "INT16", "UINT16", "INT32", "UINT32", "INT64", "BOOL")
Verdict = Literal["passed", "refused", "failed"]


@dataclass(frozen=True)
class Case:
    """One of ONNX's tests: a model, and pairs of inputs and outputs by position."""

    name: str
    kind: str
    model: onnx.ModelProto
    data: Sequence[tuple[list[Any], list[Any]]]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Result:
    """What became of a test, and why where it did not pass."""

    name: str
    tier: int
    verdict: Verdict
    why: str = ""


def compile_and_run(
    model: onnx.ModelProto, inputs: Mapping[str, Any], target: str = "diana_digital"
) -> list[Any]:
    """The outputs of a model: compiled to a package in a folder, and run from there. Free sizes are those of the inputs."""
    options = joulec.Options(precision="float", bind=_sizes(model, inputs))
    with tempfile.TemporaryDirectory() as folder:
        joulec.compile(model, target, options=options, output=Path(folder) / "package")
        return joulec.run(Path(folder) / "package", inputs)


def _sizes(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the model leaves free, as --bind takes them."""
    return {
        f"{value.name}:{axis}": inputs[value.name].shape[axis]
        for value in model.graph.input
        if isinstance(inputs.get(value.name), np.ndarray)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if not dim.HasField("dim_value")
    }


# -- the tests


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
    """One of the nine graphs of well-known networks, with the output that onnx ships for inputs made by a rule."""
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


# -- judging


def judge(case: Case, target: str = "diana_digital") -> Result:
    """Compiles and runs a test, and compares."""
    level = tier(case.model) if case.kind == "node" else 4
    weights = {tensor.name for tensor in case.model.graph.initializer}
    slots = [value.name for value in case.model.graph.input]
    free = [name for name in slots if name not in weights]
    try:
        for inputs, wanted in case.data:
            given = [_plain(item) for item in inputs]
            feed = dict(zip(slots if len(given) == len(slots) else free, given, strict=False))
            found = compile_and_run(case.model, feed, target)
            why = difference([_plain(item) for item in wanted], found, case)
            if why:
                return Result(case.name, level, "failed", why)
    except CompileError as error:
        clean = error.code != "P002"  # what compiled has to run
        return Result(case.name, level, "refused" if clean else "failed", error.line())
    except Exception as error:  # any kind: it is a traceback that a user would see
        return Result(case.name, level, "failed", f"{type(error).__name__}: {error}")
    return Result(case.name, level, "passed")


def _plain(value: Any) -> Any:
    """A value of a test as users hand it in."""
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return onnx.numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return onnx.numpy_helper.to_optional(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return np.asarray(value) if isinstance(value, np.generic) else value


def difference(wanted: Any, found: Any, case: Case, where: str = "outputs") -> str:
    """How a result differs from what is wanted, or an empty string."""
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return f"{where} should be a list of {len(wanted)}"
        inner = enumerate(zip(wanted, found, strict=True))
        reasons = (difference(w, f, case, f"{where}[{i}]") for i, (w, f) in inner)
        return next((reason for reason in reasons if reason), "")
    if wanted is None or found is None:
        return "" if wanted is found else f"{where} is {found}, wanted {wanted}"
    found, wanted = np.asarray(found), np.asarray(wanted)
    if found.shape != wanted.shape:
        return f"{where} has shape {found.shape}, wanted {wanted.shape}"
    if wanted.dtype.kind in "OSU":
        same = np.array_equal(wanted.astype(object), found.astype(object))
        return "" if same else f"{where} has other texts"
    if found.dtype != wanted.dtype:
        return f"{where} is {found.dtype}, wanted {wanted.dtype}"
    rtol = max(case.rtol, 2**-6) if wanted.dtype.name == "bfloat16" else case.rtol
    if wanted.dtype.kind == "V" or wanted.dtype.name not in np.sctypeDict:
        found, wanted = found.astype(np.float32), wanted.astype(np.float32)
    try:
        np.testing.assert_allclose(found, wanted, rtol, case.atol)
    except AssertionError as error:
        return f"{where}: " + " ".join(str(error).split())
    return ""


# -- the run


def _judge_named(item: tuple[str, str, str]) -> Result:
    kind, name, target = item
    with np.errstate(all="ignore"):
        return judge(load(kind, name), target)


def run(items: Sequence[tuple[str, str]], target: str, jobs: int) -> Iterator[Result]:
    """Judges tests in processes of their own, in order. One that kills its process fails alone."""
    position = 0
    while position < len(items):
        try:
            for result in _judged(items[position:], target, jobs):
                yield result
                position += 1
        except BrokenProcessPool:  # by the next test, or by one that ran beside it
            yield _judged_alone(items[position], target)
            position += 1


def _judged(items: Sequence[tuple[str, str]], target: str, jobs: int) -> Iterator[Result]:
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(_judge_named, [(*item, target) for item in items])


def _judged_alone(item: tuple[str, str], target: str) -> Result:
    try:
        return next(_judged([item], target, 1))
    except BrokenProcessPool:
        return Result(item[1], 4, "failed", "its process died")


def main() -> int:
    """Prints the count by tier; 1 where a test failed."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="diana_digital")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="a part of the tests' names")
    asked = parser.parse_args()
    items = [item for item in names() if asked.only in item[1]]
    counts: dict[int, Counter[str]] = {level: Counter() for level in (1, 2, 3, 4)}
    for position, result in enumerate(run(items, asked.target, asked.jobs), 1):
        counts[result.tier][result.verdict] += 1
        if result.verdict != "passed":
            print(f"{result.verdict}: {result.name}: {result.why[:400]}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{position}/{len(items)}", end="", file=sys.stderr)
    print(
        f"ONNX backend tests on {asked.target}, --precision float; onnx {version('onnx')}, "
        f"onnxruntime {version('onnxruntime')}, numpy {version('numpy')}; {datetime.date.today()}"
    )
    total: Counter[str] = Counter()
    said = ("edge operations, fixed sizes", "any operation, fixed sizes", "all node tests", "all")
    for level, what in zip((1, 2, 3, 4), said, strict=True):
        total += counts[level]
        print(
            f"tier {level} ({what}): {total['passed']} of {total.total()}, {total['refused']} refused"
        )
    print(f"{total['passed']} passed, {total['failed']} failed, {total['refused']} skipped")
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
