"""The layout in layers: arcs lead down, boxes do not overlap, and large graphs take seconds."""

from __future__ import annotations

import time
from itertools import pairwise

import numpy as np
import pytest

from compiler.drawing.layers import Layout, place


def layout(widths: list[float], arcs: list[tuple[int, int]]) -> Layout:
    return place(widths, arcs, height=10.0, between_columns=5.0, between_layers=10.0)


def test_a_chain_stands_straight() -> None:
    assert layout([20.0, 40.0, 20.0], [(0, 1), (1, 2)]) == Layout(
        centres=((20.0, 5.0), (20.0, 25.0), (20.0, 45.0)),
        bends=((), ()),
        width=40.0,
        height=50.0,
    )


def test_a_long_arc_bends_around_the_boxes_it_passes() -> None:
    found = layout([20.0] * 3, [(0, 1), (1, 2), (0, 2)])
    assert [len(bends) for bends in found.bends] == [0, 0, 1]
    ((across, down),) = found.bends[2]
    assert down == found.centres[1][1]
    assert abs(across - found.centres[1][0]) >= 10.0 + 5.0


def test_a_first_box_stands_just_above_what_reads_it() -> None:
    found = layout([20.0] * 4, [(0, 1), (1, 2), (3, 2)])
    assert found.centres[3][1] == found.centres[1][1]


def test_nothing_is_drawn_of_nothing() -> None:
    assert layout([], []) == Layout((), (), 0.0, 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_arcs_lead_down_and_boxes_stand_apart(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 40))
    widths = [float(width) for width in rng.integers(10, 200, count)]
    arcs = sorted({(int(a), int(b)) for a, b in rng.integers(0, count, (60, 2)) if a < b})
    found = layout(widths, arcs)
    for (source, target), bends in zip(arcs, found.bends, strict=True):
        downs = [found.centres[source][1], *(y for _, y in bends), found.centres[target][1]]
        assert all(one + 20.0 == other for one, other in pairwise(downs))
    rows: dict[float, list[tuple[float, float]]] = {}
    for (x, y), width in zip(found.centres, widths, strict=True):
        rows.setdefault(y, []).append((x - width / 2, x + width / 2))
    for row in rows.values():
        assert all(one[1] + 5.0 <= other[0] + 1e-6 for one, other in pairwise(sorted(row)))
        assert min(left for left, _ in row) >= -1e-6
        assert max(right for _, right in row) <= found.width + 1e-6


@pytest.mark.slow
def test_twenty_thousand_boxes_take_seconds() -> None:
    """Also where each reads the first one: arcs beyond the allowed bends run straight."""
    count = 20_000
    arcs = [(i - 1, i) for i in range(1, count)] + [(0, i) for i in range(2, count)]
    start = time.process_time()
    found = layout([100.0] * count, arcs)
    assert time.process_time() - start < 60
    assert sum(map(len, found.bends)) <= 4 * count + 1000
