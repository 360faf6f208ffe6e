"""The command line: words in, words out.

Whatever happens ends in an exit status and at most one line on standard error.

Exit status: 0 done; 1 a bug of ours; 2 usage; 3 the model or another data file is refused; 4 it
does not fit the target; 5 a gate or a verification failed; 128 + n ended by signal n: 130
interrupted (Ctrl-C), 143 terminated.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

from compiler.cli.supervisor import run_supervised


def run(arguments: Sequence[str]) -> int:
    """Runs a command line in this process and gives its exit status."""
    from compiler.cli.commands import execute  # takes a while, in which Ctrl-C is answered too

    return execute(arguments)


def main() -> None:
    """The program `joulec`."""
    if not sys.warnoptions:  # what a library warns its callers of is no line of ours
        warnings.simplefilter("ignore")
    sys.exit(run_supervised(run, sys.argv[1:]))


if __name__ == "__main__":
    main()
