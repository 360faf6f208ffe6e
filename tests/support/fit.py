"""Remakes the measured constants, the page of constants and the scatter plot.

The page is docs/formulas/constants.md, the plot docs/validation.svg. Run by `make fit`. The silicon
is ../shared/silicon/shown*.csv, or the file that JOULEC_SILICON names and those like it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from compiler.macros.fit import fit, leave_one_chip_out
from compiler.macros.plot import plot
from compiler.macros.table import Row, read_table
from compiler.target.parts.constants import Components, constants_table, load_components

ROOT = Path(__file__).resolve().parents[2]
CONSTANTS = ROOT / "compiler" / "components" / "constants.toml"
CONSTANTS_PAGE = ROOT / "docs" / "formulas" / "constants.md"
PICTURE = ROOT / "docs" / "validation.svg"
TITLE = "Efficiency of published macros, each chip left out of its interval"
HEAD = """\
# Constants

Printed by `make fit` from `compiler/components/constants.toml` and `cells.toml`. The ending of a \
name is its unit: _ff femtofarad, _ua microampere, _pw picowatt, _us microsiemens, _v volt,
_ns nanosecond, _pj picojoule, _pj_per_bit picojoule a bit, _ff_per_um femtofarad a micrometre; \
shares and factors have none. Capacitances are those at
the node given. A chip file may put its own in
their place (`[components]`); defaults stand in for what a table of macros leaves out.

"""


def silicon() -> Path:
    """The first table of published macros."""
    return Path(os.environ.get("JOULEC_SILICON", ROOT.parent / "shared" / "silicon" / "shown.csv"))


def tables() -> list[Path]:
    """All tables of published macros: the first, and those beside it whose names go on from it."""
    first = silicon()
    return sorted(first.parent.glob(f"{first.stem}*.csv"))


def all_rows() -> list[Row]:
    """The rows of all tables."""
    return [row for path in tables() for row in read_table(path)]


def refitted(text: str, components: Components) -> str:
    """The constants' file with the measured numbers replaced."""
    for name in components.measured:
        value = components.constants[name].estimate.value
        numbers = f"value = {value!r}, low = {value!r}, high = {value!r},"
        pattern = rf"(?m)^({name} = {{ )value = [^,]+, low = [^,]+, high = [^,]+,"
        text, count = re.subn(pattern, rf"\g<1>{numbers}", text)
        assert count == 1, name
    return text


def constants_page(components: Components) -> str:
    """The page of all constants."""
    return HEAD + constants_table(components)


def picture(rows: list[Row], components: Components) -> str:
    """The scatter plot."""
    return plot(leave_one_chip_out(rows, components), TITLE)


def main() -> None:
    """Writes the three files."""
    rows, shipped = all_rows(), load_components()
    components = fit(rows, shipped)
    CONSTANTS.write_text(refitted(CONSTANTS.read_text(encoding="utf-8"), components), "utf-8")
    CONSTANTS_PAGE.write_text(constants_page(components), "utf-8")
    PICTURE.write_text(picture(rows, components), "utf-8")


if __name__ == "__main__":
    main()
