"""Measures ranges of values, and the divergence that each number format would cause alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import isqrt
from typing import ClassVar, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from compiler.cost.divergence import (
    BEYOND_MEASURE,
    Values,
    divergence_kind,
    output_divergence,
    relative_squared_error,
)
from compiler.engines import numerics
from compiler.engines.bit_slicing import useful_digits
from compiler.engines.legality import why_not_analog, why_not_digital
from compiler.execute.interpreter import RunError
from compiler.ir.formats import INT8, Format
from compiler.ir.graph import Array, Calibration, Graph, Node, Quant
from compiler.ir.ops import FORMATS, macs
from compiler.target.chip import Target
from passes.base import Pass, report_progress
from passes.calibration.clipped_range import clipped_range
from passes.calibration.given_formats import given_format
from passes.calibration.inputs import CalibrationInputs
from passes.calibration.label_margins import expected_label_changes, scores_behind
from passes.calibration.measurement_budget import measurement_budget
from passes.calibration.product_formats import product_formats
from passes.calibration.rounded_inputs import (
    PASSING,
    given_by_format,
    on_rounded_constants,
    readers_of_rounded,
    rounded_constants,
)
from passes.calibration.suffix import SuffixRunner
from passes.calibration.walk import Walk
from passes.fitting.layer_data import finite_samples


@dataclass(frozen=True)
class Calibrate(Pass):
    """Adds `Graph.calibration`; the nodes stay as they are.

    The divergence of a format is what it alone does to the network's outputs, the largest over the
    outputs; compiler.cost.divergence has the formulas, and labels that are chosen among scores are
    those expected to change by the scores' margins (passes.calibration.label_margins). A format of
    a node is that of its output, and of the input of a product; what other nodes lose by reading
    int8 where the host or a graph input holds floats is measured for the value
    (`Calibration.rounding`). Ranges are over the samples on which a value is finite.

    Where running every error to the outputs takes more than `measurement_budget` allows, that is
    done for evenly spread ones. The others' divergence is their own relative squared error times
    what the rest of the network made of the last one that was run to the outputs.
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
        self.divergence: dict[str, dict[Format, float]] = {}
        self.rounding: dict[str, float] = {}
        self.takes_int8 = self._nodes_in_int8()
        self.formats = [self._formats(node) for node in graph.nodes]
        self.rounded = [
            self._rounded(node.outputs, formats)
            for node, formats in zip(graph.nodes, self.formats, strict=True)
        ]
        self.rounded_inputs = self._rounded(graph.inputs)
        errors: list[Sequence[object]] = [self.rounded_inputs, *self.formats, *self.rounded]
        spent = measurement_budget(graph, errors, self._further_macs(), inputs.count)
        self.samples, self.stride = spent.samples, spent.stride
        self.measured = 0
        self.estimated = 0
        # Divergence at the outputs for each unit of error of a node's own output, of the node whose
        # error was run to the outputs last.
        self.gain = 0.0
        found = {name: scores_behind(name, graph) for name in graph.outputs}
        self.scores = {name: scores for name, scores in found.items() if scores is not None}
        behind = dict.fromkeys(scores.value for scores in self.scores.values())
        outputs = tuple(dict.fromkeys([*graph.outputs, *behind]))
        self.watched = replace(graph, outputs=outputs)  # the scores behind labels too
        self.suffix = SuffixRunner(self.watched, self._starts())
        self.reference = self._reference()

    def run(self) -> Calibration:
        graph = self.graph
        walk = Walk(self.watched, self.inputs.arrays, ahead=True)
        for name, values in walk.values.items():
            self._range(name, values)
        self._measure_rounding(-1, self.rounded_inputs, walk)
        for position, node in enumerate(graph.nodes):
            report_progress(
                f"node {position + 1:,} of {len(graph.nodes):,}, {self.inputs.count} samples"
            )
            walk.advance(position)
            for name in node.outputs:
                if name in walk.values:
                    self._range(name, walk.values[name])
            formats = self.formats[position]
            if formats and self.reference is not None and node.outputs[0] in walk.values:
                self._measure(position, node, formats, walk)
            self._measure_rounding(position, self.rounded[position], walk)
        return Calibration(
            ranges=self.ranges,
            divergence=self.divergence,
            kind=divergence_kind(graph),
            inputs_hash=self.inputs.hash,
            estimated=self.estimated,
            rounding=self.rounding,
        )

    # -- what to measure

    def _nodes_in_int8(self) -> set[str]:
        """The names of the nodes that a digital engine of the target takes."""
        engines = self.target.digital_engines.values()
        return {
            node.name
            for node in self.graph.nodes
            if any(not why_not_digital(node, self.graph, engine) for engine in engines)
        }

    def _formats(self, node: Node) -> list[Format]:
        """The number formats a node could be given by an engine of the target."""
        graph, formats = self.graph, []
        if node.op in (*PASSING, *FORMATS) or not node.outputs[0]:
            return []
        is_float = graph.types[node.outputs[0]].quant is None
        if is_float and graph.types[node.outputs[0]].dtype != "float32":
            return []
        if is_float and node.name in self.takes_int8:
            formats.append(INT8)
        for name, engine in self.target.analog_engines.items():
            if node.op == "Product" and not why_not_analog(node, graph, engine):
                counts = useful_digits(engine.cell_levels.value, engine.max_digits.value)
                formats += [Format.analog(name, count) for count in counts]
        return formats

    def _rounded(self, values: Iterable[str], formats: Sequence[Format] = ()) -> list[str]:
        """Finds values whose rounding to int8 has to be measured too.

        They are among the graph's inputs or a node's outputs; `formats` are those of the node.
        """
        return [value for value in values if value and self._is_rounded(value, formats)]

    def _is_rounded(self, value: str, formats: Sequence[Format]) -> bool:
        kind, maker = self.graph.types[value], self.graph.producer.get(value)
        if kind.dtype != "float32" or kind.quant is not None:
            return False
        if maker is not None and (
            maker.op == "DequantizeLinear" or given_by_format(maker, formats)
        ):
            return False
        readers = readers_of_rounded(value, self.graph)
        return any(reader.name in self.takes_int8 for reader in readers)

    def _further_macs(self) -> int:
        """Counts the MACs of a sample that inputs in slices cost in all formats, beyond the first.

        Each slice and digit is a product of its own.
        """
        further = {name: unit.steps - 1 for name, unit in self.target.analog_engines.items()}
        return sum(
            macs(node, self.graph)
            * sum(further.get(form.engine, 0) * form.weight_slices for form in formats)
            for node, formats in zip(self.graph.nodes, self.formats, strict=True)
        )

    def _starts(self) -> list[int]:
        """Lists positions behind which the network is cut; none where every error is run.

        Of every `stride`-th error, which is run to the outputs, they are as many as balance the
        models that are made, of the nodes up to the next cut, with the pieces that are run.
        """
        if self.stride == 1:
            return []
        measured = [-1] * len(self.rounded_inputs)
        for position, formats in enumerate(self.formats):
            measured += [position] * (bool(formats) + len(self.rounded[position]))
        run = measured[:: self.stride]
        return run[:: max(1, isqrt(len(run)))]

    def _reference(self) -> dict[str, Values] | None:
        """Runs the float network on the samples; None when it has no inputs or does not run."""
        if not self.inputs.arrays:
            return None
        few = {name: data[: self.samples] for name, data in self.inputs.arrays.items()}
        try:
            return self.suffix.outputs(-1, few)
        except RunError:
            return None

    # -- ranges

    def _range(self, name: str, values: Array) -> None:
        kind = self.graph.types.get(name)
        if kind is None or kind.dtype != "float32" or values.size == 0:
            return
        is_fine = finite_samples(values)
        if not is_fine.any():
            return
        if not is_fine.all():
            values = values[is_fine]
        self.ranges[name] = clipped_range(np.asarray(values, np.float32))

    # -- divergence

    def _measure(self, position: int, node: Node, formats: list[Format], walk: Walk) -> None:
        """Measures each format of a node, at the outputs or by its own output's error."""
        to_outputs = self._next_runs_to_outputs()
        output = node.outputs[0]
        changed = (
            self._product_outputs(node, formats, walk)
            if node.op == "Product"
            else [(INT8, self._rounded_output(node, walk, to_outputs))]
        )
        self.divergence[node.name] = self._divergences(position, output, changed, walk, to_outputs)
        self.estimated += not to_outputs

    def _measure_rounding(self, position: int, values: Sequence[str], walk: Walk) -> None:
        """Measures int8 for values that the node at a position makes (-1: graph inputs)."""
        for value in values:
            if self.reference is None or value not in walk.values:
                continue
            to_outputs = self._next_runs_to_outputs()
            changed = [(INT8, self._in_int8(value, walk.values[value][: self.samples]))]
            found = self._divergences(position, value, changed, walk, to_outputs)
            if found:
                self.rounding[value] = found[INT8]

    def _next_runs_to_outputs(self) -> bool:
        """Whether the next error to be measured is run to the outputs."""
        self.measured += 1
        return (self.measured - 1) % self.stride == 0

    def _divergences(
        self,
        position: int,
        value: str,
        changed: Iterable[tuple[Format, Array | None]],
        walk: Walk,
        to_outputs: bool,
    ) -> dict[Format, float]:
        """Measures what a value does to the outputs in each format it was `changed` to.

        None stands for a format that it cannot have.
        """
        own: dict[Format, float] = {}
        results: dict[Format, float] = {}
        for form, values in changed:
            if values is None:
                continue
            if self.stride > 1:
                own[form] = self._own_error(value, walk.values[value], values)
            if to_outputs:
                results[form] = self._suffix_divergence(position, value, values, walk)
            else:
                results[form] = self.gain * own[form]
        if to_outputs and any(own.values()) and max(results.values()) < BEYOND_MEASURE:
            self.gain = sum(results.values()) / sum(own.values())
        return results

    def _suffix_divergence(self, position: int, output: str, values: Array, walk: Walk) -> float:
        """How far the network's outputs move when a value is something else.

        Without bound where the rest then cannot run.
        """
        alive = {name: walk.values[name][: self.samples] for name in walk.alive_after(position)}
        try:
            found = self.suffix.outputs(position, {**alive, output: values})
        except RunError:  # an index beyond its table, say
            return BEYOND_MEASURE
        assert self.reference is not None
        reference = self.reference
        plain = {n: found[n] for n in self.graph.outputs if n not in self.scores}
        changes = [
            expected_label_changes(scores, reference[scores.value], found[scores.value])
            for scores in self.scores.values()
        ]
        return max(output_divergence(self.graph, reference, plain), *changes, 0.0)

    def _own_error(self, output: str, wanted: Array, found: Array) -> float:
        """The relative squared error of a node's own output."""
        quant = self.graph.types[output].quant
        reals = [numerics.reals(values, quant) for values in (wanted[: len(found)], found)]
        before, after = (values.astype(np.float64) for values in reals)
        finite = np.isfinite(before)  # of the others no error can be told
        return relative_squared_error(before[finite], after[finite])

    def _product_outputs(
        self, node: Node, formats: Sequence[Format], walk: Walk
    ) -> Iterator[tuple[Format, Array | None]]:
        """The output of a product in each format, on the samples."""
        source, output = node.inputs[0], node.outputs[0]
        product = product_formats(node, self.graph, self.target, walk.values[source], formats)
        given = self._output_quant(source) or self.graph.types[source].quant
        for form in formats:
            yield form, product.output(form, given, self._output_quant(output), self.samples)

    def _rounded_output(self, node: Node, walk: Walk, to_outputs: bool) -> Array | None:
        """The output in int8 of a node that is no product, on the samples."""
        values = walk.values[node.outputs[0]][: self.samples]
        # An estimate leaves constants as they are: of a long chain that adds one in each node,
        # every node would run once more.
        if to_outputs and rounded_constants(node, self.graph):
            few = {n: walk.values[n][: self.samples] for n in node.inputs if n in walk.values}
            values = on_rounded_constants(node, self.graph, few)
        return self._in_int8(node.outputs[0], values)

    def _in_int8(self, value: str, values: Array) -> Array | None:
        """What is left of a float value's numbers in its 8-bit format; None where it has none."""
        quant = self._output_quant(value)
        if quant is None:
            return None
        reals = np.asarray(values, np.float32)
        return numerics.dequantize(numerics.quantize(reals, quant), quant)

    def _output_quant(self, value: str) -> Quant | None:
        found = self.ranges.get(value)
        return given_format(value, self.graph) or (
            numerics.asymmetric(8, *found) if found else None
        )
