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
    if isinstance(value, Mapping):
        return np.asarray([value[key] for key in keys])
    return np.asarray([[one[key] for key in keys] for one in _maps(value) or ()])


def _maps(value: Any) -> list[Mapping[Any, Any]]:
    """The maps in a map, a list of maps or a list of such lists; none where anything else is."""
    if isinstance(value, Mapping):
        return [value]
    if not isinstance(value, list):
        return []
    found = [_maps(item) for item in value]
    return [one for maps in found for one in maps] if all(found) else []
