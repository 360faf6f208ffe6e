"""Finds where the indices of one axis of a tensor end up when its shape changes."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Graph, Node

MAX_ELEMENTS = 1 << 22  # channels of larger tensors are not traced through a reshape


def reshaped(
    axis: int,
    classes: npt.NDArray[np.int64],
    old: tuple[int, ...],
    new: tuple[int, ...],
) -> tuple[int, npt.NDArray[np.int64]] | None:
    """Finds the axis of the new shape along which alone the classes vary, and their order there.

    None when there is no such axis.
    """
    if len(classes) < 2 or prod(old) > MAX_ELEMENTS or prod(old) != prod(new):
        return None
    column = classes.reshape([-1 if place == axis else 1 for place in range(len(old))])
    spread = np.broadcast_to(column, old).reshape(new)
    for place, size in enumerate(new):
        if size < 2:
            continue
        lines = np.moveaxis(spread, place, 0).reshape(size, -1)
        if (lines == lines[:, :1]).all():
            return place, lines[:, 0].copy()
    return None


def reduced_axes(node: Node, graph: Graph) -> tuple[int, ...] | None:
    """Finds the axes a reduction runs over, from its attribute or constant input.

    None when they are not known.
    """
    rank = len(graph.types[node.inputs[0]].sizes)
    if node.input(1):
        constant = graph.constants.get(node.inputs[1])
        if constant is None:
            return None
        axes = tuple(int(axis) for axis in constant.reshape(-1))
    else:
        axes = node.ints("axes", ())
    if not axes:
        return () if node.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(axis % rank for axis in axes)
