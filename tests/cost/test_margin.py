"""The margin between two ways of running a node: what they share cannot turn it round."""

from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.cost.margin import energy_margin, is_open, time_margin
from compiler.cost.step import StepCost
from compiler.ir.graph import Graph
from compiler.units import Estimate
from tests.cost.test_cost import SHAPES, TILE16, every_cost
from tests.cost.test_times import with_numbers


def test_margins_with_pencil_and_paper() -> None:
    """The same memory, read more or less; an array and another one; 1 to 4 mW over two times."""
    one = StepCost(
        Estimate.exact(10),
        {
            "compute": Estimate(10, 8, 12),
            "memory": Estimate(6, 3, 12),
            "static": Estimate(20, 10, 40),
        },
    )
    other = StepCost(
        Estimate(8, 5, 15),
        {
            "compute": Estimate(11, 9, 20),
            "memory": Estimate(8, 4, 16),
            "static": Estimate(16, 5, 60),
        },
    )
    apart = energy_margin(other, one, same_engine=False)
    assert apart.value == 1 + 2 - 4
    assert apart.low == (9 - 12) + 1 + 4 * (5 - 10)
    assert apart.high == (20 - 8) + 4 + 4 * (15 - 10)
    assert is_open(apart)
    assert time_margin(other, one, same_engine=False) == Estimate(-2, -5, 5)
    together = energy_margin(other, one, same_engine=True)
    assert (together.low, together.high) == (1 + 1 - 20, 8 + 4 + 20)
    assert energy_margin(one, one, same_engine=True) == Estimate.exact(0)
    assert not is_open(Estimate(3, 0, 4))


@settings(max_examples=40, deadline=None)
@given(SHAPES, st.lists(st.floats(0, 1), min_size=5, max_size=5), st.floats(0, 1))
def test_a_chip_inside_the_intervals_has_its_margin_inside(
    graph: Graph, where: list[float], of_memories: float
) -> None:
    """On a chip of one memory, whose reads and writes are wrong by the same."""
    turn = iter(where * 100)

    def change(key: str, table: dict[str, float | None]) -> dict[str, float]:
        low = table["value"] if table["low"] is None else table["low"]
        high = table["value"] if table["high"] is None else table["high"]
        assert low is not None
        assert high is not None
        of_memory = key in ("read_pj_per_byte", "write_pj_per_byte")
        return {"value": low + (of_memories if of_memory else next(turn)) * (high - low)}

    found = every_cost(graph, TILE16)
    moved = every_cost(graph, with_numbers(TILE16, change))
    for one, other in permutations([name for name in found if "load" not in name], 2):
        if one.split()[0] == other.split()[0]:  # on one engine
            continue
        interval = energy_margin(found[other], found[one], same_engine=False)
        inside = moved[other].energy_pj.value - moved[one].energy_pj.value
        slack = 1e-9 * (found[other].energy_pj.high + found[one].energy_pj.high)
        assert interval.low - slack <= inside <= interval.high + slack, (one, other)
        assert interval.value == pytest.approx(
            found[other].energy_pj.value - found[one].energy_pj.value, abs=slack
        )
