"""The squared error of a product's outputs on samples, before their format, with given weights."""

from __future__ import annotations

import numpy as np

from compiler.engines import numerics
from compiler.engines.numerics import Floats
from compiler.ir.graph import Node, Quant
from compiler.target.chip import Analog
from passes.fitting.fit import (
    column_blocks,
    converted_patches,
    input_slicing,
    output_bounds,
    recombined,
)
from passes.fitting.layer_data import LayerData
from passes.fitting.weights import AnalogWeights, IntegerWeights


def integer_error(weights: IntegerWeights, data: LayerData, node: Node, inputs: Quant) -> float:
    """The squared error of an integer product whose inputs have a format; columns in blocks."""
    groups, rows, columns = weights.weights.shape
    scale = weights.scale.reshape(groups, 1, columns)
    bias = weights.bias.reshape(groups, 1, columns) * (scale * np.float32(inputs.scale[0]))
    error = 0.0
    for block in column_blocks(groups * rows, columns, alone=True):
        made = np.matmul(data.patches, weights.weights[..., block].astype(np.float32))
        made = made * scale[..., block] + bias[..., block].astype(np.float32)
        error += _squared_error(made, data.targets[..., block], node)
    return error


def analog_error(weights: AnalogWeights, data: LayerData, node: Node, engine: Analog) -> float:
    """The squared error of a product on an analog array, on the patches that `fit_analog` sees."""
    groups, columns = weights.digits.shape[1], weights.digits.shape[3]
    data = converted_patches(data, input_slicing(engine, len(weights.digits)))
    steps = numerics.quantize(data.patches, weights.inputs).astype(np.float32)
    total = recombined(steps, weights.digits, weights.gain, weights.digit_weight, engine)
    multiplier, bias = (
        one.reshape(groups, 1, columns) for one in (weights.multiplier, weights.bias)
    )
    return _squared_error((total * multiplier + bias).astype(np.float32), data.targets, node)


def _squared_error(found: Floats, targets: Floats, node: Node) -> float:
    bounds = output_bounds(node)
    lost = np.clip(found, *bounds) - np.clip(targets, *bounds)
    return float(np.square(lost, dtype=np.float64).sum())
