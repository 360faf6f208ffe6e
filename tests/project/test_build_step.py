"""The build steps of docs/build-systems.md: what they depend on redoes them once, nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def block(language: str) -> str:
    """The code block of a language on the page."""
    found = re.search(
        rf"```{language}\n(.*?)```",
        (ROOT / "docs" / "build-systems.md").read_text("utf-8"),
        re.DOTALL,
    )
    assert found is not None
    return found.group(1)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a space in its name, a model and a chip file, as the page's examples
    expect them.
    """
    folder = tmp_path / "a project"
    folder.mkdir()
    shutil.copy(ROOT / "models" / "dim20.onnx", folder / "model.onnx")
    chip = resources.files("compiler") / "targets" / "tile16.toml"
    (folder / "chip.toml").write_bytes(chip.read_bytes())
    return folder


def call(*command: str, folder: Path) -> str:
    """What a build prints; it must succeed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rebuilds_once(build: Callable[[], str], chip: Path, ran: Callable[[str], bool]) -> None:
    """A first build runs the compiler, a second does not, and a touched chip file makes exactly
    one more run.
    """
    assert ran(build())
    assert not ran(build())
    plan = next(chip.parent.rglob("plan.json"))
    later = plan.stat().st_mtime + 5  # after the plan, however long the machine took to make it
    os.utime(chip, (later, later))
    assert ran(build())
    # The file system's clock may be coarser than the touch above.
    os.utime(plan, (later + 5, later + 5))
    assert not ran(build())


def test_make_rebuilds_when_the_chip_file_changes(project: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    (project / "Makefile").write_text(block("make"), "utf-8")
    rebuilds_once(
        lambda: call("make", folder=project),
        project / "chip.toml",
        lambda output: "compile model.onnx" in output,
    )


def test_cmake_rebuilds_when_the_chip_file_changes(project: Path) -> None:
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    (project / "CMakeLists.txt").write_text(block("cmake"), "utf-8")
    call("cmake", "-S", ".", "-B", "build", "-G", "Unix Makefiles", folder=project)
    rebuilds_once(
        lambda: call("cmake", "--build", "build", folder=project),
        project / "chip.toml",
        lambda output: "Generating" in output,
    )
