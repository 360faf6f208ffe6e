"""Algorithms on the networkx view, each on a graph that can be read as text."""

from __future__ import annotations

from itertools import pairwise

import networkx
import numpy as np
import pytest

from compiler.ir.graph import Graph, Node, TensorType
from compiler.ir.text import from_text
from compiler.ir.views import (
    bottlenecks,
    chains,
    dominators,
    narrowest_cut,
    post_dominators,
    regions,
)

# x - a - b - c -+- e - f     the analog array does b, c and d, the digital one the rest
#          \- d -/
BLOCK = from_text(
    """graph block(x: float32[1, 4]) -> (f)
w: float32[4, 4] = const random(1, -1.0, 1.0)
a: float32[1, 4] = Relu(x) @digital
b: float32[1, 8] = MatMul(a, w) @analog
c: float32[1, 8] = MatMul(b, w) @analog
d: float32[1, 2] = MatMul(b, w) @analog
e: float32[1, 8] = Add(c, d) @digital
f: float32[1, 8] = Relu(e) @digital
"""
)


def test_the_view_holds_the_nodes_and_what_they_exchange() -> None:
    view = BLOCK.to_networkx()
    assert list(view) == ["a", "b", "c", "d", "e", "f"]
    assert view.nodes["b"] == {"op": "MatMul", "engine": "analog", "outputs": ("b",)}
    assert view.graph == {"name": "block", "inputs": ("x",), "outputs": ("f",)}
    assert sorted(view.edges.data("values")) == [
        ("a", "b", {"a": 16}),
        ("b", "c", {"b": 32}),
        ("b", "d", {"b": 32}),
        ("c", "e", {"c": 32}),
        ("d", "e", {"d": 8}),
        ("e", "f", {"e": 32}),
    ]


def test_an_arc_carries_all_values_between_two_nodes() -> None:
    graph = from_text(
        """graph two(x: float32[4]) -> (y)
p: float32[2], q: float32[...] = Split(x) named split
y: float32[2] = Add(p, q) named add
"""
    )
    view = graph.to_networkx()
    assert view.edges["split", "add"]["values"] == {"p": 8, "q": None}
    view.remove_node("split")
    assert graph.nodes[0].name == "split"
    assert list(graph.to_networkx()) == ["split", "add"]


def test_chains() -> None:
    assert chains(BLOCK.to_networkx()) == [("a",), ("b",), ("c",), ("d",), ("e", "f")]


def test_regions() -> None:
    assert regions(BLOCK.to_networkx()) == [("a",), ("b", "c", "d"), ("e", "f")]


def test_a_region_is_not_left_and_entered_again() -> None:
    graph = from_text(
        """graph there_and_back(x: float32[4]) -> (d)
a: float32[4] = Relu(x) @digital
b: float32[4] = Sin(a) @host
c: float32[4] = Relu(a) @digital
d: float32[4] = Add(b, c) @digital
"""
    )
    assert regions(graph.to_networkx()) == [("a", "c"), ("b",), ("d",)]


def test_dominators() -> None:
    view = BLOCK.to_networkx()
    above = {"a": None, "b": "a", "c": "b", "d": "b", "e": "b", "f": "e"}
    assert dominators(view) == above
    assert post_dominators(view) == {"a": "b", "b": "e", "c": "e", "d": "e", "e": "f", "f": None}
    assert bottlenecks(view) == ["a", "b", "e", "f"]


def test_two_inputs_have_no_common_dominator() -> None:
    graph = from_text(
        """graph join(x: float32[4], y: float32[4]) -> (c)
a: float32[4] = Relu(x)
b: float32[4] = Relu(y)
c: float32[4] = Add(a, b)
"""
    )
    view = graph.to_networkx()
    assert dominators(view) == {"a": None, "b": None, "c": None}
    assert bottlenecks(view) == ["c"]


