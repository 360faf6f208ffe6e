"""How the command line fails: one line with a code and an exit status, and for a bug of ours a folder to report it with."""

from __future__ import annotations

import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import typer

from compiler.errors import CompileError, UsageError, nearest, one_line

# The ancestor of every error of the command line's parser, which typer does not export.
# The ancestor of every error of the command line's parser, which typer does not export.
ClickError = cast("type[Exception]", typer.BadParameter.__mro__[2])
MARK = "joulec-reproducer.txt"


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


def versions() -> str:
    """The versions that a bug may depend on, one a line."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"python {platform.python_version()} on {platform.platform()}"]
    for name in (
        "joulec",
        "numpy",
        "onnx",
        "onnxruntime",
        "highspy",
        "networkx",
        "pydantic",
        "typer",
    ):
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines) + "\n"


def bug(error: BaseException, arguments: Sequence[str]) -> str:
    """The line for a failure that is our fault; the folder it names holds what is needed to mend it."""
    what = one_line(f"{type(error).__name__}: {error}", limit=500)
    try:
        folder = _reproducer(error, arguments)
        where = f"please report it with the folder {one_line(str(folder))!r}, which holds how to replay it"
    except OSError as failed:
        where = f"no reproducer could be written ({failed.strerror})"
    return f"error[X001]: {what}; this is a bug of joulec: {where}"


def _reproducer(error: BaseException, arguments: Sequence[str]) -> Path:
    folder = _folder()
    command = f"joulec {shlex.join(arguments)}"
    files = {
        MARK: _story(error, command),
        "traceback.txt": "".join(traceback.format_exception(error)),
        "versions.txt": versions(),
        "replay.sh": f"#!/bin/sh\ncd {shlex.quote(str(Path.cwd()))} && {command}\n",
    }
    graph = getattr(error, "before", None)
    if graph is not None:
        from compiler.text import to_text

        try:
            files["graph.txt"] = to_text(graph)
        except Exception:  # a graph so broken that it cannot be printed is still a reproducer
            files["graph.txt"] = f"the graph cannot be printed:\n{traceback.format_exc()}"
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder


def _story(error: BaseException, command: str) -> str:
    failed = getattr(error, "failed", None)
    lines = [
        "joulec failed in a way that it should not.",
        "",
        f"command  {command}",
        f"folder   {Path.cwd()}",
        f"error    {type(error).__name__}: {error}",
    ]
    if failed is not None:
        lines += [f"pass     {failed!r}", "graph    graph.txt is the graph that the pass was given"]
    lines += [
        "",
        "replay.sh runs it again. The model and data files it names are not in this folder.",
    ]
    return "\n".join(lines) + "\n"


def _folder() -> Path:
    """A folder for the reproducer: `reproducer` here, over an older one of ours; else one of its own in the place for temporary files."""
    for base in _bases():
        folder = base / "reproducer"
        try:
            folder.mkdir(exist_ok=True)
            if (folder / MARK).exists() or not any(folder.iterdir()):
                (folder / MARK).touch()
                (folder / "graph.txt").unlink(missing_ok=True)
                return folder
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="joulec-reproducer-"))


def _bases() -> Iterable[Path]:
    yield Path.cwd()


def restrain_streams() -> None:
    """Lets standard output and error show what their encoding lacks as escapes, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        change = getattr(stream, "reconfigure", None)
        if change is not None:
            change(errors="backslashreplace")
