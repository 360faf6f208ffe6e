"""Importing ZigZag accelerators: what comes of each key, what is reported as lost, and what is
refused.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from compiler.cli import main
from compiler.cost.array_step import array_steps
from compiler.errors import TargetError, UsageError
from compiler.target.chip import Target, load_target, parse_target
from compiler.zigzag.hardware_yaml import MAX_FILE_BYTES, parse_accelerator, read_accelerator
from compiler.zigzag.import_hardware import Imported, imported
from tests.support.chips import only_digital


def memory(
    name: str,
    operands: str,
    bits: int,
    width: int,
    costs: tuple[float, float],
    served: str = "D1, D2",
) -> str:
    """A memory with one port that reads and writes."""
    return f"""\
  {name}:
    size: {bits}
    r_cost: {costs[0]}
    w_cost: {costs[1]}
    area: 0
    latency: 1
    operands: [{operands}]
    ports:
      - name: rw_port_1
        type: read_write
        bandwidth_min: {width}
        bandwidth_max: {width}
        allocation: [{operands.split(",")[0]}, tl]
    served_dimensions: [{served}]
"""


SRAM = memory("sram", "I1, O", 262144, 512, (416.16, 378.4))
DRAM = memory("dram", "I1, I2, O", 10_000_000_000, 64, (700, 750))
CELLS = memory("cells", "I2", 8, 8, (0, 0.095), "")
HEAD = "name: small\nmemories:\n"
ANALOG = f"""\
{HEAD}{CELLS}{SRAM}{DRAM}
operational_array:
  is_imc: True
  imc_type: analog
  input_precision: [8, 8]
  bit_serial_precision: 2
  adc_resolution: 8
  dimensions: [D1, D2]
  sizes: [128, 128]
"""
DIGITAL = f"""\
{HEAD}{CELLS}{SRAM}{DRAM}
operational_array:
  is_imc: True
  imc_type: digital
  input_precision: [8, 8]
  bit_serial_precision: 1
  dimensions: [D1, D2]
  sizes: [128, 128]
"""
STATIONARY = f"""\
{HEAD}{memory("rf_w", "I2", 1024, 8, (0.095, 0.095), "")}\
{memory("rf_o", "O", 16, 16, (0.021, 0.021), "")}{SRAM}{DRAM}
operational_array:
  unit_energy: 0.04
  unit_area: 1
  dimensions: [D1, D2]
  sizes: [32, 16]
"""
# A dimension along which multipliers share a register says what it stands for.
SHARED_W = memory("sram_w", "I2", 524288, 512, (26.56, 30.8), "D1, D2, D3")
SHARING = f"""\
{HEAD}{memory("rf_w", "I2", 8, 8, (0.01, 0.01), "D3")}\
{memory("rf_o", "O", 16, 16, (0.02, 0.02), "D2")}{SHARED_W}{SRAM}{DRAM}
operational_array:
  unit_energy: 0.04
  dimensions: [D1, D2, D3]
  sizes: [32, 8, 4]
