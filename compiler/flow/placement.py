"""Watches the passes go by, to keep the graph as it was placed: the lower bound is of it, before formats are written into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ir.graph import Graph
    from passes.base import Pass

PLACING = ("partition", "place_in_float")


class PlacementWatch:
    """An observer of passes that keeps the graph that a placing pass gives."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph

    def __call__(self, position: int, ran: Pass, before: Graph, after: Graph) -> None:
        """What `run_passes` tells."""
        if ran.name in PLACING:
            self.graph = after
