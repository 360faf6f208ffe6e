"""Prints a graph as text that people read and `from_text` reads back, so that a report is a test.

One line a node:

    graph mlp(x: float32[1, 4]) -> (y)
    w: float32[4, 2] = const [0.5, -1.0, 2.0, 0.25, 1.0, 1.0, -0.5, 3.0]
    h: float32[1, 2] = MatMul(x, w) @digital
    y: float32[1, 2] = LeakyRelu(h) alpha=0.01 @host

- A node whose name is not its first origin or first output reads `named NAME`.
  `from (a, b)` names the ONNX nodes it came from, `at "model.py:12"` its source.
- Quantized types read `int8:7[1, 8]{scale=0.02, zero=-3}`: the bits where they are not the type's
  own, no zero point where it is 0.
- A float is a float32 in its shortest form; `0.1d` is a double that no float32 equals.
  The elements of a constant are of its own type.
- A large constant reads `random(seed, low, high)`, a long list of scales
  `<64 values sha 1a2b3c4d>`. Parsed, they become random values from that seed, which print as
  they were read.
- Bytes of more than 256 read `<900 bytes sha 1a2b3c4d>` and cannot be parsed.
- A placement that is more than an engine comes after the nodes, whole:
  `placement NODE Placement(...)` with its mapping, reason, costs and alternatives. `@ENGINE`
  alone reads as a HostMapping there.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from compiler.ir.graph import (
    DTYPE_BITS,
    Array,
    Attribute,
    Calibration,
    Graph,
    Node,
    Quant,
    TensorType,
)
from compiler.ir.records import record_text
from compiler.ir.text_lexer import SIMPLE_NAME
from compiler.ir.text_parser import default_name, parse, plain_placement
from compiler.ir.text_placeholders import RandomArray, RandomValues

CONSTANT_LIMIT = 16  # elements shown in full
VALUES_LIMIT = 8  # scales and zero points shown in full
BYTES_LIMIT = 256


def from_text(text: str) -> Graph:
    """Parses the graph that a text describes.

    The form is checked, not the graph: broken graphs can be written too (`compiler.ir.verify`
    checks them). Raises ModelError M001 with the line where it is not what `to_text` writes.
    """
    return parse(text)


def to_text(graph: Graph) -> str:
    """Prints the graph, ending in a newline. Constants that nothing reads are left out."""
    return "".join(f"{line}\n" for line in _lines(graph))


def _lines(graph: Graph) -> Iterator[str]:
    inputs = (_typed(name, graph.types) + _batch(name, graph) for name in graph.inputs)
    outputs = (_name(name) + _batch(name, graph) for name in graph.outputs)
    yield f"graph {_name(graph.name)}({', '.join(inputs)}) -> ({', '.join(outputs)})"
    for domain, version in graph.domains.items():
        yield f"domain {_name(domain)} {version}"
    read = dict.fromkeys(name for node in graph for name in node.inputs)
    for name in [*read, *(name for name in graph.outputs if name not in read)]:
        if name in graph.constants:
            yield f"{_typed(name, graph.types)} = const {_constant(graph.constants[name])}"
    for node in graph:
        yield _node(node, graph.types)
    for node in graph:
        if node.placement is not None and node.placement != plain_placement(node.engine):
            yield f"placement {_name(node.name)} {record_text(node.placement, _quoted)}"
    if graph.partition is not None:
        yield f"partition {record_text(graph.partition, _quoted)}"
    if graph.ledger:
        entries = (_name(key) + (fate and f" {_name(fate)}") for key, fate in graph.ledger.items())
        yield f"ledger ({', '.join(entries)})"
    if graph.calibration is not None:
        yield from _calibration(graph.calibration)


def _calibration(calibration: Calibration) -> Iterator[str]:
    estimated = f" estimated {calibration.estimated}" if calibration.estimated else ""
    yield (
        f"calibration {_quoted(calibration.kind)} on {_quoted(calibration.inputs_hash)}{estimated}"
    )
    for value, (low, high) in calibration.ranges.items():
        yield f"range {_name(value)} [{_float(low)}, {_float(high)}]"
    for node, formats in calibration.divergence.items():
        shown = ", ".join(f"{_name(str(key))} {_float(number)}" for key, number in formats.items())
        yield f"divergence {_name(node)} ({shown})"
    for value, number in calibration.rounding.items():
        yield f"rounding {_name(value)} {_float(number)}"


def _batch(name: str, graph: Graph) -> str:
    return f" batch {graph.batch_axes[name]}" if name in graph.batch_axes else ""


def _node(node: Node, types: Mapping[str, TensorType]) -> str:
    results = ", ".join(_typed(name, types) for name in node.outputs)
    words = [f"{results} = {_name(node.op)}({_names(node.inputs)})".lstrip()]
    words += [f"{_name(key)}={_attribute(value)}" for key, value in node.attrs.items()]
    if node.name != default_name(node.outputs, node.origin):
        words.append(f"named {_name(node.name)}")
    if node.origin:
        words.append(f"from ({_names(node.origin)})")
    if node.source:
        words.append(f"at {_quoted(node.source)}")
    if node.placement is not None:
        words.append(f"@{_name(node.engine)}")
    return " ".join(words)


def _typed(name: str, types: Mapping[str, TensorType]) -> str:
    return f"{_name(name)}: {_type(types[name])}" if name and name in types else _name(name)


def _type(kind: TensorType) -> str:
    quant = kind.quant
    bits = "" if quant is None or quant.bits == DTYPE_BITS.get(kind.dtype) else f":{quant.bits}"
    sizes = "..."
    if kind.shape is not None:
        sizes = ", ".join("?" if size is None else str(size) for size in kind.shape)
    return f"{_name(kind.dtype)}{bits}[{sizes}]{_quant(quant, kind.dtype) if quant else ''}"


def _quant(quant: Quant, dtype: str) -> str:
    parts = [f"scale={_values(quant.scale)}"]
    if quant.zero_point != (0,) * len(quant.scale):
        parts.append(f"zero={_values(quant.zero_point)}")
    if quant.axis is not None:
        parts.append(f"axis={quant.axis}")
    if quant.signed != dtype.startswith("int"):
        parts.append(f"signed={int(quant.signed)}")
    return f"{{{', '.join(parts)}}}"


def _values(values: tuple[float, ...] | tuple[int, ...]) -> str:
    """Prints scales or zero points: one plain, a few as a list, many as their number and hash."""
    if isinstance(values, RandomValues):
        return values.text
    if len(values) > VALUES_LIMIT:
        return f"<{len(values)} values sha {_sha(repr(values).encode())}>"
    shown = [_float(value) if isinstance(value, float) else str(value) for value in values]
    return shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"


def _constant(data: Array) -> str:
    if isinstance(data, RandomArray) and data.text:
        return data.text
    flat = np.asarray(data).reshape(-1)
    if np.iscomplexobj(flat):
        flat = flat.view(np.float32 if flat.dtype == np.complex64 else np.float64)
    if flat.size <= CONSTANT_LIMIT or flat.dtype.kind in "OUS":
        return f"[{', '.join(_element(item) for item in flat)}]"
    seed = int(_sha(np.ascontiguousarray(data).tobytes()), 16)
    known = flat[np.isfinite(flat.astype(np.float64))]
    bounds = [_element(known.min()), _element(known.max())] if known.size else []
    return f"random({', '.join([str(seed), *bounds])})"


def _element(item: object) -> str:
    """Prints an element of a constant, in the shortest form that reads back in its own type."""
    if isinstance(item, str):
        return _quoted(item)
    return str(int(item)) if isinstance(item, np.bool) else str(item)


def _attribute(value: Attribute) -> str:
    if isinstance(value, bytes):
        if len(value) > BYTES_LIMIT:
            return f"<{len(value)} bytes sha {_sha(value)}>"
        return f'bytes("{base64.b64encode(value).decode()}")'
    if isinstance(value, tuple):
        return f"[{', '.join(_attribute(item) for item in value)}]"
    if isinstance(value, str):
        return _quoted(value)
    return _float(value) if isinstance(value, float) else str(int(value))


def _float(value: float) -> str:
    with np.errstate(over="ignore"):
        short = np.float32(value)
    return str(short) if float(short) == value or value != value else f"{value!r}d"


def _names(names: Iterable[str]) -> str:
    return ", ".join(_name(name) for name in names)


def _name(name: str) -> str:
    return name if SIMPLE_NAME.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(ch if ch.isprintable() else json.dumps(ch)[1:-1] for ch in plain)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
