"""The macro formulas: each part by pencil, what must hold for every macro, the constants, and
the fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.macros.fit import LEARNT_CLASSES, fit, fold_ranges, leave_one_chip_out, usable
from compiler.macros.model import Kind, Macro, energy_fj, one_bit_mac, silicon_of
from compiler.macros.table import PARAMETERS, Row, macro_of, read_table
from compiler.macros.validation import Verdict, summary, verdict
from compiler.target.parts.constants import load_components
from compiler.target.parts.silicon import Silicon
from compiler.units import Estimate
from tests.support.fit import silicon

SHIPPED = load_components()
# Round numbers for the pencil; the scale of the node is 1 at 28 nm.
PENCIL = {
    "full_adder_ff": 4.0, "register_bit_ff": 2.0, "latch_bit_ff": 2.0, "multiplier_ff": 0.5,
    "wordline_ff": 0.4, "bitline_ff": 0.3, "capacitor_ff": 2.0, "sar_bit_ff": 100.0,
    "sar_level_ff": 0.001, "sense_ff": 2.0, "driver_bit_ff": 50.0, "control_share": 0.25,
    "leakage_pw": 10.0, "bias_ua": 0.5, "activity": 0.25, "system_share": 0.5, "spread_factor": 3.0,
}  # fmt: skip
SMALL = Macro(
    kind="charge", node_nm=28, supply_v=1.0, array_rows=64, columns=32, rows=64, input_bits=4,
    weight_bits=4, converters=8, converter_bits=5, step_ns=10.0, has_capacitor=True,
)  # fmt: skip


def parts(macro: Macro) -> dict[str, float]:
    """The parts of one output of one step, in fJ, with the pencil's constants."""
    return {
        name: part * macro.one_bit_macs
        for name, part in energy_fj(macro, Silicon(PENCIL, 1.0, macro.supply_v)).items()
    }


def test_charge_macro_by_pencil() -> None:
    found = parts(SMALL)
    array = {
        "drivers": 64 * (0.4 * 32 + 50 * 4) / 8,  # 8 outputs share the drive
        "bitlines": 64 * 4 * 0.3,
        "cells": 64 * 4 * (0.5 + 2.0),
        "converter": 100 * 5 + 0.001 * 4**5,
        "recombination": 0.25 * (4 + 2) * (5 + 3),
        "registers": 64 * 4 * 0.25 * 2 / 8,
        "leakage": 10 * 64 * 32 * 10 * 1e-6 / 8,
    }
    assert found == pytest.approx({**array, "control": sum(array.values()) / 4, "system": 0.0})


def test_cells_read_by_a_current_draw_it_while_the_step_lasts() -> None:
    found = parts(replace(SMALL, kind="current", has_capacitor=False, supply_v=0.5))
    assert found["bias"] == pytest.approx(64 * 4 * 0.5 * 0.5 * 10)
    assert found["converter"] == pytest.approx(2 * 5 * 0.25)
    assert found["cells"] == pytest.approx(64 * 4 * 0.5 * 0.25)


def test_one_bit_is_decided_by_a_sense_amplifier() -> None:
    assert parts(replace(SMALL, converter_bits=1))["converter"] == pytest.approx(2.0)


def test_the_sum_limits_the_resolution() -> None:
    # 9 rows of one bit have 10 levels, whatever a table says of the converter.
    macro = replace(SMALL, rows=9, input_bits=1, weight_bits=1, converter_bits=5)
    assert macro.resolution_bits == pytest.approx(math.log2(10))


def test_adder_tree_by_pencil() -> None:
    macro = replace(SMALL, kind="adder tree", weight_bits=8, input_bits=2, rows=32)
    found = parts(macro)
    array = {
        "drivers": 32 * 2 * 8 * 0.25 * 0.4,
        "cells": 32 * 2 * 8 * 0.25 * 0.5,
        "registers": 32 * 2 * 0.25 * 2 / 4,
        "leakage": 10 * 64 * 32 * 10 * 1e-6 / 4,
        "adders": 2 * 0.25 * 4 * (32 * (8 + 1) - (8 + 5 + 1)),
        "accumulator": 2 * 0.25 * (4 + 2) * (8 + 5 + 2),
    }
    assert found == pytest.approx({**array, "control": sum(array.values()) / 4, "system": 0.0})


def test_adders_in_the_cells_are_as_wide_as_the_sum() -> None:
    found = parts(replace(SMALL, kind="adder chain", weight_bits=8, input_bits=1, rows=128))
    assert found["adders"] == pytest.approx(128 * 4 * (8 + 7))
    assert found["accumulator"] == pytest.approx(128 * 8 * 2)


def test_digital_mac_array_by_pencil() -> None:
    found = parts(replace(SMALL, kind="mac array", rows=1, input_bits=8, weight_bits=8))
    array = {
        "cells": 64 * 0.25 * 0.5,
        "adders": 64 * 0.25 * 4,
        "accumulator": 0.25 * (4 + 2) * 24,
        "registers": 2 * 16,
        "leakage": 10 * 24 * 10 * 1e-6,
    }
    assert found == pytest.approx({**array, "control": sum(array.values()) / 4, "system": 0.0})


