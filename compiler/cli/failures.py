"""Ends a failed command: one line, a code, an exit status, and for our bugs a folder to report."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import cast

import typer

from compiler.errors import CompileError, UsageError, nearest, one_line

# The ancestor of every error of the command line's parser, which typer does not export.
ClickError = cast("type[Exception]", typer.BadParameter.__mro__[2])

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
OURS = ("compiler", "passes", "backends", "joulec")  # what we fail to import of our own is a bug


def usage_error(error: Exception) -> CompileError:
    """What the parser of the command line found wrong, as one line of ours."""
    context = getattr(error, "ctx", None)
    option = getattr(error, "option_name", None)
    message = str(getattr(error, "format_message", lambda: error)())
    hint = ""
    if option is not None and getattr(error, "possibilities", None) is not None:
        message = f"no option {one_line(str(option))!r}"
        hint = nearest(str(option), _options(context))
    command = getattr(context, "command_path", "joulec")
    see = f"see '{command} --help'"
    message = " ".join(message.split()).rstrip(".").replace("Value error, ", "")
    message, found, guess = message.partition(". Did you mean ")
    if found:
        hint = f"did you mean {guess}"
    message = message[:1].lower() + message[1:]
    return UsageError(message, hint=f"{hint} {see}" if hint else see)


def _options(context: object) -> list[str]:
    command = getattr(context, "command", None)
    return [name for option in getattr(command, "params", ()) for name in option.opts]


def machine_error(error: BaseException | None) -> CompileError | None:
    """Makes the refusal of a machine that lacks a library, one that loads, or room on a disk.

    None for any other failure.
    """
    while error is not None:
        if isinstance(error, ImportError) and (error.name or "").split(".")[0] not in OURS:
            reason = f"the installation is broken: {error}"
            return UsageError(reason, code="U008", hint="install joulec again")
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            return UsageError(f"it cannot be written: {error.strerror}", code="U007")
        error = error.__cause__
    return None


def bug(error: BaseException, arguments: Sequence[str]) -> str:
    """The line for a failure that is our fault.

    The folder it names holds what is needed to mend it.
    """
    from compiler.cli.reproducer import write_reproducer

    what = one_line(f"{type(error).__name__}: {error}", limit=500)
    try:
        folder = one_line(str(write_reproducer(error, arguments)))
        where = f"please report it with the folder {folder!r}; its replay.sh runs it again"
    except Exception as failed:  # such as a full disk; the first failure is the one to tell
        reason = getattr(failed, "strerror", None) or str(failed)
        where = f"no reproducer could be written ({one_line(reason)})"
    return f"error[X001]: {what}; this is a bug of joulec: {where}"


def restrain_streams() -> None:
    """Lets standard output and error show what their encoding lacks as escapes, instead of failing.

    What was closed takes all and keeps nothing.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  # for good
        change = getattr(getattr(sys, name), "reconfigure", None)
        if change is not None:
            change(errors="backslashreplace")
