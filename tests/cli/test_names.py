"""Names from a model never act: not as a path, in a shell, in a terminal, in HTML, in a
spreadsheet or in make.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler.cli import main
from compiler.plan.package import read_package

INPUT, OUTPUT, GRAPH = "../../x", "../../y", "../../graph <script>"
NODES = [
    "=1+1", "+cmd|' /C calc'!A0", "@SUM(1)", "-2", "\t=3", "<script>alert(1)</script>", "a\nb",
    "$(touch pwned)", "`touch pwned`", '"; touch pwned; "', "\x1b[31mred\x1b[0m", "| a | b |",
    "../../../etc/passwd", "[x](javascript:alert(1))", "\u202egnp.exe",
]  # fmt: skip
ACTIVE = re.compile(r"[^\n\x20-\x7e\xa0-\u200f\u2010-\u2027\u2030-\uffff]|\u202e")


def hostile() -> onnx.ModelProto:
    """A chain of products and host work under such names, each value named as its node."""
    nodes, weights, last = [], [], INPUT
    for index, name in enumerate(NODES):
        value = f"{name} out" if index < len(NODES) - 1 else OUTPUT
        if index % 3 == 0:
            weight = f"{name} weight"
            data = np.random.default_rng(index).standard_normal((8, 8)).astype(np.float32) / 3
            weights.append(numpy_helper.from_array(data, weight))
            node = helper.make_node("MatMul", [last, weight], [value], name)
        else:
            node = helper.make_node("Relu" if index % 3 == 1 else "Sin", [last], [value], name)
        node.doc_string = "<script>alert(2)</script>"
        trace = f'File "{name}.py", line 3'
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
        nodes.append(node)
        last = value
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["$(batch)\n", 8])
        for name in (INPUT, OUTPUT)
    ]
    graph = helper.make_graph(nodes, GRAPH, ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder three levels down, with the model and a package of it."""
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    onnx.save(hostile(), folder / "$(touch pwned) =1.onnx")
    assert main.run(
        ["compile", "$(touch pwned) =1.onnx", "-t", "tile16", "-o", "out", "--dump-passes", "dump",
         "--annotated", "annotated.onnx", "--depfile", "d"]
    ) == 0  # fmt: skip
    return folder


def said(capsys: pytest.CaptureFixture[str], *line: str) -> str:
    capsys.readouterr()
    assert main.run(line) == 0
    out, err = capsys.readouterr()
    assert not ACTIVE.search(out + err)
    return out


def test_files_bear_our_names_alone(place: Path) -> None:
    assert main.run(["check", "out"]) == 0
    inside = "$(touch pwned) =1.onnx", "annotated.onnx", "d", "dump", "out"
    assert sorted(path.name for path in place.iterdir()) == sorted(inside)
    assert [path.name for path in (place / "../..").resolve().iterdir()] == ["b"]
    for path in (place / "dump").iterdir():
        assert re.fullmatch(r"\d\d-[a-z_]+\.(txt|onnx)", path.name)
        if path.suffix == ".txt":
            assert not ACTIVE.search(path.read_text())
    files = read_package(place / "out").plan.files
    assert all(re.fullmatch(r"(weights|host)[./][0-9a-f]{16}\.(bin|onnx)", name) for name in files)


def test_reports(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "report", "out", "--all")
    page = said(capsys, "report", "out", "--all", "--format", "markdown")
    assert "<" not in page
    assert not re.search(r"(?<!\\)\]\(", page)
    tables = [part for part in page.split("\n\n") if part.startswith("|")]
    assert tables
    for table in tables:  # no name adds a column
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    rows = list(csv.reader(io.StringIO(said(capsys, "report", "out", "--format", "csv"))))
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+@\t\r")]
    assert not [cell for row in rows for cell in row if re.match(r"-\D|-2$", cell)]
    assert json.loads(said(capsys, "report", "out", "--format", "json"))
    assert json.loads(said(capsys, "inspect", "$(touch pwned) =1.onnx", "--format", "json"))
    said(capsys, "inspect", "$(touch pwned) =1.onnx")
    said(capsys, "compare", "out", "out")
    said(capsys, "verify", "$(touch pwned) =1.onnx", "out", "--tolerance", "inf")


def test_explain(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for node in NODES:
        if not node.startswith(("-", "+")):
            assert said(capsys, "explain", "out", node)
            assert json.loads(said(capsys, "explain", "out", node, "--format", "json"))
    assert main.run(["explain", "out", "a\nc\x1b[2J"]) == 2
    assert not ACTIVE.search(capsys.readouterr().err)


def test_depfile(place: Path) -> None:
    _, first, model, *_ = (place / "d").read_text().splitlines()
    assert "=" not in first  # or make would read the rule as an assignment
    assert model == "  $$(touch\\ pwned)\\ =1.onnx"
    os.rename("$(touch pwned) =1.onnx", "a\nall: pwned.onnx")
    line = ["compile", "a\nall: pwned.onnx", "-t", "tile16", "-o", "new", "--depfile", "e"]
    assert main.run(line) == 2
    assert not (place / "e").exists()
    assert not (place / "new").exists()


def test_arrays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays: Any = {INPUT: np.ones((2, 8), np.float32)}
    np.savez(place / "in.npz", **arrays)
    said(capsys, "run", "out", "-i", "in.npz", "-o", "o.npz")
    with zipfile.ZipFile(place / "o.npz") as archive:
        assert archive.namelist() == ["%2E%2E/%2E%2E/y.npy"]
    with np.load(place / "o.npz") as made:
        assert made["%2E%2E/%2E%2E/y"].shape == (2, 8)
