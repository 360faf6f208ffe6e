"""Places the boxes of a directed acyclic graph in layers, so that every arc leads down.

The steps are those of Sugiyama, Tagawa and Toda (1981): layers by the longest path, bends where an
arc passes a layer, order within layers by the mean position of neighbours. Positions then follow
by least squares. All of it is linear in boxes and arcs but for the sorting: 20,000 boxes take
seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SWEEPS = 8  # down and up in turn
# Arcs that pass more layers than this many bends in all allow run straight, behind the boxes.
BENDS_PER_BOX = 4
BENDS_OF_ANY = 1000
BEND_WIDTH = 8.0
STRAIGHTNESS = 8.0  # how much more it counts that a long arc is straight than that a box is centred

Point = tuple[float, float]


@dataclass(frozen=True)
class Layout:
    """The centres of the boxes and the bends of each arc from top to bottom, in points.

    All coordinates are from the top left corner of an area of `width` and `height`.
    """

    centres: tuple[Point, ...]
    bends: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def place(
    widths: Sequence[float],
    arcs: Sequence[tuple[int, int]],
    *,
    height: float,
    between_columns: float,
    between_layers: float,
) -> Layout:
    """Places boxes of given widths and one height; an arc names its source and its target."""
    levels = _levels(len(widths), arcs)
    level_of, paths = _with_bends(levels, arcs)
    wide = [*widths, *[BEND_WIDTH] * (len(level_of) - len(widths))]
    above: list[list[int]] = [[] for _ in level_of]
    below: list[list[int]] = [[] for _ in level_of]
    for (source, target), path in zip(arcs, paths, strict=True):
        if path or levels[target] == levels[source] + 1:
            for one, other in zip((source, *path), (*path, target), strict=True):
                below[one].append(other)
                above[other].append(one)
    layers = _ordered(_by_level(level_of), above, below)
    x = _columns(layers, above, below, wide, len(widths), between_columns)
    left = min((x[v] - wide[v] / 2 for v in range(len(wide))), default=0.0)
    right = max((x[v] + wide[v] / 2 for v in range(len(wide))), default=0.0)
    points = [
        (across - left, level * (height + between_layers) + height / 2)
        for across, level in zip(x, level_of, strict=True)
    ]
    return Layout(
        centres=tuple(points[: len(widths)]),
        bends=tuple(tuple(points[bend] for bend in path) for path in paths),
        width=right - left,
        height=max(0.0, len(layers) * (height + between_layers) - between_layers),
    )


def _levels(count: int, arcs: Iterable[tuple[int, int]]) -> list[int]:
    """The layer of each box: below all it is reached from; first boxes just above their targets."""
    import networkx

    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(arcs)
    levels = [0] * count
    for level, boxes in enumerate(networkx.topological_generations(graph)):
        for box in boxes:
            levels[box] = level
    for box in range(count):
        if not graph.in_degree(box) and graph.out_degree(box):
            levels[box] = min(levels[target] for target in graph.succ[box]) - 1
    return levels


def _with_bends(
    levels: Sequence[int], arcs: Sequence[tuple[int, int]]
) -> tuple[list[int], list[tuple[int, ...]]]:
    """The layers of boxes and bends, and the bends of each arc, numbered on from the boxes."""
    level_of = list(levels)
    allowed = BENDS_PER_BOX * len(levels) + BENDS_OF_ANY
    paths: list[tuple[int, ...]] = []
    for source, target in arcs:
        passed = range(levels[source] + 1, levels[target])
        if len(passed) > allowed:
            passed = range(0)
        allowed -= len(passed)
        paths.append(tuple(range(len(level_of), len(level_of) + len(passed))))
        level_of.extend(passed)
    return level_of, paths


def _by_level(level_of: Sequence[int]) -> list[list[int]]:
    layers: list[list[int]] = [[] for _ in range(max(level_of, default=-1) + 1)]
    for vertex, level in enumerate(level_of):
        layers[level].append(vertex)
    return layers


def _ordered(
    layers: list[list[int]], above: Sequence[Sequence[int]], below: Sequence[Sequence[int]]
) -> list[list[int]]:
    """Each layer in the order of the mean positions of the neighbours, so that few arcs cross."""
    position = {vertex: float(place) for layer in layers for place, vertex in enumerate(layer)}
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else reversed(layers):
            wanted = {vertex: _mean(neighbours[vertex], position, vertex) for vertex in layer}
            layer.sort(key=wanted.__getitem__)
            position.update((vertex, float(place)) for place, vertex in enumerate(layer))
    return layers


def _mean(neighbours: Sequence[int], position: dict[int, float], vertex: int) -> float:
    """The mean position of a vertex's neighbours; its own where it has none."""
    if not neighbours:
        return position[vertex]
    return sum(position[other] for other in neighbours) / len(neighbours)


def _columns(
    layers: Sequence[Sequence[int]],
    above: Sequence[Sequence[int]],
    below: Sequence[Sequence[int]],
    widths: Sequence[float],
    boxes: int,
    between: float,
) -> list[float]:
    """The horizontal centre of each vertex: near its neighbours, in order and without overlap.

    A vertex alone in its layer lies in the middle (0), or a long row of blocks with a side branch
    each would drift to the other side.
    """
    x = [0.0] * len(widths)
    for sweep in range(SWEEPS + 1):  # the last one goes down
        down = sweep % 2 == 0
        neighbours = above if down else below
        for layer in layers if down else reversed(layers):
            wanted, weights = [], []
            for vertex in layer:
                near = neighbours[vertex] or [vertex]
                alone = len(layer) == 1
                wanted.append(0.0 if alone else sum(x[other] for other in near) / len(near))
                straight = vertex >= boxes or (len(near) == 1 and near[0] >= boxes)
                weights.append(STRAIGHTNESS if straight else 1.0)
            for vertex, centre in zip(
                layer, _separated(wanted, weights, [widths[v] for v in layer], between), strict=True
            ):
                x[vertex] = centre
    return x


def _separated(
    wanted: Sequence[float], weights: Sequence[float], widths: Sequence[float], between: float
) -> list[float]:
    """The centres nearest to those wanted, by weighted least squares, of boxes in a row.

    With each box's distance from the first taken away, the centres must only not fall: neighbours
    that would are pooled at their mean.
    """
    offsets = [0.0] * len(wanted)
    for i in range(1, len(wanted)):
        offsets[i] = offsets[i - 1] + (widths[i - 1] + widths[i]) / 2 + between
    pools: list[tuple[float, float, int]] = []  # mean, weight, boxes
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, total, count = want - offset, weight, 1
        while pools and pools[-1][0] > mean:
            other, other_weight, others = pools.pop()
            mean = (mean * total + other * other_weight) / (total + other_weight)
            total, count = total + other_weight, count + others
        pools.append((mean, total, count))
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(means, offsets, strict=True)]
