"""Finds the nodes of a graph that must run on onnx's reference evaluator.

Only these leave ONNX Runtime, and not the segment around them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from compiler.execute.onnx_runtime import RuntimeModel
from compiler.execute.reference_evaluator import why_node_on_reference, why_not_exchanged
from compiler.ir.graph import DTYPE_BITS, OPSET, Graph, Node
from compiler.ir.protos import attribute_protos, dtype_number, split_op


def nodes_on_reference(nodes: Sequence[Node], graph: Graph, ports: Iterable[str]) -> dict[str, str]:
    """Explains, by node name, why some of the nodes cannot run on ONNX Runtime.

    `ports` are the values handed in and out. ONNX Runtime lacks a kernel for the node or gets it
    wrong, or the node exchanges values of a type (bfloat16, ...) that ONNX Runtime hands to nobody:
    with a port, a node kept whole, or another node of these.
    """
    reasons: dict[str, str] = {}
    for node in nodes:
        if node.op != "Segment":
            why = why_node_on_reference(node, graph) or _why_no_kernel(node, graph)
            if why:
                reasons[node.name] = why
    touching = {node.name: _reserved(node, graph) for node in nodes}
    if not any(touching.values()):
        return reasons
    boundary = set(ports)
    for node in nodes:
        if node.op == "Segment" or node.name in reasons:
            boundary.update(touching[node.name])
    changed = True
    while changed:
        changed = False
        for node in nodes:
            found = next((name for name in touching[node.name] if name in boundary), "")
            if found and node.op != "Segment" and node.name not in reasons:
                reasons[node.name] = why_not_exchanged(graph.types[found].dtype)
                boundary.update(touching[node.name])
                changed = True
    return reasons


def _reserved(node: Node, graph: Graph) -> list[str]:
    """Finds the values that a node reads and makes and that ONNX Runtime hands to nobody."""
    return [
        name
        for name in (*node.inputs, *node.outputs)
        if name and name not in graph.constants and why_not_exchanged(graph.types[name].dtype)
    ]


def _why_no_kernel(node: Node, graph: Graph) -> str:
    """Explains why ONNX Runtime has no kernel for a standard operation on the types at hand.

    Returns an empty string where it has one.
    """
    kinds = [graph.types[name].dtype if name else "" for name in (*node.inputs, *node.outputs)]
    if not all(kind in DTYPE_BITS or not kind for kind in kinds):
        return ""
    protos = attribute_protos(node) if node.attrs else ()
    attributes = tuple(proto.SerializeToString() for proto in protos)
    inputs, outputs = kinds[: len(node.inputs)], kinds[len(node.inputs) :]
    return _kernel_missing(node.op, tuple(inputs), tuple(outputs), attributes)


@cache
def _kernel_missing(
    op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], attributes: tuple[bytes, ...]
) -> str:
    """Returns ONNX Runtime's complaint about a model of one node, where it is not implemented.

    Sizes play no part in its choice of a kernel.
    """
    import onnx
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    domain, name = split_op(op)
    if domain or not onnx.defs.has(name):
        return ""  # our own operations are written out in standard ones that have kernels
    reads = [f"i{index}" if kind else "" for index, kind in enumerate(inputs)]
    makes = [f"o{index}" if kind else "" for index, kind in enumerate(outputs)]
    proto = onnx.NodeProto(op_type=name, input=reads, output=makes)
    proto.attribute.extend(onnx.AttributeProto.FromString(data) for data in attributes)
    given, made = (
        [
            onnx.helper.make_tensor_value_info(value, dtype_number(kind), None)
            for value, kind in zip(values, kinds, strict=True)
            if kind
        ]
        for values, kinds in ((reads, inputs), (makes, outputs))
    )
    model = onnx.helper.make_model(
        onnx.helper.make_graph([proto], "probe", given, made),
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    try:
        RuntimeModel(model.SerializeToString())
    except runtime.NotImplemented:
        return (
            f"ONNX Runtime has no kernel for {name} of "
            f"{', '.join(dict.fromkeys(filter(None, inputs)))}"
        )
    except Exception:  # it wants to know more than types; ONNX Runtime's errors share no base
        return ""
    return ""
