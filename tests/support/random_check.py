"""Compiles random models for every chip and compares the results with ONNX Runtime's.

ONNX Runtime runs without optimizations. `python -m tests.support.random_check 0:2000` tries these
seeds on all shipped chips; `--targets one-each` on one chip a seed; `--generator FILE.py` takes the
models from another file's `build(seed) -> (model, inputs)`. For each model: with --precision float
the outputs are ONNX Runtime's (to 1e-6 of the largest; they are bit-equal but where a newer
operator's kernel sums in another order); in integers every exact pass preserves the numbers, the
package is sound, its plan not below its bound, and its outputs are bit for bit those of the placed
graph in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import joulec
from backends.simulate import Simulator
from compiler.driver import compile_model
from compiler.errors import CompileError
from compiler.execute.interpreter import Interpreter, RunError
from compiler.execute.onnx_runtime import RuntimeModel
from compiler.ir.graph import Graph
from compiler.plan.check import check_package
from compiler.plan.package import Package
from compiler.target.chip import Target, built_in, load_target
from passes.base import Pass
from tests.bound.test_bound import assert_not_below_its_bound
from tests.passes.test_every_pass import compare_node_by_node, compare_outputs, has_integers, same
from tests.support import random_networks

Build = Callable[[int], tuple[onnx.ModelProto, dict[str, Any]]]
CLOSE = 1e-6


def faults(model: onnx.ModelProto, feed: Mapping[str, Any], targets: Sequence[Target]) -> list[str]:
    """What is wrong with the compilations of a model for some chips.

    No engine of theirs computes in floats and the passes up to calibration know no chip, so for
    these the first chip stands for all.
    """
    wrong = [f"in floats: {fault}" for fault in float_faults(model, feed, targets[0])]
    for target in targets:
        found = _integer_faults(model, feed, target, every_pass=target is targets[0])
        wrong += [f"{target.name}: {fault}" for fault in found]
    return wrong


def float_faults(model: onnx.ModelProto, feed: Mapping[str, Any], target: Target) -> list[str]:
    """The outputs that are not ONNX Runtime's in floats, or the error that compiling ended in."""
    wanted = RuntimeModel(model.SerializeToString()).run(feed)
    try:
        made = joulec.compile(model, target, options=joulec.Options(precision="float"))
        found = joulec.run(made, feed)
    except Exception as error:
        return [_described(error)]
    wrong = []
    for (name, one), other in zip(wanted.items(), found, strict=True):
        largest = max(float(np.abs(one).max(initial=0)), 1e-3)
        same = one.dtype == other.dtype and one.shape == other.shape
        if not same or not np.allclose(one, other, rtol=0, atol=CLOSE * largest, equal_nan=True):
            wrong.append(f"output {name!r} is another")
    return wrong


def _integer_faults(
    model: onnx.ModelProto, feed: Mapping[str, Any], target: Target, every_pass: bool
) -> list[str]:
    wrong: list[str] = []
    try:
        compile_held(model, feed, target, joulec.Options(calibration_samples=2), wrong, every_pass)
    except Exception as error:
        return [*wrong, _described(error)]
    return wrong


def compile_held(
    model: onnx.ModelProto,
    feed: Mapping[str, Any],
    target: Target,
    options: joulec.Options,
    wrong: list[str],
    every_pass: bool = True,
) -> tuple[Package, list[Any]]:
    """Compiles a model in integers and returns its package and outputs; adds faults to `wrong`.

    Every exact pass preserves the numbers (with `every_pass` False only those that place), the
    package is sound, its plan not below its bound, its outputs are bit for bit those of the placed
    graph. Raises what compiling and running raise.
    """
    placed: list[Graph] = []

    def hold(position: int, ran: Pass, before: Graph, after: Graph) -> None:
        placed.append(after)
        placing = any(node.placement is not None for node in after)
        if ran.numerics != "exact" or _computes_the_same(before, after):
            return
        if not (every_pass or placing):
            return
        compare = compare_node_by_node if has_integers(after) else compare_outputs
        try:
            compare(before, after, feed)
        except RunError:
            pass  # running the package will tell
        except AssertionError as error:
            wrong.append(f"pass {ran.name}: {error}")

    made = compile_model(model, target, options, (hold,))
    check_package(made.package)
    assert_not_below_its_bound(made.package.plan)
    found = Simulator(made.package).run(feed)
    reference = Interpreter(placed[-1]).run(feed)
    for port, data in zip(made.package.plan.outputs, found, strict=True):
        if not same(reference[port.name], data):
            wrong.append(f"output {port.name!r} is not that of the placed graph")
    return made.package, found


def _computes_the_same(before: Graph, after: Graph) -> bool:
    """Whether a pass that changed something only added what is known of the nodes."""
    return (
        after.constants is before.constants
        and after.types == before.types
        and [replace(node, placement=None) for node in after] == list(before)
    )


def _described(error: Exception) -> str:
    return error.line() if isinstance(error, CompileError) else traceback.format_exc()[-900:]


@cache
def generator(file: str) -> Build:
    """The `build` of a file, or our own."""
    if not file:
        return random_networks.build
    found = importlib.util.spec_from_file_location(Path(file).stem, file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[Path(file).stem] = module
    found.loader.exec_module(module)
    build: Build = module.build
    return build


@cache
def _target(name: str) -> Target:
    return load_target(name)


def try_seed(item: tuple[int, str, tuple[str, ...]]) -> list[str]:
    """The faults of one seed on some chips."""
    seed, file, targets = item
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        model, feed = generator(file)(seed)
        found = faults(model, feed, [_target(name) for name in targets])
        return [f"seed {seed}: {fault}" for fault in found]


def chips_for(seed: int, which: str) -> tuple[str, ...]:
    """All shipped chips, one of them by the seed, or those that are named."""
    if which == "all":
        return tuple(built_in())
    return (built_in()[seed % len(built_in())],) if which == "one-each" else tuple(which.split(","))


def main(words: Sequence[str] | None = None) -> int:
    """The program; 1 where there are faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seeds", metavar="FIRST:END")
    parser.add_argument("--targets", default="all", help="`all`, `one-each`, or names")
    parser.add_argument("--generator", default="", metavar="FILE.py")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args(words)
    first, end = map(int, asked.seeds.split(":"))
    items = [(n, asked.generator, chips_for(n, asked.targets)) for n in range(first, end)]
    count = 0
    with ProcessPoolExecutor(asked.jobs, get_context("spawn")) as pool:
        for found in pool.map(try_seed, items, chunksize=4):
            count += len(found)
            for fault in found:
                print(fault, flush=True)
    compilations = sum(1 + len(targets) for _, _, targets in items)
    print(f"{len(items)} models, {compilations} compilations, {count} faults")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
