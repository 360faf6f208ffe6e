"""Walks the graphs, nodes and names inside ONNX models, graphs, nodes and functions."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def graphs_of(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    """Returns the graphs that an attribute holds."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def subgraphs(proto: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Returns the graphs among a node's attributes."""
    return [graph for attribute in proto.attribute for graph in graphs_of(attribute)]


def all_graphs(*graphs: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Walks graphs and the graphs inside them."""
    pending = [*graphs][::-1]
    while pending:
        found = pending.pop()
        yield found
        for node in found.node:
            pending.extend(subgraphs(node))


def graphs_inside(function: onnx.FunctionProto) -> Iterator[onnx.GraphProto]:
    """Walks the graphs inside a function: those of its nodes and of its attributes' defaults."""
    attributes = [*(a for node in function.node for a in node.attribute), *function.attribute_proto]
    yield from all_graphs(*(graph for attribute in attributes for graph in graphs_of(attribute)))


def nodes_inside(function: onnx.FunctionProto) -> list[onnx.NodeProto]:
    """Lists the nodes of a function and of the graphs inside it."""
    return [*function.node, *(node for graph in graphs_inside(function) for node in graph.node)]


def every_graph(model: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """Walks the graph of a model, then all others: inside of it and of its functions."""
    yield from all_graphs(model.graph)
    for function in model.functions:
        yield from graphs_inside(function)


def every_node(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Walks the nodes of a model, in all its graphs and functions."""
    for graph in every_graph(model):
        yield from graph.node
    for function in model.functions:
        yield from function.node


def captures(proto: onnx.NodeProto) -> list[str]:
    """Finds the names of the outer graph that a node's sub-graphs read, in order of first use."""
    found: dict[str, None] = {}
    for graph in subgraphs(proto):
        own = {value.name for value in graph.input}
        own.update(tensor.name for tensor in graph.initializer)
        own.update(tensor.values.name for tensor in graph.sparse_initializer)
        for node in graph.node:
            names = [*node.input, *captures(node)]
            found.update(dict.fromkeys(name for name in names if name and name not in own))
            own.update(node.output)
        outputs = [value.name for value in graph.output]
        found.update(dict.fromkeys(name for name in outputs if name not in own))
    return list(found)


def defined_in(graph: onnx.GraphProto) -> list[str]:
    """Lists the values that a graph defines: inputs, initializers and what its nodes make."""
    names = [value.name for value in graph.input]
    names += [tensor.name for tensor in graph.initializer]
    names += [sparse.values.name for sparse in graph.sparse_initializer]
    names += [name for node in graph.node for name in node.output]
    return [name for name in dict.fromkeys(names) if name]


def value_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Walks every name of a value in a graph and the graphs inside it."""
    for inner in all_graphs(graph):
        yield from defined_in(inner)
        yield from (value.name for value in inner.output)
        for node in inner.node:
            yield from (name for name in node.input if name)
