"""What `targets check` says: contradictions refused, doubts named, faults in words of our own.

A chip file that passes never ends in an internal error, which made chip files try.
"""

from __future__ import annotations

import tomllib
from typing import get_args

import pytest
from onnx import parser as onnx_parser
from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_core._pydantic_core import list_all_errors

from compiler.choices import AnalogCells, DigitalUnits
from compiler.driver import compile_model
from compiler.errors import TargetError, UsageError
from compiler.flow.options import Options
from compiler.ir.vector_operations import FLOAT_VECTOR, INTEGER_VECTOR
from compiler.target.chip import Chip, Target, built_in, load_target, parse_target
from compiler.target.consistency import why_not_operations
from compiler.target.digital import VectorUnit
from compiler.target.faults import faults
from compiler.target.keys import keys_of
from compiler.target.new import new_chip
from compiler.target.parts.constants import load_components
from compiler.target.parts.resistive import RESISTIVE_KINDS
from compiler.target.plausible import doubts, ranges
from compiler.target.quantity import Quantity
from compiler.target.schema import tables_of, target_schema
from compiler.target.write import chip_text, written
from tests.support.chip_mutations import hunt, models, operations, shipped

SRAM = new_chip("mine", "sram", "array")
PCM = new_chip("mine", "pcm", "in-memory")
STEP = (
    'step_ns = { component = "analog_step", rows = 64, converter_bits = 8, slices = 2, '
    "input_bits = 8, input_bits_per_step = 8 }"
)


def line_of(text: str, key: str) -> str:
    """The line of a file that gives a key."""
    (line,) = (one for one in text.splitlines() if one.startswith(f"{key} = "))
    return line


def changed(text: str, was: str, now: str) -> Target:
    """A chip file with one thing changed."""
    assert text.count(was) == 1, was
    return parse_target(text.replace(was, now).encode(), "mine.toml")


# -- contradictions

A, D = "engines.analog.", "engines.digital.array."