def test_a_processor_adds_its_share_on_top_of_all() -> None:
    macro, system = SMALL, replace(SMALL, is_system=True)
    assert sum(parts(system).values()) == pytest.approx(1.5 * sum(parts(macro).values()))


def test_energy_goes_with_the_gate_pitch_and_the_square_of_the_supply() -> None:
    tree = replace(SMALL, kind="adder tree", step_ns=1e-3)
    base = sum(energy_fj(tree, Silicon(PENCIL, SHIPPED.scale(28), 1.0)).values())
    assert SHIPPED.scale(28) == 1.0
    assert SHIPPED.scale(5) == pytest.approx(51 / 117)
    assert SHIPPED.scale(2) == pytest.approx(48 / 117 * 2 / 3)
    assert sum(energy_fj(tree, Silicon(PENCIL, SHIPPED.scale(5), 1.0)).values()) == pytest.approx(
        base * 51 / 117, rel=1e-6
    )
    doubled = sum(energy_fj(tree, Silicon(PENCIL, 1.0, 2.0)).values())
    assert doubled == pytest.approx(4 * base, rel=1e-6)


KINDS: Sequence[Kind] = ("charge", "current", "adder tree", "adder chain", "mac array")
MACROS = st.builds(
    Macro,
    kind=st.sampled_from(KINDS),
    node_nm=st.floats(2, 180),
    supply_v=st.floats(0.3, 2),
    array_rows=st.integers(1, 4096).map(float),
    columns=st.integers(1, 2048).map(float),
    rows=st.integers(1, 4096).map(float),
    input_bits=st.integers(1, 8).map(float),
    weight_bits=st.sampled_from((1.0, 1.5, 2.0, 4.0, 8.0)),
    converters=st.integers(1, 2048).map(float),
    converter_bits=st.floats(1, 12),
    step_ns=st.floats(0.1, 1000),
    has_capacitor=st.booleans(),
    is_system=st.booleans(),
)


def output_fj(macro: Macro) -> float:
    """One output of one step with the shipped constants."""
    return sum(energy_fj(macro, silicon_of(macro, SHIPPED)).values()) * macro.one_bit_macs


@settings(deadline=None)
@given(MACROS)
def test_more_never_costs_less(macro: Macro) -> None:
    base = output_fj(macro)
    assert base > 0
    for name in ("rows", "input_bits", "weight_bits", "converter_bits", "supply_v", "step_ns"):
        more = replace(macro, **{name: getattr(macro, name) * 2})
        assert output_fj(more) >= base * (1 - 1e-12), name
    if macro.node_nm <= 90:
        assert output_fj(replace(macro, node_nm=macro.node_nm * 2)) >= base * (1 - 1e-12)


@settings(deadline=None)
@given(MACROS)
def test_parts_add_up_and_their_intervals_hold_them(macro: Macro) -> None:
    found = one_bit_mac(macro, SHIPPED)
    assert all(part.low <= part.value <= part.high and part.low >= 0 for part in found.values())
    total = sum(part.value for part in found.values())
    assert total * macro.one_bit_macs == pytest.approx(output_fj(macro))


def test_every_constant_says_where_it_comes_from() -> None:
    for name, constant in {**SHIPPED.constants, **SHIPPED.defaults}.items():
        assert len(constant.source) > 10, name
        assert constant.estimate.low >= 0, name
    assert all(len(source) > 4 for source in SHIPPED.pitch_sources.values())
    assert set(SHIPPED.fitted) == {"bias_ua", "activity", "system_share"}
    fitted = {name for name, constant in SHIPPED.constants.items() if constant.is_fitted}
    assert fitted == {*SHIPPED.fitted, "spread_factor"}


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Published silicon (JOULEC_SILICON, or ../shared/silicon/shown.csv)."""
    if not silicon().is_file():
        pytest.skip(f"no silicon in {silicon()}; JOULEC_SILICON names another file")
    return read_table(silicon())


@pytest.fixture(scope="module")
def left_out(rows: list[Row]) -> list[Verdict]:
    return leave_one_chip_out(rows, SHIPPED)


def test_the_shipped_constants_are_those_of_the_fit(rows: list[Row]) -> None:
    found = fit(rows, SHIPPED)
    for name in (*SHIPPED.fitted, "spread_factor"):
        assert found.constants[name].estimate.value == pytest.approx(
            SHIPPED.constants[name].estimate.value, rel=2e-3
        ), "run `make fit`"


def test_the_bar(left_out: list[Verdict]) -> None:
    found = summary([v for v in left_out if v.row.group in LEARNT_CLASSES])
    assert found is not None
    assert found.compared >= 54
    assert found.mean_log_error <= 0.30
    assert found.inside >= 0.80
    assert found.median_width <= 16


def test_the_page_says_how_far_the_fit_moves(rows: list[Row]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
    ranges = fold_ranges(rows, SHIPPED)
    (low, high), (least, greatest) = ranges["bias_ua"], ranges["activity"]
    line = (
        f"`bias_ua` moves between {low:.2f} and {high:.2f}, `activity` between "
        f"{least:.2f} and {greatest:.2f}."
    )
    assert line in " ".join(page.split())


def test_every_row_is_predicted_or_says_why_not(left_out: list[Verdict]) -> None:
    silent = [v.row.line for v in left_out if v.tops_w is None and not v.why_not]
    assert not silent
    sram = [v for v in left_out if v.row.group in LEARNT_CLASSES]
    assert all(v.tops_w is not None for v in sram)


def test_a_chip_is_held_out_of_its_own_fit(rows: list[Row]) -> None:
    """Whatever a chip's own rows measured, its prediction with itself left out is the same."""
    chip = "colonnade"
    wrong = [
        replace(row, measured_tops_w=(row.measured_tops_w or 1) * 100) if row.chip == chip else row
        for row in rows
    ]
    before = [v.tops_w for v in leave_one_chip_out(rows, SHIPPED) if v.row.chip == chip]
    after = [v.tops_w for v in leave_one_chip_out(wrong, SHIPPED) if v.row.chip == chip]
    assert before == after
    assert fit(rows, SHIPPED).values != fit(wrong, SHIPPED).values


