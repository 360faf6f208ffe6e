"""Writes docs/supported/<chip>.md: which engine takes which operation, by the rules of legality.

Every row is an example: a small graph, brought by the compiler's own passes to the form in which it
is placed, and the answer of compiler.engines.legality for each engine. Operations of which no
example stands here are asked about as a node of float32 values, and grouped by the answer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import onnx

from compiler.engines.legality import why_not
from compiler.ir.graph import OPSET, Graph, Node, TensorType
from compiler.ir.ops import PRODUCTS as PLACED_PRODUCTS
from compiler.ir.text import from_text
from compiler.target.chip import Analog, Host, Target, built_in, load_target
from passes.base import run_passes
from passes.pipeline import clean_passes, matrix_passes

IMAGE = "x: float32[1, 8, 8, 8]"
FLAT = "x: float32[1, 8]"
CHANNELS = "c: float32[1, 8, 1, 1] = const random(1)"


@dataclass(frozen=True)
class Example:
    """An operation as a model might have it: what the row says, and the lines of its graph.

    `made` is the type of its output y, `before` the lines of constants and earlier nodes.
    """

    says: str
    call: str
    inputs: str = IMAGE
    made: str = "float32[1, 8, 8, 8]"
    before: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """The ONNX operation that it shows."""
        return self.call.partition("(")[0]

    @property
    def graph(self) -> Graph:
        """Its graph; the node in question comes from the ONNX node `it`."""
        lines = (
            f"graph example({self.inputs}) -> (y)",
            *self.before,
            f"y: {self.made} = {self.call} from (it)",
            "ledger (it)",
        )
        return from_text("\n".join(lines) + "\n")


def _unary(*operations: str) -> tuple[Example, ...]:
    return tuple(Example(f"`{name}`", f"{name}(x)") for name in operations)


PRODUCTS = (
    Example(
        "`Conv` with constant weights, any stride, padding and dilation", "Conv(x, w)",
        made="float32[1, 16, 6, 6]", before=("w: float32[16, 8, 3, 3] = const random(1)",),
    ),
    Example(
        "`Conv` in one or three dimensions", "Conv(x, w)", "x: float32[1, 8, 16]",
        "float32[1, 16, 14]", ("w: float32[16, 8, 3] = const random(1)",),
    ),
    Example(
        "`Conv`, grouped or depthwise", "Conv(x, w) group=8",
        made="float32[1, 8, 6, 6]", before=("w: float32[8, 1, 3, 3] = const random(1)",),
    ),
    Example(
        "`Conv` with weights that are computed", "Conv(x, w)", f"{IMAGE}, w: float32[16, 8, 3, 3]",
        "float32[1, 16, 6, 6]",
    ),
    Example(
        "`ConvTranspose` with constant weights (analog arrays: its matrix product)",
        "ConvTranspose(x, w) strides=[2, 2]",
        made="float32[1, 16, 16, 16]", before=("w: float32[8, 16, 2, 2] = const random(1)",),
    ),
    Example(
        "`Gemm` with constant weights", "Gemm(x, w)", FLAT, "float32[1, 4]",
        ("w: float32[8, 4] = const random(1)",),
    ),
    Example(
        "`MatMul` with a constant matrix", "MatMul(x, w)", "x: float32[1, 16, 8]",
        "float32[1, 16, 4]", ("w: float32[8, 4] = const random(1)",),
    ),
    Example(
        "`MatMul` of two activations", "MatMul(x, w)", "x: float32[1, 16, 8], w: float32[1, 8, 4]",
        "float32[1, 16, 4]",
    ),
    Example(
        "`LSTM` (`GRU` and `RNN` likewise)", "LSTM(x, w, r) hidden_size=4", "x: float32[5, 1, 8]",
        "float32[5, 1, 1, 4]",
        ("w: float32[1, 16, 8] = const random(1)", "r: float32[1, 16, 4] = const random(2)"),
    ),
)  # fmt: skip

ELEMENTWISE = (
    Example("`Add` of two activations", "Add(x, z)", f"{IMAGE}, z: float32[1, 8, 8, 8]"),
    Example("`Add` of a constant", "Add(x, c)", before=(CHANNELS,)),
    Example(
        "`Add` of a constant that holds an infinity (a mask)", "Add(x, c)",
        before=("c: float32[1] = const [-inf]",),
    ),
    Example("`Add` of integers", "Add(x, z)", "x: int64[8], z: int64[8]", "int64[8]"),
    Example("`Mul` of two activations", "Mul(x, z)", f"{IMAGE}, z: float32[1, 8, 8, 8]"),
    Example("`Mul` by a constant", "Mul(x, c)", before=(CHANNELS,)),
    Example("`Sub`", "Sub(x, z)", f"{IMAGE}, z: float32[1, 8, 8, 8]"),
    Example("`Div`", "Div(x, z)", f"{IMAGE}, z: float32[1, 8, 8, 8]"),
    Example(
        "`Clip` with constant bounds", "Clip(x, a, b)",
        before=("a: float32[] = const [0.0]", "b: float32[] = const [6.0]"),
    ),
    Example("`Clip` with bounds that are computed", "Clip(x, a)", f"{IMAGE}, a: float32[]"),
    *_unary(
        "Relu", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Gelu",
        "Softplus", "Softsign", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Mish", "Celu", "Selu",
        "ThresholdedRelu",
    ),
    Example(
        "`Relu` of more than six axes", "Relu(x)", "x: float32[1, 2, 2, 2, 2, 2, 2]",
        "float32[1, 2, 2, 2, 2, 2, 2]",
    ),
    Example("`Relu` of unknown size", "Relu(x)", "x: float32[1, ?]", "float32[1, ?]"),
    Example("`Softmax`", "Softmax(x)"),
)  # fmt: skip

POOLS = (
    Example(
        "`MaxPool`", "MaxPool(x) kernel_shape=[2, 2] strides=[2, 2]", made="float32[1, 8, 4, 4]"
    ),
    Example(
        "`MaxPool` with `ceil_mode`", "MaxPool(x) kernel_shape=[3, 3] strides=[2, 2] ceil_mode=1",
        made="float32[1, 8, 4, 4]",
    ),
    Example(
        "`MaxPool` with dilations", "MaxPool(x) kernel_shape=[2, 2] dilations=[2, 2]",
        made="float32[1, 8, 6, 6]",
    ),
    Example(
        "`MaxPool` with automatic padding",
        'MaxPool(x) kernel_shape=[2, 2] strides=[2, 2] auto_pad="SAME_UPPER"',
        made="float32[1, 8, 4, 4]",
    ),
    Example(
        "`AveragePool`", "AveragePool(x) kernel_shape=[2, 2] strides=[2, 2]",
        made="float32[1, 8, 4, 4]",
    ),
    Example("`GlobalAveragePool`", "GlobalAveragePool(x)", made="float32[1, 8, 1, 1]"),
    Example(
        "`ReduceMean` over the feature map", "ReduceMean(x, a)", made="float32[1, 8, 1, 1]",
        before=("a: int64[2] = const [2, 3]",),
    ),
)  # fmt: skip

MOVEMENT = (
    Example(
        "`Reshape`", "Reshape(x, s)", made="float32[1, 512]",
        before=("s: int64[2] = const [1, 512]",),
    ),
    Example("`Flatten`", "Flatten(x)", made="float32[1, 512]"),
    Example(
        "`Squeeze`", "Squeeze(x, a)", "x: float32[1, 8, 1]", "float32[1, 8]",
        ("a: int64[1] = const [2]",),
    ),
    Example(
        "`Unsqueeze`", "Unsqueeze(x, a)", FLAT, "float32[1, 8, 1]", ("a: int64[1] = const [2]",)
    ),
    Example("`Transpose`", "Transpose(x) perm=[0, 2, 3, 1]"),
    Example(
        "`Slice` with constant bounds", "Slice(x, s, e, a)", made="float32[1, 4, 8, 8]",
        before=("s: int64[1] = const [0]", "e: int64[1] = const [4]", "a: int64[1] = const [1]"),
    ),
    Example(
        "`Concat`", "Concat(x, z) axis=1", f"{IMAGE}, z: float32[1, 8, 8, 8]",
        "float32[1, 16, 8, 8]",
    ),
    Example(
        "`Pad` by constants", "Pad(x, p)", made="float32[1, 8, 10, 10]",
        before=("p: int64[8] = const [0, 0, 1, 1, 0, 0, 1, 1]",),
    ),
    Example(
        "`Split`", "Split(x) axis=1 num_outputs=2",
        made="float32[1, 4, 8, 8], y2: float32[1, 4, 8, 8]",
    ),
    Example("`DepthToSpace`", "DepthToSpace(x) blocksize=2", made="float32[1, 2, 16, 16]"),
    Example("`SpaceToDepth`", "SpaceToDepth(x) blocksize=2", made="float32[1, 32, 4, 4]"),
)  # fmt: skip

SECTIONS = {
    "Matrix products": PRODUCTS,
    "Element by element": ELEMENTWISE,
    "Pools": POOLS,
    "Movement of data": MOVEMENT,
}
# What import turns into other operations: docs/dialects.md.
QUANTIZED = (
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv",
    "QLinearMatMul", "QuantizeLinear",
)  # fmt: skip
# What the passes take away before anything is placed: no engine is asked.
GONE = ("BatchNormalization", "Cast", "Constant", "Dropout", "Identity", "Shape", "Size")


def page(chip: str) -> str:
    """The page of one chip."""
    target = load_target(chip)
    engines = [name for name, unit in target.chip.engines.items() if not isinstance(unit, Host)]
    if not engines:
        return _page_of_host(chip, target)
    lines = [
        f"# What the engines of `{chip}` take",
        "",
        *_wrapped(
            f"This page says which operation can run on which engine of `{chip}`, and why not",
            "where it cannot. `make pages` writes it from the rules that the compiler itself asks",
            "(`compiler/engines/legality.py`); the words are those of reports and errors.",
        ),
        "",
        *_wrapped(
            f"Whatever no other engine takes runs on the host `{target.host[0]}`, in floats,",
            "control flow included. Values are float32 in the model; on an engine they become the",
            "integers of its formats. Quantized models come to the same forms first:",
            "[dialects.md](../dialects.md). Where a node *does* run is decided by energy:",
            "`joulec explain`. What the engines would take of a model of yours:",
            f"`joulec inspect MODEL --target {chip}`.",
        ),
        "",
    ]
    for title, examples in SECTIONS.items():
        lines += [f"## {title}", "", *_head("operation", engines)]
        for example in examples:
            answers = (_shown(_asked(example, name, target)) for name in engines)
            lines.append(_row([example.says, *answers]))
        lines.append("")
    lines += ["## Other operations", "", *_head("operations", engines)]
    for operations, reasons in _others(engines, target):
        lines.append(_row([_listed(operations), *map(_shown, reasons)]))
    lines += [
        "",
        *_wrapped(
            f"Gone before anything is placed, where the model allows: {_listed(GONE)} (a batch",
            "norm goes into the weights before it, constants are computed while compiling).",
        ),
        "",
        *_wrapped(
            "Come to other operations first, as [dialects.md](../dialects.md) says:",
            f"{_listed(QUANTIZED)}, and those of com.microsoft.",
        ),
        "",
    ]
    return "\n".join(lines)


def _page_of_host(chip: str, target: Target) -> str:
    """The page of a chip that has nothing but a host."""
    lines = [
        f"# What the engines of `{chip}` take",
        "",
        *_wrapped(
            f"`{chip}` has no engine but its host `{target.host[0]}`, which takes every operation",
            "of a model that compiles, control flow included. What is quantized in the model runs",
            "in its integers and gives what ONNX Runtime gives of the file; what is not runs in",
            "floats. Quantized models come to the same forms first: [dialects.md](../dialects.md).",
            "`make pages` writes this page.",
        ),
        "",
    ]
    return "\n".join(lines)


def _wrapped(*words: str) -> list[str]:
    return textwrap.wrap(" ".join(words), 100, break_long_words=False, break_on_hyphens=False)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _head(first: str, engines: Sequence[str]) -> list[str]:
    names = [f"`{name}`" for name in engines]
    return [_row([first, *names]), _row(["---"] * (1 + len(names)))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(reason: str) -> str:
    return f"no: {reason}".replace("|", "\\|") if reason else "yes"


def _asked(example: Example, engine: str, target: Target) -> str:
    """Why an engine cannot take what an example became; empty when it takes all of it."""
    graph = _placed_form(example)
    nodes = [node for node in graph if "it" in node.origin]
    assert nodes, f"nothing is left of {example.says}"
    if isinstance(target.chip.engines[engine], Analog):  # what only moves data goes elsewhere
        nodes = [node for node in nodes if node.op in PLACED_PRODUCTS] or nodes
    reasons = (why_not(engine, node, graph, target) for node in nodes)
    return next((reason for reason in reasons if reason), "")


@cache
def _placed_form(example: Example) -> Graph:
    """An example's graph as partition would see it: no pass so far looks at the chip."""
    passes = (*clean_passes(), *matrix_passes())
    return run_passes(example.graph, passes, load_target(built_in()[0]))


