"""What strangers hand in: each file gets one line with its code, says what is wrong, leaves
nothing behind, and takes little memory and time.

The files stand in tests/hostile_models.py and tests/hostile_files.py. They are tried in a process
of its own, whose memory is limited: one that dies, hangs or takes more fails the test of its name.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler.cli import main
from tests.support import hostile_files, hostile_models

ROOT = Path(__file__).resolve().parents[2]
MEMORY_BYTES = 4 << 30  # of addresses; Python with numpy and ONNX Runtime takes 1.5 GiB of them
TIME_S = 30
STATUS = {"U": 2, "M": 3, "P": 3, "C": 4}
CASES: dict[str, Mapping[str, tuple[Any, str, str]]] = {
    "model": hostile_models.MODELS,
    "data": hostile_files.DATA,
    "calibration": hostile_files.DATA,
    "labels": hostile_files.LABELS,
    "chip": hostile_files.CHIPS,
    "table": hostile_files.TABLES,
    "package": hostile_files.PACKAGES,
    "host": hostile_files.HOSTS,
    "checked host": hostile_files.CHECKED,
}  # fmt: skip
NAMES = [f"{kind}: {name}" for kind, cases in CASES.items() for name in cases]


class Lab:
    """Sound files, and a place to put a hostile one among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.chip = (ROOT / "compiler/targets/tile16.toml").read_bytes()
        (folder / "gemm.onnx").write_bytes(hostile_models.model().SerializeToString())
        body = "g (float[1,8] x) => (float[1,4] y) {a = MatMul(x, w) y = Erf(a)}"
        made = hostile_models.model(body, w=hostile_models.WEIGHTS["w"])
        (folder / "m.onnx").write_bytes(made.SerializeToString())
        self.quantized = self._compiled(folder / "m.onnx", "quantized")
        self.float = self._compiled(folder / "m.onnx", "float", "--precision", "float")
        self.dim20 = self._compiled(ROOT / "models" / "dim20.onnx", "dim20")
        np.savez(folder / "sound.npz", x=np.ones((1, 8), np.float32))

    def _compiled(self, model: Path, name: str, *words: object) -> Path:
        status, message = call("compile", model, "-t", "tile16", "-o", self.folder / name, *words)
        assert status == 0, message
        return self.folder / name

    def fault(self, kind: str, name: str) -> str:
        """What is wrong with the answer to a file, or an empty string."""
        make, code, words = CASES[kind][name]
        place = self.folder / "try" / "in"
        place.mkdir(parents=True)
        os.chdir(place.parent)
        try:
            command = getattr(self, f"_{kind.replace(' ', '_')}")(make, place)
            before = set(place.parent.rglob("*"))
            status, message = call(*command)
            litter = set(place.parent.rglob("*")) - before
        finally:
            os.chdir(self.folder)
            shutil.rmtree(place.parent)
        lines = [line for line in message.splitlines() if line.startswith("error[")]
        if not code:
            return message if status or lines else ""
        if litter:
            return f"litter {sorted(map(str, litter))} beside {message!r}"
        sound = len(lines) == 1 and lines[0].startswith(f"error[{code}]: ") and words in lines[0]
        return "" if sound and status == STATUS[code[0]] else f"exit {status}: {message!r}"

    def _model(self, make: hostile_models.Recipe, place: Path) -> tuple[object, ...]:
        data = make(place)
        if data is not None:
            (place / "m.onnx").write_bytes(data)
        few = ("--calibration-samples", 2)
        return ("compile", place / "m.onnx", "-t", "tile16", "-o", "out", *few)

    def _data(self, data: bytes, place: Path) -> tuple[object, ...]:
        (place / "x.npz").write_bytes(data)
        return ("run", self.dim20, "-i", place / "x.npz", "-o", "o.npz")

    def _calibration(self, data: bytes, place: Path) -> tuple[object, ...]:
        (place / "x.npz").write_bytes(data)
        model = ROOT / "models" / "dim20.onnx"
        return ("compile", model, "-t", "tile16", "-o", "out", "--data", place / "x.npz")

    def _labels(self, data: bytes, place: Path) -> tuple[object, ...]:
        (place / "x.npz").write_bytes(data)
        return ("evaluate", self.dim20, "--data", place / "x.npz")

    def _chip(self, change: hostile_files.Change, place: Path) -> tuple[object, ...]:
        (place / "c.toml").write_bytes(change(self.chip))
        return ("compile", self.folder / "gemm.onnx", "-t", place / "c.toml", "-o", "out")

    def _table(self, data: bytes, place: Path) -> tuple[object, ...]:
        (place / "t.csv").write_bytes(data)
        return ("validate", place / "t.csv")

    def _package(self, change: Callable[[Path], None], place: Path) -> tuple[object, ...]:
        shutil.copytree(self.quantized, place / "p")
        change(place / "p")
        return self._run(place / "p")

    def _host(self, made: Callable[[], bytes], place: Path) -> tuple[object, ...]:
        shutil.copytree(self.float, place / "p")
        hostile_files.host_replaced(made)(place / "p")
        return self._run(place / "p")

    def _checked_host(self, made: Callable[[], bytes], place: Path) -> tuple[object, ...]:
        return ("check", self._host(made, place)[1])

    def _run(self, package: Path) -> tuple[object, ...]:
        return ("run", package, "-i", self.folder / "sound.npz", "-o", "o.npz")


