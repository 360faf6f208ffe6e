"""How far a network's outputs are from those of the float network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.ir.graph import Array, Graph, Node

MEASURED = ("float32", "float64", "float16", "int8", "uint8")
BEYOND_MEASURE = 1e30  # the divergence of what breaks the network


def scores_of(output: str, graph: Graph) -> Node | None:
    """The Softmax or LogSoftmax an output comes from, if it does."""
    made = graph.producer.get(output)
    if made is not None and made.op in ("QuantizeLinear", "Cast"):
        made = graph.producer.get(made.inputs[0])
    return made if made is not None and made.op in ("Softmax", "LogSoftmax") else None


def output_divergence(
    graph: Graph, wanted: Mapping[str, Array], found: Mapping[str, Array]
) -> float:
    """Measures how far results are from the float network's, the most over the outputs.

    See `Calibrate`.
    """
    worst = 0.0
    for name, given in found.items():
        kind = graph.types[name]
        if kind.dtype not in MEASURED:
            continue
        reals = [
            numerics.reals(values, kind.quant).astype(np.float64)
            for values in (wanted[name], given)
        ]
        scores = scores_of(name, graph)
        logs = scores is not None and scores.op == "LogSoftmax"
        with np.errstate(invalid="ignore", over="ignore"):  # infinities in the outputs
            measure = divergence(reals[0], reals[1], scores is not None, logs)
        worst = max(worst, measure if np.isfinite(measure) else BEYOND_MEASURE)
    return float(worst)


def divergence(
    wanted: npt.NDArray[np.float64],
    found: npt.NDArray[np.float64],
    scores: bool,
    logs: bool = False,
) -> float:
    """Measures KL(wanted || found) in nats over the last axis, of `scores`.

    Of other values the squared error relative to the variance of what is wanted.
    """
    if scores:
        p, q = (np.exp(a) if logs else a for a in (wanted, found))
        p, q = (np.clip(a, 1e-7, None) for a in (p, q))
        p, q = (a / a.sum(axis=-1, keepdims=True) for a in (p, q))
        return float((p * np.log(p / q)).sum(axis=-1).mean())
    power = float(((wanted - wanted.mean()) ** 2).mean())
    return float(((wanted - found) ** 2).mean()) / max(power, 1e-12)
