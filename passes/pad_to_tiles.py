"""Lays out the digits of analog products as images of array tiles, padded with unused cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from compiler.engines.mapping import analog_mapping
from compiler.ir.formats import Format
from compiler.ir.graph import Array, Graph
from compiler.ir.mapping import ProductShape
from compiler.ir.rewriter import Rewriter
from compiler.storage.spill import spill_to_file
from compiler.target.chip import Target
from passes.base import Pass


@dataclass(frozen=True)
class PadToTiles(Pass):
    """Splits AnalogProduct's weights into tiles and pads them, as they are written to the arrays.

    [D,G,R,K] become [G,row tiles,column tiles,array rows,array columns]. Digits lie side by side
    along the columns, lowest first; cells beyond the matrix hold 0. A layer of one tile has the
    columns that one copy of it reserves of its array, not those of its neighbours.
    """

    name: ClassVar[str] = "pad_to_tiles"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Replaces the graph's analog weights by tile images."""
        rewriter = Rewriter(graph)
        for node in graph:
            digits = graph.constants.get(node.inputs[1]) if node.op == "AnalogProduct" else None
            if digits is None or digits.ndim != 4:
                rewriter.keep(node)
                continue
            count, groups, rows, columns = digits.shape
            unit = target.analog_engines[node.engine]
            form = Format.analog(node.engine, count)
            one = analog_mapping(ProductShape(groups, rows, columns, 1), form, unit)
            image = tile_image(digits, one.array_rows, one.reserved_columns // one.tiles)
            tiles = rewriter.constant(f"{node.name}.tiles", spill_to_file(image))
            rewriter.keep(replace(node, inputs=(node.inputs[0], tiles, *node.inputs[2:])))
        return rewriter.finish()


def tile_image(digits: Array, array_rows: int, array_columns: int) -> npt.NDArray[np.int8]:
    """Lays out digits as tiles: [D,G,R,K] -> [G,row tiles,column tiles,array rows,array columns].

    The inverse is compiler.engines.bit_slicing.digits_of_tiles.
    """
    count, groups, rows, columns = digits.shape
    row_tiles, column_tiles = (
        ceil(rows / array_rows),
        ceil(count * columns / array_columns),
    )
    flat = digits.transpose(1, 2, 0, 3).reshape(groups, rows, count * columns)
    padded = np.zeros((groups, row_tiles * array_rows, column_tiles * array_columns), np.int8)
    padded[:, :rows, : count * columns] = flat
    image = padded.reshape(groups, row_tiles, array_rows, column_tiles, array_columns)
    return np.ascontiguousarray(image.transpose(0, 1, 3, 2, 4))
