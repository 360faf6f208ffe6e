"""DIANA against what others published of it: ODiMO's cost model on four networks, and a measured
run of ResNet-18's first segment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.cost import odimo
from compiler.ir.ops import product_shape
from compiler.ir.text import from_text
from compiler.plan.schema import Plan
from compiler.target.chip import Analog, load_target
from tests.support.diana_segment import (
    MEASURED_CYCLES,
    chip_steps,
    in_lines,
    overlapped_cycles,
    plan_of,
    serial_cycles,
    with_match_cycles,
)
from tests.support.diana_table import POLICIES, PUBLISHED, Policy, row
from tests.support.mappings import cost_on, load_on

ODIMO = load_target("diana_odimo")
# One layer of ResNet-8: 16 to 32 channels, 3x3, stride 2, 16x16 outputs.
STRIDED = from_text("""\
graph g(x: int8[1, 16, 32, 32]{scale=1.0}) -> (y)
w: float32[1, 144, 32] = const random(1)
y: int8[1, 32, 16, 16]{scale=1.0} = Product(x, w) kernel=[3, 3] strides=[2, 2] pads=[0, 0, 1, 1]
""")


def test_a_layer_with_a_pencil() -> None:
    """Digital: 2 blocks of columns * 16 channels * 1 block of a line * 16 lines * 9, and 256 *
    (16 + 32) / 8 to load and store.

    Analog: 4 pixels at a time, as 64 * 3 * (3 + 3) rows are 1152: 256 / 4 activations of 70 ns; 144
    rows of 8 cycles are loaded.
    """
    node, cycle_ns = STRIDED.nodes[0], 1000 / 260
    digital = cost_on(node, STRIDED, "digital", ODIMO)
    cycles = 2 * 16 * 16 * 9 + 256 * 48 / 8
    assert digital.latency_ns == pytest.approx(cycles * cycle_ns)
    assert digital.energy_pj.value == pytest.approx(cycles * cycle_ns * 24.96)
    analog = cost_on(node, STRIDED, "analog", ODIMO)
    assert analog.latency_ns == pytest.approx(64 * 70)
    assert analog.energy_pj.value == pytest.approx(64 * 70 * 28.74)
    shape = product_shape(node, STRIDED)
    assert shape is not None
    load = load_on(shape, "analog", "unbounded", ODIMO)
    assert load.latency_ns == pytest.approx(144 * 8 * cycle_ns)
    assert load.energy_pj.value == pytest.approx(144 * 8 * cycle_ns * 28.74)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "pixels"),
    [
        (64, 64, 3, 4), (16, 16, 3, 4), (64, 64, 1, 8), (3, 64, 7, 1), (64, 128, 1, 4),
        (128, 640, 1, 1), (256, 256, 1, 2),
    ],
)  # fmt: skip
def test_how_many_pixels_odimo_computes_at_once(
    inputs: int, outputs: int, kernel: int, pixels: int
) -> None:
    engine = ODIMO.chip.engines["analog"]
    assert isinstance(engine, Analog)
    layer = odimo.Layer(
        inputs=inputs,
        outputs=outputs,
        groups=1,
        kernel_rest=kernel,
        kernel_x=kernel,
        positions=1024,
        line=32,
    )
    assert odimo.outputs_at_a_time(layer, engine) == pixels


def cases() -> list[Any]:
    """Every network under every policy; in the usual run the autoencoder, which is quick, and
    one of ResNet-8.
    """
    found = []
    for model, rows in PUBLISHED.items():
        for policy, published in zip(POLICIES, rows, strict=True):
            quick = model == "ad_float" or (model, policy.name) == ("ic_float", "weights resident")
            marks = [] if quick else [pytest.mark.slow]
            name = f"{model}-{policy.name.replace(' ', '_')}"
            found.append(pytest.param(model, policy, published, marks=marks, id=name))
    return found


@pytest.mark.parametrize(("model", "policy", "published"), cases())
def test_the_partition_finds_the_optimum_of_odimo_s_model(
    model: str, policy: Policy, published: tuple[int, float, int], models_folder: Path
) -> None:
    """Cycles within 2 %, energy within 2 % or what its two decimals hide, and as many layers on
    the analog array.
    """
    cycles, energy_uj, analog_layers = published
    found = row(models_folder / "mlperf-tiny" / f"{model}.onnx", policy)
    assert found.cycles == pytest.approx(cycles, rel=0.02)
    assert found.energy_uj == pytest.approx(energy_uj, rel=0.02, abs=0.005)
    assert found.analog_layers == analog_layers


@pytest.fixture(scope="module")
def in_lines_plan() -> Plan:
    """The measured segment as the chip ran it."""
    return plan_of(in_lines(load_target("diana")))


def test_the_measured_segment_of_resnet_18_is_predicted_within_15_percent(
    in_lines_plan: Plan,
) -> None:
    """In a row, overlapped, without changes of format (the SIMD may do them on the way), and
    with the other public model of conv1.
    """
    chip = load_target("diana")
    plan = in_lines_plan
    engines = {step.name: step.engine for step in chip_steps(plan, chip)}
    assert engines["conv1"] == engines["pool"] == engines["add1"] == engines["add2"] == "digital"
    assert sum(step.op == "AnalogProduct" for step in plan.steps) == 5
    for cycles in (
        serial_cycles(plan, chip),
        overlapped_cycles(plan, chip),
        serial_cycles(plan, chip, formats=False),
        with_match_cycles(plan, chip),
    ):
        assert cycles == pytest.approx(MEASURED_CYCLES, rel=0.15)


def test_the_layers_of_the_segment_with_a_pencil(in_lines_plan: Plan) -> None:
    """conv1: 4 blocks of columns * 7 of a line * 112 lines * 147 rows, bytes in and out at 8 a
    cycle, and its weights at 16 after 70 of set-up.

    conv2_1: 14 * 56 activations of 70 ns, 1,152 rows of 30.77 ns.
    """
    chip = load_target("diana")
    steps = {step.name: step for step in in_lines_plan.steps}
    conv1 = 4 * 7 * 112 * 147 + (3 * 224**2 + 64 * 112**2) / 8 + 70 + 3 * 49 * 64 / 16
    assert steps["conv1"].latency_ns.value / chip.cycle_ns == pytest.approx(conv1, abs=1)
    conv2 = 14 * 56 * 70 + 1152 * 30.77
    assert steps["conv2_1"].latency_ns.value == pytest.approx(conv2, abs=2 * chip.cycle_ns)
    assert steps["conv2_1"].attributes["pixels"] == 4
