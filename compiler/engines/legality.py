"""Explains why an engine cannot take a node: the rules that reports, errors and docs print."""

from __future__ import annotations

import numpy as np

from compiler.ir.graph import Graph, Node
from compiler.ir.ops import (
    FLOAT_VECTOR,
    FORMATS,
    MOVEMENT,
    VIEWS,
    macs,
    operation_name,
    product_shape,
)
from compiler.target.chip import Analog, Host, Target
from compiler.target.digital import Digital

# What a chip file's vector unit calls our own operations.
VECTOR_NAMES = {
    "ClippedAdd": "Add",
    "IntegerAdd": "Add",
    "IntegerMul": "Mul",
    "IntegerAveragePool": "AveragePool",
}


def why_not_analog(node: Node, graph: Graph, engine: Analog) -> str:
    """Explains why the analog arrays cannot take a node; an empty string when they can."""
    if node.op not in ("Product", "AnalogProduct"):
        return f"{operation_name(node)} is not a matrix product with constant weights"
    unknown = why_not_static(node, graph)
    if unknown:
        return unknown
    shape = product_shape(node, graph)
    assert shape is not None
    if shape.groups > 1 and not engine.takes_groups.value:
        return f"the arrays take no grouped convolution, and this one has {shape.groups} groups"
    return ""


def why_not_float(node: Node, graph: Graph, engine: Digital) -> str:
    """Explains why a digital engine of float32 cannot compute a node in the model's own floats.

    An empty string when it can.
    """
    unknown = why_not_static(node, graph)
    if unknown:
        return unknown
    kinds = {name: graph.types[name].dtype for name in (*node.inputs[:1], *node.outputs) if name}
    other = next((kind for kind in kinds.values() if kind != "float32"), "")
    if other or not node.inputs or not node.inputs[0] or not kinds:
        return f"{other or 'what is no tensor'} is no type of the digital engine"
    operations = tuple(name for name in engine.vector_operations if name in FLOAT_VECTOR)
    return _why_not_units(node, node.op, operations, graph, engine)


def why_not_digital(node: Node, graph: Graph, engine: Digital) -> str:
    """Explains why the digital engine cannot take a node; an empty string when it can."""
    if engine.arithmetic != "int8":
        return f"the digital engine computes in {engine.arithmetic}, for --precision float"
    unknown = why_not_static(node, graph)
    if unknown:
        return unknown
    if not node.inputs or not node.inputs[0] or not node.outputs[0]:
        return f"{node.op} lacks its first input or output"
    data = graph.types[node.inputs[0]]
    if data.quant is None and data.dtype not in ("float32", "float16"):
        return f"{data.dtype} is no type of the digital engine"
    if node.op in FORMATS:
        return _why_not_format(node, graph, engine)
    infinite = _infinite_constant(node, graph)
    if infinite:
        return f"its constant {infinite!r} is not finite, which no integer stands for"
    name = node.text("of") if node.op == "IntegerTable" else VECTOR_NAMES.get(node.op, node.op)
    return _why_not_units(node, name, engine.vector_operations, graph, engine)


def _why_not_units(
    node: Node, operation: str, vector_operations: tuple[str, ...], graph: Graph, engine: Digital
) -> str:
    """Explains why neither the multipliers nor the vector unit can do a node.

    `operation` is the vector unit's name for it.
    """
    if node.op == "Product":
        return "" if engine.array else "the digital engine has no multipliers for matrix products"
    if node.op == "Segment":
        return f"{operation_name(node)} is left whole, for the host alone"
    if node.op in (*VIEWS, *MOVEMENT):
        return ""
    if operation in vector_operations:
        return _why_not_vector(node, graph)
    if macs(node, graph) and not any(name in graph.constants for name in node.inputs[:2]):
        return f"{operation} multiplies two activations, and the array needs constant weights"
    return f"the vector unit has no {operation}" if engine.vector else "there is no vector unit"


