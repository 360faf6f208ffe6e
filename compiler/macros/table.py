"""Reads a table of published macros into parameters for the formulas.

A row that cannot be predicted comes with the reason.

Only the columns named in PARAMETERS reach the prediction; the measured one is read separately. How
the columns are meant: `active_rows` are summed by one conversion, `in_bits_per_step` enter at once,
`w_bits` are summed by one of the `n_adc` converters (by one column of `cell_bits` where their
number is not given), `step_ns` is the time of one such step.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from pathlib import Path

from compiler.cost.efficiency import TOPS_PER_WATT_AT_ONE_FJ
from compiler.errors import ModelError, UsageError, one_line
from compiler.macros.model import Kind, Macro
from compiler.storage.files import open_regular
from compiler.storage.mistaken import why_mistaken, why_unreadable
from compiler.target.parts.constants import Components

MAX_FILE_BYTES = 8 << 20
MAX_ROWS = 100_000

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
    "vdd_V": (0.1, 10),
    "step_ns": (1e-3, 1e9),
    "clock_MHz": (1e-6, 1e6),
}
TEXTS = ("class", "cell", "cell_bits", "scope", "native_in_w_out_bits")
PARAMETERS = (*RANGES, *TEXTS)
CLASSES = ("AIMC-SRAM", "AIMC-eDRAM", "AIMC-NVM", "DIMC-SRAM", "DIGITAL")
SYSTEMS = ("processor", "system", "soc", "whole chip", "chip sustained", "board")
# From so many transistors on, a cell has a port of its own on which it adds charge, and its storage
# is left alone.
CHARGE_TRANSISTORS = 9


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


class UnpredictableError(Exception):
    """A row cannot be predicted; the text says why, in the user's words."""


