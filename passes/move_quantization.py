"""Moves DequantizeLinear and QuantizeLinear next to the arithmetic.

The former moves past what only moves values, the latter before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Array, Attribute, Graph, Node, TensorType
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate

# What moves the integers of ONNX Runtime's 8-bit types as it moves floats. (It has no DepthToSpace
# of int8.)
RESHAPING = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
MOVING = (*RESHAPING, "Slice", "Concat", "Split", "Pad", "MaxPool")
BEFORE_QUANTIZE = (*RESHAPING, "MaxPool")
INT8 = ("int8", "uint8")


@dataclass(frozen=True)
class MoveQuantization(Pass):
    """Moves a DequantizeLinear behind views, moves and MaxPool, and a QuantizeLinear before them.

    On weights it moves together with their scales.

    Rounding and scaling are the same for every value of a tensor, and they keep the order of
    values, so nothing changes.
    """

    name: ClassVar[str] = "move_quantization"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with its quantization next to the arithmetic."""
        if not any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph):
            return graph
        while True:
            after = _move_once(graph)
            if after is graph:
                return graph
            graph = eliminate(after)


def _move_once(graph: Graph) -> Graph:
    """Moves both kinds in one walk.

    A DequantizeLinear goes behind all that follows, a QuantizeLinear before all that it can.
    """
    rewriter = Rewriter(graph)
    makers = dict(graph.producer)
    for node in graph:
        data = makers.get(node.inputs[0]) if node.inputs and node.inputs[0] else None
        done = False
        if data is not None and node.op in MOVING and data.op == "DequantizeLinear":
            made = _weights_behind(rewriter, graph, node, data)
            made = made or _behind(rewriter, makers, graph, node)
            makers.update({name: maker for maker in made for name in maker.outputs})
            done = bool(made)
        elif data is not None and node.op == "QuantizeLinear":
            done = _before(rewriter, makers, graph, node)
        if not done:
            rewriter.keep(node)
    return rewriter.finish()


def per_tensor(node: Node, rewriter: Rewriter) -> bool:
    """Whether a QuantizeLinear or DequantizeLinear has one scale for its whole 8-bit tensor.

    Its scale and zero point are constants.
    """
    integers = node.inputs[0] if node.op == "DequantizeLinear" else node.outputs[0]
    constants = [rewriter.constants.get(name) for name in node.inputs[1:] if name]
    return (
        rewriter.type_of(integers).dtype in INT8
        and not node.integer("block_size", 0)
        and all(data is not None and data.size == 1 for data in constants)
    )


def _behind(
    rewriter: Rewriter, producers: Mapping[str, Node], graph: Graph, node: Node
) -> list[Node]:
    """Turns DequantizeLinear, move into move, DequantizeLinear, and returns the latter.

    Nothing where that is not the same.
    """
    floats = [n for n in node.inputs if n and graph.types[n].dtype.startswith("float")]
    floats = floats[:1] if node.op != "Concat" else floats
    makers = [producers.get(name) for name in floats]
    first = makers[0]
    if first is None or any(
        maker is None or maker.op != "DequantizeLinear" or not _alike(maker, first, rewriter)
        for maker in makers
    ):
        return []
    if not per_tensor(first, rewriter) or (node.op == "MaxPool" and "".join(node.outputs[1:])):
        return []
    integers = {n: m.inputs[0] for n, m in zip(floats, makers, strict=True) if m is not None}
    inputs = tuple(integers.get(name, name) for name in node.inputs)
    if node.op == "Pad":
        padded = _pad_value(rewriter, graph, node, first)
        if padded is None:
            return []
        inputs = (*inputs[:2], padded, *inputs[3:])
    dtype = rewriter.type_of(first.inputs[0]).dtype
    outputs = {name: rewriter.unique(f"{name}.integers") for name in node.outputs if name}
    rewriter.add(
        replace(node, inputs=inputs, outputs=tuple(outputs.get(n, "") for n in node.outputs)),
        {new: TensorType(dtype, graph.types[old].shape) for old, new in outputs.items()},
    )
    made = []
    for old, new in outputs.items():
        name = rewriter.unique(f"{old}.dequantize")
        made.append(
            replace(first, name=name, inputs=(new, *first.inputs[1:]), outputs=(old,), attrs={})
        )
        rewriter.add(made[-1])
    return made


def _alike(one: Node, other: Node, rewriter: Rewriter) -> bool:
    """Whether two DequantizeLinear have the same scale, zero point and type."""
    if rewriter.type_of(one.inputs[0]).dtype != rewriter.type_of(other.inputs[0]).dtype:
        return False
    parameters = [
        [rewriter.constants.get(name) for name in node.inputs[1:] if name] for node in (one, other)
    ]
    return len(parameters[0]) == len(parameters[1]) and all(
        a is not None and b is not None and np.array_equal(a, b)
        for a, b in zip(*parameters, strict=True)
    )


