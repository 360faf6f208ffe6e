"""Changes a model a little: its bytes, the fields of its message, or its graph.

A change of the graph is one that a person could have made.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import onnx

NAMES = ("", "../../x", "$(x)", "a\nb", "<script>", "x" * 3000, "\ud7ff", "é", "0")
NUMBERS = (0, 1, -1, 2, 7, 255, 1 << 20, (1 << 31) - 1, -(1 << 31), 1 << 40, (1 << 63) - 1)
REALS = (0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e38, 1e-45)


def bytes_mutated(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, cut out, doubled or appended."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 16))):
        at = chance.randrange(len(changed) + 1)
        kind = chance.randrange(5)
        length = chance.choice((1, 2, 8, 64))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[at : at + length]
        elif chance.random() < 0.2:
            del changed[at:]
    return bytes(changed)


def message_mutated(data: bytes, chance: random.Random) -> bytes:
    """Removes, repeats or sets to wrong values one to three fields of a model, at any depth."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        places = list(_fields(model))
        weights = [1 / (1 + depth) for _, _, depth in places]
        if places:
            message, field, _ = chance.choices(places, weights)[0]
            _change(message, field, chance, model)
    return bytes(model.SerializeToString())


def _fields(message: Any, depth: int = 0) -> Iterator[tuple[Any, Any, int]]:
    for field, value in message.ListFields():
        yield message, field, 0 if depth == 0 else 1
        if field.type == field.TYPE_MESSAGE:
            for item in value if hasattr(value, "append") else [value]:
                yield from _fields(item, depth + 1)


def _change(message: Any, field: Any, chance: random.Random, model: onnx.ModelProto) -> None:
    value = getattr(message, field.name)
    if hasattr(value, "append") and len(value):
        index = chance.randrange(len(value))
        kind = chance.randrange(4)
        if kind == 0:
            del value[index]
        elif kind == 1 and field.type == field.TYPE_MESSAGE:
            value.add().CopyFrom(value[index])
        elif field.type == field.TYPE_MESSAGE:
            value[chance.randrange(len(value))].CopyFrom(value[index])
        else:
            value[index] = _strange(value[index], chance, model)
        return
    if chance.random() < 0.3 or field.type == field.TYPE_MESSAGE:
        message.ClearField(field.name)
        return
    with contextlib.suppress(ValueError):
        setattr(message, field.name, _strange(value, chance, model))


def _strange(value: Any, chance: random.Random, model: onnx.ModelProto) -> Any:
    if isinstance(value, str):
        others = [name for node in model.graph.node for name in [*node.input, *node.output]]
        return chance.choice([*NAMES, *others[:40]])
    if isinstance(value, bytes):
        return bytes_mutated(value, chance)
    if isinstance(value, float):
        return chance.choice(REALS)
    number = chance.choice(NUMBERS)
    return number if abs(number) < 1 << 31 or abs(value) >= 1 << 31 else chance.randrange(64)


# -- changes of the graph, which lead past the first checks


def graph_mutated(data: bytes, chance: random.Random) -> bytes:
    """One to three changes that leave a model whose message is sound."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        if model.graph.node:
            chance.choice(_CHANGES)(model, chance)
    return bytes(model.SerializeToString())


def _drop_input(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    if node.input:
        at = chance.randrange(len(node.input))
        if chance.random() < 0.5:
            del node.input[at]
        else:
            node.input[at] = ""


def _other_input(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    names = [value.name for value in model.graph.input] + [t.name for t in model.graph.initializer]
    names += [name for other in model.graph.node for name in other.output]
    if node.input and names:
        node.input[chance.randrange(len(node.input))] = chance.choice(names)


def _swapped_inputs(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    inputs = list(node.input)
    chance.shuffle(inputs)
    node.input[:] = inputs


def _drop_weight(model: onnx.ModelProto, chance: random.Random) -> None:
    """A weight that is gone, or an input of the model in its place."""
    if not model.graph.initializer:
        return
    at = chance.randrange(len(model.graph.initializer))
    tensor = model.graph.initializer[at]
    if chance.random() < 0.5:
        value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(value)
    del model.graph.initializer[at]


def _other_output(model: onnx.ModelProto, chance: random.Random) -> None:
    """Another value is an output of the model too, its type left for the reader to find."""
    node = chance.choice(model.graph.node)
    if len(node.output) and node.output[0] not in [value.name for value in model.graph.output]:
        model.graph.output.append(onnx.ValueInfoProto(name=node.output[0]))


def _other_operation(model: onnx.ModelProto, chance: random.Random) -> None:
    node = chance.choice(model.graph.node)
    node.op_type = chance.choice(_operations())
    if chance.random() < 0.5:
        del node.attribute[:]


@cache
def _operations() -> list[str]:
    return sorted({schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain})


def _other_type(model: onnx.ModelProto, chance: random.Random) -> None:
    """Another element type, of as many bytes where a weight has it."""
    kinds = ((1, 6, 12), (2, 3, 9), (4, 5, 10, 16), (7, 11, 13))
    if model.graph.initializer and chance.random() < 0.6:
        tensor = chance.choice(model.graph.initializer)
        same = next((kind for kind in kinds if tensor.data_type in kind), (1,))
        tensor.data_type = chance.choice(same)
    elif model.graph.input:
        value = chance.choice(model.graph.input)
        value.type.tensor_type.elem_type = chance.choice(
            [number for kind in kinds for number in kind]
        )


def _other_sizes(model: onnx.ModelProto, chance: random.Random) -> None:
    """Another shape, of as many elements where a weight has it."""
    if model.graph.initializer and chance.random() < 0.6:
        dims = chance.choice(model.graph.initializer).dims
        dims.insert(chance.randrange(len(dims) + 1), 1)
        shuffled = list(dims)
        chance.shuffle(shuffled)
        dims[:] = shuffled
    elif model.graph.input:
        dims = chance.choice(model.graph.input).type.tensor_type.shape.dim
        if dims:
            chance.choice(dims).dim_value = chance.choice((0, 1, 2, 3, 5, 64))


def _other_attribute(model: onnx.ModelProto, chance: random.Random) -> None:
    found = [attribute for node in model.graph.node for attribute in node.attribute]
    if not found:
        return
    attribute = chance.choice(found)
    if attribute.ints:
        at = chance.randrange(len(attribute.ints))
        attribute.ints[at] = chance.choice((-1, 0, 1, 2, attribute.ints[at] + 1, 99))
        if chance.random() < 0.3:
            attribute.ints.append(1)
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = chance.choice((-2, -1, 0, 1, 2, 7))
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = chance.choice(REALS)


def _other_opset(model: onnx.ModelProto, chance: random.Random) -> None:
    if model.opset_import:
        model.opset_import[0].version = chance.randrange(5, 30)


def _again(model: onnx.ModelProto, chance: random.Random) -> None:
    """A node a second time, its outputs under other names, read by nobody or by the next."""
    node = onnx.NodeProto()
    node.CopyFrom(chance.choice(model.graph.node))
    node.name = ""
    for index, name in enumerate(node.output):
        node.output[index] = f"{name}.again"
    if len(node.output) and chance.random() < 0.5:
        reader = chance.choice(model.graph.node)
        if reader.input:
            reader.input[0] = node.output[0]
    model.graph.node.insert(0, node)


_CHANGES: tuple[Callable[[onnx.ModelProto, random.Random], None], ...] = (
    _drop_input, _other_input, _swapped_inputs, _drop_weight, _other_output, _other_operation,
    _other_type, _other_sizes, _other_attribute, _other_opset, _again,
)  # fmt: skip
