"""Refits the layers of a smaller network, one after the other, to their former outputs.

For each layer, with X what it now receives, Y = V X + b what it gives and T what it gave before
(both on the calibration inputs), the error T - Y is regressed on X: dV = cov(T - Y, X) (cov(X, X) +
lambda I)^-1, and the means are matched by the bias. Errors of earlier layers are thereby corrected,
not added up ("sequential refit"). There are no labels, no gradients and no retraining.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.ir.graph import Array, Graph, Node, Quant
from compiler.ir.rewriter import Rewriter
from passes.calibration.walk import Walk, run_nodes
from passes.fitting.layer_data import finite_samples
from passes.fitting.matrix import Matrix, Reals, linear, matrix_of
from passes.fitting.moments import Moments
from passes.fitting.regression import regression

NOISE = 1e-10  # an error below this share of the output's power is rounding
MAX_ROWS = 2560  # wider layers get their bias matched and keep their weights


SurvivingChannels: TypeAlias = Mapping[str, tuple[int, npt.NDArray[np.bool_]]]


def refit(
    dense: Graph, pruned: Graph, surviving: SurvivingChannels, samples: Mapping[str, Array]
) -> Graph:
    """Fits new weights and biases for `pruned`.

    `surviving` marks the indices of a value's axis that are left of those in `dense`.

    `samples` are [samples, *shape] by input name; layers are refitted in execution order, each on
    what those before it now give.
    """
    before, after = Walk(dense, samples, ahead=True), Walk(pruned, samples)
    untouched = set(dense.inputs)
    for position, old in enumerate(dense.nodes):
        new = after.graph.nodes[position]
        before.advance(position)
        known = {name: before.values[name] for name in old.outputs if name in before.values}
        if old == new and all(_is_same(name, dense, pruned, untouched) for name in old.inputs):
            untouched.update(old.outputs)
            after.skip(known)
            continue
        matrix = matrix_of(new, after.graph) if known else None
        if matrix is not None:
            target = _linear_output(old, before)
            after.change(
                _refitted(matrix, after, _surviving_part(old.outputs[0], target, surviving))
            )
        after.advance(position)
        if not known.keys() <= after.values.keys():
            raise ValueError(
                f"{new.op} {new.name!r} ran before it was pruned and does not run after"
            )
    return after.graph


def _is_same(name: str, dense: Graph, pruned: Graph, untouched: set[str]) -> bool:
    """Whether a value is the same in both graphs."""
    if name in dense.constants:
        return dense.constants[name] is pruned.constants[name]
    return not name or name in untouched


def _surviving_part(name: str, data: Array, surviving: SurvivingChannels) -> Array:
    if name not in surviving:
        return data
    axis, stays = surviving[name]
    return np.compress(stays, data, axis=axis + 1)


def _linear_output(node: Node, walk: Walk) -> Array:
    """What a product gives before any clip and output format."""
    name = node.outputs[0]
    plain, part = linear(node, walk.graph)
    if plain is node and name in walk.values:
        return walk.values[name]
    made = run_nodes(part, (plain,), walk.values)
    assert made is not None
    return made[name]


def _refitted(matrix: Matrix, walk: Walk, target: Array) -> Graph:
    """The graph with one layer fitted to what it should give.

    The same graph when it already gives that.
    """
    node, graph = matrix.node, walk.graph
    given = _linear_output(node, walk)
    data = numerics.reals(walk.values[node.inputs[0]], graph.types[node.inputs[0]].quant)
    is_fine = finite_samples(target, given, data)
    if not is_fine.all():
        target, given, data = target[is_fine], given[is_fine], data[is_fine]
    error = target.astype(np.float64) - given.astype(np.float64)
    power = float(np.square(target, dtype=np.float64).sum())
    lost = float(np.square(error).sum())
    if not np.isfinite(lost) or lost <= NOISE * power:
        return graph
    whole = matrix.rows <= MAX_ROWS
    parts = ((patches, matrix.at_patches(error[part])) for part, patches in matrix.patches(data))
    moments = Moments.of(parts, whole=whole)
    weights = matrix.weights(graph)
    change = np.zeros_like(weights)
    if whole:
        change = regression(moments.about_mean() if matrix.bias_node else moments)
    shift = moments.errors.sums - (moments.inputs.sums[:, None, :] @ change)[:, 0]
    count = moments.inputs.count
    return _rewritten(matrix, graph, weights + change, shift.reshape(-1) / count)


def _rewritten(matrix: Matrix, graph: Graph, weights: Reals, shift: Reals) -> Graph:
    """Writes a layer's new weights, and adds `shift` to its bias.

    A bias is made where there was none.
    """
    rewriter = Rewriter(graph)
    weight = matrix.node.inputs[1]
    quant = matrix.format_for(weights, graph)
    rewriter.set_constant(weight, matrix.stored(weights, graph, quant), quant)
    for node in graph.nodes:
        if node.name == matrix.bias_node:
            node = _with_bias(node, matrix, graph, shift, quant, rewriter)
        rewriter.keep(node)
    return rewriter.finish()


def _with_bias(
    node: Node,
    matrix: Matrix,
    graph: Graph,
    shift: Reals,
    quant: Quant | None,
    rewriter: Rewriter,
) -> Node:
    """Adds `shift` to the bias of the node that holds it.

    It is in steps of the new weight format where it is an integer.
    """
    index = matrix.bias_input
    name = node.input(index)
    weight = matrix.node.inputs[1]
    dtype = graph.constants[weight].dtype if quant is None else np.dtype(np.int32)
    bias, shape = shift, shift.shape
    if name:
        old = graph.constants[name]
        dtype, shape = old.dtype, old.shape if old.size == shift.size else shift.shape
        steps = matrix.bias_steps(graph, graph.types[weight].quant)
        bias = bias + old.reshape(-1).astype(np.float64) * steps
    if quant is not None:
        bias = np.rint(bias / matrix.bias_steps(graph, quant))
    data = bias.reshape(shape).astype(dtype)
    if name and len(graph.consumers[name]) == 1 and name not in graph.outputs:
        rewriter.set_constant(name, data)
        return node
    made = rewriter.constant(name or f"{node.name}.bias", data)
    inputs = (*node.inputs, "", "")[: max(index + 1, len(node.inputs))]
    return replace(node, inputs=(*inputs[:index], made, *inputs[index + 1 :]))
