"""Keeps verdicts while they come, so that a suite that was stopped goes on; counts them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from compiler.errors import UsageError, one_line
from compiler.flow.up_to_date import digest_of, own_digest
from compiler.suite.trial import KINDS, Trial, Verdict, data_of

ELEMENTS = {
    "crashed": "error",
    "wrong": "failure",
    "refused": "skipped",
    "unjudged": "skipped",
}


def key_of(trial: Trial) -> str:
    """Hashes what a verdict depends on: model, data, chip, options, limits, and the compiler.

    External data of a model counts by the model's own file alone.
    """
    data = data_of(trial.path)
    parts = [
        own_digest(),
        digest_of(trial.path),
        digest_of(data) if data is not None else "",
        trial.target.sha256,
        repr(trial.options),
        f"{trial.samples} {trial.tolerance!r} {trial.max_memory_bytes} {trial.time_limit_s!r}",
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


class Results:
    """Verdicts by key, in a file of one line of JSON each (None: only in memory)."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[str, Verdict] = {}
        self._whole_bytes = 0
        if file is not None:
            self._read(file)

    def known(self, trial: Trial) -> Verdict | None:
        """The verdict on the same model, by the same compiler and in the same way."""
        found = self._known.get(key_of(trial))
        return found if found is not None and found.model == trial.name else None

    def add(self, trial: Trial, verdict: Verdict) -> None:
        """Keeps a verdict.

        Raises UsageError (U007) where the file cannot be written.
        """
        key = key_of(trial)
        self._known[key] = verdict
        if self._file is None:
            return
        line = json.dumps({"key": key, **verdict.table()}, sort_keys=True) + "\n"
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                file.truncate(self._whole_bytes)  # without a line that was cut short
                self._whole_bytes += file.write(line.encode())
        except OSError as error:
            what = f"{one_line(str(self._file))!r} cannot be written: {error.strerror}"
            raise UsageError(what, code="U007") from error

    def _read(self, file: Path) -> None:
        """Reads what an earlier run kept; a last line that was cut short is tried again."""
        shown = one_line(str(file))
        try:
            data = file.read_bytes() if file.exists() else b""
        except OSError as error:
            raise UsageError(f"{shown!r} cannot be read: {error.strerror}", code="U007") from error
        self._whole_bytes = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._whole_bytes].splitlines(), start=1):
            try:
                table = json.loads(line)
                key = table.pop("key")
                self._known[key] = Verdict(**table)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise UsageError(
                    f"line {number} of {shown!r} is no verdict of a suite",
                    hint="name another file for --results, or a new one",
                ) from error


def counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    """Counts verdicts by kind, from best to worst."""
    found = [verdict.kind for verdict in verdicts]
    return {kind: found.count(kind) for kind in KINDS}


def junit(verdicts: Sequence[Verdict], chip: str) -> bytes:
    """Writes verdicts as JUnit XML, which CI systems show.

    A test case each: crashed is an error, wrong a failure, refused and unjudged are skipped.
    """
    from xml.etree import ElementTree

    number = counts(verdicts)
    suite = ElementTree.Element(
        "testsuite",
        name=f"joulec suite on {chip}",
        tests=str(len(verdicts)),
        failures=str(number["wrong"]),
        errors=str(number["crashed"]),
        skipped=str(number["refused"] + number["unjudged"]),
    )
    for verdict in verdicts:
        case = ElementTree.SubElement(
            suite, "testcase", classname=chip, name=verdict.model, time=f"{verdict.cpu_s:.3f}"
        )
        element = ELEMENTS.get(verdict.kind)
        if element is not None:
            words = one_line(f"{verdict.kind}: {verdict.code} {verdict.message}".strip(), 1200)
            ElementTree.SubElement(case, element, message=words)
    ElementTree.indent(suite)
    data: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return data + b"\n"