def _others(engines: Sequence[str], target: Target) -> Iterator[tuple[list[str], tuple[str, ...]]]:
    """Operations that no example shows, grouped by the engines' answers, where OP is the name."""
    shown = {example.operation for examples in SECTIONS.values() for example in examples}
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in operations():
        if name not in (*shown, *GONE, *QUANTIZED):
            graph = _plain(name)
            reasons = (why_not(engine, graph.nodes[0], graph, target) for engine in engines)
            answer = tuple(reason.replace(name, "OP") for reason in reasons)
            groups.setdefault(answer, []).append(name)
    for answer, names in groups.items():
        yield names, answer


@cache
def operations() -> tuple[str, ...]:
    """The operations of ONNX's default domain in the opset that a graph speaks, by name."""
    versions: dict[str, onnx.defs.OpSchema] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        newest = versions.get(schema.name)
        if schema.domain or schema.since_version > OPSET:
            continue
        if newest is None or newest.since_version < schema.since_version:
            versions[schema.name] = schema
    return tuple(sorted(name for name, schema in versions.items() if not schema.deprecated))


def _plain(op: str) -> Graph:
    """A graph of one node that reads and makes values of float32."""
    kind = TensorType("float32", (1, 8, 8, 8))
    node = Node("it", op, ("x",), ("y",))
    return Graph("example", ("x",), ("y",), (node,), {"x": kind, "y": kind}, {})


def chips() -> list[str]:
    """The chips that have a page."""
    return built_in()
