"""Remakes the fitted constants, the table of constants in docs/energy.md, and the scatter plot docs/validation.svg.

Run by `make fit`. The silicon is ../shared/silicon/shown.csv, or what JOULEC_SILICON names.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from compiler.cost.macro_fit import fit, leave_one_chip_out
from compiler.cost.macro_plot import plot
from compiler.cost.macro_table import Row, read_table
from compiler.cost.parts.constants import Components, constants_table, load_components

ROOT = Path(__file__).resolve().parent.parent
CONSTANTS = ROOT / "compiler" / "components" / "constants.toml"
PAGE = ROOT / "docs" / "energy.md"
PICTURE = ROOT / "docs" / "validation.svg"
TITLE = "Efficiency of published macros, each chip left out of the fit"
MARKS = ("<!-- constants: make fit -->\n", "<!-- end of constants -->\n")


def silicon() -> Path:
    """The table of published macros."""
    return Path(os.environ.get("JOULEC_SILICON", ROOT.parent / "shared" / "silicon" / "shown.csv"))


def refitted(text: str, components: Components) -> str:
    """The constants' file with the fitted numbers replaced."""
    for name in (*components.fitted, "spread_factor"):
        e = components.constants[name].estimate
        numbers = f"value = {e.value!r}, low = {e.low!r}, high = {e.high!r},"
        pattern = rf"(?m)^({name} = {{ )value = [^,]+, low = [^,]+, high = [^,]+,"
        text, count = re.subn(pattern, rf"\g<1>{numbers}", text)
        assert count == 1, name
    return text


def with_table(page: str, components: Components) -> str:
    """The page with the table of constants between its marks replaced."""
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}{constants_table(components)}{MARKS[1]}{after}"


def picture(rows: list[Row], components: Components) -> str:
    """The scatter plot."""
    return plot(leave_one_chip_out(rows, components), TITLE)


def main() -> None:
    """Writes the three files."""
    rows, shipped = read_table(silicon()), load_components()
    components = fit(rows, shipped)
    CONSTANTS.write_text(refitted(CONSTANTS.read_text(encoding="utf-8"), components), "utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), components), "utf-8")
    PICTURE.write_text(picture(rows, components), "utf-8")


if __name__ == "__main__":
    main()
