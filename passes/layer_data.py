"""What one matrix product sees and should give, on the samples at hand: the data its weights are fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler import numerics
from compiler.ir import Graph, Node
from compiler.numerics import Floats, Window

Doubles: TypeAlias = npt.NDArray[np.float64]

MOST_PATCHES = 16384
MOST_ELEMENTS = 40_000_000  # patches * rows * groups kept for one layer


@dataclass(frozen=True)
class LayerData:
    """What a product sees and should give: patches [G,M,R] of real inputs, target outputs [G,M,K] before any clipping."""

    patches: Floats
    targets: Floats

    def thinned(self, most: int) -> LayerData:
        """The same with at most about `most` patches, evenly spread."""
        every = max(1, self.patches.shape[1] // most)
        if every == 1:
            return self
        return LayerData(self.patches[:, ::every], self.targets[:, ::every])


def real_weights(node: Node, graph: Graph) -> tuple[Doubles, Doubles]:
    """A Product's weights [G,R,K] and bias [G*K] as real numbers (zeros where it has none)."""
    stored = np.asarray(graph.constants[node.inputs[1]], np.float64)
    groups, _, columns = stored.shape
    bias = np.zeros(groups * columns)
    if len(node.inputs) > 2:
        bias = np.asarray(graph.constants[node.inputs[2]], np.float64).reshape(-1)
    quant = graph.types[node.inputs[1]].quant
    data = graph.types[node.inputs[0]].quant
    if quant is None or data is None:
        return stored, bias
    scale = np.broadcast_to(np.asarray(quant.scale), (groups * columns,))
    return stored * scale.reshape(groups, 1, columns), bias * scale * data.scale[0]


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
            spread = numerics.patches(merged[sample : sample + 1], window)
            flat = spread.reshape(groups, rows, positions)
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
    """Evenly spread indices: at most MOST_PATCHES, fewer for wide layers (1024 at least)."""
    most = max(1024, min(MOST_PATCHES, MOST_ELEMENTS // max(1, width)))
    if count <= most:
        return np.arange(count)
    return (np.arange(most) * (count / most)).astype(np.int64)


def outputs_of(patches: Floats, weights: Doubles, bias: Doubles) -> Floats:
    """Targets [G,M,K]: patches times weights plus bias."""
    groups, _, columns = weights.shape
    product = np.matmul(patches, weights.astype(np.float32))
    return np.asarray(product + bias.reshape(groups, 1, columns).astype(np.float32), np.float32)
