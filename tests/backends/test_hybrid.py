from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from backends.hybrid import lower
from backends.simulate import Simulator
from compiler.cost.step import PARTS
from compiler.errors import CapacityError
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Graph, Node, Placement, TensorType
from compiler.ir.mapping import HostMapping
from compiler.ir.ops import product_shape
from compiler.plan.canonical_json import render_plan
from compiler.plan.check import check_package
from compiler.plan.package import Package
from compiler.plan.schema import Plan
from compiler.target.chip import Target, load_target
from compiler.units import total
from tests.support.mappings import cost_on, load_on
from tests.support.placed_graphs import INT8, Build, classifier, with_capacities

DIANA = load_target("diana")


def package_of(graph: Graph, target: Target = DIANA) -> Package:
    package = lower(graph, target, model_name="net", model_sha256="0" * 64)
    check_package(package)
    return package


def story(plan: Plan) -> str:
    """A plan in a few words: what runs where, on what."""
    lines = []
    for step in plan.steps:
        inside = f" [{' '.join(step.operations)}]" if len(step.operations) > 1 else ""
        reads = ", ".join(step.inputs)
        lines.append(f"{', '.join(step.outputs)} = {step.op}({reads}) @{step.engine}{inside}")
    return "\n".join(lines)


def test_each_node_is_a_step_and_neighbouring_host_nodes_are_one() -> None:
    plan = package_of(classifier()).plan
    assert story(plan) == (
        "v0 = QuantizeLinear(x0) @host\n"
        "v1 = Product(v0, c2, c3) @digital\n"
        "v2 = Requantize(v1) @digital\n"
        "v3 = AnalogProduct(v2, c4, c5, c6, c7, c8) @analog\n"
        "v4 = IntegerAdd(v1, v3) @digital\n"
        "v5 = IntegerAveragePool(v4) @digital\n"
        "v6 = Reshape(v5) @digital\n"
        "v7 = Product(v6, c10, c11) @digital\n"
        "v9 = HostSegment(v7) @host [Softmax DequantizeLinear]"
    )
    last = plan.steps[-1]
    assert last.name == "n9+1"  # after the Softmax, which takes the most
    assert last.nodes == ("onnx_n9", "onnx_n8")
    assert last.reason == "why n9 (and 1 more reason for its 2 nodes)"
    assert last.payload in plan.files


def test_the_energy_of_a_step_is_the_cost_of_its_node_and_its_weight_load() -> None:
    graph = classifier()
    plan = package_of(graph).plan
    stem, analog, dense = graph.nodes[1], graph.nodes[3], graph.nodes[7]
    shape = product_shape(stem, graph)
    assert shape is not None
    load = load_on(shape, "digital", "l2", DIANA)
    cost = cost_on(stem, graph, "digital", DIANA) + load
    assert plan.steps[1].energy_pj.total == cost.energy_pj
    assert plan.steps[1].weight_load_ns == load.latency_ns
    assert plan.steps[1].latency_ns.value == pytest.approx(cost.latency_ns)
    kept = cost_on(analog, graph, "analog", DIANA, weight_slices=2, resident=True)
    assert plan.steps[3].energy_pj.total == kept.energy_pj
    assert "weight_load" not in plan.steps[3].energy_pj.parts
    once = []
    for node, engine, digits in ((analog, "analog", 2), (dense, "digital", 1)):
        shape = product_shape(node, graph)
        assert shape is not None
        once.append(load_on(shape, engine, "l2", DIANA, weight_slices=digits).energy_pj)
    assert plan.one_time_load.energy_pj == total(once)


