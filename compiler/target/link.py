"""Describes a link of a chip file: its two engines, what a byte costs, how wide it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic import Field

from compiler.target.quantity import Quantity, Rate, Strict


class Link(Strict):
    """A link that sends values from one engine to another; pairs without one cost nothing.

    What it takes comes on top of the memories that both engines read and write.
    """

    from_: str = Field(alias="from")
    to: str
    pj_per_byte: Quantity
    bytes_per_cycle: Rate

    @property
    def ends(self) -> tuple[str, str]:
        """The engine that sends and the engine that receives."""
        return self.from_, self.to


def why_not_links(links: Sequence[Link], engines: Collection[str]) -> str:
    """Explains what is wrong with a chip's links, by key path, or gives an empty string."""
    seen: dict[tuple[str, str], int] = {}
    for index, link in enumerate(links):
        for key, engine in (("from", link.from_), ("to", link.to)):
            if engine not in engines:
                return f"links.{index}.{key}: there are {', '.join(engines)}"
        if link.from_ == link.to:
            return f"links.{index}.to: wanted another engine than from, {link.from_}"
        if link.ends in seen:
            first = seen[link.ends]
            return f"links.{index}: links.{first} goes from {link.from_} to {link.to} already"
        seen[link.ends] = index
    return ""
