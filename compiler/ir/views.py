"""Algorithms on the networkx view of a graph: chains, regions, dominators and narrow cuts.

They take what `Graph.to_networkx` makes, or any directed acyclic graph with the same attributes:
`engine` on vertices, `values` (name to bytes) on arcs. Answers follow the view's own order of
vertices, so equal graphs give equal answers.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import networkx

ENTRY, EXIT = ("entry",), ("exit",)  # vertices of no view, whose names are texts


def chains(view: networkx.DiGraph[str]) -> list[tuple[str, ...]]:
    """Divides the vertices into maximal chains on one engine.

    Inside a chain each vertex is the only reader of the one before it and reads from it alone.
    """
    following = {
        vertex: reader
        for vertex in view
        for reader in view.succ[vertex]
        if view.out_degree(vertex) == view.in_degree(reader) == 1
        and view.nodes[vertex]["engine"] == view.nodes[reader]["engine"]
    }
    inner = set(following.values())
    found = []
    for first in view:
        if first in inner:
            continue
        chain = [first]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        found.append(tuple(chain))
    return found


def regions(view: networkx.DiGraph[str]) -> list[tuple[str, ...]]:
    """Divides the vertices into connected convex regions on one engine.

    Convex: no path leaves a region and comes back, so each region can run as one piece, and the
    regions without a cycle among them. A vertex's level is the largest number of changes of engine
    on a path to it. It never falls along an arc and rises where the engine changes; so connected
    vertices of one engine and level are such a region.
    """
    import networkx

    level: dict[str, int] = {}
    alike: networkx.Graph[str] = networkx.Graph()
    alike.add_nodes_from(view)
    for vertex in networkx.topological_sort(view):
        engine = view.nodes[vertex]["engine"]
        makers = {maker: view.nodes[maker]["engine"] != engine for maker in view.pred[vertex]}
        level[vertex] = max((level[maker] + other for maker, other in makers.items()), default=0)
        alike.add_edges_from(
            (maker, vertex)
            for maker, other in makers.items()
            if not other and level[maker] == level[vertex]
        )
    position = {vertex: place for place, vertex in enumerate(view)}
    parts = [
        sorted(part, key=position.__getitem__) for part in networkx.connected_components(alike)
    ]
    return [tuple(part) for part in parts]


def dominators(view: networkx.DiGraph[str]) -> dict[str, str | None]:
    """Finds for each vertex the nearest one before it that all paths to it run through.

    None where there is no such vertex. Paths start at the vertices that read from no other.
    """
    return _dominators(view)


def post_dominators(view: networkx.DiGraph[str]) -> dict[str, str | None]:
    """Finds for each vertex the nearest one behind it that all paths from it run through.

    None where there is no such vertex. Paths end at the vertices that no other reads from.
    """
    return _dominators(view.reverse(copy=False))


def bottlenecks(view: networkx.DiGraph[str]) -> list[str]:
    """Lists the vertices that every path from the first vertices to the last runs through."""
    above = _immediate(view)
    found: list[str] = []
    here = above.get(EXIT)
    while isinstance(here, str):
        found.append(here)
        here = above[here]
    return found[::-1]


def _dominators(view: networkx.DiGraph[str]) -> dict[str, str | None]:
    found = _immediate(view)
    return {vertex: above if isinstance(above := found[vertex], str) else None for vertex in view}


def _immediate(view: networkx.DiGraph[str]) -> dict[object, object]:
    """The immediate dominators of all vertices and of EXIT, seen from ENTRY."""
    import networkx

    between: networkx.DiGraph[object] = networkx.DiGraph()
    between.add_node(ENTRY)
    between.add_nodes_from(view)
    between.add_edges_from(view.edges)
    between.add_edges_from((ENTRY, vertex) for vertex in view if not view.in_degree(vertex))
    between.add_edges_from((vertex, EXIT) for vertex in view if not view.out_degree(vertex))
    found: dict[object, object] = networkx.immediate_dominators(between, ENTRY)
    return found


@dataclass(frozen=True)
class Cut:
    """Values whose removal parts a graph in two, and their bytes together."""

    values: tuple[str, ...]
    size_bytes: int


def narrowest_cut(
    view: networkx.DiGraph[str], above: Collection[str], below: Collection[str]
) -> Cut | None:
    """Finds the fewest bytes of values that cross a line with `above` before and `below` behind it.

    No value crosses the line backwards, so the part before it can run first. A value with several
    readers behind the line counts once. None where no line stands between the two (they meet, or a
    vertex of `below` leads to one of `above`), or only such as values of unknown size cross.
    """
    import networkx

    flow: networkx.DiGraph[object] = networkx.DiGraph()
    flow.add_nodes_from((ENTRY, EXIT))
    # An arc without a capacity is never cut. Those from reader to maker keep the line in order.
    for maker, reader in view.edges:
        flow.add_edge(reader, maker)
        for value, size_bytes in view.edges[maker, reader]["values"].items():
            known = {} if size_bytes is None else {"capacity": size_bytes}
            flow.add_edge(maker, ("value", value), **known)
            flow.add_edge(("value", value), reader)
    flow.add_edges_from((ENTRY, vertex) for vertex in above)
    flow.add_edges_from((vertex, EXIT) for vertex in below)
    try:
        _, (before, _) = networkx.minimum_cut(flow, ENTRY, EXIT)
    except networkx.NetworkXUnbounded:
        return None
    crossed: dict[str, int] = {}
    for maker, reader in view.edges:
        if maker in before and reader not in before:
            crossed.update(view.edges[maker, reader]["values"])
    return Cut(tuple(crossed), sum(crossed.values()))
