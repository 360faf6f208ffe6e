"""Parses the text form of a graph (described in compiler.ir.text), line by line."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import replace
from typing import Any, cast

import numpy as np

from compiler.errors import ModelError
from compiler.ir.formats import Format
from compiler.ir.graph import (
    DTYPE_BITS,
    Array,
    Attribute,
    Calibration,
    Graph,
    Node,
    PartitionSummary,
    Placement,
    Quant,
)
from compiler.ir.graph import TensorType as Type
from compiler.ir.mapping import HostMapping
from compiler.ir.records import read_record
from compiler.ir.text_lexer import Line
from compiler.ir.text_placeholders import (
    dtype_of,
    is_whole,
    random_array,
    random_values,
    wide_integer,
)

_MANY_VALUES = re.compile(r"<(\d{1,7}) values sha ([0-9a-f]{8})>")


def parse(text: str) -> Graph:
    """Parses the graph that a text describes; ModelError M001 with the line and what was wanted."""
    lines = [Line(number, line) for number, line in enumerate(text.split("\n"), 1)]
    filled = [line for line in lines if line.kind != "end"]
    if not filled:
        raise ModelError(
            "line 1: wanted 'graph NAME(inputs) -> (outputs)', found no text", code="M001"
        )
    reader = _Reader(filled[0])
    for line in filled[1:]:
        reader.read(line)
    return reader.finish()


def default_name(outputs: tuple[str, ...], origin: tuple[str, ...]) -> str:
    """Names a node whose text gives no name: by its first origin, else its first output."""
    return next((name for name in (*origin, *outputs) if name), "")


class _Reader:
    """Collects the graph from its lines; the first is its header."""

    def __init__(self, header: Line) -> None:
        self._types: dict[str, Type] = {}
        self._batch_axes: dict[str, int] = {}
        self._constants: dict[str, Array] = {}
        self._nodes: list[Node] = []
        self._domains: dict[str, int] = {}
        self._ledger: dict[str, str] = {}
        self._calibration: Calibration | None = None
        self._partition: PartitionSummary | None = None
        header.want("graph")
        self._name = header.name()
        self._inputs = header.items("(", lambda: self._end_value(header), ")")
        header.want("->")
        self._outputs = header.items("(", lambda: self._end_value(header), ")")
        header.end()

    def finish(self) -> Graph:
        return Graph(
            name=self._name,
            inputs=self._inputs,
            outputs=self._outputs,
            nodes=tuple(self._nodes),
            types=self._types,
            constants=self._constants,
            domains=self._domains,
            batch_axes=self._batch_axes,
            ledger=self._ledger,
            calibration=self._calibration,
            partition=self._partition,
        )

    def read(self, line: Line) -> None:
        """Reads one line after the header: a word and its entry, or values and what makes them."""
        readers = {
            "domain": self._read_domain, "ledger": self._read_ledger, "range": self._read_range,
            "calibration": self._read_calibration, "divergence": self._read_divergence,
            "rounding": self._read_rounding, "placement": self._read_placement,
            "partition": self._read_partition,
        }  # fmt: skip
        if line.next in readers and (
            line.second.kind in ("name", "text") or line.second.text == "("
        ):
            readers[line.take()](line)
        else:
            self._read_values(line)
        line.end()

    def _end_value(self, line: Line) -> str:
        """Reads an input or output of the graph."""
        name = self._value(line)
        if line.took("batch"):
            self._batch_axes[name] = line.integer()
        return name

    def _value(self, line: Line) -> str:
        name = line.name()
        if line.took(":"):
            self._types[name] = _type(line)
        return name

    def _read_domain(self, line: Line) -> None:
        name = line.name()
        self._domains[name] = line.integer()

    def _read_ledger(self, line: Line) -> None:
        def entry() -> tuple[str, str]:
            return line.name(), line.name() if line.kind in ("name", "text") else ""

        self._ledger.update(line.items("(", entry, ")"))

    def _read_calibration(self, line: Line) -> None:
        kind = line.text()
        line.want("on")
        inputs_hash = line.text()
        estimated = line.integer() if line.took("estimated") else 0
        self._calibration = Calibration(
            ranges={}, divergence={}, kind=kind, inputs_hash=inputs_hash, estimated=estimated
        )

    def _read_range(self, line: Line) -> None:
        seen, name = self._seen(line), line.name()
        bounds = line.items("[", lambda: float(line.number()), "]")
        if len(bounds) != 2:
            line.refuse(f"a range has two bounds, that of {name} has {len(bounds)}")
        self._calibration = replace(seen, ranges={**seen.ranges, name: (bounds[0], bounds[1])})

    def _read_divergence(self, line: Line) -> None:
        seen, name = self._seen(line), line.name()
        formats = dict(line.items("(", lambda: (_format(line), float(line.number())), ")"))
        self._calibration = replace(seen, divergence={**seen.divergence, name: formats})

    def _read_rounding(self, line: Line) -> None:
        seen, name = self._seen(line), line.name()
        self._calibration = replace(seen, rounding={**seen.rounding, name: float(line.number())})

    def _read_placement(self, line: Line) -> None:
        name, placement = line.name(), read_record(line)
        at = next((i for i, node in enumerate(self._nodes) if node.name == name), None)
        if at is None or not isinstance(placement, Placement):
            line.refuse(f"wanted the Placement of a node above, found one of {name!r}")
        if placement.engine != self._nodes[at].engine:
            line.refuse(f"{name!r} runs on {self._nodes[at].engine!r} as its own line says")
        self._nodes[at] = replace(self._nodes[at], placement=placement)

    def _read_partition(self, line: Line) -> None:
        found = read_record(line)
        if not isinstance(found, PartitionSummary):
            line.refuse("wanted a PartitionSummary")
        self._partition = found

    def _seen(self, line: Line) -> Calibration:
        return self._calibration or line.refuse("wanted a line 'calibration' before this one")

    def _read_values(self, line: Line) -> None:
        outputs: list[str] = []
        while not line.took("="):
            if outputs and not line.took(","):
                line.fail("',' or '='")
            outputs.append(self._value(line))
        if line.next == "const" and line.second.text != "(":
            line.take()
            self._read_constant(line, outputs)
        else:
            self._nodes.append(_node(line, tuple(outputs)))

    def _read_constant(self, line: Line, outputs: list[str]) -> None:
        kind = self._types.get(outputs[0]) if len(outputs) == 1 else None
        if kind is None or not kind.is_static:
            line.refuse("a constant is one value of a known type and size")
        try:
            data = _constant(line, kind)
        except ValueError as error:
            line.refuse(str(error))
        data.setflags(write=False)
        self._constants[outputs[0]] = data


def _node(line: Line, outputs: tuple[str, ...]) -> Node:
    op, inputs = line.name(), line.names()
    attrs: dict[str, Attribute] = {}
    name, source = "", ""
    origin: tuple[str, ...] = ()
    placement = None
    while line.kind != "end":
        if line.second.text == "=" and line.kind in ("name", "text"):
            key = line.name()
            line.want("=")
            attrs[key] = _attribute(line)
        elif line.took("named"):
            name = line.name()
        elif line.took("from"):
            origin = line.names()
        elif line.took("at"):
            source = line.text()
        elif line.took("@"):
            placement = plain_placement(line.name())
        else:
            line.fail("attribute=value, 'named', 'from', 'at' or '@engine'")
    name = name or default_name(outputs, origin)
    return Node(
        name=name,
        op=op,
        inputs=inputs,
        outputs=outputs,
        attrs=attrs,
        placement=placement,
        origin=origin,
        source=source,
    )


def plain_placement(engine: str) -> Placement:
    """Builds the placement that `@ENGINE` alone stands for."""
    return Placement(mapping=HostMapping(engine=engine))


def _attribute(line: Line) -> Attribute:
    if line.next == "[":
        items = line.items("[", lambda: _text_or_number(line), "]")
        return cast(Attribute, items)
    if line.took("bytes"):
        encoded = "".join(line.items("(", line.text, ")"))
        try:
            return base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            line.refuse("bytes are written in base64")
    if line.kind == "placeholder":
        line.refuse(f"the bytes {line.next} were too long for the text and cannot be read back")
    return _text_or_number(line)


def _text_or_number(line: Line) -> str | int | float:
    return line.text() if line.kind == "text" else line.number()


def _type(line: Line) -> Type:
    colon = line.kind == "name" and re.fullmatch(r"(.*):([0-9]{1,2})", line.next)
    dtype, bits = (colon[1], int(colon[2])) if colon else (line.next, 0)
    written = line.name()
    dtype = dtype if colon else written
    shape: tuple[int | None, ...] | None = None
    if line.next == "[" and line.second.text == "...":
        line.want("[", "...", "]")
    else:
        shape = line.items("[", lambda: _size(line), "]")
    quant = _quant(line, dtype, bits or DTYPE_BITS.get(dtype, 0)) if line.next == "{" else None
    if bits and quant is None:
        line.fail(f"'{{scale=...}}' after {written}")
    return Type(dtype, shape, quant)


def _size(line: Line) -> int | None:
    if line.took("?"):
        return None
    return line.fail("a size of 0 or more, or '?'") if line.next.startswith("-") else line.integer()


def _quant(line: Line, dtype: str, bits: int) -> Quant:
    found: dict[str, tuple[float, ...]] = {}

    def entry() -> None:
        if line.next not in ("scale", "zero", "axis", "signed"):
            line.fail("scale, zero, axis or signed")
        key = line.take()
        line.want("=")
        many = key in ("scale", "zero")
        found[key] = _values(line, whole=key == "zero") if many else (line.integer(),)

    line.items("{", entry, "}")
    scale = found.get("scale", ())
    zero = found.get("zero", (0,) * len(scale))
    (axis,) = found.get("axis", (None,))
    (signed,) = found.get("signed", (dtype.startswith("int"),))
    if not scale:
        line.refuse("a quantization needs a scale")
    whole_axis = None if axis is None else int(axis)
    return Quant(
        bits=bits,
        signed=bool(signed),
        scale=scale,
        zero_point=cast(tuple[int, ...], zero),
        axis=whole_axis,
    )


def _values(line: Line, *, whole: bool) -> tuple[float, ...]:
    """Reads one number, a list of them, or random ones from the hash of a long list."""

    def number() -> float:
        return line.integer() if whole else float(line.number())

    if line.kind != "placeholder":
        return line.items("[", number, "]") if line.next == "[" else (number(),)
    match = _MANY_VALUES.fullmatch(line.next)
    if match is None:
        line.fail("'<64 values sha 1a2b3c4d>'")
    return random_values(int(match[1]), match[2], line.take(), whole=whole)


def _constant(line: Line, kind: Type) -> Array:
    """Reads the data of a constant; ValueError with what is wrong."""
    if line.took("random"):
        return random_array(kind, line.items("(", line.raw_number, ")"))
    if line.next != "[":
        line.fail("'[' or 'random'")
    items = line.items("[", lambda: line.text() if line.kind == "text" else line.raw_number(), "]")
    dtype = dtype_of(kind)
    count = kind.elements * (2 if dtype.kind == "c" else 1)
    if len(items) != count:
        raise ValueError(f"the type wants {count} elements, the list has {len(items)}")
    try:
        return _data(items, dtype).reshape(kind.sizes)
    except (ValueError, OverflowError):
        raise ValueError(f"an element is no {kind.dtype}") from None


def _data(items: tuple[str, ...], dtype: np.dtype[Any]) -> Array:
    """Lays out the elements in their type, flat; an error of numpy's where one does not fit."""
    if dtype.kind == "O":
        return np.array(items, dtype)
    if is_whole(dtype):
        wide = np.array([int(item) for item in items], wide_integer(dtype))
        data = wide.astype(dtype)
        if not np.array_equal(data.astype(wide.dtype), wide):
            raise ValueError
        return data
    part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    with np.errstate(over="ignore"):
        return np.array([float(item) for item in items]).astype(part).view(dtype)


def _format(line: Line) -> Format:
    """Reads a number format; LineError where the text is none."""
    text = line.name()
    try:
        return Format.parse(text)
    except ValueError as error:
        return line.refuse(str(error))
