"""Reads the rows of a csv file that people write, and refuses what is none in one line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler.errors import ModelError, UsageError, one_line
from compiler.storage.files import open_regular
from compiler.storage.mistaken import why_mistaken, why_unreadable

MAX_FILE_BYTES = 8 << 20
MAX_ROWS = 100_000


@dataclass(frozen=True)
class CsvForm:
    """What a table is: its name in errors, the columns it must have, and where these are told."""

    name: str
    wanted: tuple[str, ...]
    hint: str

    @property
    def described(self) -> str:
        """Names the kind of file that is wanted."""
        return f"a csv file of {self.name}"

    def broken(self, shown: str, why: str) -> ModelError:
        """Makes the error that says why a file is no such table."""
        return ModelError(
            f"{shown!r} is no table of {self.name}: {why}", code="M009", hint=self.hint
        )


def read_csv(path: Path, form: CsvForm) -> list[tuple[int, dict[str, str]]]:
    """Reads a csv file: the line number and the cells by column of each row that is not empty.

    Raises UsageError (U001) where it cannot be read and ModelError (M009) where it is no such
    table.
    """
    shown = one_line(str(path))
    try:
        with open_regular(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = why_mistaken(path, form.described) or why_unreadable(error)
        raise UsageError(f"{shown!r}: {reason}", code="U001") from error
    if mistaken := why_mistaken(path, form.described):
        raise ModelError(mistaken, code="M009")
    return rows_of(data, shown, form)


def rows_of(data: bytes, shown: str, form: CsvForm) -> list[tuple[int, dict[str, str]]]:
    """Reads the bytes of a csv file as `read_csv` does; `shown` names it in errors."""
    if len(data) > MAX_FILE_BYTES:
        raise form.broken(shown, f"it is larger than {MAX_FILE_BYTES:,} bytes")
    try:
        lines = list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError as error:
        raise form.broken(shown, f"it is not UTF-8 text (byte {error.start})") from error
    except csv.Error as error:
        raise form.broken(shown, str(error)) from error
    if not lines:
        raise form.broken(shown, "it is empty")
    if len(lines) > MAX_ROWS:
        raise form.broken(shown, f"it has more than {MAX_ROWS:,} lines")
    header = _header(lines[0], shown, form)
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            why = f"line {number} has {len(cells)} fields, the first line {len(header)}"
            raise form.broken(shown, why)
        stripped = (cell.strip() for cell in cells)
        rows.append((number, dict(zip(header, stripped, strict=True))))
    return rows


def _header(cells: Sequence[str], shown: str, form: CsvForm) -> list[str]:
    """Reads the names of the columns: those wanted are there, none is there twice."""
    header = [name.strip() for name in cells]
    missing = [name for name in form.wanted if name not in header]
    if missing:
        raise form.broken(shown, f"its first line names no column {missing[0]!r}")
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice is not None:
        raise form.broken(shown, f"column {one_line(twice, 60)!r} is there twice")
    return header
