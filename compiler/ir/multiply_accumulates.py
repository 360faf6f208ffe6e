"""Computes the multiply-accumulates of ONNX's operations from the sizes of what they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

Shape = tuple[int | None, ...]


class UnknownSizeError(ValueError):
    """The multiply-accumulates cannot be counted; the text says why."""


@dataclass(frozen=True)
class Call:
    """An operation (ONNX's name, "domain::name" of another domain) on shapes, by position.

    A shape is None where the value is left out, or nothing is known of it.
    """

    op: str
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]
    attributes: Mapping[str, Any]

    def input(self, position: int) -> tuple[int, ...]:
        """Returns the sizes of an input; raises UnknownSizeError where they are not all known."""
        return _known(self.inputs, position, f"{self.op} reads")

    def output(self) -> tuple[int, ...]:
        """Returns the sizes of the first output, as `input` does."""
        return _known(self.outputs, 0, f"{self.op} makes")


def _known(shapes: Sequence[Shape | None], position: int, what: str) -> tuple[int, ...]:
    shape = shapes[position] if position < len(shapes) else None
    if shape is None or None in shape:
        raise UnknownSizeError(f"the size of what {what} is not known before it runs")
    return tuple(size for size in shape if size is not None)


def multiply_accumulates(call: Call) -> int:
    """Counts the multiply-accumulates of an operation; 0 for one that multiplies no matrices.

    Those inside its graphs are not among them. Raises UnknownSizeError where a size is missing, or
    nothing is known of the operation.
    """
    formula = _FORMULAS.get(call.op)
    if formula is not None:
        return formula(call)
    domain, _, name = call.op.rpartition("::")
    if domain not in ("", "ai.onnx.ml") and not name.startswith(_WITHOUT_PRODUCTS):
        raise UnknownSizeError(f"how much {name} of {domain} multiplies is not known")
    return 0


def multiplies(op: str) -> bool:
    """Whether an operation multiplies matrices, or may: nothing is known of it."""
    return op in _FORMULAS or "::" in op


def _matrix_product(second: int) -> Callable[[Call], int]:
    """Counts a product over the last axis of the first input: one for each result and row."""

    def count(call: Call) -> int:
        rows, other = call.input(0), call.input(second)
        if not rows or not other:
            raise UnknownSizeError(f"{call.op} reads a number where it takes a matrix")
        inner = rows[-2] if call.attributes.get("transA") and len(rows) > 1 else rows[-1]
        columns = other[-1] if len(other) > 1 else 1
        if call.attributes.get("transB") and len(other) > 1:
            columns = other[-2]
        batch = _broadcast(rows[:-2], other[:-2])
        here = rows[-1] if call.attributes.get("transA") and len(rows) > 1 else prod(rows[-2:-1])
        return batch * here * inner * columns

    return count


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Counts the matrices of two stacks that are broadcast to one another."""
    length = max(len(one), len(other))
    pairs = zip((1,) * (length - len(one)) + one, (1,) * (length - len(other)) + other, strict=True)
    return prod(b if a == 1 else a for a, b in pairs)


def _convolution(weight: int) -> Callable[[Call], int]:
    return lambda call: prod(call.output()) * prod(call.input(weight)[1:])


def _transposed_convolution(call: Call) -> int:
    return prod(call.input(0)) * prod(call.input(1)[1:])


def _recurrent(call: Call) -> int:
    """Counts all gates in every turn: the input's and the state's matrices, directions included."""
    first, second, *_ = call.input(0)
    return first * second * (prod(call.input(1)) + prod(call.input(2)))


def _attention(call: Call) -> int:
    """Counts the scores of queries on keys, and the sums of values by them."""
    query, key, value = (call.input(position) for position in range(3))
    if len(query) == 4:
        batch, heads, rows, depth = query
        columns, value_depth = key[-2], value[-1]
    else:
        batch, rows, width = query
        heads = int(call.attributes.get("q_num_heads", 0))
        of_values = int(call.attributes.get("kv_num_heads", 0))
        if not heads or not of_values:
            raise UnknownSizeError("the heads of Attention are not known")
        depth, columns, value_depth = width // heads, key[-2], value[-1] // of_values
    if len(call.inputs) > 4 and call.inputs[4] is not None:
        columns += call.input(4)[-2]  # the keys of earlier turns
    return batch * heads * rows * columns * (depth + value_depth)


def _einsum(call: Call) -> int:
    """Counts the products of one operand after the other, where something is summed over.

    Each takes one for every combination of the indices of both.
    """
    equation = str(call.attributes.get("equation", "")).replace(" ", "")
    given, arrow, result = equation.partition("->")
    terms = given.split(",")
    shapes = [call.input(position) for position in range(len(call.inputs))]
    if len(terms) != len(shapes):
        raise UnknownSizeError("the equation of Einsum has another number of operands")
    longest = max(len(s) - len(t.replace("...", "")) for t, s in zip(terms, shapes, strict=True))
    sizes: dict[str, int] = {}
    operands = []
    for term, shape in zip(terms, shapes, strict=True):
        open_axes = len(shape) - len(term.replace("...", ""))
        names = [f"...{longest - open_axes + axis}" for axis in range(open_axes)]
        before, dots, behind = term.partition("...")
        indices = [*before, *(names if dots else []), *behind]
        if len(indices) != len(shape):
            raise UnknownSizeError("the equation of Einsum does not fit what it reads")
        for index, size in zip(indices, shape, strict=True):
            sizes[index] = max(sizes.get(index, 1), size)
        operands.append(set(indices))
    letters = given.replace(",", "").replace("...", "")
    kept = set(result) if arrow else {x for x in letters if letters.count(x) == 1}
    kept = {index for index in sizes if index in kept or index.startswith("...")}
    total, current = 0, operands[0]
    for position, operand in enumerate(operands[1:], start=1):
        together = current | operand
        still = kept.union(*operands[position + 1 :])
        summed = together - still
        shared = summed & current & operand
        alone = summed - shared  # what only one of the two has is summed before
        if shared:
            total += prod(sizes[index] for index in together - alone)
        current = together - summed
    return total


def _blocked_weights(call: Call) -> int:
    return prod(call.input(0)) * int(call.attributes.get("N", 0))


def _linear_model(call: Call) -> int:
    rows = call.input(0)[0] if len(call.input(0)) > 1 else 1
    return rows * len(call.attributes.get("coefficients", ()))


# Of ONNX Runtime's own operations.
_WITHOUT_PRODUCTS = (
    "QLinear", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "SkipLayerNormalization",
    "SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "EmbedLayerNormalization",
    "QuantizeLinear", "DequantizeLinear", "BiasSoftmax", "BiasAdd", "BiasSplitGelu", "GroupNorm",
    "SkipGroupNorm", "RotaryEmbedding", "NhwcMaxPool", "ExpandDims", "Pad", "Range", "Trilu",
    "Unique", "Tokenizer", "MaxpoolWithMask", "GatherND", "GatherBlockQuantized", "CropAndResize",
    "DynamicTimeWarping", "ImageScaler",
)  # fmt: skip

_FORMULAS: dict[str, Callable[[Call], int]] = {
    "MatMul": _matrix_product(1),
    "Gemm": _matrix_product(1),
    "MatMulInteger": _matrix_product(1),
    "QLinearMatMul": _matrix_product(3),
    "Conv": _convolution(1),
    "ConvInteger": _convolution(1),
    "QLinearConv": _convolution(3),
    "DeformConv": _convolution(1),
    "ConvTranspose": _transposed_convolution,
    "RNN": _recurrent,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "Attention": _attention,
    "Einsum": _einsum,
    "com.microsoft::FusedMatMul": _matrix_product(1),
    "com.microsoft::FusedGemm": _matrix_product(1),
    "com.microsoft::TransposeMatMul": _matrix_product(1),
    "com.microsoft::QGemm": _matrix_product(3),
    "com.microsoft::DynamicQuantizeMatMul": _matrix_product(1),
    "com.microsoft::MatMulIntegerToFloat": _matrix_product(1),
    "com.microsoft::MatMulInteger16": _matrix_product(1),
    "com.microsoft::FusedConv": _convolution(1),
    "com.microsoft::MatMulNBits": _blocked_weights,
    "ai.onnx.ml::LinearRegressor": _linear_model,
    "ai.onnx.ml::LinearClassifier": _linear_model,
}