@pytest.mark.parametrize("target", ["diana", "diana_digital", "tile16"])
def test_the_books_are_balanced(target: str) -> None:
    plan = package_of(classifier(target, analog=target == "diana"), load_target(target)).plan
    assert list(plan.energy_pj.parts) == [part for part in PARTS if part != "link"]
    for value in ("value", "low", "high"):
        whole = getattr(plan.energy_pj.total, value)
        by_part = sum(getattr(part, value) for part in plan.energy_pj.parts.values())
        by_engine = sum(getattr(part, value) for part in plan.energy_pj.by_engine.values())
        by_step = sum(getattr(step.energy_pj.total, value) for step in plan.steps)
        assert whole == pytest.approx(by_part, rel=1e-12)
        assert whole == pytest.approx(by_engine, rel=1e-12)
        assert whole == pytest.approx(by_step, rel=1e-12)
    assert plan.serial_latency_ns.value >= plan.latency_ns.value * (1 - 1e-12)
    assert plan.macs.after == 64 * 3 * 9 * 8 + 64 * 8 * 9 * 8 + 8 * 10
    assert plan.divergence_total == 0.25 * sum(len(step.operations) for step in plan.steps)
    system = plan.tops_per_watt["system"].value
    assert system is not None
    assert system.value == pytest.approx(2 * plan.macs.after / plan.energy_pj.total.value)


def test_efficiency_says_its_scope_and_bits() -> None:
    plan = package_of(classifier()).plan
    array = plan.tops_per_watt["array"]
    assert array.value is not None
    assert array.at == "7-bit inputs, 3-level cells, up to 2 a weight, 6-bit converter"
    analog = plan.steps[3].energy_pj
    spent = analog.parts["compute"].value + analog.parts["conversion"].value
    assert array.value.value == pytest.approx(2 * plan.steps[3].macs / spent)
    assert "% of the MACs on digital (8-bit integers)" in plan.tops_per_watt["system"].at


def test_utilization_is_told_by_step_and_by_engine() -> None:
    plan = package_of(classifier()).plan
    use = plan.steps[3].utilization
    assert use is not None
    assert (use.used, use.total, use.unit) == (72 * 8 * 2, 1152 * 512, "cells")
    assert plan.utilization["analog"] == use
    assert plan.resident["analog"].used == 16  # columns: 8 channels of two digits
    assert plan.resident["digital"].used == 80


def test_a_view_shares_the_bytes_of_what_it_looks_at() -> None:
    plan = package_of(classifier()).plan
    buffers = {buffer.name: buffer for buffer in plan.buffers}
    assert buffers["v6"].same_as == "v5"
    assert buffers["v6"].address == buffers["v5"].address
    assert buffers["v6"].last_step == buffers["v5"].last_step == 7
    assert buffers["v6"].shape == (1, 8)
    assert plan.steps[6].latency_ns.value == 0


def test_views_alone_on_the_host_need_no_model() -> None:
    build = Build()
    flat = build.add("Flatten", [build.input((1, 2, 3))], "host")
    build.add("Identity", [flat], "host")
    plan = package_of(build.graph()).plan
    assert plan.files == {}
    assert {buffer.same_as for buffer in plan.buffers} == {"", "x0"}


def test_engines_overlap() -> None:
    build = Build()
    left = build.input((1, 8, 16, 16), INT8)
    narrow = build.add("Requantize", [left], "digital", INT8)
    one = build.analog(narrow, 8, (3, 3), out=INT8, pads=(1, 1, 1, 1), resident=True)
    two = build.product(left, 8, (3, 3), out=INT8, pads=(1, 1, 1, 1), resident=True)
    build.add("IntegerAdd", [one, two], "digital", INT8)
    plan = package_of(build.graph()).plan
    assert plan.steps[1].start_ns == plan.steps[2].start_ns
    assert plan.latency_ns.value < plan.serial_latency_ns.value


