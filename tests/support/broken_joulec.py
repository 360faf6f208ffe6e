"""Runs the command line with a function that fails.

python -m tests.support.broken_joulec MODULE FUNCTION ARGUMENTS...
"""

from __future__ import annotations

import importlib
import sys

from compiler.cli import main


def fail(*_: object, **__: object) -> None:
    """What stands in the function's place."""
    raise ZeroDivisionError("nothing is left")


def broken(module: str, function: str) -> tuple[object, str, object]:
    """Finds where a function is, its last name, and what fails in its place.

    FUNCTION may be CLASS.METHOD.
    """
    place: object = importlib.import_module(module)
    *names, last = function.split(".")
    for name in names:
        place = getattr(place, name)
    getattr(place, last)  # a name that is not there breaks nothing
    return place, last, fail


if __name__ == "__main__":
    setattr(*broken(*sys.argv[1:3]))
    sys.exit(main.run(sys.argv[3:]))
