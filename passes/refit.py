"""Fits the products of a quantized graph to what they gave before it was quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from threadpoolctl import threadpool_limits

from compiler.engines import numerics
from compiler.engines.numerics import Floats
from compiler.ir.graph import Graph, Node, Quant
from compiler.ir.rewriter import Rewriter
from compiler.storage.spill import spill_to_file
from compiler.target.chip import Analog, Target
from passes.base import Pass, report_progress
from passes.calibration.inputs import CalibrationInputs
from passes.calibration.walk import Walk
from passes.fitting.fit import analog_layer, fit_analog, fit_integer
from passes.fitting.layer_data import fitting_samples, layer_data
from passes.fitting.weights import AnalogWeights, Named


@dataclass(frozen=True)
class Refit(Pass):
    """Fits the products that `quantize` rounded, one after the other, on samples.

    Each is fitted to give, from the inputs that the quantized network really has, the outputs of
    the network before (so errors are corrected, not added up). Weights, scales, converter gains and
    the format in which an array takes its inputs change; where things run, and the formats of all
    other values, stay. Lossy as `quantize` is: the sum of the divergences that `calibrate` measured
    estimates what both give up.
    """

    inputs: CalibrationInputs

    name: ClassVar[str] = "refit"
    numerics: ClassVar[Literal["exact", "lossy"]] = "lossy"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The graph with fitted products; the same graph when it was not quantized before."""
        if graph.unquantized is None:
            return graph
        with threadpool_limits(1):
            return _Refitter(graph, graph.unquantized, target, self.inputs).run()


@dataclass(frozen=True)
class _Layer:
    """A product that `quantize` rounded.

    It stands for `before` of the graph before. `position` is its own, `start` that of the
    Requantize which brings its inputs into the format of its array (its own where there is none).
    """

    node: Node
    before: Node
    start: int
    position: int
    position_before: int

    @property
    def has_own_format(self) -> bool:
        """Whether a Requantize makes its inputs for it alone, in any format."""
        return self.start < self.position


class _Refitter:
    """One walk over the products, on two walks of the samples: as the network was, and as it is."""

    def __init__(
        self, graph: Graph, before: Graph, target: Target, inputs: CalibrationInputs
    ) -> None:
        self.graph = graph
        self.before = before
        self.target = target
        self.rewriter = Rewriter(graph)
        self.wanted = Walk(before, inputs.arrays)
        self.seen = Walk(graph, inputs.arrays)

    def run(self) -> Graph:
        for layer in self._layers():
            report_progress(f"node {layer.position + 1:,} of {len(self.graph.nodes):,}")
            self.wanted.advance(layer.position_before - 1)
            self.seen.advance(layer.start - 1)
            self._fit(layer)
        return replace(self._finished(), unquantized=None)

    def _layers(self) -> list[_Layer]:
        """The products that `quantize` rounded, in execution order."""
        graph, layers = self.graph, []
        products = {
            node.name: (position, node)
            for position, node in enumerate(self.before.nodes)
            if node.op == "Product"
        }
        for position, node in enumerate(graph.nodes):
            if node.name in products and self._is_rounded(node, products[node.name][1]):
                layers.append(
                    _Layer(
                        node=node,
                        before=products[node.name][1],
                        start=position - _is_for(graph.nodes[position - 1], node, graph),
                        position=position,
                        position_before=products[node.name][0],
                    )
                )
        return layers

    def _is_rounded(self, node: Node, before: Node) -> bool:
        """Whether a product has weights of another form than before."""
        if node.op == "AnalogProduct":
            return True
        was, now = (
            graph.types[one.inputs[0]].quant
            for graph, one in ((self.before, before), (self.graph, node))
        )
        return node.op == "Product" and was is None and now is not None

    def _fit(self, layer: _Layer) -> None:
        """Gives a product the weights that fit it best; none where the samples do not reach it."""
        node, before = layer.node, layer.before
        seen = _reals(self.seen, self.graph.nodes[layer.start].inputs[0])
        wanted = _reals(self.wanted, before.inputs[0])
        if seen is None or wanted is None:
            return
        seen, wanted = fitting_samples(seen, wanted)
        data = layer_data(seen, wanted, before, self.before)
        engine = self.target.chip.engines[node.engine]
        given = self.graph.types[node.inputs[0]].quant
        if isinstance(engine, Analog):
            drivers = analog_layer(
                data, seen, before, self.before, engine, None if layer.has_own_format else given
            )
            slices = len(AnalogWeights.of(node, self.graph).digits)
            fitted = fit_analog(drivers, before, slices, engine)
            self._change(node, fitted.constants, {node.inputs[0]: fitted.inputs})
        else:
            assert given is not None
            found = fit_integer(data, before, self.before, given)
            self._change(node, found.constants, {})

    def _change(self, node: Node, constants: Named, formats: Mapping[str, Quant]) -> None:
        """Goes on in the graph in which a product has other constants, and values other formats."""
        rewriter = self.rewriter
        for name, (_, data, quant) in zip(node.inputs[1:], constants, strict=True):
            rewriter.set_constant(name, spill_to_file(data), quant)
        for name, quant in formats.items():
            kind = replace(rewriter.type_of(name), dtype=quant.storage, quant=quant)
            rewriter.set_type(name, kind)
        changed = replace(self.graph, types=rewriter.types, constants=rewriter.constants)
        self.seen.change(changed)

    def _finished(self) -> Graph:
        """The graph without a Requantize that changes nothing any more."""
        graph, rewriter = self.graph, self.rewriter
        for node, reader in zip(graph.nodes, (*graph.nodes[1:], None), strict=True):
            if reader is not None and _is_for(node, reader, graph):
                source, made = (rewriter.type_of(n) for n in (node.inputs[0], node.outputs[0]))
                if source.quant == made.quant:
                    rewriter.forward(node.outputs[0], node.inputs[0])
                    continue
            rewriter.keep(node)
        return rewriter.finish()


def _is_for(node: Node, reader: Node, graph: Graph) -> bool:
    """Whether a node is the Requantize that makes the inputs of an analog product, for it alone."""
    return (
        (node.op, reader.op) == ("Requantize", "AnalogProduct")
        and node.outputs[0] == reader.inputs[0]
        and graph.only_consumer(node.outputs[0]) is reader
    )


def _reals(walk: Walk, value: str) -> Floats | None:
    """A value on the samples as real numbers, None where it is not known."""
    if value not in walk.values:
        return None
    return numerics.reals(walk.values[value], walk.graph.types[value].quant)
