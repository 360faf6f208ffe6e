"""Makes random data for what is too long for the graph's text form; it prints as it was read."""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler.ir.graph import TensorType

MAX_BYTES = 1 << 30


class RandomArray(np.ndarray[Any, np.dtype[Any]]):
    """The placeholder of a large constant.

    `text` is how the constant was written (empty for what is computed from it).
    """

    text: str = ""


class RandomValues(tuple[float, ...]):
    """The placeholder of a long list of scales or zero points.

    `text` is how the list was written.
    """

    text: str = ""


def random_array(kind: TensorType, arguments: tuple[str, ...]) -> RandomArray:
    """Makes data between two bounds for `random(seed, low, high)` (or `random(seed)`).

    ValueError with what is wrong.
    """
    if len(arguments) not in (1, 3) or not arguments[0].isdigit() or len(arguments[0]) > 20:
        raise ValueError("random data is written 'random(seed)' or 'random(seed, low, high)'")
    if kind.size_bytes > MAX_BYTES:
        raise ValueError(f"a constant of {kind.size_bytes} bytes passes the limit of {MAX_BYTES}")
    dtype = dtype_of(kind)
    low, high = arguments[1:] or _usual_bounds(kind)
    if not -np.inf < float(low) <= float(high) < np.inf:
        raise ValueError(f"random data cannot lie between {low} and {high}")
    random = np.random.default_rng(int(arguments[0]))
    if is_whole(dtype):
        bounds = int(low), int(high)
        data = random.integers(*bounds, kind.sizes, wide_integer(dtype), endpoint=True)
    else:
        share = random.random((*kind.sizes, 2) if dtype.kind == "c" else kind.sizes)
        floats = float(low) * (1 - share) + float(high) * share
        data = floats.view(np.complex128)[..., 0] if dtype.kind == "c" else floats
    with np.errstate(over="ignore"):
        result = np.asarray(data).astype(dtype).view(RandomArray)
    result.text = f"random({', '.join(arguments)})"
    return result


def random_values(count: int, hashed: str, text: str, *, whole: bool) -> RandomValues:
    """Makes scales, or whole zero points, from the hash of the list that they stand for."""
    random = np.random.default_rng(int(hashed, 16))
    if whole:
        values = RandomValues(random.integers(0, 8, count).tolist())
    else:
        values = RandomValues(random.uniform(0.001, 0.1, count).astype(np.float32).tolist())
    values.text = text
    return values


def dtype_of(kind: TensorType) -> np.dtype[Any]:
    """Finds the numpy type of a constant (the smallest floats and integers are extensions).

    ValueError when there is none.
    """
    import ml_dtypes

    try:
        dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, kind.dtype, kind.dtype))
    except TypeError:
        raise ValueError(f"a constant cannot be of type {kind.dtype}") from None
    return dtype


def is_whole(dtype: np.dtype[Any]) -> bool:
    """Whether a type holds integers or truth values."""
    return dtype.kind == "b" or dtype.name.startswith(("int", "uint"))


def wide_integer(dtype: np.dtype[Any]) -> type[np.int64 | np.uint64]:
    """Finds the widest integer of the same sign."""
    return np.uint64 if dtype.name.startswith("uint") else np.int64


def _usual_bounds(kind: TensorType) -> tuple[str, str]:
    if kind.quant is not None:
        return str(kind.quant.lowest), str(kind.quant.highest)
    if kind.dtype == "bool":
        return "0", "1"
    if kind.dtype.startswith("int"):
        return "-8", "7"
    return ("0", "15") if kind.dtype.startswith("uint") else ("-1", "1")
