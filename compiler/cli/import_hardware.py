"""`joulec targets import`: a ZigZag accelerator as a chip file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from compiler.cli.console import print_result, print_warning
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.errors import one_line
from compiler.storage.files import write_whole

HELP = """Writes a ZigZag accelerator (a YAML file) as a chip file.

What could not be carried over or had to be taken for granted is printed, and stands in the
chip file under not_modelled.

\b
joulec targets import aimc.yaml -o my_chip.toml
joulec targets check my_chip.toml
"""

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A hardware description of zigzag-dse 3.")
]
Out = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="OUT.toml", help="Default: standard output."),
]


def import_command(
    file: File,
    output: Out = None,
    limits: Limits = DEFAULT_LIMITS,
) -> None:
    """Imports a chip."""
    from compiler.zigzag.hardware_yaml import read_accelerator
    from compiler.zigzag.import_hardware import imported

    with limits.enforced():
        chip = imported(read_accelerator(file), file.name)
    if output is None:
        print_result(chip.text)
    else:
        write_whole(output, chip.text.encode(), read=[file])
        print_result(f"wrote {one_line(str(output))}\n")
    for note in chip.notes:
        print_warning(f"W003: not carried over, or taken for granted: {note}")
