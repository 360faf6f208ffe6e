"""What layers take on a host whose cycles are given by kind: pencil and paper, one layer each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import joulec
from compiler.cost.layer_kind import layer_kind
from compiler.ir.text import from_text
from compiler.target.chip import Target, load_target, parse_target
from tests.support.counted_host import (
    CHIP,
    DEPTHWISE_MACS,
    ENERGY_PJ,
    LATENCY_NS,
    NARROW_MACS,
    small_quantized_network,
)
from tests.support.mappings import cost_on

CONVOLUTION = """\
graph g(x: float32[1, 4, 6, 6]) -> (y)
w: float32[1, 36, 8] = const random(1)
y: float32[1, 8, 6, 6] = Product(x, w) kernel=[3, 3] pads=[1, 1, 1, 1]
"""
NARROW = """\
graph g(x: float32[1, 3, 6, 6]) -> (y)
w: float32[1, 27, 8] = const random(1)
y: float32[1, 8, 6, 6] = Product(x, w) kernel=[3, 3] pads=[1, 1, 1, 1]
"""
DEPTHWISE = """\
graph g(x: float32[1, 8, 6, 6]) -> (y)
w: float32[8, 9, 1] = const random(1)
y: float32[1, 8, 6, 6] = Product(x, w) kernel=[3, 3] pads=[1, 1, 1, 1]
"""
GROUPS_OF_FOUR = """\
graph g(x: float32[1, 8, 6, 6]) -> (y)
w: float32[2, 36, 4] = const random(1)
y: float32[1, 8, 6, 6] = Product(x, w) kernel=[3, 3] pads=[1, 1, 1, 1]
"""
STANDARD = """\
graph g(x: float32[1, 8, 6, 6]) -> (y)
w: float32[8, 1, 3, 3] = const random(1)
y: float32[1, 8, 6, 6] = Conv(x, w) group=8 kernel_shape=[3, 3] pads=[1, 1, 1, 1]
"""
DENSE = """\
graph g(x: float32[1, 20]) -> (y)
w: float32[1, 20, 30] = const random(1)
y: float32[1, 30] = Product(x, w)
"""
POOL = """\
graph g(x: float32[1, 4, 6, 6]) -> (y)
y: float32[1, 4, 2, 2] = MaxPool(x) kernel_shape=[3, 3] strides=[2, 2]
"""
GLOBAL_POOL = """\
graph g(x: float32[1, 4, 6, 6]) -> (y)
y: float32[1, 4, 1, 1] = GlobalAveragePool(x)
"""
ADD = """\
graph g(x: float32[1, 10], z: float32[1, 10]) -> (y)
y: float32[1, 10] = Add(x, z)
"""
SOFTMAX = """\
graph g(x: float32[1, 10]) -> (y)
y: float32[1, 10] = Softmax(x)
"""


def chip() -> Target:
    return parse_target(CHIP.encode(), "counted.toml")


@pytest.mark.parametrize(
    ("text", "kind", "work"),
    [
        pytest.param(CONVOLUTION, "convolution", 36 * 8 * 36 * 1, id="convolution"),
        pytest.param(NARROW, "narrow", 27 * 8 * 36 * 2, id="narrow"),
        pytest.param(DEPTHWISE, "depthwise", 9 * 8 * 36 * 3, id="depthwise"),
        pytest.param(GROUPS_OF_FOUR, "convolution", 36 * 8 * 36 * 1, id="groups of four"),
        pytest.param(STANDARD, "depthwise", 9 * 8 * 36 * 3, id="a Conv that stays one"),
        pytest.param(DENSE, "dense", 20 * 30 * 4, id="dense"),
        pytest.param(POOL, "pool", 16 * 9 * 5, id="pool"),
        pytest.param(GLOBAL_POOL, "pool", 4 * 36 * 5, id="global pool"),
        pytest.param(ADD, None, 10 * 7, id="elementwise"),
        pytest.param(SOFTMAX, None, 10 * 7 + 10 * 11, id="functions"),
    ],
)
def test_cycles_by_kind(text: str, kind: str | None, work: int) -> None:
    graph = from_text(text)
    node = graph.nodes[-1]
    found = cost_on(node, graph, "host", chip())
    assert layer_kind(node, graph) == kind
    assert found.latency_ns == pytest.approx(2 * (100 + work) * 10)
    assert found.parts["host"].value == pytest.approx(2 * (100 + work) * 2)


def test_the_interval_is_that_of_the_scale_times_that_of_the_kind() -> None:
    graph = from_text(CONVOLUTION)
    energy = cost_on(graph.nodes[-1], graph, "host", chip()).parts["host"]
    macs = 36 * 8 * 36
    assert energy.low == pytest.approx(1 * (100 + 0.5 * macs) * 2)
    assert energy.high == pytest.approx(3 * (100 + 3 * macs) * 2)


def test_a_scale_of_an_array_multiplies_its_cycles() -> None:
    text = DENSE.replace("float32", "int8")
    graph = from_text(text.replace("int8[1, 20, 30]", "int8[1, 20, 30]{scale=0.1}"))
    target = load_target("ndp120_0v9")
    (array,) = (unit.array for unit in target.digital_engines.values())
    assert array is not None
    assert array.cycle_scale is not None
    found = cost_on(graph.nodes[-1], graph, "core2", target)
    # 30 outputs on 8 arrays: 4 rounds of 20 / 4 steps; 50 bytes through a port of 4.
    cycles = (4 * 5 + 13) * array.cycle_scale.value
    assert found.latency_ns == pytest.approx(-(-cycles // 1) * target.cycle_ns)


def test_a_whole_plan_on_nothing_but_a_host(tmp_path: Path) -> None:
    model = small_quantized_network()
    compiled = joulec.compile(model, chip(), output=tmp_path / "package")
    plan = compiled.plan
    assert plan.energy_pj.total.value == pytest.approx(ENERGY_PJ)
    assert plan.latency_ns.value == pytest.approx(LATENCY_NS)
    assert plan.macs.by_engine == {"host": NARROW_MACS + DEPTHWISE_MACS}
    x = np.random.default_rng(1).integers(-128, 128, (1, 3, 6, 6)).astype(np.int8)
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"x": x})
    (found,) = joulec.run(tmp_path / "package", {"x": x})
    np.testing.assert_array_equal(found, wanted)
