"""Views of a placed graph small enough to see through."""

from __future__ import annotations

from compiler.ir import Node
from compiler.text import from_text
from compiler.views import Cut, Region, critical_path, cuts, digraph, dot, regions

PLACED = from_text(
    """\
graph diamond(x: float32[1, 4]) -> (y)
w: float32[4, 4] = const random(1, -1.0, 1.0)
a: float32[1, 4] = MatMul(x, w) @analog
b: float32[1, 4] = Relu(a) @digital
c: float32[1, 4] = Mul(a, a) @digital
d: float32[1, 4] = MatMul(c, w) @analog
e: float32[1, 4] = Add(b, d) @digital
f: float32[1, 4] = Exp(x) @digital
y: float32[1, 4] = Add(e, f)
"""
)


def test_digraph_holds_nodes_and_the_values_between_them() -> None:
    view = digraph(PLACED)
    assert list(view.nodes) == ["a", "b", "c", "d", "e", "f", "y"]
    assert view.nodes["a"]["node"] is PLACED.nodes[0]
    assert view.edges["a", "c"]["values"] == ("a",)
    assert ("f", "y") in view.edges
    assert len(view.edges) == 7


def test_two_values_between_two_nodes_are_one_edge() -> None:
    graph = from_text(
        "graph g(x: float32[2]) -> (y)\n"
        "a: float32[1], b: float32[1] = Split(x)\n"
        "y: float32[1] = Add(a, b)\n"
    )
    assert digraph(graph).edges["a", "y"]["values"] == ("a", "b")


def test_regions_are_connected_and_maximal() -> None:
    assert regions(PLACED) == (
        Region("analog", ("a",)),
        Region("digital", ("b", "e")),  # joined, though d of another engine lies between c and e
        Region("digital", ("c",)),
        Region("analog", ("d",)),
        Region("digital", ("f",)),
        Region("", ("y",)),
    )


def test_cuts_name_each_value_once_a_reading_engine() -> None:
    assert cuts(PLACED) == (
        Cut("a", "analog", "digital"),
        Cut("c", "digital", "analog"),
        Cut("d", "analog", "digital"),
        Cut("e", "digital", ""),
        Cut("f", "digital", ""),
    )


def test_critical_path_follows_the_weights() -> None:
    def one(node: Node) -> float:
        return 1.0

    def slow_exp(node: Node) -> float:
        return 10.0 if node.op == "Exp" else 1.0

    assert [node.name for node in critical_path(PLACED, one)] == ["a", "c", "d", "e", "y"]
    assert [node.name for node in critical_path(PLACED, slow_exp)] == ["f", "y"]
    assert critical_path(from_text("graph g(x: float32[1]) -> (x)"), one) == ()


def test_dot_is_whole() -> None:
    graph = from_text(
        'graph g("x\\"];": float32[1, ?]) -> (y)\n'
        'h: float32[1, ?] = Relu("x\\"];") named "a\\\\\\nb" @analog\n'
        "y: float32[...] = Odd(h)\n"
    )
    assert dot(graph) == "\n".join(
        [
            'digraph "g" {',
            '  node [shape=box, style=filled, fontname="sans"];',
            '  i0 [label="x\\"];", shape=ellipse, fillcolor=white];',
            '  n0 [label="a\\\\\\\\nb\\nRelu\\n@analog", fillcolor="#a6cee3"];',
            '  n1 [label="y\\nOdd", fillcolor="white"];',
            '  i0 -> n0 [label="float32 1x?"];',
            '  n0 -> n1 [label="float32 1x?"];',
            '  o0 [label="y", shape=ellipse, fillcolor=white];',
            '  n1 -> o0 [label="float32 ?"];',
            "}",
            "",
        ]
    )
