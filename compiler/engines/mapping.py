"""Builds the mappings of a node onto an engine's arrays, and explains why others cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, prod

from compiler.ir.formats import FLOAT, INT8, Format
from compiler.ir.graph import Graph, Node
from compiler.ir.mapping import (
    AnalogMapping,
    DigitalMapping,
    DigitalTiling,
    HostMapping,
    NodeMapping,
    ProductShape,
    Unroll,
)
from compiler.ir.ops import product_shape
from compiler.target.chip import Analog, Target
from compiler.target.digital import Digital, MacArray


def map_node(
    node: Node,
    graph: Graph,
    engine: str,
    target: Target,
    *,
    weight_slices: int = 1,
    resident: bool = False,
    outputs: int = 1,
) -> NodeMapping:
    """Maps a node onto an engine that can take it.

    On analog arrays a weight takes so many slices, and an activation computes so many `outputs`;
    the weights of a product stay where they are `resident`.
    """
    unit = target.chip.engines[engine]
    if isinstance(unit, Analog):
        form = Format.analog(engine, weight_slices)
        return map_analog(node, graph, form, unit, resident=resident, outputs=outputs)
    if isinstance(unit, Digital):
        return map_digital(node, graph, engine, unit, resident=resident)
    return HostMapping(engine=engine)


def analog_mappings(
    node: Node, graph: Graph, form: Format, unit: Analog
) -> Iterator[AnalogMapping]:
    """Lists all ways a product can lie on the arrays of the analog engine whose format it takes.

    All are reloaded; `replace(mapping, resident=True)` is the same with weights that stay. What the
    partition tries and what the lower bound is of comes from here alone.
    """
    for outputs in output_unrolls(node, graph, unit, form.weight_slices):
        yield map_analog(node, graph, form, unit, resident=False, outputs=outputs)


def map_like(node: Node, graph: Graph, chosen: NodeMapping, target: Target) -> NodeMapping:
    """Maps a layer of another size as `chosen` is, one output at a time where that does not fit."""
    if not isinstance(chosen, AnalogMapping):
        return map_node(node, graph, chosen.engine, target, resident=chosen.resident)
    unit, outputs = target.analog_engines[chosen.engine], chosen.unroll.outputs
    if why_not_unrolled(node, graph, unit, chosen.weight_slices, outputs):
        outputs = 1
    return map_analog(node, graph, chosen.format, unit, resident=chosen.resident, outputs=outputs)


def map_off_arrays(engine: str, target: Target) -> DigitalMapping | HostMapping:
    """Maps a node that lies on no array onto a digital engine's vector unit, or the host."""
    unit = target.chip.engines[engine]
    if not isinstance(unit, Digital):
        return HostMapping(engine=engine)
    return DigitalMapping(engine=engine, format=_digital_format(unit))


def map_analog(
    node: Node, graph: Graph, form: Format, unit: Analog, *, resident: bool, outputs: int = 1
) -> AnalogMapping:
    """Maps a product onto the arrays of the analog engine whose format it takes."""
    shape = product_shape(node, graph)
    assert shape is not None
    unroll = unroll_of(node, graph, outputs)
    reuse = patch_reuse(node)
    return analog_mapping(shape, form, unit, reuse=reuse, resident=resident, unroll=unroll)


def map_digital(
    node: Node, graph: Graph, engine: str, unit: Digital, *, resident: bool
) -> DigitalMapping:
    """Maps a node onto a digital engine: a product onto its array, others onto its vector unit."""
    form = _digital_format(unit)
    shape = product_shape(node, graph)
    if shape is None or unit.array is None:
        return DigitalMapping(engine=engine, format=form)
    tiling = digital_tiling(shape, output_width(node, graph), unit.array, patch_reuse(node))
    return DigitalMapping(engine=engine, format=form, tiling=tiling, resident=resident)


def _digital_format(unit: Digital) -> Format:
    return FLOAT if unit.arithmetic == "float32" else INT8


def analog_mapping(
    shape: ProductShape,
    form: Format,
    unit: Analog,
    *,
    reuse: float = 1.0,
    resident: bool = False,
    unroll: Unroll | None = None,
) -> AnalogMapping:
    """Maps a matrix onto the arrays of an analog engine.

    `reuse` is how many patches hold each input on the average (see `patch_reuse`). Without an
    `unroll` the outputs are computed one at a time.
    """
    unroll = unroll or Unroll(1, shape.rows, shape.positions)
    columns = shape.columns * form.weight_slices * unroll.outputs
    row_tiles = ceil(unroll.rows / unit.rows.value)
    column_tiles = ceil(columns / unit.columns.value)
    tiles = shape.groups * row_tiles * column_tiles
    one_tile = tiles == 1
    return AnalogMapping(
        format=form,
        shape=shape,
        array_rows=unit.rows.value,
        array_columns=unit.columns.value,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        array_steps=unit.steps,
        input_reads=column_tiles * reuse,
        reserved_columns=reserved_columns(columns, unit)
        if one_tile
        else tiles * unit.columns.value,
        unroll=unroll,
        resident=resident,
    )


