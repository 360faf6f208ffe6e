"""Every failure of ours leaves one line, and a folder that runs it again on copies of what was
handed in.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from _pytest.mark import ParameterSet

from compiler.cli import main, reproducer
from tests.support.broken_joulec import broken

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
DIM20, TEST_DATA = MODELS / "dim20.onnx", MODELS / "dim20_test.npz"
COMPILE = (
    "compile", "in/m.onnx", "--target=in/my chip.toml", "-oout 1", "--data", str(TEST_DATA),
    "--calibration-samples", "4",
)  # fmt: skip


def slow(*case: object) -> ParameterSet:
    """A case that the usual run leaves out."""
    return pytest.param(*case, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with external data, a chip file with a blank in its name, and a package."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "in" / "data").mkdir(parents=True)
    model = onnx.load(DIM20)
    onnx.save(
        model,
        folder / "in" / "m.onnx",
        save_as_external_data=True,
        location="data/w.bin",
        size_threshold=0,
    )
    shutil.copy(ROOT / "compiler/targets/tile16.toml", folder / "in" / "my chip.toml")
    line = [
        "compile", str(DIM20), "-t", "tile16", "-o", str(folder / "p"), "--calibration-samples",
        "4",
    ]  # fmt: skip
    assert main.run(line) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same in the folder that the test runs in."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fails(line: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that reports a bug."""
    capsys.readouterr()
    assert main.run(line) == 1
    err = capsys.readouterr().err
    message = [text for text in err.splitlines() if not text.startswith("warning[")]
    assert len(message) == 1, err
    assert message[0].startswith("error[X001]: ")
    return message[0]


@pytest.mark.parametrize(
    ("function", "line", "copied"),
    [
        ("backends.hybrid lower", COMPILE, 4),
        (
            "backends.simulate Simulator.run_values",
            ("run", "p", "-i", str(TEST_DATA), "-o", "o.npz"), 5,
        ),
        ("compiler.target.chip parse_target", ("targets", "check", "in/my chip.toml"), 1),
        slow("compiler.execute.interpreter Interpreter.run", COMPILE, 4),
        slow("backends.reports.explain explain", ("explain", "p", "hidden1.dense"), 4),
        slow("compiler.flow.inspect_model inspect_model", ("inspect", "in/m.onnx", "-tdiana"), 2),
    ],
)  # fmt: skip
def test_a_failure_is_run_again_by_its_reproducer(
    function: str,
    line: tuple[str, ...],
    copied: int,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module, name = function.split()
    before = set(here.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(*broken(module, name))
        message = fails(line, capsys)
    assert "Error: nothing is left; this is a bug of joulec: please report" in message
    folder = here / "reproducer"
    assert set(here.iterdir()) - before == {folder}
    files = [path for path in (folder / "files").rglob("*") if path.is_file()]
    assert len(files) == copied, files
    assert str(here) not in (folder / "joulec-reproducer.txt").read_text()
    assert "onnxruntime" in (folder / "versions.txt").read_text()
    assert 'raise ZeroDivisionError("nothing is left")' in (folder / "traceback.txt").read_text()
    for name_of_input in ("in", "p"):  # the copies are enough
        shutil.rmtree(name_of_input)
    elsewhere = folder.rename(here / "handed on")
    joulec = f"{sys.executable} -m tests.support.broken_joulec {function}"
    ran = subprocess.run(
        ["sh", str(elsewhere / "replay.sh")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JOULEC": joulec},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert "Error: nothing is left; this is a bug of joulec" in ran.stderr


def test_a_pass_that_fails_leaves_its_graph(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(*broken("passes.pad_to_tiles", "PadToTiles.__call__"))
    for _ in range(2):  # the second goes over the first
        assert "pass 18 PadToTiles(): ZeroDivisionError" in fails(COMPILE, capsys)
    folder = here / "reproducer"
    assert "PadToTiles()" in (folder / "joulec-reproducer.txt").read_text()
    assert "AnalogProduct" in (folder / "graph.txt").read_text()
    assert {path.name for path in (folder / "files").iterdir()} == {"1", "2", "3", "4"}


def test_a_reproducer_spares_the_work_of_others(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "thesis.txt").write_text("mine")
    (here / "reproducer").mkdir()
    (here / "reproducer" / "thesis.txt").write_text("mine")
    monkeypatch.setattr(*broken("compiler.target.chip", "load_target"))
    monkeypatch.setattr("tempfile.tempdir", str(here))
    assert "joulec-reproducer-" in fails(("targets", "show", "diana"), capsys)
    assert [path.name for path in (here / "reproducer").iterdir()] == ["thesis.txt"]
    for name in (
        "joulec-reproducer.txt",
        "versions.txt",
    ):  # as if it were ours, to write through it
        (here / "reproducer" / name).symlink_to(here / "thesis.txt")
    fails(("targets", "show", "diana"), capsys)
    assert (here / "thesis.txt").read_text() == "mine"


def test_large_files_and_what_links_lead_to_are_not_copied(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproducer, "MOST_BYTES", 100)
    monkeypatch.setattr(*broken("compiler.plan.package", "read_package"))
    fails(("check", "p"), capsys)
    folder = here / "reproducer"
    assert not (folder / "files").exists()
    assert (
        f"Too large to be copied: {here / 'p'} (" in (folder / "joulec-reproducer.txt").read_text()
    )
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setattr(*broken("compiler.plan.package", "read_package"))
    (here / "secret").write_text("secret")
    weights = next((here / "p").glob("weights.*"))
    weights.unlink()
    weights.symlink_to(here / "secret")
    fails(("check", "p"), capsys)
    assert not any((folder / "files").rglob("weights.*"))


def test_a_reproducer_that_cannot_be_written_is_no_second_failure(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*broken("compiler.target.chip", "load_target"))
    monkeypatch.setattr("pathlib.Path.write_text", full)
    message = fails(("targets", "show", "diana"), capsys)
    assert message.endswith("no reproducer could be written (No space left on device)")


def test_a_library_that_is_missing_is_no_bug(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.delitem(sys.modules, "compiler.target.chip", raising=False)
    assert main.run(["targets", "check", "c.toml"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error[U008]: the installation is broken: import of tomllib halted")