def test_a_full_memory_spills_and_the_steps_pay_for_it() -> None:
    graph = classifier()
    roomy = package_of(graph).plan
    tight = with_capacities(DIANA, {"l1": 1024})
    spilled = package_of(graph, tight).plan
    assert roomy.spills == ()
    assert {(spill.wanted, spill.got) for spill in spilled.spills} == {("l1", "l2")}
    names = {spill.buffer for spill in spilled.spills}
    assert spilled.peak_bytes["l1"] <= 1024
    for before, after in zip(roomy.steps, spilled.steps, strict=True):
        touches = names & {*after.inputs, *after.outputs} and after.op != "Reshape"
        cheaper = before.energy_pj.parts.get("memory"), after.energy_pj.parts.get("memory")
        if touches:
            assert cheaper[0] is not None
            assert cheaper[1] is not None
            assert cheaper[1].value > cheaper[0].value
            assert after.energy_pj.total.value > before.energy_pj.total.value
        else:
            assert after.energy_pj == before.energy_pj


def test_more_room_never_costs_more() -> None:
    graph = classifier()
    sizes = [256, 600, 1024, 1500, 2048, 4096, 1 << 18]
    energies = [
        package_of(graph, with_capacities(DIANA, {"l1": size})).plan.energy_pj.total.value
        for size in sizes
    ]
    assert energies == sorted(energies, reverse=True)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(CapacityError, match="memory 'off_chip' of diana; it holds 64"):
        package_of(classifier(), with_capacities(DIANA, {"l1": 64, "l2": 64, "off_chip": 64}))
    build = Build()
    build.add("Requantize", [build.input((1, 5000), INT8)], "digital", INT8)
    with pytest.raises(CapacityError, match="a value of 5,000 bytes fits no memory"):
        package_of(build.graph(), with_capacities(DIANA, {"l1": 64, "l2": 64, "off_chip": 4096}))


def test_every_entry_of_the_ledger_has_a_row() -> None:
    graph = classifier()
    stem = replace(graph.nodes[1], origin=("onnx_n1", "relu"))
    requantize = replace(graph.nodes[2], origin=("onnx_n3",))
    nodes = (graph.nodes[0], stem, requantize, *graph.nodes[3:])
    ledger = {name: "" for node in nodes for name in node.origin}
    ledger |= {"scale": "folded", "dropout": "removed"}
    plan = package_of(replace(graph, nodes=nodes, ledger=ledger)).plan
    rows = {row.node: row for row in plan.placements}
    assert list(rows) == list(ledger)
    assert rows["relu"].fate == "fused"
    assert rows["relu"].reason == "computed within Product 'n1'"
    assert rows["scale"].fate == "folded"
    assert rows["dropout"].fate == "removed"
    assert rows["dropout"].parts == ()
    analog = rows["onnx_n3"]
    assert analog.reason == "why n3"
    assert analog.mapping is not None
    assert analog.mapping.describe() == "72x8 x 2 digits: 1 tile of 1152x512, 0 % used"
    assert [(p.engine, p.share, p.steps) for p in analog.parts] == [
        ("digital", 0.0, (2,)),
        ("analog", 1.0, (3,)),
    ]


def test_host_segments_tell_their_scratch_memory() -> None:
    build = Build()
    value = build.input((1, 100))
    for _ in range(4):
        value = build.add("Relu", [value], "host")
    plan = package_of(build.graph()).plan
    assert len(plan.steps) == 1
    scratch = next(b for b in plan.buffers if b.name == "n0+3.scratch")
    assert 800 <= scratch.size_bytes <= 896
    assert (scratch.first_step, scratch.last_step) == (0, 0)


