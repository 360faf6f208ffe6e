"""Measures, on calibration inputs, the range of every value and the divergence each number format would cause alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from compiler import numerics
from compiler.interpreter import Interpreter, RunError
from compiler.ir import Array, Calibration, Graph, Node, Quant, TensorType
from compiler.legality import why_not_analog, why_not_digital
from compiler.numerics import Floats, Integers
from compiler.numerics_analog import analog_output
from compiler.ops import FORMATS, macs
from compiler.slices import useful_digits
from compiler.target import Target
from passes.base import Pass, tell
from passes.calibration_inputs import CalibrationInputs
from passes.clipped_range import clipped_range
from passes.divergence import BEYOND_MEASURE, divergence, output_divergence, scores_of
from passes.effort import effort
from passes.engine_nodes import Named, analog_constants, analog_node, integer_constants
from passes.fit import AnalogLayer, analog_layer, fit_analog, fit_integer
from passes.follow import Follower
from passes.given_formats import given_format
from passes.layer_data import LayerData, layer_outputs, layer_patches
from passes.rounded_inputs import PASSING, becomes_int8, on_rounded_inputs, value_maker
from passes.walk import Walk

ARRAY_ELEMENTS = 1 << 24  # of inputs and outputs of arrays that are computed at once: 64 MiB


@dataclass(frozen=True)
class Calibrate(Pass):
    """Adds `Graph.calibration`; the nodes stay as they are.

    The divergence of a format is what it alone does to the network's outputs: the Kullback-Leibler divergence in nats where an output is the
    result of a Softmax, else the squared error relative to the output's variance; the largest over the outputs, the mean over the samples.

    Where following every node's error to the outputs would take more than `passes/effort.py` allows, that is done for evenly spread nodes. The
    others' divergence is the relative squared error of their own output times what the rest of the network made of the last one that was followed.
    """

    inputs: CalibrationInputs

    name: ClassVar[str] = "calibrate"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The same graph with its calibration."""
        with threadpool_limits(1):
            found = _Calibrator(graph, target, self.inputs).run()
        return replace(graph, calibration=found)


