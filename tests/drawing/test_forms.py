"""SVG and DOT: whole texts of a small picture, and names that are meant to harm."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from compiler.drawing.dot import dot
from compiler.drawing.picture import Arc, Box, Group, Picture
from compiler.drawing.svg import svg

SMALL = Picture(
    title="small",
    caption=("2 nodes",),
    boxes=(
        Box("input", ("x",), is_port=True),
        Box("Conv", ("c",), "conv", "analog", is_bottleneck=True, chain=0, region=0),
        Box("Relu", ("r",), "relu", "analog", chain=0, region=0),
    ),
    arcs=(Arc(0, 1, "x: float32[4]"), Arc(1, 2)),
    groups=(Group("analog", "#e69f00", "analog: 2 nodes"),),
)
HOSTILE = [
    '"]; b9 [label="', "<script>alert(1)</script>", "</text></svg>", "a\nb", "\x1b[31mred\x1b[0m",
    "\x00\x01", "&lt;b&gt;", "\\N\\", "\\", "]]>", "<!--", "\u202egnp.exe", "\ud800", "\ufffe",
    "'onload='alert(1)", "{a|b}", "-->", "層" * 50, "x" * 5000, "",
]  # fmt: skip


def test_the_small_picture_in_dot() -> None:
    assert (
        dot(SMALL)
        == r"""digraph "small" {
  graph [label="small\n2 nodes\nanalog: 2 nodes: #e69f00", labelloc=t]
  node [shape=box, style=filled, fillcolor="#ffffff", fontname=monospace]
  b0 [label="input\nx", style="filled,rounded"]
  b1 [label="Conv\nc", tooltip="conv", fillcolor="#e69f00", penwidth=2.5, group=c0]
  b2 [label="Relu\nr", tooltip="relu", fillcolor="#e69f00", group=c0]
  subgraph cluster_0 { label="analog: 2 nodes"; b1; b2 }
  b0 -> b1 [tooltip="x: float32[4]"]
  b1 -> b2
}
"""
    )


def words(text: str) -> list[str]:
    """What an SVG shows, in order."""
    return ["".join(part.itertext()) for part in ElementTree.fromstring(text).findall(".//{*}text")]


def test_the_small_picture_in_svg() -> None:
    text = svg(SMALL)
    assert words(text) == [
        "small", "2 nodes", "analog: 2 nodes", "input", "x", "Conv", "c", "Relu", "r",
    ]  # fmt: skip
    root = ElementTree.fromstring(text)
    assert [part.text for part in root.findall(".//{*}title")] == [
        "small",
        "x: float32[4]",
        "conv",
        "relu",
    ]
    fills = [part.get("fill") for part in root.findall(".//{*}rect")]
    assert fills == ["#ffffff", "#e69f00", "#ffffff", "#e69f00", "#e69f00"]
    paths = [part.get("d") for part in root.findall(".//{*}path")][1:]
    assert all(re.fullmatch(r"M[\d.]+ [\d.]+V[\d.]+", path or "") for path in paths)
    assert svg(SMALL) == text


def hostile(name: str) -> Picture:
    return Picture(
        title=name,
        caption=(name,),
        boxes=(
            Box(name, (name,), name, name, chain=0, region=0),
            Box(name, (name,), name, name, region=0),
        ),
        arcs=(Arc(0, 1, name),),
        groups=(Group(name, "#e69f00", name),),
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_acts_in_svg(name: str) -> None:
    text = svg(hostile(name))
    root = ElementTree.fromstring(text.encode("utf-8"))  # a letter that is no UTF-8 would raise
    kinds = {part.tag.split("}")[1] for part in root.iter()}
    assert kinds <= {"svg", "title", "defs", "marker", "path", "rect", "text", "g"}
    attributes = {key for part in root.iter() for key in part.attrib}
    assert not [key for key in attributes if key.startswith("on") or "href" in key]
    assert len(root.findall(".//{*}rect")) == 4
    assert all(letter.isprintable() or letter == "\n" for letter in text)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_acts_in_dot(name: str) -> None:
    text = dot(hostile(name))
    text.encode("utf-8")
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "TEXT", text)
    assert bare == (
        "digraph TEXT {\n"
        "  graph [label=TEXT, labelloc=t]\n"
        "  node [shape=box, style=filled, fillcolor=TEXT, fontname=monospace]\n"
        + "".join(
            f"  b{i} [label=TEXT, {'tooltip=TEXT, ' if name else ''}fillcolor=TEXT]\n"
            for i in (0, 1)
        )
        + "  subgraph cluster_0 { label=TEXT; b0; b1 }\n"
        f"  b0 -> b1{' [tooltip=TEXT]' if name else ''}\n"
        "}\n"
    )
