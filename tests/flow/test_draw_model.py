"""What is drawn of a model: boxes, colours by engine, regions, and the words above."""

from __future__ import annotations

from compiler.flow.draw_model import engines_by_node, picture
from compiler.ir.text import from_text
from compiler.target.chip import load_target

NET = from_text(
    """graph net(x: float32[1, 8]) -> (h, z)
w: float32[8, 8] = const random(1, -1.0, 1.0)
h: float32[1, 8] = MatMul(x, w)
r: float32[1, 8] = Relu(h)
s: float32[1, 8] = Sin(r)
z: float32[1, 8] = MatMul(s, w)
"""
)


def test_the_boxes() -> None:
    found = picture(NET, "net", None)
    assert [(box.heading, *box.lines) for box in found.boxes] == [
        ("input", "x", "float32[1, 8]"),
        ("MatMul 8x8", "h", "float32[1, 8]"),
        ("Relu", "r", "float32[1, 8]"),
        ("Sin", "s", "float32[1, 8]"),
        ("MatMul 8x8", "z", "float32[1, 8]"),
        ("output", "h", "float32[1, 8]"),
        ("output", "z", "float32[1, 8]"),
    ]
    assert [(arc.source, arc.target) for arc in found.arcs] == [
        (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (4, 6),
    ]  # fmt: skip
    assert found.arcs[0].hint == "x: float32[1, 8]"
    assert found.caption == (
        "4 nodes; bold: the 4 that every path runs through",
        "narrowest cut: 32 bytes in s",
    )
    assert found.groups == ()


def test_a_chip_colours_the_nodes() -> None:
    found = picture(NET, "net", load_target("diana"))
    assert [box.group for box in found.boxes] == [
        "", "analog", "digital", "host", "analog", "", "",
    ]  # fmt: skip
    assert [box.lines[2:] for box in found.boxes[1:5]] == [
        ("analog or digital or host",),
        ("digital or host",),
        ("host",),
        ("analog or digital or host",),
    ]
    assert [group.legend for group in found.groups] == [
        "analog: 2 nodes in 2 regions",
        "digital: 1 node in 1 region",
        "host: 1 node in 1 region",
    ]
    assert len({group.colour for group in found.groups}) == 3


def test_a_node_fused_into_another_has_its_engines() -> None:
    graph = from_text(
        """graph fused(x: float32[1, 2, 4, 4]) -> (r)
w: float32[2, 2, 3, 3] = const random(1, -1.0, 1.0)
c: float32[1, 2, 2, 2] = Conv(x, w) from (conv)
r: float32[1, 2, 2, 2] = Relu(c) from (relu)
"""
    )
    assert engines_by_node(graph, load_target("diana")) == {
        "conv": ("analog", "digital", "host"),
        "relu": ("analog", "digital", "host"),
    }
