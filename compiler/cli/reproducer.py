"""Writes the folder that a failure of ours leaves: the story, the files, a command to run again."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

NAME = "reproducer"
MARK = "joulec-reproducer.txt"
FILES = "files"
OURS = (MARK, "traceback.txt", "versions.txt", "graph.txt", "replay.sh")
MOST_BYTES = 256 << 20  # of files that are copied
WRITTEN = (
    "--output",
    "-o",
    "--depfile",
    "--dump-passes",
    "--annotated",
    "--save-calibration",
    "--plot",
)
LIBRARIES = (
    "joulec", "numpy", "onnx", "onnxruntime", "highspy", "pydantic", "typer",
)  # fmt: skip


def write_reproducer(error: BaseException, arguments: Sequence[str]) -> Path:
    """Writes the folder and gives its path.

    It is `reproducer` here, over an older one of ours, else one in the place for temporary files.
    """
    folder = _folder()
    copies = Copies(folder)
    command = shlex.join(_words(arguments, copies))
    texts = {
        MARK: _story(error, command, copies.left_out),
        "traceback.txt": "".join(traceback.format_exception(error)),
        "versions.txt": versions(),
        "replay.sh": f'#!/bin/sh\ncd "$(dirname "$0")" && exec ${{JOULEC:-joulec}} {command}\n',
    }
    graph = getattr(error, "before", None)
    if graph is not None:
        from compiler.ir.text import to_text

        try:
            texts["graph.txt"] = to_text(graph)
        except Exception:  # a graph so broken that it cannot be printed is still a reproducer
            texts["graph.txt"] = f"the graph cannot be printed:\n{traceback.format_exc()}"
    for name, text in texts.items():
        (folder / name).unlink(missing_ok=True)  # what a link of that name leads to is not ours
        (folder / name).write_text(text, encoding="utf-8", errors="surrogateescape")
    return folder


def versions() -> str:
    """The versions that a bug may depend on, one a line."""
    from importlib.metadata import PackageNotFoundError, version

    lines = [f"python {platform.python_version()} on {platform.platform()}"]
    for name in LIBRARIES:
        try:
            lines.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            lines.append(f"{name} is not installed")
    return "\n".join(lines) + "\n"


class Copies:
    """Copies the files that a command line names, as far as there is room.

    Each goes into a numbered folder of the reproducer.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bytes_left = MOST_BYTES
        self._count = 0
        self.left_out: list[str] = []

    def of(self, word: str) -> str:
        """What stands for a word of the command line: itself, or the copy of what it names.

        It may name a file or a package.
        """
        path = Path(word)
        try:
            names = list(_belonging(path))
            size_bytes = sum((path.parent / name).stat().st_size for name in names)
        except (OSError, ValueError):
            return word
        if not names:
            return word
        if size_bytes > self._bytes_left:
            self.left_out.append(f"{path.absolute()} ({size_bytes:,} bytes)")
            return str(path.absolute())
        self._bytes_left -= size_bytes
        place = self.place()
        for name in names:
            target = self._folder / place / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / name, target)
        return f"{place}/{path.name}"

    def written(self, word: str) -> str:
        """What stands for the name of an output: that of one in the reproducer.

        A copy where it is a package already.
        """
        if Path(word).is_dir():
            return self.of(word)
        return f"{self.place()}/{Path(word).name}"

    def place(self) -> str:
        """A new numbered folder."""
        self._count += 1
        (self._folder / FILES / str(self._count)).mkdir(parents=True)
        return f"{FILES}/{self._count}"


def _belonging(path: Path) -> Iterator[Path]:
    """The files that a file or a package consists of, relative to the folder it lies in.

    None for anything else.
    """
    if path.is_file():
        yield Path(path.name)
        if path.suffix == ".onnx":
            from compiler.frontend.load import external_files

            yield from (name.relative_to(path.parent) for name in external_files(path))
    elif (path / "plan.json").is_file():
        places = [place for place in (path, path / "host") if place.is_dir()]
        files = [item for place in places for item in sorted(place.iterdir()) if item.is_file()]
        for file in files:
            if not (file.is_symlink() or (file.parent.is_symlink() and file.parent != path)):
                yield file.relative_to(path.parent)


def _words(arguments: Sequence[str], copies: Copies) -> Iterator[str]:
    """The command line with the copies in place of what it names."""
    option = ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if option in WRITTEN:
            yield copies.written(argument)
        elif equals and name.startswith("--") and name in WRITTEN:
            yield f"{name}={copies.written(value)}"
        elif equals and name.startswith("--"):
            yield f"{name}={copies.of(value)}"
        elif len(argument) > 2 and argument[0] == "-" and argument[1] in "oit":
            yield argument[:2]
            yield copies.written(argument[2:]) if argument[1] == "o" else copies.of(argument[2:])
        else:
            yield copies.of(argument)
        option = argument


def _story(error: BaseException, command: str, left_out: Sequence[str]) -> str:
    failed = getattr(error, "failed", None)
    lines = [
        "joulec failed in a way that it should not.",
        "",
        f"command  joulec {command}",
        f"error    {type(error).__name__}: {error}",
    ]
    if failed is not None:
        lines += [f"pass     {failed!r}", "graph    graph.txt is the graph that the pass was given"]
    lines += [
        "",
        "replay.sh runs it again, on the copies in files/. "
        "Look through them before you hand this folder on: they are your model and data.",
    ]
    lines += [f"Too large to be copied: {name}" for name in left_out]
    return "\n".join(lines) + "\n"


def _folder() -> Path:
    """Makes a folder for the reproducer, or clears the one that an older reproducer left.

    Files of anybody else are never in it.
    """
    folder = Path.cwd() / NAME
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        names = os.listdir(folder)
        if not folder.is_symlink() and (MARK in names or not names):
            if (folder / FILES).is_dir() and not (folder / FILES).is_symlink():
                shutil.rmtree(folder / FILES)
            for name in OURS:
                (folder / name).unlink(missing_ok=True)
            (folder / MARK).touch()
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="joulec-reproducer-"))
