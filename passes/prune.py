"""Removes a share of the multiply-accumulates: the whole channels that matter least.

The layers that remain are refitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from compiler.choices import PruneMethod
from compiler.errors import UsageError
from compiler.ir.graph import Array, Graph
from compiler.ir.ops import macs
from compiler.target.chip import Target
from passes.base import Pass
from passes.calibration.inputs import CalibrationInputs, synthetic_inputs
from passes.pruning.channels import channel_structure
from passes.pruning.granularity import aligned_widths, grouped_widths
from passes.pruning.readers import readers_by_magnitude, readers_by_second_order
from passes.pruning.refit import refit
from passes.pruning.saliency import Curve, Reader, Space, removal_curve, spaces_of
from passes.pruning.sensitivity import scaled_curves, split
from passes.pruning.shrink import marks, shrink
from passes.pruning.spread import Widths, spread
from passes.pruning.structure import FIXED, Structure

OVERSHOOT = 0.1  # of the MACs: a step that frees whole arrays may take so much more than asked


@dataclass(frozen=True)
class Prune(Pass):
    """Removes at least `share` of the MACs where the widths allow it.

    Matrices become physically smaller.

    Lossy: the error is not bounded in advance, it is what `evaluate` or `verify` measure
    afterwards. `inputs` are the calibration inputs of saliency and refit (None: made up, 64 of
    them); `group` forces the widths to its multiples (None: what frees arrays of the target first,
    then single channels); `method` chooses the channels; without `refit` the weights stay as they
    are.
    """

    name: ClassVar[str] = "prune"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    share: float = 0.0
    inputs: CalibrationInputs | None = None
    method: PruneMethod = "second-order"
    group: int | None = None
    refit: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise UsageError(
                f"a share of {self.share} of the MACs cannot be pruned: from 0 to below 1"
            )
        if self.group is not None and self.group < 1:
            raise UsageError(f"groups of {self.group} channels cannot be pruned: at least 1")

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Makes the smaller graph.

        It is the same graph when nothing is asked or nothing can go.
        """
        if self.share == 0:
            return graph
        structure = channel_structure(graph)
        spaces = tuple(s for s in spaces_of(structure) if s.width > 1)
        if not spaces:
            return graph
        samples = (self.inputs or synthetic_inputs(graph)).arrays
        with threadpool_limits(1, user_api="blas"):
            curves = self._curves(graph, structure, spaces, samples)
            surviving = self._choose(graph, structure, curves, target)
            if surviving.all():
                return graph
            smaller = shrink(graph, structure, surviving)
            if not self.refit:
                return smaller
            return refit(graph, smaller, marks(structure, surviving), samples)

    def _curves(
        self,
        graph: Graph,
        structure: Structure,
        spaces: tuple[Space, ...],
        samples: Mapping[str, Array],
    ) -> tuple[Curve, ...]:
        """Computes the error of narrowing each space whose readers can measure it."""
        if self.method == "magnitude":
            readers = readers_by_magnitude(graph, structure)
            spaces = tuple(space for space in spaces if _is_seen(space, structure, readers))
            return tuple(removal_curve(space, readers) for space in spaces)
        fitted, held_out = split(samples)
        readers = readers_by_second_order(graph, structure, fitted)
        spaces = tuple(space for space in spaces if _is_seen(space, structure, readers))
        curves = [removal_curve(space, readers) for space in spaces]
        return scaled_curves(graph, structure, curves, fitted, held_out)

    def _choose(
        self, graph: Graph, structure: Structure, curves: tuple[Curve, ...], target: Target
    ) -> npt.NDArray[np.bool_]:
        """Chooses the classes that survive."""
        spaces = tuple(curve.space for curve in curves)
        widths = Widths(structure, spaces)
        total = sum(macs(node, graph) for node in graph)
        most = widths.macs(widths.width) - self.share * total
        if self.group is not None:
            spread(widths, curves, [grouped_widths(s.width, self.group) for s in spaces], most)
        else:
            whole = [aligned_widths(s.width, s.rows_per_channel, target) for s in spaces]
            spread(widths, curves, whole, most, least=most - OVERSHOOT * total)
            spread(widths, curves, [grouped_widths(s.width, 1) for s in spaces], most)
        surviving = np.ones(structure.count, np.bool_)
        for curve, width in zip(curves, widths.width, strict=True):
            surviving[curve.order[: len(curve.order) - int(width)]] = False
        assert surviving[FIXED]
        return surviving


def _is_seen(space: Space, structure: Structure, readers: tuple[Reader, ...]) -> bool:
    """Whether the error of removing a space's channels is known at every layer that reads them."""
    known = {reader.layer.node for reader in readers}
    return all(
        layer.node in known
        for layer in structure.layers
        if layer.rows is not None and np.isin(layer.rows, space.classes).any()
    )