def digital_tiling(
    shape: ProductShape, width: int, array: MacArray, reuse: float = 1.0
) -> DigitalTiling:
    """Tiles a matrix for a digital array.

    `width` is the number of neighbouring positions (see `output_width`). Small groups lie side by
    side where the array sums many rows: each on rows and columns of its own, with zeros between.
    """
    width = max(1, min(width, shape.positions))
    lines = ceil(shape.positions / width)
    together = min(array.row_lanes // shape.rows, array.columns.value // shape.columns)
    together = max(1, min(together, shape.groups))
    weight_blocks = ceil(shape.groups / together) * ceil(shape.columns / array.columns.value)
    position_blocks = ceil(width / array.position_lanes) * lines
    row_steps = ceil(shape.rows * together / array.row_lanes)
    stored_bytes = shape.weights * array.number_bytes
    in_memory_bytes = weight_blocks * row_steps * array.array_bytes
    weight_bytes = in_memory_bytes if array.is_in_memory else stored_bytes
    capacity_bytes = array.weight_memory_bytes.value
    return DigitalTiling(
        shape=shape,
        row_lanes=array.row_lanes,
        column_lanes=array.columns.value,
        position_lanes=array.position_lanes,
        blocks=weight_blocks * position_blocks,
        rounds=ceil(weight_blocks / array.array_count) * position_blocks,
        row_steps=row_steps,
        weight_bytes_read=0 if array.is_in_memory else position_blocks * stored_bytes,
        weight_bytes=weight_bytes,
        working_bytes=min(weight_bytes, row_steps * array.array_bytes, capacity_bytes),
        input_reads=ceil(shape.columns / array.columns.value) * reuse,
    )


def unroll_of(node: Node, graph: Graph, outputs: int) -> Unroll | None:
    """Unrolls a convolution by so many outputs of a line; None for one at a time."""
    shape = product_shape(node, graph)
    if outputs == 1 or shape is None:
        return None
    kernel = node.ints("kernel", ())
    stride = node.ints("strides", (1,) * len(kernel))[-1]
    dilation = node.ints("dilations", (1,) * len(kernel))[-1]
    taps = {p * stride + k * dilation for p in range(outputs) for k in range(kernel[-1])}
    width = output_width(node, graph)
    return Unroll(
        outputs,
        shape.rows // kernel[-1] * len(taps),
        shape.positions // width * ceil(width / outputs),
    )


def why_not_unrolled(
    node: Node, graph: Graph, unit: Analog, weight_slices: int, outputs: int
) -> str:
    """Explains why the arrays cannot compute so many outputs in one activation, or gives ""."""
    rule, shape = unit.pixel_unroll, product_shape(node, graph)
    if outputs == 1:
        return ""
    if rule is None:
        return "the arrays compute one pixel at a time"
    if shape is None or not node.ints("kernel", ()):
        return "only a convolution has neighbouring pixels"
    if shape.groups > 1:
        return f"the {shape.groups} groups share no inputs"
    if outputs > output_width(node, graph):
        return f"a line has no more than {output_width(node, graph)} pixels"
    unroll = unroll_of(node, graph, outputs)
    assert unroll is not None
    channels = graph.types[node.inputs[0]].sizes[1]
    rows = unroll.rows // channels * max(channels, rule.least_channels.value)
    if rows > unit.rows.value:
        return f"{outputs} pixels take {rows:,} rows, and an array has {unit.rows.value:,}"
    columns = shape.columns * weight_slices * outputs
    if columns > unit.columns.value:
        return f"{outputs} pixels take {columns:,} columns, and an array has {unit.columns.value:,}"
    return ""


def output_unrolls(node: Node, graph: Graph, unit: Analog, weight_slices: int) -> list[int]:
    """Lists how many outputs one activation can compute: powers of two that the engine allows."""
    most = unit.pixel_unroll.most.value if unit.pixel_unroll else 1
    powers = [1 << power for power in range(most.bit_length())]
    return [p for p in powers if not why_not_unrolled(node, graph, unit, weight_slices, p)]


def reserved_columns(columns: int, unit: Analog) -> int:
    """Counts the columns of an array that a layer of one tile reserves, next to other layers.

    Of a single array it reserves what it needs; of several a half, a quarter, an eighth and so on,
    since such widths always fill whole arrays: layers fit together exactly when their columns add
    up to no more than there are. A layer of several tiles reserves whole arrays, so that its tiles
    are active at once.
    """
    if unit.arrays.value == 1:
        return columns
    width = unit.columns.value
    while width % 2 == 0 and width // 2 >= columns:
        width //= 2
    return width


def patch_reuse(node: Node) -> float:
    """Computes how often an input is read for one pass over a convolution.

    That is kernel height / stride times, at least once: neighbouring outputs along a line share a
    line buffer, lines do not.
    """
    kernel = node.ints("kernel", node.ints("kernel_shape", ()))
    if len(kernel) < 2:
        return 1.0
    strides = node.ints("strides", (1,) * len(kernel))
    return max(1.0, prod(kernel[:-1]) / prod(strides[:-1]))


def output_width(node: Node, graph: Graph) -> int:
    """Counts neighbouring positions of a product's output: its width, or a dense product's rows."""
    out = graph.types[node.outputs[0]]
    return out.sizes[-1] if node.ints("kernel", ()) else out.elements // out.sizes[-1]