def test_an_empty_graph_has_none_of_these() -> None:
    view = from_text("graph empty(x: float32[4]) -> (x)\n").to_networkx()
    assert (chains(view), regions(view), dominators(view), bottlenecks(view)) == ([], [], {}, [])
    assert narrowest_cut(view, [], []) is not None


def test_the_narrowest_cut() -> None:
    view = BLOCK.to_networkx()
    cut = narrowest_cut(view, ["a"], ["f"])
    assert cut is not None
    assert (cut.values, cut.size_bytes) == (("a",), 16)
    cut = narrowest_cut(view, ["b"], ["e"])
    assert cut is not None
    assert (cut.values, cut.size_bytes) == (("b",), 32)  # once, though c and d read it
    cut = narrowest_cut(view, ["b", "c"], ["e"])
    assert cut is not None
    assert (cut.values, cut.size_bytes) == (("c", "d"), 40)


def test_where_nothing_can_be_cut() -> None:
    view = BLOCK.to_networkx()
    assert narrowest_cut(view, ["b"], ["b"]) is None
    assert narrowest_cut(view, ["e"], ["b"]) is None
    view.edges["a", "b"]["values"]["a"] = None
    assert narrowest_cut(view, ["a"], ["b"]) is None


def random_graph(seed: int) -> Graph:
    """Up to 14 nodes of two inputs on one of three engines, with values of 1 to 9 bytes."""
    rng = np.random.default_rng(seed)
    values, nodes, types = ["x"], [], {"x": TensorType("uint8", (1,))}
    for index in range(int(rng.integers(2, 15))):
        read = tuple(str(name) for name in rng.choice(values[-5:], 2))
        name, engine = f"v{index}", ("analog", "digital", "host")[int(rng.integers(3))]
        text = f"graph g(x: uint8[1]) -> ({name})\n{name}: uint8[1] = Add(x, x) @{engine}\n"
        placement = from_text(text).nodes[0].placement
        nodes.append(Node(name, "Add", read, (name,), placement=placement))
        types[name] = TensorType("uint8", (int(rng.integers(1, 10)),))
        values.append(name)
    return Graph("random", ("x",), (values[-1],), tuple(nodes), types, {})


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_convex_and_cover_the_graph(seed: int) -> None:
    view = random_graph(seed).to_networkx()
    found = regions(view)
    assert sorted(node for region in found for node in region) == sorted(view)
    for region in found:
        assert len({view.nodes[node]["engine"] for node in region}) == 1
        assert networkx.is_weakly_connected(view.subgraph(region))
    home = {node: number for number, region in enumerate(found) for node in region}
    between: networkx.DiGraph[int] = networkx.DiGraph()
    between.add_edges_from((home[a], home[b]) for a, b in view.edges if home[a] != home[b])
    assert networkx.is_directed_acyclic_graph(between)


@pytest.mark.parametrize("seed", range(40))
def test_chains_cover_the_graph(seed: int) -> None:
    view = random_graph(seed).to_networkx()
    found = chains(view)
    assert sorted(node for chain in found for node in chain) == sorted(view)
    for chain in found:
        assert all(
            list(view.succ[a]) == [b] and list(view.pred[b]) == [a] for a, b in pairwise(chain)
        )


@pytest.mark.parametrize("seed", range(40))
def test_no_line_is_narrower_than_the_narrowest(seed: int) -> None:
    """Against every set of nodes that can run first."""
    graph = random_graph(seed)
    view = graph.to_networkx()
    first, last = graph.nodes[0].name, graph.nodes[-1].name
    names = list(view)
    best = None
    for choice in range(1 << len(names)):
        before = {name for bit, name in enumerate(names) if choice >> bit & 1}
        if first not in before or last in before:
            continue
        if any(b in before and a not in before for a, b in view.edges):
            continue
        crossing = {
            a: graph.types[a].size_bytes for a, b in view.edges if a in before and b not in before
        }
        width = sum(crossing.values())
        best = width if best is None else min(best, width)
    cut = narrowest_cut(view, [first], [last])
    assert (cut.size_bytes if cut is not None else None) == best
