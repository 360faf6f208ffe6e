"""Past a limit a compilation is refused and leaves nothing; within it the result is what it
always is.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from compiler.cli import main
from compiler.cli.commands import app
from compiler.errors import ModelError
from compiler.flow import limits
from compiler.flow.limits import limited

ROOT = Path(__file__).parents[2]
DIM20 = ROOT / "models" / "dim20.onnx"
LINE = ("compile", str(DIM20), "-t", "tile16", "-o", "out")


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (("--max-nodes", "3"), "nodes, the limit is 3"),
        (("--max-tensor-bytes", "100"), "bytes, the limit is 100"),
        (("--time-limit", "0.01"), "it takes longer than the 0.01 s of --time-limit"),
    ],
)
def test_past_a_limit_nothing_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.run([*LINE, *limit, "--depfile", "d"]) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error[M008]: ")
    assert words in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size_bytes", [1_000_000, 120_000_000])
@pytest.mark.parametrize("compiled_before", [True, False])
def test_too_little_memory(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    size_bytes: int,
    compiled_before: bool,
) -> None:
    """Also where the modules must first be compiled to bytecode."""
    cache = (
        {} if compiled_before else {"PYTHONPYCACHEPREFIX": str(tmp_path_factory.mktemp("cache"))}
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from compiler.cli.main import main; main()",
            *LINE,
            "--max-memory",
            str(size_bytes),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), **cache},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr.startswith("error[M008]: it takes more memory than the "), done.stderr
    assert done.returncode == 3
    assert list(tmp_path.iterdir()) == []


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def test_every_command_that_reads_a_file_has_limits() -> None:
    nothing_read = {"targets list", "targets schema", "targets new"}
    for name, command in commands(typer.main.get_command(app)):
        options = {option for parameter in command.params for option in parameter.opts}
        limited = {"--max-memory", "--time-limit"} <= options
        assert limited != (name in nothing_read), name


@pytest.mark.parametrize(
    ("line", "function"),
    [
        ("check p", "compiler.plan.package.read_package"),
        ("report p", "compiler.plan.package.read_package"),
        ("explain p n", "compiler.plan.package.read_package"),
        ("compare p p", "compiler.plan.package.read_package"),
        ("run p -i x -o y", "compiler.plan.package.read_package"),
        ("evaluate p --data x", "compiler.plan.package.read_package"),
        ("verify m p", "compiler.plan.package.read_package"),
        ("inspect m -t c", "compiler.target.chip.load_target"),
        ("compile m -t c -o o", "joulec.load_target"),
        ("targets show c", "compiler.target.chip.load_target"),
        ("targets check c", "compiler.target.chip.load_target"),
        ("targets import c", "compiler.zigzag.hardware_yaml.read_accelerator"),
        ("validate t", "compiler.macros.table.read_table"),
    ],
)
def test_reading_is_within_the_limit(
    line: str,
    function: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(function, lambda *_: time.sleep(10))
    assert main.run([*line.split(), "--time-limit", "0.05"]) == 3
    assert "it takes longer than the 0.05 s of --time-limit" in capsys.readouterr().err


def test_limits_that_are_kept_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    handler, memory = signal.getsignal(signal.SIGALRM), resource.getrlimit(resource.RLIMIT_DATA)
    limits = ["--max-nodes", "1000", "--max-tensor-bytes", "1000000", "--time-limit", "500"]
    assert main.run([*LINE]) == 0
    assert main.run([*LINE[:-1], "other", *limits, "--max-memory", "20000000000"]) == 0
    assert (tmp_path / "out/plan.json").read_bytes() == (tmp_path / "other/plan.json").read_bytes()
    assert signal.getsignal(signal.SIGALRM) == handler
    assert resource.getrlimit(resource.RLIMIT_DATA) == memory


def test_memory_is_refused_before_it_is_taken() -> None:
    with (
        pytest.raises(ModelError, match="more memory than the 900,000,000") as caught,
        limited(900_000_000, None),
    ):
        np.ones(1 << 30, np.float64)
    assert caught.value.code == "M008"
    np.ones(1 << 24)


def swallow_everything() -> None:
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


def test_nothing_on_the_way_swallows_the_end() -> None:
    start = time.monotonic()
    with pytest.raises(ModelError, match=r"longer than the 0\.1 s"), limited(None, 0.1):
        swallow_everything()
    assert time.monotonic() - start < 5


def test_code_that_does_not_come_back_is_ended(tmp_path: Path) -> None:
    script = (
        "import signal, time\n"
        "from compiler.flow import limits\n"
        "limits.GRACE_S = 0.2\n"
        "with limits.limited(None, 0.1):\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == limits.REFUSED
    assert done.stderr == "error[M008]: it takes longer than the 0.1 s of --time-limit\n"


def test_what_a_library_makes_of_the_end_of_time_is_still_that() -> None:
    """As when it comes while a library is imported, whose C code then says that its
    initialization failed.
    """

    def wait() -> None:
        try:
            time.sleep(10)
        except BaseException as up:
            raise ImportError("initialization failed") from up

    with pytest.raises(ModelError, match=r"longer than the 0\.05 s"), limited(None, 0.05):
        wait()
