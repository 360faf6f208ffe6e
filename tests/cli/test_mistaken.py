"""Arguments in each other's places: one line that says what stands there and what is wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from compiler.cli import main
from compiler.storage.mistaken import what_stands_at

ROOT = Path(__file__).parents[2]
KINDS = {
    "p": "a joulec package", "m.onnx": "an ONNX model", "c.toml": "a chip file",
    "d.npz": "an npz of arrays", "a.npy": "a numpy array (.npy)", "dir": "a folder",
    "empty": "an empty file",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of each kind, named as in KINDS."""
    folder = tmp_path_factory.mktemp("kinds")
    shutil.copy(ROOT / "models/dim20.onnx", folder / "m.onnx")
    shutil.copy(ROOT / "models/dim20_test.npz", folder / "d.npz")
    shutil.copy(ROOT / "compiler/targets/tile16.toml", folder / "c.toml")
    np.save(folder / "a.npy", np.ones((2, 64), np.float32))
    (folder / "dir").mkdir()
    (folder / "empty").touch()
    line = ["compile", str(folder / "m.onnx"), "-t", "tile16", "-o", str(folder / "p")]
    assert main.run([*line, "--calibration-samples", "2"]) == 0
    return folder


def test_each_kind_is_told(place: Path) -> None:
    assert {name: what_stands_at(place / name) for name in KINDS} == KINDS


# A command, what it takes there, and what of KINDS that is.
COMMANDS = [
    ("inspect {}", "m.onnx"),
    ("compile {} -t tile16 -o out", "m.onnx"),
    ("verify {} p", "m.onnx"),
    ("evaluate p --data d.npz --model {}", "m.onnx"),
    ("compile m.onnx -t {} -o out", "c.toml"),
    ("targets check {}", "c.toml"),
    ("run p -i {} -o out", "d.npz"),
    ("evaluate p --data {}", "d.npz"),
    ("compile m.onnx -t tile16 -o out --data {}", "d.npz"),
    ("compile m.onnx -t tile16 -o out --calibration {}", ""),
    ("check {}", "p"),
    ("compare p {}", "p"),
    ("validate {}", ""),
    ("targets import {}", ""),
]


@pytest.mark.parametrize(("command", "fitting"), COMMANDS)
def test_what_stands_there_is_named(
    command: str,
    fitting: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    for name in [*KINDS, "none.toml"]:
        if name == fitting:
            continue
        capsys.readouterr()
        status = main.run(command.format(name).split())
        lines = [line for line in capsys.readouterr().err.splitlines() if "warning" not in line]
        assert len(lines) == 1, lines
        assert lines[0].startswith("error[")
        assert status in (2, 3)
        if name == "none.toml":
            assert any(word in lines[0] for word in ("does not exist", "no file", "no folder"))
        elif name in ("dir", "empty"):
            assert any(word in lines[0] for word in ("folder", "empty"))
        else:
            assert f"{name!r} is {KINDS[name]}, wanted is " in lines[0]
            assert "were two arguments swapped?" in lines[0]
    assert not (place / "out").exists()
