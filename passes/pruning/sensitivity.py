"""Measures how much the network's output suffers when a width shrinks.

This makes the errors of different layers comparable.

The second-order error of a layer is relative to that layer's output and to the samples it was
fitted on. A layer before a pool forgives more than the classifier does, a layer seen at few places
is fitted too closely, and what an early layer loses a later refit wins back. So for each space a
part of the classes is taken out on trial, the network is refitted as it will be, and its outputs
are compared on held-out samples: the curve is scaled to that error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compiler.execute.interpreter import Interpreter, RunError
from compiler.ir.graph import Array, Graph
from passes.fitting.layer_data import finite_samples
from passes.pruning.refit import refit
from passes.pruning.saliency import SATURATED, Curve
from passes.pruning.shrink import marks, shrink
from passes.pruning.structure import Structure

TRIALS = 18  # in all, if there are fewer spaces than this
# Shares of the classes that matter which are taken out: one, two or three trials.
SHARES = ((0.5,), (0.25, 0.6), (0.25, 0.5, 0.75))
IDLE = 1e-4  # a relative error below this says that the classes do not matter
MAX_FITTED, MAX_HELD_OUT = 192, 32  # samples of a trial
HELD_OUT_EVERY = 4  # of so many samples one is held out from the fit, if there are enough
BEHIND_SCORES = ("Softmax", "QuantizeLinear", "DequantizeLinear", "Identity")


def split(samples: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
    """Splits the samples into those to fit on and those held out.

    Both are all samples when there are too few to split.
    """
    count = min(len(data) for data in samples.values())
    if count < 2 * HELD_OUT_EVERY:
        return dict(samples), dict(samples)
    held_out = np.arange(count) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    fitted = {name: data[~held_out] for name, data in samples.items()}
    return fitted, {name: data[held_out][:MAX_HELD_OUT] for name, data in samples.items()}


def scaled_curves(
    graph: Graph,
    structure: Structure,
    curves: Sequence[Curve],
    fitted: Mapping[str, Array],
    held_out: Mapping[str, Array],
) -> tuple[Curve, ...]:
    """Scales the curves to units of the network's relative output error."""
    outputs = scores(graph)
    wanted = _run(graph, outputs, held_out)
    if not wanted:
        return tuple(curves)
    few = {name: data[:MAX_FITTED] for name, data in fitted.items()}
    shares = SHARES[max(1, min(len(SHARES), TRIALS // max(1, len(curves)))) - 1]
    result = []
    for curve in curves:
        factors: dict[int, float] = {}
        for gone in _trials(curve, shares):
            surviving = np.ones(structure.count, np.bool_)
            surviving[curve.order[:gone]] = False
            smaller = shrink(graph, structure, surviving)
            trial = refit(graph, smaller, marks(structure, surviving), few)
            found = _run(trial, outputs, held_out)
            damage = max((unexplained_variance(found[n], wanted[n]) for n in found), default=np.inf)
            if curve.error[gone] > 0 and np.isfinite(damage):
                factors[gone] = damage / (1 - min(damage, SATURATED)) / curve.error[gone]
        result.append(_scaled(curve, factors))
    return tuple(result)


def _run(graph: Graph, outputs: Sequence[str], samples: Mapping[str, Array]) -> dict[str, Array]:
    """Runs the graph on the samples; gives no outputs when it cannot run on them.

    Made-up samples may be out of its range.
    """
    try:
        return Interpreter(graph, outputs=outputs).run_all(samples) if outputs else {}
    except RunError:
        return {}


def _trials(curve: Curve, shares: Sequence[float]) -> list[int]:
    """Counts the classes that are gone in each trial: the idle ones and a share of the rest.

    One at least stays.
    """
    width = curve.space.width
    idle = int(np.searchsorted(curve.error, IDLE)) - 1
    gone = [idle + max(1, round(share * (width - idle))) for share in shares]
    return sorted({min(count, width - 1) for count in gone})


def _scaled(curve: Curve, factors: Mapping[int, float]) -> Curve:
    if not factors:
        return curve
    places = np.arange(len(curve.error))
    error = curve.error * np.interp(places, list(factors), list(factors.values()))
    return replace(curve, error=np.maximum.accumulate(error))


def scores(graph: Graph) -> tuple[str, ...]:
    """Finds the graph's numeric outputs, with what a Softmax reads in the place of its output.

    Probabilities saturate, scores do not.
    """
    names = []
    for name in graph.outputs:
        while (maker := graph.producer.get(name)) is not None and maker.op in BEHIND_SCORES:
            name = maker.inputs[0]
        if maker is not None and graph.types[name].dtype.startswith(("float", "int", "uint")):
            names.append(name)
    return tuple(dict.fromkeys(names))


def unexplained_variance(found: Array, wanted: Array) -> float:
    """Computes the squared error over the squared deviation of `wanted` from its mean over samples.

    Each element has a mean of its own, so that what is the same for all samples says nothing of a
    width. Samples on which `wanted` is no number are left out.
    """
    is_fine = finite_samples(wanted)
    reference = wanted[is_fine].astype(np.float64)
    if not reference.size:
        return 0.0
    error = np.square(found[is_fine].astype(np.float64) - reference).sum()
    power = np.square(reference - reference.mean(axis=0)).sum()
    return float(error / max(power, 1e-30))
