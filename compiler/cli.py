"""The command line: words in, words out. Whatever happens ends in an exit status and at most one line of complaint.

Exit status: 0 done; 1 a bug of ours; 2 usage; 3 the model or another data file is refused; 4 it does not fit the target; 5 a gate or a
verification failed; 130 interrupted (the shell says 143 for SIGTERM, which ends it at once).
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from compiler import cli_compile, cli_model, cli_package, cli_run, cli_targets, cli_validate
from compiler.cli_cut_short import told_when_cut_short
from compiler.cli_failures import ClickError, bug, machine_error, restrain_streams, usage_error
from compiler.cli_words import ReaderGoneError, complain, help_when_bare, say
from compiler.errors import CompileError, ModelError

HELP = """Compiles ONNX models for hybrid analog/digital chips.

\b
joulec compile models/digits_resnet.onnx --target diana -o build/digits
joulec explain build/digits block2.conv1
joulec COMMAND --help
"""

INTERRUPTED = 130

app = typer.Typer(
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
            say(f"joulec {version('joulec')}\n")
        except PackageNotFoundError:
            say("joulec, not installed as a package\n")
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


for module in (cli_compile, cli_model, cli_package, cli_run, cli_targets, cli_validate):
    module.register(app)


def run(arguments: Sequence[str]) -> int:
    """Runs a command line and gives its exit status."""
    restrain_streams()
    try:
        command = typer.main.get_command(app)
        with told_when_cut_short():
            status = command.main(list(arguments), prog_name="joulec", standalone_mode=False)
        if status == INTERRUPTED:  # the parser's answer to Ctrl-C
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED
    except (ReaderGoneError, BrokenPipeError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # outlives this function
        return 0
    except CompileError as error:
        complain(error.line())
        return error.exit_status
    except ClickError as error:
        refused = usage_error(error)
        complain(refused.line())
        return refused.exit_status
    except MemoryError:
        refused = ModelError("there is not enough memory for it", code="M008")
        complain(refused.line())
        return refused.exit_status
    except Exception as error:
        lack = machine_error(error)
        complain(lack.line() if lack else bug(error, arguments))
        return lack.exit_status if lack else 1


def main() -> None:
    """The program `joulec`."""
    # What a compilation makes lives to its end: looking for cycles at every 700th object takes a tenth of the time and finds none.
    gc.set_threshold(100_000)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
