"""Writes the chosen number formats into the placed graph, with conversions where engines meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from compiler.cost.node import conversion_cost, requantize_cost, requantizing_engine
from compiler.cost.step import StepCost
from compiler.engines import numerics
from compiler.engines.mapping import map_off_arrays
from compiler.ir.graph import Array, Attribute, Graph, Node, Placement, Quant, TensorType
from compiler.ir.ops import FORMATS, MOVEMENT, OWN, UNARY, VIEWS
from compiler.ir.rewriter import Rewriter
from compiler.storage.spill import spill_to_file
from compiler.target.chip import Analog, Host, Target
from passes.base import Pass, report_progress
from passes.calibration.given_formats import given_format
from passes.calibration.rounded_inputs import readers_of_rounded, rounding_divergence
from passes.fitting.engine_nodes import analog_node
from passes.fitting.plain import round_analog, round_integer
from passes.fitting.weights import Named
from passes.patterns.integer_forms import Function, pool_window, table_of

FLOATS = ("float32",)


@dataclass(frozen=True)
class Quantize(Pass):
    """Makes integers of the floats on digital and analog engines, each rounded to the nearest.

    It looks at no samples: values have the formats of their calibrated ranges, weights those that
    hold them. What was quantized by the model itself is left as it is on digital engines. Lossy:
    `calibrate` measured the divergences with weights that were fitted, so what it gives up is what
    is left when `refit` has run behind it; it leaves the graph before in `Graph.unquantized` for
    that.
    """

    name: ClassVar[str] = "quantize"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph in the formats of its engines."""
        with threadpool_limits(1):
            after = _Quantizer(graph, target).run()
        return graph if after is graph else replace(after, unquantized=graph)


