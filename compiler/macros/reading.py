"""Makes the macro of a table's row, with what was assumed on the way, or says why it cannot.

How the columns are meant: `active_rows` are summed by one conversion, `in_bits_per_step` enter at
once, `w_bits` are summed by one of the `n_adc` converters (by one column of `cell_bits` where their
number is not given), `step_ns` is the time of one such step. A row that cannot mean that is read by
RULES.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from math import sqrt

from compiler.errors import one_line
from compiler.macros.model import DIGITAL, Cell, Kind, Macro, level_bits
from compiler.macros.table import RANGES, Row
from compiler.target.parts.constants import Components
from compiler.target.parts.delay import conversion_ns
from compiler.target.parts.silicon import silicon_at

CLASSES = ("AIMC-SRAM", "AIMC-eDRAM", "AIMC-NVM", "DIMC-SRAM", "DIGITAL")
SYSTEMS = ("processor", "system", "soc", "whole chip", "chip sustained", "board")
# From so many transistors on, a cell has a port of its own on which it adds charge, and its storage
# is left alone.
CHARGE_TRANSISTORS = 9

FLASH = re.compile(r"flash|\bnor\b|fg|sonos", re.IGNORECASE)

TYPICAL = "typical chip"
# What is known of a row beyond its columns, each rule with its reason. Nested validation leaves
# each out in turn and asks the other chips whether it helps; what ships is all of them.
RULES = {
    "cheapest converter": "few bits of charge are compared all at once, not one after the other",
    "summed columns": "where one row is active, or a converter has more bits than its rows sum to, "
    "columns are summed before the conversion",
    "working time": "no analog step is shorter than its conversion, and cells that are read by a "
    "current conduct only while they are sensed",
    "resistive cells": "currents of ReRAM, PCM, MRAM and flash are those of the device, at the "
    "voltage of a clamped bitline; many bits are held by a pair of cells",
    "supply limit": "a supply that the node's transistors do not bear is not that of the logic",
    TYPICAL: "where much is assumed, and of processors, what such chips usually take says more",
}
ALL_RULES = frozenset(RULES)
# From so many bits on, a weight in resistive cells is taken to be held by a pair of them.
PAIRED_BITS = 4


class UnpredictableError(Exception):
    """A row cannot be predicted; the text says why, in the user's words."""


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

    def assumption(self, name: str) -> float:
        """Reads a default that has not been used yet."""
        return self._defaults[name]

    def default(self, name: str) -> float:
        """Reads a default and notes that it was used."""
        self.assumed.append(name)
        return self._defaults[name]


def macro_of(
    row: Row,
    components: Components,
    changed: Mapping[str, float] | None = None,
    rules: Collection[str] = ALL_RULES,
) -> tuple[Macro, tuple[str, ...]]:
    """Makes the macro of a row, and names the defaults used for what the table leaves out.

    `changed` replaces some of their values, `rules` are those of RULES that are applied.

    Raises UnpredictableError with the reason where the formulas do not apply.
    """
    defaults = {name: default.estimate.value for name, default in components.defaults.items()}
    given = _Parameters(row, {**defaults, **(changed or {})})
    kind = _kind(given)
    node_nm = given.needed("node_nm")
    supply_v = _supply_v(given, components.usual_supply_v(node_nm), "supply limit" in rules)
    input_bits = _input_bits(given, kind)
    array_rows, columns = (1.0, 1.0) if kind == "mac array" else _geometry(given)
    active = given.number("active_rows") or array_rows
    if kind in ("adder tree", "adder chain") and active == 1:
        active = array_rows  # one row is read at a time; what is summed lies next to it
    weight_bits, converters = _columns_at_once(given, kind, columns)
    cell = _cell(given) if "resistive cells" in rules else "sram"
    converter_bits = _converter_bits(given, kind)
    step_ns = _step_ns(given, input_bits, cell)
    if kind == "current" and "working time" in rules:
        step_ns = _read_ns(given, step_ns, cell, components.values["read_limit_ns"])
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
        converter_bits=converter_bits,
        step_ns=step_ns,
        has_capacitor=_has_capacitor(given.text("cell")),
        is_system=kind == "mac array" or _is_system(given.text("scope")),
        cell=cell,
        weight_cells=_weight_cells(given, cell, weight_bits),
        is_flash_allowed="cheapest converter" in rules,
    )
    if kind not in DIGITAL and "summed columns" in rules:
        macro = replace(macro, summed_columns=_summed_columns(given, macro))
    if kind not in DIGITAL and "working time" in rules:
        macro = replace(macro, working_ns=_working_ns(macro, components))
    return macro, tuple(given.assumed)


