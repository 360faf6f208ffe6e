"""Says what is wrong with the sizes of a convolution, which ONNX's own inference does not look at."""

from __future__ import annotations

from collections.abc import Mapping

from compiler.ir import Node, TensorType


def why_sizes_misfit(node: Node, types: Mapping[str, TensorType]) -> str:
    """Why the input, weights and bias of a Conv or ConvTranspose do not belong together; "" when they do, or nobody knows."""
    if node.op not in ("Conv", "ConvTranspose"):
        return ""
    shapes = [types[name].shape if name in types else None for name in node.inputs]
    given, weights = shapes[0], shapes[1]
    if given is None or weights is None:
        return ""
    if len(given) != len(weights) or len(given) < 3:
        return f"an input of shape {list(given)} does not go with weights of shape {list(weights)}"
    groups = node.attrs.get("group", 1)
    if not isinstance(groups, int) or groups < 1:
        return f"it has {groups!r} groups"
    channels, first, second = given[1], weights[0], weights[1]
    if channels is None or first is None or second is None:
        return ""
    taken = second * groups if node.op == "Conv" else first
    if channels != taken or first % groups:
        return (
            f"an input of {channels} channels does not go with weights of shape {list(weights)} "
            f"in groups of {groups}"
        )
    kernel = node.attrs.get("kernel_shape")
    if isinstance(kernel, tuple) and None not in weights and kernel != tuple(weights[2:]):
        return f"kernel_shape {kernel} is not that of weights of shape {list(weights)}"
    made = first if node.op == "Conv" else second * groups
    bias = shapes[2] if len(shapes) > 2 else None
    if bias is not None and bias not in ((made,), (None,)):
        return f"a bias of shape {list(bias)} does not go with {made} output channels"
    return ""
