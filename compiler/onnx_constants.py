"""Why the constants that a node reads cannot be what its operation asks for, in numbers that ONNX's own inference does not look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from compiler.ir import Array, Node, TensorType

_Types = Mapping[str, TensorType]
_Constants = Mapping[str, Array]


def why_constants_misfit(node: Node, types: _Types, constants: _Constants) -> str:
    """What is wrong with the constants of a node of the graph's opset (`types` holds its outputs too), or an empty string."""
    for name in filter(None, node.outputs):
        if any(size is not None and size < 0 for size in types[name].shape or ()):
            return f"its result would be of shape {list(types[name].shape or ())}"
    rule = _RULES.get(node.op)
    return rule(node, types, constants) if rule is not None else ""


def _reshape(node: Node, types: _Types, constants: _Constants) -> str:
    shape = types[node.inputs[1]].shape
    if shape is not None and len(shape) != 1:
        return f"its shape is given as a value of {len(shape)} axes, wanted a list"
    before, after = types[node.inputs[0]], types[node.outputs[0]]
    if not (before.is_static and after.is_static) or before.elements == after.elements:
        return ""
    return f"{list(before.sizes)} holds {before.elements} elements, {list(after.sizes)} {after.elements}"


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
    """Whether a node gives the real numbers of constant integers."""
    return node.op == "DequantizeLinear" and all(
        name in constants for name in filter(None, node.inputs)
    )


_RULES: dict[str, Callable[[Node, _Types, _Constants], str]] = {
    "Reshape": _reshape,
    "Gather": _gather,
    "Slice": _slice,
    "QuantizeLinear": _quantized,
    "DequantizeLinear": _quantized,
}