def _is_system(scope: str) -> bool:
    return any(word in scope.lower() for word in SYSTEMS)


def _supply_v(given: _Parameters, usual_v: float, is_limited: bool) -> float:
    supply_v = given.number("vdd_V")
    if supply_v is None:
        return usual_v * given.default("supply")
    if not is_limited or supply_v <= usual_v * given.assumption("supply_limit"):
        return supply_v
    given.default("supply_limit")
    return usual_v


def _summed_columns(given: _Parameters, macro: Macro) -> float:
    """Finds the columns whose charges or currents one conversion takes together.

    A macro that activates one row sums over columns, or it would sum nothing. A converter with
    more bits than the levels of its rows has more to convert: other columns, as far as it serves
    some.
    """
    own = macro.columns / macro.converters
    per_converter = max(1.0, given.number("cols_per_adc") or own)
    if macro.rows == 1:
        most = max(per_converter, own)
        return most if most > 1 else macro.array_rows
    if given.number("adc_bits") is None:
        return 1.0
    levels = 2.0**macro.converter_bits - 1
    wanted: float = levels / (2.0 ** level_bits(macro) - 1)
    return min(max(1.0, wanted), per_converter)


def _working_ns(macro: Macro, components: Components) -> float:
    """Finds how long the cells and converters of an analog macro work in a step.

    The step that a table states may be the period of a clock of which a conversion takes many, or
    may hold long pauses.
    """
    silicon = silicon_at(components, macro.node_nm, macro.supply_v)
    values = silicon.values
    converting = silicon.scale * conversion_ns(silicon, macro.resolution_bits, macro.rows)
    working = macro.step_ns
    if macro.cell == "sram":
        working = max(working, converting)
    if macro.cell == "sram" and macro.kind == "current":
        working = min(working, values["read_conversions"] * converting)
    return min(working, values["read_limit_ns"])


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


def _cell(given: _Parameters) -> Cell:
    if given.text("class") != "AIMC-NVM":
        return "sram"
    return "flash" if FLASH.search(given.text("cell")) else "resistive"


def _weight_cells(given: _Parameters, cell: Cell, weight_bits: float) -> float:
    """Counts the cells that hold the weight of an output: one a bit, or a pair for all of them."""
    is_analog = "analog" in given.text("cell_bits").lower()
    if cell == "flash" or (cell == "resistive" and (is_analog or weight_bits > PAIRED_BITS)):
        return min(weight_bits, 2.0)
    return weight_bits


def _step_ns(given: _Parameters, input_bits: float, cell: Cell) -> float:
    step_ns = given.number("step_ns")
    if step_ns is not None:
        return step_ns
    clock_mhz = given.number("clock_MHz")
    if clock_mhz is not None:
        return 1000 / clock_mhz
    if given.text("class") == "AIMC-NVM" and input_bits > 1:
        return (2**input_bits - 1) * given.default("level_ns")
    return given.default(_default_step(cell))


def _read_ns(given: _Parameters, step_ns: float, cell: Cell, limit_ns: float) -> float:
    """Takes a usual read for a step that is longer than any: a clock's period, not a read."""
    return given.default(_default_step(cell)) if step_ns > limit_ns else step_ns


def _default_step(cell: Cell) -> str:
    return "step_ns" if cell == "sram" else f"{cell}_step_ns"