@pytest.mark.parametrize(
    ("text", "was", "now", "says"),
    [
        (SRAM, "value = 15,", "value = 17,", A + "cell_levels: 17 levels do not fit in "
         "cell_storage_bits, 4 (16 levels); wanted 5 bits or fewer levels"),
        (SRAM, "cell_storage_bits = { value = 4", "cell_storage_bits = { value = 3",
         A + "cell_levels: 15 levels do not fit in cell_storage_bits, 3 (8 levels); wanted 4 bits"),
        (SRAM, 'kind = "sar", bits = 8', 'kind = "sar", bits = 4',
         A + "converter_pj.bits: found 4, wanted 8 as converter_bits"),
        (SRAM, "converter_bits = { value = 8", "converter_bits = { value = 4",
         A + "converter_pj.bits: found 8, wanted 4 as converter_bits"),
        (SRAM, 'kind = "sar", bits = 8', 'kind = "cco", bits = 8, sharing_columns = 65',
         A + "converter_pj.sharing_columns: found 65, wanted no more than 64, the columns"),
        (SRAM, 'kind = "sar", bits = 8', 'kind = "in_array", bits = 8, rows = 65',
         A + "converter_pj.rows: found 65, wanted no more than 64, the rows"),
        (SRAM, "columns = 64, input_bits = 8 }", "columns = 256, input_bits = 8 }",
         A + "row_driver_pj.columns: found 256, wanted 64, the engine's columns, or 128 where a "
         "signed cell is two"),
        (SRAM, "columns = 64, input_bits = 8 }", "columns = 64, input_bits = 1 }",
         A + "row_driver_pj.input_bits: found 1, wanted 8 as the bits of a step"),
        (SRAM, "slices = 2", "slices = 3",
         A + "recombine_pj.slices: found 3, wanted no more than 2, the max_digits"),
        (SRAM, "slices = 2, converter_bits = 8", "slices = 2, converter_bits = 6",
         A + "recombine_pj.converter_bits: found 6, wanted 8 as converter_bits"),
        (SRAM, "input_bits = 8, input_bits_per_step = 8", "input_bits = 8, input_bits_per_step = 2",
         A + "recombine_pj.input_bits_per_step: found 2, wanted 8 as the bits of a step"),
        (SRAM, line_of(SRAM, "step_ns"), STEP.replace("rows = 64", "rows = 128"),
         A + "step_ns.rows: found 128, wanted 64 as rows"),
        (SRAM, "has_capacitor = true", "has_capacitor = true, has_bitline = false",
         A + "bitline_pj: missing; wanted, as cell_pj has has_bitline = false"),
        (SRAM, line_of(SRAM, "takes_groups"),
         line_of(SRAM, "takes_groups") + '\nbitline_pj = { component = "analog_bitline" }',
         A + "cell_pj.has_bitline: found true, and bitline_pj counts the bitline again"),
        (SRAM, line_of(SRAM, "takes_groups"), line_of(SRAM, "takes_groups")
         + '\npixel_unroll = { most = { value = 2, source = "a test" }, '
         'least_channels = { value = 65, source = "a test" } }',
         A + "pixel_unroll.least_channels: 65 is more than rows, 64: no layer fits"),
        (SRAM, line_of(SRAM, "takes_groups"), line_of(SRAM, "takes_groups")
         + '\nodimo = { channels_per_activation = { value = 65, source = "a test" }, '
         'loads_all_rows = { value = true, source = "a test" } }',
         A + "odimo.channels_per_activation: 65 is more than rows, 64"),
        (PCM, 'kind = "pcm", bits_per_cell', 'kind = "reram", bits_per_cell',
         A + "write_pj_per_bit.kind: found reram, wanted pcm, as cell_pj has"),
        (PCM, "bits_per_cell = 4", "bits_per_cell = 2",
         A + "write_pj_per_bit.bits_per_cell: found 2, wanted 4 as cell_storage_bits"),
        (PCM, "columns = 64, cells_at_once", "columns = 32, cells_at_once",
         A + "load_ns_per_row.columns: found 32, wanted 64 as columns"),
        (SRAM, 'mac_pj = { component = "multiply_accumulate", input_bits = 8',
         'mac_pj = { component = "multiply_accumulate", input_bits = 4',
         D + "mac_pj.input_bits: found 4, wanted 8 as the bits of int8"),
        (PCM, "rows = 64, outputs = 16", "rows = 32, outputs = 16",
         D + "mac_pj.rows: found 32, wanted 64 as rows"),
        (PCM, "rows = 64, outputs = 16", "rows = 64, outputs = 64",
         D + "mac_pj.outputs: found 64, wanted 16 as columns"),
        (SRAM, 'component = "multiply_accumulate",',
         'component = "digital_array_mac", rows = 1, outputs = 16,',
         D + "mac_pj: digital_array_mac is of an array that holds its weights, and "
         "holds_weights is not true"),
        (SRAM, '"Relu", ', '"Reluu", ', "engines.digital.vector.operations: no int8 vector unit "
         "has 'Reluu'; did you mean 'Relu'?"),
        (SRAM, '"Relu", ', '"Softmax", ', "engines.digital.vector.operations: no int8 vector unit "
         "has 'Softmax'; "),
        (SRAM, '"Relu", ', '"Clip", ', "engines.digital.vector.operations: 'Clip' stands there "
         "twice"),
    ],
)  # fmt: skip
def test_a_contradiction_is_refused_with_both_numbers(
    text: str, was: str, now: str, says: str
) -> None:
    with pytest.raises(TargetError) as caught:
        changed(text, was, now)
    assert caught.value.message.startswith(f"chip mine.toml: {says}")
    assert caught.value.code == "U002"


def test_a_component_that_agrees_is_taken() -> None:
    assert changed(SRAM, line_of(SRAM, "step_ns"), STEP).analog_engines["analog"].step_ns.value > 0
    # A signed cell may be a pair of cells.
    changed(SRAM, "columns = 64, input_bits = 8 }", "columns = 128, input_bits = 8 }")


def test_a_vector_unit_takes_the_operations_that_one_can_have_and_no_others() -> None:
    table = tomllib.loads(new_chip("mine", "none", "vector"))["engines"]["digital"]["vector"]
    table["operation_pj"] = {"value": 1, "source": "a test"}
    for arithmetic, known in (("int8", INTEGER_VECTOR), ("float32", (*FLOAT_VECTOR, "Requantize"))):
        taken = [
            operation
            for operation in operations()
            if not why_not_operations(
                VectorUnit(**{**table, "arithmetic": arithmetic, "operations": (operation,)})
            )
        ]
        assert sorted(taken) == sorted(known)


