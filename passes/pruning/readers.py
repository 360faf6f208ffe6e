"""Finds the layers that read prunable channels, and how much each channel matters to them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.ir.graph import Array, Graph
from passes.calibration.walk import Walk
from passes.fitting.layer_data import fitting_samples
from passes.fitting.matrix import Matrix, Reals, matrix_of
from passes.fitting.moments import Moments
from passes.pruning.refit import MAX_ROWS
from passes.pruning.saliency import Reader
from passes.pruning.structure import Layer, Structure

DAMPING = 0.01  # added to the diagonal of the second moments, as a share of it
FLOOR = 1e-6  # added as a share of the mean diagonal, so that there is an inverse


def readers_by_magnitude(graph: Graph, structure: Structure) -> tuple[Reader, ...]:
    """Weighs every input row alike: no calibration."""
    readers = []
    for layer in structure.layers:
        matrix = _read_matrix(layer, graph)
        if matrix is not None:
            weights = matrix.weights(graph)[0].T
            size, flat = float((weights**2).sum()), np.ones(matrix.rows)
            readers.append(Reader(layer, weights, flat, size))
    return tuple(readers)


def readers_by_second_order(
    graph: Graph, structure: Structure, samples: Mapping[str, Array]
) -> tuple[Reader, ...]:
    """Runs the graph on the samples and collects the moments of each layer's input."""
    layers = {layer.node: layer for layer in structure.layers}
    readers = []
    walk = Walk(graph, samples, ahead=True)
    for position, node in enumerate(graph.nodes):
        walk.advance(position)
        layer = layers.get(node.name)
        known = layer is not None and node.inputs[0] in walk.values
        matrix = _read_matrix(layer, graph) if layer is not None and known else None
        if layer is not None and matrix is not None:
            weights = matrix.weights(graph)[0].T
            data = numerics.reals(walk.values[node.inputs[0]], graph.types[node.inputs[0]].quant)
            square = _second_moments(matrix, fitting_samples(data, data)[0])
            whole = square if square.ndim == 2 else np.diag(square)
            power = float((weights @ whole * weights).sum())
            if np.isfinite(power):
                readers.append(Reader(layer, weights, _damped(square), power))
    return tuple(readers)


def _read_matrix(layer: Layer, graph: Graph) -> Matrix | None:
    """Views the layer as a matrix that mixes its inputs; None for a depthwise convolution."""
    if layer.rows is None:
        return None
    return matrix_of(next(node for node in graph if node.name == layer.node), graph)


def _second_moments(matrix: Matrix, data: npt.NDArray[np.floating]) -> Reals:
    """Computes the second moments [R, R] (the diagonal [R] of a very wide layer).

    They are about the mean where a bias can take the mean up.
    """
    parts = ((patches, None) for _, patches in matrix.patches(data))
    moments = Moments.of(parts, whole=matrix.rows <= MAX_ROWS).inputs
    squares = (moments.about_mean() if matrix.bias_node else moments).squares[0]
    return np.asarray(squares[:, 0] if moments.is_diagonal else squares)


def _damped(square: Reals) -> Reals:
    """Damps each row by its own size.

    A row that is always zero costs nothing, however few the samples are.
    """
    if square.ndim == 1:
        return square
    size = np.diag(square)
    mean = float(size.mean())
    floor = FLOOR * mean if mean > 0 else 1.0
    return np.asarray(square + np.diag(DAMPING * size + floor))
