"""Walking samples through a graph: node by node, several nodes at once, or while it changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from compiler.ir.graph import Array, Graph
from compiler.ir.text import from_text
from passes.calibration.inputs import synthetic_inputs
from passes.calibration.walk import Walk

CHAIN = """\
graph g(x: float32[4]) -> (d)
one: float32[] = const [1.0]
a: float32[4] = Add(x, one)
b: float32[4] = Mul(a, a)
c: float32[4] = Add(b, one)
unread: float32[4] = Relu(b)
d: float32[4] = Add(c, x)
"""


def chain() -> tuple[Graph, dict[str, Array]]:
    graph = from_text(CHAIN)
    return graph, dict(synthetic_inputs(graph, 3).arrays)


def test_it_holds_what_a_node_reads_or_makes_and_what_is_read_later() -> None:
    graph, samples = chain()
    for ahead in (True, False):
        walk, held = Walk(graph, samples, ahead=ahead), []
        for position in range(len(graph.nodes)):
            walk.advance(position)
            held.append("".join(sorted(name[0] for name in walk.values)))
        assert held == ["ax", "abx", "bcx", "bcux", "cdx"]


def test_nodes_together_make_what_they_make_one_by_one() -> None:
    graph, samples = chain()
    together, single = Walk(graph, samples), Walk(graph, samples, ahead=True)
    together.advance(2)
    for position in range(3):
        single.advance(position)
    assert sorted(together.values) == sorted(single.values) == ["b", "c", "x"]
    for name, values in single.values.items():
        assert np.array_equal(together.values[name], values)
    assert together.alive_after(2) == ["b", "c", "x"]
    together.advance(1)
    assert sorted(together.values) == ["b", "c", "x"], "what was run is not run again"


def test_it_goes_on_in_a_changed_graph_and_with_given_values() -> None:
    graph, samples = chain()
    walk = Walk(graph, samples)
    walk.advance(1)
    walk.change(replace(graph, constants={"one": np.array(5, np.float32)}))
    walk.skip({"c": walk.values["b"] * 0})
    walk.advance(4)
    assert np.array_equal(walk.values["d"], samples["x"])
    again = Walk(graph, samples)
    again.advance(1)
    again.change(replace(graph, constants={"one": np.array(5, np.float32)}))
    again.advance(2)
    found, given = (np.asarray(one, np.float64) for one in (again.values["c"], samples["x"]))
    np.testing.assert_allclose(found, (given + 1) ** 2 + 5, rtol=1e-5)


def test_what_cannot_run_is_unknown_and_so_is_what_reads_it() -> None:
    graph = from_text("""\
graph g(i: int64[2]) -> (y, z)
table: float32[2, 3] = const random(1)
found: float32[2, 3] = Gather(table, i) axis=0
y: float32[2, 3] = Relu(found)
z: int64[2] = Add(i, i)
""")
    samples: dict[str, Array] = {"i": np.array([[0, 7]])}
    walk = Walk(graph, samples)
    walk.advance(2)
    assert sorted(walk.values) == ["i", "z"]
