"""Finds faults in the sizes of a convolution, which ONNX's own inference does not look at."""

from __future__ import annotations

from compiler.ir.graph import Node


def why_convolution_misfits(node: Node, shapes: tuple[tuple[int | None, ...] | None, ...]) -> str:
    """Explains why the sizes that a convolution reads do not belong together.

    The node is a Conv, ConvInteger or ConvTranspose; `shapes` are those of its input, weights and
    bias. Returns "" when they belong together, or when a size is not known.
    """
    given, weights = shapes[:2]
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
    transposed = node.op == "ConvTranspose"
    taken = first if transposed else second * groups
    if channels != taken or first % groups:
        return (
            f"an input of {channels} channels does not go with weights of shape {list(weights)} "
            f"in groups of {groups}"
        )
    kernel = node.attrs.get("kernel_shape")
    if isinstance(kernel, tuple) and None not in weights and kernel != tuple(weights[2:]):
        return f"kernel_shape {kernel} is not that of weights of shape {list(weights)}"
    made = second * groups if transposed else first
    bias = shapes[2] if node.op != "ConvInteger" else None
    if bias is not None and bias not in ((made,), (None,)):
        return f"a bias of shape {list(bias)} does not go with {made} output channels"
    return ""
