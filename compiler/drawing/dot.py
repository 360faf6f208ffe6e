"""Writes a picture in the DOT language, for Graphviz and what reads its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from compiler.drawing.picture import Box, Picture
from compiler.errors import one_line


def dot(picture: Picture) -> str:
    """The DOT text of a picture, ending in a newline."""
    return "".join(f"{line}\n" for line in _lines(picture))


def _lines(picture: Picture) -> Iterator[str]:
    colours = {group.name: group.colour for group in picture.groups}
    legend = [f"{group.legend}: {group.colour}" for group in picture.groups]
    yield f"digraph {_quoted(picture.title)} {{"
    yield f"  graph [label={_quoted(picture.title, *picture.caption, *legend)}, labelloc=t]"
    yield '  node [shape=box, style=filled, fillcolor="#ffffff", fontname=monospace]'
    regions = Counter(box.region for box in picture.boxes)
    chains = Counter(box.chain for box in picture.boxes)
    members: dict[int, list[int]] = {}
    for position, box in enumerate(picture.boxes):
        yield f"  b{position} [{', '.join(_attributes(box, colours, chains[box.chain]))}]"
        if box.region >= 0 and regions[box.region] > 1:
            members.setdefault(box.region, []).append(position)
    for region, positions in members.items():
        label = _quoted(f"{picture.boxes[positions[0]].group}: {len(positions)} nodes")
        inside = "; ".join(f"b{position}" for position in positions)
        yield f"  subgraph cluster_{region} {{ label={label}; {inside} }}"
    for arc in picture.arcs:
        hint = f" [tooltip={_quoted(arc.hint)}]" if arc.hint else ""
        yield f"  b{arc.source} -> b{arc.target}{hint}"
    yield "}"


def _attributes(box: Box, colours: dict[str, str], in_chain: int) -> Iterator[str]:
    yield f"label={_quoted(box.heading, *box.lines)}"
    if box.hint:
        yield f"tooltip={_quoted(box.hint)}"
    if box.group in colours:
        yield f"fillcolor={_quoted(colours[box.group])}"
    if box.is_port:
        yield 'style="filled,rounded"'
    if box.is_bottleneck:
        yield "penwidth=2.5"
    if box.chain >= 0 and in_chain > 1:
        yield f"group=c{box.chain}"


def _quoted(*lines: str) -> str:
    """Strangers' lines as one text of DOT: no end of the text, no escape and no entity in them."""
    safe = (
        one_line(line).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
        for line in lines
    )
    return '"' + "\\n".join(safe) + '"'
