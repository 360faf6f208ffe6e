"""Finds reads of int8-rounded floats whose error no consumer's divergence includes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from compiler.engines import numerics
from compiler.execute.interpreter import Interpreter
from compiler.ir.formats import INT8, Format
from compiler.ir.graph import Array, Graph, Node
from compiler.ir.ops import FORMATS, MOVEMENT, VIEWS

# What gives on the integers it takes. A Concat brings its parts into one format, in which a part of
# small numbers may be lost.
PASSING = tuple(op for op in (*VIEWS, *MOVEMENT, "MaxPool") if op != "Concat")


def readers_of_rounded(value: str, graph: Graph) -> tuple[Node, ...]:
    """Finds the nodes that take a float value in int8 without counting what that does.

    They run on an integer engine, and the host or a graph input holds the value. A product is
    measured on the input that it takes, a change of format is the model's own: neither counts.
    """
    return tuple(
        reader
        for reader in graph.consumers.get(value, ())
        if reader.op != "Product" and reader.op not in FORMATS
    )


def given_by_format(maker: Node, formats: Collection[Format]) -> bool:
    """Whether int8 as a format of a node does what its output in int8 does.

    Not so of a product, and of what only passes values on.
    """
    return maker.op != "Product" and INT8 in formats


def rounding_divergence(value: str, graph: Graph) -> float:
    """The divergence that a float value in int8 alone causes, as calibration measured it."""
    if graph.calibration is None:
        return 0.0
    maker = graph.producer.get(value)
    formats = graph.calibration.divergence.get(maker.name, {}) if maker is not None else {}
    if maker is not None and given_by_format(maker, formats):
        return formats[INT8]
    return graph.calibration.rounding.get(value, 0.0)


def rounded_constants(node: Node, graph: Graph) -> list[str]:
    """Lists the constants of a node that an integer engine takes as int8.

    Those of a function go into its table, those that are moved have the output's format.
    """
    if node.op not in ("Add", "Mul"):
        return []
    return [name for name in node.inputs if name in graph.constants]


def on_rounded_constants(node: Node, graph: Graph, values: Mapping[str, Array]) -> Array:
    """Runs a node on `values` [samples, ...] of its inputs, with its constants in int8.

    Gives its first output; the constants have formats over their range.
    """
    constants: dict[str, Array] = {}
    for name in rounded_constants(node, graph):
        reals = np.asarray(graph.constants[name], np.float32)
        quant = numerics.asymmetric(8, float(reals.min(initial=0)), float(reals.max(initial=0)))
        constants[name] = numerics.dequantize(numerics.quantize(reals, quant), quant)
    feed = {name: values[name] for name in node.inputs if name and name not in constants}
    types = {name: graph.types[name] for name in (*node.inputs, *node.outputs) if name}
    alone = Graph(
        name=node.name,
        inputs=tuple(feed),
        outputs=node.outputs[:1],
        nodes=(node,),
        types=types,
        constants=constants,
    )
    return Interpreter(alone).run_all(feed)[node.outputs[0]]
