"""What hasty people do with files: outputs where inputs, devices or folders are, options that no
limit can be, a file cut short.
"""

from __future__ import annotations

import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from backends.simulator.kernels import KERNELS
from compiler.cli import main
from compiler.cli.supervisor import CUT_SHORT
from compiler.errors import UsageError
from compiler.plan import package as plan_package
from compiler.storage.payload import Payload
from tests.support.broken_joulec import broken, fail
from tests.support.hostile_models import model

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small package."""
    folder = tmp_path_factory.mktemp("package") / "p"
    line = ["compile", str(MODELS / "dim20.onnx"), "-t", "tile16", "-o", str(folder)]
    assert main.run([*line, "--calibration-samples", "2"]) == 0
    return folder


@pytest.fixture
def here(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command finds a model `m.onnx`, data `d.npz`, a chip `c.toml` and a package `p`."""
    shutil.copytree(package, tmp_path / "p")
    shutil.copy(MODELS / "dim20.onnx", tmp_path / "m.onnx")
    shutil.copy(MODELS / "dim20_test.npz", tmp_path / "d.npz")
    shutil.copy(ROOT / "compiler/targets/tile16.toml", tmp_path / "c.toml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("gate", ["--max-energy-uj nan", "--max-latency-us -1"])
def test_a_gate_that_nothing_passes(
    gate: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*broken("compiler.driver", "calibrate_model"))
    assert "wanted 0 or more" in refusal(f"{COMPILE} {gate}", capsys)


def test_an_output_that_a_depfile_cannot_name_is_told_before_the_work(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*broken("compiler.driver", "calibrate_model"))
    assert "has no way to write '='" in refusal(f"{COMPILE_TO} lr=1 --depfile d", capsys)


def refusal(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a wrong use is refused with."""
    capsys.readouterr()
    status = main.run(line.split(" "))
    message = [text for text in capsys.readouterr().err.splitlines() if text.startswith("error[")]
    assert (status, len(message)) == (2, 1), message
    return message[0]


COMPILE_TO = "compile m.onnx -t c.toml --calibration-samples 2 --data d.npz -o"
COMPILE = f"{COMPILE_TO} out"


@pytest.mark.parametrize(
    ("line", "output"),
    [
        (f"{COMPILE} --depfile m.onnx", "m.onnx"),
        (f"{COMPILE} --annotated ./m.onnx", "m.onnx"),
        (f"{COMPILE} --depfile d.npz", "d.npz"),
        (f"{COMPILE} --depfile c.toml", "c.toml"),
        ("run p -i d.npz -o d.npz", "d.npz"),
        ("run p -i d.npz -o p/plan.json", "p/plan.json"),
        ("run p -i d.npz -o link.npz", "d.npz"),
    ],
)
def test_what_was_read_is_not_written_over(
    line: str, output: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "link.npz").symlink_to("d.npz")
    before = (here / output).read_bytes()
    assert "is read, and would be written over; give another name" in refusal(line, capsys)
    assert (here / output).read_bytes() == before
    assert not (here / "out").exists()


@pytest.mark.parametrize("written", range(4))
def test_a_package_that_cannot_be_written_whole_is_taken_back(
    written: int,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a disk that is full after some of its files."""
    left = iter(range(written))
    replace = plan_package._replace

    def full(path: Path, data: Payload) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        replace(path, data)

    monkeypatch.setattr(plan_package, "_replace", full)
    found = plan_package.read_package(package)
    assert len(found.paths) == 4
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=r"cannot write package .*: No space left on device"):
        plan_package.write_package(found, tmp_path / "new" / "deep")
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("output", ["full", "m.onnx", "m.onnx/x", "x" * 300, "away"])
def test_a_place_for_no_package_is_told_before_the_work(
    output: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "full").mkdir()
    (here / "full" / "thesis.txt").write_text("mine")
    monkeypatch.setattr("os.access", lambda place, mode: place != here or output != "away")
    monkeypatch.setattr(*broken("compiler.driver", "calibrate_model"))
    assert refusal(f"{COMPILE_TO} {output}", capsys).startswith("error[U007]: ")


@pytest.mark.parametrize(
    ("line", "closed", "status"),
    [("check p", ">&-", 0), ("check q", "2>&-", 2), ("--help", ">/dev/full", 2)],
)
def test_streams_that_take_nothing(line: str, closed: str, status: int, here: Path) -> None:
    joulec = f"{sys.executable} -c 'from compiler.cli.main import main; main()'"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for unbuffered in ("", "1"):  # what is left in a buffer is written as the interpreter ends
        environment["PYTHONUNBUFFERED"] = unbuffered
        command = ["sh", "-c", f"{joulec} {line} {closed}"]
        ran = subprocess.run(command, env=environment, check=False)
        assert ran.returncode == status
    assert not (here / "reproducer").exists()


def test_one_name_for_two_outputs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(f"{COMPILE} --depfile x --annotated x", capsys)
    assert "--depfile and --annotated both are 'x'" in message


@pytest.mark.parametrize("output", ["", ".", "..", "p", "loop", "m.onnx/x"])
def test_an_output_that_is_no_place_for_a_file(
    output: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "loop").symlink_to("loop")
    before = sorted(here.rglob("*"))
    assert refusal(f"run p -i d.npz -o {output}", capsys).startswith("error[U007]: cannot write")
    assert sorted(here.rglob("*")) == before


def test_a_pipe_or_a_device_is_written_to_and_stays(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(here / "pipe")
    message = refusal("run p -i d.npz -o pipe", capsys)
    assert "No such device or address" in message  # nobody reads it, and nobody is waited for
    reader = os.open(here / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    assert main.run(["run", "p", "-i", "d.npz", "-o", "pipe"]) == 0
    written = os.read(reader, 1 << 20)
    os.close(reader)
    assert stat.S_ISFIFO((here / "pipe").stat().st_mode)
    assert main.run(["run", "p", "-i", "d.npz", "-o", "file"]) == 0
    assert (here / "file").read_bytes() == written


@pytest.mark.parametrize(
    "option",
    ["--time-limit inf", "--time-limit 1e300", f"--max-memory {10**30}", f"--max-memory {1 << 63}"],
)
def test_limits_beyond_all_are_none(
    option: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["inspect", "m.onnx", "-t", "c.toml", *option.split()]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("line", [f"{COMPILE} --seed -1", "verify m.onnx p --seed -1"])
def test_a_negative_seed(line: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--seed" in refusal(line, capsys)


@pytest.mark.parametrize(("value", "word"), [(np.nan, "NaN"), (-np.inf, "infinity")])
def test_numbers_that_are_none_are_told(
    value: float, word: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = np.zeros((3, 64), np.float32)
    data[1, 5] = value
    np.savez(here / "bad.npz", image=data)
    assert main.run(["run", "p", "-i", "bad.npz", "-o", "o.npz"]) == 0
    assert capsys.readouterr().err.startswith(f"warning[W009]: input 'image' holds {word}")
    assert main.run(["run", "p", "-i", "d.npz", "-o", "o.npz"]) == 0
    assert capsys.readouterr().err == ""


def test_a_kernel_that_fails_is_not_told_as_a_package_whose_numbers_lie(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KERNELS, "AnalogProduct", fail)
    assert main.run(["run", "p", "-i", "d.npz", "-o", "o.npz"]) == 3
    message = capsys.readouterr().err
    assert message.startswith("error[P003]: node 'hidden1.dense': step ")
    assert "if the package is as joulec wrote it, this is a bug of joulec" in message


def test_names_of_files_that_are_no_text(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As on a disk from a machine with another encoding."""
    model, out = os.fsdecode(b"m\xff.onnx"), os.fsdecode(b"o\xff")
    (here / "m.onnx").rename(here / model)
    line = [
        "compile", model, "-t", "tile16", "-o", out, "--calibration-samples", "2", "--depfile", "d",
    ]  # fmt: skip
    assert main.run(line) == 0
    assert plan_package.read_package(out).plan.model.name == "m\\udcff"
    assert b"m\xff.onnx" in (here / "d").read_bytes()
    for command in (["check", out], ["run", out, "-i", "d.npz", "-o", out + ".npz"], line):
        assert main.run(command) == 0
    assert "is up to date" in capsys.readouterr().err


def test_a_file_for_each_weight(tmp_path: Path) -> None:
    """As some exporters write models of more than 2 GiB: more files than may usually be open at
    once.
    """
    handles = [os.dup(0) for _ in range(3)]  # the lowest that are free
    for handle in handles:
        os.close(handle)
    body = (
        "g (float[1,4] x) => (float[1,4] y) {y = Sum(x, "
        + ", ".join(f"w{i}" for i in range(60))
        + ")}"
    )
    weights: dict[str, Any] = {f"w{i}": np.full((1, 4), i, np.float32) for i in range(60)}
    made = model(body, **weights)
    onnx.save(
        made,
        tmp_path / "m.onnx",
        save_as_external_data=True,
        all_tensors_to_one_file=False,
        size_threshold=0,
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (handles[-1] + 40, limits[1]))
    try:
        assert main.run(["inspect", str(tmp_path / "m.onnx"), "-t", "tile16"]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_file_that_is_cut_short_while_it_is_read(tmp_path: Path) -> None:
    np.zeros(1 << 20, np.uint8).tofile(tmp_path / "w.bin")
    program = f"""
import os, sys
from compiler.cli.supervisor import run_supervised
from compiler.storage.mapped import hash_of, map_file
def read(arguments):
    data = map_file(os.open({str(tmp_path / "w.bin")!r}, os.O_RDONLY))
    os.truncate({str(tmp_path / "w.bin")!r}, 10)
    hash_of(data)
sys.exit(run_supervised(read, []))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (3, f"{CUT_SHORT.line()}\n")
