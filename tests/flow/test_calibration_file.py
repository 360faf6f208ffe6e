"""A saved calibration gives the plan that measuring again would give, and is refused where it is
of something else or broken.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler.cli import main
from compiler.driver import calibrate_model, compile_model
from compiler.errors import CompileError
from compiler.flow import calibration_file
from compiler.flow.calibration_file import load_calibration
from compiler.flow.options import Options
from compiler.plan.schema import Plan
from compiler.target.chip import load_target

MODELS = Path(__file__).parents[2] / "models"
DIM20, DATA = MODELS / "dim20.onnx", MODELS / "dim20_calibration.npz"
RESNET, RESNET_DATA = MODELS / "digits_resnet.onnx", MODELS / "digits_calibration.npz"
TILE16 = load_target("tile16")
OPTIONS = Options(data=DATA, calibration_samples=8)
SAVED = "c.calibration"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(options: Options = OPTIONS, model: Path = DIM20) -> None:
    calibrate_model(model, TILE16, options).save(SAVED)


def refused(call: Callable[[], object]) -> CompileError:
    with pytest.raises(CompileError) as raised:
        call()
    line = raised.value.line()
    assert "\n" not in line
    return raised.value


def without_key(plan: Plan) -> Plan:
    """A plan but for its own hash and that of the options."""
    assert plan.built_from is not None
    built = plan.built_from.model_copy(update={"options": "0" * 64})
    return plan.model_copy(update={"hash": "", "built_from": built})


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (DIM20, OPTIONS),
        (DIM20, Options(seed=4)),
        (DIM20, replace(OPTIONS, prune=0.3)),
        pytest.param(
            RESNET,
            Options(data=RESNET_DATA, calibration_samples=4),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["given samples", "made-up samples", "pruned", "a network"],
)
def test_the_plan_is_that_of_measuring_again(model: Path, options: Options) -> None:
    save(options, model)
    saved = replace(options, calibration=SAVED)
    measured = compile_model(model, TILE16, options)
    recalled = compile_model(model, TILE16, saved)
    assert without_key(recalled.plan) == without_key(measured.plan)
    assert recalled.plan.files == measured.plan.files
    assert recalled.diagnostics == measured.diagnostics
    assert {*recalled.files} == {*measured.files, Path(SAVED)}


def test_a_model_of_scores_and_labels_is_saved_too(here: Path) -> None:
    model = onnx.load(DIM20)
    [scores] = model.graph.output
    model.graph.node.append(onnx.helper.make_node("ArgMax", [scores.name], ["label"], axis=1))
    label = onnx.helper.make_tensor_value_info("label", onnx.TensorProto.INT64, None)
    model.graph.output.append(label)
    onnx.save(model, here / "m.onnx")
    save(OPTIONS, here / "m.onnx")
    found = load_calibration(SAVED).measured
    assert found.kind == "labels, relative squared error"
    again = calibrate_model(here / "m.onnx", TILE16, replace(OPTIONS, calibration=SAVED))
    assert again.graph.calibration is not None
    assert again.graph.calibration.kind == found.kind


def test_what_is_saved_comes_back_to_the_last_bit() -> None:
    calibrated = calibrate_model(RESNET, TILE16, Options(data=RESNET_DATA, calibration_samples=4))
    calibrated.save(SAVED)
    again = replace(calibrated.options, calibration=SAVED)
    found = calibrate_model(RESNET, TILE16, again).graph.calibration
    assert found is not None
    assert calibrated.graph.calibration is not None
    assert found == calibrated.graph.calibration
    for one, other in (
        (found.ranges, calibrated.graph.calibration.ranges),
        (found.divergence, calibrated.graph.calibration.divergence),
        (found.rounding, calibrated.graph.calibration.rounding),
    ):
        assert list(one) == list(other), "sums are rounded in the order of the graph"
    assert Path(SAVED).read_bytes() == calibrated.saved()


def test_a_recalled_calibration_serves_many_budgets() -> None:
    save()
    options = replace(OPTIONS, calibration=SAVED)
    calibrated = calibrate_model(DIM20, TILE16, options)
    for budget in (0.0001, 0.1):
        made = calibrated.compile(replace(options, max_divergence=budget))
        plain = replace(OPTIONS, max_divergence=budget)
        assert without_key(made.plan) == without_key(compile_model(DIM20, TILE16, plain).plan)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prune": 0.5}, "it is of --prune 0.0, here is 0.5"),
        ({"seed": 1}, "it is of --seed 0, here is 1"),
        ({"bind": {"N": 1}}, 'it is of --bind {}, here is {"N": 1}'),
        ({"calibration_samples": 4}, "it is of --calibration-samples 8, here is 4"),
        ({"prune_method": "magnitude"}, 'it is of --prune-method "second-order", here is '
         '"magnitude"'),
        ({"data": None}, "it was measured on other samples"),
    ],
    ids=str,
)  # fmt: skip
def test_other_options_are_refused(options: dict[str, Any], words: str) -> None:
    save()
    error = refused(
        lambda: compile_model(DIM20, TILE16, replace(OPTIONS, calibration=SAVED, **options))
    )
    assert (error.code, error.exit_status) == ("U009", 2)
    assert error.message == f"calibration file {SAVED!r} does not hold here: {words}"


def test_other_samples_model_chip_and_compiler_are_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save()
    options = replace(OPTIONS, calibration=SAVED)
    with np.load(DATA) as arrays:
        np.savez(here / "other.npz", **{name: arrays[name] * 2 for name in arrays.files})
    model = onnx.load(DIM20)
    model.producer_name = "somebody else"
    (here / "m.onnx").write_bytes(model.SerializeToString())
    other = replace(options, data=here / "other.npz")
    words = {
        "other samples": lambda: compile_model(DIM20, TILE16, other),
        "it is of the model of sha256": lambda: compile_model(here / "m.onnx", TILE16, options),
        "its chip had other formats: ": lambda: compile_model(DIM20, load_target("diana"), options),
    }
    for reason, call in words.items():
        error = refused(call)
        assert (error.code, reason in error.message) == ("U009", True), error.message
    monkeypatch.setattr(calibration_file, "own_digest", lambda: "a" * 64)
    error = refused(lambda: compile_model(DIM20, TILE16, options))
    assert "another joulec" in error.message


def test_a_graph_that_came_out_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when pruning gave other weights on another processor."""
    save()
    monkeypatch.setattr(calibration_file, "_graph_digest", lambda _: "b" * 64)
    error = refused(lambda: compile_model(DIM20, TILE16, replace(OPTIONS, calibration=SAVED)))
    assert (error.code, "once it is prepared" in error.message) == ("U009", True)