class _Calibrator:
    def __init__(self, graph: Graph, target: Target, inputs: CalibrationInputs) -> None:
        self.graph = graph
        self.target = target
        self.inputs = inputs
        self.ranges: dict[str, tuple[float, float]] = {}
        self.divergence: dict[str, dict[str, float]] = {}
        self.formats = [self._formats(node) for node in graph.nodes]
        spent = effort(graph, self.formats, self._further_macs(), inputs.count)
        self.samples, self.stride = spent.samples, spent.stride
        self.measured = 0
        self.estimated = 0
        self.gain = 0.0  # divergence at the outputs for each unit of error of a node's own output, of the node followed last
        self.follower = Follower(graph, self._followed())
        self.reference = self._reference()

    def run(self) -> Calibration:
        graph = self.graph
        walk = Walk(graph, self.inputs.arrays)
        for name, values in walk.values.items():
            self._range(name, values)
        for position, node in enumerate(graph.nodes):
            tell(f"node {position + 1:,} of {len(graph.nodes):,}, {self.inputs.count} samples")
            walk.step(position)
            for name in node.outputs:
                if name in walk.values:
                    self._range(name, walk.values[name])
            formats = self.formats[position]
            if formats and self.reference is not None and node.outputs[0] in walk.values:
                self._measure(position, node, formats, walk)
            walk.drop(position)
        kind = (
            "KL"
            if any(scores_of(name, graph) for name in graph.outputs)
            else "relative squared error"
        )
        return Calibration(self.ranges, self.divergence, kind, self.inputs.hash, self.estimated)

    # -- what to measure

    def _formats(self, node: Node) -> list[str]:
        """The number formats a node could be given by an engine of the target."""
        graph, formats = self.graph, []
        if node.op in (*PASSING, *FORMATS) or not node.outputs[0]:
            return []
        digital, analog = self.target.digital, self.target.analog
        is_float = graph.types[node.outputs[0]].quant is None
        if is_float and graph.types[node.outputs[0]].dtype != "float32":
            return []
        if digital and is_float and not why_not_digital(node, graph, digital[1]):
            formats.append("int8")
        if analog and node.op == "Product" and not why_not_analog(node, graph, analog[1]):
            counts = useful_digits(analog[1].cell_levels.value, analog[1].max_digits.value)
            formats += [f"analog/{digits}" for digits in counts]
        return formats

    def _further_macs(self) -> int:
        """Of a sample, the products beyond the first that inputs in slices cost in all formats: one for each slice and digit."""
        if self.target.analog is None:
            return 0
        further = self.target.analog[1].steps - 1
        return sum(
            macs(node, self.graph) * further * sum(map(_digits, formats))
            for node, formats in zip(self.graph.nodes, self.formats, strict=True)
        )

    def _followed(self) -> list[int]:
        """The positions of the nodes that are followed, where these are not all: that of every `stride`-th that is measured."""
        measured = [position for position, formats in enumerate(self.formats) if formats]
        return measured[:: self.stride] if self.stride > 1 else []

    def _reference(self) -> dict[str, Array] | None:
        """The outputs of the float network on the samples, or None when it has no inputs or does not run on them."""
        if not self.inputs.arrays:
            return None
        few = {name: data[: self.samples] for name, data in self.inputs.arrays.items()}
        try:
            return self.follower.outputs(-1, few)
        except RunError:
            return None

    # -- ranges

    def _range(self, name: str, values: Array) -> None:
        kind = self.graph.types.get(name)
        if kind is None or kind.dtype != "float32" or values.size == 0:
            return
        if not np.isfinite(values).all():
            return
        self.ranges[name] = clipped_range(np.asarray(values, np.float32))

    # -- divergence

    def _measure(self, position: int, node: Node, formats: list[str], walk: Walk) -> None:
        """The divergence of each format of a node: at the outputs, or estimated from the node's own output."""
        follow = self.measured % self.stride == 0
        self.measured += 1
        output = node.outputs[0]
        layer = self._layer(node, walk) if node.op == "Product" else None
        on_arrays = None
        if layer is not None and self.target.analog is not None and any(map(_digits, formats)):
            on_arrays = analog_layer(*layer, node, self.graph, self.target.analog[1])
        own: dict[str, float] = {}
        results: dict[str, float] = {}
        for form in formats:
            values = (
                self._rounded_output(node, walk, follow)
                if layer is None
                else self._in_format(node, form, *layer, on_arrays)
            )
            if values is None:
                continue
            if self.stride > 1:
                own[form] = self._own_error(output, walk.values[output], values)
            if follow:
                results[form] = self._followed_divergence(position, output, values, walk)
            else:
                results[form] = self.gain * own[form]
        if follow and any(own.values()) and max(results.values()) < BEYOND_MEASURE:
            self.gain = sum(results.values()) / sum(own.values())
        self.divergence[node.name] = results
        self.estimated += not follow

    def _followed_divergence(self, position: int, output: str, values: Array, walk: Walk) -> float:
        """How far the network's outputs move when a node's output is something else; without bound where the rest then cannot run."""
        alive = {name: walk.values[name][: self.samples] for name in walk.alive_after(position)}
        try:
            found = self.follower.outputs(position, {**alive, output: values})
        except RunError:  # an index beyond its table, say
            return BEYOND_MEASURE
        assert self.reference is not None
        return output_divergence(self.graph, self.reference, found)

    def _own_error(self, output: str, wanted: Array, found: Array) -> float:
        """The squared error of a node's own output, relative to its variance."""
        quant = self.graph.types[output].quant
        reals = [numerics.reals(values, quant) for values in (wanted[: len(found)], found)]
        before, after = (values.astype(np.float64) for values in reals)
        return divergence(before, after, scores=False)

    def _layer(self, node: Node, walk: Walk) -> tuple[LayerData, Floats]:
        """What a product sees and gives, which is the same for every format; and its whole input as reals."""
        seen = numerics.reals(walk.values[node.inputs[0]], self.graph.types[node.inputs[0]].quant)
        groups = self.graph.types[node.inputs[1]].sizes[0]
        patches = layer_patches(seen, node, groups)
        return LayerData(patches, layer_outputs(patches, node, self.graph)), seen

    def _rounded_output(self, node: Node, walk: Walk, follow: bool) -> Array | None:
        """The output in int8 of a node that is no product, on the samples."""
        quant = self._output_quant(node.outputs[0])
        if quant is None:
            return None
        values = walk.values[node.outputs[0]][: self.samples]
        # An estimate leaves constants as they are: of a long chain that adds one in each node, every node would run once more.
        names = [name for name in node.inputs if follow or name not in self.graph.constants]
        alone = [name for name in names if self._is_rounded_for(name, node)]
        if alone:
            few = {n: walk.values[n][: self.samples] for n in node.inputs if n in walk.values}
            values = on_rounded_inputs(node, self.graph, few, alone, self.ranges)
        reals = np.asarray(values, np.float32)
        return numerics.dequantize(numerics.quantize(reals, quant), quant)

    def _is_rounded_for(self, value: str, node: Node) -> bool:
        """Whether an input becomes int8 for an integer node, and no divergence of the node that makes it says what that does."""
        maker = value_maker(value, self.graph)
        charged = maker is not None and maker.op != "Concat" and "int8" in self._formats(maker)
        return not charged and becomes_int8(value, node, self.graph)

    def _in_format(
        self,
        node: Node,
        form: str,
        data: LayerData,
        real_in: Floats,
        on_arrays: AnalogLayer | None,
    ) -> Array | None:
        """A product's output on the samples, as the engine of a format would give it; `data` and `real_in` are what `_layer` says."""
        graph = self.graph
        output = graph.types[node.outputs[0]]
        quant = output.quant or self._output_quant(node.outputs[0])
        if quant is None:
            return None
        if form == "int8":
            given = self._output_quant(node.inputs[0]) or graph.types[node.inputs[0]].quant
            if given is None:
                return None
            constants = integer_constants(fit_integer(data, node, graph, given))
            built = replace(node, inputs=("x", *(c[0] for c in constants)), outputs=("y",))
        else:
            assert self.target.analog is not None
            assert on_arrays is not None
            engine = self.target.analog[1]
            digits = _digits(form)
            fitted = fit_analog(on_arrays, node, digits, engine)
            given, constants = fitted.inputs, analog_constants(fitted)
            names = ("x", *(c[0] for c in constants))
            built = analog_node(node, names, "y", data.patches.shape[2], digits, engine)
        steps = numerics.quantize(real_in[: self.samples], given)
        single = _single(built, constants, graph.types[node.inputs[0]], given, output, quant)
        result = _on_arrays(single, steps) if _digits(form) else _interpreted(single, steps)
        integers = np.asarray(result, quant.storage)
        return integers if output.quant is not None else numerics.dequantize(integers, quant)

    def _output_quant(self, value: str) -> Quant | None:
        found = self.ranges.get(value)
        return given_format(value, self.graph) or (
            numerics.asymmetric(8, *found) if found else None
        )


def _digits(form: str) -> int:
    """The digits of an analog format, 0 of any other."""
    return int(form.removeprefix("analog/")) if form.startswith("analog/") else 0


def _interpreted(single: Graph, steps: Integers) -> Array:
    return Interpreter(single).run_all({"x": steps})["y"]


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
    return Graph("product", ("x",), ("y",), (node,), types, held)
