"""Stages are values: from each a compilation goes on with other options or another chip, and ends
where one from the start would.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

import joulec
from compiler.driver import calibrate_model, compile_model
from compiler.errors import CompileError
from compiler.flow.formats import UNSEEN, formats_of
from compiler.flow.options import Options
from compiler.flow.stages import Imported, Watch, import_model
from compiler.ir.graph import Graph
from compiler.ir.text import to_text
from compiler.target.chip import Chip, Target, built_in, load_target
from passes.base import Pass

MODELS = Path(__file__).parents[2] / "models"
DIM20, DATA = MODELS / "dim20.onnx", MODELS / "dim20_calibration.npz"
OPTIONS = Options(data=DATA, calibration_samples=8)
TILE16 = load_target("tile16")


def changed(target: Target, change: Callable[[str, float], float | None]) -> Target:
    """A chip with other numbers: `change` gives one for a key path, or None to leave it."""

    def walk(table: dict[str, object], path: str) -> None:
        for key, value in table.items():
            where = f"{path}.{key}"
            if isinstance(value, dict) and isinstance(value.get("value"), int | float):
                number = change(where, value["value"])
                if number is not None and not isinstance(value["value"], bool):
                    table[key] = {"value": number, "source": "a test"}
            elif isinstance(value, dict):
                walk(value, where)

    table = target.chip.model_dump(by_alias=True, exclude_none=True)
    walk(table["engines"], "")
    return Target(Chip.model_validate(table), "0" * 64)


def test_every_stage_knows_its_graph_chip_options_passes_and_notes() -> None:
    imported = import_model(DIM20, TILE16, OPTIONS)
    clean = imported.clean()
    pruned = clean.prune()
    lowered = pruned.lower()
    calibrated = lowered.calibrate()
    placed = calibrated.place()
    quantized = placed.quantize()
    stages = (imported, clean, pruned, lowered, calibrated, placed, quantized)
    for earlier, later in pairwise(stages):
        assert later.passes[: len(earlier.passes)] == earlier.passes
        assert later.notes[: len(earlier.notes)] == earlier.notes
        assert later.target is TILE16
        assert later.options == OPTIONS
    plan = quantized.plan().plan
    assert plan.pipeline == quantized.pipeline
    assert [one.name for one in quantized.passes[-7:]] == [
        "lower_convolution",
        "fuse_activations",
        "calibrate",
        "partition",
        "quantize",
        "refit",
        "pad_to_tiles",
    ]
    assert plan.diagnostics[: len(quantized.notes)] == quantized.notes
    assert repr(calibrated) == f"Calibrated('{lowered.graph.name}' for 'tile16', 15 passes)"
    assert plan == compile_model(DIM20, TILE16, OPTIONS).plan


@pytest.mark.parametrize(
    "other",
    [
        {"max_divergence": 0.001},
        {"objective": "latency"},
        {"weights": "reload"},
        {"place": (("*", "host"),)},
    ],
    ids=str,
)
def test_one_calibration_serves_many(other: dict[str, object]) -> None:
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    wanted = replace(OPTIONS, **other)  # type: ignore[arg-type]
    assert calibrated.compile(wanted).plan == compile_model(DIM20, TILE16, wanted).plan
    assert calibrated.compile().plan == compile_model(DIM20, TILE16, OPTIONS).plan


def test_nothing_runs_twice() -> None:
    ran: list[tuple[int, str]] = []

    def note(position: int, one: Pass, before: Graph, after: Graph) -> None:
        ran.append((position, one.name))

    calibrated = calibrate_model(DIM20, TILE16, OPTIONS, observers=(note,))
    first = len(ran)
    calibrated.compile(replace(OPTIONS, max_divergence=0.1))
    assert [position for position, _ in ran] == list(range(len(ran)))
    assert [name for _, name in ran[first:]] == ["partition", "quantize", "refit", "pad_to_tiles"]


def test_one_clean_model_serves_many_chips() -> None:
    clean = import_model(DIM20, TILE16, OPTIONS).clean()
    for name in ("diana", "diana_digital", "princeton16"):
        chip = load_target(name)
        made = clean.prune(target=chip).lower().calibrate().compile()
        assert made.plan == compile_model(DIM20, chip, OPTIONS).plan, name


def test_cleaning_looks_at_no_chip() -> None:
    for model in (DIM20, MODELS / "digits_dscnn.onnx"):
        texts = {
            to_text(import_model(model, load_target(name)).clean().graph) for name in built_in()
        }
        assert len(texts) == 1


def test_a_calibration_holds_for_chips_of_the_same_formats() -> None:
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    dearer = changed(TILE16, lambda key, value: 2 * value if key.endswith("_pj") else None)
    assert calibrated.why_not_for(dearer) == ""
    made = calibrated.compile(target=dearer)
    assert made.plan == compile_model(DIM20, dearer, OPTIONS).plan
    assert made.plan.energy_pj.total.value > calibrated.compile().plan.energy_pj.total.value


def test_a_calibration_does_not_hold_for_other_formats() -> None:
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    coarser = changed(TILE16, lambda key, _: 6 if key.endswith("converter_bits") else None)
    reason = "analog.converter_bits was 8, and here is 6"
    assert calibrated.why_not_for(coarser) == reason
    with pytest.raises(CompileError) as refused:
        calibrated.place(target=coarser)
    assert refused.value.line() == (
        f"error[U009]: calibrated for tile16, which does not hold for tile16: {reason}; "
        "go on from the clean stage"
    )
    assert calibrated.why_not_for(load_target("diana_digital")) != ""


@pytest.mark.parametrize("name", ["diana", "tile16", "princeton16", "diana_digital"])
def test_what_formats_leave_out_changes_no_calibration(name: str) -> None:
    chip = load_target(name)
    ignored = changed(
        chip, lambda key, value: 2 * value if UNSEEN.search(key.split(".")[-1]) else None
    )
    assert ignored.chip != chip.chip
    assert formats_of(ignored) == formats_of(chip)
    options = replace(OPTIONS, calibration_samples=2, prune=0.3)
    found = [calibrate_model(DIM20, one, options).graph for one in (chip, ignored)]
    assert found[0].calibration == found[1].calibration
    assert to_text(found[0]) == to_text(found[1])


def test_formats_are_those_of_all_engines_but_the_host() -> None:
    formats = formats_of(load_target("diana"))
    assert formats["analog.converter_bits"] == 6
    assert formats["analog.cell_pj"] is True
    assert formats["digital.array.idle_lane_pj"] is False
    assert not [key for key in formats if key.startswith("host")]


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"seed": 3}, "--seed 3: this calibrated stage was made with 0"),
        ({"prune": 0.5}, "--prune 0.5: this calibrated stage was made with 0.0"),
        ({"data": None}, "--data None: this calibrated stage was made with"),
        ({"max_divergence": -1.0}, "--max-divergence -1.0: wanted 0 or more, or inf"),
    ],
)
def test_an_option_that_was_read_before_cannot_change(
    option: dict[str, object], words: str
) -> None:
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    with pytest.raises(CompileError) as refused:
        calibrated.place(replace(OPTIONS, **option))  # type: ignore[arg-type]
    assert refused.value.line().startswith(f"error[U004]: {words}")


def test_data_may_be_named_as_a_text_or_a_path() -> None:
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    assert calibrated.place(replace(OPTIONS, data=str(DATA))).options.data == str(DATA)


def test_the_model_in_floats_goes_through_the_same_stages() -> None:
    options = Options(precision="float")
    calibrated = import_model(DIM20, TILE16, options).clean().prune().lower().calibrate()
    assert calibrated.graph.calibration is None
    placed = calibrated.place()
    assert [one.name for one in placed.passes] == [
        "eliminate_dead", "lower_convolution", "place_in_float",
    ]  # fmt: skip
    assert placed.quantize().plan().plan == compile_model(DIM20, TILE16, options).plan
    with pytest.raises(CompileError, match="there is no calibration"):
        calibrated.saved()


def test_a_chip_without_room_is_refused_from_a_stage_too() -> None:
    memory = {"value": 16, "source": "a test"}
    table = TILE16.chip.model_dump(by_alias=True, exclude_none=True)
    for level in table["memories"].values():
        level["capacity_bytes"] = memory
    tiny = Target(Chip.model_validate(table), "0" * 64)
    calibrated = calibrate_model(DIM20, TILE16, OPTIONS)
    for go_on in (
        lambda: calibrated.place(target=tiny),
        lambda: calibrated.lowered.pruned.clean.prune(target=tiny),
    ):
        with pytest.raises(CompileError) as refused:
            go_on()
        assert refused.value.code == "C001"


def test_a_watch_is_told_of_each_stage() -> None:
    told: list[str] = []
    imported = import_model(DIM20, TILE16, OPTIONS, Watch(progress=told.append))
    assert isinstance(imported, Imported)
    imported.clean()
    assert told[:2] == ["import", "eliminate_dead"]


def test_the_snippet_of_the_public_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as it stands in the docstring, on a model and data of those names."""
    found = re.search(r"several budgets:\n\n((?:    .*\n)+)", joulec.__doc__ or "")
    assert found is not None
    lines = [line[4:] for line in found[1].splitlines()]
    assert len(lines) == 5
    (tmp_path / "model.onnx").write_bytes(DIM20.read_bytes())
    (tmp_path / "samples.npz").write_bytes(DATA.read_bytes())
    monkeypatch.chdir(tmp_path)
    exec("\n".join(lines), {"joulec": joulec, "replace": replace})
    for budget in (0.005, 0.02, 0.08):
        options = joulec.Options(data="samples.npz", max_divergence=budget)
        assert joulec.load(f"build/{budget}").plan == joulec.compile(
            "model.onnx", "diana", options=options
        ).plan  # fmt: skip
