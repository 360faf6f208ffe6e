"""A compilation of the unchanged does nothing but say so; any change of what a package is made
from makes it again.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler.cli import main
from compiler.flow import up_to_date
from compiler.plan.canonical_json import parse_plan, sealed
from compiler.plan.schema import BuiltFrom

ROOT = Path(__file__).parents[2]
NOTE = "note: nothing has changed: package 'out' is up to date"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model that keeps a weight in a file of its own, data, a chip, and a
    package made of them.
    """
    model = onnx.load(ROOT / "models" / "dim20.onnx")
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.bin")
    shutil.copy(ROOT / "models" / "dim20_calibration.npz", tmp_path / "data.npz")
    shutil.copy(ROOT / "compiler" / "targets" / "tile16.toml", tmp_path / "chip.toml")
    monkeypatch.chdir(tmp_path)
    assert compiled() == 0
    os.utime(tmp_path / "out" / "plan.json", (1000, 1000))
    return tmp_path


def compiled(*more: str) -> int:
    return main.run(
        ["compile", "m.onnx", "-t", "chip.toml", "--data", "data.npz", "-o", "out", *more]
    )


def says_unchanged(capsys: pytest.CaptureFixture[str], *more: str) -> bool:
    capsys.readouterr()
    assert compiled(*more) == 0
    return NOTE in capsys.readouterr().err


def test_the_unchanged_is_not_made_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compiled("--force") == 0
    first = capsys.readouterr()
    os.utime(project / "out" / "plan.json", (1000, 1000))
    files = {path: path.read_bytes() for path in (project / "out").rglob("*") if path.is_file()}
    assert compiled("--depfile", "d") == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == f"{first.err}{NOTE}\n"
    assert {path: path.read_bytes() for path in files} == files
    assert (project / "out" / "plan.json").stat().st_mtime > 1000
    rule = (project / "d").read_text().split("\n\n")[0].replace(" \\\n ", "")
    assert rule == "out/plan.json: m.onnx w.bin data.npz chip.toml"


def test_times_and_places_do_not_count(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in project.iterdir():
        os.utime(path)
    (project / "moved").mkdir()
    for name in ("m.onnx", "w.bin", "data.npz", "chip.toml", "out"):
        (project / name).rename(project / "moved" / name)
    monkeypatch.chdir(project / "moved")
    assert says_unchanged(capsys, "--max-nodes", "100000", "--time-limit", "1000")


@pytest.mark.parametrize("more", [("--seed", "1"), ("--objective", "latency"), ("--bind", "N=1")])
def test_another_option_makes_it_again(
    project: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert not says_unchanged(capsys, *more)
    assert says_unchanged(capsys, *more)


@pytest.mark.parametrize("name", ["m.onnx", "w.bin", "data.npz", "chip.toml"])
def test_another_input_makes_it_again(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = project / name
    if name == "m.onnx":
        model = onnx.load(path, load_external_data=False)
        model.producer_name = "somebody else"
        path.write_bytes(model.SerializeToString())
    elif name == "w.bin":
        weights = np.frombuffer(path.read_bytes(), np.float32).copy()
        weights[0] += 1
        path.write_bytes(weights.tobytes())
    elif name == "data.npz":
        with np.load(path) as arrays:
            np.savez(path, **{key: arrays[key] * 2 for key in arrays.files})
    else:
        path.write_text(path.read_text() + "\n# a remark\n")
    assert not says_unchanged(capsys)
    assert says_unchanged(capsys)


def test_another_name_of_the_model_makes_it_again(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "m.onnx").rename(project / "n.onnx")
    assert main.run(
        ["compile", "n.onnx", "-t", "chip.toml", "--data", "data.npz", "-o", "out"]
    ) == 0  # fmt: skip
    assert NOTE not in capsys.readouterr().err


def test_another_joulec_makes_it_again(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up_to_date, "own_digest", lambda: "a" * 64)
    assert not says_unchanged(capsys)


def test_source_and_versions_make_another_joulec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in up_to_date.SOURCES[1:]:
        (tmp_path / name).mkdir()
    module = tmp_path / "compiler" / "a.py"
    module.write_text("")
    first = up_to_date.digest_of_compiler(tmp_path)
    (tmp_path / "compiler" / "b.txt").write_text("not source")
    assert up_to_date.digest_of_compiler(tmp_path) == first
    module.write_text("x = 1\n")
    second = up_to_date.digest_of_compiler(tmp_path)
    assert second != first
    monkeypatch.setattr(up_to_date, "version", lambda name: f"another {name}")
    assert up_to_date.digest_of_compiler(tmp_path) != second


@pytest.mark.parametrize("damage", ["payload", "plan", "no plan", "force", "graphs"])
def test_a_package_that_does_not_check_is_made_again(
    project: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    plan = project / "out" / "plan.json"
    more: tuple[str, ...] = ()
    if damage == "payload":
        path = next((project / "out").glob("weights.*"))
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    elif damage == "plan":
        plan.write_bytes(plan.read_bytes()[:-1])
    elif damage == "no plan":
        plan.unlink()
    elif damage == "force":
        more = ("--force",)
    else:
        more = ("--annotated", "a.onnx", "--dump-passes", "dump")
    assert not says_unchanged(capsys, *more)
    assert main.run(["check", "out"]) == 0
    assert says_unchanged(capsys)


def test_a_gate_holds_for_the_unchanged_too(project: Path) -> None:
    assert compiled("--max-energy-uj", "0.00001") == 5
    assert (project / "out" / "plan.json").stat().st_mtime == 1000


@pytest.mark.parametrize("name", ["../w.bin", "/etc/passwd", "", "pipe"])
def test_a_stranger_s_plan_opens_nothing_elsewhere(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    os.mkfifo(project / "pipe")
    path = project / "out" / "plan.json"
    plan = parse_plan(path.read_bytes())
    assert isinstance(plan.built_from, BuiltFrom)
    lie = plan.built_from.model_copy(update={"external": (name,)})
    path.write_bytes(sealed(plan.model_copy(update={"built_from": lie}))[1])
    assert not says_unchanged(capsys)


def test_no_path_and_no_clock_is_in_the_plan(project: Path) -> None:
    table = json.loads((project / "out" / "plan.json").read_text())
    assert table["built_from"]["external"] == ["w.bin"]
    assert str(project) not in (project / "out" / "plan.json").read_text()


def test_it_takes_little_more_than_what_it_imports(project: Path) -> None:
    """CPU time, as a ratio: a second is long on one machine and short on another."""

    def children_s() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def cpu_s(code: str, *line: str) -> tuple[float, str]:
        before = children_s()
        done = subprocess.run(
            [sys.executable, "-c", code, *line],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return children_s() - before, done.stderr

    imports = "import compiler.plan.schema, compiler.target.chip, compiler.cli.commands"
    least_s = min(cpu_s(imports)[0] for _ in range(2))
    line = ["compile", "m.onnx", "-t", "chip.toml", "--data", "data.npz", "-o", "out"]
    spent_s, errors = cpu_s("from compiler.cli.main import main; main()", *line)
    assert NOTE in errors
    assert spent_s < 2.5 * least_s


def test_a_lower_limit_holds_for_the_unchanged_too(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert says_unchanged(capsys, "--max-nodes", "2000000")
    assert compiled("--max-nodes", "1") == 3
    assert compiled("--max-tensor-bytes", "1") == 3
    assert "--max-tensor-bytes allows more" in capsys.readouterr().err
