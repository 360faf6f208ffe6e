from __future__ import annotations

import numpy as np
import pytest

from backends.hybrid import lower
from backends.simulate import Simulator
from compiler.interpreter import Interpreter
from compiler.ir import Array, Graph
from compiler.plan_check import check_package
from compiler.plan_package import Package
from compiler.target import Target, load_target
from tests.placed_graphs import classifier


def package_of(graph: Graph, target: Target) -> Package:
    return lower(graph, target, model_name="test", model_sha256="0" * 64)


def samples_of(graph: Graph, count: int, seed: int = 1) -> dict[str, Array]:
    """Random samples [S, *shape] for every input."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name in graph.inputs:
        kind = graph.types[name]
        shape = (count, *kind.sizes)
        if kind.quant is not None:
            low, high = kind.quant.lowest, kind.quant.highest
            arrays[name] = random.integers(low, high + 1, shape).astype(kind.dtype)
        else:
            arrays[name] = (random.standard_normal(shape) * 2).astype(kind.dtype)
    return arrays


def assert_same(graph: Graph, target: Target, count: int = 3) -> None:
    """The package gives the same bits as ONNX Runtime on the graph, for every value that steps exchange."""
    package = package_of(graph, target)
    check_package(package)
    samples = samples_of(graph, count)
    names = [b.name for b in package.plan.buffers if b.name in graph.types]
    stacked = {name: np.concatenate(list(data)) for name, data in samples.items()}
    found = Simulator(package).run_values(stacked, names)
    judge = Interpreter(graph, outputs=names).run_all(samples)
    for name in names:
        np.testing.assert_array_equal(found[name], judge[name], err_msg=name)


@pytest.mark.parametrize("analog", [True, False])
def test_a_classifier_gives_the_bits_of_the_interpreter(analog: bool) -> None:
    assert_same(classifier(analog=analog), load_target("diana"))
