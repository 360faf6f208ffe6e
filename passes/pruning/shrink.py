"""Removes channels from a graph: every constant, shape and type that holds them gets smaller."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Array, Graph, Node, Quant
from compiler.ir.rewriter import Rewriter
from passes.pruning.structure import Structure


def shrink(graph: Graph, structure: Structure, surviving: npt.NDArray[np.bool_]) -> Graph:
    """Makes the graph without the classes that are not marked in `surviving`.

    Names and nodes stay.
    """
    rewriter = Rewriter(graph)
    narrowed: dict[tuple[str, int], list[tuple[int, npt.NDArray[np.bool_]]]] = {}
    for constant in structure.constants:
        stays = surviving[constant.classes]
        if not stays.all():
            place = (constant.node, constant.input)
            narrowed.setdefault(place, []).append((constant.axis, stays))
    for name, channels in structure.values.items():
        stays = surviving[channels.classes]
        if not stays.all():
            kind = graph.types[name]
            sizes = list(kind.sizes)
            sizes[channels.axis] = int(stays.sum())
            rewriter.set_type(name, replace(kind, shape=tuple(sizes)))
    for node in graph.nodes:
        inputs = list(node.inputs)
        for index, name in enumerate(node.inputs):
            axes = narrowed.get((node.name, index))
            if axes:
                data, quant = graph.constants[name], graph.types[name].quant
                for axis, stays in axes:
                    data = np.compress(stays, data, axis=axis)
                    quant = _surviving_quant(quant, stays, axis, node)
                inputs[index] = _store(rewriter, graph, name, data, quant)
        if node.op == "Reshape":
            inputs[1] = _new_shape(rewriter, graph, node, structure, surviving)
        rewriter.keep(_regrouped(replace(node, inputs=tuple(inputs)), graph, rewriter))
    return rewriter.finish()


def marks(
    structure: Structure, surviving: npt.NDArray[np.bool_]
) -> dict[str, tuple[int, npt.NDArray[np.bool_]]]:
    """Maps each value with channels to their axis, and to which indices along it survive."""
    return {name: (c.axis, surviving[c.classes]) for name, c in structure.values.items()}


def _store(rewriter: Rewriter, graph: Graph, name: str, data: Array, quant: Quant | None) -> str:
    """Stores a constant, under its own name where one node alone reads it."""
    if len(graph.consumers[name]) == 1 and name not in graph.outputs:
        rewriter.set_constant(name, data, quant)
        return name
    return rewriter.constant(f"{name}.pruned", data, quant)


def _surviving_quant(
    quant: Quant | None, stays: npt.NDArray[np.bool_], axis: int, node: Node
) -> Quant | None:
    """Selects the scales of what survives.

    A Product has one for each column of each group: its groups are axis 0, its columns axis 2.
    """
    if quant is None or len(quant.scale) == 1:
        return quant
    if axis != quant.axis and not (node.op == "Product" and axis == 0):
        return quant
    places = np.flatnonzero(np.repeat(stays, len(quant.scale) // len(stays)))
    return replace(
        quant,
        scale=tuple(quant.scale[i] for i in places),
        zero_point=tuple(quant.zero_point[i] for i in places),
    )


def _new_shape(
    rewriter: Rewriter,
    graph: Graph,
    node: Node,
    structure: Structure,
    surviving: npt.NDArray[np.bool_],
) -> str:
    """Makes the constant that a Reshape takes its shape from; sizes left open (-1) stay open."""
    name = node.inputs[1]
    channels = structure.values.get(node.outputs[0])
    if channels is None or surviving[channels.classes].all():
        return name
    shape = graph.constants[name].copy()
    if shape[channels.axis] == -1:
        return name
    shape[channels.axis] = int(surviving[channels.classes].sum())
    return _store(rewriter, graph, name, shape, None)


def _regrouped(node: Node, graph: Graph, rewriter: Rewriter) -> Node:
    """Gives a depthwise convolution as many groups as its input has channels."""
    if node.op != "Conv" or node.integer("group", 1) == 1:
        return node
    before = graph.types[node.inputs[0]].sizes[1]
    after = rewriter.type_of(node.inputs[0]).sizes[1]
    if before == after:
        return node
    groups = node.integer("group", 1) * after // before
    return replace(node, attrs={**node.attrs, "group": groups})
