"""Builds the nodes of engines from fitted weights: an integer product, an analog product."""

from __future__ import annotations

import numpy as np

from compiler.engines.bit_slicing import unsigned_digits
from compiler.ir.graph import Array, Node, Quant
from compiler.target.chip import Analog
from passes.fitting.fit import AnalogWeights, IntegerWeights

Named = tuple[tuple[str, Array, Quant | None], ...]


def integer_constants(fitted: IntegerWeights) -> Named:
    """The constant inputs of an integer Product, as (label, data, quantization)."""
    scales = tuple(float(s) for s in fitted.scale)
    quant = Quant(8, True, scales, (0,) * len(scales), 2 if len(scales) > 1 else None)
    return (("weights", fitted.weights, quant), ("bias", fitted.bias, None))


def analog_constants(fitted: AnalogWeights) -> Named:
    """The constant inputs of an AnalogProduct.

    The multiplier turns steps of the recombined sum into reals.
    """
    return (
        ("digits", fitted.digits, None),
        ("gain", fitted.gain, None),
        ("digit_weight", fitted.digit_weight, None),
        ("multiplier", np.asarray(fitted.multiplier, np.float32), None),
        ("bias", np.asarray(fitted.bias, np.float32), None),
    )


def analog_node(
    node: Node, inputs: tuple[str, ...], output: str, rows: int, digits: int, engine: Analog
) -> Node:
    """The AnalogProduct that stands for a Product."""
    attrs = dict(node.attrs)
    attrs.update(
        rows=rows,
        array_rows=engine.rows.value,
        converter_bits=engine.converter_bits.value,
    )
    if engine.steps > 1:
        attrs["input_bits_per_step"] = engine.bits_per_step
        attrs["unsigned_digits"] = unsigned_digits(engine.cell_levels.value, digits)
    return Node(
        node.name,
        "AnalogProduct",
        inputs,
        (output,),
        attrs,
        node.placement,
        node.origin,
        node.source,
    )
