"""Every peak that a chip's makers published lies where the chip file's own constants say; the
formula, with a pencil.
"""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from compiler.cost.peak import comparisons, peak, weight_slices
from compiler.errors import TargetError
from compiler.target.chip import Target, built_in, load_target, parse_target
from compiler.target.published import Published
from tests.support.chips import only_digital

CASES = [
    pytest.param(name, item, id=f"{name}: {item.name}")
    for name in built_in()
    for item in comparisons(load_target(name))
]


@pytest.mark.parametrize(("name", "item"), CASES)
def test_a_published_peak_lies_inside_the_interval(name: str, item: Any) -> None:
    assert item.is_inside, f"{item.predicted} holds no {item.figure}"
    assert item.predicted.high / max(item.predicted.low, 1e-9) < 25  # else it says nothing


@pytest.mark.parametrize(
    "name",
    [
        "ania", "diana", "diana_digital", "hermes", "isaac", "jia2020", "metis", "neurram",
        "princeton16", "puma",
    ]
)  # fmt: skip
def test_a_published_chip_lists_its_peak(name: str) -> None:
    assert any(item.unit == "TOPS/W" for item in comparisons(load_target(name)))


def test_the_page_of_chips_shows_what_is_predicted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "chips.md").read_text(encoding="utf-8")
    table = page.split("| published TOPS/W | predicted |")[1].split("\n\n")[0]
    rows = {row.split("`")[1]: row for row in table.splitlines() if "`" in row}
    assert len(rows) >= 9
    for chip, row in rows.items():
        given = next(item for item in comparisons(load_target(chip)) if item.unit == "TOPS/W")
        assert float(f"{given.figure:.3g}") == float(row.split("|")[3].split(";")[0])
        assert f"| {given.predicted.value:.3g} [" in row


def figure(engine: str, scope: str, weight_bits: float = 4, input_bits: float = 8) -> Published:
    table = {"engine": engine, "scope": scope, "weight_bits": weight_bits, "source": "a test"}
    return Published.model_validate(
        {**table, "input_bits": input_bits, "output_bits": 8, "tops": 1}
    )


def test_the_analog_peak_with_a_pencil() -> None:
    """tile16: 64 arrays of 16 x 16, 20 ns a step; a weight of 4 bits is one of 15 levels, of 8
    bits two.
    """
    chip = load_target("tile16")
    macs = 16 * 16
    array = 16 * 0.256 + 16 * 0.55 + macs * 0.0026
    found = peak(figure("analog", "array"), chip)
    assert found["TOPS"].value == pytest.approx(2 * 64 * macs / 20e-9 / 1e12)
    assert found["TOPS/W"].value == pytest.approx(2 * macs / array)
    engine = array + 16 * 0.02 + 16 * 1.112 + 16 * (1.112 + vector_pj(chip))
    assert peak(figure("analog", "engine"), chip)["TOPS/W"].value == pytest.approx(
        2 * macs / engine
    )
    whole = 64 * engine + 2 * 20
    assert peak(figure("analog", "chip"), chip)["TOPS/W"].value == pytest.approx(
        2 * 64 * macs / whole
    )
    assert peak(figure("analog", "array", 8), chip)["TOPS/W"].value == pytest.approx(macs / array)


def vector_pj(chip: Target) -> float:
    vector = only_digital(chip).vector
    assert vector is not None
    return vector.operation_pj.value


def test_the_digital_peak_with_a_pencil() -> None:
    """tile16: 4 x 4 lanes at 100 MHz; a step reads 4 weights and 4 inputs and keeps its outputs."""
    chip = load_target("tile16")
    array = only_digital(chip).array
    assert array is not None
    assert array.weight_read_pj_per_byte is not None
    found = peak(figure("digital", "engine"), chip)
    assert found["TOPS"].value == pytest.approx(2 * 16 * 100e6 / 1e12)
    spent = 16 * array.mac_pj.value + 4 * array.weight_read_pj_per_byte.value
    read = chip.memories["sram"].read_pj_per_byte.value
    assert found["TOPS/W"].value == pytest.approx(2 * 16 / (spent + 4 * read))


@pytest.mark.parametrize(
    ("bits", "levels", "digits"),
    [(1.5, 3, 1), (1, 2, 1), (4, 2, 4), (4, 15, 1), (8, 15, 2), (16, 4, 8), (3, 3, 2)]
)  # fmt: skip
def test_the_cells_of_a_weight(bits: float, levels: int, digits: int) -> None:
    assert weight_slices(bits, levels) == digits


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            {"engine": "optical"},
            "published.0.engine: found 'optical', wanted one of digital, analog, host",
        ),
        ({"engine": "host"}, "published.0.engine: host has no array"),
        ({"tops": None}, "published.0: wanted tops, tops_per_w, or both"),
        (
            {"scope": "board"},
            "published.0.scope: found the text 'board', wanted \"array\", \"engine\" or \"chip\"",
        ),
        (
            {"derived": ["engines.analog.glue_pj"]},
            "published.0.derived: no number 'engines.analog.glue_pj'",
        ),
    ],
)  # fmt: skip
def test_a_faulty_entry_is_told_by_its_key_path(entry: dict[str, Any], says: str) -> None:
    text = (resources.files("compiler") / "targets" / "tile16.toml").read_text()
    given = {**figure("analog", "array").model_dump(exclude={"tops_per_w", "derived"}), **entry}
    lines = [f"{key} = {value!r}" for key, value in given.items() if value is not None]
    faulty = "\n".join([text, "[[published]]", *lines])
    assert tomllib.loads(faulty)
    with pytest.raises(TargetError) as caught:
        parse_target(faulty.encode(), "mine")
    assert says in caught.value.line()
