"""What a link between engines costs, from the chip file to the plan."""

from __future__ import annotations

import pytest

from backends.hybrid import lower
from compiler.cost.links import link_cost
from compiler.cost.step import NOTHING
from compiler.ir.graph import Graph, Quant
from compiler.plan.check import check_package
from compiler.plan.schema import Plan
from compiler.target.chip import load_target
from tests.support.mappings import cost_on
from tests.support.placed_graphs import Build

DUO = load_target("duo16")
INT8 = Quant(8, True, (0.5,), (0,))
HALF = Quant(8, True, (0.25,), (0,))
QUARTER = Quant(8, True, (0.125,), (0,))


def test_a_value_over_a_link_by_pencil() -> None:
    """40 bytes at 0.256 pJ, 16 a cycle of 10 ns: 2.5 cycles are 3, at 2 mW."""
    cost = link_cost(40, "multipliers", "vector", DUO)
    assert cost.latency_ns == pytest.approx(30)
    assert cost.parts["link"].value == pytest.approx(40 * 0.256)
    assert cost.parts["static"].value == pytest.approx(2 * 30)
    assert set(cost.parts) == {"link", "static"}


def test_without_a_link_nothing_is_charged() -> None:
    assert link_cost(40, "host", "vector", DUO) is NOTHING
    assert link_cost(40, "vector", "vector", DUO) is NOTHING
    assert link_cost(0, "multipliers", "vector", DUO) is NOTHING
    assert link_cost(40, "digital", "analog", load_target("diana")) is NOTHING


def graph_of_two_engines() -> Graph:
    """A product on the multipliers, read twice by the vector unit; its input is the host's."""
    build = Build(target=DUO)
    product = build.product(
        build.input((1, 50), INT8), 40, out=INT8, engine="multipliers", resident=True
    )
    first = build.add("Requantize", [product], "vector", HALF)
    second = build.add("Requantize", [product], "vector", QUARTER)
    return build.graph(first, second)


def plan_of(graph: Graph) -> Plan:
    package = lower(graph, DUO, model_name="net", model_sha256="0" * 64)
    check_package(package)
    return package.plan


def test_the_first_step_that_reads_a_value_on_an_engine_pays_for_its_way_there() -> None:
    graph = graph_of_two_engines()
    plan = plan_of(graph)
    product, first, second = plan.steps
    sent = link_cost(40, "multipliers", "vector", DUO)
    alone = cost_on(graph.nodes[1], graph, "vector", DUO)
    assert first.energy_pj.parts["link"] == sent.parts["link"]
    assert first.energy_pj.total == (alone + sent).energy_pj
    assert first.latency_ns.value == pytest.approx(alone.latency_ns + 30)
    assert second.energy_pj.total == alone.energy_pj
    assert "link" not in product.energy_pj.parts
    assert plan.energy_pj.parts["link"] == sent.parts["link"]


def test_what_rests_on_the_assumed_link_counts_as_assumed() -> None:
    plan = plan_of(graph_of_two_engines())
    parts = plan.energy_pj.parts
    assert plan.assumed_energy_pj is not None
    assert plan.assumed_energy_pj >= parts["link"].value + parts["static"].value
