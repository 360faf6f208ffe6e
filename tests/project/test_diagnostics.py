"""Every diagnostic code has its line in docs/diagnostics.md, and every code in the sources is a
known one.
"""

from __future__ import annotations

import re
from pathlib import Path

from compiler.errors import CODES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_lists_every_code_with_its_meaning() -> None:
    page = (ROOT / "docs" / "diagnostics.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([A-Z]\d{3})` \| (.*?) \|", page, re.MULTILINE))
    assert rows == CODES


def test_every_code_used_is_known() -> None:
    used = set()
    for folder in ("compiler", "passes", "backends"):
        for file in (ROOT / folder).rglob("*.py"):
            used.update(re.findall(r"\b([UMPCGWX]\d{3})\b", file.read_text("utf-8")))
    assert used - set(CODES) == set()
