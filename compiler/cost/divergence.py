"""How far a network's outputs are from those of a reference: the one measure of a plan's accuracy.

Three formulas, by what an output holds:

- class probabilities (a Softmax or LogSoftmax): the Kullback-Leibler divergence KL(P || Q) = sum p
  ln(p / q) in nats (S. Kullback, R. Leibler, "On Information and Sufficiency", Ann. Math. Stat. 22,
  1951), the mean over samples and positions;
- other numbers: the relative squared error sum (x - y)^2 / sum (x - mean x)^2, which is 1 - R^2
  (S. Wright, "Correlation and Causation", J. Agric. Res. 20, 1921): 0 is exact, 1 is as far off as
  answering the mean of x everywhere;
- labels (integers of more than 8 bits, truth values, texts): the share of elements that differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.engines import numerics
from compiler.execute.plain_arrays import flat_arrays
from compiler.ir.graph import Array, Graph, Node, Quant
from compiler.ir.protos import dtype_name

Doubles: TypeAlias = npt.NDArray[np.float64]
# An output on samples: [S, *shape], or a list with an entry for each sample.
Values: TypeAlias = "Array | Sequence[Any]"
Kind: TypeAlias = Literal["KL", "relative squared error", "labels"]

BEYOND_MEASURE = 1e30  # the divergence of what breaks the network
LEAST_PROBABILITY = 1e-7  # what float32 tells from 0 beside 1
# A variance below this share of the mean square is the rounding of float32: all values are one.
NO_VARIANCE = 1e-12
LEAST_POWER = 1e-12  # where all that is wanted is 0
# Integers that stand for numbers: 8-bit formats (and fewer bits), and images.
NUMBERS = ("int8", "uint8", "int4", "uint4", "int2", "uint2")


@dataclass(frozen=True)
class Measure:
    """How one output is measured.

    `axis` of a sample holds the classes of probabilities, whose logarithms are given with `logs`.
    `quant` is what integers stand for.
    """

    kind: Kind
    axis: int = -1
    logs: bool = False
    quant: Quant | None = None


@dataclass(frozen=True)
class Measured:
    """The divergence of one output, and the samples that it leaves out.

    Left out are those on which the reference itself is NaN or infinite.
    """

    divergence: float
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class OutputMeasured(Measured):
    """The divergence of the output of this name; `kind` is the formula it was measured by."""

    name: str = field(kw_only=True)
    kind: Kind = field(kw_only=True)


def scores_of(output: str, graph: Graph) -> Node | None:
    """The Softmax or LogSoftmax an output comes from, if it does."""
    made = graph.producer.get(output)
    if made is not None and made.op in ("QuantizeLinear", "Cast"):
        made = graph.producer.get(made.inputs[0])
    return made if made is not None and made.op in ("Softmax", "LogSoftmax") else None


def measure_of(output: str, graph: Graph) -> Measure:
    """How an output of a graph is measured, by its type and by what makes it."""
    kind, made = graph.types[output], graph.producer.get(output)
    is_format = kind.quant is not None or (made is not None and made.op == "QuantizeLinear")
    if _holds_labels(kind.dtype) and not is_format:
        return Measure("labels")
    scores = scores_of(output, graph)
    if scores is None:
        return Measure("relative squared error", quant=kind.quant)
    logs = scores.op == "LogSoftmax"
    return Measure("KL", scores.integer("axis", -1), logs, kind.quant)


def divergence_kind(graph: Graph) -> str:
    """Names the formulas of a graph's outputs, such as 'KL' or 'relative squared error, labels'."""
    return ", ".join(sorted({measure_of(name, graph).kind for name in graph.outputs}))


def output_divergences(
    graph: Graph, wanted: Mapping[str, Values], found: Mapping[str, Values]
) -> tuple[OutputMeasured, ...]:
    """Measures every output that was found, by name."""
    results = []
    for name, values in found.items():
        measure = measure_of(name, graph)
        one = divergence(measure, wanted[name], values)
        results.append(OutputMeasured(one.divergence, one.left_out, name=name, kind=measure.kind))
    return tuple(results)


def output_divergence(
    graph: Graph, wanted: Mapping[str, Values], found: Mapping[str, Values]
) -> float:
    """Measures how far outputs are from those wanted: the most over the outputs."""
    measured = output_divergences(graph, wanted, found)
    return max((one.divergence for one in measured), default=0.0)


def divergence(measure: Measure, wanted: Values, found: Values) -> Measured:
    """Measures one output on samples: [S, *shape] each, or a list with an entry for each sample."""
    if measure.kind == "labels":
        return Measured(label_divergence(wanted, found))
    one, other = _stacked(wanted), _stacked(found)
    if one is None or other is None or one.shape != other.shape:
        return _of_any_size(measure, wanted, found)
    return _of_numbers(measure, _reals(one, measure), _reals(other, measure))


def _of_numbers(measure: Measure, before: Doubles, after: Doubles) -> Measured:
    """Measures [S, *shape] without the samples on which the reference is NaN or infinite.

    Where it is so on all of them, the elements alone are left out. What is found to be NaN or
    infinite is beyond measure, unless the reference is so too on some sample: then it answers
    nothing, and counts as if it answered the mean.
    """
    is_number = np.isfinite(before)
    by_sample = is_number.all(axis=tuple(range(1, before.ndim)))
    left_out = tuple(np.flatnonzero(~by_sample).tolist())
    if len(left_out) == len(before) and measure.kind == "relative squared error":
        before, after = before[is_number], after[is_number]
    elif left_out:
        before, after = before[by_sample], after[by_sample]
    answers = np.isfinite(after)
    if before.size and not answers.all():
        if not left_out:
            return Measured(BEYOND_MEASURE)
        after = np.where(answers, after, before.mean())
    if measure.kind == "KL":
        axis = measure.axis + 1 if measure.axis >= 0 else measure.axis
        return Measured(kl_divergence(before, after, axis), left_out)
    return Measured(relative_squared_error(before, after), left_out)


