"""Reads a table of published macros: its rows, their parameters, and what was measured.

Only the columns named in PARAMETERS reach the prediction; the measured one is read separately.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from compiler.cost.efficiency import TOPS_PER_WATT_AT_ONE_FJ
from compiler.errors import one_line
from compiler.storage.csv_rows import CsvForm, read_csv

FORM = CsvForm(
    "macros",
    wanted=("class", "node_nm"),
    hint="wanted is a csv file with the columns class, node_nm and further parameters "
    "(docs/energy.md)",
)

# The parameters with the interval in which they mean something.
RANGES: dict[str, tuple[float, float]] = {
    "node_nm": (1, 1000),
    "storage_kb": (1e-3, 1e9),
    "array_rows": (1, 1e6),
    "array_cols": (1, 1e6),
    "active_rows": (1, 1e6),
    "in_bits_per_step": (0.5, 32),
    "w_bits": (0.5, 64),
    "adc_bits": (0.5, 16),
    "n_adc": (1, 1e6),
    "cols_per_adc": (1, 1e6),
    "vdd_V": (0.1, 10),
    "step_ns": (1e-3, 1e9),
    "clock_MHz": (1e-6, 1e6),
}
TEXTS = ("class", "cell", "cell_bits", "scope", "native_in_w_out_bits")
PARAMETERS = (*RANGES, *TEXTS)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    `native_macs` is how many one-bit MACs the measured operation has (1 where the measure is
    one-bit).
    """

    line: int
    chip: str
    name: str
    group: str
    scope: str
    parameters: Mapping[str, str]
    measured_tops_w: float | None
    native_macs: float
    flaw: str = ""


def read_table(path: Path) -> list[Row]:
    """Reads the rows of a csv file.

    Raises UsageError when it is not there and ModelError when it is no such table.
    """
    return [_row(number, cells) for number, cells in read_csv(path, FORM)]


def _row(line: int, cells: Mapping[str, str]) -> Row:
    measured, native, flaw = _measured(cells)
    return Row(
        line=line,
        chip=cells.get("chip_id", "") or cells.get("chip", "") or f"line {line}",
        name=cells.get("chip", "") or cells.get("chip_id", "") or f"line {line}",
        group=cells.get("class", ""),
        scope=cells.get("scope", ""),
        parameters={name: cells.get(name, "") for name in PARAMETERS},
        measured_tops_w=measured,
        native_macs=native,
        flaw=flaw,
    )


def _measured(cells: Mapping[str, str]) -> tuple[float | None, float, str]:
    """Reads the measured TOPS/W of a row.

    Returns it with how many one-bit MACs its operation has, and what is wrong with it.
    """
    for name, one_bit in (("TOPSW_1b", True), ("fJ_per_1b_MAC", True), ("TOPSW_native", False)):
        text = cells.get(name, "")
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not (isfinite(value) and 1e-9 < value < 1e9):
            return None, 1.0, f"the measured {name} {one_line(text, 40)!r} is no positive number"
        if name == "fJ_per_1b_MAC":
            value = TOPS_PER_WATT_AT_ONE_FJ / value
        return value, 1.0 if one_bit else _native_macs(cells), ""
    return None, 1.0, ""


def _native_macs(cells: Mapping[str, str]) -> float:
    """Counts the one-bit MACs of a native operation, from input/weight/output bits.

    A weight that is analog is one cell, counted as one bit.
    """
    pieces = [*cells.get("native_in_w_out_bits", "").split("/"), "", ""]
    factor = 1.0
    for piece in pieces[:2]:
        found = re.match(r"\s*(\d+(?:\.\d+)?)", piece)
        bits = float(found.group(1)) if found else 1.0
        factor *= min(max(bits, 0.5), 64.0)
    return factor
