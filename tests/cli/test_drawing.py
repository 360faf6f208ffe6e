"""`joulec inspect --graph`: a drawing of the model, or one line on why there is none."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest

from compiler.cli import main
from tests.cli.test_names import ACTIVE, NODES, hostile

RESNET = Path(__file__).parents[2] / "models" / "digits_resnet.onnx"


def inspect(*words: object) -> int:
    return main.run(["inspect", *map(str, words)])


@pytest.mark.parametrize("name", ["out.svg", "out.dot"])
def test_equal_models_give_equal_bytes(tmp_path: Path, name: str) -> None:
    one, other = tmp_path / name, tmp_path / "new" / name
    assert inspect(RESNET, "-t", "diana", "--graph", one) == 0
    assert inspect(RESNET, "-t", "diana", "--graph", other, "--format", "json") == 0
    text = one.read_text(encoding="utf-8")
    assert text == other.read_text(encoding="utf-8")
    assert "block1.conv1" in text
    assert "analog: 14 nodes in 6 regions" in text
    assert [path.name for path in tmp_path.iterdir()] == sorted(["new", name])


def test_without_a_chip_nothing_is_coloured(tmp_path: Path) -> None:
    assert inspect(RESNET, "--graph", tmp_path / "out.svg") == 0
    root = ElementTree.fromstring((tmp_path / "out.svg").read_bytes())
    assert {part.get("fill") for part in root.findall(".//{*}rect")} == {"#ffffff"}


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert inspect(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    return err


def test_what_cannot_be_drawn_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("out.png", "out", "out.SVG.txt", ".svg", "/dev/null"):
        err = refused(capsys, RESNET, "--graph", tmp_path / name)
        assert err.startswith("error[U004]: --graph ")
        assert "ends in .svg or .dot" in err
    (tmp_path / "folder.svg").mkdir()
    assert "error[U007]" in refused(capsys, RESNET, "--graph", tmp_path / "folder.svg")
    model = tmp_path / "model.svg"
    model.write_bytes(RESNET.read_bytes())
    assert "is read, and would be written over" in refused(capsys, model, "--graph", model)
    assert model.read_bytes() == RESNET.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.svg", "model.svg"]


def test_nothing_is_written_of_a_broken_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"junk")
    (tmp_path / "old.svg").write_text("old", encoding="utf-8")
    assert inspect(tmp_path / "broken.onnx", "--graph", tmp_path / "new.svg") == 3
    assert inspect(tmp_path / "broken.onnx", "--graph", tmp_path / "old.svg") == 3
    assert inspect(RESNET, "-t", "none", "--graph", tmp_path / "old.svg") == 2
    assert (tmp_path / "old.svg").read_text(encoding="utf-8") == "old"
    assert sorted(os.listdir(tmp_path)) == ["broken.onnx", "old.svg"]


def test_names_of_strangers_are_drawn_and_do_nothing(tmp_path: Path) -> None:
    onnx.save(hostile(), tmp_path / "hostile.onnx")
    for name in ("out.svg", "out.dot"):
        assert inspect(tmp_path / "hostile.onnx", "-t", "tile16", "--graph", tmp_path / name) == 0
        assert not ACTIVE.search((tmp_path / name).read_text(encoding="utf-8"))
    root = ElementTree.fromstring((tmp_path / "out.svg").read_bytes())
    shown = ["".join(part.itertext()) for part in root.findall(".//{*}text")]
    for name in NODES:
        if name.isprintable():
            assert name in shown
    assert not root.findall(".//{*}script")
