"""Allocates memory and address of every value, so that nothing is overwritten while needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from compiler.errors import CapacityError
from compiler.target.chip import Target

ALIGNMENT = 64  # bytes: one access of the widest port among the shipped chips


@dataclass(frozen=True)
class Live:
    """A value and when it is needed: from the start of its maker to the end of its last reader.

    `first_step` and `last_step` are those two steps; `home` is the nearest memory it may lie in.
    """

    name: str
    size_bytes: int
    first_step: int
    last_step: int
    from_ns: float
    to_ns: float
    home: str


@dataclass(frozen=True)
class Place:
    """Where a value or a constant lies."""

    memory: str
    address: int


def aligned(size_bytes: int) -> int:
    """Rounds bytes up to whole accesses."""
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def place_weights(
    sizes: Sequence[tuple[str, int, str]], target: Target
) -> tuple[dict[str, Place], dict[str, int]]:
    """Places constants (name, bytes, wanted memory) in order, from the front of their memory.

    One without room goes to the next memory outward that has some. Gives the places and the bytes
    they take of each memory. Raises CapacityError when the outermost memory is full.
    """
    order = list(target.memories)
    used = dict.fromkeys(order, 0)
    places: dict[str, Place] = {}
    for name, size_bytes, wanted in sizes:
        for memory in order[order.index(wanted) :]:
            if used[memory] + size_bytes <= target.memories[memory].capacity_bytes.value:
                places[name] = Place(memory, used[memory])
                used[memory] += aligned(size_bytes)
                break
        else:
            needed = sum(aligned(size) for _, size, _ in sizes)
            raise _too_small(order[-1], needed, 0, "weights", target)
    capacity = {name: memory.capacity_bytes.value for name, memory in target.memories.items()}
    return places, {name: min(used[name], capacity[name]) for name in order}


def allocate(
    values: Sequence[Live], weight_bytes: Mapping[str, int], target: Target
) -> dict[str, Place]:
    """Places each value behind the weights.

    Large values come first, each in the tightest gap that is free while it lives. What does not fit
    its memory goes to the next one outward. Raises CapacityError when the outermost is full too.
    """
    places: dict[str, Place] = {}
    overflow: list[Live] = []
    for memory, unit in target.memories.items():
        floor = aligned(weight_bytes.get(memory, 0))
        wanted = overflow + [value for value in values if value.home == memory]
        fitted = _pack(wanted, floor, unit.capacity_bytes.value)
        places.update({name: Place(memory, address) for name, address in fitted.items()})
        overflow = [value for value in wanted if value.name not in fitted]
    if overflow:
        last = list(target.memories)[-1]
        needed = _peak(
            overflow + [v for v in values if places.get(v.name, Place("", 0)).memory == last]
        )
        raise _too_small(last, needed, weight_bytes.get(last, 0), "activations", target)
    return places


def packed_bytes(values: Sequence[Live]) -> int:
    """Computes the bytes that values need together when they share memory as their lives allow."""
    addresses = _pack(values, 0, None)
    return max((addresses[value.name] + value.size_bytes for value in values), default=0)


def _pack(values: Sequence[Live], floor: int, capacity: int | None) -> dict[str, int]:
    """Finds addresses between `floor` and `capacity`; a value without room is left out."""
    ordered = sorted(values, key=lambda value: (-value.size_bytes, value.first_step, value.name))
    count = len(ordered)
    first, last = np.zeros(count, np.int64), np.zeros(count, np.int64)
    start, end = np.zeros(count), np.zeros(count)
    low, high = np.zeros(count, np.int64), np.zeros(count, np.int64)
    addresses: dict[str, int] = {}
    for value in ordered:
        placed = len(addresses)
        done = slice(0, placed)
        before = (last[done] < value.first_step) & (end[done] <= value.from_ns)
        after = (first[done] > value.last_step) & (start[done] >= value.to_ns)
        busy = np.flatnonzero(~(before | after) & (high[done] > low[done]))
        address = _gap(low[busy], high[busy], value.size_bytes, floor)
        if capacity is not None and address + value.size_bytes > capacity:
            continue
        addresses[value.name] = address
        first[placed], last[placed] = value.first_step, value.last_step
        start[placed], end[placed] = value.from_ns, value.to_ns
        low[placed], high[placed] = address, address + aligned(value.size_bytes)
    return addresses


def _gap(
    low: np.ndarray[tuple[int], np.dtype[np.int64]],
    high: np.ndarray[tuple[int], np.dtype[np.int64]],
    size_bytes: int,
    floor: int,
) -> int:
    """Finds the start of the tightest gap between occupied ranges that holds the size.

    Else the end of the last range.
    """
    order = np.argsort(low, kind="stable")
    # Where each range begins, and where the ranges before it end.
    begins, ends = low[order], np.maximum.accumulate(np.append(floor, high[order]))
    rooms = begins - ends[:-1]
    fitting = np.flatnonzero(rooms >= size_bytes)
    if not fitting.size:
        return int(ends[-1])
    return int(ends[fitting[np.argmin(rooms[fitting])]])


def _peak(values: Sequence[Live]) -> int:
    """Computes the most bytes alive at one step."""
    changes: dict[int, int] = {}
    for value in values:
        changes[value.first_step] = changes.get(value.first_step, 0) + aligned(value.size_bytes)
        changes[value.last_step + 1] = changes.get(value.last_step + 1, 0) - aligned(
            value.size_bytes
        )
    level = peak = 0
    for step in sorted(changes):
        level += changes[step]
        peak = max(peak, level)
    return peak


def _too_small(
    memory: str, needed: int, weight_bytes: int, what: str, target: Target
) -> CapacityError:
    capacity = target.memories[memory].capacity_bytes.value
    weights_part = f", of which weights take {weight_bytes:,}" if weight_bytes else ""
    return CapacityError(
        f"the {what} need {needed:,} bytes of memory {memory!r} of {target.name}; "
        f"it holds {capacity:,}{weights_part}",
        hint="take a chip with more memory, prune the model (--prune), "
        "or bind a smaller input (--bind)",
    )
