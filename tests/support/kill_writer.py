"""Writes two packages in turn to a folder until it is stopped: `kill_writer.py FOLDER A B`.

test_killed.py and test_stopped.py stop it.
"""

from __future__ import annotations

import sys
from itertools import cycle

from compiler.cli.signals import stoppable
from compiler.plan.package import read_package, write_package

if __name__ == "__main__":
    folder, *sources = sys.argv[1:]
    packages = [read_package(source) for source in sources]
    write_package(packages[0], folder)
    with stoppable():
        print("ready", flush=True)
        for package in cycle(packages[::-1]):
            write_package(package, folder)
