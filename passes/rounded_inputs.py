"""What a node that is no matrix product gives when inputs of its own become int8 before it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from compiler import numerics
from compiler.interpreter import Interpreter
from compiler.ir import Array, Graph, Node
from compiler.ops import MOVEMENT, VIEWS

# What gives on the integers it takes. A Concat brings its parts into one format, in which a part of small numbers may be lost.
PASSING = tuple(op for op in (*VIEWS, *MOVEMENT, "MaxPool") if op != "Concat")


def value_maker(value: str, graph: Graph) -> Node | None:
    """The node whose numbers a value holds, seen through what only gives them on; None for inputs and constants."""
    maker = graph.producer.get(value)
    while maker is not None and maker.op in PASSING:
        maker = graph.producer.get(maker.inputs[0])
    return maker


def becomes_int8(value: str, node: Node, graph: Graph) -> bool:
    """Whether an input of a node is of floats that an integer engine takes as int8 (the constants of a function go into its table)."""
    kind = graph.types.get(value)
    if kind is None or kind.dtype != "float32" or kind.quant is not None:
        return False
    return value not in graph.constants or node.op in ("Add", "Mul")


def on_rounded_inputs(
    node: Node,
    graph: Graph,
    values: Mapping[str, Array],
    rounded: Collection[str],
    ranges: Mapping[str, tuple[float, float]],
) -> Array:
    """The first output of a node on `values` [samples, ...] of its inputs, those in `rounded` in int8 over their range (constants: their own)."""
    feed: dict[str, Array] = {}
    constants: dict[str, Array] = {}
    for name in filter(None, node.inputs):
        fixed = name in graph.constants
        data = graph.constants[name] if fixed else values[name]
        if name in rounded:
            reals = np.asarray(data, np.float32)
            ends = float(reals.min(initial=0)), float(reals.max(initial=0))  # it may be empty
            lowest, highest = ranges.get(name) or ends
            quant = numerics.asymmetric(8, lowest, highest)
            data = numerics.dequantize(numerics.quantize(reals, quant), quant)
        (constants if fixed else feed)[name] = data
    types = {name: graph.types[name] for name in (*node.inputs, *node.outputs) if name}
    alone = Graph(node.name, tuple(feed), node.outputs[:1], (node,), types, constants)
    return Interpreter(alone).run_all(feed)[node.outputs[0]]
