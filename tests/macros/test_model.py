"""The macro formulas: each part by pencil, what must hold for every macro, the constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.macros.model import SPREADS, Kind, Macro, energy_fj, one_bit_mac, silicon_of
from compiler.target.parts.constants import load_components
from compiler.target.parts.silicon import Silicon

SHIPPED = load_components()
# Round numbers for the pencil; the scale of the node is 1 at 28 nm.
PENCIL = {
    "full_adder_ff": 4.0, "register_bit_ff": 2.0, "latch_bit_ff": 2.0, "multiplier_ff": 0.5,
    "wordline_ff": 0.4, "bitline_ff": 0.3, "capacitor_ff": 2.0, "sar_bit_ff": 100.0,
    "sar_level_ff": 0.001, "sense_ff": 2.0, "driver_bit_ff": 50.0, "control_share": 0.25,
    "leakage_pw": 10.0, "bias_ua": 0.5, "activity": 0.25, "system_share": 0.5,
    "reram_read_us": 8.0, "reram_read_v": 0.25, "flash_read_us": 0.1, "flash_read_v": 0.5,
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
        "converter": 2 * (2**5 - 1),  # a flash converter is cheaper than 100 * 5 + 0.001 * 4**5
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


def test_many_bits_of_charge_are_decided_one_after_the_other() -> None:
    assert parts(replace(SMALL, converter_bits=9))["converter"] == 100 * 9 + 0.001 * 4**9
    alone = replace(SMALL, is_flash_allowed=False)
    assert parts(alone)["converter"] == 100 * 5 + 0.001 * 4**5


def test_resistive_cells_draw_the_current_of_the_device_over_a_clamped_bitline() -> None:
    macro = replace(
        SMALL, kind="current", cell="resistive", has_capacitor=False, weight_cells=2, working_ns=3.0
    )
    found = parts(macro)
    assert found["bias"] == pytest.approx(64 * 2 * 2.0 * 1.0 * 3)  # uA * V * ns, at any node
    assert found["bitlines"] == pytest.approx(64 * 2 * 0.3 * 0.25)
    assert found["cells"] == 0
    flash = parts(replace(macro, cell="flash"))
    assert flash["bias"] == pytest.approx(64 * 2 * 0.05 * 1.0 * 3)


def test_one_conversion_serves_the_columns_that_are_summed_before_it() -> None:
    macro = replace(SMALL, rows=1, input_bits=1, weight_bits=1, converters=1, summed_columns=16)
    found = parts(macro)
    assert macro.one_bit_macs == 16
    assert macro.resolution_bits == pytest.approx(math.log2(17))
    assert found["cells"] == pytest.approx(16 * (0.5 + 2.0))
    assert found["drivers"] == pytest.approx(0.4 * 32 / 2)  # two sums of 16 of the 32 columns


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
    cell=st.sampled_from(("sram", "resistive", "flash")),
    summed_columns=st.sampled_from((1.0, 4.0, 27.0)),
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
    typical = {"typical_transistor_fj", "typical_resistive_fj"}
    assert set(SHIPPED.measured) == {*(f"spread_{kind}" for kind in SPREADS), *typical}


@given(MACROS)
def test_what_is_measured_of_a_macro_is_a_constant(macro: Macro) -> None:
    assert {macro.spread, macro.typical} <= set(SHIPPED.measured)
