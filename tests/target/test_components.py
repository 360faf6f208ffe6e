"""The component library by pencil, and chip files that name components instead of numbers.

Most constants are given at 28 nm; at 1 V a femtofarad is a femtojoule.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from importlib import resources
from inspect import signature

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import TargetError
from compiler.target.chip import Target, parse_target
from compiler.target.parts.component import Value
from compiler.target.parts.constants import Components, load_components
from compiler.target.parts.library import COMPONENTS
from compiler.target.parts.memory import sram_table
from compiler.target.parts.resolve import Resolved, resolved
from compiler.target.quantity import ComponentQuantity
from compiler.target.schema import target_schema
from compiler.units import Estimate, total

SHIPPED = load_components()
TILE16 = (resources.files("compiler") / "targets" / "tile16.toml").read_text(encoding="utf-8")


def with_constants(**values: float) -> Components:
    """The library with some constants exact."""
    changed = {
        name: replace(SHIPPED.constants[name], estimate=Estimate.exact(value))
        for name, value in values.items()
    }
    return replace(SHIPPED, constants={**SHIPPED.constants, **changed})


# The constants of ZigZag-IMC at 28 nm and 0.9 V: everything switches, and clock, word lines and
# input registers are not in the array.
ZIGZAG = with_constants(
    full_adder_ff=4.2, register_bit_ff=2.1, latch_bit_ff=0, multiplier_ff=0.35, wordline_ff=0,
    bitline_ff=0.35, sar_bit_ff=100, sar_level_ff=0.001, driver_bit_ff=50, control_share=0,
    activity=1, nand_ns=0.0478, converter_bit_ns=0.64, converter_row_ns=0.00653,
)  # fmt: skip
# Round numbers for the pencil.
PENCIL = with_constants(
    full_adder_ff=4, register_bit_ff=2, latch_bit_ff=2, multiplier_ff=0.5, wordline_ff=0.4,
    bitline_ff=0.3, capacitor_ff=2, sense_ff=2, driver_bit_ff=50, control_share=0.5, activity=0.25,
    bias_ua=0.5, wire_ff_per_um=0.2, link_toggle=0.5, router_bit_ff=80,
)  # fmt: skip


def number(
    name: str,
    components: Components = PENCIL,
    node_nm: float = 28,
    supply_v: float = 1.0,
    **given: Value,
) -> Resolved:
    """A component with its defaults filled in."""
    defaults = {
        key: parameter.default
        for key, parameter in COMPONENTS[name].parameters.items()
        if parameter.default is not None
    }
    return resolved(name, {**defaults, **given}, components, node_nm, Estimate.exact(supply_v))


def parts(
    name: str, node_nm: float = 28, supply_v: float = 1.0, **given: Value
) -> dict[str, float]:
    """The parts by pencil, in fJ for what is given in pJ."""
    found = number(name, PENCIL, node_nm, supply_v, **given)
    return {part: estimate.value * 1000 for part, estimate in found.parts.items()}


# -- one full activation of ZigZag's 128 x 128 arrays, by component (8-bit inputs and weights)


def test_zigzag_analog_array() -> None:
    """128 rows driven with 2 bits, 128 outputs of 8 columns each, 8-bit converters: 851.37 pJ in
    14.072 ns.
    """
    columns = 128 * 8
    cells = number("analog_cell", ZIGZAG, supply_v=0.9, has_capacitor=False)
    adders = number(
        "recombination",
        ZIGZAG,
        supply_v=0.9,
        slices=8,
        converter_bits=8,
        input_bits=8,
        input_bits_per_step=2,
    )
    found = {
        "ADC": columns * number(
            "converter", ZIGZAG, supply_v=0.9, kind="sar", bits=8,
        ).estimate.value,
        "DAC": 128 * number(
            "row_driver", ZIGZAG, supply_v=0.9, columns=columns, input_bits=2,
        ).estimate.value,
        "cells": 128 * columns * cells.parts["cell"].value,
        "bitline": 128 * columns * cells.parts["bitline"].value,
        "place value": columns * adders.parts["place_value"].value,
        "accumulator": columns * adders.parts["accumulator"].value,
    }  # fmt: skip
    zigzag = {
        "ADC": 717.91,
        "DAC": 10.37,
        "cells": 37.16,
        "bitline": 37.16,
        "place value": 33.09,
        "accumulator": 15.68,
    }
    assert found == pytest.approx(zigzag, rel=1e-3)
    assert sum(found.values()) == pytest.approx(851.37, rel=1e-4)
    step = number(
        "analog_step",
        ZIGZAG,
        rows=128,
        converter_bits=8,
        slices=8,
        input_bits=8,
        input_bits_per_step=2,
    )
    assert step.estimate.value == pytest.approx(14.072, rel=1e-4)


def test_zigzag_digital_array() -> None:
    """One input bit a step: 546.86 pJ in 3.757 ns; a MAC takes eight steps."""
    mac = number(
        "digital_array_mac",
        ZIGZAG,
        supply_v=0.9,
        rows=128,
        outputs=128,
        weight_bits=8,
        input_bits=8,
    )
    output = number(
        "digital_array_accumulate",
        ZIGZAG,
        supply_v=0.9,
        rows=128,
        weight_bits=8,
        input_bits=8,
        input_bits_per_step=1,
    )
    found = {
        "trees": mac.parts["adder_tree"].value * 128 * 128 / 8,
        "multipliers": mac.parts["multiplier"].value * 128 * 128 / 8,
        "accumulators": output.parts["accumulator"].value * 128 / 8,
    }
    zigzag = {"trees": 494.68, "multipliers": 37.16, "accumulators": 15.02}
    assert found == pytest.approx(zigzag, rel=1e-3)
    assert sum(found.values()) == pytest.approx(546.86, rel=1e-4)
    time = number(
        "digital_array_step", ZIGZAG, rows=128, weight_bits=8, input_bits=8, input_bits_per_step=1
    )
    assert time.estimate.value == pytest.approx(3.757, rel=1e-4)


# -- each component by pencil


def test_row_driver() -> None:
    """32 cells of word line, 4 bits of converter, 4 bits held; half as much again for clock and
    control.
    """
    word, digits, latch = 0.4 * 32, 50 * 4, 4 * 0.25 * 2
    found = parts("row_driver", columns=32, input_bits=4)
    assert found == pytest.approx(
        {"driver": word + digits, "latch": latch, "control": 0.5 * (word + digits + latch)}
    )
    assert parts("row_driver", columns=32, input_bits=1)["driver"] == pytest.approx(word)


def test_analog_cell() -> None:
    """A capacitor is metal, so it does not shrink with the node; a current flows as long as it
    is told to.
    """
    found = parts("analog_cell", has_capacitor=True)
    assert (found["cell"], found["bitline"]) == pytest.approx((0.5 + 2, 0.3))
    scale = SHIPPED.scale(14)
    small = parts("analog_cell", has_capacitor=True, node_nm=14)
    assert (small["cell"], small["bitline"]) == pytest.approx((0.5 * scale + 2, 0.3 * scale))
    assert parts("analog_cell", has_capacitor=False, current_ns=10.0)["bias"] == pytest.approx(5)


@pytest.mark.parametrize(
    ("given", "energy_fj"),
    [
        ({"kind": "sense", "bits": 5}, 2 * 5),
        ({"kind": "flash", "bits": 5}, 2 * 31),
        ({"kind": "ramp", "bits": 5, "sharing_columns": 16}, 2 * 5 + 2 * (2 * 32 / 16 + 5)),
        ({"kind": "cco", "bits": 5, "sharing_columns": 16}, 2 * 5 + 2 * (2 * 32 + 5)),
        ({"kind": "in_array", "bits": 5, "rows": 64}, 5 * (2 + 0.3 * 64)),
        ({"kind": "sar", "bits": 5}, 100 * 5 + 0.001 * 4**5),
        ({"kind": "sar", "bits": 1}, 2),
        ({"kind": "flash", "bits": 1}, 2),
    ],
)
def test_each_kind_of_converter(given: dict[str, Value], energy_fj: float) -> None:
    assert parts("converter", 28, 1.0, **given)["converter"] == pytest.approx(energy_fj)


def test_what_enters_at_once_is_not_accumulated() -> None:
    whole = parts("recombination", slices=4, converter_bits=6, input_bits=8, input_bits_per_step=8)
    assert "accumulator" not in whole
    serial = parts("recombination", slices=4, converter_bits=6, input_bits=8, input_bits_per_step=2)
    assert serial["accumulator"] == pytest.approx(0.25 * (4 + 2) * (8 + 6 + 4) / 4)
    single = parts("recombination", slices=1, converter_bits=6, input_bits=8, input_bits_per_step=8)
    assert single["place_value"] == 0


def test_digital_mac() -> None:
    found = parts("multiply_accumulate", input_bits=8, weight_bits=4)
    assert found["adders"] == pytest.approx(32 * 0.25 * 4)
    assert found["registers"] == pytest.approx(2 * 12)
    assert found["accumulator"] == pytest.approx(0.25 * (4 + 2) * (12 + 8))


def test_toggle_and_density_take_the_place_of_the_fitted_activity() -> None:
    dense = parts("multiply_accumulate", input_bits=8, weight_bits=8)
    half = parts(
        "multiply_accumulate", input_bits=8, weight_bits=8, input_toggle=0.5, weight_density=0.25
    )
    assert half["adders"] / dense["adders"] == pytest.approx(0.5 * 0.25 / 0.25)
    assert half["registers"] == dense["registers"]  # they are clocked, whatever they hold
    cell = parts("analog_cell", has_capacitor=True)
    quiet = parts("analog_cell", has_capacitor=True, input_toggle=0.5, weight_density=0.5)
    assert quiet["cell"] == pytest.approx(cell["cell"] / 4)


def test_a_millimetre_of_wire_and_a_router() -> None:
    """8 bits, half of which change, over 200 fF; 8 bits through two routers."""
    found = parts("link", length_mm=1, hops=2)
    assert found == pytest.approx({"wire": 8 * 0.5 * 200, "routers": 8 * 2 * 80})
    busy = parts("link", length_mm=1, hops=2, input_toggle=1.0)
    assert busy["wire"] == 2 * found["wire"]


# -- memories


def test_sram_gives_back_what_is_tabled() -> None:
    """Each tabled size and node at the supply it was tabled at; 256 KB with its wide port too."""
    table = sram_table()
    for node in table.nodes:
        at = {"node_nm": node.node_nm, "supply_v": node.supply_v}
        for size, port, energy in zip(
            table.sizes_bytes, table.ports_bits, node.read_fj_per_bit, strict=True
        ):
            found = parts("sram_read", size_bytes=size, port_bits=port, **at)
            assert found["read"] == pytest.approx(8 * energy)
        wide = parts("sram_read", size_bytes=1 << 18, port_bits=512, **at)
        assert wide["read"] == pytest.approx(8 * node.wide_fj_per_bit)


def test_between_the_tabled_sizes_sram_is_interpolated_in_logarithms() -> None:
    """Halfway between 64 KB and 256 KB lies 128 KB: the geometric mean, also of the port."""
    found = parts("sram_read", size_bytes=1 << 17, port_bits=128 / 2**0.5, node_nm=22, supply_v=0.8)
    assert found["read"] == pytest.approx(8 * (89 * 139) ** 0.5)


def test_past_the_tabled_nodes_sram_follows_the_gates() -> None:
    def read(node_nm: float) -> float:
        return parts("sram_read", size_bytes=1 << 14, port_bits=64, node_nm=node_nm)["read"]

    assert read(7) / read(22) == pytest.approx(57 / 104)
    assert read(130) / read(65) == pytest.approx(340 / 220)


def test_a_dram_is_the_same_beside_any_chip() -> None:
    assert parts("dram", kind="lpddr4", node_nm=65, supply_v=1.2)["dram"] == pytest.approx(64_000)


# -- what must hold of every component


def any_parameters(name: str) -> st.SearchStrategy[dict[str, Value]]:
    """Parameters that a component takes; numbers of bits and sizes are whole."""
    drawn: dict[str, st.SearchStrategy[Value]] = {}
    for key, parameter in COMPONENTS[name].parameters.items():
        if parameter.is_flag:
            drawn[key] = st.booleans()
        elif parameter.words:
            drawn[key] = st.sampled_from(parameter.words)
        else:
            drawn[key] = st.integers(int(parameter.low), int(min(parameter.high, 4096))).map(float)
    return st.fixed_dictionaries(drawn)


@pytest.mark.parametrize("name", COMPONENTS)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_parts_add_up_and_the_interval_holds_them(name: str, data: st.DataObject) -> None:
    chosen = data.draw(any_parameters(name))
    if float(chosen.get("input_bits_per_step", 1)) > float(chosen.get("input_bits", 32)):
        chosen["input_bits_per_step"] = chosen["input_bits"]
    found = number(name, SHIPPED, data.draw(st.sampled_from([7, 22, 65, 130])), 0.8, **chosen)
    assert found.estimate == total(list(found.parts.values()))
    # A link may have no length, and there may be nothing to recombine.
    may_be_nothing = ("link", "recombination", "digital_array_accumulate", "resistive_cell")
    assert found.estimate.low > 0 or name in may_be_nothing
    louder = number(name, SHIPPED, 65, 1.0, **chosen)
    quieter = number(name, SHIPPED, 65, 0.7, **chosen)
    assert quieter.estimate.value <= louder.estimate.value
    assert name in found.source


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_formula_takes_a_component_s_parameters_by_their_names(name: str) -> None:
    _, *taken = signature(COMPONENTS[name].formula).parameters
    assert taken == list(COMPONENTS[name].parameters)


# What a part has more of when one of these is more; the others share a part among more.
GROWING = (
    "bits", "converter_bits", "input_bits", "weight_bits", "columns", "size_bytes", "length_mm",
    "hops", "current_ns",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [n for n, c in COMPONENTS.items() if set(GROWING) & set(c.parameters)]
)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_more_never_costs_less(name: str, data: st.DataObject) -> None:
    """More bits, more cells on a row, a larger memory, a longer wire."""
    less = data.draw(any_parameters(name))
    key = data.draw(st.sampled_from([key for key in less if key in GROWING]))
    parameter = COMPONENTS[name].parameters[key]
    more = {
        **less,
        key: data.draw(st.integers(int(float(less[key])), int(parameter.high)).map(float)),
    }
    if "input_bits_per_step" in less:
        least = min(float(less["input_bits"]), float(less["input_bits_per_step"]))
        less["input_bits_per_step"] = more["input_bits_per_step"] = least
    small = number(name, SHIPPED, 28, 1.0, **less).estimate
    large = number(name, SHIPPED, 28, 1.0, **more).estimate
    for end in ("low", "value", "high"):
        assert getattr(small, end) <= getattr(large, end) * (1 + 1e-12)


# -- chip files


def changed(was: str, now: str) -> str:
    assert TILE16.count(was) == 1
    return TILE16.replace(was, now)


READ = (
    'read_pj_per_byte = { component = "sram_read", size_bytes = 262144, port_bits = 128, '
    'source = "banks of 256 KB" }'
)
SUPPLY = 'supply_v = { value = 0.8, source = "a teaching chip: by definition" }'


def chip(entry: str, extra: str = "") -> Target:
    """tile16 whose SRAM is read at what the entry says."""
    text = changed(READ, f"read_pj_per_byte = {entry}")
    return parse_target(f"{text}\n{extra}\n".encode(), "mine.toml")


def refusal(entry: str, extra: str = "") -> str:
    with pytest.raises(TargetError) as caught:
        chip(entry, extra)
    return caught.value.message


BANK = '{ component = "sram_read", size_bytes = 262144, port_bits = 128 }'


def test_a_chip_names_a_component() -> None:
    found = chip(BANK).memories["sram"].read_pj_per_byte
    assert isinstance(found, ComponentQuantity)
    assert found.value == pytest.approx(1.112)
    assert found.estimate == total(list(found.parts.values()))
    assert found.source.startswith(
        "sram_read(size_bytes=262144, port_bits=128) at 22 nm, 0.8 V, from CACTI 7"
    )
    assert not found.is_assumption


def test_a_component_may_be_an_assumption_of_the_chip_s() -> None:
    entry = (
        '{ component = "dram", kind = "lpddr4", source = "assumption: the board is not published" }'
    )
    found = chip(entry).memories["sram"].read_pj_per_byte
    assert found.is_assumption
    assert found.source.startswith("assumption: the board is not published: dram(kind=lpddr4)")


def test_a_chip_s_own_constants_take_the_library_s_place() -> None:
    own = '[components]\nsram_share = { value = 2, source = "measured on this chip" }'
    found = chip(BANK, own).memories["sram"].read_pj_per_byte
    assert (found.low, found.value, found.high) == pytest.approx((2.224, 2.224, 2.224))
    assert "measured on this chip" in found.source


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            '{ component = "sram_raed" }',
            "component: no component 'sram_raed'; did you mean 'sram_read'?",
        ),
        ("{ component = 3 }", "component: no component '3'; there are row_driver, "),
        (
            '{ component = "host_cycle" }',
            " host_cycle is in pJ, the key is in pJ/byte; its components: sram_read, dram, ",
        ),
        (
            '{ component = "sram_read", size_bytes = 1024 }',
            "port_bits: missing; wanted a number from 8 to 4096 for sram_read",
        ),
        (
            '{ component = "sram_read", size_bytes = 1, port_bits = 8 }',
            "size_bytes: found 1, wanted a number from 64 to 16777216",
        ),
        (
            '{ component = "sram_read", size_bytes = true, port_bits = 8 }',
            "size_bytes: found True, wanted a number",
        ),
        (
            '{ component = "sram_read", size_bytes = nan, port_bits = 8 }',
            "size_bytes: found nan, wanted a number",
        ),
        (
            '{ component = "dram", kind = "core" }',
            "kind: found core, wanted one of lpddr4, lpddr, ",
        ),
        (
            '{ component = "register", size_bite = 3 }',
            "size_bite: no parameter of register; register takes none",
        ),
        (
            '{ component = "sram_read", size_bytes = 1024, port_bits = 8, portbits = 3 }',
            "portbits: no parameter of sram_read; did you mean ",
        ),
        (
            '{ component = "link", length_mm = 1, input_toggle = 2 }',
            "input_toggle: found 2, wanted a number from 0 to 1",
        ),
        (
            '{ component = "register", input_toggle = 1 }',
            "input_toggle: no parameter of register; register takes none",
        ),
        (
            '{ component = "register", source = 2 }',
            "source: found 2, wanted a text: why this component",
        ),
    ],
)  # fmt: skip
def test_each_fault_of_a_component_is_told_by_its_key_path(entry: str, says: str) -> None:
    line = refusal(entry)
    assert line.startswith("chip mine.toml: memories.sram.read_pj_per_byte")
    assert says in line


def test_a_component_beyond_anything_physical_is_refused() -> None:
    own = '[components]\nsram_share = { value = 1e15, source = "a typing error" }'
    assert "memories.sram.read_pj_per_byte: sram_read comes to 1.112e+15 pJ/byte" in refusal(
        BANK, own
    )


def test_faults_around_components() -> None:
    assert (
        "components.sram_shair: no constant of the library; did you mean 'sram_share'?"
        in refusal(BANK, '[components]\nsram_shair = { value = 2, source = "measured" }')
    )
    assert "components.sram_share.source: missing; wanted a text" in refusal(
        BANK, "[components]\nsram_share = { value = 2 }"
    )
    with pytest.raises(TargetError, match="supply_v: missing; wanted, since the file names"):
        parse_target(changed(SUPPLY, "").encode(), "mine.toml")
    columns = 'columns = { value = 4, source = "a teaching chip: by definition" }'
    whole = changed(columns, 'columns = { component = "register" }')
    with pytest.raises(
        TargetError,
        match=r"engines.digital.array.columns: register is in pJ/byte, the key takes no",
    ):
        parse_target(whole.encode(), "mine.toml")


def test_more_bits_a_step_than_an_input_has() -> None:
    entry = "recombine_pj = { value = 0.02, low = 0.009, high = 0.06,"
    named = (
        '{ component = "recombination", slices = 1, converter_bits = 8, input_bits = 4, '
        "input_bits_per_step = 8 }"
    )
    line = next(line for line in TILE16.splitlines() if line.startswith(entry))
    with pytest.raises(TargetError, match=r"recombine_pj.input_bits_per_step: 8 is more than"):
        parse_target(changed(line, f"recombine_pj = {named}").encode(), "mine.toml")


def test_faults_of_components_and_of_numbers_are_told_together() -> None:
    text = changed(READ, 'read_pj_per_byte = { component = "x" }').replace(
        "clock_mhz = { value = 100,", "clock_mhz = { value = -1,"
    )
    with pytest.raises(TargetError) as caught:
        parse_target(text.encode(), "mine.toml")
    assert "memories.sram.read_pj_per_byte.component: " in caught.value.message
    assert "clock_mhz.value: " in caught.value.message


def test_the_schema_knows_every_component_with_its_parameters() -> None:
    alternatives = target_schema()["$defs"]["Quantity"]["anyOf"]
    named = {
        alternative["properties"]["component"]["const"]: alternative
        for alternative in alternatives[1:]
    }
    assert set(named) == set(COMPONENTS)
    assert named["sram_read"]["required"] == ["component", "size_bytes", "port_bits"]
    assert set(alternatives[0]["properties"]) == {"value", "low", "high", "source"}


def test_a_chip_with_components_loads_without_numpy() -> None:
    script = (
        "import sys; from compiler.target.chip import load_target; load_target('tile16'); "
        "print('numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
