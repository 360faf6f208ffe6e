"""Draws a picture as an SVG file, boxes in layers from top to bottom.

Equal pictures give equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from unicodedata import east_asian_width

from compiler.drawing.layers import Layout, Point, place
from compiler.drawing.picture import Box, Picture
from compiler.errors import one_line

FONT_SIZE = 12
LETTER = 7.3  # the width of a letter of a fixed-width font of that size
LINE = 15.0
MARGIN = 20.0
PADDING = 8.0
BETWEEN_COLUMNS = 22.0
BETWEEN_LAYERS = 34.0
ARROW = 6.0
LONGEST_HINT = 1000
PLAIN = "#ffffff"


def svg(picture: Picture) -> str:
    """The SVG text of a picture, ending in a newline."""
    rows = max((1 + len(box.lines) for box in picture.boxes), default=1)
    height = rows * LINE + PADDING
    widths = [_width(box) for box in picture.boxes]
    arcs = [(arc.source, arc.target) for arc in picture.arcs]
    layout = place(
        widths,
        arcs,
        height=height,
        between_columns=BETWEEN_COLUMNS,
        between_layers=BETWEEN_LAYERS,
    )
    head, top = _head(picture)
    width = max(layout.width, *(_columns(words) * LETTER for words in _head_words(picture)))
    size = f"{width + 2 * MARGIN:.0f}", f"{top + layout.height + MARGIN:.0f}"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]}" height="{size[1]}" '
        f'viewBox="0 0 {size[0]} {size[1]}" font-family="monospace" font-size="{FONT_SIZE}">',
        f"<title>{_safe(picture.title)}</title>",
        '<defs><marker id="arrow" viewBox="0 0 6 6" refX="6" refY="3" markerWidth="6" '
        'markerHeight="6" orient="auto"><path d="M0 0L6 3L0 6z" fill="#555555"/></marker></defs>',
        f'<rect width="{size[0]}" height="{size[1]}" fill="#ffffff"/>',
        *head,
        f'<g transform="translate({MARGIN + (width - layout.width) / 2:.1f} {top:.1f})">',
        *_arcs(picture, layout, height),
        *_boxes(picture, layout, widths, height),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _safe(text: str, limit: int = 300) -> str:
    """A stranger's text where XML has no say: no markup, no letter that XML cannot hold."""
    return escape(one_line(text, limit))


def _columns(text: str) -> int:
    """The columns that a text takes in a font of fixed width: an East Asian letter may take two."""
    shown = one_line(text)
    return len(shown) + sum(east_asian_width(letter) in "WF" for letter in shown)


def _width(box: Box) -> float:
    return max(_columns(line) for line in (box.heading, *box.lines)) * LETTER + 2 * PADDING


def _head_words(picture: Picture) -> list[str]:
    return [picture.title, *picture.caption, *(f"   {group.legend}" for group in picture.groups)]


def _head(picture: Picture) -> tuple[list[str], float]:
    """Title, caption and legend, and the height below which the boxes begin."""
    y = MARGIN + FONT_SIZE
    lines = [f'<text x="{MARGIN:.0f}" y="{y:.0f}" font-weight="bold">{_safe(picture.title)}</text>']
    for words in picture.caption:
        y += LINE + 2
        lines.append(f'<text x="{MARGIN:.0f}" y="{y:.0f}">{_safe(words)}</text>')
    for group in picture.groups:
        y += LINE + 4
        lines.append(
            f'<rect x="{MARGIN:.0f}" y="{y - FONT_SIZE:.0f}" width="14" height="14" '
            f'fill="{group.colour}" stroke="#333333"/>'
        )
        lines.append(
            f'<text x="{MARGIN + 3 * LETTER:.1f}" y="{y:.0f}">{_safe(group.legend)}</text>'
        )
    return lines, y + 2 * LINE


def _arcs(picture: Picture, layout: Layout, height: float) -> Iterator[str]:
    yield '<g fill="none" stroke="#555555">'
    for arc, bends in zip(picture.arcs, layout.bends, strict=True):
        (x0, y0), (x1, y1) = layout.centres[arc.source], layout.centres[arc.target]
        path = _curve((x0, y0 + height / 2), bends, (x1, y1 - height / 2), height)
        hint = f"<title>{_safe(arc.hint, LONGEST_HINT)}</title>" if arc.hint else ""
        yield f'<path d="{path}" marker-end="url(#arrow)">{hint}</path>'
    yield "</g>"


def _curve(start: Point, bends: Sequence[Point], end: Point, height: float) -> str:
    """A curve that leaves, passes each layer and arrives straight down."""
    words = [f"M{start[0]:.1f} {start[1]:.1f}"]
    here = start
    for x, y in bends:
        words += [_part(here, (x, y - height / 2)), f"V{y + height / 2:.1f}"]
        here = (x, y + height / 2)
    words.append(_part(here, end))
    return "".join(words)


def _part(start: Point, end: Point) -> str:
    if abs(start[0] - end[0]) < 0.05:
        return f"V{end[1]:.1f}"
    half = (start[1] + end[1]) / 2
    return f"C{start[0]:.1f} {half:.1f} {end[0]:.1f} {half:.1f} {end[0]:.1f} {end[1]:.1f}"


def _boxes(
    picture: Picture, layout: Layout, widths: Sequence[float], height: float
) -> Iterator[str]:
    colours = {group.name: group.colour for group in picture.groups}
    for box, (x, y), width in zip(picture.boxes, layout.centres, widths, strict=True):
        hint = f"<title>{_safe(box.hint, LONGEST_HINT)}</title>" if box.hint else ""
        corner = ' rx="10"' if box.is_port else ' rx="2"'
        frame = ' stroke-width="2.5"' if box.is_bottleneck else ""
        rows = [(box.heading, ' font-weight="bold"'), *((line, "") for line in box.lines)]
        first = y - len(rows) * LINE / 2 + FONT_SIZE - 1
        texts = "".join(
            f'<text x="{x:.1f}" y="{first + row * LINE:.1f}"{style}>{_safe(words)}</text>'
            for row, (words, style) in enumerate(rows)
        )
        yield (
            f'<g text-anchor="middle">{hint}<rect x="{x - width / 2:.1f}" y="{y - height / 2:.1f}" '
            f'width="{width:.1f}" height="{height:.1f}"{corner} '
            f'fill="{colours.get(box.group, PLAIN)}" stroke="#333333"{frame}/>{texts}</g>'
        )
