"""`joulec validate`: what it reads, what it prints, and how it fails."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler.cli import main
from compiler.errors import CompileError
from compiler.macros.plot import plot
from compiler.macros.table import PARAMETERS, RANGES, read_table
from compiler.macros.validation import summary
from tests.support.fit import silicon

COLUMNS = (
    "chip_id,chip,class,node_nm,cell,array_rows,array_cols,active_rows,cell_bits,in_bits_per_step,w_bits,"
    "adc_bits,n_adc,vdd_V,step_ns,clock_MHz,storage_kb,scope,native_in_w_out_bits,TOPSW_1b,TOPSW_native"
)
TABLE = f"""{COLUMNS}
a,Alpha,AIMC-SRAM,65,8T1C,256,64,256,,1,1,3.4,64,1.0,20,,,macro,,671.5,
b,Beta,DIMC-SRAM,28,6T,32,48,32,1,2,8,,,0.9,5.13,,,macro,8/8/-,,36.63
c,Gamma,AIMC-NVM,14,PCM,256,256,256,analog,8,,,256,,,,,whole chip,8/analog/8,,9.76
d,Delta,DIGITAL,22,,,,,,,,,,0.8,,,,macro,,11.5,
e,Epsilon,HYBRID,22,,,,,,,,,,,,,,whole chip,mixed,,7.02
f,Zeta,AIMC-SRAM,65,6T,64,64,8,,1,1,3,64,1.1,3.3,,,processor,,,
g,Eta,AIMC-SRAM,zero,6T,64,64,8,,1,1,3,64,1.1,3.3,,,macro,,50,
h,Theta,OTHER,65,6T,64,64,8,,1,1,3,64,1.1,3.3,,,macro,,50,
"""


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "silicon.csv"
    path.write_text(TABLE)
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    status = main.run(["validate", *(str(argument) for argument in arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_report(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, table)
    assert (status, err) == (0, "")
    assert "Alpha" in out
    _, after = out.split("not predicted:\n")
    reasons, summaries = after.split("not compared:\n")
    assert reasons.splitlines()[:4] == [
        "  line 5, Delta: in_bits_per_step is not given",
        (
            "  line 6, Epsilon: a whole network on several engines: "
            "it takes the network, joulec compile predicts it"
        ),
        "  line 8, Eta: node_nm 'zero' is no number between 1 and 1000",
        (
            "  line 9, Theta: class 'OTHER' is none of AIMC-SRAM, AIMC-eDRAM, AIMC-NVM, "
            "DIMC-SRAM, DIGITAL"
        ),
    ]
    assert summaries.startswith("  line 7, Zeta: no measure is given\n")
    assert "mean |log10 error|" in summaries


def test_json_holds_parts_that_add_up(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, table, "--format", "json")
    found: dict[str, Any] = json.loads(out)
    assert status == 0
    assert found["schema"] == "joulec.validation/1"
    assert len(found["rows"]) == 8
    first = found["rows"][0]
    energy = sum(part["value"] for part in first["parts_fj_per_mac"].values())
    assert first["predicted_tops_w"]["value"] == pytest.approx(2000 / energy)
    assert first["ratio"] == pytest.approx(first["predicted_tops_w"]["value"] / 671.5)
    assert found["rows"][2]["assumed"] == ["supply", "converter_bits", "level_ns"]
    assert first["drawn"] == 1  # nothing is assumed, and it is no processor
    assert found["rows"][2]["drawn"] != 1
    assert found["rows"][3]["predicted_tops_w"] is None
    assert found["summary"]["all"]["compared"] == 3


def test_leave_one_chip_out(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, table, "--leave-one-chip-out", "--format", "json")
    assert status == 0
    assert json.loads(out)["leave_one_chip_out"] is True
    # With two measured chips, each is predicted by a fit to the other.
    plain = json.loads(run(capsys, table, "--format", "json")[1])
    assert plain["rows"][0]["predicted_tops_w"] != json.loads(out)["rows"][0]["predicted_tops_w"]


@pytest.mark.parametrize("flag", ["--leave-one-chip-out", "--nested"])
def test_leaving_chips_out_wants_two(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.csv"
    path.write_text("\n".join(TABLE.splitlines()[:2]))
    status, out, err = run(capsys, path, flag)
    assert (status, out) == (3, "")
    assert err.startswith(f"error[M009]: {flag} needs at least 2 measured chips")


def test_nested(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, table, "--nested")
    assert (status, err) == (0, "")
    head, *forms = out.split("rules that rows are read by")[1].splitlines()
    assert head.split() == ["error", "over", "chips", "chosen", "for", "chips"]
    assert forms[0].startswith("all rules")
    assert sum(int(line.split()[-1]) for line in forms) == 3
    found = json.loads(run(capsys, table, "--nested", "--format", "json")[1])
    assert [form["name"] for form in found["forms"]][-1] == "no rule"
    assert json.loads(run(capsys, table, "--format", "json")[1])["forms"] == []


def test_plot(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    assert run(capsys, table, "--plot", first)[0] == run(capsys, table, "--plot", second)[0] == 0
    assert first.read_bytes() == second.read_bytes()
    from xml.etree import ElementTree

    root = ElementTree.fromstring(first.read_text())
    hints = [title.text or "" for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert sum(hint.startswith(("Alpha", "Beta", "Gamma")) for hint in hints) == 3
    assert plot([], "nothing").endswith("</svg>\n")


def test_no_measured_column_is_read(tmp_path: Path) -> None:
    """Every column that is no parameter may say what it likes; only the comparison changes."""
    if not silicon().is_file():
        pytest.skip(f"no silicon in {silicon()}; JOULEC_SILICON names another file")
    from compiler.macros.validation import verdict
    from compiler.target.parts.constants import load_components

    lines = list(csv.DictReader(io.StringIO(silicon().read_text(encoding="utf-8"), newline="")))
    for line in lines:
        for name in line:
            if name not in PARAMETERS:
                line[name] = "7" if name.startswith("TOPSW") else "x"
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]))
    writer.writeheader()
    writer.writerows(lines)
    changed = tmp_path / "changed.csv"
    changed.write_text(text.getvalue(), encoding="utf-8")
    components = load_components()

    def one_bit(path: Path) -> list[float | None]:
        found = [verdict(row, components) for row in read_table(path)]
        return [None if v.tops_w is None else v.tops_w.value * v.row.native_macs for v in found]

    before, after = one_bit(silicon()), one_bit(changed)
    assert sum(value is not None for value in before) >= 77
    assert after == pytest.approx(before)


HOSTILE = {
    "empty": b"",
    "binary": bytes(range(256)),
    "latin": "class,node_nm\nMüller,3\n".encode("latin-1"),
    "another table": b"name,size\na,3\n",
    "column twice": b"class,node_nm,node_nm\nDIMC-SRAM,3,4\n",
    "short line": b"class,node_nm,vdd_V\nDIMC-SRAM,3\n",
    "long line": b"class,node_nm\nDIMC-SRAM,3,4,5\n",
    "open quote": b'class,node_nm\n"DIMC-SRAM,3\n',
    "huge field": b"class,node_nm\n" + b"x" * 200_000 + b",3\n",
    "huge file": b"class,node_nm\n" + b"DIMC-SRAM,3\n" * 800_000,
    "many lines": b"class,node_nm\n" + b"A,3\n" * 100_001,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_broken_table_is_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.csv"
    path.write_bytes(HOSTILE[name])
    status, out, err = run(capsys, path)
    assert (status, out) == (3, ""), err
    assert err.startswith("error[M009]: ")
    assert err.count("\n") == 1


def test_a_missing_table_and_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        status, out, err = run(capsys, path)
        assert (status, out) == (2, "")
        assert err.startswith("error[U001]: ")


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-1", "0", "1e999", "1_0x", "0x10", "٣x", "1e-300", "'; drop"]
)
@pytest.mark.parametrize(
    "column",
    [
        "node_nm", "array_rows", "in_bits_per_step", "vdd_V", "step_ns", "adc_bits", "n_adc",
        "w_bits",
    ],
)  # fmt: skip
def test_a_parameter_that_is_none_is_a_reason(
    column: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header, first = TABLE.splitlines()[:2]
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    cells[column] = text
    path = tmp_path / "one.csv"
    path.write_text(f"{header}\n{','.join(cells.values())}\n", encoding="utf-8")
    status, out, err = run(capsys, path, "--format", "json")
    assert (status, err) == (0, "")
    found = json.loads(out)
    assert found["rows"][0]["predicted_tops_w"] is None
    assert column in found["rows"][0]["why_not"]
    assert found["summary"] == {}


@pytest.mark.parametrize("text", ["nan", "-5", "lots", "0", "inf"])
def test_a_measure_that_is_none_is_not_compared(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "one.csv"
    path.write_text(f"{TABLE.splitlines()[0]}\n{TABLE.splitlines()[1].replace('671.5', text)}\n")
    status, out, _ = run(capsys, path)
    assert status == 0
    assert f"line 2, Alpha: the measured TOPSW_1b '{text}' is no positive number" in out


def test_names_from_strangers_stay_on_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "names.csv"
    path.write_text(
        "chip,class,node_nm,w_bits,array_rows,TOPSW_1b\n"
        '"\x1b[31mred\n'
        'line <b>",DIMC-SRAM,28,8,64,100\n'
    )
    status, out, _ = run(capsys, path, "--plot", tmp_path / "names.svg")
    assert status == 0
    assert "\x1b" not in out
    assert "\\x1b[31mred\\nline <b>" in out
    assert "<b>" not in (tmp_path / "names.svg").read_text()


CELLS = st.one_of(
    st.sampled_from(
        [
            "", "1", "8", "64", "AIMC-SRAM", "DIMC-SRAM", "AIMC-NVM", "DIGITAL", "6T", "8T1C",
            "1e9", "0.5", "8/8/8",
        ]
    ),
    st.floats(0.5, 5000).map(str),
    st.text(max_size=8),
)  # fmt: skip


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.lists(CELLS, min_size=21, max_size=21), min_size=1, max_size=4))
def test_any_table_is_predicted_or_refused(tmp_path: Path, rows: list[list[str]]) -> None:
    from compiler.macros.fit import leave_one_chip_out
    from compiler.target.parts.constants import load_components

    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS.split(","))
    writer.writerows(rows)
    path = tmp_path / "any.csv"
    path.write_text(text.getvalue(), encoding="utf-8", errors="surrogatepass", newline="")
    try:
        found = read_table(path)
    except CompileError:
        return
    for v in leave_one_chip_out(found, load_components()):
        assert (v.tops_w is None) == bool(v.why_not)
        if v.tops_w is not None:
            assert 0 < v.tops_w.low <= v.tops_w.value <= v.tops_w.high < float("inf")
    summary(leave_one_chip_out(found, load_components()))


def test_every_range_is_a_parameter() -> None:
    assert set(RANGES) <= set(PARAMETERS)
    assert not any(
        word in name for name in PARAMETERS for word in ("TOPS", "fJ", "pJ", "area", "ratio")
    )
