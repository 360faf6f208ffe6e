"""Lays words out for a terminal: lines and tables that fit a width, colour where there is any."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from compiler.figures import aligned

LEAST_WIDTH = 80
LABEL_WIDTH = 14
MOST_INDENT = 4
# Blue and yellow can be told apart with any sight, on dark and on light; no word needs a colour.
ENGINE_STYLES = {"analog": "34", "host": "33"}
BOLD, DIM = "1", "2"


@dataclass(frozen=True)
class Page:
    """Where words are read: so many columns (None: as many as it takes), in colour or not."""

    width: int | None = 100
    colour: bool = False

    def __post_init__(self) -> None:
        if self.width is not None and self.width < LEAST_WIDTH:
            object.__setattr__(self, "width", LEAST_WIDTH)

    def left_by(self, rows: Sequence[Sequence[str]]) -> int:
        """Counts the columns that a table leaves for one more of its own."""
        widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
        return max((self.width or sum(widths)) - sum(widths), 0)

    def has_room_for(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether a table of these rows fits."""
        return self.at_least(max(len(line) for line in aligned(rows)))

    def at_least(self, width: int) -> bool:
        """Whether it has so many columns."""
        return self.width is None or self.width >= width

    def paragraph(self, words: str, first: str = "", indent: int = 2) -> list[str]:
        """Wraps words after what stands `first`; the lines that follow are indented."""
        if self.width is None:
            return [f"{first}{words}".rstrip()]
        return textwrap.wrap(
            words,
            self.width,
            initial_indent=first,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        ) or [first.rstrip()]

    def labelled(self, label: str, words: str) -> list[str]:
        """Wraps words to the right of their label."""
        lines = self.paragraph(words, f"{label:<{LABEL_WIDTH}}", LABEL_WIDTH)
        return [self.styled(label, BOLD) + lines[0][len(label) :], *lines[1:]]

    def styled(self, words: str, style: str) -> str:
        """Gives words a style of the terminal where there is colour."""
        return f"\x1b[{style}m{words}\x1b[0m" if self.colour and words and style else words

    def table(
        self,
        rows: Sequence[Sequence[str]],
        right: Iterable[int] = (),
        last: Sequence[str] = (),
        styles: Sequence[str] = (),
    ) -> list[str]:
        """Aligns rows of words in columns, the first as their head; those in `right` flush right.

        `last` are words for each row that may be long: its last column where the page has room for
        all of them, else lines of their own below it. `styles` are those of the rows.
        """
        if last:
            whole = [(*row, words) for row, words in zip(rows, last, strict=True)]
            rows, last = (whole, ()) if self.has_room_for(whole) else (rows, last)
        indent = min(max((len(row[0]) for row in rows), default=0) + 2, MOST_INDENT)
        lines = []
        for index, line in enumerate(aligned(rows, tuple(right))):
            style = styles[index] if styles else ""
            lines.append(self.styled(line, style if index else BOLD))
            words = last[index] if last and index else ""
            below = self.paragraph(words, " " * indent, indent) if words else []
            lines += [self.styled(line, DIM) for line in below]
        return lines


DEFAULT_PAGE = Page()
WIDE_PAGE = Page(width=None)
