"""Counts how many of ONNX's own backend tests the compiler passes.

Tests are compiled with --precision float, packaged and simulated. `make conformance` runs all of
them. A test passes when every output has the wanted type, shape and values (by the rules of
onnx.backend.test.runner); it is refused when the compiler names in one line the operation or value
it cannot take; anything else fails, a process that dies, takes too long or too much memory too. On
a chip whose engine computes in floats, the tests that our own kernels computed instead of ONNX
Runtime are counted separately; `--constants` makes the models' inputs constants where there are
several, so that weights are weights. With `--free` no free size is bound, as where a user gives
none: what is no batch has to be refused. With `--precision integer` the models are quantized, and
compared with the references of tests/support/conformance_integers.py.
"""

from __future__ import annotations

import argparse
import datetime
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

import joulec
from compiler.choices import Precision
from compiler.errors import CompileError
from compiler.ir.ops import VIEWS
from tests.support.conformance_integers import fault
from tests.support.onnx_cases import Case, load, names, plain, tier

Verdict = Literal["passed", "refused", "failed"]
FLOAT_CHIP = str(Path(__file__).parent / "float_digital.toml")
TIME_S = 120  # for one test; the slowest takes ten
MEMORY_BYTES = 8 << 30


@dataclass(frozen=True)
class Result:
    """What became of a test, and why where it did not pass.

    `own` are the operations that our own kernels computed, `macs` how many multiplications were
    among them; `ulps` is how far the floats of the outputs are from the wanted ones, in units of
    the last place.
    """

    name: str
    tier: int
    verdict: Verdict
    why: str = ""
    own: tuple[str, ...] = ()
    macs: int = 0
    ulps: int = 0


@dataclass(frozen=True)
class Setting:
    """States how tests are run: on which chip, in the model's floats or quantized.

    `constants` makes constants of all inputs but the first; without `bound` sizes that a model
    leaves free are not bound to those of the inputs.
    """

    target: str = "diana_digital"
    constants: bool = False
    precision: Precision = "float"
    bound: bool = True


def compile_and_run(
    model: onnx.ModelProto, inputs: Mapping[str, Any], target: str, bound: bool = True
) -> tuple[list[Any], joulec.Compiled]:
    """Compiles a model to a package in a folder, runs it from there and returns the outputs.

    Free sizes are those of the inputs, or without `bound` what the compiler makes of them.
    """
    sizes = _sizes(model, inputs) if bound else {}
    options = joulec.Options(precision="float", bind=sizes)
    with tempfile.TemporaryDirectory() as folder:
        joulec.compile(model, target, options=options, output=Path(folder) / "package")
        package = joulec.load(Path(folder) / "package")
        return joulec.run(package, inputs), package


def _sizes(model: onnx.ModelProto, inputs: Mapping[str, Any]) -> dict[str, int]:
    """The sizes that the model leaves free, as --bind takes them."""
    return {
        f"{value.name}:{axis}": inputs[value.name].shape[axis]
        for value in model.graph.input
        if isinstance(inputs.get(value.name), np.ndarray)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim)
        if not dim.HasField("dim_value")
    }


def with_constants(
    model: onnx.ModelProto, inputs: Mapping[str, Any]
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """Makes all inputs of a model but the first constants, as far as they are tensors of numbers.

    Returns the model and the inputs that are left.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    changed.ir_version = max(changed.ir_version, 4)
    left = dict(inputs)
    for value in list(changed.graph.input)[1:]:
        data = left.get(value.name)
        if isinstance(data, np.ndarray) and data.dtype.kind in "biuf":
            changed.graph.initializer.append(onnx.numpy_helper.from_array(data, value.name))
            changed.graph.input.remove(value)
            del left[value.name]
    return changed, left


# -- one test


def try_case(case: Case, setting: Setting = Setting()) -> Result:
    """Compiles and runs a test, and compares."""
    level = tier(case.model) if case.kind == "node" else 4
    weights = {tensor.name for tensor in case.model.graph.initializer}
    slots = [value.name for value in case.model.graph.input]
    free = [name for name in slots if name not in weights]
    own: dict[str, int] = {}
    furthest = 0
    try:
        for inputs, outputs in case.data:
            given = [plain(item) for item in inputs]
            feed = dict(zip(slots if len(given) == len(slots) else free, given, strict=False))
            model = case.model
            if setting.constants:
                model, feed = with_constants(model, feed)
            if setting.precision == "integer":
                why = fault(model, feed, setting.target, _sizes(model, feed))
                if why:
                    return Result(case.name, level, "failed", why)
                continue
            found, package = compile_and_run(model, feed, setting.target, setting.bound)
            wanted = [plain(item) for item in outputs]
            why = difference(wanted, found, case)
            if why:
                return Result(case.name, level, "failed", why)
            own.update(own_work(package))
            furthest = max(furthest, ulps(wanted, found))
    except CompileError as error:
        clean = error.code not in ("P002", "P003")  # what compiled has to run
        return Result(case.name, level, "refused" if clean else "failed", error.line())
    except Exception as error:  # any kind: it is a traceback that a user would see
        return Result(case.name, level, "failed", f"{type(error).__name__}: {error}")
    return Result(
        name=case.name,
        tier=level,
        verdict="passed",
        why="",
        own=tuple(own),
        macs=sum(own.values()),
        ulps=furthest,
    )


def own_work(package: joulec.Compiled) -> dict[str, int]:
    """Counts the operations of a plan that our kernels compute, with their MACs.

    A view of data in another shape is none.
    """
    own: dict[str, int] = {}
    for step in package.plan.steps:
        if not step.payload and step.op not in VIEWS:
            own[step.op] = own.get(step.op, 0) + step.macs
    return own


def ulps(wanted: Any, found: Any) -> int:
    """Finds the largest distance between float32 numbers, in units in the last place of the wanted.

    Numbers near zero are not counted.
    """
    if isinstance(wanted, list):
        return max((ulps(w, f) for w, f in zip(wanted, found, strict=True)), default=0)
    wanted, found = np.asarray(wanted), np.asarray(found)
    if wanted.dtype != np.float32 or not wanted.size:
        return 0
    with np.errstate(all="ignore"):
        steps = np.abs(found.astype(np.float64) - wanted) / np.spacing(np.abs(wanted))
    return int(np.nan_to_num(steps[np.isfinite(wanted) & (np.abs(wanted) > 1e-3)]).max(initial=0))


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


def _begin() -> None:
    """In each worker: no test may take all memory."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))


def _try_named(item: tuple[str, str, Setting]) -> Result:
    kind, name, setting = item
    signal.alarm(TIME_S)  # which ends the process
    with np.errstate(all="ignore"):
        result = try_case(load(kind, name), setting)
    signal.alarm(0)
    return result


def run(items: Sequence[tuple[str, str]], setting: Setting, jobs: int) -> Iterator[Result]:
    """Runs tests in processes of their own, in order; one that kills its process fails alone."""
    position = 0
    while position < len(items):
        try:
            for result in _try_all(items[position:], setting, jobs):
                yield result
                position += 1
        except BrokenProcessPool:  # by the next test, or by one that ran at the same time
            yield _try_alone(items[position], setting)
            position += 1


def _try_all(items: Sequence[tuple[str, str]], setting: Setting, jobs: int) -> Iterator[Result]:
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin) as pool:
        yield from pool.map(_try_named, [(*item, setting) for item in items])