def read_table(path: Path) -> list[Row]:
    """Reads the rows of a csv file.

    Raises UsageError when it is not there and ModelError when it is no such table.
    """
    shown = one_line(str(path))
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = why_mistaken(path, "a csv file of macros") or why_unreadable(error)
        raise UsageError(f"{shown!r}: {reason}", code="U001") from error
    if mistaken := why_mistaken(path, "a csv file of macros"):
        raise ModelError(mistaken, code="M009")
    if len(data) > MAX_FILE_BYTES:
        raise _broken(shown, f"it is larger than {MAX_FILE_BYTES:,} bytes")
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise _broken(shown, f"it is not UTF-8 text (byte {error.start})") from error
    except csv.Error as error:
        raise _broken(shown, str(error)) from error
    if not lines:
        raise _broken(shown, "it is empty")
    if len(lines) > MAX_ROWS:
        raise _broken(shown, f"it has more than {MAX_ROWS:,} lines")
    header = [name.strip() for name in lines[0]]
    missing = [name for name in ("class", "node_nm") if name not in header]
    if missing:
        raise _broken(shown, f"its first line names no column {missing[0]!r}")
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise _broken(shown, f"column {one_line(twice, 60)!r} is there twice")
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            why = f"line {number} has {len(cells)} fields, the first line {len(header)}"
            raise _broken(shown, why)
        rows.append(_row(number, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
    return rows


def _broken(shown: str, why: str) -> ModelError:
    return ModelError(
        f"{shown!r} is no table of macros: {why}",
        code="M009",
        hint="wanted is a csv file with the columns class, node_nm and further parameters "
        "(docs/energy.md)",
    )


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


class _Parameters:
    """The parameters of a row with what was assumed on the way."""

    def __init__(self, row: Row, defaults: Mapping[str, float]) -> None:
        self._texts = row.parameters
        self._defaults = defaults
        self.assumed: list[str] = []

    def text(self, name: str) -> str:
        return self._texts[name]

    def number(self, name: str) -> float | None:
        """Reads a number, or None where the table leaves it out."""
        text = self._texts[name]
        if not text:
            return None
        low, high = RANGES[name]
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            shown = one_line(text, 40)
            raise UnpredictableError(f"{name} {shown!r} is no number between {low:g} and {high:g}")
        return value

    def needed(self, name: str) -> float:
        value = self.number(name)
        if value is None:
            raise UnpredictableError(f"{name} is not given")
        return value

    def default(self, name: str) -> float:
        self.assumed.append(name)
        return self._defaults[name]


def macro_of(
    row: Row, components: Components, changed: Mapping[str, float] | None = None
) -> tuple[Macro, tuple[str, ...]]:
    """Makes the macro of a row, and names the defaults used for what the table leaves out.

    `changed` replaces some of their values.

    Raises UnpredictableError with the reason where the formulas do not apply.
    """
    defaults = {name: default.estimate.value for name, default in components.defaults.items()}
    given = _Parameters(row, {**defaults, **(changed or {})})
    kind = _kind(given)
    node_nm = given.needed("node_nm")
    supply_v = given.number("vdd_V")
    if supply_v is None:
        supply_v = components.usual_supply_v(node_nm) * given.default("supply")
    input_bits = _input_bits(given, kind)
    array_rows, columns = (1.0, 1.0) if kind == "mac array" else _geometry(given)
    active = given.number("active_rows") or array_rows
    if kind in ("adder tree", "adder chain") and active == 1:
        active = array_rows  # one row is read at a time; what is summed lies next to it
    weight_bits, converters = _columns_at_once(given, kind, columns)
    macro = Macro(
        kind=kind,
        node_nm=node_nm,
        supply_v=supply_v,
        array_rows=array_rows,
        columns=columns,
        rows=1.0 if kind == "mac array" else active,
        input_bits=input_bits,
        weight_bits=weight_bits,
        converters=converters,
        converter_bits=_converter_bits(given, kind),
        step_ns=_step_ns(given, input_bits),
        has_capacitor=_has_capacitor(given.text("cell")),
        is_system=any(word in given.text("scope").lower() for word in SYSTEMS),
    )
    return macro, tuple(given.assumed)


def _kind(given: _Parameters) -> Kind:
    group, cell = given.text("class"), given.text("cell")
    if group == "HYBRID":
        raise UnpredictableError(
            "a whole network on several engines: it takes the network, joulec compile predicts it"
        )
    if group not in CLASSES:
        raise UnpredictableError(f"class {one_line(group, 40)!r} is none of {', '.join(CLASSES)}")
    if group == "DIGITAL":
        return "mac array"
    # A cell "+D" computes digitally; some tables file such macros under the analog ones.
    digital = group == "DIMC-SRAM" or ("+D" in cell and not given.text("adc_bits"))
    if digital:
        return "adder chain" if "full adder" in cell.lower() else "adder tree"
    if group == "AIMC-NVM":
        return "current"
    transistors = re.search(r"(\d+)T", cell)
    count = int(transistors.group(1)[:4]) if transistors else 0
    return "charge" if _has_capacitor(cell) or count >= CHARGE_TRANSISTORS else "current"


def _has_capacitor(cell: str) -> bool:
    return re.search(r"\dC|C-2C|\+C|[Cc]apac", cell) is not None


def _geometry(given: _Parameters) -> tuple[float, float]:
    rows, columns = given.number("array_rows"), given.number("array_cols")
    storage_kb = given.number("storage_kb")
    if rows is None and storage_kb is not None:
        rows = max(1.0, sqrt(storage_kb * 1024) * given.default("storage_aspect"))
        columns = columns or max(1.0, storage_kb * 1024 / rows)
    if rows is None:
        rows = given.default("rows")
    return rows, columns or rows


def _columns_at_once(given: _Parameters, kind: Kind, columns: float) -> tuple[float, float]:
    """Finds the weight bits that one output sums and the converters that work at once.

    A digital macro has adder trees in place of converters.
    """
    if kind in ("adder tree", "adder chain", "mac array"):
        bits = given.needed("w_bits") if kind == "mac array" else given.number("w_bits")
        bits = bits or given.default("weight_bits")
        return bits, max(1.0, columns / bits)
    cell_bits = _cell_bits(given.text("cell_bits"))
    converters = given.number("n_adc")
    if converters is None:
        return cell_bits or 1.0, columns
    weight_bits = given.number("w_bits") or cell_bits or 1.0
    if cell_bits is not None:  # no more bits than the columns of one converter hold
        weight_bits = min(weight_bits, cell_bits * max(1.0, columns / converters))
    return weight_bits, converters


def _cell_bits(text: str) -> float | None:
    """Reads the bits of a cell where the table gives a number ("analog" is none)."""
    found = re.fullmatch(r"\d{1,2}(\.\d{1,3})?", text)
    return max(0.5, float(text)) if found else None


def _input_bits(given: _Parameters, kind: Kind) -> float:
    if kind == "mac array":
        return given.needed("in_bits_per_step")
    return given.number("in_bits_per_step") or given.default("input_bits")


def _converter_bits(given: _Parameters, kind: Kind) -> float:
    if kind not in ("charge", "current"):
        return 1.0
    bits = given.number("adc_bits")
    if bits is not None:
        return bits
    return given.default("converter_bits")


def _step_ns(given: _Parameters, input_bits: float) -> float:
    step_ns = given.number("step_ns")
    if step_ns is not None:
        return step_ns
    clock_mhz = given.number("clock_MHz")
    if clock_mhz is not None:
        return 1000 / clock_mhz
    if given.text("class") == "AIMC-NVM" and input_bits > 1:
        return (2**input_bits - 1) * given.default("level_ns")
    return given.default("step_ns")
