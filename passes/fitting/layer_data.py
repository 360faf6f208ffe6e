"""What one matrix product sees and should give, on the samples at hand: the data its weights are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.engines.numerics import Floats, Window
from compiler.ir.graph import Graph, Node

Doubles: TypeAlias = npt.NDArray[np.float64]

ALL = slice(None)
MOST_PATCHES = 8192
MOST_ELEMENTS = 40_000_000  # patches * rows * groups kept for one layer


@dataclass(frozen=True)
class LayerData:
    """What a product sees and should give: patches [G,M,R] of real inputs, target outputs [G,M,K] before any clipping."""

    patches: Floats
    targets: Floats

    def thinned(self, most: int) -> LayerData:
        """The same with at most `most` patches, evenly spread."""
        if self.patches.shape[1] <= most:
            return self
        kept = spread(self.patches.shape[1], most)
        return LayerData(self.patches[:, kept], self.targets[:, kept])


def layer_data(
    seen: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating], node: Node, graph: Graph
) -> LayerData:
    """What a product sees and should give, from its real inputs [samples, ...] now and before."""
    groups = graph.types[node.inputs[1]].sizes[0]
    patches = layer_patches(wanted, node, groups)
    targets = layer_outputs(patches, node, graph)
    return LayerData(patches if seen is wanted else layer_patches(seen, node, groups), targets)


def real_weights(node: Node, graph: Graph, columns: slice = ALL) -> Doubles:
    """A Product's weights [G,R,K], or some columns of each group, as real numbers."""
    stored = graph.constants[node.inputs[1]]
    taken = np.asarray(stored[..., columns], np.float64)
    scale = _weight_scale(node, graph)
    return taken if scale is None else taken * scale[:, None, columns]


def real_bias(node: Node, graph: Graph) -> Doubles:
    """A Product's bias [G*K] as real numbers, zeros where it has none."""
    groups, _, columns = graph.constants[node.inputs[1]].shape
    if len(node.inputs) < 3:
        return np.zeros(groups * columns)
    bias = np.asarray(graph.constants[node.inputs[2]], np.float64).reshape(-1)
    scale, data = _weight_scale(node, graph), graph.types[node.inputs[0]].quant
    return bias if scale is None or data is None else bias * scale.reshape(-1) * data.scale[0]


def _weight_scale(node: Node, graph: Graph) -> Doubles | None:
    """The scale of each column [G,K], None where the weights are real numbers themselves."""
    quant = graph.types[node.inputs[1]].quant
    if quant is None or graph.types[node.inputs[0]].quant is None:
        return None
    groups, _, columns = graph.constants[node.inputs[1]].shape
    scale = np.broadcast_to(np.asarray(quant.scale, np.float64), (groups * columns,))
    return scale.reshape(groups, columns)


def layer_patches(values: npt.NDArray[np.floating], node: Node, groups: int) -> Floats:
    """The patches [G,M,R] of samples [S,*shape], thinned to what is kept for fitting."""
    window = Window.of(node)
    merged = values.reshape(-1, *values.shape[2:]) if values.ndim > 1 else values
    if not window.kernel:
        flat = merged.reshape(1, -1, merged.shape[-1])
        return flat[:, _thinned(flat.shape[1], flat.shape[2])].astype(np.float32)
    rows = merged.shape[1] * prod(window.kernel) // groups
    sizes = _output_sizes(merged.shape[2:], window)
    positions = prod(sizes)
    keep = _thinned(len(merged) * positions, rows * groups)
    parts = []
    for sample in range(len(merged)):
        inside = keep[(keep >= sample * positions) & (keep < (sample + 1) * positions)]
        if inside.size:
            rows_of = numerics.patches(merged[sample : sample + 1], window)
            flat = rows_of.reshape(groups, rows, positions)
            parts.append(flat[:, :, inside - sample * positions].transpose(0, 2, 1))
    return np.concatenate(parts, axis=1).astype(np.float32)


def _output_sizes(sizes: tuple[int, ...], window: Window) -> list[int]:
    rank = len(window.kernel)
    return [
        (sizes[a] + window.pads[a] + window.pads[a + rank] - window.dilations[a] * (window.kernel[a] - 1) - 1)
        // window.strides[a]
        + 1
        for a in range(rank)
    ]  # fmt: skip


def _thinned(count: int, width: int) -> npt.NDArray[np.int64]:
    """The patches kept of `count`: at most MOST_PATCHES, fewer for wide layers (1024 at least)."""
    return spread(count, max(1024, min(MOST_PATCHES, MOST_ELEMENTS // max(1, width))))


GOLDEN = (
    5**0.5 - 1
) / 2  # the ratio whose multiples, less their whole parts, are the most evenly spread


def spread(count: int, most: int) -> npt.NDArray[np.int64]:
    """At most `most` indices below `count`, in order: one in each of as many equal parts, never at the same place of it.

    At equal distances they would fall on the same columns of an image again and again.
    """
    if count <= most:
        return np.arange(count)
    parts = np.arange(most)
    return ((parts + parts * GOLDEN % 1) * (count / most)).astype(np.int64)


def layer_outputs(patches: Floats, node: Node, graph: Graph) -> Floats:
    """Targets [G,M,K] of a Product: patches times weights plus bias."""
    stored = graph.constants[node.inputs[1]]
    groups, _, columns = stored.shape
    is_real = stored.dtype == np.float32  # then it is no copy: large weights lie in a file
    weights = stored if is_real else real_weights(node, graph).astype(np.float32)
    product = np.matmul(patches, weights)
    bias = real_bias(node, graph).reshape(groups, 1, columns)
    return np.asarray(product + bias.astype(np.float32), np.float32)
