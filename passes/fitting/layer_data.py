"""What one matrix product sees and should give on samples: what its weights are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.engines.numerics import Floats
from compiler.ir.graph import Array, Graph, Node
from passes.fitting.matrix import Matrix, product_matrix

Doubles: TypeAlias = npt.NDArray[np.float64]

MOST_PATCHES = 8192
LARGEST = 1e18  # of values that statistics are made of: the square is a float32
MOST_ELEMENTS = 40_000_000  # patches * rows * groups kept for one layer


@dataclass(frozen=True)
class LayerData:
    """What a product sees and should give, before any clipping.

    Patches [G,M,R] of real inputs, target outputs [G,M,K].
    """

    patches: Floats
    targets: Floats

    def thinned(self, most: int) -> LayerData:
        """The same with at most `most` patches, evenly spread."""
        if self.patches.shape[1] <= most:
            return self
        kept = spread(self.patches.shape[1], most)
        return LayerData(self.patches[:, kept], self.targets[:, kept])


def fitting_samples(
    seen: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.floating]]:
    """The samples [samples, ...] of both on which all is finite: nothing is fitted to NaN.

    Where there are none, all samples with zeros in the place of what is not finite.
    """
    is_fine = finite_samples(seen, wanted)
    if is_fine.all():
        return seen, wanted
    if is_fine.any():
        fitted = seen[is_fine]
        return fitted, fitted if seen is wanted else wanted[is_fine]
    zeroed = np.where(np.abs(seen) < LARGEST, seen, np.float32(0))
    return zeroed, zeroed if seen is wanted else np.where(np.abs(wanted) < LARGEST, wanted, 0)


def finite_samples(*arrays: Array) -> npt.NDArray[np.bool_]:
    """Marks the samples [samples] of which every value in arrays [samples, ...] is finite.

    What is so large that its square is not counts as infinite: no sum over it tells anything.
    """
    found = []
    for data in arrays:
        axes = tuple(range(1, data.ndim))
        low, high = data.min(axis=axes, initial=0), data.max(axis=axes, initial=0)
        found.append((low > -LARGEST) & (high < LARGEST))  # NaN is neither
    return np.asarray(np.logical_and.reduce(found))


def layer_data(
    seen: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating], node: Node, graph: Graph
) -> LayerData:
    """What a product sees and should give, from its real inputs [samples, ...] now and before."""
    matrix = product_matrix(node, graph)
    patches = thinned_patches(wanted, matrix)
    targets = layer_outputs(patches, matrix, graph)
    return LayerData(patches if seen is wanted else thinned_patches(seen, matrix), targets)


def thinned_patches(values: npt.NDArray[np.floating], matrix: Matrix) -> Floats:
    """The patches [G,M,R] of samples [samples, *shape] that are kept for fitting, evenly spread.

    At most MOST_PATCHES, fewer for wide layers (1024 at least).
    """
    width = matrix.rows * matrix.groups
    most = max(1024, min(MOST_PATCHES, MOST_ELEMENTS // max(1, width)))
    keep = spread(matrix.places(values), most)
    parts, start = [], 0
    for _, patches in matrix.patches(values):
        end = start + patches.shape[1]
        inside = keep[np.searchsorted(keep, start) : np.searchsorted(keep, end)] - start
        whole = len(inside) == patches.shape[1]
        parts.append((patches if whole else patches[:, inside]).astype(np.float32))
        start = end
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


# The ratio whose multiples, less their whole parts, are the most evenly spread.
GOLDEN = (5**0.5 - 1) / 2


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` indices below `count`, in order: one in each of as many equal parts.

    They lie at another place of each part. At equal distances they would fall on the same columns
    of an image again and again.
    """
    if count <= most:
        return np.arange(count)
    parts = np.arange(most)
    return ((parts + parts * GOLDEN % 1) * (count / most)).astype(np.int64)


def layer_outputs(patches: Floats, matrix: Matrix, graph: Graph) -> Floats:
    """The outputs [G,M,K] of a Product on patches [G,M,R]: times weights plus bias."""
    stored = graph.constants[matrix.node.inputs[1]]
    is_real = stored.dtype == np.float32  # then it is no copy: large weights lie in a file
    weights = stored if is_real else matrix.weights(graph).astype(np.float32)
    bias = matrix.bias(graph)[:, None, :].astype(np.float32)
    return np.asarray(np.matmul(patches, weights) + bias, np.float32)