def _try_alone(item: tuple[str, str], setting: Setting) -> Result:
    try:
        return next(_try_all([item], setting, 1))
    except BrokenProcessPool:
        return Result(item[1], 4, "failed", f"its process died, or took more than {TIME_S} s")


def report(results: Sequence[Result]) -> list[str]:
    """The count by tier, what our own kernels computed, and the results farthest off."""
    counts: dict[int, Counter[str]] = {level: Counter() for level in (1, 2, 3, 4)}
    for result in results:
        counts[result.tier][result.verdict] += 1
    lines = []
    total: Counter[str] = Counter()
    said = ("edge operations, fixed sizes", "any operation, fixed sizes", "all node tests", "all")
    for level, what in zip((1, 2, 3, 4), said, strict=True):
        total += counts[level]
        lines.append(
            f"tier {level} ({what}): {total['passed']} of {total.total()}, "
            f"{total['refused']} refused"
        )
    own = [result for result in results if result.own and result.verdict == "passed"]
    if own:
        operations = Counter(op for result in own for op in set(result.own))
        lines.append(
            f"computed by our own kernels: work of {len(own)} of the tests that passed, "
            f"MACs of {sum(result.macs > 0 for result in own)}: "
            + ", ".join(f"{op} {count}" for op, count in operations.most_common())
        )
    farthest = sorted(results, key=lambda result: -result.ulps)[:3]
    named = ", ".join(f"{result.name} {result.ulps}" for result in farthest)
    lines.append(f"farthest off, in units of the last place of float32: {named}")
    failed, refused = total["failed"], total["refused"]
    return [*lines, f"{total['passed']} passed, {failed} failed, {refused} skipped"]


def main() -> int:
    """Prints the count by tier; 1 where a test failed."""
    from importlib.metadata import version

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--target",
        default="diana_digital",
        help="a chip; `float` is the test chip that computes in floats",
    )
    parser.add_argument(
        "--constants", action="store_true", help="all inputs but the first are constants"
    )
    parser.add_argument(
        "--free", action="store_true", help="sizes that a model leaves free are not bound"
    )
    parser.add_argument("--precision", choices=["float", "integer"], default="float")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="a sample, every N-th test"
    )
    parser.add_argument("--only", default="", help="a part of the tests' names")
    asked = parser.parse_args()
    target = FLOAT_CHIP if asked.target == "float" else asked.target
    setting = Setting(target, asked.constants, asked.precision, not asked.free)
    items = [item for item in names() if asked.only in item[1]][:: asked.every]
    results = []
    for result in run(items, setting, asked.jobs):
        results.append(result)
        if result.verdict != "passed":
            print(f"{result.verdict}: {result.name}: {result.why[:400]}", flush=True)
        if sys.stderr.isatty():
            print(f"\r{len(results)}/{len(items)}", end="", file=sys.stderr)
    print(
        f"ONNX backend tests on {asked.target}, --precision {asked.precision}"
        f"{', inputs as constants' if asked.constants else ''}"
        f"{', free sizes left free' if asked.free else ''}; "
        f"onnx {version('onnx')}, onnxruntime {version('onnxruntime')}, "
        f"numpy {version('numpy')}; {datetime.date.today()}"
    )
    print("\n".join(report(results)))
    return 1 if any(result.verdict == "failed" for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
