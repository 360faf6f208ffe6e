"""What a row of a table means: the kind of a macro, its defaults, and the rules for odd rows."""

from __future__ import annotations

import pytest

from compiler.macros.model import Cell, Macro
from compiler.macros.reading import ALL_RULES, RULES, TYPICAL, macro_of
from compiler.macros.table import PARAMETERS, Row
from compiler.target.parts.constants import load_components

SHIPPED = load_components()
PLAIN = {
    "class": "AIMC-SRAM", "node_nm": "65", "cell": "6T", "array_rows": "64", "array_cols": "128",
    "active_rows": "64", "in_bits_per_step": "1", "w_bits": "1", "adc_bits": "5", "n_adc": "64",
    "vdd_V": "1", "step_ns": "20",
}  # fmt: skip


def row(**texts: str) -> Row:
    """A row with these columns; `group` is its class."""
    texts = {"class": "AIMC-SRAM", **texts}
    return Row(
        line=2,
        chip="c",
        name="c",
        group=texts["class"],
        scope="",
        parameters={**dict.fromkeys(PARAMETERS, ""), **texts},
        measured_tops_w=None,
        native_macs=1.0,
    )


def read(**changed: str) -> Macro:
    """The macro of the plain row with some columns changed."""
    return macro_of(row(**{**PLAIN, **changed}), SHIPPED)[0]


def test_what_a_table_means() -> None:
    texts = {
        "cell": "9T C-2C", "node_nm": "22", "array_rows": "512", "array_cols": "128",
        "active_rows": "64", "cell_bits": "1", "in_bits_per_step": "8", "w_bits": "8",
        "adc_bits": "8", "n_adc": "16", "scope": "processor", "clock_MHz": "250",
    }  # fmt: skip
    macro, assumed = macro_of(row(**texts), SHIPPED)
    usual = SHIPPED.defaults["supply"].estimate.value
    assert macro == Macro(
        kind="charge", node_nm=22, supply_v=0.85 * usual, array_rows=512, columns=128, rows=64,
        input_bits=8, weight_bits=8, converters=16, converter_bits=8, step_ns=4.0,
        has_capacitor=True, is_system=True, weight_cells=8,
        working_ns=macro.working_ns,
    )  # fmt: skip
    assert macro.working_ns == pytest.approx(8 * (0.00653 * 64 + 0.64) * 104 / 117)  # over 4 ns
    assert assumed == ("supply",)
    assert macro.sharing_outputs == 16


@pytest.mark.parametrize(
    ("changed", "columns"),
    [
        ({"active_rows": "1", "cols_per_adc": "27"}, 27),  # one row: the sum is over columns
        ({"active_rows": "1", "n_adc": "128", "cols_per_adc": "1"}, 64),  # or over the array's rows
        ({"active_rows": "9", "cols_per_adc": "16"}, 31 / 9),  # 5 bits are more than 10 levels
        ({"active_rows": "9", "cols_per_adc": "2"}, 2),
        ({"active_rows": "9", "cols_per_adc": "16", "adc_bits": "3"}, 1),
        ({"active_rows": "9", "cols_per_adc": "16", "adc_bits": ""}, 1),
        ({}, 1),
        ({"class": "DIMC-SRAM", "active_rows": "1", "cols_per_adc": "16"}, 1),
    ],
)
def test_columns_that_are_summed_before_a_conversion(
    changed: dict[str, str], columns: float
) -> None:
    assert read(**changed).summed_columns == pytest.approx(columns)


def conversion_ns(macro: Macro) -> float:
    """The time of a conversion at the macro's node."""
    return SHIPPED.scale(macro.node_nm) * macro.resolution_bits * (0.00653 * macro.rows + 0.64)


