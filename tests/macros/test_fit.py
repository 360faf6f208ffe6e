"""What is measured of published silicon: typical energies, spreads, and the choice of rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log10
from pathlib import Path
from statistics import mean

import pytest

from compiler.macros.fit import (
    COVERAGE,
    UNKNOWN,
    compared,
    fit,
    leave_one_chip_out,
    with_typical,
)
from compiler.macros.model import SPREADS
from compiler.macros.nested import FORMS, Nested, chip_errors, nested
from compiler.macros.reading import ALL_RULES, TYPICAL
from compiler.macros.table import PARAMETERS, Row, read_table
from compiler.macros.validation import Verdict, judge, predict, summary, verdict
from compiler.target.parts.constants import Components, load_components
from compiler.units import Estimate
from tests.support.fit import all_rows, silicon, tables

SHIPPED = load_components()
PLAIN = {
    "class": "AIMC-SRAM", "node_nm": "28", "cell": "6T", "array_rows": "64", "array_cols": "64",
    "active_rows": "64", "in_bits_per_step": "1", "w_bits": "1", "adc_bits": "4", "n_adc": "64",
    "vdd_V": "0.9", "step_ns": "5",
}  # fmt: skip


def row(
    chip: str = "c", measured: float | None = None, changed: Mapping[str, str] | None = None
) -> Row:
    """The plain row of a chip with some columns changed."""
    texts = {**dict.fromkeys(PARAMETERS, ""), **PLAIN, **(changed or {})}
    return Row(
        line=2,
        chip=chip,
        name=chip,
        group=texts["class"],
        scope=texts["scope"],
        parameters=texts,
        measured_tops_w=measured,
        native_macs=1.0,
    )


def made(factors: Sequence[float], **changed: str) -> list[Row]:
    """Chips that measure these multiples of what is predicted for them."""
    tops_w = verdict(row(changed=changed), SHIPPED).tops_w
    assert tops_w is not None
    return [row(f"c{at}", tops_w.value * f, changed) for at, f in enumerate(factors)]


def spreads(components: Components) -> dict[str, float]:
    """The spreads by the kind of macro."""
    return {kind: components.values[f"spread_{kind}"] for kind in SPREADS}


def test_a_spread_is_the_quantile_of_the_errors_of_chips() -> None:
    factors = [10 ** (at / 100) for at in range(101)]
    found = spreads(fit(made(factors), SHIPPED))
    assert found["current"] == pytest.approx(10**COVERAGE, rel=0.02)
    assert found["charge"] == pytest.approx(10**COVERAGE, rel=0.02)  # there is no other to learn


def test_kinds_with_few_chips_lean_on_the_others() -> None:
    exact, wide = made([1.0] * 20), made([5.0], cell="8T1C")
    found = spreads(fit([*exact, *(replace(w, chip="wide") for w in wide)], SHIPPED))
    assert found["current"] == found["digital"] == 1.0
    assert found["charge"] == 1.0  # one chip of five times weighs little against POOL of the others
    many = [replace(wide[0], chip=f"w{at}") for at in range(20)]
    assert spreads(fit([*exact, *many], SHIPPED))["charge"] == pytest.approx(5.0, rel=1e-3)


def test_a_chip_counts_once_however_many_rows_it_has() -> None:
    once = made([10 ** (at / 200) for at in range(60)])
    often = [*once, *[once[-1]] * 99]
    before, after = fit(once, SHIPPED), fit(often, SHIPPED)
    for name in SHIPPED.measured:
        assert after.values[name] == pytest.approx(before.values[name], rel=0.02)


def test_with_nothing_to_learn_from_spreads_are_wide_and_typical_energies_stay() -> None:
    found = fit([], SHIPPED)
    assert set(spreads(found).values()) == {UNKNOWN}
    assert found.values["typical_resistive_fj"] == SHIPPED.values["typical_resistive_fj"]


def test_a_typical_energy_is_the_median_chip() -> None:
    chips = [row(f"c{at}", 2000 / fj) for at, fj in enumerate((1.0, 2.0, 3.0, 50.0, 60.0))]
    learnt = with_typical([predict(chip, SHIPPED) for chip in chips], SHIPPED)
    assert learnt.values["typical_transistor_fj"] == pytest.approx(3.0)


def test_what_is_known_little_of_is_drawn_to_what_chips_take() -> None:
    far = SHIPPED.with_values({"typical_transistor_fj": Estimate.exact(1000.0)})
    whole = predict(row(), SHIPPED)
    assert judge(whole, far).drawn == 1.0  # all is given, and it is no processor
    for found in (
        predict(row(changed={"step_ns": ""}), SHIPPED),
        predict(row(changed={"scope": "processor"}), SHIPPED),
    ):
        judged = judge(found, far)
        assert 1 < judged.drawn < 1000 / found.energy_fj
        assert sum(p.value for p in judged.parts_fj.values()) == pytest.approx(
            found.energy_fj * judged.drawn
        )
    alone = predict(row(changed={"scope": "processor"}), SHIPPED, ALL_RULES - {TYPICAL})
    assert judge(alone, far).drawn == 1.0
    system, distance = (log10(SHIPPED.values[f"{n}_distance"]) for n in ("system", "usual"))
    found = predict(row(changed={"scope": "processor"}), SHIPPED)
    share = distance**2 / (distance**2 + system**2)
    assert judge(found, far).drawn == pytest.approx((1000 / found.energy_fj) ** (1 - share))


def test_defaults_widen_the_interval() -> None:
    def width(**changed: str) -> float:
        found = verdict(row(changed=changed), SHIPPED)
        assert found.tops_w is not None
        return found.tops_w.high / found.tops_w.low

    assert width() == pytest.approx(SHIPPED.values["spread_current"] ** 2)
    assert width(step_ns="") > width(vdd_V="") > width()


def test_nested_leaves_out_the_rule_that_the_other_chips_do_not_bear_out() -> None:
    """Chips that take a high supply at its word: no other chip may say so, and all do."""
    rules = ALL_RULES - {"supply limit"}
    tops_w = verdict(row(changed={"vdd_V": "1.8"}), SHIPPED, rules).tops_w
    assert tops_w is not None
    found = nested([row(f"c{at}", tops_w.value, {"vdd_V": "1.8"}) for at in range(3)], SHIPPED)
    chosen = {form.name: form.chosen for form in found.forms if form.chosen}
    assert chosen == {"without supply limit": 3}
    assert all(v.log_error == pytest.approx(0) for v in found.verdicts)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    """Published silicon (JOULEC_SILICON, or ../shared/silicon/shown.csv) and what stands by it."""
    if not silicon().is_file():
        pytest.skip(f"no silicon in {silicon()}; JOULEC_SILICON names another file")
    return all_rows()


@pytest.fixture(scope="module")
def chosen(rows: list[Row]) -> Nested:
    return nested(rows, SHIPPED)


def test_the_shipped_constants_are_those_of_the_fit(rows: list[Row]) -> None:
    if len(tables()) < 2:
        pytest.skip("the constants were measured on two tables")
    found = fit(rows, SHIPPED)
    for name in SHIPPED.measured:
        shipped = SHIPPED.constants[name].estimate.value
        assert found.values[name] == pytest.approx(shipped, rel=2e-3), "run `make fit`"


def test_the_bar(rows: list[Row]) -> None:
    """The first table with each chip left out, the second by what the first taught."""
    first = read_table(silicon())
    found = [summary(leave_one_chip_out(first, SHIPPED))]
    if len(rows) > len(first):
        learnt = fit(first, SHIPPED)
        found.append(summary([verdict(r, learnt) for r in rows[len(first) :]]))
    for one in found:
        assert one is not None
        assert one.mean_log_error <= 0.28
        assert one.inside >= 0.80
        assert one.median_width <= 16


def test_the_bar_when_rules_are_chosen_without_the_chip(chosen: Nested) -> None:
    found = summary(chosen.verdicts)
    assert found is not None
    assert found.compared >= 76
    assert found.mean_log_error <= 0.29
    assert found.inside >= 0.80
    assert found.median_width <= 15


def test_every_form_is_as_wrong_as_leaving_chips_out_says(rows: list[Row], chosen: Nested) -> None:
    first = leave_one_chip_out(rows, SHIPPED, FORMS["all rules"])
    assert chosen.forms[0].error == mean(chip_errors(first).values())
    assert sum(form.chosen for form in chosen.forms) == len(chip_errors(first))


def test_the_page_says_how_forms_did(rows: list[Row], chosen: Nested) -> None:
    if len(tables()) < 2:
        pytest.skip("the page is about two tables")
    page = (Path(__file__).parents[2] / "docs" / "energy.md").read_text(encoding="utf-8")
    for form in chosen.forms:
        assert f"| {form.name} | {form.error:.3f} | {form.chosen} |" in page
    for name, verdicts in (
        ("each chip left out", leave_one_chip_out(rows, SHIPPED)),
        ("rules chosen without the chip too (`--nested`)", chosen.verdicts),
    ):
        found = summary(verdicts)
        assert found is not None
        figures = f"{found.mean_log_error:.3f} | {100 * found.inside:.0f} %"
        assert f"| both, {name} | {found.compared} | {figures} | {found.median_width:.0f} |" in page


def test_every_row_is_predicted_or_says_why_not(rows: list[Row]) -> None:
    verdicts = [verdict(found, SHIPPED) for found in rows]
    assert not [v.row.line for v in verdicts if v.tops_w is None and not v.why_not]
    assert len(compared(verdicts)) >= len(rows) - 6


def test_a_chip_is_held_out_of_its_own_choice(rows: list[Row]) -> None:
    """Whatever a chip's own rows measured, its prediction with itself left out is the same."""
    chip = "colonnade"
    few = [r for at, r in enumerate(rows) if r.chip == chip or at % 4 == 0]
    wrong = [
        replace(r, measured_tops_w=(r.measured_tops_w or 1) * 100) if r.chip == chip else r
        for r in few
    ]

    def predicted(verdicts: Sequence[Verdict]) -> list[Estimate | None]:
        return [v.tops_w for v in verdicts if v.row.chip == chip]

    assert predicted(nested(few, SHIPPED).verdicts) == predicted(nested(wrong, SHIPPED).verdicts)
    assert predicted(leave_one_chip_out(few, SHIPPED)) == predicted(
        leave_one_chip_out(wrong, SHIPPED)
    )
    assert fit(few, SHIPPED).values != fit(wrong, SHIPPED).values


def test_spreads_hold_the_share_they_promise(rows: list[Row]) -> None:
    """On the rows they were measured on, each chip counted once."""
    learnt = fit(rows, SHIPPED)
    verdicts = compared([verdict(r, learnt) for r in rows])
    inside = [mean(v.is_inside for v in verdicts if v.row.chip == c) for c in chip_errors(verdicts)]
    assert COVERAGE - 0.05 <= mean(inside) <= 0.95
