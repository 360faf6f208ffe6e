"""Watches the passes go by, to tell afterwards what pruning changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compiler.ir.graph import Graph
    from compiler.plan.schema import PrunedLayer
    from compiler.target.chip import Target
    from passes.base import Pass


class PruningWatch:
    """An observer of passes that keeps the graph before pruning, and the pruned one when it is ready to be placed."""

    def __init__(self) -> None:
        self._before: Graph | None = None
        self._ready: Graph | None = None

    def __call__(self, position: int, ran: Pass, before: Graph, after: Graph) -> None:
        """What `run_passes` tells."""
        if ran.name == "prune" and after is not before:
            self._before = before
        if ran.name == "calibrate":
            self._ready = before

    def layers(self, placed: Graph, target: Target) -> tuple[PrunedLayer, ...]:
        """The layers that pruning made smaller; none when nothing was pruned."""
        from backends.lowering.pruned_layers import pruned_layers
        from passes.base import run_passes
        from passes.pipeline import matrix_passes

        if self._before is None or self._ready is None:
            return ()
        unpruned = run_passes(self._before, matrix_passes(), target)
        return pruned_layers(unpruned, self._ready, placed, target)
