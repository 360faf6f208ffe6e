"""The chips: every one that is shipped loads, and every wrong entry is reported by file
and key path.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest

from compiler.errors import TargetError
from compiler.target.chip import (
    MAX_FILE_BYTES,
    Analog,
    Target,
    built_in,
    load_target,
    parse_target,
)
from compiler.target.quantity import Quantity, Whole
from compiler.target.schema import target_schema
from tests.support.chips import only_analog, only_digital

TILE16 = (resources.files("compiler") / "targets" / "tile16.toml").read_text()


def refusal(text: str | bytes) -> str:
    """What is said of a faulty file called mine.toml."""
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(TargetError) as caught:
        parse_target(data, "mine.toml")
    assert (caught.value.code, caught.value.exit_status) == ("U002", 2)
    line = caught.value.line()
    assert line.startswith("error[U002]: chip mine.toml: ")
    assert line.isprintable()
    return line.removeprefix("error[U002]: chip mine.toml: ")


def changed(was: str, now: str) -> str:
    """The shipped tile16 with one thing changed."""
    assert TILE16.count(was) >= 1, was
    return TILE16.replace(was, now, 1)


# -- the chips that are shipped


def test_the_chips() -> None:
    expected = (
        "ania diana diana_digital hermes isaac jia2020 metis ndp120_0v9 ndp120_1v1 neurram "
        "princeton16 puma stm32l4r5 stm32u385 stm32u575 tile16"
    )
    assert set(expected.split()) <= set(built_in())


@pytest.mark.parametrize("name", built_in())
def test_every_shipped_chip_loads(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.file is None
    assert len(target.sha256) == 64
    assert target.host[0] == "host"
    assert bool(target.digital_engines or target.analog_engines) != name.startswith("stm32")
    assert target.cycle_ns == pytest.approx(1000 / target.chip.clock_mhz.value)
    assert list(target.memories) == list(target.chip.memories)


@pytest.mark.parametrize("name", built_in())
def test_every_number_has_a_source_and_every_assumption_an_interval(name: str) -> None:
    found = list(quantities(load_target(name)))
    assert len(found) > 15
    for path, number in found:
        assert len(number.source) > 10, path
        if isinstance(number, Quantity):
            estimate = number.estimate
            assert estimate.low <= estimate.value <= estimate.high, path
            if number.is_assumption:
                assert number.low is not None, path


def quantities(target: Target) -> list[tuple[str, Quantity | Whole]]:
    """Every number of a chip with its key path."""
    chip = target.chip
    parts = {"": chip, **{f"memories.{n}.": m for n, m in chip.memories.items()}}
    parts |= {f"engines.{n}.": e for n, e in chip.engines.items()}
    hosts = {f"engines.{n}.layers.": e.layers for n, e in chip.engines.items() if e.kind == "host"}
    parts |= {path: layers for path, layers in hosts.items() if layers is not None}
    return [
        (path + key, value)
        for path, part in parts.items()
        for key, value in part
        if isinstance(value, Quantity | Whole)
    ]


def test_the_units_stand_in_the_keys() -> None:
    units = (
        "_pj",
        "_pj_per_byte",
        "_pj_per_bit",
        "_ns",
        "_ns_per_row",
        "_mw",
        "_v",
        "_mhz",
        "_nm",
        "_lsb",
        "_cycle",
    )
    for path, number in quantities(load_target("diana")):
        if isinstance(number, Quantity):
            key = path.rsplit(".", 1)[-1]
            assert key.endswith(units) or "cycles" in key, path


def test_diana_digital_is_diana_without_its_analog_array() -> None:
    whole, part = load_target("diana"), load_target("diana_digital")
    assert not part.analog_engines
    assert whole.analog_engines
    assert part.memories == whole.memories
    assert part.digital_engines == whole.digital_engines
    assert part.host == whole.host


def test_tile16_is_what_its_name_says() -> None:
    found = only_analog(load_target("tile16"))
    assert (found.rows.value, found.columns.value) == (16, 16)
    assert len(load_target("tile16").memories) == 1


# -- what is refused: one change each, and the key path that its error names

CLOCK = 'clock_mhz = { value = 100, source = "a teaching chip: by definition" }'
STATIC = "static_mw = { value = 2, low = 1, high = 4,"


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ('name = "tile16"', 'name = "tile16"\ncolour = 3', "colour: no such key"),
        (
            "[memories.sram]", "[memories.sram]\nlatency_ns = 3",
            "memories.sram.latency_ns: no such key",
        ),
        ('kind = "host"', 'kind = "host"\ncores = 2', "engines.host.cores: no such key"),
        (
            CLOCK, CLOCK.replace("100,", "100, low = 0, high = 200,"),  # of a time without end
            "clock_mhz.low: ",
        ),
        (
            "static_mw = { value = 2, low", "static_mw = { value = 2, unit = 3, low",
            "static_mw.unit: no such key",
        ),
        ('name = "tile16"\n', "", "name: missing; wanted a text (the chip's name in reports)"),
        (
            'schema = "joulec.target/1"', "",
            'schema: missing; wanted "joulec.target/1" (the version of this format)',
        ),
        (
            'schema = "joulec.target/1"', 'schema = "joulec.target/2"',
            "schema: found the text 'joulec.target/2', wanted \"joulec.target/1\"",
        ),
        (
            'name = "tile16"', 'name = "Tile 16"',
            "name: found the text 'Tile 16', wanted lower-case letters, digits and underscores",
        ),
        (
            "clock_mhz = { value = 100,", "clock_mhz = {",
            "clock_mhz.value: missing; wanted a number in MHz (the one clock)",
        ),
        (
            "clock_mhz = { value = 100,", "clock_mhz = { value = 0,",
            "clock_mhz.value: found 0, wanted 1e-06 or more",
        ),
        (
            "clock_mhz = { value = 100,", "clock_mhz = { value = -1,",
            "clock_mhz.value: found -1, wanted 1e-06 or more",
        ),
        (
            "clock_mhz = { value = 100,", "clock_mhz = { value = nan,",
            "clock_mhz.value: found nan, wanted a finite number",
        ),
        (
            "clock_mhz = { value = 100,", "clock_mhz = { value = inf,",
            "clock_mhz.value: found inf, wanted a finite number",
        ),
        (
            "clock_mhz = { value = 100,", 'clock_mhz = { value = "fast",',
            "clock_mhz.value: found the text 'fast', wanted a number in MHz",
        ),
        (
            CLOCK, "clock_mhz = 100",
            'clock_mhz: found 100, wanted { value = 100, source = "WHERE FROM" } in MHz',
        ),
        (
            CLOCK, "clock_mhz = { value = 100 }",
            "clock_mhz.source: missing; wanted a text (where it comes from)",
        ),
        (
            CLOCK, 'clock_mhz = { value = 100, source = "" }',
            "clock_mhz.source: found the text '', wanted at least 3 characters",
        ),
        (STATIC, "static_mw = { value = 2,", "static_mw: an assumption must state low and high"),
        (
            STATIC, "static_mw = { value = 2, low = 1,",
            "static_mw: an assumption must state low and high",
        ),
        (
            STATIC, "static_mw = { value = 5, low = 1, high = 4,",
            "static_mw: value 5.0 lies outside [1.0, 4.0]",
        ),
        (
            STATIC, "static_mw = { value = 2, low = 3, high = 4,",
            "static_mw: value 2.0 lies outside [3.0, 4.0]",
        ),
        (
            "capacity_bytes = { value = 33554432,", "capacity_bytes = { value = 0,",
            "memories.sram.capacity_bytes.value: found 0, wanted 1 or more",
        ),
        (
            "capacity_bytes = { value = 33554432,", "capacity_bytes = { value = 1.5,",
            "memories.sram.capacity_bytes.value: found 1.5, wanted a whole number in byte (size)",
        ),
        (
            "arrays = { value = 64,", "arrays = { value = 1125899906842625,",
            "engines.analog.arrays.value: found 1,125,899,906,842,625, wanted 1,125,899,",
        ),
        (
            "input_bits = { value = 8,", "input_bits = { value = 1,",
            "engines.analog.input_bits: found 1, wanted 2 to 16",
        ),
        (
            "input_bits = { value = 8,",
            'input_bits_per_step = { value = 9, source = "a test" }\ninput_bits = { value = 8,',
            "engines.analog.input_bits_per_step: 9 is more than input_bits, 8",
        ),
        (
            "\nrows = {", "\nrows = { value = 1125899906842624, source = \"no such array\" }\n# {",
            "engines.analog.rows: found 1,125,899,906,842,624, wanted 1 to 16,384",
        ),
        (
            "converter_bits = { value = 8,", "converter_bits = { value = 99000000,",
            "engines.analog.converter_bits: found 99,000,000, wanted 2 to 32",
        ),
        (
            "converter_bits = { value = 8,", "converter_bits = { value = 1,",
            "engines.analog.converter_bits: found 1, wanted 2 to 32",
        ),
        (
            "max_digits = { value = 2,", "max_digits = { value = 99000000,",
            "engines.analog.max_digits: found 99,000,000, wanted 1 to 32",
        ),
        (
            "cell_levels = { value = 15,", "cell_levels = { value = 6,",
            "engines.analog.cell_levels: found 6, wanted a power of two up to 128, or an odd",
        ),
        (
            "cell_levels = { value = 15,", "cell_levels = { value = 257,",
            "engines.analog.cell_levels: found 257, wanted 2 to 255",
        ),
        (
            'kind = "analog"', 'kind = "optical"',
            'engines.analog.kind: found the text \'optical\', wanted "analog", "digital" or',
        ),
        ('kind = "analog"', "", 'engines.analog.kind: found none, wanted "analog", "digital" or'),
        (
            "takes_groups = { value = true,", 'takes_groups = { value = "maybe",',
            "engines.analog.takes_groups.value: found the text 'maybe', wanted true or false",
        ),
        (
            "[memories.sram]", "[stores.sram]",
            "memories: missing; wanted a table of tables (a table for each memory, the nearest",
        ),
        (
            "[memories.sram]", '[memories."a b"]',
            "memories.a b: found the text 'a b', wanted lower-case",
        ),
        (
            "[engines.host]", '[engines."\\u001b[31m"]',
            "engines.\\x1b[31m: found the text ",
        ),
        (
            "mac_pj = { value = 0.25, low = 0.1, high = 0.5,", "mac_pj = { value = 1e300,",
            "engines.digital.array.mac_pj.value: found 1e+300, wanted 1e+15 or less",
        ),
        (
            "[engines.digital.array]",
            '[engines.digital.array]\nholds_weights = { value = true, source = "a test" }',
            "engines.digital.array.weight_read_pj_per_byte: "
            "an array that holds its weights reads none",
        ),
        (
            "[engines.digital.array]",
            '[engines.digital.array]\nrows = { value = 0, source = "a test" }',
            "engines.digital.array.rows.value: found 0, wanted 1 or more",
        ),
        (
            "[engines.digital.vector]", "[engines.digital.vectors]",
            "engines.digital.vectors: no such key; did you mean 'vector'?",
        ),
    ],
)  # fmt: skip
def test_each_fault_is_told_by_its_key_path(was: str, now: str, says: str) -> None:
    assert refusal(changed(was, now)).startswith(says) or f"; {says}" in refusal(changed(was, now))


def test_a_digital_engine_has_an_array_or_a_vector_unit() -> None:
    head, rest = TILE16.split("[engines.digital.array]")
    array, rest = rest.split("[engines.digital.vector]")
    vector, analog = rest.split("[engines.analog]")
    neither = f"{head}[engines.analog]{analog}"
    assert refusal(neither).startswith("engines.digital: wanted an array, a vector unit, or both")
    for one in (f"[engines.digital.array]{array}", f"[engines.digital.vector]{vector}"):
        found = parse_target(f"{head}{one}[engines.analog]{analog}".encode(), "mine")
        assert (only_digital(found).array is None) == ("digital.vector" in one)
    without_reads = "\n".join(line for line in TILE16.splitlines() if "weight_read" not in line)
    assert refusal(without_reads).startswith(
        "engines.digital.array.weight_read_pj_per_byte: missing; wanted, as holds_weights is not"
    )


def test_all_faults_are_told_at_once() -> None:
    text = changed("[memories.sram]", "[memories.sram]\ncolour = 3").replace(
        "clock_mhz = { value = 100,", "clock_mhz = { value = -1,"
    )
    line = refusal(text)
    assert "clock_mhz.value: " in line
    assert "memories.sram.colour: " in line


def test_a_chip_has_one_host_and_any_number_of_other_engines() -> None:
    hostless = TILE16.split("[engines.host]")[0]
    assert "engines: found 0 hosts, wanted exactly one" in refusal(hostless)
    duo = load_target("duo16")
    assert list(duo.analog_engines) == ["sram_array", "reram_array"]
    assert list(duo.digital_engines) == ["multipliers", "vector"]
    assert duo.analog_engines["sram_array"].rows.value == 16
    assert duo.analog_engines["reram_array"].rows.value == 128


LINK = """
[[links]]
from = "analog"
to = "digital"
pj_per_byte = { value = 0.1, source = "a test" }
bytes_per_cycle = { value = 16, source = "a test" }
"""


def test_a_link_is_found_by_its_two_engines() -> None:
    found = parse_target((TILE16 + LINK).encode(), "mine.toml")
    assert list(found.links) == [("analog", "digital")]
    assert found.links["analog", "digital"].pj_per_byte.value == 0.1
    assert parse_target(TILE16.encode(), "mine.toml").links == {}


def test_a_link_s_energy_may_be_a_component_s() -> None:
    wire = LINK.replace("{ value = 0.1, source", '{ component = "link", length_mm = 0.5, source')
    found = parse_target((TILE16 + wire).encode(), "mine.toml")
    assert found.links["analog", "digital"].pj_per_byte.value == pytest.approx(0.256)
    wrong = wire.replace('component = "link", length_mm', 'component = "converter", length_mm')
    assert refusal(TILE16 + wrong).startswith(
        "links.0.pj_per_byte: converter is in pJ, the key is in pJ/byte; its components: link"
    )


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (
            'from = "analog"',
            'from = "analogue"',
            "links.0.from: found 'analogue', wanted one of digital, analog, host",
        ),
        (
            'to = "digital"',
            'to = "dsp"',
            "links.0.to: found 'dsp', wanted one of digital, analog, host",
        ),
        ('to = "digital"', 'to = "analog"', "links.0.to: wanted another engine than from, analog"),
        ('from = "analog"', "", "links.0.from: missing; wanted a text (the engine that sends)"),
        ("0.1,", "-0.1,", "links.0.pj_per_byte.value: found -0.1, wanted 0 or more"),
        ("value = 16,", "value = 0,", "links.0.bytes_per_cycle.value: "),
        (
            "bytes_per_cycle",
            "bytes_per_ns",
            "links.0.bytes_per_cycle: missing; wanted { value = NUMBER, source = ",
        ),
        ("[[links]]", "[links]", "links: "),
        (
            "[[links]]",
            LINK + "[[links]]",
            "links.1: links.0 goes from analog to digital already",
        ),
    ],
)
def test_what_is_wrong_with_a_link_is_named_by_its_key(was: str, now: str, says: str) -> None:
    found = refusal(TILE16 + LINK.replace(was, now, 1))
    assert found.startswith(says) or f"; {says}" in found


def test_binary_cells_need_a_digit_for_the_sign() -> None:
    text = changed("cell_levels = { value = 15,", "cell_levels = { value = 2,")
    text = text.replace("max_digits = { value = 2,", "max_digits = { value = 1,")
    assert refusal(text).startswith(
        "engines.analog.max_digits: found 1, wanted 2 or more: binary cells need 2 digits"
    )
    found = parse_target(
        text.replace("max_digits = { value = 1,", "max_digits = { value = 2,").encode(), "x"
    )
    assert found.analog_engines


# -- files that are no chips


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xfe\x00junk", "not a TOML file: 'utf-8' codec can't decode"),
        (b"a = = 1", "not a TOML file: "),
        (b"\x1b[31m = 1", "not a TOML file: "),
        (b"a = " + b"[" * 100_000, "not a TOML file: "),
        (b"", "schema: missing; wanted "),
        (b'name = "a"\nname = "b"', "not a TOML file: "),
        (b"#" * (MAX_FILE_BYTES + 1), f"larger than {MAX_FILE_BYTES} bytes"),
        (b'"\\u001b[31m" = 1', "\\x1b[31m: no such key"),
    ],
)
def test_junk(data: bytes, says: str) -> None:
    assert says in refusal(data)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for name, says in (("none.toml", "it does not exist"), (".", "is a folder")):
        with pytest.raises(TargetError, match=says):
            load_target(tmp_path / name)
    with pytest.raises(TargetError, match="null byte"):
        load_target("a\0b.toml")


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(changed('name = "tile16"', 'name = "mine"'))
    target = load_target(file)
    assert (target.name, target.file) == ("mine", file)
    assert target.sha256 != load_target("tile16").sha256
    file.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TargetError, match="larger than"):
        load_target(file)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dianna", "did you mean 'diana'?"),
        ("tile6", "did you mean 'tile16'?"),
        ("diana_digtal", "did you mean 'diana_digital'?"),
        ("zzz", "give a .toml file for a chip of your own"),
    ],
)
def test_near_misses_are_suggested(name: str, hint: str) -> None:
    with pytest.raises(TargetError) as caught:
        load_target(name)
    line = caught.value.line()
    assert line == f"error[U002]: no chip '{name}'; built in are: {', '.join(built_in())}; {hint}"


def test_the_schema_knows_every_key_of_a_chip_file() -> None:
    schema = target_schema()
    assert set(schema["required"]) <= set(tomllib.loads(TILE16)) <= set(schema["properties"])
    analog = schema["$defs"]["Analog"]
    assert set(analog["required"]) == set(Analog.model_fields) - {
        "input_bits_per_step",
        "bitline_pj",
        "pixel_unroll",
        "odimo",
        "active_mw",
    }
    assert analog["additionalProperties"] is False