def call(*words: object) -> tuple[int, str]:
    """Runs joulec: its exit status and what it says on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main.run([str(word) for word in words])
    return status, err.getvalue()


def work(first: int) -> None:
    """Tries the cases from a number on and prints what is wrong with each; this is the process
    that may die.
    """
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory(prefix="joulec-hostile-") as folder:
        lab = Lab(Path(folder))
        for name in NAMES[first:]:
            kind, _, case = name.partition(": ")
            signal.alarm(TIME_S)
            fault = lab.fault(kind, case)
            signal.alarm(0)
            print(json.dumps([name, fault]), flush=True)
        os.chdir(ROOT)


@pytest.fixture(scope="module")
def faults() -> dict[str, str]:
    """What is wrong with the answer to each case."""
    found: dict[str, str] = {}
    while len(found) < len(NAMES):
        command = [
            sys.executable,
            "-c",
            f"from tests.whole.test_hostile import work; work({len(found)})",
        ]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        found.update(json.loads(line) for line in ran.stdout.splitlines())
        if ran.returncode:
            found[NAMES[len(found)]] = f"exit {ran.returncode}: {ran.stderr[-600:]}"
    return found


def test_one_plain_line_each(faults: dict[str, str]) -> None:
    """One test for all, so that two workers do not make all answers twice."""
    assert set(faults) == set(NAMES)
    assert {name: fault for name, fault in faults.items() if fault} == {}


def test_odd_data_that_are_sound(tmp_path: Path) -> None:
    assert call("compile", ROOT / "models/dim20.onnx", "-t", "tile16", "-o", tmp_path / "p")[0] == 0
    (tmp_path / "plain.npz").write_bytes(hostile_files.npz(image=hostile_files.IMAGE))
    for name in ("plain", *hostile_files.FINE_DATA):
        file, out = tmp_path / f"{name}.npz", tmp_path / f"{name}.out.npz"
        file.write_bytes(hostile_files.FINE_DATA.get(name) or file.read_bytes())
        assert call("run", tmp_path / "p", "-i", file, "-o", out) == (0, "")
        assert out.read_bytes() == (tmp_path / "plain.out.npz").read_bytes()


def test_a_host_model_without_an_end_is_ended(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    hostile_files.host_replaced(hostile_files.endless)(lab.float)
    words = [
        "run", str(lab.float), "-i", str(tmp_path / "sound.npz"), "-o", "o.npz", "--time-limit",
        "0.5", "--max-loop-work", str(10**30),
    ]  # fmt: skip
    program = (
        "import sys; from compiler.cli import main; from compiler.flow import limits; "
        f"limits.GRACE_S = 0.5; sys.exit(main.run({words}))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == "error[M008]: it takes longer than the 0.5 s of --time-limit\n"


def test_a_thread_that_gets_no_memory_is_not_waited_for(tmp_path: Path) -> None:
    """The thread that keeps the time is started before memory is limited: without memory it
    would never say that it runs.
    """
    program = """
import sys
from compiler.flow.limits import limited
held = bytearray(256 << 20)
try:
    with limited(64 << 20, 60):
        bytearray(128 << 20)
except Exception as error:
    sys.exit(str(error))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ran.stderr == "it takes more memory than the 67,108,864 bytes of --max-memory\n"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("compile {gemm} -t {pipe}.toml -o out", "U002"),
        ("targets check {pipe}.toml", "U002"),
        ("targets import {pipe}.toml", "U001"),
        ("validate {pipe}.toml", "U001"),
        ("compile {gemm} -t tile16 --data {pipe}.toml -o out", "U001"),
        ("inspect {pipe}.toml", "M001"),
    ],
)
def test_a_pipe_is_not_waited_for(words: str, code: str, tmp_path: Path) -> None:
    gemm = tmp_path / "gemm.onnx"
    gemm.write_bytes(hostile_models.model().SerializeToString())
    os.mkfifo(tmp_path / "pipe.toml")
    signal.alarm(TIME_S)
    status, message = call(*words.format(gemm=gemm, pipe=tmp_path / "pipe").split())
    signal.alarm(0)
    assert status == STATUS[code[0]]
    assert message.startswith(f"error[{code}]: ")
    assert "not a regular file" in message