def test_a_fit_finds_the_constants_that_made_the_silicon(rows: list[Row]) -> None:
    """Rows whose measure is made by the formulas are met exactly, the priors' pull aside."""
    truth = SHIPPED.with_values({"bias_ua": Estimate(0.7, 0.1, 2.0)})
    made = [
        replace(row, measured_tops_w=found.tops_w.value)
        for row, _ in usable(rows, SHIPPED)
        if (found := verdict(row, truth)).tops_w is not None
    ]
    assert fit(made, SHIPPED).values["bias_ua"] == pytest.approx(0.7, rel=0.1)
    spread = fit(made, SHIPPED).values["spread_factor"]
    assert 1 <= spread < 1.1


def test_with_nothing_to_learn_from_the_priors_stand() -> None:
    found = fit([], SHIPPED)
    for name in SHIPPED.fitted:
        assert found.values[name] == SHIPPED.constants[name].prior


def test_defaults_widen_the_interval() -> None:
    given_all = {
        "class": "AIMC-SRAM", "node_nm": "28", "cell": "6T", "array_rows": "64", "array_cols": "64",
        "active_rows": "64", "in_bits_per_step": "1", "w_bits": "1", "adc_bits": "4", "n_adc": "64",
        "vdd_V": "0.9", "step_ns": "5",
    }  # fmt: skip

    def width(**changed: str) -> float:
        texts = {**dict.fromkeys(PARAMETERS, ""), **given_all, **changed}
        row = Row(
            line=2,
            chip="chip",
            name="chip",
            group="AIMC-SRAM",
            scope="",
            parameters=texts,
            measured_tops_w=None,
            native_macs=1.0,
        )
        found = verdict(row, SHIPPED)
        assert found.tops_w is not None
        return found.tops_w.high / found.tops_w.low

    assert width() == pytest.approx(SHIPPED.values["spread_factor"] ** 2)
    assert width(step_ns="") > width(vdd_V="") > width()


def test_what_a_table_means() -> None:
    texts = {
        **dict.fromkeys(PARAMETERS, ""),
        "class": "AIMC-SRAM", "node_nm": "22", "cell": "9T C-2C", "array_rows": "512",
        "array_cols": "128", "active_rows": "64", "cell_bits": "1", "in_bits_per_step": "8",
        "w_bits": "8", "adc_bits": "8", "n_adc": "16", "scope": "processor", "clock_MHz": "250",
    }  # fmt: skip
    macro, assumed = macro_of(
        Row(
            line=2,
            chip="c",
            name="c",
            group="AIMC-SRAM",
            scope="",
            parameters=texts,
            measured_tops_w=None,
            native_macs=1.0,
        ),
        SHIPPED,
    )
    assert macro == Macro(
        kind="charge", node_nm=22, supply_v=0.85, array_rows=512, columns=128, rows=64,
        input_bits=8, weight_bits=8, converters=16, converter_bits=8, step_ns=4.0,
        has_capacitor=True, is_system=True,
    )  # fmt: skip
    assert assumed == ("supply",)
    assert macro.sharing_outputs == 16


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
        "class": group,
        "cell": cell,
        "adc_bits": bits,
        "cell_bits": "",
        "scope": "",
    }
    macro, _ = macro_of(
        Row(
            line=2,
            chip="c",
            name="c",
            group=group,
            scope="",
            parameters=texts,
            measured_tops_w=None,
            native_macs=1.0,
        ),
        SHIPPED,
    )
    assert macro.kind == kind