# -- doubts


@pytest.mark.parametrize(
    ("text", "was", "now", "says"),
    [
        (SRAM, line_of(SRAM, "static_mw"), 'static_mw = { value = 3e6, source = "a typing error" }',
         "static_mw: 3,000,000 mW is not plausible, 1e-08 to 100,000 mW is (Phoenix"),
        (SRAM, line_of(SRAM, "mac_pj"), 'mac_pj = { value = 0, source = "left out" }',
         D + "mac_pj: 0 pJ means that it is not counted; plausible is 0.0005 to 100 pJ"),
        (SRAM, line_of(SRAM, "cell_pj"), 'cell_pj = { component = "host_cycle" }',
         A + "cell_pj: host_cycle is a cycle of a 32-bit in-order core; this key's are analog_"),
        (SRAM, "supply_v = { value = 0.9, low = 0.8, high = 1.0", "supply_v = { value = 5, "
         "low = 5, high = 5", "supply_v: 5 V is far from the 0.88 V that is usual at 28 nm"),
        (SRAM, "[engines.analog]", '[memories.far]\n' + '\n'.join(
            SRAM.split("[memories.sram]\n")[1].split("\n")[:5]).replace(
            'read_pj_per_byte = { component = "sram_read", size_bytes = 1048576, port_bits = 64 }',
            'read_pj_per_byte = { value = 1, source = "a test" }') + "\n[engines.analog]",
         "memories.far.read_pj_per_byte: 1 pJ/byte is less than the 4.8522 of sram, which stands"),
        (SRAM, 'weight_read_pj_per_byte = { component = "sram_read", size_bytes = 32768',
         'weight_read_pj_per_byte = { component = "sram_read", size_bytes = 65536',
         D + "weight_read_pj_per_byte.size_bytes: found 65,536, wanted no more than 32,768, the "
         "weight_memory_bytes"),
        (SRAM, "capacity_bytes = { value = 1048576", "capacity_bytes = { value = 4096",
         "memories.sram.read_pj_per_byte.size_bytes: found 1,048,576, wanted no more than 4,096, "
         "the capacity_bytes"),
        (PCM, "cell_levels = { value = 15", "cell_levels = { value = 127",
         A + "cell_levels: 127 levels; pcm cells have been shown with 16, 32 at most (HERMES"),
    ],
)  # fmt: skip
def test_a_doubt_is_named_with_the_number_and_the_range(
    text: str, was: str, now: str, says: str
) -> None:
    more_bits = (
        text.replace("cell_storage_bits = { value = 4", "cell_storage_bits = { value = 7").replace(
            "bits_per_cell = 4", "bits_per_cell = 7"
        )
        if "cell_levels" in was
        else text
    )
    found = doubts(changed(more_bits, was, now).chip)
    assert any(doubt.startswith(says) for doubt in found), found


def test_shipped_chips_are_plausible_but_for_what_others_left_out() -> None:
    """Comparisons with other people's models have their zeros; of real chips NeuRRAM has one, and
    those whose power was measured as one number have them wherever it includes the part.
    """
    comparisons = {"diana_odimo", "eyeriss_like", "tpu_like", "zigzag_aimc", "zigzag_dimc"}
    found = {name: doubts(load_target(name).chip) for name in set(built_in()) - comparisons}
    (doubt,) = found.pop("neurram")
    assert doubt.startswith("engines.analog.cell_pj: 0 pJ means that it is not counted")
    for name in ("stm32l4r5", "stm32u575", "stm32u385", "ndp120_0v9", "ndp120_1v1"):
        items = found.pop(name)
        assert items
        assert [item for item in items if "means that it is not counted" not in item] == []
    assert {name: items for name, items in found.items() if items} == {}


def test_plausible_ranges_are_wide_and_sourced() -> None:
    for table, entries in ranges().items():
        for key, known in entries.items():
            assert len(known.source) > 10, (table, key)
            assert known.high >= 7 * max(known.low, 1e-12), (table, key)


# -- words


