"""The command line: every command once on a real model, every way it can fail as one line with a
code and an exit status.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler.cli import main
from compiler.cli.arrays import read_arrays, write_arrays
from compiler.cli.console import ReaderGoneError
from compiler.cli.depfile import depfile_text
from compiler.cli.signals import StopError
from compiler.errors import CODES, UsageError
from compiler.execute.interpreter import Model
from compiler.flow.options import parse_binds

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
RESNET, RESNET_DATA = MODELS / "digits_resnet.onnx", MODELS / "digits_calibration.npz"
DIM20, DIM20_DATA = MODELS / "dim20.onnx", MODELS / "dim20_calibration.npz"
TEST_DATA = MODELS / "dim20_test.npz"


@dataclass(frozen=True)
class Ran:
    """What a command line gave."""

    status: int
    out: str
    err: str

    @property
    def table(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found


class Shell:
    """Runs command lines in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Ran:
        self._capsys.readouterr()
        status = main.run([str(argument) for argument in arguments])
        out, err = self._capsys.readouterr()
        return Ran(status, out, err)


@pytest.fixture
def joulec(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packages, `dim20` and `pruned`, which no test changes."""
    folder = tmp_path_factory.mktemp("packages")
    common = ["compile", str(DIM20), "-t", "tile16", "--data", str(DIM20_DATA), "-o"]
    assert main.run([*common, str(folder / "dim20")]) == 0
    assert main.run([*common, str(folder / "pruned"), "--prune", "0.3"]) == 0
    return folder


def fails(ran: Ran, status: int, code: str, *words: str) -> None:
    """One line on standard error with this code, and nothing else said."""
    assert ran.status == status, ran
    assert code in CODES
    lines = [line for line in ran.err.splitlines() if not line.startswith("warning[")]
    assert len(lines) == 1, ran.err
    assert lines[0].startswith(f"error[{code}]: ")
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in ran.err


# What works


def test_compile_prints_the_report_and_writes_the_package(joulec: Shell, tmp_path: Path) -> None:
    ran = joulec("compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA)
    assert ran.status == 0
    verdict = "dim20 on tile16: 14 [3.6, 83] nJ and 3.5 [2.0, 9.4] us an inference\n"
    assert ran.out.startswith(verdict)
    assert "\nanalog 4/4 layers (100 % of the MACs); divergence " in ran.out
    assert "\nsamples       1 an inference, along axis 0 of input 'image'\n" in ran.out
    assert ran.err == ""
    assert (tmp_path / "out" / "plan.json").is_file()
    assert joulec("check", "out").out.startswith("sound: dim20 on tile16, ")
    assert joulec("report", "out").out == ran.out


def test_compile_without_data_warns(joulec: Shell) -> None:
    ran = joulec("compile", DIM20, "-t", "tile16", "-o", "out", "--bind", "N=1")
    assert ran.status == 0
    assert "warning[W001]" in ran.err


def test_compile_writes_what_make_needs(joulec: Shell, tmp_path: Path) -> None:
    chip = tmp_path / "my chip.toml"
    shutil.copy(ROOT / "compiler/targets/tile16.toml", chip)
    ran = joulec(
        "compile", DIM20, "-t", chip, "-o", "out", "--data", DIM20_DATA, "--depfile", "d.d"
    )  # fmt: skip
    assert ran.status == 0
    rule = (tmp_path / "d.d").read_text().split("\n\n")[0].replace(" \\\n ", "")
    chip_name = str(chip).replace(" ", "\\ ")
    assert rule == f"out/plan.json: {DIM20} {DIM20_DATA} {chip_name}"


def test_the_depfile_is_read_by_make(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    names = [
        "plain.onnx",
        "a b.onnx",
        "back\\ slash.onnx",
        "h#sh.onnx",
        "d$llar.onnx",
        "co:lon.onnx",
        "epoch=3.onnx",
        "a[1]*%&.onnx",
        "`x`$(x)'\"!.onnx",
        "back\\#.onnx",
        "back\\:.onnx",
    ]
    for name in names:
        (tmp_path / name).write_text("")
    output = tmp_path / "o"
    output.mkdir()
    (output / "plan.json").write_text("")
    text = depfile_text(Path("o"), [Path(name) for name in names])
    (tmp_path / "d").write_text(text)
    (tmp_path / "Makefile").write_text("include d\no/plan.json:\n\t@echo rebuilt\n")

    def rebuilds() -> bool:
        ran = subprocess.run([make, "o/plan.json"], cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return "rebuilt" in ran.stdout

    for name in names:
        os.utime(tmp_path / name, (1, 1))
    assert not rebuilds()
    for name in names:
        os.utime(tmp_path / name)
        os.utime(output / "plan.json", (2, 2))
        assert rebuilds(), name
        os.utime(tmp_path / name, (1, 1))
        assert not rebuilds(), name
    (tmp_path / "plain.onnx").unlink()
    assert rebuilds()


def test_the_depfile_may_lie_in_the_package(joulec: Shell, tmp_path: Path) -> None:
    line = ("compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA)
    for _ in range(2):
        ran = joulec(*line, "--depfile", "out/d.d", "--annotated", "a.onnx")
        assert ran.status == 0, ran.err
    assert (tmp_path / "out" / "d.d").read_text().startswith("out/plan.json:")
    assert joulec("check", "out").status == 0


@pytest.mark.parametrize("output", ["a b", "a:b#c$d", "back\\ \\: \\#", "a[1]*&~?", "$(x)'\"!"])
def test_make_finds_an_output_of_any_name(output: str, tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    (tmp_path / output).mkdir()
    (tmp_path / output / "plan.json").write_text("")
    (tmp_path / "m.onnx").write_text("")
    (tmp_path / "d").write_text(depfile_text(Path(output), [Path("m.onnx")]))
    (tmp_path / "Makefile").write_text("include d\n%.json:\n\t@echo rebuilt\n")
    for time_s, state in ((1, "up to date"), (3, "rebuilt")):
        os.utime(tmp_path / "m.onnx", (time_s, time_s))
        os.utime(tmp_path / output / "plan.json", (2, 2))
        ran = subprocess.run([make], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert state in ran.stdout


@pytest.mark.parametrize("output", ["lr=1", "100%", "~me", "a\tb"])
def test_an_output_that_make_cannot_name(output: str) -> None:
    with pytest.raises(UsageError, match="make has no way to write"):
        depfile_text(Path(output), [Path("m.onnx")])


@pytest.mark.parametrize(
    "name", ["a\nb", "a\rb", "%:%;id>pwned", "a|b", "~me/m.onnx", "=.onnx", "a\\=b"]
)
def test_what_make_would_read_otherwise_has_no_place_in_a_depfile(name: str) -> None:
    """A model names its external data: behind a semicolon make would find a command to run."""
    with pytest.raises(UsageError, match="make has no way to write"):
        depfile_text(Path("o"), [Path(name)])


def test_a_depfile_of_names_with_equals_signs_alone(tmp_path: Path) -> None:
    text = depfile_text(Path("o"), [Path("epoch=3.onnx")])
    rule, *targets = text.split("\n\n")
    assert rule.split()[0] == "o/plan.json:"
    assert "=" not in rule.split()[2]
    assert rule.split()[-1] == "epoch=3.onnx"
    assert not any("=" in target for target in targets)


def test_compile_dumps_the_passes(joulec: Shell, tmp_path: Path) -> None:
    ran = joulec(
        "compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA, "--dump-passes",
        "dump", "--annotated", "a.onnx",
    )  # fmt: skip
    assert ran.status == 0
    names = sorted(path.name for path in (tmp_path / "dump").glob("*.txt"))
    for file in sorted((tmp_path / "dump").glob("*.onnx")):
        Model(file.read_bytes())
    assert len(list((tmp_path / "dump").glob("*.onnx"))) == len(names)
    assert names[:2] == ["00-import.txt", "01-eliminate_dead.txt"]
    assert names[-1].endswith("-pad_to_tiles.txt")
    assert "@analog" in (tmp_path / "dump" / names[-1]).read_text()
    model = onnx.load(tmp_path / "a.onnx")
    engines = {
        p.value for n in model.graph.node for p in n.metadata_props if p.key == "joulec.engine"
    }
    assert "analog" in engines


def test_the_same_compilation_prints_the_same_bytes(joulec: Shell, packages: Path) -> None:
    again = joulec(
        "compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA, "--format", "json"
    )  # fmt: skip
    assert again.out == joulec("report", packages / "dim20", "--format", "json").out
    assert again.table["schema"] == "joulec.report/2"


def test_run_writes_the_same_bytes_every_time(
    joulec: Shell, packages: Path, tmp_path: Path
) -> None:
    for name in ("one.npz", "two.npz"):
        ran = joulec("run", packages / "dim20", "-i", TEST_DATA, "-o", name)
        assert ran.status == 0
    assert ran.out == "logits: float32[500, 10]\nwritten to two.npz\n"
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as arrays:
        assert arrays["logits"].shape == (500, 10)
    noisy = joulec("run", packages / "dim20", "-i", TEST_DATA, "-o", "n.npz", "--noise-seed", 1)
    assert noisy.status == 0
    assert (tmp_path / "n.npz").read_bytes() != (tmp_path / "one.npz").read_bytes()


def test_arrays_keep_their_names_and_types(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    strange: dict[str, Any] = {
        "a/b:0": np.arange(3),
        "file": np.float32(2),
        "/x.npy": np.zeros((0, 2), np.float16),
        "words": np.array(["ä", "b"], object),
        "list": [np.ones(1), np.ones(2)],
        "nothing": None,
    }
    write_arrays(file, strange)
    with np.load(file) as arrays:
        assert sorted(arrays.files) == ["/x.npy", "a/b:0", "file", "list[0]", "list[1]", "words"]
        assert arrays["file"].shape == ()
        assert arrays["words"].tolist() == ["ä", "b"]
    assert read_arrays(file, ["a/b:0"])["a/b:0"].tolist() == [0, 1, 2]


def test_evaluate_beside_the_model(joulec: Shell, packages: Path) -> None:
    ran = joulec("evaluate", packages / "dim20", "--data", TEST_DATA, "--model", DIM20)
    assert ran.status == 0
    first, second = ran.out.splitlines()
    assert first == "accuracy 98.6 % (493 of 500): the model in ONNX Runtime"
    assert second.endswith(" points")
    table = joulec("evaluate", packages / "dim20", "--data", TEST_DATA, "--format", "json").table
    assert sorted(table) == ["model", "output", "package", "schema"]
    assert table["package"]["samples"] == 500
    assert table["package"]["accuracy"] > 0.95


def test_verify_by_layer(joulec: Shell, packages: Path) -> None:
    ran = joulec("verify", DIM20, packages / "dim20", "--data", TEST_DATA)
    assert ran.status == 0
    assert ran.out.startswith("the package holds: ")
    assert "ONNX Runtime, optimizations off, on the file as given" in ran.out
    assert "logits: the same class in " in ran.out
    table = joulec("verify", DIM20, packages / "dim20", "--format", "json").table
    assert sorted(table) == [
        "against_import", "budget", "holds", "judge", "not_compared", "outputs", "same_model",
        "samples", "schema", "steps", "synthetic_inputs", "tolerance", "unjudged",
    ]  # fmt: skip
    assert [step["step"] for step in table["steps"]][-1] == "classifier"
    assert table["synthetic_inputs"]
    assert table["same_model"]


def test_verify_takes_the_sizes_of_the_package(joulec: Shell) -> None:
    """A batch that was bound needs not be bound again; one bound otherwise is refused."""
    made = joulec("compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA,
                  "--bind", "N=4")  # fmt: skip
    assert "\nsamples       4 an inference, along axis 0 of input 'image'\n" in made.out
    ran = joulec("verify", DIM20, "out", "--samples", "8")
    assert ran.status == 0
    assert ran.out.startswith("the package holds: ")
    fails(
        joulec("verify", DIM20, "out", "--bind", "N=2"), 2, "U005",
        "input 'image' of the package is [4, 64], of the model [2, 64]; leave out --bind",
    )  # fmt: skip
    np.savez("three.npz", image=np.zeros((3, 64), np.float32))
    fails(joulec("run", "out", "-i", "three.npz", "-o", "y.npz"), 2, "U005",
          "a multiple of 4 samples stacked on axis 0")  # fmt: skip


def test_verify_tells_of_another_model(joulec: Shell, packages: Path, tmp_path: Path) -> None:
    model = onnx.load(DIM20)
    model.doc_string = "another"
    onnx.save(model, tmp_path / "m.onnx")
    ran = joulec("verify", "m.onnx", packages / "pruned", "--data", TEST_DATA)
    assert ran.status == 0
    assert "warning[W005]" in ran.err
    assert "\nof another shape in the package: 3 values, hidden1.relu, " in ran.out


def test_a_model_that_does_not_run_is_refused(joulec: Shell, tmp_path: Path) -> None:
    """A reflection of three elements reaches two far; only who runs it finds out."""
    text = (
        '<ir_version: 8, opset_import: ["" : 18]> g (float[3] x) '
        "=> (float[9] y) <int64[2] p = {3, 3}>"
    )
    model = onnx.parser.parse_model(f'{text} {{ y = Pad<mode="reflect">(x, p) }}')
    onnx.save(model, tmp_path / "m.onnx")
    ran = joulec("compile", "m.onnx", "-t", "tile16", "-o", "out")
    fails(ran, 3, "M011", "node 'Pad_0': Pad cannot be run, whatever the inputs: ")


def test_verify_does_not_say_holds_where_no_one_judges(joulec: Shell, tmp_path: Path) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 18, "onnx.brevitas" : 1]> g (float[1, 4] x) '
        "=> (float[1, 4] y) { s = Constant<value_float=0.5>() z = Constant<value_float=0.0>() "
        "b = Constant<value_float=4.0>() q = onnx.brevitas.Quant<signed=1, narrow=0, "
        'rounding_mode="ROUND">(x, s, z, b) y = Relu(q) }'
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert joulec("compile", "m.onnx", "-t", "tile16", "-o", "out").status == 0
    ran = joulec("verify", "m.onnx", "out")
    fails(ran, 5, "G002", "no one but joulec runs this model, so its outputs are not judged: ONNX ")
    assert ran.out.startswith("the package is NOT judged: ")
    table = joulec("verify", "m.onnx", "out", "--format", "json").table
    assert table["holds"] is None
    assert table["unjudged"].startswith("ONNX Runtime does not run the file: ")


def test_inputs_far_from_what_was_calibrated(joulec: Shell, packages: Path, tmp_path: Path) -> None:
    with np.load(TEST_DATA) as data:
        np.savez(tmp_path / "far.npz", image=data["image"] * 255, y=data["y"])
    package = packages / "dim20"
    for words in (
        ("run", package, "-i", "far.npz", "-o", "o.npz"),
        ("evaluate", package, "--data", "far.npz"),
        ("verify", DIM20, package, "--data", "far.npz", "--tolerance", "inf"),
    ):
        ran = joulec(*words)
        assert ran.status == 0
        assert "warning[W013]: input 'image' is 0 to 255, calibrated was 0 to 1; " in ran.err


def test_explain(joulec: Shell, packages: Path) -> None:
    ran = joulec("explain", packages / "dim20", "hidden2.dense")
    assert ran.status == 0
    assert ran.out.startswith("hidden2.dense (dim20 on tile16): on analog")
    table = joulec("explain", packages / "dim20", "hidden2.dense", "--format", "json").table
    assert table["schema"] == "joulec.explanation/1"
    margins = [other["energy_pj_margin"] for other in table["alternatives"]]
    assert min(margin for margin in margins if margin is not None) > 0


@pytest.mark.parametrize("form", ["text", "markdown", "json", "csv"])
def test_report_in_every_form(joulec: Shell, packages: Path, form: str) -> None:
    ran = joulec("report", packages / "pruned", "--format", form)
    assert ran.status == 0
    assert "hidden2.dense" in ran.out
    assert ran.err == ""


def test_compare(joulec: Shell, packages: Path) -> None:
    ran = joulec("compare", packages / "dim20", packages / "pruned", "--fail-if", "energy>+0%")
    assert ran.status == 0
    assert "energy, uJ" in ran.out
    table = joulec("compare", packages / "dim20", packages / "pruned", "--format", "json").table
    assert table["metrics"]["macs"]["change"] < 0
    assert table["failed"] == []


def test_inspect(joulec: Shell) -> None:
    ran = joulec("inspect", RESNET)
    assert ran.status == 0
    assert ran.out.startswith("digits_resnet: 31 nodes, 632,448 MACs, ")
    for chip in ("diana", "diana_digital", "tile16"):
        assert f"\n{chip} " in ran.out
    assert re.search(r"\nduo16 +100 % +100 % ", ran.out), "one of its digital engines takes all"
    told = joulec("inspect", RESNET, "-t", "diana").out
    assert "  digital could take" in told
    assert max(map(len, told.splitlines())) <= 100
    table = joulec("inspect", RESNET, "-t", "diana", "--format", "json").table
    assert sorted(table) == [
        "inputs", "macs", "macs_not_counted", "model", "nodes", "nodes_clean", "notes",
        "operations", "outputs", "parameters", "quantization", "schema", "targets",
    ]  # fmt: skip
    assert [chip["name"] for chip in table["targets"]] == ["diana"]


def test_targets(joulec: Shell) -> None:
    assert "tile16" in joulec("targets", "list").out
    shown = joulec("targets", "show", "diana").out
    assert "engines.analog.converter_bits" in shown
    assert "CACTI 7" in shown
    checked = joulec("targets", "check", ROOT / "compiler/targets/diana.toml")
    assert checked.out.startswith("sound: diana, ")
    assert joulec("targets", "schema").table["type"] == "object"
    names = [
        chip["name"] for chip in joulec("targets", "list", "--format", "json").table["targets"]
    ]
    assert names == sorted(names)
    assert {"diana", "tile16", "zigzag_aimc"} <= set(names)
    assert "converter.converter" in joulec("targets", "show", "zigzag_aimc").out
    made = joulec("targets", "show", "tile16", "--format", "json").table["components"]
    assert made["memories.sram.read_pj_per_byte"]["component"] == "sram_read"
    assert set(made["engines.digital.vector.operation_pj"]["parts"]) == {
        "multiplier",
        "adder",
        "registers",
        "control",
    }
    assert joulec("targets", "show", "diana", "--format", "json").table["chip"]["name"] == "diana"


def test_a_new_chip_is_written_once(joulec: Shell, tmp_path: Path) -> None:
    assert joulec("targets", "new", "mine", "--analog", "pcm").out.startswith("wrote mine.toml; ")
    first = (tmp_path / "mine.toml").read_text()
    fails(joulec("targets", "new", "mine"), 2, "U007", "is there already", "--force")
    assert (tmp_path / "mine.toml").read_text() == first
    assert joulec("targets", "new", "mine", "--force").status == 0
    assert (tmp_path / "mine.toml").read_text() != first
    assert joulec("targets", "new", "mine", "-o", "chips/other.toml").status == 0
    assert joulec("targets", "check", "chips/other.toml").out.startswith("sound: mine, ")
    fails(joulec("targets", "new", "Mine"), 2, "U004", "lower-case letters")


def test_a_chip_is_shown_as_a_file(joulec: Shell, tmp_path: Path) -> None:
    (tmp_path / "again.toml").write_text(joulec("targets", "show", "diana", "--toml").out)
    shown = [
        joulec("targets", "show", chip, "--format", "json").table["chip"]
        for chip in ("diana", "again.toml")
    ]
    assert shown[0] == shown[1]
    fails(joulec("targets", "show", "diana", "--toml", "--format", "json"), 2, "U004", "--toml")


def test_a_doubtful_chip_is_sound_with_warnings(joulec: Shell, tmp_path: Path) -> None:
    joulec("targets", "new", "mine")
    text = (tmp_path / "mine.toml").read_text()
    power = "static_mw = { value = 2, low = 1, high = 4"
    (tmp_path / "mine.toml").write_text(text.replace(power, f"{power}e6".replace("= 2,", "= 3e6,")))
    ran = joulec("targets", "check", "mine.toml")
    assert (ran.status, ran.out.endswith("assumptions; 1 to look at\n")) == (0, True)
    assert ran.err.startswith("warning[W020]: static_mw: 3,000,000 mW is not plausible, ")
    table = joulec("targets", "check", "mine.toml", "--format", "json").table
    assert [table["sound"], len(table["warnings"])] == [True, 1]


COMMANDS = [
    "compile", "inspect", "report", "explain", "check", "compare", "run", "evaluate", "verify",
    "validate", "targets", "targets list", "targets show", "targets check", "targets schema",
    "targets new",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_purpose_and_an_example(joulec: Shell, command: str) -> None:
    ran = joulec(*command.split(), "-h")
    assert ran.status == 0
    assert f"\n  joulec {command} " in f"{ran.out.replace(chr(10), ' ' + chr(10))}"
    assert ran.out == joulec(*command.split(), "--help").out


def test_help_lists_every_command_in_full(joulec: Shell) -> None:
    ran = joulec("--help")
    assert ran.status == 0
    assert "..." not in ran.out.split("Commands:")[1]
    assert all(f"\n  {name} " in ran.out for name in COMMANDS if " " not in name)


def test_the_version(joulec: Shell) -> None:
    ran = joulec("--version")
    assert ran.status == 0
    assert ran.out.startswith("joulec")


# What fails


def test_no_command_is_a_wrong_use_that_gets_help(joulec: Shell) -> None:
    for ran in (joulec(), joulec("targets")):
        assert ran.status == 2
        assert ran.out == ""
        assert ran.err.startswith("Usage: joulec")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("complie x", ["no such command 'complie'", "did you mean 'compile'"]),
        ("targets lst", ["did you mean 'list'"]),
        ("compile m.onnx --taget diana -o o", ["no option '--taget'", "did you mean '--target'?"]),
        ("compile m.onnx -o o", ["missing option", "--target"]),
        ("compile", ["missing argument", "MODEL"]),
        ("compile m.onnx -t diana -o", ["requires an argument"]),
        ("compile m.onnx -t diana -o o --objective enrgy", ["'enrgy' is not one of", "'energy'"]),
        ("compile m.onnx -t diana -o o --seed x", ["--seed"]),
        ("compile m.onnx -t diana -o o --bind N", ["NAME=VALUE"]),
        ("compile m.onnx -t diana -o o --bind N=x", ["no whole number"]),
        (f"compile {DIM20} -t tile16 -o o --max-divergence nan", ["--max-divergence"]),
        (f"compile {DIM20} -t tile16 -o o --calibration-samples 0", ["--calibration-samples"]),
        (f"compile {DIM20} -t tile16 -o o --prune 1.5", ["pruned"]),
        ("compare a b --fail-if enrgy>1", ["did you mean 'energy'?"]),
        ("evaluate x --data y --min-accuracy 2", ["--min-accuracy"]),
        ("report x --format xml", ["'xml' is not one of"]),
    ],
)
def test_wrong_words(joulec: Shell, line: str, words: list[str]) -> None:
    fails(joulec(*shlex.split(line)), 2, "U004", *words)


def test_an_unknown_chip(joulec: Shell) -> None:
    ran = joulec("compile", DIM20, "-t", "tile61", "-o", "out")
    fails(ran, 2, "U002", "did you mean 'tile16'?", "diana_digital")


def test_a_faulty_chip(joulec: Shell, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('schema = "joulec.target/1"\nname = "c"\n')
    fails(joulec("targets", "check", "c.toml"), 2, "U002", "clock_mhz")


def test_a_missing_model(joulec: Shell) -> None:
    fails(joulec("compile", "none.onnx", "-t", "diana", "-o", "out"), 2, "U001", "none.onnx")
    fails(joulec("inspect", "none.onnx"), 2, "U001")


def test_junk(joulec: Shell, tmp_path: Path) -> None:
    (tmp_path / "junk.onnx").write_bytes(b"junk" * 50)
    fails(joulec("compile", "junk.onnx", "-t", "diana", "-o", "out"), 3, "M001")
    assert not (tmp_path / "out").exists()


def test_a_weight_that_is_no_number(joulec: Shell, tmp_path: Path) -> None:
    model = onnx.load(DIM20)
    weight = next(item for item in model.graph.initializer if len(item.dims) == 2)
    data = np.array(onnx.numpy_helper.to_array(weight))
    data[0, 0] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(data, weight.name))
    onnx.save(model, tmp_path / "nan.onnx")
    fails(joulec("compile", "nan.onnx", "-t", "diana", "-o", "out"), 3, "M005")


def test_data_that_do_not_fit(joulec: Shell, packages: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "wrong.npz", imgae=np.zeros((2, 64), np.float32), y=np.zeros(2))
    np.savez(tmp_path / "shape.npz", image=np.zeros((2, 65), np.float32), y=np.zeros(2))
    np.savez(tmp_path / "pickle.npz", image=np.array([{}], object))
    (tmp_path / "junk.npz").write_bytes(b"junk")
    common = ("compile", DIM20, "-t", "tile16", "-o", "out", "--data")
    run = ("run", packages / "dim20", "-o", "out.npz", "-i")
    for command in (common, run):
        fails(joulec(*command, "wrong.npz"), 2, "U005", "did you mean 'imgae'?")
        fails(joulec(*command, "shape.npz"), 2, "U005", "65")
        fails(joulec(*command, "junk.npz"), 3, "M009")
        fails(joulec(*command, "pickle.npz"), 3, "M009")
        fails(joulec(*command, "none.npz"), 2, "U001")
    assert not (tmp_path / "out.npz").exists()


def test_a_model_that_does_not_fit(joulec: Shell, tmp_path: Path) -> None:
    chip = (ROOT / "compiler/targets/tile16.toml").read_text()
    (tmp_path / "small.toml").write_text(chip.replace("33554432", "30000"))
    ran = joulec("compile", RESNET, "-t", "small.toml", "-o", "out", "--data", RESNET_DATA)
    fails(ran, 4, "C001", "47,552 bytes", "'sram'", "30,000")
    (tmp_path / "tiny.toml").write_text(chip.replace("33554432", "4096"))
    ran = joulec("compile", RESNET, "-t", "tiny.toml", "-o", "out", "--data", RESNET_DATA)
    fails(ran, 4, "C001", "at least 22,325 bytes", "4,096")


def test_evaluate_needs_labels(joulec: Shell, packages: Path) -> None:
    ran = joulec("evaluate", packages / "dim20", "--data", DIM20_DATA)
    fails(ran, 2, "U005", "'y'")


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        (("--max-energy-uj", 0.001), "uJ, --max-energy-uj allows 0.001"),
        (("--max-latency-us", 1), "us, --max-latency-us allows 1"),
    ],
)
def test_a_gate_that_does_not_hold_writes_nothing(
    joulec: Shell, tmp_path: Path, gate: tuple[object, ...], words: str
) -> None:
    ran = joulec(
        "compile", DIM20, "-t", "tile16", "-o", "out", "--data", DIM20_DATA, "--depfile", "d", *gate
    )  # fmt: skip
    fails(ran, 5, "G001", words, "no package was written")
    assert ran.out.startswith("dim20 on tile16")
    assert list(tmp_path.iterdir()) == []


def test_other_gates(joulec: Shell, packages: Path) -> None:
    both = packages / "dim20", packages / "pruned"
    fails(joulec("compare", *both, "--fail-if", "macs<-5%"), 5, "G001", "macs is 2,280 -> ")
    ran = joulec("evaluate", both[0], "--data", TEST_DATA, "--min-accuracy", "0.999")
    fails(ran, 5, "G001", "accuracy is ")
    ran = joulec("verify", DIM20, both[0], "--data", TEST_DATA, "--tolerance", "1e-9")
    fails(ran, 5, "G002", "'logits'")


def test_a_package_that_is_none_or_damaged(joulec: Shell, packages: Path, tmp_path: Path) -> None:
    fails(joulec("check", "none"), 2, "U001")
    (tmp_path / "empty").mkdir()
    fails(joulec("check", "empty"), 3, "P001", "plan.json")
    shutil.copytree(packages / "dim20", tmp_path / "damaged")
    weights = next((tmp_path / "damaged").glob("weights.*"))
    data = bytearray(weights.read_bytes())
    data[7] ^= 1
    weights.write_bytes(data)
    for command in (
        ("check", "damaged"), ("report", "damaged"), ("explain", "damaged", "x"),
        ("compare", "damaged", "damaged"), ("run", "damaged", "-i", TEST_DATA, "-o", "o.npz"),
        ("evaluate", "damaged", "--data", TEST_DATA), ("verify", DIM20, "damaged"),
    ):  # fmt: skip
        fails(joulec(*command), 3, "P001", "was changed")


def test_an_unknown_node(joulec: Shell, packages: Path) -> None:
    ran = joulec("explain", packages / "dim20", "hidden2.dnse")
    fails(ran, 2, "U006", "did you mean 'hidden2.dense'?")


def test_verify_with_a_model_of_other_outputs(joulec: Shell, packages: Path) -> None:
    ran = joulec("verify", MODELS / "digits_dscnn.onnx", packages / "dim20")
    fails(ran, 2, "U005", "probabilities")


def test_an_output_that_cannot_be_written(joulec: Shell, packages: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("somebody's work")
    fails(joulec("compile", DIM20, "-t", "tile16", "-o", "file"), 2, "U007")
    ran = joulec("run", packages / "dim20", "-i", TEST_DATA, "-o", "file/out.npz")
    fails(ran, 2, "U007")
    ran = joulec("compile", DIM20, "-t", "tile16", "-o", "out", "--dump-passes", "file")
    fails(ran, 2, "U007")
    assert (tmp_path / "file").read_text() == "somebody's work"


def test_a_free_size_that_is_not_bound(joulec: Shell, tmp_path: Path) -> None:
    model = onnx.load(DIM20)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "width"
    onnx.save(model, tmp_path / "free.onnx")
    ran = joulec("compile", "free.onnx", "-t", "tile16", "-o", "out")
    fails(ran, 2, "U003", "--bind width=")
    told = joulec("inspect", "free.onnx").out
    assert "[N, width]" in told
    assert (
        "free sizes   MACs, the sizes of values, and what each engine could take depend on" in told
    )
    table = joulec("inspect", "free.onnx", "--format", "json").table
    assert table["inputs"][0]["shape"] == [None, None]
    assert table["parameters"] > 0
    assert table["macs"] is None


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (StopError(signal.SIGINT), 130, "interrupted\n"),
        (StopError(signal.SIGTERM), 143, "terminated\n"),
        (ReaderGoneError(), 0, ""),
        (MemoryError(), 3, "error[M008]: there is not enough memory for it\n"),
    ],
)
def test_other_ends(
    joulec: Shell,
    monkeypatch: pytest.MonkeyPatch,
    raised: BaseException,
    status: int,
    said: str,
) -> None:
    def end(*_: object) -> None:
        raise raised

    monkeypatch.setattr("compiler.target.chip.load_target", end)
    stdout = sys.stdout
    ran = joulec("targets", "list")
    if sys.stdout is not stdout:
        sys.stdout.close()
        monkeypatch.setattr(sys, "stdout", stdout)
    assert (ran.status, ran.err) == (status, said)


def test_binds() -> None:
    assert parse_binds(["N=1", "a=b=2", "x:0=3"]) == {"N": 1, "a=b": 2, "x:0": 3}
    assert parse_binds(None) == {}


# What only a process of its own shows


def test_as_a_process(packages: Path, tmp_path: Path) -> None:
    """A pipe that closes, an encoding that is not UTF-8, colours that nobody wants: no
    traceback, no escape codes.
    """
    script = "from compiler.cli.main import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-c", script, "report", str(packages / "dim20"), "--format", "json"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    done = subprocess.run(
        [sys.executable, "-c", script, "explain", str(packages / "dim20"), "möbius"],
        cwd=tmp_path, env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(b"error[U006]: no node or step 'm\\xf6bius'")
    assert done.stderr.count(b"\n") == 1


def test_an_option_of_one_value_given_twice_is_refused(joulec: Shell, tmp_path: Path) -> None:
    """The last would win without a word. What may be repeated still may, and a switch too."""
    dim20, tile16 = ("compile", MODELS / "dim20.onnx", "-o", tmp_path / "p"), ("-t", "tile16")
    for words, flag in (
        ((*dim20, *tile16, "--target", "diana"), "--target"),
        ((*dim20, *tile16, "--seed", "1", "--seed=1"), "--seed"),
        (("targets", "show", "diana", "--format", "json", "--format", "text"), "--format"),
    ):
        fails(joulec(*words), 2, "U004", f"{flag} is given 2 times, and takes one value")
    fails(
        joulec(*dim20, *tile16, "--bind", "N=1", "--bind", "N=2"), 2, "U004", "bound to 1 already"
    )
    twice = ("--force", "--force", "--place", "h*=host", "--place", "c*=host", "--bind", "N=1")
    done = joulec(*dim20, *tile16, *twice, "--bind", "N=1")
    assert done.status == 0, done.err


def test_places_that_make_no_sense(joulec: Shell, tmp_path: Path) -> None:
    compile_dim20 = ("compile", MODELS / "dim20.onnx", "--target", "tile16", "-o", tmp_path / "p")
    fails(joulec(*compile_dim20, "--place", "hidden1"), 2, "U004", "wanted PATTERN=ENGINE")
    fails(joulec(*compile_dim20, "--place", "*=gpu"), 2, "U004", "tile16 has no such engine")
    fails(joulec(*compile_dim20, "--place", "hiden*=digital"), 2, "U004", "did you mean 'hidden*'?")
    both = ("--place", "*=host", "--precision", "float")
    fails(joulec(*compile_dim20, *both), 2, "U004", "leave one of them out")


class Terminal(io.StringIO):
    """What people look at."""

    def isatty(self) -> bool:
        return True


def test_progress_is_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    monkeypatch.setattr("compiler.cli.console.REFRESH_S", 0)
    for form, stream in (("text", Terminal()), ("json", Terminal()), ("piped", io.StringIO())):
        monkeypatch.setattr(sys, "stderr", stream)
        words = ["--format", form] if form != "piped" else []
        assert (
            main.run(["compile", str(DIM20), "-t", "tile16", "-o", str(tmp_path / form), *words])
            == 0
        )
        shown[form] = stream.getvalue()
    assert "calibrate: node 1 of 4, 64 samples (" in shown["text"]
    assert "write weights." in shown["text"]
    assert shown["text"].rstrip("\n").endswith("\r\x1b[K")
    assert "\r" not in shown["json"] + shown["piped"]
