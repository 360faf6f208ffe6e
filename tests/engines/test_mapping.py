"""How a matrix lies on an engine's arrays, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.engines.mapping import (
    analog_mapping,
    digital_tiling,
    output_unrolls,
    output_width,
    patch_reuse,
    reserved_columns,
    unroll_of,
    why_not_unrolled,
)
from compiler.ir.formats import Format
from compiler.ir.graph import Graph
from compiler.ir.mapping import ProductShape, Unroll
from compiler.ir.ops import product_shape
from compiler.ir.text import from_text
from compiler.target.chip import Analog, load_target
from compiler.target.digital import MacArray
from tests.support.chips import only_analog, only_digital
from tests.support.mappings import cost_on, load_on

TILE16, DIANA = load_target("tile16"), load_target("diana")


def analog(name: str = "tile16") -> Analog:
    return only_analog(load_target(name))


def slices(count: int) -> Format:
    return Format.analog("analog", count)


def digital(**changes: int | bool) -> MacArray:
    """tile16's digital array with other numbers."""
    found = only_digital(load_target("tile16"))
    assert found.array is not None
    given: dict[str, object] = {
        key: {"value": value, "source": "a test"} for key, value in changes.items()
    }
    if changes.get("holds_weights"):
        given["weight_read_pj_per_byte"] = None
    table = {**found.array.model_dump(), **given}
    return MacArray.model_validate(table)


# -- on an analog array


@pytest.mark.parametrize(
    ("groups", "rows", "columns", "digits", "tiles", "says"),
    [
        (1, 16, 16, 1, 1, "16x16: 1 tile of 16x16, 100 % used"),
        (1, 20, 20, 1, 4, "20x20: 4 tiles of 16x16, 39 % used"),
        (1, 17, 16, 1, 2, "17x16: 2 tiles of 16x16, 53 % used"),
        (1, 16, 16, 2, 2, "16x16 x 2 digits: 2 tiles of 16x16, 100 % used"),
        (1, 20, 10, 2, 4, "20x10 x 2 digits: 4 tiles of 16x16, 39 % used"),
        (8, 9, 1, 1, 8, "8 x 9x1: 8 tiles of 16x16, 4 % used"),
        (1, 1, 1, 1, 1, "1x1: 1 tile of 16x16, 0 % used"),
    ],
)
def test_tiles(groups: int, rows: int, columns: int, digits: int, tiles: int, says: str) -> None:
    layout = analog_mapping(ProductShape(groups, rows, columns, 1), slices(digits), analog())
    assert layout.tiles == tiles
    assert layout.describe() == says
    assert layout.array_cells == tiles * 256
    assert layout.used_cells == groups * rows * columns * digits


@pytest.mark.parametrize(
    ("chip", "columns", "kept"),
    [("diana", 49, 49), ("diana", 512, 512), ("tile16", 1, 1), ("tile16", 5, 8), ("tile16", 9, 16)],
)
def test_a_layer_of_one_tile_leaves_columns_to_others(chip: str, columns: int, kept: int) -> None:
    layout = analog_mapping(ProductShape(1, 16, columns, 1), slices(1), analog(chip))
    assert layout.reserved_columns == kept


def test_a_layer_of_several_tiles_keeps_whole_arrays() -> None:
    assert analog_mapping(ProductShape(1, 20, 4, 1), slices(1), analog()).reserved_columns == 2 * 16


