"""The weights of a product in the numbers of an engine: an integer product, an analog array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.engines.numerics import Floats
from compiler.ir.graph import Array, Graph, Node, Quant
from passes.fitting.rounding import Int8s

Named = tuple[tuple[str, Array, Quant | None], ...]


@dataclass(frozen=True)
class IntegerWeights:
    """A product in int8.

    Weights [G,R,K], their scale per column [G*K], the bias [G*K] in accumulator units, int32.
    """

    weights: Int8s
    scale: Floats
    bias: npt.NDArray[np.int32]

    @staticmethod
    def of(node: Node, graph: Graph) -> IntegerWeights:
        """Reads the weights of an integer Product with a bias."""
        weights, bias = (graph.constants[name] for name in node.inputs[1:3])
        quant = graph.types[node.inputs[1]].quant
        assert quant is not None
        scale = np.broadcast_to(np.asarray(quant.scale, np.float32), bias.shape)
        return IntegerWeights(np.asarray(weights, np.int8), scale, np.asarray(bias, np.int32))

    @property
    def constants(self) -> Named:
        """The constant inputs of an integer Product, as (label, data, quantization)."""
        scales = tuple(float(s) for s in self.scale)
        quant = Quant(
            bits=8,
            signed=True,
            scale=scales,
            zero_point=(0,) * len(scales),
            axis=2 if len(scales) > 1 else None,
        )
        return (("weights", self.weights, quant), ("bias", self.bias, None))


@dataclass(frozen=True, kw_only=True)
class AnalogWeights:
    """A product on an analog array.

    The format of its inputs, and constants shaped as in compiler.ir.ops: the multiplier turns steps
    of the recombined sum into reals.
    """

    inputs: Quant
    digits: Int8s
    gain: Floats
    digit_weight: Floats
    multiplier: Floats
    bias: Floats

    @staticmethod
    def of(node: Node, graph: Graph) -> AnalogWeights:
        """Reads the weights of an AnalogProduct that is not laid out in tiles yet."""
        digits, *others = (graph.constants[name] for name in node.inputs[1:6])
        gain, digit_weight, multiplier, bias = (np.asarray(one, np.float32) for one in others)
        inputs = graph.types[node.inputs[0]].quant
        assert inputs is not None
        return AnalogWeights(
            inputs=inputs,
            digits=np.asarray(digits, np.int8),
            gain=gain,
            digit_weight=digit_weight,
            multiplier=multiplier,
            bias=bias,
        )

    @property
    def constants(self) -> Named:
        """The constant inputs of an AnalogProduct, as (label, data, quantization)."""
        return (
            ("digits", self.digits, None),
            ("gain", self.gain, None),
            ("digit_weight", self.digit_weight, None),
            ("multiplier", np.asarray(self.multiplier, np.float32), None),
            ("bias", np.asarray(self.bias, np.float32), None),
        )
