"""Draws the cleaned graph of a model, each node coloured by an engine that could take it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from compiler.drawing.dot import dot
from compiler.drawing.picture import Arc, Box, Group, Picture
from compiler.drawing.svg import svg
from compiler.engines.legality import why_not
from compiler.errors import CompileError, UsageError, one_line
from compiler.figures import clipped, count
from compiler.flow.inspect_model import type_words
from compiler.ir import views
from compiler.ir.graph import Graph, Node
from compiler.ir.ops import macs
from compiler.target.chip import Target

if TYPE_CHECKING:
    import networkx

FORMS = {".svg": svg, ".dot": dot}
# Fills on which black words can be read and which the colour-blind can tell apart (Okabe and Ito).
FILLS = ("#e69f00", "#56b4e9", "#f0e442", "#cc79a7", "#009e73")
HOST_FILL = "#dddddd"
KINDS = ("analog", "digital", "host")
WORDS = 34  # letters of a line in a box
MOST_VALUES = 3


def require_drawable(path: Path) -> None:
    """Raises UsageError (U004) for a name whose ending is that of no drawing."""
    if path.suffix not in FORMS:
        raise UsageError(
            f"--graph {one_line(str(path))!r}: wanted is a name that ends in "
            f"{' or '.join(FORMS)}, which says what is drawn"
        )


def draw_model(graph: Graph, name: str, chip: Target | None, path: Path) -> bytes:
    """Draws a cleaned graph in the form that the ending of `path` asks for.

    Each box says the operation with the shape of its weights, the node's name and the type of its
    output; with a chip also the engines that could take it, the first of which colours the box.
    There is no limit to the number of nodes but that of the import.
    """
    require_drawable(path)
    return FORMS[path.suffix](picture(graph, name, chip)).encode("utf-8", "backslashreplace")


def picture(graph: Graph, name: str, chip: Target | None) -> Picture:
    """The picture of a graph: its inputs, nodes and outputs as boxes."""
    problem, takers = "", dict[str, tuple[str, ...]]()
    if chip is not None:
        try:
            takers = engines_by_node(graph, chip)
        except CompileError as error:
            problem = f"{chip.name}: {error.line()}"
    view = graph.to_networkx()
    for node, names in takers.items():
        view.nodes[node]["engine"] = names[0] if names else ""
    bold = set(views.bottlenecks(view))
    caption = [
        f"{count(len(graph.nodes), 'node')}{_bold_words(len(bold))}",
        *_narrowest(view),
        *([problem] if problem else []),
    ]
    groups: tuple[Group, ...] = ()
    if chip is not None and not problem:
        caption.append(f"the first engine of {chip.name} that could take a node colours it:")
        groups = _groups(view, chip)
    boxes, arcs = _boxes(graph, view, bold, takers)
    return Picture(
        title=name, caption=tuple(caption), boxes=tuple(boxes), arcs=tuple(arcs), groups=groups
    )


def engines_by_node(graph: Graph, chip: Target) -> dict[str, tuple[str, ...]]:
    """The engines that could take each node of a cleaned graph: analog, digital, then the host.

    They are those of its main work in the form in which nodes are placed: of the nodes that came
    of it the one with the most multiply-accumulates, or the one it was fused into.
    """
    from passes.base import run_passes
    from passes.pipeline import matrix_passes

    placed = run_passes(graph, matrix_passes(), chip)
    units = chip.chip.engines
    names = sorted(units, key=lambda name: KINDS.index(units[name].kind))
    main: dict[str, tuple[tuple[bool, int], Node]] = {}
    for node in placed:
        for place, origin in enumerate(node.origin or (node.name,)):
            rank = (place == 0, macs(node, placed))
            if origin not in main or rank > main[origin][0]:
                main[origin] = (rank, node)
    found = {}
    for node in graph:
        _, work = main.get((node.origin or (node.name,))[0], (None, None))
        takers = () if work is None else [n for n in names if not why_not(n, work, placed, chip)]
        found[node.name] = tuple(takers)
    return found


def _groups(view: networkx.DiGraph[str], chip: Target) -> tuple[Group, ...]:
    """The engines as colours, each with its nodes and the convex regions they form."""
    regions = [view.nodes[region[0]]["engine"] for region in views.regions(view)]
    nodes = [view.nodes[node]["engine"] for node in view]
    units = chip.chip.engines
    fills = iter(FILLS * len(units))
    groups = []
    for name in sorted(units, key=lambda name: KINDS.index(units[name].kind)):
        fill = HOST_FILL if units[name].kind == "host" else next(fills)
        taken = f"{count(nodes.count(name), 'node')} in {count(regions.count(name), 'region')}"
        groups.append(Group(name, fill, f"{name}: {taken}"))
    return tuple(groups)


def _bold_words(number: int) -> str:
    return f"; bold: the {number:,} that every path runs through" if number else ""


def _narrowest(view: networkx.DiGraph[str]) -> list[str]:
    """Where the graph parts with the fewest bytes between, in words; nothing where it cannot."""
    first = [node for node in view if not view.in_degree(node)]
    last = [node for node in view if not view.out_degree(node)]
    cut = views.narrowest_cut(view, first, last)
    if cut is None or not cut.values:
        return []
    shown = [clipped(value, WORDS) for value in cut.values[:MOST_VALUES]]
    more = f" and {len(cut.values) - MOST_VALUES} more" if len(cut.values) > MOST_VALUES else ""
    return [f"narrowest cut: {count(cut.size_bytes, 'byte')} in {', '.join(shown)}{more}"]


def _boxes(
    graph: Graph,
    view: networkx.DiGraph[str],
    bold: set[str],
    takers: Mapping[str, tuple[str, ...]],
) -> tuple[list[Box], list[Arc]]:
    """Inputs, nodes and outputs as boxes in this order, and arcs for the values between them."""
    chain_of = {node: i for i, chain in enumerate(views.chains(view)) for node in chain}
    region_of = {node: i for i, region in enumerate(views.regions(view)) for node in region}
    boxes = [_port("input", name, graph) for name in graph.inputs]
    maker = {name: position for position, name in enumerate(graph.inputs)}
    passed: dict[tuple[int, int], list[str]] = {}
    for node in graph:
        here = len(boxes)
        engines = takers.get(node.name)
        boxes.append(
            Box(
                heading=_heading(node, graph),
                lines=(
                    clipped(node.name, WORDS),
                    clipped(_output_words(node, graph), WORDS),
                    *([clipped(" or ".join(engines) or "-", WORDS)] if engines is not None else []),
                ),
                hint=node.name,
                group=view.nodes[node.name]["engine"],
                is_bottleneck=node.name in bold,
                chain=chain_of[node.name],
                region=region_of[node.name] if engines else -1,
            )
        )
        for value in dict.fromkeys(node.inputs):
            if value in maker:
                passed.setdefault((maker[value], here), []).append(value)
        maker.update((value, here) for value in node.outputs if value)
    for name in graph.outputs:
        if name in maker:
            passed.setdefault((maker[name], len(boxes)), []).append(name)
        boxes.append(_port("output", name, graph))
    arcs = [
        Arc(source, target, "; ".join(f"{v}: {_type_of(v, graph)}" for v in values[:MOST_VALUES]))
        for (source, target), values in passed.items()
    ]
    return boxes, arcs


def _port(heading: str, name: str, graph: Graph) -> Box:
    lines = (clipped(name, WORDS), clipped(_type_of(name, graph), WORDS))
    return Box(heading, lines, hint=name, is_port=True)


def _heading(node: Node, graph: Graph) -> str:
    """The operation and the shape of its largest constant of two or more axes."""
    constants = [data for name in node.inputs if (data := graph.constant(name)) is not None]
    weights = max((data for data in constants if data.ndim > 1), key=lambda d: d.size, default=None)
    shape = "" if weights is None else f" {'x'.join(map(str, weights.shape))}"
    return f"{clipped(node.op, WORDS)}{shape}"


def _output_words(node: Node, graph: Graph) -> str:
    """The type of the first output, and how many others there are."""
    made = [name for name in node.outputs if name]
    if not made:
        return "no output"
    more = f" and {len(made) - 1} more" if len(made) > 1 else ""
    return f"{_type_of(made[0], graph)}{more}"


def _type_of(value: str, graph: Graph) -> str:
    return type_words(graph.types[value]) if value in graph.types else "?"
