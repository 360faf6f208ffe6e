"""Finds the integer forms of functions of one value (a table) and of average pools (a window)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Attribute, Graph, Node, Quant, TensorType
from compiler.ir.ops import window_outputs


@dataclass(frozen=True)
class Function:
    """A function of one value by what it computes, whatever its names: equal ones share a model."""

    op: str
    attributes: str
    constants: tuple[tuple[str, tuple[int, ...], bytes] | None, ...]
    node: Node = field(compare=False)
    graph: Graph = field(compare=False)

    @classmethod
    def of(cls, node: Node, graph: Graph) -> Function:
        """Describes what a node computes of its first input, the others being constants."""
        found = [graph.constants[name] if name else None for name in node.inputs[1:]]
        constants = tuple(
            None if data is None else (data.dtype.name, data.shape, data.tobytes())
            for data in found
        )
        return cls(
            op=node.op,
            attributes=repr(dict(node.attrs)),
            constants=constants,
            node=node,
            graph=graph,
        )


def table_of(
    functions: Sequence[Node], graph: Graph, data: Quant, out: Quant
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """Computes the table of functions of one value, applied one after the other, by ONNX Runtime.

    Its entries are quantize(f(dequantize(i))) from the lowest integer i up.
    """
    integers = np.arange(data.lowest, data.highest + 1).astype(data.storage)
    alike = tuple(Function.of(node, graph) for node in functions)
    values = {
        "i": integers,
        "in.scale": np.array(data.scale[0], np.float32),
        "in.point": np.array(data.zero_point[0], data.storage),
        "out.scale": np.array(out.scale[0], np.float32),
        "out.point": np.array(out.zero_point[0], out.storage),
    }
    result = _runner(alike, data.storage, out.storage, integers.size).run(values)["y"]
    return np.asarray(np.clip(result, out.lowest, out.highest), out.storage)


@lru_cache(maxsize=64)
def _runner(
    functions: tuple[Function, ...], data_storage: str, out_storage: str, entries: int
) -> Interpreter:
    """Opens functions between a DequantizeLinear and a QuantizeLinear, for any scales.

    Scales and zero points are inputs.
    """
    constants = {n: f.graph.constants[n] for f in functions for n in f.node.inputs[1:] if n}
    types = {name: TensorType(a.dtype.name, a.shape) for name, a in constants.items()}
    size = (entries,)
    types |= {
        "i": TensorType(data_storage, size),
        "x": TensorType("float32", size), "y": TensorType(out_storage, size),
        "in.scale": TensorType("float32", ()), "in.point": TensorType(data_storage, ()),
        "out.scale": TensorType("float32", ()), "out.point": TensorType(out_storage, ()),
    }  # fmt: skip
    nodes = [Node("d", "DequantizeLinear", ("i", "in.scale", "in.point"), ("x",))]
    for position, function in enumerate(functions):
        value = f"f{position}"
        types[value] = TensorType("float32", size)
        inputs = (nodes[-1].outputs[0], *function.node.inputs[1:])
        nodes.append(replace(function.node, name=value, inputs=inputs, outputs=(value,)))
    last = nodes[-1].outputs[0]
    nodes.append(Node("q", "QuantizeLinear", (last, "out.scale", "out.point"), ("y",)))
    inputs = ("i", "in.scale", "in.point", "out.scale", "out.point")
    return Interpreter(
        Graph(
            name="table",
            inputs=inputs,
            outputs=("y",),
            nodes=tuple(nodes),
            types=types,
            constants=constants,
        )
    )


def pool_window(node: Node, graph: Graph) -> dict[str, Attribute] | None:
    """Finds the window of an average pool as IntegerAveragePool has it.

    None when the vector unit's rules exclude it.
    """
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
    probe = Node(name="probe", op="IntegerAveragePool", inputs=(), outputs=(), attrs=attrs)
    if window_outputs(sizes, probe) != graph.types[node.outputs[0]].sizes[2:]:
        return None
    return attrs