def relative_squared_error(wanted: Doubles, found: Doubles) -> float:
    """Computes sum (wanted - found)^2 / sum (wanted - mean wanted)^2 of finite numbers.

    Relative to the square of what is wanted where that is one number everywhere. 0 of nothing.
    """
    if not wanted.size:
        return 0.0
    with np.errstate(over="ignore"):  # beyond measure then
        error = float(np.square(wanted - found).mean())
        power, square = float(wanted.var()), float(np.square(wanted).mean())
    if power <= NO_VARIANCE * square:
        power = square
    result = error / max(power, LEAST_POWER)
    return min(result, BEYOND_MEASURE) if np.isfinite(result) else BEYOND_MEASURE


def kl_divergence(wanted: Doubles, found: Doubles, axis: int = -1) -> float:
    """Computes KL(wanted || found) in nats over an axis of probabilities, the mean over the rest.

    0 of nothing.
    """
    if not wanted.size:
        return 0.0
    p, q = (np.clip(a, LEAST_PROBABILITY, None) for a in (wanted, found))
    p, q = (a / a.sum(axis=axis, keepdims=True) for a in (p, q))
    # Of nothing it may be a rounding error below 0.
    return max(0.0, float((p * np.log(p / q)).sum(axis=axis).mean()))


def label_divergence(wanted: Values, found: Values) -> float:
    """Computes the share of elements that differ.

    Where two samples differ in size, the elements of the larger one all differ.
    """
    count = differing = 0
    for one, other in zip(wanted, found, strict=True):
        for before, after in _pairs(one, other):
            count += max(before.size, after.size)
            if before.shape == after.shape:
                differing += int((before != after).sum())
            else:
                differing += max(before.size, after.size)
    return differing / count if count else 0.0


def _of_any_size(measure: Measure, wanted: Values, found: Values) -> Measured:
    """Measures samples that differ in size, or are sequences and maps.

    What has another size than is wanted counts as if it answered the mean.
    """
    left_out: list[int] = []
    kept: list[tuple[Doubles, Doubles | None]] = []
    for sample, (one, other) in enumerate(zip(wanted, found, strict=True)):
        pairs = [(_reals(before, measure), after) for before, after in _pairs(one, other)]
        if not all(np.isfinite(before).all() for before, _ in pairs):
            left_out.append(sample)
            continue
        for before, after in pairs:
            same = before.shape == _reals(after, measure).shape
            kept.append((before, _reals(after, measure) if same else None))
    if not all(after is None or np.isfinite(after).all() for _, after in kept):
        return Measured(BEYOND_MEASURE, tuple(left_out))
    if measure.kind == "KL":
        worst = -float(np.log(LEAST_PROBABILITY))
        parts = [
            worst if after is None else kl_divergence(before, after, measure.axis)
            for before, after in kept
            if before.size
        ]
        return Measured(float(np.mean(parts)) if parts else 0.0, tuple(left_out))
    if not any(before.size for before, _ in kept):
        return Measured(0.0, tuple(left_out))
    flat = np.concatenate([before.reshape(-1) for before, _ in kept])
    mean = flat.mean()
    answers = [
        np.full(before.size, mean) if after is None else after.reshape(-1) for before, after in kept
    ]
    return Measured(relative_squared_error(flat, np.concatenate(answers)), tuple(left_out))


def _pairs(wanted: Any, found: Any) -> list[tuple[Array, Array]]:
    """The arrays of one sample, each with that to compare: an empty one where there is none."""
    nothing = np.zeros(0)
    return list(zip_longest(flat_arrays(wanted), flat_arrays(found), fillvalue=nothing))


def divergence_words(divergence: float) -> str:
    """Prints a divergence in three digits; what breaks the network is beyond measure."""
    return f"{divergence:.3g}" if divergence < BEYOND_MEASURE else "beyond measure"


def _holds_labels(dtype: str) -> bool:
    if "_type" in dtype:  # ONNX's text of a sequence, a map or an optional
        elements = re.findall(r"elem_type: (\d+)", dtype)
        dtype = dtype_name(int(elements[-1])) if elements else ""
    whole = dtype.startswith(("int", "uint")) and dtype not in NUMBERS
    return whole or dtype in ("bool", "string")


def _stacked(values: Values) -> Array | None:
    """The samples as one array; None where they differ in size, or are no arrays."""
    if isinstance(values, np.ndarray):
        return values
    arrays = [value for value in values if isinstance(value, (np.ndarray, np.generic))]
    if len(arrays) < len(values) or len({array.shape for array in arrays}) != 1:
        return None
    return np.stack(arrays)


def _reals(values: Array, measure: Measure) -> Doubles:
    """What values stand for, in float64; probabilities where their logarithms are given."""
    if measure.quant is not None and values.dtype.kind in "iu":
        reals = numerics.reals(values, measure.quant).astype(np.float64)
    elif values.dtype.kind == "c":
        reals = np.stack([values.real, values.imag], axis=-1).astype(np.float64)
    else:
        reals = values.astype(np.float64)
    if not measure.logs:
        return reals
    with np.errstate(over="ignore"):  # no logarithm of a probability: infinite, so beyond measure
        return np.exp(reals)