def test_no_word_of_pydantic_reaches_a_user() -> None:
    """Every kind of fault that pydantic knows, whether a chip file can cause it or not."""
    where = ("engines", "analog", "analog", "rows", "value")
    known = list_all_errors()
    assert len(known) > 90
    for item in known:
        kind, context = item["type"], dict(item.get("example_context") or {})
        if kind in ("value_error", "assertion_error"):
            context["error"] = ValueError("our own words")
        details = InitErrorDetails(type=kind, loc=where, input="x", ctx=context)
        error = ValidationError.from_exception_data("Chip", [details])
        (line,) = faults(error, Chip)
        assert line.startswith("engines.analog.rows.value"), line
        theirs = str(error.errors()[0]["msg"])
        assert theirs.removeprefix("Value error, ") not in line or kind == "value_error", line
        assert "nput should" not in line
        assert "wanted" in line or kind in ("value_error", "extra_forbidden"), line


def test_a_kind_of_fault_that_is_not_known_yet_has_words_too() -> None:
    error = ValidationError.from_exception_data(
        "Chip",
        [{"type": PydanticCustomError("new", "words"), "loc": ("clock_mhz",), "input": [1]}],
    )
    assert faults(error, Chip) == [
        'clock_mhz: found a list, wanted { value = NUMBER, source = "WHERE FROM" } in MHz '
        "(the one clock)"
    ]


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ("cell_levels =", "cel_levels =", "engines.analog.cel_levels: no such key; did you mean "
         "'cell_levels'?"),
        ("not_modelled = ", "not_modeled = ", "not_modeled: no such key; did you mean "
         "'not_modelled'?"),
        ("clock_mhz = { value = 200", 'clock_mhz = { value = "200"',
         "clock_mhz.value: found the text '200', wanted a number in MHz"),
        ("arrays = { value = 1,", "arrays = { value = true,",
         "engines.analog.arrays.value: found true, wanted a whole number in array"),
        ("bytes_per_cycle = { value = 8,", "bytes_per_cycle = 8 # {",
         'memories.sram.bytes_per_cycle: found 8, wanted { value = 8, source = "WHERE FROM" } in '
         "byte/cycle"),
    ],
)  # fmt: skip
def test_a_slip_is_told_with_the_way_out(was: str, now: str, says: str) -> None:
    with pytest.raises(TargetError) as caught:
        parse_target(SRAM.replace(was, now, 1).encode(), "mine.toml")
    assert says in caught.value.message


# -- schema


def test_every_key_has_a_description_and_every_number_a_unit_and_a_range() -> None:
    schema = target_schema()
    for table in tables_of(Chip):
        own = schema if table is Chip else schema["$defs"][table.__name__]
        for key in keys_of(table):
            assert own["properties"][key]["description"], (table, key)
    rows = schema["$defs"]["Analog"]["properties"]["rows"]
    assert rows["unit"] == "row"
    assert rows["properties"]["value"] == {"minimum": 1, "maximum": 16384}
    assert rows["plausible"]["high"] == 8192
    value = schema["$defs"]["Quantity"]["anyOf"][0]["properties"]["value"]
    assert (value["minimum"], value["maximum"]) == (0, 1e15)


# -- files that joulec writes


@pytest.mark.parametrize("name", built_in())
def test_a_chip_written_as_a_file_reads_back_as_the_same_chip(name: str) -> None:
    chip = load_target(name).chip
    text = chip_text(chip)
    again = parse_target(text.encode(), name).chip
    assert again.model_dump() == chip.model_dump()
    assert chip_text(again) == text
    assert "component =" not in text


def test_any_table_is_written_as_it_reads() -> None:
    for text in shipped().values():
        assert tomllib.loads(written(tomllib.loads(text))) == tomllib.loads(text)
    odd = {
        "a b": 'é\x7f\x00\U0001f600"\\\n', "list": [], "empty": {}, "number": 1e-300, "no": False,
        "deep": {"b": {"c d": {"e": {"f": 1}}}}, "rows": [{"x": {"y": [1, {"z": 2}]}}, {"w": {}}],
    }  # fmt: skip
    assert tomllib.loads(written(odd)) == odd
    with pytest.raises(ValueError, match="TOML has no NoneType"):
        written({"a": None})


