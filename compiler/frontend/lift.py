"""Lifts a node of ONNX's default domain, of any opset from 7 on, to the graph's one opset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import onnx

from compiler.errors import ModelError
from compiler.frontend.builder import Builder, Unliftable
from compiler.frontend.lift_rules import LIFTS
from compiler.ir.graph import OPSET, Attribute

# Operations that ONNX Runtime runs as they were before this opset and not as they are since.
NEW_WITHOUT_KERNEL = (
    "GlobalLpPool",
    "MaxRoiPool",
    "RoiAlign",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
NEW_WITHOUT_KERNEL_SINCE = 22

Lift = Callable[[onnx.NodeProto, Builder], None]


def lift(proto: onnx.NodeProto, opset: int, builder: Builder) -> None:
    """Adds to the builder what a node means, in opset OPSET.

    Unliftable says why it must be kept whole.
    """
    old = onnx.defs.get_schema(proto.op_type, opset, "")
    handwritten = LIFTS.get(proto.op_type)
    if handwritten is not None and old.since_version < handwritten[0]:
        handwritten[1](proto, builder)
        return
    if proto.op_type in NEW_WITHOUT_KERNEL and old.since_version < NEW_WITHOUT_KERNEL_SINCE:
        raise Unliftable("ONNX Runtime runs it in its older opset only")
    new = schema_at(proto.op_type)
    attrs = attributes(proto)
    newer = old.since_version > OPSET
    if newer and proto.op_type == "Mod" and "float" in builder.types[proto.input[0]].dtype:
        raise Unliftable("Mod of floats by fmod 0 came with opset 28")
    reason = why_not_same_form(proto, old, new, attrs)
    if reason or new is None:
        raise Unliftable(reason)
    for name in set(attrs) - set(new.attributes):
        del attrs[name]
    check_types(proto, new, builder)
    builder.emit(proto.op_type, proto.input, tuple(proto.output), attrs)


@lru_cache(maxsize=512)
def schema_at(op: str) -> onnx.defs.OpSchema | None:
    """Returns an operation's schema in the graph's opset, or None when it is not there."""
    try:
        schema = onnx.defs.get_schema(op, OPSET, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


def why_not_same_form(
    proto: onnx.NodeProto,
    old: onnx.defs.OpSchema,
    new: onnx.defs.OpSchema | None,
    attrs: Mapping[str, Attribute],
) -> str:
    """Explains why a node cannot be taken over as it stands.

    Returns an empty string where both opsets read it alike.
    """
    if new is None:
        return f"{old.name} is not an operation of opset {OPSET}"
    if new.since_version == old.since_version:
        return ""
    if len(proto.input) > new.max_input or len(proto.output) > new.max_output:
        return f"{old.name} has fewer inputs or outputs in opset {OPSET}"
    for name, attribute in old.attributes.items():
        default = attribute.default_value
        if name not in new.attributes:
            if name in attrs and attrs[name] != _value(default):
                return f"{old.name} has no attribute {name} in opset {OPSET}"
        elif name not in attrs and default != new.attributes[name].default_value:
            return f"attribute {name} of {old.name} has another default in opset {OPSET}"
    for name, attribute in new.attributes.items():
        if attribute.required and name not in attrs:
            return f"{old.name} must have attribute {name} in opset {OPSET}"
    return ""


def check_types(proto: onnx.NodeProto, schema: onnx.defs.OpSchema, builder: Builder) -> None:
    """Raises Unliftable when an input has a type that the schema does not take."""
    for position, value in enumerate(proto.input):
        if value and schema.inputs:
            formal = schema.inputs[min(position, len(schema.inputs) - 1)]
            found = type_text(builder, value)
            if found not in formal.types:
                raise Unliftable(f"{schema.name} takes no {found} in opset {schema.since_version}")


def type_text(builder: Builder, value: str) -> str:
    """Writes a tensor's type as ONNX's schemas do."""
    number = builder.dtype_number(value)
    name = str(onnx.TensorProto.DataType.Name(number)).lower()
    return f"tensor({name})"


def require_types(proto: onnx.NodeProto, schema: onnx.defs.OpSchema, builder: Builder) -> None:
    """Raises ModelError M004 when an input's type is not what the operation's own schema allows."""
    bound: dict[str, tuple[str, str]] = {}
    for position, value in enumerate(proto.input):
        if not value or not schema.inputs:
            continue
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        found = type_text(builder, value)
        if found not in formal.types and not _taken_later(proto, position, found):
            wanted = ", ".join(sorted(formal.types))
            raise ModelError(
                f"{proto.op_type} reads {value!r} as its {formal.name}, which is {found}; it "
                f"takes {wanted}",
                code="M004", node=builder.name,
            )  # fmt: skip
        if not formal.is_homogeneous or not formal.type_str.isidentifier():
            continue
        other, other_type = bound.setdefault(formal.type_str, (value, found))
        if other_type != found:
            raise ModelError(
                f"{proto.op_type} takes inputs of one type, {other!r} is {other_type} and "
                f"{value!r} is {found}",
                code="M004", node=builder.name,
            )  # fmt: skip


def _taken_later(proto: onnx.NodeProto, position: int, found: str) -> bool:
    """Whether the graph's opset takes bfloat16 where the model's own opset did not yet.

    torch.onnx exports it all the same.
    """
    newer = schema_at(proto.op_type)
    if found != "tensor(bfloat16)" or newer is None or not newer.inputs:
        return False
    return found in newer.inputs[min(position, len(newer.inputs) - 1)].types


def attributes(proto: onnx.NodeProto) -> dict[str, Attribute]:
    """Reads a node's attributes as the graph writes them.

    An empty list is left out, as it says what an absent one says.
    """
    found = {attribute.name: _value(attribute) for attribute in proto.attribute}
    return {name: value for name, value in found.items() if value != ()}


def _value(attribute: onnx.AttributeProto) -> Attribute:
    kind = attribute.type
    if kind == onnx.AttributeProto.UNDEFINED:
        return ()
    if kind in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(onnx.helper.get_attribute_value(attribute))
    try:
        if kind == onnx.AttributeProto.STRINGS:
            return tuple(text.decode() for text in attribute.strings)
        if kind == onnx.AttributeProto.STRING:
            return attribute.s.decode()
    except UnicodeDecodeError as error:
        raise ModelError(f"attribute {attribute.name!r} is not UTF-8 text") from error
    if kind == onnx.AttributeProto.INT:
        return int(attribute.i)
    if kind == onnx.AttributeProto.FLOAT:
        return float(attribute.f)
    if kind == onnx.AttributeProto.TENSOR:
        return bytes(attribute.t.SerializeToString(deterministic=True))
    raise Unliftable(f"attribute {attribute.name} is not a number, text or tensor")