def kept_whole() -> Graph:
    """A node of an old opset between two of ours; a pass has renamed what it reads."""
    old = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Upsample", ["a", "b"], ["c"], mode="nearest")],
            "segment",
            [
                onnx.helper.make_tensor_value_info("a", 1, [1, 1, 2, 2]),
                onnx.helper.make_tensor_value_info("b", 1, [4]),
            ],
            [onnx.helper.make_tensor_value_info("c", 1, None)],
        ),
        opset_imports=[onnx.helper.make_opsetid("", 9)],
        ir_version=4,
    )
    build = Build()
    first = build.add("Relu", [build.input((1, 1, 2, 2))], "host")
    scales = build.constant(np.array([1, 1, 2, 2], np.float32))
    placement = Placement(mapping=HostMapping(engine="host"), reason="kept")
    attrs = {"model": old.SerializeToString()}
    build.types["up"] = TensorType("float32", (1, 1, 4, 4))
    build.nodes.append(
        Node("whole", "Segment", (first, scales), ("up",), attrs, placement, ("whole",))
    )
    build.add("Neg", ["up"], "host")
    return build.graph()


def test_a_node_kept_whole_runs_as_a_model_of_its_own() -> None:
    package = package_of(kept_whole())
    plan = package.plan
    assert [step.op for step in plan.steps] == ["Relu", "Segment", "Neg"]
    assert plan.steps[1].not_modelled == ""
    assert plan.steps[1].energy_pj.parts["host"].value > plan.steps[0].energy_pj.parts["host"].value
    x = np.array([[[[1, -2], [3, 4]]]], np.float32)
    (found,) = Simulator(package).run({"x0": x})
    np.testing.assert_array_equal(found, -np.maximum(x, 0).repeat(2, 2).repeat(2, 3))
    reference = Interpreter(kept_whole()).run({"x0": x})
    np.testing.assert_array_equal(found, reference[plan.outputs[0].name])


def test_outputs_may_be_constants_or_inputs() -> None:
    build = Build()
    x = build.input((1, 3))
    y = build.add("Relu", [x], "host")
    c = build.constant(np.arange(3, dtype=np.int64))
    package = package_of(build.graph(y, c, x, check=False))
    value = np.array([[1, -1, 2]], np.float32)
    found = Simulator(package).run({"x0": value})
    np.testing.assert_array_equal(found[0], np.maximum(value, 0))
    np.testing.assert_array_equal(found[1], np.arange(3))
    np.testing.assert_array_equal(found[2], value)


def test_a_graph_without_nodes_is_a_plan() -> None:
    build = Build()
    x = build.input((1, 3))
    plan = package_of(build.graph(x)).plan
    assert plan.latency_ns.value == 0
    assert plan.energy_pj.total.value == 0
    assert plan.tops_per_watt["system"].value is None


def test_sizes_nobody_knows_are_told_and_run() -> None:
    build = Build()
    x = build.input((1, 6))
    build.types["v0"] = TensorType("int64", (2, None))
    build.add("NonZero", [x], "host")
    build.types["v0"] = TensorType("int64", (2, None))
    build.add("Cast", ["v0"], "host", to=1)
    graph = build.graph("v0", "v1")
    package = package_of(graph)
    buffer = next(b for b in package.plan.buffers if b.name == "v0")
    assert (buffer.memory, buffer.size_bytes) == ("", 0)
    assert "is not known before it runs" in package.plan.steps[0].not_modelled
    found = Simulator(package).run({"x0": np.array([[0, 1, 0, 2, 3, 0]], np.float32)})
    np.testing.assert_array_equal(found[0], [[0, 0, 0], [1, 3, 4]])
    several = Simulator(package).run({"x0": np.eye(6, dtype=np.float32)[:4] * [[1], [2], [3], [0]]})
    assert [item.shape for item in several[0]] == [(2, 1), (2, 1), (2, 1), (2, 0)]


SCRIPT = """
import sys
from backends.hybrid import lower
from compiler.plan.canonical_json import render_plan
from compiler.target.chip import load_target
from tests.support.placed_graphs import classifier
package = lower(classifier(), load_target("diana"), model_name="net", model_sha256="0" * 64)
sys.stdout.buffer.write(render_plan(package.plan))
"""


def test_the_same_bytes_whatever_the_hash_seed_and_the_folder(tmp_path: Path) -> None:
    mine = render_plan(package_of(classifier()).plan)
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout == mine
