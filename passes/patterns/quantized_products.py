"""Computes the integers of one quantized matrix product, with what follows folded in.

They are its weights as int8, and its bias in steps of the accumulator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from compiler.ir.graph import Array, Attribute, Graph, Node, Quant
from passes.fold_batchnorm import Doubles, affine_of
from passes.patterns.products import matrices, real_constant, weight_axis, why_not_product

MOST_STEPS = (1 << 31) - 1  # of the accumulator


@dataclass(frozen=True)
class IntegerProduct:
    """What a `Product` of integers needs besides its input.

    It has weights [G,R,K], their quantization, bias [G*K] (None: none) and geometry. `read` are the
    float values (weights, bias) that the model dequantizes for it.
    """

    weights: npt.NDArray[np.int8]
    quant: Quant
    bias: npt.NDArray[np.int32] | None
    attrs: dict[str, Attribute]
    read: tuple[str, ...]


def integer_product(
    core: Node, affine: Sequence[Node], graph: Graph, data: Quant, weights_quant: Quant | None
) -> IntegerProduct | None:
    """Makes the integers of a Conv, Gemm or MatMul of dequantized weights.

    The scales and shifts per column that follow it are folded in. None where they have no such
    form.

    `weights_quant` is the quantization that the weights' DequantizeLinear has.
    """
    made = graph.producer.get(core.inputs[1])
    if made is None or made.op != "DequantizeLinear" or why_not_product(core, graph):
        return None
    weights = graph.constant(made.inputs[0])
    if weights is None or weights_quant is None:
        return None
    centered = centered_weights(weights, weights_quant, weight_axis(core, graph))
    if centered is None:
        return None
    form = matrices(core, graph, centered)
    groups, _, columns = form.weights.shape
    if len(weights_quant.scale) not in (1, groups * columns):
        return None
    folded = _folded(core, affine, graph, groups * columns)
    if folded is None:
        return None
    factor, _ = folded
    matrix, scales = np.asarray(form.weights, np.int8), np.asarray(weights_quant.scale, np.float64)
    stretch = factor * core.number("alpha", 1.0)
    if np.any(stretch != 1):
        scales = scales * stretch
        signs = np.where(scales < 0, -1, 1).reshape(groups, 1, -1)
        if (np.abs(scales) < 1e-30).any() or np.any((matrix == -128) & (signs < 0)):
            return None
        matrix, scales = (matrix * signs).astype(np.int8), np.abs(scales)
    steps = tuple(float(np.float32(scale)) for scale in scales)
    bias, read = None, [core.inputs[1]]
    if form.has_bias or affine:
        bias = _bias(core, graph, data, steps, folded, groups * columns)
        if bias is None:
            return None
        read += core.inputs[2:3] if form.has_bias else []
        read += [name for node in affine for name in node.inputs]
    quant = Quant(
        bits=8,
        signed=True,
        scale=steps,
        zero_point=(0,) * len(steps),
        axis=2 if len(steps) > 1 else None,
    )
    return IntegerProduct(
        weights=matrix,
        quant=quant,
        bias=bias,
        attrs=dict(form.attrs),
        read=tuple(dict.fromkeys(read)),
    )


def _folded(
    core: Node, affine: Sequence[Node], graph: Graph, columns: int
) -> tuple[Doubles, Doubles] | None:
    """Computes (factor, shift) per column of what follows a product.

    The factor is one number where it is 1 for all columns. None where they are not per column.
    """
    factor: Doubles = np.ones(1)
    shift: Doubles = np.zeros(columns)
    for node in affine:
        found = affine_of(core, node, graph, columns)
        if found is None:
            return None
        scale = found[0]
        if np.any(scale != 1):
            factor = factor * scale
        shift = shift * scale + found[1]
    return factor, shift


def _bias(
    core: Node,
    graph: Graph,
    data: Quant,
    scales: tuple[float, ...],
    folded: tuple[Doubles, Doubles],
    columns: int,
) -> npt.NDArray[np.int32] | None:
    """Computes the bias, with the shift of what follows, as int32.

    Its unit is data scale * weight scale.
    """
    factor, shift = folded
    unit = np.float32(data.scale[0]) * np.asarray(scales, np.float32)
    real: Doubles = np.zeros(columns)
    name = core.input(2)
    if name:
        same = _same_steps(name, graph, unit, columns)
        as_it_is = core.number("beta", 1.0) == 1.0 and np.all(factor == 1) and not np.any(shift)
        if same is not None and as_it_is:
            return same
        found = real_constant(name, graph)
        if found is None or found.size not in (1, columns):
            return None
        real = np.broadcast_to(found.reshape(-1), (columns,)) * core.number("beta", 1.0)
    rounded = np.rint((real * factor + shift) / unit.astype(np.float64))
    if np.abs(rounded).max(initial=0) > MOST_STEPS:
        return None
    return np.asarray(rounded.astype(np.int32))


def _same_steps(
    name: str, graph: Graph, unit: npt.NDArray[np.float32], columns: int
) -> npt.NDArray[np.int32] | None:
    """Finds the int32 that a bias is dequantized from, where its steps are the accumulator's."""
    made = graph.producer.get(name)
    if made is None or made.op != "DequantizeLinear":
        return None
    integers, scale = graph.constant(made.inputs[0]), graph.constant(made.inputs[1])
    if integers is None or scale is None or integers.dtype != np.int32:
        return None
    flat = np.asarray(scale, np.float32).reshape(-1)
    same = flat.size in (1, unit.size) and np.allclose(flat, unit, rtol=1e-6)
    flat_integers = np.asarray(integers, np.int32).reshape(-1)
    return flat_integers if same and flat_integers.size == columns else None


