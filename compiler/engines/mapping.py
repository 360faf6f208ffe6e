"""The ways one matrix product can lie on an engine's arrays."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from compiler.ir.graph import Graph, Node
from compiler.ir.ops import ProductShape, product_shape
from compiler.target.chip import Analog
from compiler.target.digital import MacArray


@dataclass(frozen=True)
class Unroll:
    """Neighbouring outputs of a line that one activation computes, each on columns of its own.

    Their patches overlap and together take `rows` rows; a copy of the weights lies on the rows of
    its own patch, with zeros on the others, so the numbers are those of one output at a time.
    `activations` is what all positions take.
    """

    pixels: int
    rows: int
    activations: int


@dataclass(frozen=True)
class AnalogLayout:
    """A layer on arrays of `array_rows` x `array_columns` cells: tiles of rows and of physical columns (columns * digits).

    `steps` is how often the rows are driven for one position, a slice of the inputs' bits each.
    `rounds` is how many activations follow one another for one position: the tiles of a resident
    layer lie on arrays of their own and work at once, those of a reloaded layer take turns on one
    array. `input_reads` how often each input byte is read from memory. `columns_kept` are the
    columns, over all rows, that no other layer can have while this one lies there. `unroll` says
    how many neighbouring outputs one activation computes.
    """

    shape: ProductShape
    digits: int
    steps: int
    array_rows: int
    array_columns: int
    row_tiles: int
    column_tiles: int
    rounds: int
    input_reads: float
    columns_kept: int
    unroll: Unroll

    @property
    def tiles(self) -> int:
        """Arrays' worth of cells the layer occupies."""
        return self.shape.groups * self.row_tiles * self.column_tiles

    @property
    def used_cells(self) -> int:
        """Cells that hold a weight digit, in all its copies."""
        return self.unroll.pixels * self.shape.weights * self.digits

    @property
    def written_cells(self) -> int:
        """Cells that are written when the layer is loaded: with copies side by side also the zeros between them."""
        return self.unroll.pixels * self.shape.groups * self.unroll.rows * self.physical_columns

    @property
    def physical_columns(self) -> int:
        """Columns of cells that one output of each column of the matrix takes."""
        return self.shape.columns * self.digits

    @property
    def array_cells(self) -> int:
        """Cells of the tiles the layer occupies."""
        return self.tiles * self.array_rows * self.array_columns

    @property
    def utilization(self) -> float:
        """The share of those cells that is used."""
        return self.used_cells / self.array_cells

    def describe(self) -> str:
        """The layout in words."""
        shape = self.shape
        groups = f"{shape.groups} x " if shape.groups > 1 else ""
        digits = f" x {self.digits} digits" if self.digits > 1 else ""
        steps = f" in {self.steps} steps" if self.steps > 1 else ""
        pixels = f", {self.unroll.pixels} pixels at a time" if self.unroll.pixels > 1 else ""
        plural = "s" if self.tiles > 1 else ""
        return (
            f"{groups}{shape.rows}x{shape.columns}{digits}{steps}: {self.tiles} tile{plural} of "
            f"{self.array_rows}x{self.array_columns}, {100 * self.utilization:.0f} % used{pixels}"
        )


@dataclass(frozen=True)
class DigitalLayout:
    """A layer on a digital array: blocks of output channels (or of groups) x output positions, each taking `row_steps` steps.

    `rounds` is how many blocks follow one another on the busiest array. `weight_bytes_kept` is what
    the layer takes of the weight memory while its weights stay, `input_reads` how often each input
    byte is read from memory.
    """

    shape: ProductShape
    blocks: int
    rounds: int
    row_steps: int
    weight_bytes_read: int
    weight_bytes_kept: int
    input_reads: float

    def lane_steps(self, array: MacArray) -> int:
        """Lanes times steps, with or without work."""
        return self.blocks * self.row_steps * array.lanes

    def describe(self, array: MacArray) -> str:
        """The layout in words."""
        lanes = [array.row_lanes] if array.row_lanes > 1 else []
        lanes += [array.columns.value, array.position_lanes]
        used = self.shape.macs / self.lane_steps(array)
        return f"{self.blocks} blocks of {'x'.join(map(str, lanes))}, {100 * used:.0f} % used"


def analog_layout(
    shape: ProductShape,
    digits: int,
    engine: Analog,
    reuse: float = 1.0,
    resident: bool = False,
    unroll: Unroll | None = None,
) -> AnalogLayout:
    """How a layer lies on the engine's arrays.

    `reuse` is how many patches hold each input on the average (see `patch_reuse`).

    Without an `unroll` the outputs are computed one at a time.
    """
    unroll = unroll or Unroll(1, shape.rows, shape.positions)
    columns = shape.columns * digits * unroll.pixels
    row_tiles = ceil(unroll.rows / engine.rows.value)
    column_tiles = ceil(columns / engine.columns.value)
    tiles = shape.groups * row_tiles * column_tiles
    return AnalogLayout(
        shape,
        digits,
        engine.steps,
        engine.rows.value,
        engine.columns.value,
        row_tiles,
        column_tiles,
        1 if resident else tiles,
        column_tiles * reuse,
        strip(columns, engine) if tiles == 1 else tiles * engine.columns.value,
        unroll,
    )


