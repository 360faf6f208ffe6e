"""Writes what the compiler says into docs/: keys of chip files, operations by chip.

Run by `make pages`. tests/project/test_pages.py fails where a page is not what this would write.
"""

from __future__ import annotations

from pathlib import Path

from compiler.target.new import new_chip
from tests.support import chip_keys, supported

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CHIP_PAGE = DOCS / "chip-file.md"


def between(page: str, mark: str, body: str) -> str:
    """A page with the text between `<!-- MARK ... -->` and `<!-- end of MARK -->` replaced."""
    head, rest = page.split(f"<!-- {mark}", 1)
    opening, rest = rest.split("-->\n", 1)
    _, tail = rest.split(f"<!-- end of {mark} -->", 1)
    return f"{head}<!-- {mark}{opening}-->\n\n{body}\n<!-- end of {mark} -->{tail}"


def generated() -> dict[Path, str]:
    """Every page that is written in whole or in part, with its whole text."""
    text = CHIP_PAGE.read_text(encoding="utf-8")
    text = between(text, "new", f"```toml\n{new_chip('my_chip')}```\n")
    text = between(text, "rules", chip_keys.rules_list())
    text = between(text, "keys", chip_keys.keys_tables())
    text = between(text, "components", chip_keys.components_table())
    pages = {CHIP_PAGE: text}
    for chip in supported.chips():
        pages[DOCS / "supported" / f"{chip}.md"] = supported.page(chip)
    return pages


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
