"""Sets how many samples calibration uses, and the errors of which nodes run to the outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from compiler.ir.graph import Graph
from compiler.ir.ops import macs

WORK = 40e9  # multiply-accumulates spent on measuring divergences: fewer samples for larger models
FEWEST, MOST = 4, 128
MOST_WORK = 1e12  # multiply-accumulates of running errors to the outputs: a minute of a core
FETCH = 12  # multiply-accumulates that take as long as bringing in one weight
MOST_RUNS = 50_000  # of nodes, however small: seconds


@dataclass(frozen=True)
class MeasurementBudget:
    """What is spent on measuring divergences.

    `samples` of the inputs are used. Of the errors that are measured every `stride`-th is run to
    the outputs: all where it is 1.
    """

    samples: int
    stride: int


def measurement_budget(
    graph: Graph, formats: Sequence[Sequence[object]], further_macs: int, given: int
) -> MeasurementBudget:
    """What measuring the `formats` of each node may take.

    `further_macs` are those that a sample takes in all formats beyond a product for each; `given`
    is how many samples there are.
    """
    network = max(1, sum(macs(node, graph) for node in graph.nodes))
    runs = 0.5 * sum(map(len, formats))  # every format runs through half of it on average
    fitting = int(WORK / (network * max(1.0, runs) + further_macs))
    samples = min(given, max(FEWEST, min(MOST, fitting)))
    weights = sum(graph.types[n.inputs[1]].elements for n in graph.nodes if n.op == "Product")
    work = runs * (network + FETCH * weights) * samples
    stride = max(1, ceil(work / MOST_WORK), ceil(runs * len(graph.nodes) / MOST_RUNS))
    return MeasurementBudget(samples, stride)
