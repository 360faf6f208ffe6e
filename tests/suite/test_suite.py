"""A folder of models: each gets a verdict, whatever becomes of it, and none is tried twice."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

from compiler.cli.commands import execute
from compiler.errors import UsageError
from compiler.flow.options import Options
from compiler.suite import processes
from compiler.suite.processes import Died, run_each
from compiler.suite.results import Results, counts, junit
from compiler.suite.trial import KINDS, Trial, Verdict
from compiler.target.chip import load_target

MODELS = {
    "dense.onnx": """
        dense (float[1, 4] x) => (float[1, 3] y)
            <float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}>
        { y = MatMul(x, w) }""",
    "more/relu.onnx": "relu (float[1, 4] x) => (float[1, 4] y) { y = Relu(x) }",
    "strange.onnx": "strange (float[1, 4] x) => (float[1, 4] y) { y = Strange(x) }",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in MODELS.items():
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
        path.write_bytes(model.SerializeToString())
    (tmp_path / "models" / "broken.onnx").write_bytes(b"\x08\x07 and no more")
    return tmp_path / "models"


def trial(path: Path, tolerance: float = 0.1) -> Trial:
    return Trial(
        name=path.name,
        path=path,
        target=load_target("diana_digital"),
        options=Options(precision="float"),
        samples=2,
        tolerance=tolerance,
        max_memory_bytes=None,
        time_limit_s=60.0,
    )


def test_a_folder_gets_a_verdict_for_each_model(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results, report = tmp_path / "out" / "results.jsonl", tmp_path / "suite.xml"
    line = ["suite", str(folder), "-t", "diana_digital", "--precision", "float"]
    line += ["--results", str(results), "--junit", str(report), "--format", "json"]
    assert execute(line) == 0
    table = json.loads(capsys.readouterr().out)
    found = {row["model"]: (row["kind"], row["code"]) for row in table["models"]}
    assert found == {
        "broken.onnx": ("refused", "M001"),
        "dense.onnx": ("exact", ""),
        "more/relu.onnx": ("exact", ""),
        "strange.onnx": ("refused", found["strange.onnx"][1]),
    }
    assert table["counts"]["exact"] == table["counts"]["refused"] == 2
    suite = ElementTree.fromstring(report.read_bytes())
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("4", "2", "0")

    before = results.read_bytes()
    results.write_bytes(before[:-20])  # as where it was stopped: one is tried again
    assert execute(line) == 0
    again = json.loads(capsys.readouterr().out)
    for row in (*table["models"], *again["models"]):
        del row["cpu_s"]
    assert again == table
    assert results.read_bytes().count(b"\n") == 4
    assert execute(line[:-2]) == 0
    assert "exact               2  50.0 %  its outputs equal" in capsys.readouterr().out


def test_a_wrong_output_is_a_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In integers a product is not exact, and no tolerance is left for that."""
    np.savez(folder / "dense.npz", x=np.random.default_rng(0).normal(size=(8, 4)).astype("f4"))
    line = ["suite", str(folder), "-t", "diana_digital", "--match", "dense.*x", "--tolerance", "0"]
    assert execute(line) == 5
    shown = capsys.readouterr()
    assert "dense.onnx: G002 output 'y' has a divergence of " in shown.out
    assert shown.err == "error[G003]: of 1 models 1 wrong\n"


def test_a_bug_is_a_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("compiler.driver.compile_model", fails)
    found = trial(folder / "dense.onnx").run()
    assert (found.kind, found.code, found.message) == ("crashed", "X001", "KeyError: 'lost'")


def test_what_nobody_judges_is_no_failure(folder: Path) -> None:
    """The second sample asks for an axis that is not there."""
    text = "sums (float[2, 3] x, int64 k) => (float[2, 3] y) { y = CumSum(x, k) }"
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {text}')
    onnx.save(model, folder / "sums.onnx")
    np.savez(folder / "sums.npz", x=np.zeros((4, 2, 3), "f4"), k=np.array([0, 5, 5, 5]))
    found = trial(folder / "sums.onnx").run()
    assert (found.kind, found.code) == ("unjudged", "M002")


def _square(number: int) -> int:
    if number == 1:
        os.abort()
    if number == 2:
        time.sleep(60)
    return number * number


def test_a_process_that_dies_or_hangs_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = dict(run_each(_square, [0, 1, 3], jobs=2, time_limit_s=600.0))
    assert found == {0: 0, 1: Died("its process was ended by SIGABRT"), 2: 9}
    monkeypatch.setattr(processes, "GRACE_S", 0.5)
    found = dict(run_each(_square, [2], jobs=2, time_limit_s=0.0))
    assert found == {0: Died("it did not come back in time")}


def test_what_a_verdict_depends_on(folder: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    one = trial(folder / "dense.onnx")
    results.add(one, Verdict(model=one.name, kind="exact"))
    again = Results(tmp_path / "results.jsonl")
    assert again.known(one) == Verdict(model="dense.onnx", kind="exact")
    assert again.known(trial(folder / "dense.onnx", tolerance=0.2)) is None
    np.savez(folder / "dense.npz", x=np.zeros((1, 4), "f4"))
    assert again.known(one) is None


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"key": "a"}', '{"key": "a", "what": 1}'])
def test_a_file_that_holds_something_else_is_left_alone(tmp_path: Path, line: str) -> None:
    file = tmp_path / "results.jsonl"
    file.write_text(f"{line}\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"line 1 of .* is no verdict of a suite"):
        Results(file)


def test_folders_without_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert execute(["suite", str(path), "-t", "diana"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "there is no file '*.onnx' in " in first
    assert "does not exist; wanted is a folder of ONNX files" in second


def test_junit_tells_every_kind() -> None:
    verdicts = [Verdict(model=f"{kind}.onnx", kind=kind, message="why") for kind in KINDS]
    suite = ElementTree.fromstring(junit(verdicts, "diana"))
    told = {case.get("name"): [element.tag for element in case] for case in suite}
    assert told == {
        "exact.onnx": [],
        "within budget.onnx": [],
        "unjudged.onnx": ["skipped"],
        "refused.onnx": ["skipped"],
        "wrong.onnx": ["failure"],
        "crashed.onnx": ["error"],
    }
    assert counts(verdicts) == dict.fromkeys(KINDS, 1)