def unroll_of(node: Node, graph: Graph, pixels: int) -> Unroll | None:
    """The unroll of a convolution by so many pixels of a line; None for one at a time."""
    shape = product_shape(node, graph)
    if pixels == 1 or shape is None:
        return None
    kernel = node.ints("kernel", ())
    stride = node.ints("strides", (1,) * len(kernel))[-1]
    dilation = node.ints("dilations", (1,) * len(kernel))[-1]
    taps = {p * stride + k * dilation for p in range(pixels) for k in range(kernel[-1])}
    line = line_of(node, graph)
    return Unroll(
        pixels,
        shape.rows // kernel[-1] * len(taps),
        shape.positions // line * ceil(line / pixels),
    )


def why_not_unrolled(node: Node, graph: Graph, engine: Analog, digits: int, pixels: int) -> str:
    """Why the arrays cannot compute so many pixels of a node in one activation, or an empty string when they can."""
    rule, shape = engine.pixel_unroll, product_shape(node, graph)
    if pixels == 1:
        return ""
    if rule is None:
        return "the arrays compute one pixel at a time"
    if shape is None or not node.ints("kernel", ()):
        return "only a convolution has neighbouring pixels"
    if shape.groups > 1:
        return f"the {shape.groups} groups share no inputs"
    if pixels > line_of(node, graph):
        return f"a line has no more than {line_of(node, graph)} pixels"
    unroll = unroll_of(node, graph, pixels)
    assert unroll is not None
    channels = graph.types[node.inputs[0]].sizes[1]
    rows = unroll.rows // channels * max(channels, rule.least_channels.value)
    if rows > engine.rows.value:
        return f"{pixels} pixels take {rows:,} rows, and an array has {engine.rows.value:,}"
    columns = shape.columns * digits * pixels
    if columns > engine.columns.value:
        return (
            f"{pixels} pixels take {columns:,} columns, and an array has {engine.columns.value:,}"
        )
    return ""


def pixel_choices(node: Node, graph: Graph, engine: Analog, digits: int) -> list[int]:
    """How many pixels of a node one activation can compute: 1 and the powers of two that the engine allows."""
    most = engine.pixel_unroll.most.value if engine.pixel_unroll else 1
    powers = [1 << power for power in range(most.bit_length())]
    return [p for p in powers if not why_not_unrolled(node, graph, engine, digits, p)]


def strip(columns: int, engine: Analog) -> int:
    """The columns that a layer of one tile keeps of an array, beside other layers.

    Of a single array what it needs; of several a half, a quarter, an eighth and so on, since strips
    of such widths always fill whole arrays: layers fit together exactly when their columns add up
    to no more than there are. A layer of several tiles keeps whole arrays, so that its tiles work
    at once.
    """
    if engine.arrays.value == 1:
        return columns
    width = engine.columns.value
    while width % 2 == 0 and width // 2 >= columns:
        width //= 2
    return width


def digital_layout(
    shape: ProductShape, line: int, array: MacArray, reuse: float = 1.0
) -> DigitalLayout:
    """How a layer lies on the array.

    `line` is the number of neighbouring positions (the output's width).

    Small groups lie side by side where the array sums many rows: each on rows and columns of its
    own, with zeros between.
    """
    line = max(1, min(line, shape.positions))
    lines = ceil(shape.positions / line)
    together = min(array.row_lanes // shape.rows, array.columns.value // shape.columns)
    together = max(1, min(together, shape.groups))
    weight_blocks = ceil(shape.groups / together) * ceil(shape.columns / array.columns.value)
    position_blocks = ceil(line / array.position_lanes) * lines
    row_steps = ceil(shape.rows * together / array.row_lanes)
    in_memory = array.is_in_memory
    return DigitalLayout(
        shape,
        weight_blocks * position_blocks,
        ceil(weight_blocks / array.array_count) * position_blocks,
        row_steps,
        0 if in_memory else position_blocks * shape.weights * array.number_bytes,
        weight_blocks * row_steps * array.array_bytes
        if in_memory
        else shape.weights * array.number_bytes,
        ceil(shape.columns / array.columns.value) * reuse,
    )


def patch_reuse(node: Node) -> float:
    """How often an input is read for one pass over a convolution: kernel height / stride times, at least once.

    Neighbouring outputs along a line share a line buffer, lines do not.
    """
    kernel = node.ints("kernel", node.ints("kernel_shape", ()))
    if len(kernel) < 2:
        return 1.0
    strides = node.ints("strides", (1,) * len(kernel))
    return max(1.0, prod(kernel[:-1]) / prod(strides[:-1]))


def line_of(node: Node, graph: Graph) -> int:
    """The number of neighbouring positions of a product's output: its width, or all rows of a dense product."""
    out = graph.types[node.outputs[0]]
    return out.sizes[-1] if node.ints("kernel", ()) else out.elements // out.sizes[-1]