def _pad_value(rewriter: Rewriter, graph: Graph, node: Node, dequantize: Node) -> str | None:
    """Finds the integer that stands for a Pad's zero.

    "" where it pads with values of the tensor, None where it pads with something else.
    """
    if node.text("mode", "constant") != "constant":
        return ""
    if node.input(2):
        value = graph.constant(node.inputs[2])
        if value is None or np.any(np.asarray(value, np.float64)):
            return None
    point = graph.constant(dequantize.input(2))
    dtype = rewriter.type_of(dequantize.inputs[0]).dtype
    zero = np.zeros((), dtype) if point is None else np.asarray(point, dtype).reshape(())
    return rewriter.constant(f"{node.name}.zero", zero)


def _before(rewriter: Rewriter, makers: Mapping[str, Node], graph: Graph, node: Node) -> bool:
    """Turns moves, QuantizeLinear into QuantizeLinear, moves.

    False where there are none that this leaves as they are.
    """
    moves: list[Node] = []
    reader, value = node, node.inputs[0]
    while (made := makers.get(value)) is not None and made.op in BEFORE_QUANTIZE:
        if "".join(made.outputs[1:]) or made.inputs[0] in graph.constants:
            break
        if graph.only_consumer(made.outputs[0]) is not reader:
            break
        moves.append(made)
        reader, value = made, made.inputs[0]
    if not moves or not per_tensor(node, rewriter):
        return False
    dtype = graph.types[node.outputs[0]].dtype
    integers = rewriter.unique(f"{value}.integers")
    quantize = replace(node, inputs=(value, *node.inputs[1:]), outputs=(integers,))
    rewriter.add(quantize, {integers: TensorType(dtype, graph.types[value].shape)})
    for move in reversed(moves):
        last = move is moves[0]
        after = node.outputs[0] if last else rewriter.unique(f"{move.outputs[0]}.integers")
        name = rewriter.unique(f"{move.name}.moved")
        inputs = (integers, *move.inputs[1:])
        kind = TensorType(dtype, graph.types[move.outputs[0]].shape)
        rewriter.add(replace(move, name=name, inputs=inputs, outputs=(after,)), {after: kind})
        integers = after
    return True


def _weights_behind(rewriter: Rewriter, graph: Graph, node: Node, made: Node) -> list[Node]:
    """Moves the integers and scales of constants here and now.

    Returns their new DequantizeLinear.
    """
    integers = rewriter.constants.get(made.inputs[0])
    parameters = [rewriter.constants.get(name) for name in made.inputs[1:] if name]
    if integers is None or any(data is None for data in parameters) or node.op not in RESHAPING:
        return []
    axis = _axis_behind(node, made, graph, rewriter)
    if axis is None:
        return []
    moved = _run(node, np.asarray(integers), graph)
    names = [rewriter.constant(f"{made.inputs[0]}.moved", moved)]
    blocked = made.integer("block_size", 0) > 0
    for name in made.inputs[1:]:
        data = rewriter.constants.get(name)
        if data is not None and blocked:
            name = rewriter.constant(f"{name}.moved", _run(node, np.asarray(data), graph))
        names.append(name)
    attrs: dict[str, Attribute] = {**made.attrs, "axis": axis}
    origin = tuple(dict.fromkeys((*made.origin, *node.origin)))
    moved_on = replace(
        made,
        name=node.name,
        inputs=tuple(names),
        outputs=node.outputs[:1],
        attrs=attrs,
        origin=origin,
    )
    rewriter.add(moved_on)
    return [moved_on]


def _axis_behind(node: Node, made: Node, graph: Graph, rewriter: Rewriter) -> int | None:
    """Finds the axis along which the scales lie after a move; None where they lie along none."""
    before, after = graph.types[made.outputs[0]].sizes, graph.types[node.outputs[0]].sizes
    scale = rewriter.type_of(made.inputs[1])
    if scale.elements == 1 and not made.integer("block_size", 0):
        return 0
    axis = made.integer("axis", 1) % max(1, len(before))
    if node.op == "Transpose":
        order = node.ints("perm", tuple(range(len(before)))[::-1])
        return order.index(axis)
    if made.integer("block_size", 0):
        return None
    # A reshaping keeps an axis where what lies before it, and its own size, stay the same.
    for position, size in enumerate(after):
        if size == before[axis] and np.prod(after[:position], dtype=int) == np.prod(
            before[:axis], dtype=int
        ):
            return position
    return None


def _run(node: Node, data: Array, graph: Graph) -> Array:
    """Moves constant data.

    numpy also moves what ONNX Runtime has no kernel for (4-bit integers).
    """
    if node.op == "Transpose":
        return np.ascontiguousarray(
            np.transpose(data, node.ints("perm", tuple(range(data.ndim))[::-1]))
        )
    return np.ascontiguousarray(data).reshape(graph.types[node.outputs[0]].sizes)