"""


def chip_of(text: str) -> tuple[Target, Imported]:
    found = imported(parse_accelerator(text.encode(), "small.yaml"), "small.yaml")
    return parse_target(found.text.encode(), "small.toml"), found


def refusal(text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(TargetError) as caught:
        imported(parse_accelerator(data, "small.yaml"), "small.yaml")
    return caught.value.line()


# -- what becomes of what


@pytest.mark.parametrize(("text", "shipped"), [(ANALOG, "zigzag_aimc"), (DIGITAL, "zigzag_dimc")])
def test_an_in_memory_array_is_the_one_that_is_shipped(text: str, shipped: str) -> None:
    chip, _ = chip_of(text)
    assert array_steps(chip)[0].parts_pj == array_steps(load_target(shipped))[0].parts_pj
    assert chip.cycle_ns == pytest.approx(load_target(shipped).cycle_ns, rel=1e-6)
    assert {
        name: (
            m.capacity_bytes.value, m.read_pj_per_byte.value, m.write_pj_per_byte.value,
            m.bytes_per_cycle.value,
        )
        for name, m in chip.memories.items()
    } == {
        "sram": (32768, pytest.approx(6.5025), pytest.approx(5.9125), 64),
        "dram": (1_250_000_000, 87.5, 93.75, 8),
    }  # fmt: skip


def test_sizes_are_in_bits_and_every_number_names_its_key() -> None:
    chip, found = chip_of(ANALOG)
    assert (
        chip.memories["sram"].capacity_bytes.source == "small.yaml: memories.sram.size 262144 bits"
    )
    assert (
        chip.memories["sram"].read_pj_per_byte.source
        == "small.yaml: memories.sram.r_cost 416.16 for 512 bits"
    )
    assert "small.yaml: memories.cells.w_cost 0.095 for 8 bits" in found.text


def test_weights_that_stay_at_the_multipliers() -> None:
    chip, found = chip_of(STATIONARY)
    array = only_digital(chip).array
    assert array is not None
    assert (array.row_lanes, array.columns.value, array.position_lanes) == (16, 32, 1)
    assert array.is_in_memory
    assert array.weight_memory_bytes.value == 128 * 32 * 16
    assert array.mac_pj.value == 0.04
    assert array.accumulate_pj is not None
    assert array.accumulate_pj.value == pytest.approx(0.042)
    assert "operational_array.unit_area: joulec has no areas" in found.notes
    assert any("D2 taken as rows" in note for note in found.notes)


def test_dimensions_are_read_off_the_registers() -> None:
    chip, found = chip_of(SHARING)
    array = only_digital(chip).array
    assert array is not None
    assert (array.row_lanes, array.columns.value, array.position_lanes) == (8, 32, 4)
    assert not array.is_in_memory
    assert array.weight_memory_bytes.value == 65536
    assert array.weight_read_pj_per_byte is not None
    assert array.weight_read_pj_per_byte.value == pytest.approx(26.56 / 64)
    assert "memories.rf_w: a register that several multipliers share is not charged" in found.notes


def test_what_zigzag_would_ask_cacti_for_is_the_library_s() -> None:
    text = ANALOG.replace(
        "    r_cost: 416.16\n    w_cost: 378.4\n", "    auto_cost_extraction: true\n"
    )
    chip, found = chip_of(text)
    assert 'component = "sram_read", size_bytes = 32768, port_bits = 512' in found.text
    assert chip.memories["sram"].read_pj_per_byte.source.startswith(
        "small.yaml: memories.sram.auto_"
    )


def test_an_in_memory_array_with_a_memory_for_weights_beside_it() -> None:
    weight_memory = memory("sram_w", "I2", 524288, 512, (26.56, 30.8))
    chip, found = chip_of(DIGITAL.replace(SRAM, weight_memory + SRAM))
    array = only_digital(chip).array
    assert array is not None
    assert array.is_in_memory
    assert array.weight_memory_bytes.value == 128 * 128
    assert any(note.startswith("memories.sram_w: ") for note in found.notes)


def test_a_register_without_a_cost_is_told() -> None:
    text = STATIONARY.replace(
        "    r_cost: 0.021\n    w_cost: 0.021\n", "    auto_cost_extraction: true\n"
    )
    _, found = chip_of(text)
    assert "memories.rf_o.auto_cost_extraction: a register's read is not charged" in found.notes
    assert "memories.rf_o.auto_cost_extraction: a register's write is not charged" in found.notes


def test_what_is_lost_is_told_and_stands_in_the_chip_file() -> None:
    was = "    area: 0\n    latency: 1\n    operands: [I1, O]"
    now = "    area: 3\n    latency: 5\n    colour: red\n    operands: [I1, O]"
    chip, found = chip_of(ANALOG.replace(was, now))
    expected = (
        "memories.sram.colour: not known",
        "memories.sram.area: joulec has no areas",
        "memories.sram.latency 5: an access takes no time beside its transfer",
    )
    assert found.notes == expected
    assert chip.chip.not_modelled == expected


def test_a_key_given_twice_counts_once() -> None:
    _, found = chip_of(ANALOG.replace("    size: 262144\n", "    size: 8\n    size: 262144\n"))
    assert "memories.sram.size: given twice; the last one counts" in found.notes


# -- what is refused

BOMB = "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "line 2 holds an alias, which is not taken"),
        ("a: " + "[" * 100 + "]" * 100, "nested deeper than 20"),
        ("a: " + "[" * 100_000, "nested deeper than 20"),
        (
            "!!python/object/apply:os.system ['true']",
            "not plain YAML: could not determine a constructor",
        ),
        (
            "name: x\n  b: [\n",
            "not plain YAML: mapping values are not allowed here, line 2, column 4",
        ),
        ("a: [1, 2", "not plain YAML: "),
        ("a: 2001-13-77", "not plain YAML: "),
        (f"a: {'9' * 5000}", "not plain YAML: "),
        (b"\xff\xfe\x00", "not plain YAML: "),
        ("", "Input should be a valid dictionary"),
        ("- 1", "Input should be a valid dictionary"),
        ("name: x", "memories: Field required; operational_array: Field required"),
        (
            ANALOG.replace("size: 262144", "size: -1"),
            "memories.sram.size: Input should be greater than or equal to 1",
        ),
        (
            ANALOG.replace("size: 262144", "size: big"),
            "memories.sram.size: Input should be a valid integer",
        ),
        (
            ANALOG.replace("r_cost: 416.16", "r_cost: .nan"),
            "memories.sram.r_cost: Input should be a finite number",
        ),
        (ANALOG.replace("    r_cost: 416.16\n", ""), "memories.sram: r_cost and w_cost: wanted"),
        (
            ANALOG.replace("operands: [I1, O]", "operands: [I7]"),
            "memories.sram.operands.0: Input should be 'I1', 'I2' or 'O'",
        ),
        (
            ANALOG.replace("type: read_write", "type: read"),
            "ports: wanted one that reads and one that writes",
        ),
        (ANALOG.replace("sizes: [128, 128]", "sizes: [128]"), "sizes: 1 of them for 2 dimensions"),
        (
            ANALOG.replace("[D1, D2]\n  sizes", "[D1, D1]\n  sizes"),
            "dimensions: one is there twice",
        ),
        (
            ANALOG.replace("  adc_resolution: 8\n", ""),
            "adc_resolution: wanted, as imc_type is analog",
        ),
        (
            ANALOG.replace("  bit_serial_precision: 2\n", ""),
            "imc_type and bit_serial_precision: wanted",
        ),
        (
            ANALOG.replace("bit_serial_precision: 2", "bit_serial_precision: 9"),
            "input_bits_per_step: 9",
        ),
        (
            STATIONARY.replace("  unit_energy: 0.04\n", ""),
            "unit_energy: wanted, as is_imc is not true",
        ),
        (
            STATIONARY.replace("[I1, O]", "[I1]").replace("[I1, I2, O]", "[I2]"),
            "no memory holds I1 and O",
        ),
        (
            ANALOG.replace("input_precision: [8, 8]", "input_precision: [8, 1]"),
            "binary cells need 2 digits",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(text: str | bytes, says: str) -> None:
    line = refusal(text)
    assert line.startswith("error[U002]: ")
    assert says in line


def test_a_file_too_large_a_folder_and_none(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(TargetError, match="larger than"):
        read_accelerator(large)
    for path, says in ((tmp_path, "is a folder"), (tmp_path / "none.yaml", "it does not exist")):
        with pytest.raises(UsageError, match=says) as caught:
            read_accelerator(path)
        assert caught.value.code == "U001"


def test_mutated_files_give_a_sound_chip_or_one_line() -> None:
    """Values swapped for others, lines dropped: never anything but a chip that loads or a
    TargetError.
    """
    chance = random.Random(7)
    values = [
        "0",
        "-1",
        "1",
        "8",
        "1e300",
        ".inf",
        "true",
        "~",
        "[]",
        "{}",
        "x",
        "[D1]",
        "[I1, I2, O]",
        "99999999999",
    ]
    for text in (ANALOG, DIGITAL, STATIONARY, SHARING):
        for _ in range(25):
            lines = text.splitlines()
            for _ in range(chance.randint(1, 3)):
                at = chance.randrange(len(lines))
                key, colon, _ = lines[at].partition(": ")
                lines[at] = f"{key}: {chance.choice(values)}" if colon else ""
            try:
                found = imported(parse_accelerator("\n".join(lines).encode(), "m.yaml"), "m.yaml")
            except TargetError as error:
                assert "\n" not in error.line()  # noqa: PT017
            else:
                parse_target(found.text.encode(), "m.toml")


# -- the command


def test_the_command_writes_a_chip_that_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "small.yaml", tmp_path / "out" / "small.toml"
    source.write_text(STATIONARY)
    assert main.run(["targets", "import", str(source), "-o", str(target)]) == 0
    message = capsys.readouterr().err
    assert (
        "warning[W003]: not carried over, or taken for granted: operational_array.unit_area"
        in message
    )
    assert main.run(["targets", "check", str(target)]) == 0
    assert capsys.readouterr().out.startswith("sound: small, ")
    assert main.run(["targets", "import", str(source)]) == 0
    assert capsys.readouterr().out == target.read_text()
    assert main.run(["targets", "import", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error[U001]: ")
