"""Renames the values of ONNX nodes, and of the graphs inside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx

from compiler.frontend.nesting import defined_in, subgraphs


def rename_values(
    node: onnx.NodeProto, names: Mapping[str, str], define: Callable[[str], str] = str
) -> None:
    """Renames what a node reads and makes, and what the graphs inside it read of the outside.

    A value that such a graph defines itself, also where it hides an outer one, gets the name that
    `define` makes of its own.
    """
    node.input[:] = [names.get(name, name) for name in node.input]
    node.output[:] = [names.get(name, name) for name in node.output]
    for graph in subgraphs(node):
        rename_in_graph(graph, names, define)


def rename_in_graph(
    graph: onnx.GraphProto, names: Mapping[str, str], define: Callable[[str], str] = str
) -> None:
    """Renames the values of a graph inside a node, as `rename_values` does."""
    inner = {**names, **{name: define(name) for name in defined_in(graph)}}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        value.name = inner.get(value.name, value.name)
    for tensor in graph.initializer:
        tensor.name = inner.get(tensor.name, tensor.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = inner.get(sparse.values.name, sparse.values.name)
    del graph.quantization_annotation[:]  # nothing reads it
    for node in graph.node:
        rename_values(node, inner, define)
