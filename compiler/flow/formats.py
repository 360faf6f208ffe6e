"""Says whether a calibration for one chip holds for another: it measures the engines' formats."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from compiler.target.chip import Host, Target

# What a format's numbers do not depend on: energy, time, how many arrays there are, how much they
# hold. Every other number of an engine counts, also one that a later chip file brings.
UNSEEN = re.compile(
    r"_(pj|ns|mw|bytes|cycles)(_per_[a-z]+)?$|^(arrays|cycles_per_step|elements_per_cycle)$"
)
Formats = Mapping[str, object]


def formats_of(target: Target) -> dict[str, object]:
    """Lists what calibration can see of a chip, by key path: the numbers of its engines' formats.

    Of energies and times only whether they are there: an optional one can switch a rule on.
    """
    found: dict[str, object] = {}
    for name, engine in target.chip.engines.items():
        if not isinstance(engine, Host):  # which computes in the model's own floats
            found |= dict(_leaves(engine.model_dump(), name))
    return found


def why_not_same_formats(measured: Formats, wanted: Formats) -> str:
    """Why what was measured for the formats of one chip does not hold for another's.

    An empty string where it does.
    """
    for key in dict.fromkeys([*measured, *wanted]):
        was, now = measured.get(key), wanted.get(key)
        if was != now:
            return f"{key} was {_shown(was)}, and here is {_shown(now)}"
    return ""


def _leaves(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        where = f"{path}.{key}"
        if UNSEEN.search(key):
            yield where, value is not None
        elif isinstance(value, dict) and "source" not in value:
            yield from _leaves(value, where)
        else:
            plain = value["value"] if isinstance(value, dict) else value
            yield where, list(plain) if isinstance(plain, tuple) else plain


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    return str(value).lower() if isinstance(value, bool) else str(value)
