"""Writes a commented chip file to start from: the engines asked for, numbers to be replaced."""

from __future__ import annotations

import re
from importlib import resources

from compiler.choices import AnalogCells, DigitalUnits
from compiler.errors import UsageError, one_line
from compiler.target.chip import NAME_PATTERN, parse_target
from compiler.target.parts.constants import load_components
from compiler.target.parts.resistive import RESISTIVE_KINDS, left_out, levels_shown

# A signed cell of four bits, two columns a weight; where a kind has no such levels, bits in eight.
SIGNED_CELL = {"LEVELS": "15", "BITS": "4", "DIGITS": "2"}
BINARY_CELL = {"LEVELS": "2", "BITS": "1", "DIGITS": "8"}
LEVELS_SOURCES = {"15": "a signed 4-bit cell, -7 to 7", "2": "a cell of one bit"}
UNITS = {
    "vector": ("digital", "digital_vector"),
    "array": ("digital", "digital_array", "digital_vector"),
    "in-memory": ("digital", "digital_in_memory", "digital_vector"),
    "none": (),
}


def new_chip(name: str, analog: AnalogCells = "sram", digital: DigitalUnits = "vector") -> str:
    """Writes the text of a chip file with the engines asked for.

    Raises UsageError (U004) for a name that no chip may have.
    """
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(
            f"NAME {one_line(name)!r}: wanted lower-case letters, digits and underscores, "
            "a letter first, at most 64"
        )
    parts = ["head"]
    words = {"NAME": name, "LEFT_OUT": "", "KIND": analog, "DESCRIPTION": _what(analog, digital)}
    if analog != "none":
        components = load_components()
        is_resistive = analog in RESISTIVE_KINDS
        signed = not is_resistive or levels_shown(analog, components).value >= 15
        words |= SIGNED_CELL if signed else BINARY_CELL
        words["LEVELS_SOURCE"] = LEVELS_SOURCES[words["LEVELS"]]
        if is_resistive:
            words["LEFT_OUT"] = f', "{left_out(analog, components)}"'
        parts += ["analog", "analog_resistive" if is_resistive else "analog_sram"]
    text = "".join(_template(part) for part in (*parts, *UNITS[digital], "host"))
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    parse_target(text.encode(), name)
    return text


def _what(analog: AnalogCells, digital: DigitalUnits) -> str:
    """Describes the chip in a sentence."""
    blocks = []
    if analog != "none":
        cells = "" if analog == "sram" else f" of {analog} cells"
        blocks.append(f"One 64x64 analog array{cells}")
    if digital in ("array", "in-memory"):
        blocks.append("a digital array" if blocks else "A digital array")
    core = "a small core"
    return f"{' and '.join(blocks)} beside {core}" if blocks else "A small core and its memory"


def _template(part: str) -> str:
    file = resources.files("compiler").joinpath("templates", f"{part}.toml")
    return file.read_text(encoding="utf-8")