def centered_weights(
    weights: Array, quant: Quant, outputs_axis: int | None
) -> npt.NDArray[np.int8] | None:
    """Subtracts the zero point from weights, as int8.

    None when that does not fit or the scale runs along another axis.
    """
    if weights.dtype.name not in ("int8", "uint8", "int4", "uint4", "int2", "uint2"):
        return None
    if quant.axis is not None and quant.axis != outputs_axis:
        return None
    shape = [1] * weights.ndim
    if quant.axis is not None:
        shape[quant.axis] = -1
    points = np.asarray(quant.zero_point, np.int32).reshape(shape)
    centered = weights.astype(np.int32) - points
    if centered.min(initial=0) < -128 or centered.max(initial=0) > 127:
        return None
    return np.asarray(centered.astype(np.int8))


def channel_scaling(affine: Sequence[Node], graph: Graph, data: Quant) -> IntegerProduct | None:
    """Writes a scale and shift for each channel of [N,C,...] as a depthwise product.

    It has one weight a channel. None where there is no such form.

    The weight is 127 in steps of 1/127 of the scale: the product is as exact as the scale's
    float32.
    """
    value = next((n for n in affine[0].inputs if real_constant(n, graph) is None), "")
    sizes = graph.types[value].shape if value else None
    if sizes is None or not graph.types[value].is_static or len(sizes) < 3:
        return None
    channels = graph.types[value].sizes[1]
    probe = Node("", "Conv", (), affine[0].outputs)
    scale, shift = np.ones(channels), np.zeros(channels)
    for node in affine:
        found = affine_of(probe, node, graph, channels)
        if found is None or graph.types[node.outputs[0]].shape != sizes:
            return None
        scale, shift = scale * found[0], shift * found[0] + found[1]
    if (np.abs(scale) < 1e-30).any():
        return None
    steps = tuple(float(np.float32(abs(s) / 127)) for s in scale)
    unit = np.float64(data.scale[0]) * np.asarray(steps)
    bias = np.rint(shift / unit)
    if np.abs(bias).max(initial=0) > MOST_STEPS:
        return None
    weights = np.where(scale < 0, -127, 127).astype(np.int8).reshape(channels, 1, 1)
    rank = len(sizes) - 2
    attrs: dict[str, Attribute] = {
        "kernel": (1,) * rank,
        "strides": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (1,) * rank,
    }
    quant = Quant(
        bits=8,
        signed=True,
        scale=steps,
        zero_point=(0,) * channels,
        axis=2 if channels > 1 else None,
    )
    read = tuple(name for node in affine for name in node.inputs if name != value)
    return IntegerProduct(
        weights=weights, quant=quant, bias=bias.astype(np.int32), attrs=attrs, read=read
    )