def _infinite_constant(node: Node, graph: Graph) -> str:
    """Finds a constant among a node's inputs that holds an infinity or NaN (a mask, for example).

    The bounds of a Clip may.
    """
    if node.op in ("Product", "Clip"):
        return ""
    for name in node.inputs:
        data = graph.constant(name) if name else None
        if data is not None and data.dtype.kind == "f" and not np.isfinite(data).all():
            return name
    return ""


def _why_not_format(node: Node, graph: Graph, engine: Digital) -> str:
    """Explains why a digital engine cannot change a format between floats and integers.

    It can where a neighbouring node that it computes holds the floats as integers anyway.
    """
    to_floats = node.op == "DequantizeLinear"
    floats, integers = node.outputs[0], node.inputs[0]
    if not to_floats:
        floats, integers = integers, floats
    quant = graph.types[integers].quant
    if quant is None or len(quant.scale) != 1 or quant.bits > 8:
        return "the digital engine has no floating-point arithmetic"
    made = graph.producer.get(floats)
    around = graph.consumers.get(floats, ()) if to_floats else (made,) if made else ()
    inside = [n for n in around if n.op not in FORMATS and not why_not_digital(n, graph, engine)]
    if floats in graph.outputs or floats in graph.inputs or not inside:
        return "the digital engine has no floating-point arithmetic"
    if not to_floats and "Requantize" not in engine.vector_operations:
        return "the vector unit has no Requantize"
    return ""


def why_not_static(node: Node, graph: Graph) -> str:
    """Explains which size of a node's values is not known; an empty string when all are."""
    for value in (*node.inputs, *node.outputs):
        if value and not graph.types[value].is_static:
            return f"the size of {value!r} is not known before it runs"
    return ""


def _why_not_vector(node: Node, graph: Graph) -> str:
    """Explains what the vector unit lacks for an operation that it has."""
    out = graph.types[node.outputs[0]]
    data = graph.types[node.inputs[0]]
    if out.quant is None and out.dtype not in ("float32", "float16", "int8", "uint8"):
        return f"{out.dtype} is no type of the vector unit"
    if len([name for name in node.outputs if name]) > 1:
        return "the vector unit gives one result"
    if node.op in ("AveragePool", "MaxPool", "IntegerAveragePool"):
        if node.integer("ceil_mode", 0):
            return "the vector unit's pools have no ceil_mode"
        if node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            return "its padding is automatic"
        if any(d != 1 for d in node.ints("dilations", (1,))):
            return "the vector unit's pools have no dilation"
    bounds = node.inputs[1:] if node.op == "Clip" else ()
    if any(name and name not in graph.constants for name in bounds):
        return "its bounds are computed"
    if node.op in ("Add", "Mul", "ClippedAdd"):
        constants = [name for name in node.inputs if name in graph.constants]
        if len(constants) == 2:
            return "it is constant"
    if len(data.sizes) > 6:
        return f"a tensor of {len(data.sizes)} axes is more than its address generator has (6)"
    return ""


def why_not(engine_name: str, node: Node, graph: Graph, target: Target) -> str:
    """Explains why an engine of the target cannot take a node, as reports and errors print it.

    Empty when it can.
    """
    engine = target.chip.engines[engine_name]
    if isinstance(engine, Analog):
        return why_not_analog(node, graph, engine)
    if isinstance(engine, Digital):
        return why_not_digital(node, graph, engine)
    return ""


def why_not_in_floats(engine_name: str, node: Node, graph: Graph, target: Target) -> str:
    """Explains as `why_not`, with nothing quantized and all nodes in floats (--precision float)."""
    engine = target.chip.engines[engine_name]
    if isinstance(engine, Host):
        return ""
    if isinstance(engine, Digital) and engine.arithmetic == "float32":
        return why_not_float(node, graph, engine)
    computes = "in int8" if isinstance(engine, Digital) else "on digits of weights in cells"
    return (
        f"the {engine_name} engine computes {computes}, "
        "and nothing is quantized (--precision float)"
    )
