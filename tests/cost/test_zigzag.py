"""ZigZag's arrays with ZigZag's constants: component by component, and layer by layer where both
fill the array the same way.

The figures are zigzag-dse 3.9.1's own: one activation of its 128 x 128 examples (8-bit inputs and
weights, 28 nm, 0.9 V), and the energy of the array for single layers on its shipped aimc, dimc and
tpu_like hardware.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import pytest

from compiler.cost.array_step import ArrayStep, array_steps
from compiler.ir.ops import product_shape
from compiler.ir.text import from_text
from compiler.target.chip import load_target, parse_target
from tests.support.mappings import cost_on, load_on


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
    zigzag = {"mac.multiplier": 37.16, "mac.adder_tree": 494.68, "accumulate.accumulator": 15.02}
    assert parts == pytest.approx(zigzag, rel=1e-3)
    assert step.energy_pj.value / 8 == pytest.approx(546.86, rel=1e-4)
    assert step.time_ns.value / 8 == pytest.approx(3.757, rel=1e-4)


def convolution(
    channels: int, outputs: int, size: int, kernel: int, width: int = 0, groups: int = 1
) -> str:
    """A square convolution (or size x width) that keeps its size, as the one node of a graph."""
    width, pad = width or size, kernel // 2
    rows = channels // groups * kernel * kernel
    weights = f"{groups}, " if groups > 1 else "1, "
    return f"""\
graph g(x: float32[1, {channels}, {size}, {width}]) -> (y)
w: float32[{weights}{rows}, {outputs // groups}] = const random(1)
y: float32[1, {outputs}, {size}, {width}] = Product(x, w) kernel=[{kernel}, {kernel}] \
pads=[{pad}, {pad}, {pad}, {pad}]
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


# zigzag-dse 3.9.1 with its default search: the array's energy and the layer's (array, SRAM, DRAM,
# weights loaded from DRAM), in nJ.
ZIGZAG_NJ = {
    "zigzag_aimc": {
        "conv 3x3 64->64 8x8": (672.1, 4754.7),
        "conv 3x3 16->16 32x32": (1042.1, 6400.2),
        "pointwise 128->128 6x6": (122.6, 1615.3),
        "depthwise 128 3x3 6x6": (177.4, 946.9),
        "pointwise 64->64 25x5": (212.8, 671.6),
        "fc 640->128": (17.0, 7197.8),
        "fc 1152->512": (122.6, 51821.6),
    },
    "zigzag_dimc": {
        "conv 3x3 64->64 8x8": (709.4, 4792.1),
        "conv 3x3 16->16 32x32": (1221.9, 6580.0),
        "pointwise 128->128 6x6": (157.5, 1650.2),
        "depthwise 128 3x3 6x6": (1387.2, 2156.8),
        "pointwise 64->64 25x5": (168.3, 627.1),
        "fc 640->128": (21.9, 7202.6),
        "fc 1152->512": (157.5, 51856.5),
    },
}
# What they lay on the array in different ways; docs/zigzag.md says why.
OTHERWISE = {
    ("zigzag_aimc", "conv 3x3 64->64 8x8"),
    ("zigzag_dimc", "conv 3x3 64->64 8x8"),
    ("zigzag_dimc", "depthwise 128 3x3 6x6"),
}
# Layers whose inputs and outputs stay within 32 KB in both, so that the memories are charged alike
# too.
WHOLE = ("pointwise 128->128 6x6", "pointwise 64->64 25x5", "fc 640->128", "fc 1152->512")


def costs_nj(layer: str, chip: str) -> tuple[float, float]:
    """The energy of the array (cells or multipliers, drivers, converters, adders), and the
    layer's with memories and weight load.
    """
    graph = from_text(LAYERS[layer])
    node = graph.nodes[0]
    target = load_target(chip)
    engine = "digital" if not target.analog_engines else "analog"
    digits = 1 if not target.analog_engines else 8
    cost = cost_on(node, graph, engine, target, weight_slices=digits)
    shape = product_shape(node, graph)
    assert shape is not None
    load = load_on(shape, engine, "dram", target, weight_slices=digits)
    parts = [cost.parts[name].value for name in ("compute", "conversion") if name in cost.parts]
    return sum(parts) / 1000, (cost.energy_pj.value + load.energy_pj.value) / 1000


def array_nj(layer: str, chip: str) -> float:
    return costs_nj(layer, chip)[0]


def page_table() -> str:
    """The table of docs/zigzag.md."""
    lines = ["| chip | layer | array, ZigZag | array, joulec | layer, ZigZag | layer, joulec |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for chip, layers in ZIGZAG_NJ.items():
        for layer, (array, whole) in layers.items():
            found = costs_nj(layer, chip)
            cells = [f"{array:,.1f}", f"{found[0]:,.1f}", f"{whole:,.1f}", f"{found[1]:,.1f}"]
            lines.append(f"| `{chip}` | {layer} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("chip", ZIGZAG_NJ)
@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer: str, chip: str) -> None:
    """Within 2 % where both lay the layer the same way, on the array alone and with the
    memories.
    """
    array, whole = ZIGZAG_NJ[chip][layer]
    found = costs_nj(layer, chip)
    assert (found[0] == pytest.approx(array, rel=0.02)) == ((chip, layer) not in OTHERWISE)
    if layer in WHOLE:
        assert found[1] == pytest.approx(whole, rel=0.02)


def test_a_convolution_of_576_rows_takes_five_tiles_here_and_six_there() -> None:
    """ZigZag keeps whole lines of the kernel in a tile: 6 tiles of 96 rows, where 5 of 128 hold
    all rows: 672.1 against 569 nJ.

    Only what is charged for each column of each tile differs: its conversion, its bitline and its
    adders.
    """
    parts = step_of("zigzag_aimc").parts_pj
    names = (
        "converter.converter",
        "bitline.bitline",
        "recombine.place_value",
        "recombine.accumulator",
    )
    tile_nj = 64 * 4 * sum(parts[name].value for name in names) / 2 / 1000  # half the columns
    found = array_nj("conv 3x3 64->64 8x8", "zigzag_aimc")
    assert found == pytest.approx(569, rel=0.01)
    assert found + tile_nj == pytest.approx(672.1, rel=0.001)


def test_the_same_array_with_the_library_s_constants_is_on_the_page_too() -> None:
    text = (resources.files("compiler") / "targets" / "zigzag_aimc.toml").read_text(
        encoding="utf-8"
    )
    before, _, rest = text.partition("[components]")
    chip = parse_target(
        (before + "[[published]]" + rest.partition("[[published]]")[2]).encode(), "x"
    )
    energy = array_steps(chip)[0].energy_pj
    page = (Path(__file__).parents[2] / "docs" / "zigzag.md").read_text(encoding="utf-8")
    assert f"is {energy.value:,.0f} pJ\nin [{energy.low:,.0f}, {energy.high:,.0f}]" in page
    assert energy.low < 851.37 < energy.high


def test_the_systolic_array_s_multipliers() -> None:
    """0.04 pJ a MAC; ZigZag counts the registers with the memories."""
    target = load_target("tpu_like")
    (unit,) = target.digital_engines.values()
    assert unit.array is not None
    assert 64 * 64 * 9 * 64 * unit.array.mac_pj.value == pytest.approx(94.4e3, rel=1e-3)
