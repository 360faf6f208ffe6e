"""Computes DIANA's cycles as ODiMO counts them, for chips whose file asks for that.

The source is Risso et al., hw_models.py of odimo-journal. With Cin and Cout the channels, kx x ky
the kernel, ox x oy the output, u the output pixels of one activation:

    digital = ceil(Cout / groups / 16) * Cin * ceil(ox / 16) * oy * kx * ky
              + ox * oy * (Cin + Cout) / 8
    analog  = ceil(Cout / 512) * ceil(Cin / 128) * ox * oy / u * 70 ns,
              u the largest of 1, 2, 4, 8 with Cout * u <= 512
              and max(64, Cin) * ky * (kx + u - 1) <= 1152, else 1
    load    = 8 cycles for each of Cin * kx * ky rows (or of all 1152)

It is simpler than cost.analog and cost.digital: pixels of different lines go together, parts of an
activation count as parts, strides widen neither the patches nor the inputs, and the columns beyond
one array and the copies of the weights are loaded in no time. Nothing else is charged: no pooling,
no additions, no host, no memory beyond the engines, no load of the digital array's weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from compiler.engines.mapping import output_width
from compiler.ir.graph import Graph, Node
from compiler.ir.mapping import ProductShape
from compiler.target.chip import Analog
from compiler.target.digital import MacArray
from compiler.units import Estimate


@dataclass(frozen=True)
class Layer:
    """A product in the terms of the model: channels, groups, kernel, positions, and their line.

    The kernel is (all axes but the last, the last axis).
    """

    inputs: int
    outputs: int
    groups: int
    kernel_rest: int
    kernel_x: int
    positions: int
    line: int

    @staticmethod
    def of(node: Node, shape: ProductShape, graph: Graph) -> Layer:
        """Reads the layer of a node; a dense layer is a convolution of one pixel per position."""
        kernel = node.ints("kernel", ()) or (1,)
        inputs = shape.groups * shape.rows // prod(kernel)
        outputs = shape.groups * shape.columns
        line = output_width(node, graph)
        return Layer(
            inputs=inputs,
            outputs=outputs,
            groups=shape.groups,
            kernel_rest=prod(kernel[:-1]),
            kernel_x=kernel[-1],
            positions=shape.positions,
            line=line,
        )


def digital_cycles(layer: Layer, array: MacArray) -> float:
    """Computes the cycles of a layer on the digital array."""
    blocks = ceil(layer.outputs / layer.groups / array.columns.value)
    lines = layer.positions // layer.line * ceil(layer.line / array.position_lanes)
    macs = blocks * layer.inputs * lines * layer.kernel_x * layer.kernel_rest
    moved = layer.positions * (layer.inputs + layer.outputs)
    return macs + moved / array.activation_bytes_per_cycle.value


def analog_ns(layer: Layer, engine: Analog) -> Estimate:
    """Computes the time of a layer on the analog array (ns)."""
    assert engine.odimo is not None
    column_tiles = ceil(layer.outputs / engine.columns.value)
    row_tiles = ceil(layer.inputs / engine.odimo.channels_per_activation.value)
    activations = column_tiles * row_tiles * layer.positions / outputs_at_a_time(layer, engine)
    return engine.step_ns.estimate.times(activations)


def outputs_at_a_time(layer: Layer, engine: Analog) -> int:
    """Computes how many outputs of a line one activation gives."""
    rule = engine.pixel_unroll
    if rule is None:
        return 1
    rows = max(rule.least_channels.value, layer.inputs) * layer.kernel_rest
    fitting = [
        1 << power
        for power in range(rule.most.value.bit_length())
        if layer.outputs << power <= engine.columns.value
        and rows * (layer.kernel_x + (1 << power) - 1) <= engine.rows.value
    ]
    return max(fitting, default=1)


def load_ns(shape: ProductShape, engine: Analog) -> Estimate:
    """Computes the time to load a layer's weights into the analog array (ns)."""
    assert engine.odimo is not None
    rows = engine.rows.value if engine.odimo.loads_all_rows.value else shape.groups * shape.rows
    return engine.load_ns_per_row.estimate.times(rows)
