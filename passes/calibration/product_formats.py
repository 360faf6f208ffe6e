"""What a product gives on samples in each number format that an engine has for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from compiler.engines import numerics
from compiler.engines.numerics import Floats, Integers
from compiler.engines.numerics_analog import analog_output
from compiler.execute.interpreter import Interpreter
from compiler.ir.formats import Format
from compiler.ir.graph import Array, Graph, Node, Quant, TensorType
from compiler.target.chip import Target
from passes.fitting.engine_nodes import analog_node
from passes.fitting.fit import AnalogLayer, analog_layer, fit_analog, fit_integer
from passes.fitting.layer_data import LayerData, fitting_samples, layer_data
from passes.fitting.weights import Named

ARRAY_ELEMENTS = 1 << 24  # of inputs and outputs of arrays that are computed at once: 64 MiB


@dataclass(frozen=True)
class ProductFormats:
    """A product on samples of its input, and what is the same for all formats.

    `seen` [samples, ...] are the samples as reals, `layer` is what its weights are fitted to,
    `on_arrays` is what the formats of each analog engine share.
    """

    node: Node
    graph: Graph
    target: Target
    seen: Floats
    layer: LayerData
    on_arrays: Mapping[str, AnalogLayer]

    def output(
        self, form: Format, given: Quant | None, quant: Quant | None, samples: int
    ) -> Array | None:
        """Its output on the first samples, as the engine of a format gives it.

        None where a quantization is not known.

        `given` is that of an int8 input, `quant` that of the output where the model itself has
        none.
        """
        kinds = self.graph.types
        data, output = kinds[self.node.inputs[0]], kinds[self.node.outputs[0]]
        quant, is_analog = output.quant or quant, form.kind == "analog"
        if quant is None or (given is None and not is_analog):
            return None
        if is_analog:
            given, constants, built = self._analog(form)
        else:
            assert given is not None
            constants = fit_integer(self.layer, self.node, self.graph, given).constants
            names = ("x", *(c[0] for c in constants))
            built = replace(self.node, inputs=names, outputs=("y",))
        single = _single(built, constants, data, given, output, quant)
        steps = numerics.quantize(self.seen[:samples], given)
        result = (
            _on_arrays(single, steps)
            if is_analog
            else Interpreter(single).run_all({"x": steps})["y"]
        )
        integers = np.asarray(result, quant.storage)
        return integers if output.quant is not None else numerics.dequantize(integers, quant)

    def _analog(self, form: Format) -> tuple[Quant, Named, Node]:
        """The quantization of the input, the constants and the node of the product in a format."""
        engine, digits = self.target.analog_engines[form.engine], form.weight_slices
        fitted = fit_analog(self.on_arrays[form.engine], self.node, digits, engine)
        constants = fitted.constants
        names = ("x", *(c[0] for c in constants))
        rows = self.layer.patches.shape[2]
        return fitted.inputs, constants, analog_node(self.node, names, "y", rows, digits, engine)


def product_formats(
    node: Node, graph: Graph, target: Target, values: Array, formats: Sequence[Format]
) -> ProductFormats:
    """A product on samples of its input, ready for `formats`."""
    seen = numerics.reals(values, graph.types[node.inputs[0]].quant)
    fitted, _ = fitting_samples(seen, seen)
    layer = layer_data(fitted, fitted, node, graph)
    names = dict.fromkeys(form.engine for form in formats if form.kind == "analog")
    engines = target.analog_engines
    on_arrays = {name: analog_layer(layer, fitted, node, graph, engines[name]) for name in names}
    return ProductFormats(
        node=node, graph=graph, target=target, seen=seen, layer=layer, on_arrays=on_arrays
    )


def _on_arrays(single: Graph, steps: Integers) -> Array:
    """The outputs of a graph of one AnalogProduct, a few samples at a time.

    Not by the interpreter: written in ONNX it has several nodes for every slice, digit and tile.
    """
    (node,) = single.nodes
    constants = [single.constants[name] for name in node.inputs[1:]]
    groups, rows, columns = constants[0].shape[1:]
    pixels = prod(single.types["y"].sizes) // (groups * columns)
    together = max(1, ARRAY_ELEMENTS // (pixels * groups * (rows + columns)))
    parts = [
        analog_output(node, single.types, steps[start : start + together], constants)
        for start in range(0, len(steps), together)
    ]
    return np.concatenate(parts)


def _single(
    node: Node, constants: Named, data: TensorType, given: Quant, output: TensorType, quant: Quant
) -> Graph:
    """A graph of one product, from a quantized value `x` to a quantized value `y`."""
    types = {
        "x": TensorType(given.storage, data.shape, given),
        "y": TensorType(quant.storage, output.shape, quant),
    }
    for label, values, weights in constants:
        types[label] = TensorType(values.dtype.name, values.shape, weights)
    held = {label: values for label, values, _ in constants}
    return Graph(
        name="product", inputs=("x",), outputs=("y",), nodes=(node,), types=types, constants=held
    )
