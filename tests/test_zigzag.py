"""ZigZag's arrays with ZigZag's constants: component by component, and layer by layer where both fill the array the same way.

The figures are zigzag-dse 3.9.1's own: one activation of its 128 x 128 examples (8-bit inputs and weights, 28 nm, 0.9 V), and the energy
of the array for single layers on its shipped aimc, dimc and tpu_like hardware.
"""

from __future__ import annotations

import pytest

from compiler.cost.array_step import ArrayStep, array_steps
from compiler.cost.node import node_cost
from compiler.target import load_target
from compiler.text import from_text


def step_of(chip: str) -> ArrayStep:
    (step,) = array_steps(load_target(chip))
    return step


def test_an_activation_of_the_analog_array() -> None:
    step = step_of("zigzag_aimc")
    parts = {name: part.value for name, part in step.parts_pj.items()}
    zigzag = {
        "row_driver.driver": 10.37,
        "cell.cell": 37.16,
        "bitline.bitline": 37.16,
        "converter.converter": 717.91,
        "recombine.place_value": 33.09,
        "recombine.accumulator": 15.68,
    }
    assert parts == pytest.approx(zigzag, rel=1e-3)
    assert step.energy_pj.value == pytest.approx(851.37, rel=1e-4)
    assert step.time_ns.value == pytest.approx(14.072, rel=1e-4)
    assert 2 * 128 * 128 / (4 * step.energy_pj.value) == pytest.approx(9.622, rel=1e-3)  # TOPS/W


def test_an_activation_of_the_digital_array() -> None:
    """joulec's step takes all 8 bits of an input, ZigZag's activation one."""
    step = step_of("zigzag_dimc")
    parts = {name: part.value / 8 for name, part in step.parts_pj.items()}
    zigzag = {"mac.multiplier": 37.16, "mac.adder_tree": 494.68, "mac.accumulator": 15.02}
    assert parts == pytest.approx(zigzag, rel=1e-3)
    assert step.energy_pj.value / 8 == pytest.approx(546.86, rel=1e-4)
    assert step.time_ns.value / 8 == pytest.approx(3.757, rel=1e-4)


def convolution(channels: int, outputs: int, size: int, kernel: int, width: int = 0, groups: int = 1) -> str:  # fmt: skip
    """A square convolution (or size x width) that keeps its size, as the one node of a graph."""
    width, pad = width or size, kernel // 2
    rows = channels // groups * kernel * kernel
    weights = f"{groups}, " if groups > 1 else "1, "
    return f"""\
graph g(x: float32[1, {channels}, {size}, {width}]) -> (y)
w: float32[{weights}{rows}, {outputs // groups}] = const random(1)
y: float32[1, {outputs}, {size}, {width}] = Product(x, w) kernel=[{kernel}, {kernel}] pads=[{pad}, {pad}, {pad}, {pad}]
"""


def dense(inputs: int, outputs: int) -> str:
    return f"""\
graph g(x: float32[1, {inputs}]) -> (y)
w: float32[1, {inputs}, {outputs}] = const random(1)
y: float32[1, {outputs}] = Product(x, w)
"""


LAYERS = {
    "conv 3x3 64->64 8x8": convolution(64, 64, 8, 3),
    "conv 3x3 16->16 32x32": convolution(16, 16, 32, 3),
    "pointwise 128->128 6x6": convolution(128, 128, 6, 1),
    "depthwise 128 3x3 6x6": convolution(128, 128, 6, 3, groups=128),
    "pointwise 64->64 25x5": convolution(64, 64, 25, 1, width=5),
    "fc 640->128": dense(640, 128),
    "fc 1152->512": dense(1152, 512),
}


def array_nj(layer: str, chip: str) -> float:
    """The energy of the array for a layer: cells or multipliers, drivers, converters, adders; no memory."""
    graph = from_text(LAYERS[layer])
    target = load_target(chip)
    if target.analog is None:
        cost = node_cost(graph.nodes[0], graph, "digital", target)
    else:
        cost = node_cost(graph.nodes[0], graph, "analog", target, digits=8)
    parts = [cost.parts[name].value for name in ("compute", "conversion") if name in cost.parts]
    return sum(parts) / 1000


@pytest.mark.parametrize(
    ("layer", "chip", "zigzag_nj"),
    [
        ("pointwise 128->128 6x6", "zigzag_aimc", 122.6),
        ("pointwise 128->128 6x6", "zigzag_dimc", 157.5),
        ("fc 640->128", "zigzag_aimc", 17.03),
        ("fc 640->128", "zigzag_dimc", 21.87),
        ("fc 1152->512", "zigzag_aimc", 122.6),
        ("fc 1152->512", "zigzag_dimc", 157.5),
        # Arrays that are not full: in both, charges in the analog array follow the wires.
        ("pointwise 64->64 25x5", "zigzag_aimc", 212.8),
        ("conv 3x3 16->16 32x32", "zigzag_aimc", 1042.1),
        ("depthwise 128 3x3 6x6", "zigzag_aimc", 177.4),
    ],
)
def test_layers_that_both_lay_the_same_way(layer: str, chip: str, zigzag_nj: float) -> None:
    assert array_nj(layer, chip) == pytest.approx(zigzag_nj, rel=0.02)


def test_a_convolution_of_576_rows_takes_five_tiles_here_and_six_there() -> None:
    """ZigZag keeps whole lines of the kernel in a tile: 6 tiles of 96 rows, where 5 of 128 hold all rows: 672.1 against 569 nJ.

    Only what is charged for each column of each tile differs: its conversion, its bitline and its adders.
    """
    parts = step_of("zigzag_aimc").parts_pj
    names = ("converter.converter", "bitline.bitline", "recombine.place_value", "recombine.accumulator")  # fmt: skip
    tile_nj = 64 * 4 * sum(parts[name].value for name in names) / 2 / 1000  # half the columns
    found = array_nj("conv 3x3 64->64 8x8", "zigzag_aimc")
    assert found == pytest.approx(569, rel=0.01)
    assert found + tile_nj == pytest.approx(672.1, rel=0.001)


@pytest.mark.parametrize(
    ("layer", "zigzag_nj", "joulec_nj"),
    [
        ("pointwise 64->64 25x5", 168.3, 546.9),
        ("conv 3x3 64->64 8x8", 709.4, 1400),
        ("conv 3x3 16->16 32x32", 1221.9, 8960),
        ("depthwise 128 3x3 6x6", 1387.2, 1575),
    ],
)
def test_digital_arrays_that_are_not_full(layer: str, zigzag_nj: float, joulec_nj: float) -> None:
    """Idle lanes: joulec charges them whole, ZigZag their multipliers and the adders that still have an input. So joulec is above."""
    found = array_nj(layer, "zigzag_dimc")
    assert found == pytest.approx(joulec_nj, rel=0.001)
    assert found > zigzag_nj


def test_the_systolic_array_s_multipliers() -> None:
    """0.04 pJ a MAC; ZigZag counts the registers with the memories."""
    target = load_target("tpu_like")
    assert target.digital is not None
    assert target.digital[1].array is not None
    assert 64 * 64 * 9 * 64 * target.digital[1].array.mac_pj.value == pytest.approx(
        94.4e3, rel=1e-3
    )
