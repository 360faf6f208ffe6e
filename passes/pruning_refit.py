"""Refits the layers of a smaller network, one after the other, so that each gives again what it gave in the whole network.

For each layer, with X what it now receives, Y = V X + b what it gives and T what it gave before (both on the calibration inputs), the error
T - Y is regressed on X: dV = cov(T - Y, X) (cov(X, X) + lambda I)^-1, and the means are matched by the bias. Errors of earlier layers are thereby
corrected, not added up (facts/numerics.md 5.1, "sequential refit"). There are no labels, no gradients and no retraining.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir import Array, Graph, Node, Rewriter
from passes.pruning_matrix import Matrix, Reals, matrix_of
from passes.pruning_moments import Moments, moments_of
from passes.pruning_walk import Walk

RIDGE = 0.01  # lambda, as a share of the mean variance of a layer's inputs
NOISE = 1e-10  # an error below this share of the output's power is rounding
MAX_ROWS = 2560  # wider layers get their bias matched and keep their weights


Kept: TypeAlias = Mapping[str, tuple[int, npt.NDArray[np.bool_]]]


def refit(dense: Graph, pruned: Graph, kept: Kept, samples: Mapping[str, Array]) -> Graph:
    """`pruned` with new weights and biases; `kept` says which indices of a value's axis are left of those in `dense`."""
    before, after = Walk(dense, samples), Walk(pruned, samples)
    graph = pruned
    for position, old in enumerate(dense.nodes):
        before.run(old, dense)
        after.run(graph.nodes[position], graph)
        matrix = matrix_of(graph.nodes[position], graph)
        if matrix is not None:
            name = old.outputs[0]
            target = before.values[name]
            if name in kept:
                axis, stays = kept[name]
                target = np.compress(stays, target, axis=axis + 1)
            better = _refitted(matrix, graph, after, target)
            if better is not graph:
                graph = better
                after.run(graph.nodes[position], graph)
        before.forget(old)
        after.forget(graph.nodes[position])
    return graph


def _refitted(matrix: Matrix, graph: Graph, walk: Walk, target: Array) -> Graph:
    """The graph with one layer fitted to what it should give; the same graph when it already gives that."""
    node = matrix.node
    error = target.astype(np.float64) - walk.values[node.outputs[0]]
    power = float(np.square(target, dtype=np.float64).sum())
    lost = float(np.square(error).sum())
    if not np.isfinite(lost) or lost <= NOISE * power:
        return graph
    moments = moments_of(matrix, walk.values[node.inputs[0]], error, matrix.rows <= MAX_ROWS)
    weights = matrix.weights(graph)
    change = np.zeros_like(weights)
    if matrix.rows <= MAX_ROWS:
        change = _regression(moments, centred=bool(matrix.bias_node))
    shift = moments.error - (change @ moments.rows[:, :, None])[:, :, 0]
    return rewritten(matrix, graph, weights + change, shift.reshape(-1) / moments.count)


def _regression(moments: Moments, centred: bool) -> Reals:
    """[groups, columns, rows]: the change of weights that takes most of the error."""
    square, cross = moments.about_mean() if centred else (moments.rows_rows, moments.error_rows)
    size = square.shape[1]
    ridge = RIDGE * np.trace(square, axis1=1, axis2=2) / size
    ridge = np.where(ridge > 0, ridge, 1.0)
    damped = square + ridge[:, None, None] * np.eye(size)
    return np.asarray(np.linalg.solve(damped, cross.transpose(0, 2, 1)).transpose(0, 2, 1))


def rewritten(matrix: Matrix, graph: Graph, weights: Reals, shift: Reals) -> Graph:
    """The graph with a layer's new weights, and `shift` added to its bias (a bias is made where there was none)."""
    rewriter = Rewriter(graph)
    node = matrix.node
    stored = matrix.stored(weights, graph)
    rewriter.set_constant(node.inputs[1], stored)
    for other in graph.nodes:
        if other.name == matrix.bias_node:
            other = _with_bias(other, matrix, graph, shift, stored.dtype, rewriter)
        rewriter.keep(other)
    return rewriter.finish()


def _with_bias(
    node: Node,
    matrix: Matrix,
    graph: Graph,
    shift: Reals,
    dtype: np.dtype[np.generic],
    rewriter: Rewriter,
) -> Node:
    index = matrix.bias_input
    name = node.inputs[index] if index < len(node.inputs) else ""
    if name:
        old = graph.constants[name]
        shape = old.shape if old.size == shift.size else shift.shape
        data = (np.broadcast_to(old.reshape(-1), shift.shape) + shift).reshape(shape).astype(dtype)
        if len(graph.consumers[name]) == 1 and name not in graph.outputs:
            rewriter.set_constant(name, data)
            return node
    else:
        data = shift.astype(dtype)
    made = rewriter.constant(f"{name or node.name + '.bias'}", data)
    inputs = (*node.inputs, "", "")[: max(index + 1, len(node.inputs))]
    return replace(node, inputs=(*inputs[:index], made, *inputs[index + 1 :]))
