"""Describes a link of a chip file: its two engines, what a byte costs, how wide it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import Field

from compiler.errors import one_line
from compiler.target.keys import key
from compiler.target.quantity import Quantity, Rate, Strict


class Link(Strict):
    """A link that sends values from one engine to another; pairs without one cost nothing.

    What it takes comes on top of the memories that both engines read and write.
    """

    from_: Annotated[str, key("the engine that sends")] = Field(alias="from")
    to: Annotated[str, key("the engine that receives: another; each pair in each direction once")]
    pj_per_byte: Annotated[Quantity, key("energy of a byte, besides what the memories take")]
    bytes_per_cycle: Annotated[Rate, key("its width; a value takes whole cycles")]

    @property
    def ends(self) -> tuple[str, str]:
        """The engine that sends and the engine that receives."""
        return self.from_, self.to


def why_not_links(links: Sequence[Link], engines: Collection[str]) -> str:
    """Explains what is wrong with a chip's links, by key path, or gives an empty string."""
    seen: dict[tuple[str, str], int] = {}
    for index, link in enumerate(links):
        for end, engine in (("from", link.from_), ("to", link.to)):
            if engine not in engines:
                return (
                    f"links.{index}.{end}: found {one_line(engine)!r}, "
                    f"wanted one of {', '.join(engines)}"
                )
        if link.from_ == link.to:
            return f"links.{index}.to: wanted another engine than from, {link.from_}"
        if link.ends in seen:
            first = seen[link.ends]
            return f"links.{index}: links.{first} goes from {link.from_} to {link.to} already"
        seen[link.ends] = index
    return ""
