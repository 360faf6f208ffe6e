"""Finds constants that an operation cannot take.

ONNX's own inference does not look at these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from compiler.ir.graph import Array, Node, TensorType

_Types = Mapping[str, TensorType]
_Constants = Mapping[str, Array]


def why_constants_misfit(node: Node, types: _Types, constants: _Constants) -> str:
    """Explains what is wrong with a node's constants, or returns an empty string.

    The node is of the graph's opset; `types` holds its outputs too.
    """
    for name in filter(None, node.outputs):
        shape = types[name].shape or ()
        window = shape[2:] if node.op in ("Conv", "ConvInteger") else ()
        if any(size is not None and size < 0 for size in shape) or 0 in window:
            return f"its result would be of shape {list(shape)}"
    rule = _RULES.get(node.op)
    return rule(node, types, constants) if rule is not None else ""


def _reshape(node: Node, types: _Types, constants: _Constants) -> str:
    shape = types[node.inputs[1]].shape
    if shape is not None and len(shape) != 1:
        return f"its shape is given as a value of {len(shape)} axes, wanted a list"
    before, after = types[node.inputs[0]], types[node.outputs[0]]
    if not (before.is_static and after.is_static) or before.elements == after.elements:
        return ""
    return (
        f"{list(before.sizes)} holds {before.elements} elements, {list(after.sizes)} "
        f"{after.elements}"
    )


def _gather(node: Node, types: _Types, constants: _Constants) -> str:
    data, indices = types[node.inputs[0]], constants.get(node.inputs[1])
    if data.shape is None or indices is None or indices.size == 0:
        return ""
    axis = node.integer("axis", 0)
    size = data.shape[axis]
    if size is None or (indices.min() >= -size and indices.max() < size):
        return ""
    wrong = indices.min() if indices.min() < -size else indices.max()
    return f"index {wrong} lies outside of axis {axis}, which has {size}"


def _at_places(node: Node, types: _Types, constants: _Constants) -> str:
    """Checks the indices of GatherND and ScatterND.

    Each names a place in the first axes behind the batch.
    """
    data, indices = types[node.inputs[0]], constants.get(node.inputs[1])
    if data.shape is None or indices is None or indices.size == 0 or indices.ndim == 0:
        return ""
    first = node.integer("batch_dims", 0)
    for offset, size in enumerate(data.shape[first : first + indices.shape[-1]]):
        part = indices[..., offset].astype(np.int64)
        wrong = part[(part < -size) | (part >= size)] if size is not None else part[:0]
        if wrong.size:
            return f"index {wrong[0]} lies outside of axis {first + offset}, which has {size}"
    return ""


def _running(node: Node, types: _Types, constants: _Constants) -> str:
    shape, axis = types[node.inputs[0]].shape, constants.get(node.inputs[1])
    if shape is None or axis is None or axis.size != 1 or -len(shape) <= axis.item() < len(shape):
        return ""
    return f"axis {axis.item()} is none of a value of {len(shape)} axes"


def _slice(node: Node, types: _Types, constants: _Constants) -> str:
    steps = constants.get(node.input(4))
    return "a step is 0" if steps is not None and np.any(steps == 0) else ""


def _quantized(node: Node, types: _Types, constants: _Constants) -> str:
    scale, kind, data = constants.get(node.inputs[1]), types[node.inputs[1]], types[node.inputs[0]]
    if has_negative_scale(node, constants) and not is_dequantized_constant(node, constants):
        return "a scale is negative"
    if scale is not None and node.op == "QuantizeLinear" and np.any(scale == 0):
        return "a scale is 0"
    if kind.shape is None or len(kind.shape) != 1 or data.shape is None or kind.shape == (1,):
        return ""
    axis = node.integer("axis", 1)
    if not -len(data.shape) <= axis < len(data.shape):
        return f"axis {axis} is none of a value of {len(data.shape)} axes"
    size = data.shape[axis]
    if None in (size, kind.shape[0]) or node.integer("block_size", 0) or size == kind.shape[0]:
        return ""
    return f"it has {kind.shape[0]} scales for an axis of {size}"


def has_negative_scale(node: Node, constants: _Constants) -> bool:
    """Whether a constant scale of a QuantizeLinear or DequantizeLinear is below zero."""
    scale = constants.get(node.inputs[1])
    return scale is not None and bool(np.any(np.asarray(scale, np.float32) < 0))


def is_dequantized_constant(node: Node, constants: _Constants) -> bool:
    """Whether a node turns constant integers into the real numbers they stand for."""
    return node.op == "DequantizeLinear" and all(
        name in constants for name in filter(None, node.inputs)
    )


_RULES: dict[str, Callable[[Node, _Types, _Constants], str]] = {
    "Reshape": _reshape,
    "Gather": _gather,
    "GatherElements": _gather,
    "ScatterElements": _gather,
    "GatherND": _at_places,
    "ScatterND": _at_places,
    "CumSum": _running,
    "Slice": _slice,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _quantized,
}