def test_cells_work_as_long_as_they_are_sensed() -> None:
    whole = conversion_ns(read())
    assert read().working_ns == 20
    assert read(step_ns="0.85").working_ns == pytest.approx(whole)  # a clock's period
    assert read(step_ns="300").working_ns == pytest.approx(10 * whole)  # a pause after the read
    assert read(cell="8T1C", step_ns="300").working_ns == 300  # what adds charge draws no current
    assert read(cell="8T1C", step_ns="1e6").working_ns == 320
    macro, assumed = macro_of(row(**{**PLAIN, "step_ns": "20000"}), SHIPPED)
    assert assumed == ("step_ns",)  # no read takes 20 us: that of a usual array is taken
    assert macro.step_ns == SHIPPED.defaults["step_ns"].estimate.value
    assert read(**{"class": "AIMC-NVM", "cell": "RRAM", "step_ns": "300"}).working_ns == 300
    assert read(**{"class": "DIMC-SRAM", "step_ns": "20000"}).step_ns == 20000


@pytest.mark.parametrize(
    ("cell", "cell_bits", "bits", "kind", "cells"),
    [
        ("RRAM", "", "3", "resistive", 3),
        ("RRAM", "", "8", "resistive", 2),  # a pair of cells of many levels
        ("1T1R RRAM", "analog (4b)", "4", "resistive", 2),
        ("2T2R XNOR", "", "1", "resistive", 1),
        ("PCM", "", "1", "resistive", 1),
        ("MRAM+Par", "", "1", "resistive", 1),
        ("NOR-F", "", "8", "flash", 2),
        ("6T+4FGT", "", "3", "flash", 2),
        ("eFlash", "", "1", "flash", 1),
    ],
)
def test_cells_that_hold_a_weight(
    cell: str, cell_bits: str, bits: str, kind: Cell, cells: float
) -> None:
    texts = {"class": "AIMC-NVM", "cell": cell, "cell_bits": cell_bits, "w_bits": bits}
    macro = read(**texts)
    assert (macro.cell, macro.weight_cells) == (kind, cells)
    _, assumed = macro_of(row(**{**PLAIN, **texts, "step_ns": ""}), SHIPPED)
    assert assumed == (f"{kind}_step_ns",)


def test_a_supply_that_the_logic_does_not_bear_is_not_the_logics() -> None:
    usual = SHIPPED.usual_supply_v(65)
    assert read(vdd_V="1.4").supply_v == 1.4
    macro, assumed = macro_of(row(**{**PLAIN, "vdd_V": "2.5"}), SHIPPED)
    assert (macro.supply_v, assumed) == (usual, ("supply_limit",))


def test_without_rules_a_row_is_taken_at_its_word() -> None:
    texts = {**PLAIN, "class": "AIMC-NVM", "cell": "NOR-F", "active_rows": "1", "vdd_V": "2.5",
             "step_ns": "20000", "w_bits": "8"}  # fmt: skip
    macro, assumed = macro_of(row(**texts), SHIPPED, rules=())
    found = (macro.supply_v, macro.summed_columns, macro.working_ns, macro.cell, macro.weight_cells)
    assert found == (2.5, 1, None, "sram", 8)
    assert (macro.step_ns, macro.is_flash_allowed, assumed) == (20000, False, ())


def test_every_rule_has_its_reason() -> None:
    assert set(RULES) == ALL_RULES
    assert TYPICAL in RULES
    assert all(len(reason) > 30 for reason in RULES.values())


@pytest.mark.parametrize(
    ("group", "cell", "bits", "kind"),
    [
        ("AIMC-SRAM", "6T", "5", "current"),
        ("AIMC-SRAM", "8T", "5", "current"),
        ("AIMC-SRAM", "8T1C", "5", "charge"),
        ("AIMC-SRAM", "10T", "5", "charge"),
        ("AIMC-SRAM", "6T+D", "", "adder tree"),
        ("AIMC-eDRAM", "2T1C", "5", "charge"),
        ("AIMC-NVM", "1T1R RRAM", "5", "current"),
        ("DIMC-SRAM", "12T+D", "", "adder tree"),
        ("DIMC-SRAM", "SRAM + full adder per cell", "", "adder chain"),
        ("DIGITAL", "", "", "mac array"),
    ],
)
def test_the_kind_of_a_cell(group: str, cell: str, bits: str, kind: str) -> None:
    texts = {
        **dict.fromkeys(PARAMETERS, "1"),
        **{"class": group, "cell": cell, "adc_bits": bits, "cell_bits": "", "scope": ""},
    }
    assert macro_of(row(**texts), SHIPPED)[0].kind == kind
