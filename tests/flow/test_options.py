"""An option is declared once: its flag, its check and its part in the key of a plan follow."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from compiler.cli.commands import app
from compiler.cli.flags import with_flags
from compiler.cli.limits import DEFAULT_LIMITS, Limits
from compiler.errors import CompileError
from compiler.flow.declare import STAGES, declarations, flag, option, read_by
from compiler.flow.options import Options, check_options
from compiler.flow.up_to_date import built_from

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class More(Options):
    """The options, and one that is declared here and nowhere else."""

    patience: int = option(
        3,
        metavar="TURNS",
        help="How long the compiler tries.",
        fault=lambda turns: "wanted 1 or more" if turns < 1 else "",
        stage="place",
    )


def run(*words: str) -> tuple[list[More], Any]:
    """What a command that takes the options is called with, and what it printed."""
    called: list[More] = []
    small = typer.Typer(rich_markup_mode=None)

    def command(options: More = More(), limits: Limits = DEFAULT_LIMITS) -> None:
        called.append(options)

    # The annotations are texts, and a command is looked up in its module.
    command.__annotations__ = {"options": More, "limits": Limits, "return": None}
    small.command()(with_flags(command))
    return called, CliRunner().invoke(small, list(words))


def test_one_declaration_gives_field_flag_check_and_key() -> None:
    assert vars(More())["patience"] == 3
    called, ran = run("--patience", "7", "--bind", "N=1", "--data", "x.npz", "--max-memory", "5")
    assert ran.exit_code == 0, ran.output
    assert called == [More(patience=7, bind={"N": 1}, data=Path("x.npz"))]
    called, ran = run()
    assert called == [More()]
    shown = " ".join(run("--help")[1].output.split())
    assert "--patience TURNS" in shown
    assert "How long the compiler tries." in shown
    assert "[default: 3]" in shown
    with pytest.raises(CompileError) as refused:
        check_options(More(patience=0))
    assert refused.value.line() == "error[U004]: --patience 0: wanted 1 or more"
    wrong: Any = "long"
    with pytest.raises(CompileError, match="option patience is 'long': wanted is a valid integer"):
        check_options(More(patience=wrong))
    keys = {built_from((ROOT / "m.onnx",), one).options for one in (More(), More(patience=4))}
    assert len(keys) == 2
    assert "patience" not in read_by("calibrate", More)
    assert "patience" in read_by("place", More)


def test_every_option_has_its_flag_with_its_words() -> None:
    command = typer.main.get_command(app).commands["compile"]  # type: ignore[attr-defined]
    flags = {name: parameter for parameter in command.params for name in parameter.opts}
    for table in (Options, Limits):
        for name, declared in declarations(table).items():
            parameter = flags[flag(name)]
            assert parameter.help == declared.help, name
            default = None if declared.parse is not None else getattr(table(), name)
            assert parameter.default == default, name


def test_the_fields_their_order_and_their_defaults() -> None:
    assert vars(Options()) == {
        "bind": {},
        "data": None,
        "calibration": None,
        "calibration_samples": 128,
        "seed": 0,
        "prune": 0.0,
        "prune_method": "second-order",
        "objective": "energy",
        "max_divergence": None,
        "weights": "auto",
        "place": (),
        "max_nodes": 1_000_000,
        "max_tensor_bytes": 8 << 30,
        "precision": "integer",
    }
    assert list(vars(Options())) == [one.name for one in fields(Options)]
    assert Options().bind is not Options().bind
    assert all(declared.stage in STAGES for declared in declarations(Options).values())


def test_what_changes_no_plan_is_not_in_the_key(tmp_path: Path) -> None:
    model = (ROOT / "m.onnx",)
    file = tmp_path / "file"
    file.write_bytes(b"1")
    plain = built_from(model, Options())
    assert built_from(model, Options(max_nodes=5, max_tensor_bytes=5)) == plain
    with_data = built_from(model, Options(data=file))
    assert with_data.options == plain.options
    assert (with_data.data != "", plain.data) == (True, "")
    saved = Options(calibration=file)
    first = built_from(model, saved).options
    assert first != plain.options
    file.write_bytes(b"2")
    assert built_from(model, saved).options != first
    (tmp_path / "moved").write_bytes(b"1")
    assert built_from(model, Options(calibration=tmp_path / "moved")).options == first


@pytest.mark.parametrize("name", [name for name in vars(Options()) if name[:4] != "max_"])
def test_every_other_option_is_in_the_key(name: str, tmp_path: Path) -> None:
    other: dict[str, Any] = {
        "bind": {"N": 2},
        "data": tmp_path / "file",
        "calibration": tmp_path / "file",
        "calibration_samples": 5,
        "seed": 5,
        "prune": 0.5,
        "prune_method": "magnitude",
        "objective": "edp",
        "weights": "reload",
        "place": (("*", "host"),),
        "precision": "float",
    }
    (tmp_path / "file").write_bytes(b"1")
    changed = replace(Options(), **{name: other[name]})
    assert built_from((ROOT / "m.onnx",), changed) != built_from((ROOT / "m.onnx",), Options())


def test_declaring_options_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "import compiler.flow.options, compiler.cli.flags, compiler.flow.compiled, joulec\n"
        "print(*{'numpy', 'onnx', 'onnxruntime', 'pydantic', 'highspy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
