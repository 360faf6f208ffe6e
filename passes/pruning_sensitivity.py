"""How much the network's output suffers from an error inside: what makes the errors of different layers comparable.

An error at a layer counts relative to that layer's output. A layer before a pool forgives more than the classifier does, so each curve is scaled
until it tells the relative error of the network's outputs: part of the space's channels is taken from its readers (refitted each by itself)
and the network is run on samples that were kept apart from those of the fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compiler.interpreter import Interpreter
from compiler.ir import Array, Graph
from passes.pruning_matrix import Reals
from passes.pruning_refit import rewritten
from passes.pruning_saliency import Curve, Reader

MAX_SAMPLES = 32  # run for each space
SATURATED = 0.999  # an output error above this counts as this
HELD_OUT = 4  # every so many samples one is kept apart from the fit, if there are so many


def split(samples: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """The samples to fit on, and those kept apart; both are all when there are too few to part."""
    count = min(len(data) for data in samples.values())
    if count < 2 * HELD_OUT:
        return dict(samples), dict(samples)
    apart = np.arange(count) % HELD_OUT == HELD_OUT - 1
    fitted = {name: data[~apart] for name, data in samples.items()}
    return fitted, {name: data[apart][:MAX_SAMPLES] for name, data in samples.items()}


def scaled_curves(
    graph: Graph,
    curves: Sequence[Curve],
    readers: Sequence[Reader],
    samples: Mapping[str, Array],
) -> tuple[Curve, ...]:
    """The curves in units of the network's relative output error, as measured where a part of each space is gone."""
    outputs = scores(graph)
    wanted = Interpreter(graph, outputs=outputs).run_all(samples)
    result = []
    for curve in curves:
        factors = {}
        for gone, weights in curve.probes.items():
            found = Interpreter(
                _probed(graph, readers, weights), outputs=outputs
            ).run_all(samples)
            damage = max(relative_error(found[name], wanted[name]) for name in outputs)
            if curve.error[gone] > 0 and np.isfinite(damage):
                factors[gone] = damage / (1 - min(damage, SATURATED)) / curve.error[gone]
        if factors:
            places = np.arange(len(curve.error))
            factor = np.interp(places, list(factors), list(factors.values()))
            error = np.maximum.accumulate(curve.error * factor)
            curve = replace(curve, error=error)
        result.append(curve)
    return tuple(result)


def _probed(graph: Graph, readers: Sequence[Reader], weights: Mapping[str, Reals]) -> Graph:
    """The graph with other weights in some layers, the means of their outputs kept."""
    for reader in readers:
        found = weights.get(reader.layer.node)
        if found is not None:
            shift = (reader.weights - found) @ reader.mean
            graph = rewritten(reader.matrix, graph, found[None], shift)
    return graph


def scores(graph: Graph) -> tuple[str, ...]:
    """The graph's floating-point outputs, a Softmax replaced by what it reads: probabilities saturate, scores do not."""
    names = []
    for name in graph.outputs:
        maker = graph.producer.get(name)
        if maker is not None and maker.op == "Softmax":
            name = maker.inputs[0]
        if maker is not None:
            names.append(name)
    return tuple(dict.fromkeys(names))


def relative_error(found: Array, wanted: Array) -> float:
    """The squared error relative to the squared deviation of `wanted` from its mean over samples."""
    reference: Reals = wanted.astype(np.float64)
    error = np.square(found.astype(np.float64) - reference).sum()
    power = np.square(reference - reference.mean(axis=0)).sum()
    return float(error / max(power, 1e-30))