class _Quantizer:
    """One walk over the graph."""

    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.rewriter = Rewriter(graph)
        self.tables: dict[tuple[Function, Quant, Quant], Array] = {}
        # For each value of the old graph: the name of its integers in the new one, and whether it
        # is there under its own name.
        self.integers = {name: name for name, kind in graph.types.items() if kind.quant is not None}
        self.present = set(graph.inputs) | set(graph.constants) | set(self.integers)

    def run(self) -> Graph:
        for position, node in enumerate(self.graph.nodes):
            report_progress(f"node {position + 1:,} of {len(self.graph.nodes):,}")
            self._convert(node)
        for name in self.graph.outputs:
            self._float_of(name)
        return self.rewriter.finish()

    # -- the two forms of a value

    def _quant_of(self, value: str) -> Quant | None:
        """The quantization of a value's integers in the new graph, or None when it has none yet."""
        name = self.integers.get(value)
        return self.rewriter.type_of(name).quant if name else None

    def _range_quant(self, value: str) -> Quant:
        """The format of a value's integers: the model's own, else int8 over its range."""
        given = given_format(value, self.graph)
        if given is not None:
            return given
        assert self.graph.calibration is not None
        return numerics.asymmetric(8, *self.graph.calibration.ranges[value])

    def _integer_of(self, value: str) -> str:
        """The name of a value's integers.

        A QuantizeLinear on the host makes them once where only floats are there.
        """
        if value in self.integers:
            return self.integers[value]
        if value in self.graph.constants:
            return self._constant_integers(value)
        quant = self._range_quant(value)
        name = self.rewriter.unique(f"{value}.int8")
        kind = self.graph.types[value]
        parameters = (
            self.rewriter.constant(f"{value}.scale", np.array(quant.scale[0], np.float32)),
            self.rewriter.constant(f"{value}.zero", np.array(quant.zero_point[0], quant.storage)),
        )
        conversion = self._conversion(
            "QuantizeLinear", (value, *parameters), name, value, to_float=False
        )
        self.rewriter.add(conversion, {name: TensorType(quant.storage, kind.shape, quant)})
        self.integers[value] = name
        return name

    def _constant_integers(self, value: str) -> str:
        data = np.asarray(self.graph.constants[value], np.float32)
        quant = numerics.asymmetric(8, float(data.min()), float(data.max()))
        name = self.rewriter.constant(f"{value}.int8", numerics.quantize(data, quant), quant)
        self.integers[value] = name
        return name

    def _float_of(self, value: str) -> str:
        """A value under its own name.

        A DequantizeLinear on the host makes its floats once where only integers are there.
        """
        if value in self.present:
            return value
        quant = self._quant_of(value)
        assert quant is not None
        parameters = (
            self.rewriter.constant(f"{value}.scale", np.array(quant.scale[0], np.float32)),
            self.rewriter.constant(f"{value}.zero", np.array(quant.zero_point[0], quant.storage)),
        )
        inputs = (self.integers[value], *parameters)
        self.rewriter.add(self._conversion("DequantizeLinear", inputs, value, value, to_float=True))
        self.present.add(value)
        return value

    def _conversion(
        self, op: str, inputs: tuple[str, ...], output: str, value: str, *, to_float: bool
    ) -> Node:
        kind = self.graph.types[value]
        cost = conversion_cost(kind.elements, kind.size_bytes, to_float, self.target)
        direction = "integers to floats" if to_float else "floats to integers"
        made, reason = self.graph.producer.get(value), f"engines meet here: {direction}"
        divergence = 0.0 if to_float else self._rounding(value)
        return Node(
            self.rewriter.unique(f"{value}.{'float' if to_float else 'int8'}.convert"),
            op,
            inputs,
            (output,),
            placement=self._placement(self.target.host[0], reason, cost, divergence),
            origin=made.origin if made else (),
        )

    def _placement(
        self, engine: str, reason: str, cost: StepCost, divergence: float = 0.0
    ) -> Placement:
        return Placement(
            mapping=map_off_arrays(engine, self.target),
            reason=reason,
            energy_pj=cost.energy_pj.value,
            latency_ns=cost.latency_ns,
            divergence=divergence,
        )

    def _rounding(self, value: str) -> float:
        """The divergence of a value's change to integers that no reader of it counts itself."""
        readers = readers_of_rounded(value, self.graph)
        on_integers = any(node.engine != self.target.host[0] for node in readers)
        return rounding_divergence(value, self.graph) if on_integers else 0.0

    # -- nodes

    def _convert(self, node: Node) -> None:
        assert node.placement is not None
        engine = self.target.chip.engines[node.engine]
        if isinstance(engine, Host):
            inputs = tuple(self._float_of(name) if name else name for name in node.inputs)
            self.rewriter.add(replace(node, inputs=inputs))
            self.present.update(node.outputs)
            return
        if node.op == "Product":
            if isinstance(engine, Analog):
                self._analog_product(node, engine)
            elif self.graph.types[node.inputs[0]].quant is None:
                self._integer_product(node)
            elif self.graph.types[node.outputs[0]].quant is None:
                # The model's own integers, summed up to floats: this engine gives integers.
                self._quantized(node, "Product", node.inputs, node.attrs)
            else:
                self.rewriter.add(node)
        elif node.op in OWN and node.op != "ClippedAdd":
            self.rewriter.add(node)
        elif node.op in FORMATS:
            self._change_format(node)
        elif node.op in (*VIEWS, *MOVEMENT, "MaxPool"):
            self._move(node)
        elif node.op in ("Add", "ClippedAdd", "Mul"):
            inputs = tuple(self._integer_of(name) for name in node.inputs)
            op = "IntegerMul" if node.op == "Mul" else "IntegerAdd"
            self._quantized(node, op, inputs, node.attrs)
        elif node.op in ("AveragePool", "GlobalAveragePool"):
            attrs = pool_window(node, self.graph)
            assert attrs is not None
            self._quantized(node, "IntegerAveragePool", (self._integer_of(node.inputs[0]),), attrs)
        else:
            assert node.op in UNARY
            self._table(node)

    def _quantized(
        self, node: Node, op: str, inputs: tuple[str, ...], attrs: Mapping[str, Attribute]
    ) -> None:
        """A node whose output becomes int8 over the value's calibrated range."""
        output = self._integer_output(node, self._range_quant(node.outputs[0]))
        self.rewriter.add(replace(node, op=op, inputs=inputs, outputs=(output,), attrs=dict(attrs)))

    def _integer_output(self, node: Node, quant: Quant) -> str:
        value = node.outputs[0]
        if self.graph.types[value].quant is not None:
            return value
        name = self.rewriter.unique(f"{value}.int8")
        self.rewriter.set_type(
            name, TensorType(quant.storage, self.graph.types[value].shape, quant)
        )
        self.integers[value] = name
        return name

    def _change_format(self, node: Node) -> None:
        """Changes between a float value, here as integers, and integers of the model's own.

        That is nothing, or a change of scale.
        """
        source, target = self._integer_of(node.inputs[0]), node.outputs[0]
        quant = self.graph.types[target].quant
        if quant is None:  # DequantizeLinear: its floats keep the integers' format
            quant = self._quant_of(node.inputs[0])
            assert quant is not None
            target = self._integer_output(node, quant)
        op = "Identity" if self._quant_of(node.inputs[0]) == quant else "Requantize"
        self.rewriter.add(replace(node, op=op, inputs=(source,), outputs=(target,), attrs={}))

    def _table(self, node: Node) -> None:
        source = self._integer_of(node.inputs[0])
        data, out = self._quant_of(node.inputs[0]), self._range_quant(node.outputs[0])
        assert data is not None
        alike = (Function.of(node, self.graph), data, out)
        if alike not in self.tables:
            self.tables[alike] = table_of((node,), self.graph, data, out)
        table = self.rewriter.constant(f"{node.name}.table", self.tables[alike], out)
        self._quantized(node, "IntegerTable", (source, table), {"of": node.op})

    def _move(self, node: Node) -> None:
        """Moves values as integers; those of another scale are brought to that of the result."""
        if self.graph.types[node.outputs[0]].dtype not in FLOATS:
            self.rewriter.add(node)
            self.present.update(node.outputs)
            return
        data = [n for n in node.inputs if n and self.graph.types[n].dtype in FLOATS]
        if node.op == "Pad":
            data = data[:1]
        names = {name: self._integer_of(name) for name in data if name not in self.graph.constants}
        quants = {self._quant_of(name) for name in names}
        fixed = [self.graph.constants[name] for name in data if name not in names]
        quant = quants.pop() if len(quants) == 1 else None
        if quant is None or not all(_holds(quant, values) for values in fixed):
            quant = self._range_quant(node.outputs[0])
        for name in data:
            if name in names:
                names[name] = self._requantized(node, names[name], quant)
            else:
                integers = numerics.quantize(np.asarray(self.graph.constants[name]), quant)
                names[name] = self.rewriter.constant(f"{name}.int8", integers, quant)
        inputs = tuple(names.get(name, name) for name in node.inputs)
        if node.op == "Pad":
            inputs = self._pad_inputs(node, inputs, quant)
        outputs: list[str] = []
        for value in node.outputs:
            if not value:
                outputs.append(value)
                continue
            name = self.rewriter.unique(f"{value}.int8")
            kind = TensorType(quant.storage, self.graph.types[value].shape, quant)
            self.rewriter.set_type(name, kind)
            self.integers[value] = name
            outputs.append(name)
        self.rewriter.add(replace(node, inputs=inputs, outputs=tuple(outputs)))

    def _pad_inputs(self, node: Node, inputs: tuple[str, ...], quant: Quant) -> tuple[str, ...]:
        """A Pad of integers pads with the integer that stands for its value."""
        if node.text("mode", "constant") != "constant":
            return inputs
        value = 0.0
        if len(node.inputs) > 2 and node.inputs[2]:
            value = float(np.asarray(self.graph.constants[node.inputs[2]]).reshape(-1)[0])
        integer = numerics.quantize(np.array(value, np.float32), quant)
        name = self.rewriter.constant(f"{node.name}.value", np.asarray(integer))
        return (*inputs[:2], name, *inputs[3:])

    def _requantized(self, node: Node, source: str, quant: Quant) -> str:
        kind = self.rewriter.type_of(source)
        if kind.quant == quant:
            return source
        name = self.rewriter.unique(f"{source}.to.{node.name}")
        engine = requantizing_engine(self.target)
        cost = requantize_cost(kind.elements, engine, self.target)
        reason = f"{node.name} takes {quant.bits}-bit integers of another scale"
        self.rewriter.add(
            Node(
                self.rewriter.unique(f"{node.name}.requantize"),
                "Requantize",
                (source,),
                (name,),
                placement=self._placement(engine, reason, cost),
                origin=node.origin,
                source=node.source,
            ),
            {name: TensorType(quant.storage, kind.shape, quant)},
        )
        return name

    # -- products

    def _integer_product(self, node: Node) -> None:
        source = self._integer_of(node.inputs[0])
        given = self._quant_of(node.inputs[0])
        assert given is not None
        rounded = round_integer(node, self.graph, given)
        inputs = (source, *self._constants(node, rounded.constants))
        self._quantized(node, "Product", inputs, node.attrs)

    def _analog_product(self, node: Node, engine: Analog) -> None:
        assert node.placement is not None
        source = self._integer_of(node.inputs[0])
        given = self._quant_of(node.inputs[0])
        assert given is not None
        digits = node.placement.mapping.format.weight_slices
        rounded = round_analog(node, self.graph, given, digits, engine)
        source = self._requantized(node, source, rounded.inputs)
        inputs = (source, *self._constants(node, rounded.constants))
        out = self.graph.types[node.outputs[0]].quant or self._range_quant(node.outputs[0])
        output = self._integer_output(node, out)
        rows = self.graph.types[node.inputs[1]].sizes[1]
        self.rewriter.add(analog_node(node, inputs, output, rows, digits, engine))

    def _constants(self, node: Node, constants: Named) -> tuple[str, ...]:
        return tuple(
            self.rewriter.constant(f"{node.name}.{label}", spill_to_file(data), quant)
            for label, data, quant in constants
        )


def _holds(quant: Quant, values: Array) -> bool:
    """Whether a format reaches as far as all values do."""
    ends = numerics.dequantize(np.array([quant.lowest, quant.highest], quant.storage), quant)
    return not values.size or bool(ends[0] <= values.min() and values.max() <= ends[1])
