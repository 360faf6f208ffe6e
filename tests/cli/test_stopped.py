"""A command that is stopped, crashes or is killed: one plain line, the exit status that shells
expect, nothing left half.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compiler.cli import main
from compiler.cli.signals import STOPS, StopError, stoppable
from compiler.plan import package as plan_package
from compiler.plan.check import check_package
from compiler.plan.package import TEMPORARY_NAME, read_package, write_package
from compiler.storage.payload import Payload

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
# A program whose command does {work}, in the place of a function, and tells when it is there.
PROGRAM = """
import ctypes, os, signal, sys, time
{heed}
import {module}
from compiler.cli import main
from compiler.cli import supervisor
supervisor.AGAIN_S, supervisor.GRACE_S = 0.6, {grace_s}
def work(*_):
    print(os.getpid(), flush=True)
    {work}
{module}.{function} = work
sys.argv = ["joulec", "targets", "show", "diana"]
main.main()
"""
# While the command's own imports go on nothing answers signals; then the command does.
PLACES = {
    "imports": ("compiler.cli.main", "run"),
    "command": ("compiler.target.chip", "load_target"),
}


def started(
    work: str,
    folder: Path,
    place: str = "command",
    heeded: tuple[int, ...] = STOPS,
    grace_s: float = 1.2,
) -> subprocess.Popen[str]:
    """The process that a user sees, when its child is at work. Signals are heeded also where who
    runs the tests ignores them, as nohup does.
    """
    module, function = PLACES[place]
    heed = "; ".join(f"signal.signal({number:d}, signal.SIG_DFL)" for number in heeded)
    process = subprocess.Popen(
        [
            sys.executable, "-c",
            PROGRAM.format(
                heed=heed, work=work, module=module, function=function, grace_s=grace_s
            ),
        ],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline().strip().isdigit()
    return process


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("number", "status", "line"),
    [
        (signal.SIGINT, 130, "interrupted\n"),
        (signal.SIGTERM, 143, "terminated\n"),
        (signal.SIGHUP, 129, "hung up\n"),
    ],
)
def test_what_asks_for_a_stop(
    place: str, number: int, status: int, line: str, tmp_path: Path
) -> None:
    with started("time.sleep(60)", tmp_path, place) as process:
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", line)
    assert process.returncode == status


def test_code_that_does_not_listen_is_ended(tmp_path: Path) -> None:
    """As ONNX Runtime in a loop without end."""
    work = (
        "signal.pthread_sigmask(signal.SIG_BLOCK, supervisor.STOPS); "
        "print('deaf', flush=True); time.sleep(60)"
    )
    with started(work, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "deaf\n"
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "interrupted\n")
    assert process.returncode == 130
    assert time.monotonic() - start > 0.4


def test_a_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    """As `nohup joulec compile ...` wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = started("time.sleep(1); sys.exit(7)", tmp_path, heeded=())
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.send_signal(signal.SIGHUP)
    assert process.returncode == 7


@pytest.mark.parametrize(
    ("work", "status", "line"),
    [
        (
            "ctypes.string_at(0)", 1,
            "error[X001]: CrashError: a library ended the process by SIGSEGV; "
            "this is a bug of joulec",
        ),
        (
            "os.abort()", 1,
            "error[X001]: CrashError: a library ended the process by SIGABRT; "
            "this is a bug of joulec",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)", 137,
            "killed, as the system does when memory runs out",
        ),
        ("os.kill(os.getpid(), signal.SIGXCPU)", 152, "ended by SIGXCPU"),
    ],
)  # fmt: skip
def test_what_ends_the_work_is_told(work: str, status: int, line: str, tmp_path: Path) -> None:
    with started(work, tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(line)
    assert (tmp_path / "reproducer" / "replay.sh").exists() == (status == 1)


def test_the_work_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    with started("time.sleep(1); open('done', 'w').close()", tmp_path) as process:
        process.kill()
        process.communicate(timeout=30)  # the child had these pipes too, and is gone
    assert not (tmp_path / "done").exists()


def test_a_stop_that_is_swallowed_is_asked_for_again(tmp_path: Path) -> None:
    """As Python does with whatever is raised in `__del__`."""
    work = (
        "x = type('X', (), {'__del__': lambda self: (print('in', flush=True), time.sleep(60))})(); "
        "del x; time.sleep(60)"
    )
    with started(work, tmp_path, grace_s=60.0) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"  # a signal before that would not be swallowed
        process.send_signal(signal.SIGTERM)
        err = process.communicate(timeout=30)[1]
    assert err.endswith("\nterminated\n")
    assert process.returncode == 143


def clears_up_after_a_stop(cleared: list[str]) -> None:
    """Something in a library that makes another error of a stop, and is asked a second time
    meanwhile.
    """
    with stoppable():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            os.kill(os.getpid(), signal.SIGINT)
            cleared.append("all")
            raise ImportError("initialization failed") from error


def test_only_the_first_signal_stops() -> None:
    cleared: list[str] = []
    with pytest.raises(StopError) as caught:
        clears_up_after_a_stop(cleared)
    assert (cleared, caught.value.status, caught.value.line) == (["all"], 143, "terminated")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two packages with different payloads."""
    folder = tmp_path_factory.mktemp("sources")
    for name, model in (("a", "dim20"), ("b", "digits_resnet")):
        line = ["compile", str(MODELS / f"{model}.onnx"), "-t", "tile16", "-o", str(folder / name)]
        assert main.run([*line, "--calibration-samples", "2"]) == 0
    return folder / "a", folder / "b"


def test_a_write_that_is_stopped_leaves_nothing(sources: tuple[Path, Path], tmp_path: Path) -> None:
    known = {read_package(source).plan.hash for source in sources}
    moment = random.Random(1)
    for _ in range(6):
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.kill_writer",
                str(tmp_path / "out"),
                *map(str, sources),
            ],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(moment.uniform(0, 0.03))
            while process.poll() is None:  # as the process that a user sees does
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(1)
        found = read_package(tmp_path / "out")
        check_package(found)
        assert found.plan.hash in known
        left = {
            path.relative_to(tmp_path / "out").as_posix()
            for path in (tmp_path / "out").rglob("*")
            if path.is_file()
        }
        assert not [name for name in left if TEMPORARY_NAME.fullmatch(Path(name).name)]


def test_a_stop_right_after_the_commit_takes_nothing_back(
    sources: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = plan_package._replace

    def stopped(path: Path, data: Payload) -> None:
        replace(path, data)
        if path.name == "plan.json":
            raise StopError(signal.SIGTERM)

    write_package(read_package(sources[0]), tmp_path / "out")
    monkeypatch.setattr(plan_package, "_replace", stopped)
    package = read_package(sources[1])
    with pytest.raises(StopError):
        write_package(package, tmp_path / "out")
    found = read_package(tmp_path / "out")
    check_package(found)
    assert found.plan.hash == package.plan.hash
