"""Writes two packages in turn to a folder for as long as it is let: tests/test_killed.py kills it. `kill_writer.py FOLDER A B`."""

from __future__ import annotations

import sys
from itertools import cycle

from compiler.plan_package import read_package, write_package

if __name__ == "__main__":
    folder, *sources = sys.argv[1:]
    packages = [read_package(source) for source in sources]
    write_package(packages[0], folder)
    print("ready", flush=True)
    for package in cycle(packages[::-1]):
        write_package(package, folder)
