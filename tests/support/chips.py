"""Chooses the chips of a test over all: some always, others in turn, all with slow tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from compiler.target.chip import Analog, Target, built_in
from compiler.target.digital import Digital

# An analog array with a digital one, a digital one alone, small arrays of many levels.
ALWAYS = ("diana", "diana_digital", "tile16")
# Inputs bit by bit: a layer is many products, so larger models take their time.
BIT_BY_BIT = ("isaac", "jia2020", "princeton16", "puma")
OTHERS = tuple(name for name in built_in() if name not in ALWAYS)


def on_chips(cases: Sequence[str], others: int = 1) -> list[Any]:
    """Lists every case on every chip, as (case, chip).

    Usually on ALWAYS and on `others` of the rest, which take turns; else marked slow.
    """
    found = []
    for position, case in enumerate(cases):
        turn = {OTHERS[(position * others + step) % len(OTHERS)] for step in range(others)}
        for chip in built_in():
            marks = () if chip in ALWAYS or chip in turn else (pytest.mark.slow,)
            found.append(pytest.param(case, chip, marks=marks, id=f"{case}-{chip}"))
    return found


def only_analog(target: Target) -> Analog:
    """The analog engine of a chip that has one."""
    (unit,) = target.analog_engines.values()
    return unit


def only_digital(target: Target) -> Digital:
    """The digital engine of a chip that has one."""
    (unit,) = target.digital_engines.values()
    return unit