@settings(deadline=None)
@given(st.lists(st.integers(1, 16), max_size=30))
def test_strips_that_add_up_to_the_arrays_fit_them(widths: list[int]) -> None:
    """Widest first, each into the first array with room: no array is left partly empty while
    another is needed.
    """
    strips = sorted((reserved_columns(width, analog()) for width in widths), reverse=True)
    free: list[int] = []
    for width in strips:
        if all(room < width for room in free):
            free.append(16)
        free[next(i for i, room in enumerate(free) if room >= width)] -= width
    assert len(free) == -(-sum(strips) // 16)


def test_a_resident_layer_works_on_all_its_arrays_at_once() -> None:
    """A reloaded one takes turns on one array; both read the input once for each column tile."""
    shape = ProductShape(1, 20, 20, 1)
    reloaded = analog_mapping(shape, slices(1), analog(), reuse=3.0)
    resident = analog_mapping(shape, slices(1), analog(), reuse=3.0, resident=True)
    assert (reloaded.rounds, resident.rounds) == (4, 1)
    assert reloaded.input_reads == resident.input_reads == 2 * 3.0


def test_a_resnet_layer_on_diana() -> None:
    """64 channels x 3 x 3 are 576 of 1152 rows; three digits of 64 columns are 192 of 512."""
    layout = analog_mapping(ProductShape(1, 576, 64, 64), slices(3), analog("diana"))
    assert layout.describe() == "576x64 x 3 digits: 1 tile of 1152x512, 19 % used"


# Groups, rows, columns, digits.
@given(st.integers(1, 5), st.integers(1, 100), st.integers(1, 100), st.integers(1, 2))
def test_a_layout_holds_every_weight_and_no_tile_is_empty(
    groups: int, rows: int, columns: int, digits: int
) -> None:
    layout = analog_mapping(ProductShape(groups, rows, columns, 1), slices(digits), analog())
    assert 0 < layout.utilization <= 1
    assert layout.row_tiles * 16 >= rows > (layout.row_tiles - 1) * 16
    assert layout.column_tiles * 16 >= columns * digits > (layout.column_tiles - 1) * 16


# -- on a digital array (4 columns x 4 positions on tile16)


@pytest.mark.parametrize(
    ("shape", "line", "blocks", "weights", "says"),
    [
        (ProductShape(1, 20, 20, 1), 1, 5, 400, "5 blocks of 4x4, 25 % used"),
        (ProductShape(1, 18, 8, 36), 6, 24, 12 * 18 * 8, "24 blocks of 4x4, 75 % used"),
        (ProductShape(1, 4, 4, 16), 16, 4, 4 * 16, "4 blocks of 4x4, 100 % used"),
        (ProductShape(8, 9, 1, 16), 4, 32, 8 * 4 * 9, "32 blocks of 4x4, 25 % used"),
    ],
)
def test_blocks(shape: ProductShape, line: int, blocks: int, weights: int, says: str) -> None:
    """Blocks of columns x blocks of positions along each line; each block reads its weights."""
    layout = digital_tiling(shape, line, digital())
    assert (layout.blocks, layout.weight_bytes_read) == (blocks, weights)
    assert layout.describe() == says


@pytest.mark.parametrize(
    ("shape", "array", "blocks", "rounds", "row_steps", "says"),
    [
        # 20 rows in steps of 8, three for each block of 4 columns.
        (ProductShape(1, 20, 20, 1), {"rows": 8}, 5, 5, 3, "5 blocks of 8x4x4, 21 % used"),
        # Two arrays share the five blocks of columns.
        (
            ProductShape(1, 20, 20, 1), {"rows": 8, "arrays": 2}, 5, 3, 3,
            "5 blocks of 8x4x4, 21 % used",
        ),
        # Positions need the same weights, so they stay on one array.
        (
            ProductShape(1, 18, 4, 16), {"arrays": 2, "rows": 9}, 4, 4, 2,
            "4 blocks of 9x4x4, 100 % used",
        ),
        # Three groups of 9 rows and a column lie side by side on 32 rows and 4 columns.
        (ProductShape(8, 9, 1, 4), {"rows": 32}, 3, 3, 1, "3 blocks of 32x4x4, 19 % used"),
    ],
)  # fmt: skip
def test_arrays_that_sum_rows(
    shape: ProductShape, array: dict[str, int], blocks: int, rounds: int, row_steps: int, says: str
) -> None:
    layout = digital_tiling(shape, shape.positions, digital(**array))
    assert (layout.blocks, layout.rounds, layout.row_steps) == (blocks, rounds, row_steps)
    assert layout.describe() == says


def test_an_array_that_holds_weights_reads_none_and_keeps_whole_arrays() -> None:
    """20 x 20 weights on 16 x 4: two steps of rows, five blocks of columns, 64 bytes each."""
    array = digital(rows=16, holds_weights=True)
    layout = digital_tiling(ProductShape(1, 20, 20, 1), 1, array)
    assert (layout.weight_bytes_read, layout.weight_bytes) == (0, 2 * 5 * 64)
    beside = digital_tiling(ProductShape(1, 20, 20, 1), 1, digital(rows=16))
    assert (beside.weight_bytes_read, beside.weight_bytes) == (400, 400)


def convolution(attributes: str, out: str) -> Graph:
    return from_text(f"""\
graph g(x: float32[1, 2, 8, 8]) -> (y)
w: float32[1, 18, 4] = const random(1)
y: float32[1, 4, {out}] = Product(x, w) {attributes}
""")


@pytest.mark.parametrize(
    ("attributes", "out", "reuse", "line"),
    [
        ("kernel=[3, 3] pads=[1, 1, 1, 1]", "8, 8", 3.0, 8),
        ("kernel=[3, 3] pads=[1, 1, 1, 1] strides=[2, 2]", "4, 4", 1.5, 4),
        ("kernel=[3, 3] strides=[3, 1]", "2, 6", 1.0, 6),
        ("kernel=[3, 3] strides=[5, 1]", "2, 6", 1.0, 6),
    ],
)
def test_lines_of_a_convolution_share_their_inputs(
    attributes: str, out: str, reuse: float, line: int
) -> None:
    """Each input is read once for each kernel row that passes over it: kernel height / stride."""
    graph = convolution(attributes, out)
    assert patch_reuse(graph.nodes[0]) == reuse
    assert output_width(graph.nodes[0], graph) == line


def test_a_dense_layer_reads_its_input_once_and_puts_its_rows_side_by_side() -> None:
    graph = from_text("""\
graph g(x: float32[1, 3, 2]) -> (y)
w: float32[1, 2, 2] = const [1, 2, 3, 4]
y: float32[1, 3, 2] = Product(x, w)
""")
    assert patch_reuse(graph.nodes[0]) == 1.0
    assert output_width(graph.nodes[0], graph) == 3


# -- several pixels in one activation


def unrolled_convolution(
    channels: int, columns: int, size: int, kernel: int, stride: int = 1, dilation: int = 1
) -> Graph:
    out = (size - dilation * (kernel - 1) - 1) // stride + 1
    return from_text(f"""\
graph g(x: float32[1, {channels}, {size}, {size}]) -> (y)
w: float32[1, {channels * kernel**2}, {columns}] = const random(1)
y: float32[1, {columns}, {out}, {out}] = Product(x, w) kernel=[{kernel}, {kernel}] \
strides=[{stride}, {stride}] dilations=[{dilation}, {dilation}]
""")


@pytest.mark.parametrize(
    ("layer", "pixels"),
    [
        ((64, 64, 58, 3), [1, 2, 4]),  # 192 * (2 + u) rows: 8 pixels would take 1,920
        ((64, 64, 56, 1), [1, 2, 4, 8]),  # 64 * u rows, 64 * u columns
        ((64, 128, 56, 1), [1, 2, 4]),  # 8 would take 1,024 columns
        ((3, 16, 40, 3), [1, 2, 4]),  # 3 channels take the rows of 64
        ((64, 16, 5, 3), [1, 2]),  # a line of 3
        ((64, 64, 59, 3, 2), [1, 2]),  # patches two apart: 192 * (3 + 2 (u - 1)) rows
    ],
)
def test_how_many_pixels_diana_computes_at_once(layer: tuple[int, ...], pixels: list[int]) -> None:
    graph = unrolled_convolution(*layer)
    assert output_unrolls(graph.nodes[0], graph, analog("diana"), 1) == pixels
    assert output_unrolls(graph.nodes[0], graph, analog("tile16"), 1) == [1]


def test_why_not_more_pixels() -> None:
    def reason(graph: Graph, pixels: int, chip: str = "diana", digits: int = 1) -> str:
        return why_not_unrolled(graph.nodes[0], graph, analog(chip), digits, pixels)

    layer = unrolled_convolution(64, 64, 58, 3)
    assert reason(layer, 4) == ""
    assert reason(layer, 8) == "8 pixels take 1,920 rows, and an array has 1,152"
    assert reason(layer, 4, digits=3) == "4 pixels take 768 columns, and an array has 512"
    assert reason(layer, 2, "tile16") == "the arrays compute one pixel at a time"
    assert reason(unrolled_convolution(64, 16, 5, 3), 4) == "a line has no more than 3 pixels"
    dense = from_text(
        "graph g(x: float32[9, 4]) -> (y)\nw: float32[1, 4, 5] = const random(1)\n"
        "y: float32[9, 5] = Product(x, w)\n"
    )
    assert reason(dense, 2) == "only a convolution has neighbouring pixels"


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("pixels", [2, 4])
def test_an_unrolled_array_gives_the_same_numbers(
    kernel: int, stride: int, dilation: int, pixels: int
) -> None:
    """The array as it is wired: on its rows the distinct inputs of neighbouring patches, and for
    each pixel a copy of the weights.

    Its sums are those of one pixel at a time, and it has the rows, columns and activations that are
    charged.
    """
    channels, columns, size = 2, 3, 14
    graph = unrolled_convolution(channels, columns, size, kernel, stride, dilation)
    node = graph.nodes[0]
    random = np.random.default_rng(0)
    image = random.integers(-63, 64, (channels, size, size))
    weights = random.integers(-1, 2, (channels, kernel, kernel, columns))
    line = graph.types["y"].sizes[-1]
    taps = sorted({p * stride + k * dilation for p in range(pixels) for k in range(kernel)})
    array = np.zeros((channels, kernel, len(taps), pixels, columns), int)
    for p in range(pixels):
        for k in range(kernel):
            array[:, :, taps.index(p * stride + k * dilation), p] += weights[:, :, k]
    activations = 0
    for y in range(line):
        rows = image[:, [y * stride + k * dilation for k in range(kernel)]]
        for first in range(0, line, pixels):
            wide = np.pad(rows, ((0, 0), (0, 0), (0, pixels * stride + kernel * dilation)))
            driven = wide[:, :, [first * stride + tap for tap in taps]]
            sums = np.einsum("crt,crtpk->pk", driven, array)
            activations += 1
            for p in range(min(pixels, line - first)):
                x = (first + p) * stride
                patch = rows[:, :, [x + k * dilation for k in range(kernel)]]
                expected = np.einsum("crk,crkn->n", patch, weights)
                np.testing.assert_array_equal(sums[p], expected)
    unroll = unroll_of(node, graph, pixels)
    assert unroll == Unroll(pixels, channels * kernel * len(taps), activations)
    shape = product_shape(node, graph)
    assert shape is not None
    layout = analog_mapping(shape, slices(1), analog("diana"), unroll=unroll)
    assert layout.written_cells == array.size
    assert layout.reserved_columns == pixels * columns


def test_unrolling_is_charged_what_it_takes() -> None:
    """64 channels, 3x3, 56 x 56 outputs, 4 at a time: 784 activations of 1,152 rows and 256
    columns, and 1,152 rows to load.
    """
    graph = unrolled_convolution(64, 64, 58, 3)
    node, diana = graph.nodes[0], load_target("diana")
    engine = analog("diana")
    one = cost_on(node, graph, "analog", diana, resident=True)
    four = cost_on(node, graph, "analog", diana, resident=True, outputs=4)
    assert four.parts["conversion"].value == pytest.approx(
        784 * 1152 * engine.row_driver_pj.value + 56 * 56 * 64 * engine.converter_pj.value
    )
    cells = 56 * 56 * 64 * 1152
    conversions = 56 * 56 * 64
    assert four.parts["compute"].value == pytest.approx(
        cells * engine.cell_pj.value + conversions * engine.recombine_pj.value
    )
    assert one.latency_ns >= 56 * 56 * 70
    shape = product_shape(node, graph)
    assert shape is not None
    load = load_on(shape, "analog", "l2", diana, unroll=unroll_of(node, graph, 4))
    assert load.latency_ns == pytest.approx(1152 * 8 * diana.cycle_ns, rel=1e-3)
    assert load.parts["weight_load"].value == pytest.approx(
        576 * 64 * 2 / 8 * diana.memories["l2"].read_pj_per_byte.value
        + 1152 * 256 * 2 * engine.write_pj_per_bit.value
    )
