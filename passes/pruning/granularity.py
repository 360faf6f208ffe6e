"""Finds how many channels must go together before the chip gains something by it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from compiler.target.chip import Target


@dataclass(frozen=True)
class Granularity:
    """Channels go until their number is a multiple of `channels`.

    `frees_tiles` says that each step empties arrays; `reason` says why, in words.
    """

    channels: int
    frees_tiles: bool
    reason: str


def prune_granularity(width: int, rows_per_channel: int, target: Target) -> Granularity:
    """Finds the step in which a layer of `width` outputs is best narrowed.

    Each output feeds `rows_per_channel` rows of its readers.
    """
    found = _array_that_whole_tiles_save(target)
    if found is None:
        return Granularity(
            1, False, "the digital engine gates idle columns, so every channel saves"
        )
    rows, columns = found
    if width > columns:
        return Granularity(
            columns,
            True,
            f"{width} columns take {ceil(width / columns)} arrays of {rows}x{columns}, "
            f"and only whole arrays of {columns} columns are freed",
        )
    if width * rows_per_channel > rows:
        step = min(ceil(rows / rows_per_channel), width)
        tiles = ceil(width * rows_per_channel / rows)
        return Granularity(
            step,
            True,
            f"{width} channels of {rows_per_channel} rows take {tiles} arrays of {rows} rows, "
            f"and {step} channels fill one",
        )
    return Granularity(
        1,
        False,
        f"{width} channels of {rows_per_channel} rows fit one array of {rows}x{columns}: no array "
        "is freed, each channel saves its drivers and converters",
    )


def _array_that_whole_tiles_save(target: Target) -> tuple[int, int] | None:
    """Finds the rows and columns of the arrays of which only whole ones save energy.

    Such arrays hold weights or run all lanes alike. Of several analog engines the first one counts.
    None where each channel saves by itself.
    """
    for engine in target.analog_engines.values():
        return engine.rows.value, engine.columns.value
    for unit in target.digital_engines.values():
        array = unit.array
        if array is not None and (array.is_in_memory or array.idle_lane_pj is not None):
            return array.row_lanes, array.columns.value
    return None


def aligned_widths(width: int, rows_per_channel: int, target: Target) -> tuple[int, ...]:
    """Lists the narrower widths that free whole arrays, widest first.

    None when the layer already fits one.
    """
    widths: list[int] = []
    current = width
    while current > 1:
        step = prune_granularity(current, rows_per_channel, target)
        if not step.frees_tiles:
            break
        current = (current - 1) // step.channels * step.channels
        if current < 1:
            break
        widths.append(current)
    return tuple(widths)


def grouped_widths(width: int, group: int) -> tuple[int, ...]:
    """Lists the narrower widths that are multiples of `group`, widest first."""
    return tuple(range((width - 1) // group * group, 0, -group))