@pytest.mark.parametrize("analog", get_args(AnalogCells))
@pytest.mark.parametrize("digital", get_args(DigitalUnits))
def test_a_new_chip_checks(analog: AnalogCells, digital: DigitalUnits) -> None:
    target = parse_target(new_chip("mine", analog, digital).encode(), "mine.toml")
    assert doubts(target.chip) == []
    assert list(target.analog_engines) == ([] if analog == "none" else ["analog"])
    assert list(target.digital_engines) == ([] if digital == "none" else ["digital"])
    left_out = " ".join(target.chip.not_modelled)
    assert ("spread" in left_out) == (analog in RESISTIVE_KINDS)


@pytest.mark.parametrize(
    ("analog", "digital"),
    [("sram", "none"), ("reram", "array"), ("mram", "in-memory"), ("none", "vector"),
     ("none", "none")],
)  # fmt: skip
def test_a_new_chip_compiles(analog: AnalogCells, digital: DigitalUnits) -> None:
    target = parse_target(new_chip("mine", analog, digital).encode(), "mine.toml")
    plan = compile_model(models()["dense"], target).package.plan
    assert plan.energy_pj.total.value > 0
    assert set(plan.energy_pj.by_engine) <= set(target.chip.engines)


def test_no_number_of_a_new_chip_claims_a_source_it_has_not() -> None:
    chip = parse_target(SRAM.encode(), "mine.toml").chip
    for _, engine in chip.engines.items():
        for _, value in engine:
            if isinstance(value, Quantity):
                assert value.is_assumption or " at 28 nm, 0.9 V, from " in value.source


@pytest.mark.parametrize("name", ["Mine", "", "a-b", "a" * 65, "1a", "a\n", "é", "x/../y"])
def test_a_name_that_no_chip_may_have(name: str) -> None:
    with pytest.raises(UsageError, match="wanted lower-case letters"):
        new_chip(name)


def test_a_chip_s_own_cells_take_the_library_s_place() -> None:
    own = '[components]\npcm_read_us = { value = 12, source = "measured on this chip" }\n'
    mine = parse_target((PCM + own).encode(), "mine.toml").analog_engines["analog"].cell_pj
    library = load_components().constants["pcm_read_us"].estimate
    theirs = parse_target(PCM.encode(), "mine.toml").analog_engines["analog"].cell_pj
    shipped_part, own_part = (number.model_dump()["value"] for number in (theirs, mine))
    assert own_part > shipped_part
    assert "measured on this chip" in mine.source
    assert library.value == 6


# -- made chip files


def test_a_chip_that_checks_never_ends_in_an_internal_error() -> None:
    """A sample of what `make chips` tries: numbers, components, operations, keys and engines."""
    ends, found = hunt(0, 40, lambda _: None)
    assert found == []
    assert ends["compiled"] >= 12
    assert ends["refused"] >= 12


def test_a_vector_unit_computes_every_operation_that_its_chip_may_list() -> None:
    """What the check lets pass is what is lowered: each operation on its own value, in int8."""
    # A root wants what is not negative.
    inputs = {"Add": "x, z", "Mul": "x, z", "Sqrt": "ySigmoid"}
    pools = {"MaxPool": "<kernel_shape=[2,2]>", "AveragePool": "<kernel_shape=[2,2]>"}
    named = [operation for operation in INTEGER_VECTOR if operation != "Requantize"]
    body = " ".join(
        f"[{name}] y{name} = {name} {pools.get(name, '')} ({inputs.get(name, 'x')})"
        for name in named
    )
    sizes = "float[1,2,4,4]"
    ends = ", ".join(f"float[1,2,A_{name},B_{name}] y{name}" for name in named)
    head = '<ir_version: 9, opset_import: ["" : 20]>'
    text = f"{head} g ({sizes} x, {sizes} z) => ({ends}) {{{body}}}"
    table = tomllib.loads(new_chip("mine", "none", "vector"))
    table["engines"]["digital"]["vector"]["operations"] = list(INTEGER_VECTOR)
    target = parse_target(written(table).encode(), "mine.toml")
    model = onnx_parser.parse_model(text).SerializeToString()
    options = Options(place=(("*", "digital"),), max_divergence=float("inf"))
    placed = compile_model(model, target, options).package.plan.placements
    # The host turns the outputs into floats.
    engines = {node.node: {part.engine for part in node.parts} - {"host"} for node in placed}
    assert engines == {name: {"digital"} for name in named}
