"""Views of a graph for algorithms and eyes: networkx, regions of an engine, the critical path, cuts between engines, DOT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from compiler.errors import one_line
from compiler.ir import Graph, Node, TensorType

if TYPE_CHECKING:
    import networkx

# Fill colours of engines in the order in which a graph first uses them; nodes without an engine stay white.
COLOURS = ("#a6cee3", "#fdbf6f", "#b2df8a", "#cab2d6", "#fb9a99", "#ffff99", "#e0e0e0", "#80cdc1")


@dataclass(frozen=True)
class Region:
    """Nodes of one engine (or of none: "") that hang together without leaving it, in execution order."""

    engine: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """A value that one engine makes and another reads."""

    value: str
    maker: str
    reader: str


def digraph(graph: Graph) -> networkx.DiGraph:
    """The nodes by name, with the Node as attribute `node`; an edge holds the `values` that flow along it."""
    import networkx

    view = networkx.DiGraph(name=graph.name)
    for node in graph:
        view.add_node(node.name, node=node)
    for node in graph:
        for value in dict.fromkeys(node.inputs):
            maker = graph.producer.get(value)
            if maker is not None:
                known = view.get_edge_data(maker.name, node.name, {"values": ()})["values"]
                view.add_edge(maker.name, node.name, values=(*known, value))
    return view


def regions(graph: Graph) -> tuple[Region, ...]:
    """The maximal connected regions of each engine, by their first node."""
    import networkx

    view = digraph(graph)
    engines = {node.name: node.engine for node in graph}
    inside = view.to_undirected()
    inside.remove_edges_from([(a, b) for a, b in view.edges if engines[a] != engines[b]])
    order = {node.name: index for index, node in enumerate(graph)}
    parts = [sorted(part, key=order.__getitem__) for part in networkx.connected_components(inside)]
    parts.sort(key=lambda part: order[part[0]])
    return tuple(Region(engines[part[0]], tuple(part)) for part in parts)


def critical_path(graph: Graph, weight: Callable[[Node], float]) -> tuple[Node, ...]:
    """The chain of nodes whose weights add to the most (weights of 0 or more; of equals the one that is first in execution order)."""
    reach: dict[str, float] = {}
    before: dict[str, Node] = {}
    last: Node | None = None
    for node in graph:
        makers = [graph.producer[value] for value in node.inputs if value in graph.producer]
        best = max(makers, key=lambda maker: reach[maker.name], default=None)
        reach[node.name] = weight(node) + (0.0 if best is None else reach[best.name])
        if best is not None:
            before[node.name] = best
        if last is None or reach[node.name] > reach[last.name]:
            last = node
    path: list[Node] = []
    while last is not None:
        path.append(last)
        last = before.get(last.name)
    return tuple(reversed(path))


def cuts(graph: Graph) -> tuple[Cut, ...]:
    """The values that cross from one engine to another, once for each reading engine, in execution order of the readers."""
    found: dict[Cut, None] = {}
    for node in graph:
        for value in node.inputs:
            maker = graph.producer.get(value)
            if maker is not None and maker.engine != node.engine:
                found[Cut(value, maker.engine, node.engine)] = None
    return tuple(found)


def dot(graph: Graph) -> str:
    """The graph in Graphviz's language: a box a node in its engine's colour, an arrow a value, with its type."""
    engines = dict.fromkeys(node.engine for node in graph if node.engine)
    colours = {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(engines)}
    identities = {node.name: f"n{index}" for index, node in enumerate(graph)}
    lines = [
        f"digraph {_quoted(graph.name)} {{",
        '  node [shape=box, style=filled, fontname="sans"];',
    ]
    sources = {value: identities[node.name] for value, node in graph.producer.items()}
    for index, value in enumerate(graph.inputs):
        sources[value] = f"i{index}"
        lines.append(f"  i{index} [label={_quoted(value)}, shape=ellipse, fillcolor=white];")
    for node in graph:
        words = (node.name, node.op, f"@{node.engine}" if node.engine else "")
        colour = colours.get(node.engine, "white")
        label = _quoted(*(word for word in words if word))
        lines.append(f'  {identities[node.name]} [label={label}, fillcolor="{colour}"];')
    for node in graph:
        for value in node.inputs:
            if value in sources:
                lines.append(_arrow(sources[value], identities[node.name], graph.types.get(value)))
    for index, value in enumerate(graph.outputs):
        lines.append(f"  o{index} [label={_quoted(value)}, shape=ellipse, fillcolor=white];")
        if value in sources:
            lines.append(_arrow(sources[value], f"o{index}", graph.types.get(value)))
    return "\n".join([*lines, "}", ""])


def _arrow(start: str, end: str, kind: TensorType | None) -> str:
    sizes = "?"
    if kind is not None and kind.shape is not None:
        sizes = "x".join("?" if size is None else str(size) for size in kind.shape) or "scalar"
    label = f"{kind.dtype} {sizes}" if kind is not None else sizes
    return f"  {start} -> {end} [label={_quoted(label)}];"


def _quoted(*lines: str) -> str:
    """A label in quotes; nothing in a stranger's name can end it or mean a line break or a picture to Graphviz."""
    shown = (one_line(line, 80).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(shown) + '"'
