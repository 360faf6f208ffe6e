"""All commands, and how each ends: in an exit status and at most one line on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from compiler.cli import compile, model, package, run, suite, targets, validate, verify
from compiler.cli.console import ReaderGoneError, help_when_bare, print_error, print_result
from compiler.cli.failures import ClickError, bug, machine_error, restrain_streams, usage_error
from compiler.cli.once import Commands
from compiler.cli.signals import StopError, stoppable
from compiler.errors import CompileError, ModelError

HELP = """Compiles ONNX models for hybrid analog/digital chips.

\b
joulec compile models/digits_resnet.onnx --target diana -o build/digits
joulec explain build/digits block2.conv1
joulec COMMAND --help
"""

app = Commands(
    name="joulec",
    help=HELP,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print_result(f"joulec {version('joulec')}\n")
        except PackageNotFoundError:
            print_result("joulec, not installed as a package\n")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _joulec(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Prints the version."),
    ] = False,
) -> None:
    help_when_bare(context)


for module in (compile, model, package, run, verify, suite, targets, validate):
    module.register(app)


def execute(arguments: Sequence[str]) -> int:
    """Runs a command line and gives its exit status."""
    restrain_streams()
    try:
        command = typer.main.get_command(app)
        with stoppable():
            status = command.main(list(arguments), prog_name="joulec", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except StopError as stop:
        print_error(stop.line)
        return stop.status
    except (ReaderGoneError, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # stays open
        return 0
    except CompileError as error:
        print_error(error.line())
        return error.exit_status
    except ClickError as error:
        refused = usage_error(error)
        print_error(refused.line())
        return refused.exit_status
    except MemoryError:
        refused = ModelError("there is not enough memory for it", code="M008")
        print_error(refused.line())
        return refused.exit_status
    except Exception as error:
        lack = machine_error(error)
        print_error(lack.line() if lack else bug(error, arguments))
        _discard_output()
        return lack.exit_status if lack else 1


def _discard_output() -> None:
    """Lets go of what is buffered for a standard output that takes nothing.

    The interpreter flushes it once more as it ends, and would end with a status of its own.
    """
    stream = sys.__stdout__
    if stream is None or sys.stdout is not stream:
        return
    try:
        stream.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
