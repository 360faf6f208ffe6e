"""`joulec validate --networks`: whole plans beside measurements, a small one computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import joulec
from compiler.cli import main
from compiler.flow.measured_networks import (
    Comparison,
    Measurement,
    compare,
    shipped_measurements,
    summary,
)
from tests.support.counted_host import CHIP, ENERGY_PJ, LATENCY_NS, small_quantized_network

HEADER = "chip,model,energy_uj,inferences_per_s,derived,scope,source"
ENERGY_UJ, PER_S = ENERGY_PJ / 1e6, 1e9 / LATENCY_NS


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main.run(["validate", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A chip, two copies of a network and a file that is none."""
    (tmp_path / "counted.toml").write_text(CHIP)
    models = tmp_path / "models"
    models.mkdir()
    for name in ("small.onnx", "same.onnx"):
        (models / name).write_bytes(small_quantized_network())
    (models / "broken.onnx").write_bytes(b"no model")
    return tmp_path


def table(folder: Path, *rows: str) -> Path:
    path = folder / "measured.csv"
    chip = folder / "counted.toml"
    path.write_text("\n".join([HEADER, *(row.format(chip=chip) for row in rows)]) + "\n")
    return path


def test_a_table_of_ones_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = table(
        folder,
        f"{{chip}},small.onnx,{ENERGY_UJ},{PER_S / 2},cycle_pj,the core,ours",
        f"{{chip}},same.onnx,{ENERGY_UJ * 1.25},,,the core,ours",
        f"{{chip}},small.onnx,,{PER_S / 1.4},,the core,ours",
        "{chip},lost.onnx,1,1,,,",
        "{chip},broken.onnx,1,1,,,",
        "no_such_chip,small.onnx,1,1,,,",
    )
    status, out, err = run(capsys, measured, "--networks", folder / "models", "--format", "json")
    assert status == 0
    assert [line[:12] for line in err.splitlines()] == ["error[M001]:", "error[U002]:"]
    found = json.loads(out)
    ratios = [row["energy_uj"] and row["energy_uj"].get("ratio") for row in found["rows"]]
    assert ratios == [pytest.approx(1), pytest.approx(0.8), None, None, None, None]
    reasons = [row["why_not"] for row in found["rows"]]
    assert reasons == [
        "",
        "",
        "",
        "no file 'lost.onnx' in the folder",
        "it does not compile: M001",
        "it does not compile: U002",
    ]
    # The first row is what the chip's number comes from: it is shown and not judged.
    energies, rates = (found["summary"][key] for key in ("energy_uj", "inferences_per_s"))
    assert (energies["compared"], energies["within_1_25"], energies["within_1_5"]) == (1, 1, 1)
    assert (rates["compared"], rates["within_1_25"], rates["within_1_5"]) == (1, 0, 1)
    assert energies["mean_log_error"] == pytest.approx(0.09691)

    status, out, _ = run(capsys, measured, "--networks", folder / "models")
    assert status == 0
    assert "line 5, " in out
    assert "lost.onnx: no file 'lost.onnx' in the folder" in out
    assert "1 of 1" in out
    assert "cycle_pj" in out


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("chip,model,energy_uj\n", "its first line names no column 'inferences_per_s'"),
        (f"{HEADER}\n", "it has no row under its first line"),
        (f"{HEADER}\ndiana,m.onnx,-1,2,,,\n", "line 2: the energy_uj '-1' is no positive number"),
        (f"{HEADER}\ndiana,m.onnx,nan,2,,,\n", "line 2: the energy_uj 'nan' is no positive number"),
        (f"{HEADER}\ndiana,m.onnx,,,,,\n", "line 2 gives neither energy_uj nor inferences_per_s"),
        (f"{HEADER}\n,m.onnx,1,2,,,\n", "line 2 gives no chip"),
        (f"{HEADER}\ndiana,m.onnx\n", "line 2 has 2 fields, the first line 7"),
    ],
)
def test_a_table_that_is_none(
    text: str, wanted: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "measured.csv"
    path.write_text(text)
    status, out, err = run(capsys, path, "--networks", folder / "models")
    assert (status, out) == (3, "")
    start = f"error[M009]: '{path}' is no table of measured networks: {wanted}; wanted is a csv"
    assert err.startswith(start)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "no table: give FILE.csv of published macros, or --networks DIR"),
        (["--networks", "nowhere"], "no folder 'nowhere'; give the folder of the models"),
        (["--networks", "."], "none of the networks measured lies in '.'; wanted are ic_int8_qop"),
        (
            ["--networks", ".", "--leave-one-chip-out"],
            "--networks goes with none of --leave-one-chip-out, --nested and --plot",
        ),
    ],
)
def test_what_it_is_asked_wrongly(
    arguments: list[str],
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert wanted in err


# -- the measurements that are shipped


def compared(row: Measurement, models: Path) -> Comparison:
    path = models / "mlperf-tiny" / row.model
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    return compare(row, joulec.compile(path, row.chip).plan)


SMALL = {("stm32l4r5", "ad"), ("stm32u385", "kws"), ("ndp120_0v9", "kws")}


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            marks=() if (row.chip, row.model.split("_")[0]) in SMALL else pytest.mark.slow,
            id=f"{row.chip}-{row.model}",
        )
        for row in shipped_measurements()
    ],
)
def test_shipped_chips_give_what_was_measured(row: Measurement, models_folder: Path) -> None:
    """Within 1.5 times, and half a percent where the chip's numbers were derived from the row."""
    found = compared(row, models_folder)
    for figure in (found.energy, found.rate):
        assert figure is not None
        assert figure.ratio is not None
        assert max(figure.ratio, 1 / figure.ratio) < (1.005 if row.derived else 1.5)


@pytest.mark.slow
def test_most_are_within_a_quarter(models_folder: Path) -> None:
    found = [compared(row, models_folder) for row in shipped_measurements()]
    for figures in ([one.energy for one in found], [one.rate for one in found]):
        judged = [
            figure
            for figure, one in zip(figures, found, strict=True)
            if figure is not None and one.is_judged
        ]
        counted = summary(judged)
        assert counted is not None
        assert counted.compared == counted.within_1_5 == 13
        assert counted.within_1_25 > 13 / 2


def test_only_ic_gave_the_chips_a_number() -> None:
    rows = shipped_measurements()
    assert {row.model for row in rows if row.derived} == {"ic_int8_qop.onnx"}
    assert sum(not row.derived for row in rows) == 13
    for row in rows:
        chip = joulec.load_target(row.chip).chip
        for path in row.derived.split():
            number: object = chip
            for key in path.split("."):
                number = number.get(key) if isinstance(number, dict) else getattr(number, key)
            assert ", ic: " in getattr(number, "source", ""), path