def test_floats_have_no_calibration() -> None:
    options = Options(precision="float", calibration=SAVED)
    assert refused(lambda: compile_model(DIM20, TILE16, options)).code == "U004"
    error = refused(lambda: compile_model(DIM20, TILE16, Options(calibration=5)))  # type: ignore[arg-type]
    assert error.line().startswith("error[U004]: option calibration is 5: wanted is")


# A file from anyone


def sealed(table: dict[str, Any]) -> bytes:
    """A file whose own hash holds, whatever is in it."""
    blank = (json.dumps(table | {"hash": ""}) + "\n").encode()
    return (json.dumps(table | {"hash": hashlib.sha256(blank).hexdigest()}) + "\n").encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\xff",
        b"{}",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 10_000,
        b'{"schema": "joulec.calibration/2"}',
    ],
    ids=range(9),
)
def test_junk_is_refused(data: bytes) -> None:
    Path(SAVED).write_bytes(data)
    error = refused(lambda: load_calibration(SAVED))
    assert (error.code, error.exit_status) == ("M009", 3)
    assert error.message.startswith(f"calibration file {SAVED!r} is no calibration: ")


def test_no_file_no_pipe_and_no_giant(monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe")
    Path("folder").mkdir()
    for name in ("nowhere", "pipe", "folder", "a\0b"):
        assert refused(lambda name=name: load_calibration(name)).code == "U001"  # type: ignore[misc]
    save()
    monkeypatch.setattr(calibration_file, "MAX_FILE_BYTES", 100)
    assert "larger than 100 bytes" in refused(lambda: load_calibration(SAVED)).message


def test_every_flipped_byte_is_seen() -> None:
    save()
    data = Path(SAVED).read_bytes()
    pick = random.Random(0)
    for _ in range(200):
        place = pick.randrange(len(data) - 1)
        broken = data[:place] + bytes([data[place] ^ 1 << pick.randrange(7)]) + data[place + 1 :]
        Path(SAVED).write_bytes(broken)
        assert refused(lambda: load_calibration(SAVED)).code == "M009"


def edited(change: Callable[[dict[str, Any]], object]) -> None:
    """The saved file with something else in it, under a hash that holds."""
    table = json.loads(Path(SAVED).read_bytes())
    change(table["measured"])
    Path(SAVED).write_bytes(sealed(table))


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found["ranges"].update({"nobody": [0.0, 1.0]}),
        lambda found: found["divergence"].update({"nobody": {"int8": 0.0}}),
        lambda found: found["rounding"].update({"nobody": 0.0}),
        lambda found: found["ranges"].update({"image": [0.0, float("nan")]}),
        lambda found: found["ranges"].update({"image": [0.0, float("inf")]}),
        lambda found: found["ranges"].update({"image": [1.0]}),
        lambda found: found["ranges"].update({"image": [2.0, -1.0]}),
        lambda found: found["rounding"].update({"image": float("nan")}),
        lambda found: found["rounding"].update({"image": -5.0}),
        lambda found: found["rounding"].update({"image": "0.1"}),
        lambda found: found.update(estimated=-1),
        lambda found: found.update(kind="nonsense"),
        lambda found: found.update(inputs_hash="../../etc/passwd"),
        lambda found: found.update(more=1),
    ],
    ids=range(14),
)  # fmt: skip
def test_nonsense_under_a_hash_that_holds_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    save()
    edited(change)
    error = refused(lambda: compile_model(DIM20, TILE16, replace(OPTIONS, calibration=SAVED)))
    assert (error.code, error.exit_status) == ("M009", 3)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of numbers beyond any sense
