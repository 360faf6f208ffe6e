"""Converts users' arrays, stacked on the batch axis, to values with a leading sample axis.

And back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from compiler.errors import UsageError, nearest, one_line
from compiler.ir.graph import Array
from compiler.plan.schema import Port


def split_inputs(
    ports: Sequence[Port], arrays: Mapping[str, Any]
) -> tuple[int, dict[str, Array | list[Any]]]:
    """Counts samples, and gives each input as [S, *shape] ([1, *shape] if the same for all).

    An input that is no tensor (a sequence, an optional, a map) is a list of one: all samples read
    the same. Raises UsageError (U005) naming the input, what was found and what is wanted.
    """
    known = [port.name for port in ports]
    if not isinstance(arrays, Mapping):
        kind = one_line(type(arrays).__name__)
        raise _refuse(f"the inputs are of type {kind}, wanted is a mapping of arrays by input name")
    for name in map(str, arrays):
        if name not in known:
            raise _refuse(
                f"there is no input {one_line(name)!r}; the model has {', '.join(known)}",
                nearest(name, known),
            )
    values: dict[str, Array | list[Any]] = {}
    for port in ports:
        if port.name not in arrays:
            raise _refuse(f"input {port.name!r} is missing", f"it is {_wanted(port)}")
        given = arrays[port.name]
        if _is_tensor(port):
            values[port.name] = _split(port, _typed(port, _array(port, given)))
        else:
            values[port.name] = [given]
    counts = {name: len(value) for name, value in values.items() if len(value) != 1}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise _refuse(f"the inputs hold different numbers of samples: {found}")
    return next(iter(counts.values()), 1), values


def join_outputs(port: Port, value: Array | list[Any]) -> Any:
    """Stacks the samples of a value on the batch axis; one sample is as the model gives it.

    Without a batch axis several samples are stacked on a new first axis. A value that is no tensor
    stays a list of samples.
    """
    axis = port.batch_axis
    if isinstance(value, list):
        if len(value) == 1:
            return value[0]
        if axis is not None and all(isinstance(item, list) for item in value):
            return [item for sample in value for item in sample]
        arrays = [item for item in value if isinstance(item, np.ndarray)]
        if len(arrays) < len(value) or len({item.ndim for item in arrays}) > 1:
            return value
        shapes = {item.shape for item in arrays}
        if axis is not None and len({(*s[:axis], *s[axis + 1 :]) for s in shapes}) == 1:
            return np.concatenate(arrays, axis) if arrays[0].ndim > axis else value
        if len(shapes) > 1:
            return value
        value = np.stack(arrays)
    if len(value) == 1:
        return value[0]
    if axis is None or axis >= value.ndim - 1:
        return value
    moved = np.moveaxis(value, 0, axis)
    shape = moved.shape
    return moved.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _is_tensor(port: Port) -> bool:
    """Whether the input is a tensor.

    The type of anything else is ONNX's text, such as `sequence_type { ... }`.
    """
    return "_type" not in port.dtype


def _array(port: Port, given: Any) -> Array:
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:  # lists of different lengths, or a class of its own
        reason = one_line(str(error))
        raise _refuse(f"input {port.name!r} is no array: {reason}", _wanted(port)) from error


def _typed(port: Port, array: Array) -> Array:
    """Converts the array to the input's element type, where nothing is lost.

    A float64 may become the float32 that is asked for.
    """
    if port.dtype == "string":
        return array if array.dtype == object else array.astype(object)
    try:
        wanted = np.dtype(port.dtype)
    except TypeError:
        return array
    if array.dtype == wanted:
        return array
    floats = array.dtype.kind == "f" and wanted.kind == "f"
    if not (floats or np.can_cast(array.dtype, wanted, "safe")):
        raise _refuse(f"input {port.name!r} is {array.dtype}, wanted is {_wanted(port)}")
    with np.errstate(over="ignore"):
        return array.astype(wanted)


def _split(port: Port, array: Array) -> Array:
    if port.shape is None or _fits(array.shape, port.shape):
        return array[None]
    axis = port.batch_axis
    if axis is None:
        if _fits(array.shape[1:], port.shape) and len(array):
            return array
    elif axis < len(port.shape) and array.ndim == len(port.shape):
        one = port.shape[axis] or 1
        samples, rest = divmod(array.shape[axis], one)
        shape = (*array.shape[:axis], samples, one, *array.shape[axis + 1 :])
        if rest == 0 and samples and _fits((*shape[:axis], *shape[axis + 1 :]), port.shape):
            return np.ascontiguousarray(np.moveaxis(array.reshape(shape), axis, 0))
    found = f"{array.dtype}{list(array.shape)}"
    stacked = "" if axis is None else f", or {_many(port, axis)} stacked on axis {axis}"
    raise _refuse(f"input {port.name!r} is {found}, wanted is {_wanted(port)}{stacked}")


def _many(port: Port, axis: int) -> str:
    """Says how many samples can be handed in together: whole inferences."""
    one = port.shape[axis] if port.shape is not None and axis < len(port.shape) else None
    return f"a multiple of {one} samples" if one and one > 1 else "N samples of that"


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        size is None or size == there for there, size in zip(found, wanted, strict=True)
    )


def _wanted(port: Port) -> str:
    if port.shape is None:
        return port.dtype
    return f"{port.dtype}[{', '.join('?' if size is None else str(size) for size in port.shape)}]"


def _refuse(message: str, hint: str = "") -> UsageError:
    return UsageError(message, code="U005", hint=hint)
