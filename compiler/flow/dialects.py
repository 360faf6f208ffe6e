"""What a plan says of a model's own quantization where the engines do not take it as it stands."""

from __future__ import annotations

from compiler.errors import Diagnostic
from compiler.ir.graph import DTYPE_BITS, Graph, Node
from passes.narrow_formats import wide_weights

_DYNAMIC = ("MatMulInteger", "ConvInteger")


def dialect_notes(given: Graph, clean: Graph, *, has_data: bool) -> tuple[Diagnostic, ...]:
    """Notes on layers that are quantized while they run, and on what 8 bits do not hold.

    `given` is the graph as imported, `clean` after the first passes; `has_data` says whether there
    are real calibration samples.
    """
    notes = []
    before, after = (sum(_is_dynamic(node, graph) for node in graph) for graph in (given, clean))
    if before > after:
        layers, their = _layers(before - after)
        notes.append(
            f"{layers} quantized while running: compiled with {their} input ranges fixed by --data"
        )
    if after:
        layers, their = _layers(after)
        reason = f"{their} weights are computed" if has_data else "--data would fix the ranges"
        notes.append(f"{layers} quantized while running, left to the host: {reason}")
    wide = sum(_is_wide(node, given) for node in given)
    if wide and not any(_is_wide(node, clean) for node in clean):
        plural = "s" if wide > 1 else ""
        notes.append(
            f"{wide} value{plural} of more than 8 bits in the model: "
            "treated as floats, whose 8-bit formats are measured"
        )
    coarse = sum(wide_weights(node, given) for node in given)
    if coarse:
        layers, their = _layers(coarse)
        notes.append(
            f"{layers} with weights that are no int8 a column: {their} weights are rounded to it"
        )
    return tuple(Diagnostic(message=note) for note in notes)


def _layers(count: int) -> tuple[str, str]:
    return (f"{count} layers", "their") if count > 1 else ("1 layer", "its")


def _is_dynamic(node: Node, graph: Graph) -> bool:
    made = graph.producer.get(node.inputs[0]) if node.inputs else None
    return node.op in _DYNAMIC and made is not None and made.op == "DynamicQuantizeLinear"


def _is_wide(node: Node, graph: Graph) -> bool:
    """Whether a node rounds values to integers of more than 8 bits."""
    if node.op != "QuantizeLinear":
        return False
    dtype = graph.types[node.outputs[0]].dtype
    return dtype.startswith(("int", "uint")) and DTYPE_BITS[dtype] > 8
