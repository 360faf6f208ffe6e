"""Rounds a product's weights to an engine's numbers, each to the nearest: what needs no samples."""

from __future__ import annotations

import numpy as np

from compiler.engines import bit_slicing, numerics
from compiler.engines.numerics import Floats
from compiler.ir.graph import Graph, Node, Quant
from compiler.target.chip import Analog
from passes.fitting.converter_range import covering_gain
from passes.fitting.fit import column_blocks, input_slicing, integer_bias, usable_scale
from passes.fitting.matrix import product_matrix
from passes.fitting.rounding import best_scale, nearest, on_grid
from passes.fitting.weights import AnalogWeights, IntegerWeights

PROBES = 128  # made-up inputs whose sums the converters reach: some 2.5 standard deviations


def round_integer(node: Node, graph: Graph, inputs: Quant) -> IntegerWeights:
    """Rounds a product to int8, with a scale a column that reaches its largest weight."""
    groups, rows, columns = graph.types[node.inputs[1]].sizes
    weights = np.empty((groups, rows, columns), np.int8)
    scale = np.empty((groups, columns), np.float32)
    bias = np.empty((groups, columns), np.int32)
    matrix = product_matrix(node, graph)
    real = matrix.bias(graph)
    for block in column_blocks(groups * rows, columns, alone=True):
        original = matrix.weights(graph, block)
        given = on_grid(original, 127)
        step = np.abs(original).max(axis=1, initial=0) / 127 if given is None else given[1]
        wide = usable_scale(step, real[:, block], inputs)
        weights[..., block] = nearest(original, wide[:, None, :], 127)
        scale[:, block] = wide
        bias[:, block] = integer_bias(real[:, block], wide, inputs)
    return IntegerWeights(weights, scale.reshape(-1), bias.reshape(-1))


def round_analog(
    node: Node, graph: Graph, source: Quant, digits: int, engine: Analog
) -> AnalogWeights:
    """Rounds a product to the digits of an array's cells.

    Its inputs' format reaches as far as `source`, that of the integers it is given. Its converters
    reach the sums of inputs that are spread evenly over that range, seeded.
    """
    matrix = product_matrix(node, graph)
    original = matrix.weights(graph)
    levels = engine.cell_levels.value
    reach = min(bit_slicing.weight_reach(levels, digits), 127)
    found = on_grid(original, reach)
    if found is None:
        step = best_scale(original, np.ones((len(original), original.shape[1], 1)), reach)
        found = nearest(original, step[:, None, :], reach).astype(np.int8), step
    integers, step = found
    cells = bit_slicing.weight_digits(integers, levels, digits)
    low, high = _reals_of(source)
    inputs = numerics.symmetric(engine.input_bits.value, max(-low, high))
    probes = np.random.default_rng(0).uniform(low, high, (len(cells[0]), PROBES, cells.shape[2]))
    steps = numerics.quantize(probes.astype(np.float32), inputs).astype(np.float32)
    gain = covering_gain(steps, cells, input_slicing(engine, digits), engine)
    factors = np.asarray(bit_slicing.digit_factors(levels, digits), np.float64)
    return AnalogWeights(
        inputs=inputs,
        digits=cells,
        gain=gain.astype(np.float32),
        digit_weight=(factors[None, None, :, None] / gain).astype(np.float32),
        multiplier=_flat(step * inputs.scale[0]),
        bias=_flat(matrix.bias(graph)),
    )


def _reals_of(quant: Quant) -> tuple[float, float]:
    """The least and the largest number of a format."""
    ends = numerics.dequantize(np.array([quant.lowest, quant.highest], quant.storage), quant)
    return float(ends[0]), float(ends[1])


def _flat(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Floats:
    return values.reshape(-1).astype(np.float32)