def test_entries_that_lack_or_lie_crash_nothing() -> None:
    """The worst that a forged file does is a worse plan, or a refusal."""
    options = Options(data=RESNET_DATA, calibration_samples=2)
    save(options, RESNET)
    whole = Path(SAVED).read_bytes()
    pick = random.Random(1)
    for _ in range(12):
        Path(SAVED).write_bytes(whole)

        def change(found: dict[str, Any]) -> None:
            for part in ("ranges", "divergence", "rounding"):
                for name in list(found[part]):
                    if pick.random() < 0.3:
                        del found[part][name]
            for name, formats in found["divergence"].items():
                if pick.random() < 0.3:
                    number = pick.choice([0.0, 1e300, float("inf"), 1e-300])
                    found["divergence"][name] = dict.fromkeys(formats, number)
            for name in found["ranges"]:
                if pick.random() < 0.2:
                    ends = pick.choice([[0.0, 0.0], [-3e38, 3e38], [0.0, 1e-300]])
                    found["ranges"][name] = ends

        edited(change)
        try:
            compile_model(RESNET, TILE16, replace(options, calibration=SAVED))
        except CompileError as error:
            assert "\n" not in error.line()  # noqa: PT017  # either is right


# The command line


LINE = ("compile", str(DIM20), "-t", "tile16", "-o", "out", "--data", str(DATA))


def without_hash(report: str) -> str:
    """A report but for the plan's hash, which is over the options too."""
    return re.sub(r"plan [0-9a-f]{12}", "plan", report)


def test_save_and_use_by_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*LINE, "--save-calibration", SAVED]) == 0
    report = capsys.readouterr().out
    assert main.run([*LINE, "--calibration", SAVED, "--depfile", "d"]) == 0
    printed = capsys.readouterr()
    assert without_hash(printed.out) == without_hash(report)
    assert "nothing has changed" not in printed.err
    assert SAVED in Path("d").read_text()
    assert main.run([*LINE, "--calibration", SAVED]) == 0
    assert "nothing has changed" in capsys.readouterr().err
    assert main.run([*LINE, "--calibration", SAVED, "--prune", "0.5"]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(
        "error[U009]: calibration file 'c.calibration' does not hold here: "
    )
    assert printed.err.count("\n") == 1
    Path(SAVED).write_bytes(Path(SAVED).read_bytes()[:-20])
    assert main.run([*LINE, "--calibration", SAVED]) == 3
    assert capsys.readouterr().err.startswith("error[M009]: ")


def test_a_changed_calibration_makes_the_package_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main.run([*LINE, "--save-calibration", SAVED]) == 0
    assert main.run([*LINE, "--calibration", SAVED]) == 0
    edited(lambda found: found.update(estimated=1))
    capsys.readouterr()
    assert main.run([*LINE, "--calibration", SAVED]) == 0
    assert "nothing has changed" not in capsys.readouterr().err


def test_where_a_calibration_cannot_be_saved(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([*LINE, "--save-calibration", "d", "--depfile", "d"]) == 2
    assert "--depfile and --save-calibration both are 'd'" in capsys.readouterr().err
    assert main.run([*LINE, "--save-calibration", SAVED]) == 0
    capsys.readouterr()
    assert main.run([*LINE, "--calibration", SAVED, "--save-calibration", SAVED]) == 2
    assert "is read, and would be written over" in capsys.readouterr().err
    assert main.run([*LINE, "--precision", "float", "--save-calibration", "f"]) == 2
    assert "there is no calibration that could be saved" in capsys.readouterr().err
    assert not Path("f").exists()
    assert main.run([*LINE, "--save-calibration", "g", "--max-energy-uj", "1e-9"]) == 5
    assert not Path("g").exists()
