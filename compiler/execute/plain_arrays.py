"""Sequences and maps as plain arrays, for files and for comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler.ir.graph import Array


def flat_arrays(value: Any) -> list[Array]:
    """The arrays in a value of any ONNX type, in order; a map, or a list of them, is a matrix."""
    if value is None:  # an optional value that is not there
        return []
    if isinstance(value, np.ndarray) and value.dtype == object and not _are_texts(value):
        value = value.tolist()  # maps, say
    keys = map_keys(value)
    if keys is not None:
        return [map_matrix(value, keys)]
    if isinstance(value, Mapping):
        return [array for item in value.values() for array in flat_arrays(item)]
    if isinstance(value, list):
        return [array for item in value for array in flat_arrays(item)]
    return [np.asarray(value)]


def map_keys(value: Any) -> list[Any] | None:
    """The keys that a map, or every map of a list (or of lists), has; None where they differ.

    None too for what is no map, and for maps to anything but single values.
    """
    maps = _maps(value)
    if not maps:
        return None
    keys = list(maps[0])
    same = all(list(one) == keys for one in maps)
    single = all(np.ndim(item) == 0 for one in maps for item in one.values())
    return keys if same and single else None


def map_matrix(value: Any, keys: list[Any]) -> Array:
    """The values of maps as a matrix [maps, keys]; of one map by itself as a vector."""
    rows = [[one[key] for key in keys] for one in _maps(value)]
    matrix = np.asarray(rows[0] if isinstance(value, Mapping) else rows)
    if matrix.dtype != np.float64:
        return matrix
    singles = matrix.astype(np.float32)  # a map's floats are these, which Python holds as doubles
    return singles if np.array_equal(singles, matrix, equal_nan=True) else matrix


def _are_texts(values: Array) -> bool:
    return all(isinstance(item, str | bytes) for item in values.flat)


def _maps(value: Any) -> list[Mapping[Any, Any]]:
    """The maps in a map, a list of maps or a list of such lists; none where anything else is."""
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list):
        return []
    found = [_maps(item) for item in value]
    return [one for maps in found for one in maps] if all(found) else []


def plain_outputs(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs by name with maps and sequences as arrays, where they can be.

    Maps with the same keys become a matrix, a row for each, and their keys the array `NAME.keys`; a
    sequence (or a list of samples of them) of tensors of one size becomes one array, stacked.
    Anything else stays as it is.
    """
    plain: dict[str, Any] = {}
    for name, value in outputs.items():
        keys = map_keys(value)
        if keys is not None:
            plain[name] = map_matrix(value, keys)
            plain[f"{name}.keys"] = np.asarray(keys)
        else:
            plain[name] = _stacked(value) if isinstance(value, list) else value
    return plain


def _stacked(values: list[Any]) -> Any:
    """Nested lists of tensors of one type and size as one array; the list itself where not."""
    parts = [_stacked(value) if isinstance(value, list) else value for value in values]
    if not parts or not all(isinstance(part, np.ndarray) for part in parts):
        return values
    kinds = {(part.shape, part.dtype) for part in parts}
    return np.stack(parts) if len(kinds) == 1 else values
