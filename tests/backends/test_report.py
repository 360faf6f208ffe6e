"""The report adds up in all its forms, and so do explanations, comparisons and accuracy."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import joulec
from backends.evaluate import accuracy, predictions
from backends.report import FORMS, Form, render_report
from backends.reports.compare import comparison, comparison_text, parse_condition
from backends.reports.data import COLUMNS, report_table
from backends.reports.explain import explain, explanation_text
from backends.reports.facts import fates, mapping_of, matrix_of, most_energy
from backends.reports.page import WIDE_PAGE, Page
from backends.reports.tables import engines_table, parts_table
from backends.reports.text import MOST_STEPS, text
from backends.reports.verdict import verdict, worst
from compiler.errors import Diagnostic, UsageError
from compiler.figures import (
    aligned,
    clipped,
    digits,
    energy,
    energy_interval,
    energy_scale,
    share,
    time,
)
from compiler.ir.mapping import AnalogMapping
from compiler.plan.schema import Plan
from compiler.units import Estimate

MODELS = Path(__file__).parents[2] / "models"
PRUNE = 0.3


@pytest.fixture(scope="module")
def resnet() -> Plan:
    options = joulec.Options(data=MODELS / "digits_calibration.npz", calibration_samples=32)
    return joulec.compile(MODELS / "digits_resnet.onnx", "diana", options=options).plan


@pytest.fixture(scope="module")
def dim20() -> Plan:
    options = joulec.Options(data=MODELS / "dim20_calibration.npz", prune=PRUNE)
    return joulec.compile(MODELS / "dim20.onnx", "tile16", options=options).plan


@pytest.fixture(params=["resnet", "dim20"])
def plan(request: pytest.FixtureRequest) -> Plan:
    found: Plan = request.getfixturevalue(request.param)
    return found


def numbers(line: str) -> list[float]:
    return [float(word.replace(",", "")) for word in re.findall(r"(?<![\w.])\d[\d,.]*", line)]


def test_the_verdict_comes_first_and_everything_is_ascii(plan: Plan) -> None:
    report = render_report(plan)
    whole, placed = verdict(plan)
    assert report.splitlines()[0] == whole
    assert " ".join(report.split()).startswith(" ".join(f"{whole} {placed} worst".split()))
    assert report.isascii()
    assert all(line == line.rstrip() for line in report.splitlines())


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_a_report_fits_the_page(plan: Plan, width: int) -> None:
    report = text(plan, everything=True, page=Page(width))
    assert max(len(line) for line in report.splitlines()) <= width
    words = " ".join(report.split())
    for step in plan.steps:  # nothing is lost on a narrow page
        assert " ".join(step.reason[:100].split()) in words


def test_colour_changes_no_word(plan: Plan) -> None:
    coloured = text(plan, page=Page(80, colour=True))
    assert re.sub(r"\x1b\[\d*m", "", coloured) == text(plan, page=Page(80))
    assert "\x1b[34m" in coloured  # steps on analog


def test_the_rows_add_up_to_the_sums_that_are_printed(plan: Plan) -> None:
    lines = text(plan, everything=True, page=WIDE_PAGE).splitlines()
    start = next(index for index, line in enumerate(lines) if "why here" in line)
    stop = next(i for i, line in enumerate(lines) if i > start and line.split()[:1] == ["sum"])
    rows = lines[start + 1 : stop + 1]
    assert len(rows) == len(plan.steps) + 1
    for head in ("MACs", "energy", "time"):  # flush right: each number ends where its head does
        end = re.search(rf"{head}( \wJ| \ws)?(?=  )", lines[start]).end()  # type: ignore[union-attr]
        amounts = [numbers(row[:end].rpartition("  ")[2])[0] for row in rows]
        unit = 10.0 ** -len(rows[-1][:end].rpartition("  ")[2].partition(".")[2])
        assert sum(amounts[:-1]) == pytest.approx(amounts[-1], abs=unit / 2 * len(rows))


def test_parts_and_engines_add_up_as_printed(plan: Plan) -> None:
    for table, sums in ((parts_table(plan), 0.6), (engines_table(plan), 0.6)):
        amounts = [[numbers(row[1])[k] for row in table.rows] for k in range(3)]
        for column, whole in zip(amounts, numbers(table.total[1]), strict=True):
            digit = 10.0 ** (np.floor(np.log10(whole)) - 1)  # two digits are printed
            assert sum(column) == pytest.approx(whole, abs=sums * digit * len(column))


def test_a_batch_is_told_by_the_sample_too(dim20: Plan) -> None:
    of_eight = dim20.model_copy(update={"samples": 8})
    words = (
        f" an inference of 8 samples, {energy_interval(dim20.energy_pj.total.times(1 / 8))} and "
    )
    assert words in verdict(of_eight)[0]
    assert verdict(of_eight)[0].endswith(" a sample")
    assert verdict(dim20)[0].endswith(" an inference")


@pytest.mark.slow
def test_the_flag_against_static_power_helps() -> None:
    """Pruning makes the steps shorter; of least energy, another objective spends no less."""
    model = MODELS / "digits_resnet.onnx"
    options = joulec.Options(data=MODELS / "digits_calibration.npz", calibration_samples=32)
    spent = {
        name: joulec.compile(model, "tile16", options=one).plan.energy_pj
        for name, one in (
            ("none", options),
            ("prune", replace(options, prune=0.3)),
            ("latency", replace(options, objective="latency")),
        )
    }
    static = {flag: energies.parts["static"].value for flag, energies in spent.items()}
    assert static["prune"] < 0.9 * static["none"]
    assert spent["prune"].total.value < spent["none"].total.value
    assert spent["latency"].total.value >= spent["none"].total.value * (1 - 1e-9)


def test_a_part_far_below_the_unit_has_its_own(resnet: Plan) -> None:
    """No 2.2e-8 of a millijoule: 22 pJ."""
    parts = resnet.energy_pj.parts | {"conversion": Estimate(22.0, 6.0, 83.0)}
    total = Estimate(1.8e9, 8.3e7, 3.2e10)
    huge = resnet.model_copy(
        update={"energy_pj": resnet.energy_pj.model_copy(update={"parts": parts, "total": total})}
    )
    rows = {row[0]: row[1] for row in parts_table(huge).rows}
    assert rows["conversion"] == "22 [6.0, 83] pJ"


def test_what_stands_out_worst(dim20: Plan, resnet: Plan) -> None:
    assert worst(dim20).startswith("the host takes ")
    assert "(QuantizeLinear)" in worst(dim20)
    assert worst(resnet).startswith("static power takes ")
    assert " of the energy: --prune makes the steps shorter; " in worst(resnet)
    too_far = Diagnostic(code="W006", message="the outputs move too far", hint="take more data")
    spoiled = dim20.model_copy(update={"diagnostics": (*dim20.diagnostics, too_far)})
    assert worst(spoiled) == "the outputs move too far; take more data"


def test_the_critical_path_adds_up_in_the_report(plan: Plan) -> None:
    path = report_table(plan)["critical_path"]
    assert path["waits_ns"] == 0
    assert path["latency_ns"] == pytest.approx(plan.latency_ns.value)
    spent = sum(plan.steps[index].latency_ns.value for index in path["steps"])
    assert spent == pytest.approx(plan.latency_ns.value)
    assert sum(path["engines"].values()) == pytest.approx(1)
    lines = text(plan, page=WIDE_PAGE).splitlines()
    line = next(line for line in lines if "critical path" in line)
    words = f"critical path {len(path['steps'])} of {len(plan.steps)} steps, "
    assert line.startswith(words)
    longest = max(plan.steps, key=lambda step: step.latency_ns.value)
    assert (
        f"longest: {longest.name} {share(longest.latency_ns.value, plan.latency_ns.value)}" in line
    )
    shares = [float(number) for number in re.findall(r"([\d.]+) % on ", line)]
    assert sum(shares) == pytest.approx(100, abs=0.2)


def test_a_report_tells_of_waiting(dim20: Plan) -> None:
    moved = [
        step.model_copy(update={"start_ns": step.start_ns + 1e3, "end_ns": step.end_ns + 1e3})
        for step in dim20.steps
    ]
    later = dim20.latency_ns + Estimate.exact(1e3)
    late = dim20.model_copy(update={"steps": tuple(moved), "latency_ns": later})
    assert ", 1.00 us of waiting; longest: " in text(late, page=WIDE_PAGE)
    assert "of waiting" not in text(dim20)


def test_every_node_of_the_file_is_counted_once(plan: Plan) -> None:
    assert sum(fates(plan).values()) == len(plan.placements)
    lines = text(plan, page=WIDE_PAGE).splitlines()
    line = next(line for line in lines if line.startswith("nodes"))
    whole, *parts = [int(number) for number in re.findall(r"\d+", line)][:5]
    assert whole == sum(parts) == len(plan.placements)


def test_a_long_model_shows_its_hungriest_steps_and_the_rest_as_a_sum(resnet: Plan) -> None:
    shown, rest = most_energy(resnet, 3)
    assert [step.index for step in shown] == sorted(step.index for step in shown)
    assert len(shown) == 3
    least = min(step.energy_pj.total.value for step in shown)
    assert all(step.energy_pj.total.value <= least for step in rest)
    steps = tuple(
        step.model_copy(update={"index": index, "name": f"step{index}"})
        for index, step in enumerate(resnet.steps * 3)
    )
    long = text(resnet.model_copy(update={"steps": steps}))
    more = f"{len(steps) - MOST_STEPS} steps more"
    assert more in long
    assert "all steps: --all" in long
    assert more not in text(resnet.model_copy(update={"steps": steps}), everything=True)


def test_matrices_and_macs_agree(plan: Plan) -> None:
    for step in plan.steps:
        matrix = matrix_of(step)
        if matrix is not None:
            assert matrix.groups * matrix.rows * matrix.columns * matrix.positions == step.macs
            assert mapping_of(step).startswith(f"{matrix}: ") or "digits" in mapping_of(step)


def test_pruning_of_dim20_shows_tiles_and_cost(dim20: Plan) -> None:
    hidden = next(layer for layer in dim20.pruning if layer.node == "hidden2.dense")
    assert hidden.before.mapping.describe() == "20x20: 4 tiles of 16x16, 39 % used"
    assert isinstance(hidden.before.mapping, AnalogMapping)
    assert isinstance(hidden.after.mapping, AnalogMapping)
    assert (hidden.before.mapping.tiles, hidden.after.mapping.tiles) == (4, 1)
    step = next(step for step in dim20.steps if step.name == "hidden2.dense")
    assert hidden.after.energy_pj == pytest.approx(step.energy_pj.total.value)
    assert hidden.after.mapping == step.mapping
    report = render_report(dim20)
    assert "20x20: 4 tiles of 16x16, 39 % used" in report
    assert "pruned layer" in report
    assert sum(layer.before.macs for layer in dim20.pruning) == dim20.macs.before
    assert sum(layer.after.macs for layer in dim20.pruning) == dim20.macs.after


def test_without_pruning_nothing_is_said_of_it(resnet: Plan) -> None:
    assert resnet.pruning == ()
    assert "pruned layer" not in render_report(resnet)


def test_assumptions_are_part_of_the_energy(plan: Plan) -> None:
    assert plan.assumed_energy_pj is not None
    assert 0 < plan.assumed_energy_pj < plan.energy_pj.total.value
    assert f"{share(plan.assumed_energy_pj, plan.energy_pj.total.value)} of the energy" in text(
        plan
    )


def test_the_reason_says_what_its_energy_holds_and_how_sure_it_is(resnet: Plan) -> None:
    """analog's energy has the change of format that is a step of its own; a margin that what the
    two engines do not share could turn round is said to be open, and only such a one.
    """
    compared = []
    for row in resnet.placements:
        found = re.match(r"(\w+) takes [\d.]+ [pnu]J( with its requantization)?, "
                         r"(\w+) [\d.]+ [pnu]J"
                         r"( with its requantization)?(, and their intervals leave open which "
                         r"takes less)?", row.reason)  # fmt: skip
        if found is None:
            continue
        for engine, holds in (found.group(1, 2), found.group(3, 4)):
            assert bool(holds) == (engine == "analog"), row.reason
        rivals = [
            other.energy_margin_pj
            for other in row.alternatives
            if other.engine == found[3] and other.energy_margin_pj is not None
        ]
        margin = min(rivals, key=lambda one: one.value)
        compared.append(margin.low < 0 < margin.high)
        assert bool(found[5]) == compared[-1], row.reason
    assert set(compared) == {True, False}


def test_an_explanation_marks_the_margins_inside_their_interval(resnet: Plan) -> None:
    table = explain(resnet, "stem.conv")
    shown = explanation_text(table)
    assert "analog: with its requantization\n" in shown
    opened = [
        other
        for other in table["alternatives"]
        if other["energy_pj_margin_interval"]
        and other["energy_pj_margin_interval"][0] < 0 < other["energy_pj_margin_interval"][1]
    ]
    assert opened
    for other in opened:
        low, high = other["energy_pj_margin_interval"]
        assert low <= other["energy_pj_margin"] <= high
        assert f"{energy(abs(other['energy_pj_margin']))} ~" in shown
    assert "~ inside the interval: numbers of the chip that the two do not share" in shown


def test_an_inference_of_a_batch_says_what_a_sample_takes(resnet: Plan) -> None:
    options = joulec.Options(bind={"N": 4}, data=MODELS / "dim20_calibration.npz")
    plan = joulec.compile(MODELS / "dim20.onnx", "tile16", options=options).plan
    assert plan.samples == 4
    table = report_table(plan)
    assert table["samples"] == 4
    for key, whole in (("energy_pj", plan.energy_pj.total), ("latency_ns", plan.latency_ns)):
        assert table["per_sample"][key] == {
            "value": whole.value / 4, "low": whole.low / 4, "high": whole.high / 4
        }  # fmt: skip
    assert resnet.samples == 1
    assert report_table(resnet)["per_sample"]["energy_pj"]["value"] == resnet.energy_pj.total.value
    unknown = report_table(resnet.model_copy(update={"samples": None}))
    assert (unknown["samples"], unknown["per_sample"]) == (None, None)


@pytest.mark.parametrize("form", FORMS)
def test_the_same_plan_gives_the_same_report(plan: Plan, form: Form) -> None:
    assert render_report(plan, form) == render_report(plan, form)


def test_the_keys_of_the_json_are_a_promise(plan: Plan) -> None:
    table = json.loads(render_report(plan, "json"))
    assert sorted(table) == [
        "bound", "critical_path", "diagnostics", "divergence", "divergence_estimate", "energy_pj",
        "engines", "inputs", "latency_ns", "layers", "macs", "measured", "memories", "model",
        "nodes", "not_modelled", "one_time_load", "outputs", "partition", "per_sample", "plan_hash",
        "pruning", "resident", "samples", "schema", "serial_latency_ns", "spills", "steps",
        "target", "tops_per_watt", "utilization", "verdict",
    ]  # fmt: skip
    assert sorted(table["steps"][0]) == [
        "digits", "divergence", "end_ns", "energy_pj", "engine", "index", "latency_ns", "macs",
        "mapping", "matrix", "name", "nodes", "not_modelled", "op", "reason", "source", "start_ns",
        "utilization", "weights",
    ]  # fmt: skip
    assert table == json.loads(json.dumps(report_table(plan)))
    energies = [step["energy_pj"]["total"]["value"] for step in table["steps"]]
    assert sum(energies) == pytest.approx(table["energy_pj"]["total"]["value"])


def test_csv_has_a_line_for_each_step(plan: Plan) -> None:
    rows = list(csv.DictReader(io.StringIO(render_report(plan, "csv"))))
    assert len(rows) == len(plan.steps)
    assert list(rows[0]) == list(COLUMNS)
    total = sum(float(row["energy_pj"]) for row in rows)
    assert total == pytest.approx(plan.energy_pj.total.value)
    assert [row["name"] for row in rows] == [step.name for step in plan.steps]


def test_a_strange_name_stays_a_name(resnet: Plan) -> None:
    name = "=HYPERLINK(1)|<b>\n\x1b[31m`x`" + "y" * 60
    steps = (resnet.steps[0].model_copy(update={"name": name}), *resnet.steps[1:])
    strange = resnet.model_copy(update={"steps": steps})
    assert "\x1b" not in render_report(strange)
    row = next(csv.DictReader(io.StringIO(render_report(strange, "csv"))))
    assert row["name"].startswith("'=")
    markdown = render_report(strange, "markdown")
    assert "<b>" not in markdown
    assert "\\|&lt;b>\\\\n" in markdown


def test_markdown_tables_are_whole(plan: Plan) -> None:
    lines = render_report(plan, "markdown").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert lines[0].startswith("# ")
    assert len(tables) > len(plan.steps)
    for line in lines[lines.index("## Steps") + 2 :]:
        if not line:
            break
        assert len(re.findall(r"(?<!\\)\|", line)) == 12


def test_explain_a_node_with_alternatives(resnet: Plan) -> None:
    analog = next(step for step in resnet.steps if step.engine == "analog")
    found = explain(resnet, analog.name)
    assert found["fate"] == "placed"
    digital = [other for other in found["alternatives"] if other["engine"] == "digital"]
    assert all(other["energy_pj_margin"] > 0 for other in digital)
    shown = explanation_text(found)
    assert shown.splitlines()[0].endswith("on analog, its formats changed on digital")
    assert "other ways" in shown
    assert found["reason"] in shown
    ways = [(other["engine"], other["mapping"]) for other in found["alternatives"]]
    assert len(set(ways)) == len(ways), "two ways are told in the same words"


def test_explain_a_fused_node_and_a_step(resnet: Plan) -> None:
    fused = explanation_text(explain(resnet, "stem.norm"))
    assert "fused into stem.conv" in fused
    assert "engines meet here" in explanation_text(explain(resnet, "image.int8.convert"))


def test_explain_tells_the_source(resnet: Plan) -> None:
    steps = tuple(
        step.model_copy(update={"source": "net.py:12"}) if step.name == "stem.conv" else step
        for step in resnet.steps
    )
    shown = explanation_text(explain(resnet.model_copy(update={"steps": steps}), "stem.conv"))
    assert "source        net.py:12" in shown


def test_explain_suggests_the_nearest_name(resnet: Plan) -> None:
    with pytest.raises(UsageError) as caught:
        explain(resnet, "stem.cnv")
    assert caught.value.code == "U006"
    assert "did you mean 'stem.conv'?" in caught.value.line()


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("energy>+3%", True),
        ("energy > +12%", False),
        ("energy<+3%", False),
        ("latency>-5%", True),
        ("latency<-5%", False),
        ("energy>0.01", True),
        ("energy>100", False),
        ("macs>+0", False),
        ("macs<1e9", True),
        ("peak_bytes>+1024", False),
    ],
)
def test_conditions(resnet: Plan, condition: str, met: bool) -> None:
    rows = [
        replace(row, after=row.before * 1.1) if row.metric == "energy" else row
        for row in comparison(resnet, resnet)
    ]
    assert parse_condition(condition).is_met(rows) is met


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("enregy>+3%", "did you mean 'energy'"),
        ("energy", "wanted METRIC"),
        ("energy>3%", "a percentage is a change"),
        ("energy>=3", "wanted METRIC"),
        ("", "wanted METRIC"),
    ],
)
def test_conditions_that_are_none(condition: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_condition(condition)
    assert caught.value.code == "U004"
    assert words in caught.value.line()


def test_a_comparison_has_no_exponents(resnet: Plan) -> None:
    """Counts are whole, the rest has four digits, however large the change."""
    total = resnet.energy_pj.total.times(1e6)
    huge = resnet.model_copy(
        update={"energy_pj": resnet.energy_pj.model_copy(update={"total": total})}
    )
    rows = comparison(resnet, huge)
    assert not re.search(r"\de[+-]", comparison_text(rows, resnet, huge))
    found = parse_condition("energy>+3%").describe(rows)
    assert re.fullmatch(r"energy is 0\.\d{4} -> [\d,]{7} uJ, \+[\d,]+ %, which .*", found), found


def test_comparison_of_a_plan_with_itself(resnet: Plan) -> None:
    shown = comparison_text(comparison(resnet, resnet), resnet, resnet)
    assert shown.count("+0.00") == 5
    assert "changed engine" not in shown


def test_accuracy_of_scores_and_one_hot_labels() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7]], np.float32)
    assert accuracy(scores, np.array([1, 0, 0])).right == 2
    assert accuracy(scores, np.array([[1], [0], [1]])).share == 1.0
    assert accuracy(scores, np.array([[0, 1], [0, 1], [0, 1]])).right == 2
    assert str(accuracy(scores, np.array([1, 0, 0]))) == "66.7 % (2 of 3)"


@pytest.mark.parametrize(
    "scores", [np.zeros((3, 1)), np.zeros(()), [np.zeros(2)], np.array(["a", "b"])]
)
def test_what_are_no_class_scores(scores: object) -> None:
    with pytest.raises(UsageError) as caught:
        predictions(scores)
    assert caught.value.code == "U005"


def test_labels_must_fit() -> None:
    with pytest.raises(UsageError, match="4 labels and 3 predictions"):
        accuracy(np.eye(3), np.arange(4))
    with pytest.raises(UsageError, match="are not all class numbers"):
        accuracy(np.eye(3), np.array(["a", "b", "c"]))


def test_numbers_for_people() -> None:
    assert energy(563_586) == "564 nJ"
    assert energy(0) == "0 pJ"
    assert energy(12.3) == "12.3 pJ"
    assert time(33_989) == "34.0 us"
    assert digits(0.0000123) == "1.23e-5"
    assert digits(1234567) == "1,230,000"
    assert digits(1234567, 2) == "1,200,000"
    assert digits(9.97, 2) == "10"
    assert energy_scale(563_586).unit == "nJ"
    assert energy_scale(5_635).unit == "nJ"
    assert energy_scale(5_635).show(4.5) == "0.004"
    assert energy_scale(56_350).show(4.5) == "0.00"
    assert [share(1, 0), share(0, 7), share(1, 7), share(7, 7)] == ["0 %", "0 %", "14.3 %", "100 %"]


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(12_262.56, 4_303.77, 53_917.0), "12 [4.3, 54] nJ"),
        (Estimate(147_092.0, 140_000.0, 150_000.0), "147 [140, 150] nJ"),
        (Estimate(147_092.0, 146_500.0, 147_500.0), "147.1 [146.5, 147.5] nJ"),
        (Estimate(999.6, 1.0, 2_000.0), "1,000 [1.0, 2,000] pJ"),
        (Estimate.exact(147_092.0), "147 [147, 147] nJ"),
        (Estimate(0.0, 0.0, 0.0), "0 [0, 0] pJ"),
    ],
)
def test_as_many_digits_as_the_interval_leaves(estimate: Estimate, words: str) -> None:
    assert energy_interval(estimate) == words


def test_columns_and_names() -> None:
    assert clipped("a" * 50 + "tail", 20) == "aaaaaa..aaaaaaaatail"
    assert aligned([["a", "1"], ["bbb", "22"]], right=(1,)) == ["a     1", "bbb  22"]
