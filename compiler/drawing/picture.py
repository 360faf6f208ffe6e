"""A graph to be drawn: boxes with words, arcs between them, and the colours of their groups."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Boxes of one colour: the name they refer to it by, the fill as #rrggbb, and the legend."""

    name: str
    colour: str
    legend: str


@dataclass(frozen=True)
class Box:
    """A box: its heading, the lines below it, and what a reader who points at it sees.

    `group` names its colour, "" for none. A port (an input or output) has round corners, a
    bottleneck a bold frame. Boxes of one `chain` stand below one another and those of one `region`
    are framed together, where the form of the drawing can do so; -1 is none.
    """

    heading: str
    lines: tuple[str, ...]
    hint: str = ""
    group: str = ""
    is_port: bool = False
    is_bottleneck: bool = False
    chain: int = -1
    region: int = -1


@dataclass(frozen=True)
class Arc:
    """An arc between two boxes, by position, and what a reader who points at it sees."""

    source: int
    target: int
    hint: str = ""


@dataclass(frozen=True)
class Picture:
    """Boxes and arcs without a cycle, under a title and lines of caption.

    All words may be a stranger's: whoever draws them makes them safe.
    """

    title: str
    caption: tuple[str, ...]
    boxes: tuple[Box, ...]
    arcs: tuple[Arc, ...]
    groups: tuple[Group, ...] = ()
