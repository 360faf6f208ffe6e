"""The critical path of a plan, by hand and on compiled plans, and the plan as a networkx graph."""

from __future__ import annotations

from pathlib import Path

import networkx
import pytest

import joulec
from compiler.plan.schema import Plan
from compiler.plan.views import critical_path, plan_graph
from compiler.units import ZERO, Estimate

MODELS = Path(__file__).parents[2] / "models"
CASES = {
    "resnet-diana": ("digits_resnet", "diana", "digits"),
    "resnet-float": ("digits_resnet", "diana", ""),
    "dscnn-digital": ("digits_dscnn", "diana_digital", "digits"),
    "dim20-tile16": ("dim20", "tile16", "dim20"),
    "dim20-princeton16": ("dim20", "princeton16", "dim20"),
}


@pytest.fixture(scope="module", params=list(CASES))
def compiled(request: pytest.FixtureRequest) -> joulec.Compiled:
    model, chip, data = CASES[request.param]
    options = (
        joulec.Options(data=MODELS / f"{data}_calibration.npz", calibration_samples=8)
        if data
        else joulec.Options(precision="float")
    )
    return joulec.compile(MODELS / f"{model}.onnx", chip, options=options)


def test_the_critical_path_makes_the_latency(compiled: joulec.Compiled) -> None:
    plan = compiled.plan
    path = critical_path(plan)
    assert path.waits_ns == 0
    assert path.latency_ns == pytest.approx(plan.latency_ns.value, rel=1e-12)
    assert path.steps[0].start_ns == 0
    assert path.steps[-1].end_ns == plan.latency_ns.value
    for one, other in zip(path.steps, path.steps[1:], strict=False):
        assert other.start_ns == one.end_ns
        assert one.engine == other.engine or set(one.outputs) & set(other.inputs)


def test_it_is_as_long_as_the_longest_path_of_the_graph(compiled: joulec.Compiled) -> None:
    graph = compiled.graph()
    assert networkx.is_directed_acyclic_graph(graph)
    length = networkx.dag_longest_path_length(graph, weight="latency_ns")
    assert length == pytest.approx(compiled.plan.latency_ns.value, rel=1e-12)


def test_the_graph_holds_the_steps_and_buffers(compiled: joulec.Compiled) -> None:
    plan, graph = compiled.plan, compiled.graph()
    assert len(graph) == len(plan.steps) + len(plan.buffers)
    step, buffer = plan.steps[-1], plan.buffers[-1]
    assert graph.nodes["step", step.name] == {
        "kind": "step", "index": step.index, "op": step.op, "engine": step.engine,
        "energy_pj": step.energy_pj.total.value, "latency_ns": step.latency_ns.value,
        "start_ns": step.start_ns, "end_ns": step.end_ns, "macs": step.macs, "nodes": step.nodes,
    }  # fmt: skip
    assert graph.nodes["buffer", buffer.name] == {
        "kind": "buffer", "dtype": buffer.dtype, "shape": buffer.shape, "memory": buffer.memory,
        "address": buffer.address, "size_bytes": buffer.size_bytes, "same_as": buffer.same_as,
    }  # fmt: skip
    kinds = {(a[0], b[0]): set[str]() for a, b in graph.edges}
    for a, b in graph.edges:
        kinds[a[0], b[0]].add(graph.edges[a, b]["kind"])
    assert kinds[("buffer", "step")] == {"read"}
    assert kinds[("step", "buffer")] == {"write"}
    assert kinds.get(("step", "step"), {"order"}) == {"order"}
    for port in plan.outputs:
        assert ("buffer", port.name) in graph


def later(plan: Plan, times: list[tuple[float, float]]) -> Plan:
    """A plan with other times."""
    steps = [
        step.model_copy(
            update={
                "start_ns": start,
                "end_ns": end,
                "latency_ns": Estimate.exact(end - start),
            }
        )
        for step, (start, end) in zip(plan.steps, times, strict=True)
    ]
    latency_ns = max(end for _, end in times)
    return plan.model_copy(update={"steps": tuple(steps), "latency_ns": Estimate.exact(latency_ns)})


def test_what_another_scheduler_lets_wait_is_counted() -> None:
    options = joulec.Options(precision="float")
    plan = joulec.compile(MODELS / "dim20.onnx", "diana", options=options).plan
    first_ns = 5.0
    times = [(first_ns + 20.0 * i, first_ns + 20.0 * i + 15.0) for i in range(len(plan.steps))]
    path = critical_path(later(plan, times))
    assert path.steps == later(plan, times).steps
    assert path.waits_ns == first_ns + 5.0 * (len(plan.steps) - 1)
    assert path.latency_ns == times[-1][1]


def test_a_plan_without_steps_has_no_path() -> None:
    options = joulec.Options(precision="float")
    plan = joulec.compile(MODELS / "dim20.onnx", "diana", options=options).plan
    nothing = plan.model_copy(update={"steps": (), "buffers": (), "latency_ns": ZERO})
    assert critical_path(nothing).steps == ()
    assert critical_path(nothing).latency_ns == 0
    assert len(plan_graph(nothing)) == 0
