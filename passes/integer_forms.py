"""Functions of one value and average pools in integers: the table, and the window, that stand for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from compiler.interpreter import Interpreter
from compiler.ir import Attribute, Graph, Node, Quant, TensorType
from compiler.ops import window_outputs


def table_of(
    functions: Sequence[Node], graph: Graph, data: Quant, out: Quant
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """The results of functions of one value, one after the other, from the lowest integer up: quantize(f(dequantize(i))), by ONNX Runtime."""
    integers = np.arange(data.lowest, data.highest + 1).astype(data.storage)
    constants = {n: graph.constants[n] for f in functions for n in f.inputs[1:] if n}
    constants |= {
        "in.scale": np.array(data.scale[0], np.float32),
        "in.point": np.array(data.zero_point[0], data.storage),
        "out.scale": np.array(out.scale[0], np.float32),
        "out.point": np.array(out.zero_point[0], out.storage),
    }
    types = {name: TensorType(a.dtype.name, a.shape) for name, a in constants.items()}
    size = (integers.size,)
    types |= {
        "i": TensorType(data.storage, size), "x": TensorType("float32", size),
        "y": TensorType(out.storage, size),
    }  # fmt: skip
    nodes = [Node("d", "DequantizeLinear", ("i", "in.scale", "in.point"), ("x",))]
    for position, function in enumerate(functions):
        value = f"f{position}"
        types[value] = TensorType("float32", size)
        inputs = (nodes[-1].outputs[0], *function.inputs[1:])
        nodes.append(replace(function, name=value, inputs=inputs, outputs=(value,)))
    last = nodes[-1].outputs[0]
    nodes.append(Node("q", "QuantizeLinear", (last, "out.scale", "out.point"), ("y",)))
    single = Graph("table", ("i",), ("y",), tuple(nodes), types, constants)
    result = Interpreter(single).run({"i": integers})["y"]
    return np.asarray(np.clip(result, out.lowest, out.highest), out.storage)


def pool_window(node: Node, graph: Graph) -> dict[str, Attribute] | None:
    """The window of an average pool as IntegerAveragePool says it, or None when the vector unit's rules exclude it."""
    sizes = graph.types[node.inputs[0]].sizes[2:]
    rank = len(sizes)
    if node.op == "GlobalAveragePool":
        return {"kernel": sizes, "strides": (1,) * rank, "pads": (0,) * 2 * rank}
    mode = node.text("auto_pad", "NOTSET")
    if mode not in ("NOTSET", "VALID") or node.integer("ceil_mode", 0):
        return None
    if any(d != 1 for d in node.ints("dilations", (1,))):
        return None
    attrs: dict[str, Attribute] = {
        "kernel": node.ints("kernel_shape", ()),
        "strides": node.ints("strides", (1,) * rank),
        "pads": node.ints("pads", (0,) * 2 * rank) if mode == "NOTSET" else (0,) * 2 * rank,
        "count_include_pad": node.integer("count_include_pad", 0),
    }
    probe = Node("probe", "IntegerAveragePool", (), (), attrs)
    if window_outputs(sizes, probe) != graph.types[node.outputs[0]].sizes[2:]:
        return None
    return attrs
