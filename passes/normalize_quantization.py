"""Turns DequantizeLinear, float operation, QuantizeLinear into integer operations.

The integer operations work on quantized types.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from compiler.ir.graph import Attribute, Graph, Node, Quant, TensorType
from compiler.ir.ops import MOVEMENT, UNARY, VIEWS
from compiler.ir.protos import quant_of
from compiler.ir.rewriter import Rewriter
from compiler.target.chip import Target
from passes.base import Pass
from passes.eliminate_dead import eliminate
from passes.fuse_activations import activation_bounds
from passes.patterns.integer_forms import pool_window, table_of
from passes.patterns.products import MATRIX_PRODUCTS
from passes.patterns.quantized_products import IntegerProduct, channel_scaling, integer_product

INT8 = ("int8", "uint8")


@dataclass(frozen=True)
class NormalizeQuantization(Pass):
    """Replaces QDQ by the normal form: integers whose TensorType holds their scale and zero point.

    Products, moves and tables give the integers the cluster gives; sums, products of activations
    and pools are within one step of it (they round once, where the cluster rounds in float). What
    has no integer form stays between its DequantizeLinear and QuantizeLinear.
    """

    name: ClassVar[str] = "normalize_quantization"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph with its clusters as integer operations."""
        if not any(node.op in ("QuantizeLinear", "DequantizeLinear") for node in graph):
            return graph
        return eliminate(_Normalizer(_with_types(graph)).run())


def _linear_quant(node: Node, graph: Graph) -> Quant | None:
    """Finds the quantization of a QuantizeLinear or DequantizeLinear to or from int8, else None.

    Its parameters have to be constants.
    """
    scale = graph.constant(node.inputs[1])
    if scale is None or scale.dtype != np.float32 or node.integer("block_size", 0):
        return None
    point = None
    if node.input(2):
        point = graph.constant(node.inputs[2])
        if point is None:
            return None
    integers = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
    kind = graph.types[integers]
    if not kind.is_static or not np.all(np.asarray(scale, np.float32) > 0):
        return None
    axis = node.integer("axis", 1) if scale.size > 1 else None
    if axis is not None and axis < 0:
        axis += len(kind.sizes)
    return quant_of(scale, point, kind.dtype, axis)


def _with_types(graph: Graph) -> Graph:
    """Writes the quantization of every int8 value on its type."""
    types = dict(graph.types)
    for node in graph:
        if node.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        quant = _linear_quant(node, graph)
        value = node.outputs[0] if node.op == "QuantizeLinear" else node.inputs[0]
        if quant is not None and types[value].dtype in INT8 and types[value].quant is None:
            types[value] = replace(types[value], quant=quant)
    return graph if types == graph.types else replace(graph, types=types)


# What a cluster's affine part is made of: scales and shifts that constants give each channel.
AFFINE = ("BatchNormalization", "Mul", "Add", "Sub", "Div")


@dataclass(frozen=True)
class _Cluster:
    """A product, or a scaling of channels, of integers.

    `core` is the node it is named after, `fused` are all nodes it stands for in order, `bounds`
    what it clips to.

    `out` is None where the cluster ends in floats.
    """

    core: Node
    fused: tuple[Node, ...]
    source: str
    form: IntegerProduct
    bounds: dict[str, Attribute]
    out: Quant | None


class _Normalizer:
    """Replaces every float operation between integers where its cluster ends, in one walk."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rewriter = Rewriter(graph)

    def run(self) -> Graph:
        clusters: dict[str, _Cluster] = {}
        for node in self.graph:
            cluster = self._cluster(node)
            if cluster is not None:
                clusters.setdefault(cluster.fused[-1].name, cluster)
        for node in self.graph:
            cluster = clusters.get(node.name)
            if cluster is not None:
                self._product(cluster)
            elif node.op != "QuantizeLinear" or not self._replace(node):
                self.rewriter.keep(node)
        return self.rewriter.finish()

    def _replace(self, last: Node) -> bool:
        """Writes the integer form of what ends in a QuantizeLinear and is no product.

        False when there is none.
        """
        out = self._tensor_quant(last.outputs[0])
        core = self.graph.producer.get(last.inputs[0])
        if out is None or core is None:
            return False
        if core.op == "DequantizeLinear":
            return self._requantize(last, core, out)
        bounds: dict[str, Attribute] = {}
        functions: list[Node] = []
        fused = [last]
        while core is not None and self.graph.only_consumer(core.outputs[0]) is fused[0]:
            if core.op not in UNARY:
                break
            functions.insert(0, core)
            fused.insert(0, core)
            core = self.graph.producer.get(core.inputs[0])
        if core is None:
            return False
        if core.op == "DequantizeLinear":
            return bool(functions) and self._table(functions, out, fused)
        if self.graph.only_consumer(core.outputs[0]) is not fused[0]:
            return False
        for function in functions:
            found = activation_bounds(function, self.graph)
            if found is None:
                return False
            bounds = within(bounds, found)
        if core.op in ("Add", "Mul"):
            return self._two(core, bounds, fused)
        if core.op in ("AveragePool", "GlobalAveragePool"):
            return self._pool(core, bounds, fused)
        if core.op in (*VIEWS, *MOVEMENT, "MaxPool") and not functions:
            return self._move(core, out, fused)
        return False

    # -- products and what follows them

    def _cluster(self, core: Node) -> _Cluster | None:
        """Finds the cluster that begins with a node, as far as it has an integer form."""
        if core.op in MATRIX_PRODUCTS:
            source = self._integers(core.inputs[0])
            affine = self._affine_after(core)
        elif core.op in AFFINE:
            found = [self._integers(name) for name in core.inputs]
            if all(found):
                return None  # of two integers, IntegerAdd and IntegerMul need no product
            source = next(
                (name for name in found if name and name not in self.graph.constants), None
            )
            affine = (core, *self._affine_after(core))
        else:
            return None
        if source is None:
            return None
        while True:
            form = self._form(core, affine, source)
            if form is not None or not affine:
                break
            affine = affine[:-1]
        if form is None:
            return None
        nodes = [core, *(node for node in affine if node is not core)]
        bounds, nodes, out = self._ending(nodes)
        if core.op in AFFINE and out is None:
            return None  # its floats are wanted, and it is no work for an array
        return _Cluster(
            core=core, fused=tuple(nodes), source=source, form=form, bounds=bounds, out=out
        )

    def _form(self, core: Node, affine: tuple[Node, ...], source: str) -> IntegerProduct | None:
        data = self.graph.types[source].quant
        assert data is not None
        if core.op in AFFINE:
            return channel_scaling(affine, self.graph, data) if affine else None
        made = self.graph.producer.get(core.inputs[1])
        if made is None or made.op != "DequantizeLinear":
            return None
        return integer_product(core, affine, self.graph, data, _linear_quant(made, self.graph))

    def _affine_after(self, core: Node) -> tuple[Node, ...]:
        """Finds the scales and shifts by constants that alone read a value, one after the other."""
        found: list[Node] = []
        last = core
        while (reader := self.graph.only_consumer(last.outputs[0])) is not None:
            if reader.op not in AFFINE or len(found) == 8:
                break
            found.append(reader)
            last = reader
        return tuple(found)

    def _ending(self, nodes: list[Node]) -> tuple[dict[str, Attribute], list[Node], Quant | None]:
        """Finds the Clips and the QuantizeLinear that follow some nodes.

        Returns the bounds, the nodes with those found, and the quantization; None for the last
        where the chain ends before, in floats.
        """
        bounds: dict[str, Attribute] = {}
        chain = list(nodes)
        while (reader := self.graph.only_consumer(chain[-1].outputs[0])) is not None:
            if reader.op == "QuantizeLinear":
                out = self._tensor_quant(reader.outputs[0])
                return (bounds, [*chain, reader], out) if out is not None else ({}, nodes, None)
            found = activation_bounds(reader, self.graph)
            if found is None:
                break
            bounds = within(bounds, found)
            chain.append(reader)
        return {}, nodes, None

    def _product(self, cluster: _Cluster) -> None:
        core, form = cluster.core, cluster.form
        inputs = [
            cluster.source,
            self.rewriter.constant(f"{core.name}.weights", form.weights, form.quant),
        ]
        if form.bias is not None:
            inputs.append(self.rewriter.constant(f"{core.name}.bias", form.bias))
        data = next(name for name in core.inputs if self._integers(name) == cluster.source)
        attrs = {**form.attrs, **cluster.bounds}
        self._add(core, "Product", tuple(inputs), attrs, list(cluster.fused), (data, *form.read))

    # -- what stands before and after

    def _tensor_quant(self, value: str) -> Quant | None:
        """Finds the per-tensor int8 quantization of a value."""
        quant = self.graph.types[value].quant
        if quant is None or len(quant.scale) != 1 or self.graph.types[value].dtype not in INT8:
            return None
        return quant

    def _integers(self, value: str) -> str | None:
        """Finds the int8 value that a float value is dequantized from, or None."""
        made = self.graph.producer.get(value)
        if made is None or made.op != "DequantizeLinear":
            return None
        source = made.inputs[0]
        quant = self._tensor_quant(source)
        return source if quant is not None and _linear_quant(made, self.graph) == quant else None

    def _add(
        self,
        core: Node,
        op: str,
        inputs: tuple[str, ...],
        attrs: dict[str, Attribute],
        fused: list[Node],
        read: tuple[str, ...] = (),
    ) -> bool:
        """Adds the integer node, with the nodes it stands for as its origin."""
        output = fused[-1].outputs[0]
        origin = core.origin
        for node in fused:
            if node is not core:
                origin += node.origin
        for value in read:
            made = self.graph.producer.get(value)
            if made is not None and made.op == "DequantizeLinear":
                origin += made.origin
        node = Node(
            name=core.name, op=op, inputs=inputs, outputs=(output,), attrs=attrs,
            origin=tuple(dict.fromkeys(origin)), source=core.source,
        )  # fmt: skip
        self.rewriter.add(node)
        return True

    # -- one method a kind of cluster that ends in a QuantizeLinear

    def _requantize(self, last: Node, made: Node, out: Quant) -> bool:
        source = self._integers(made.outputs[0])
        if source is None:
            return False
        if self.graph.types[source].quant == out and last.outputs[0] not in self.graph.outputs:
            self.rewriter.forward(last.outputs[0], source)
            return True
        return self._add(last, "Requantize", (source,), {}, [last], (made.outputs[0],))

    def _two(self, core: Node, bounds: dict[str, Attribute], fused: list[Node]) -> bool:
        sources = []
        for value in core.inputs:
            source = self._integers(value)
            if source is None or not self._is_int8_data(source):
                return False
            sources.append(source)
        return self._add(core, f"Integer{core.op}", tuple(sources), bounds, fused, core.inputs)

    def _is_int8_data(self, value: str) -> bool:
        return self.graph.types[value].dtype in INT8

    def _pool(self, core: Node, bounds: dict[str, Attribute], fused: list[Node]) -> bool:
        source = self._integers(core.inputs[0])
        if source is None:
            return False
        attrs = pool_window(core, self.graph)
        if attrs is None:
            return False
        return self._add(
            core, "IntegerAveragePool", (source,), {**attrs, **bounds}, fused, core.inputs
        )

    def _move(self, core: Node, out: Quant, fused: list[Node]) -> bool:
        """Applies an operation that only moves values to the integers.

        Another scale needs a Requantize.
        """
        floats = [v for v in core.inputs if v and self.graph.types[v].dtype == "float32"]
        if core.op == "Pad":
            floats = floats[:1]
        if len([name for name in core.outputs if name]) != 1:
            return False
        sources = {value: self._integers(value) for value in floats}
        if not floats or any(source is None for source in sources.values()):
            return False
        if core.op == "Pad" and core.text("mode", "constant") == "constant":
            return False
        quants = {self.graph.types[str(source)].quant for source in sources.values()}
        same = quants == {out}
        if not same and core.op == "Concat":
            sources = {v: self._converted(core, str(source), out) for v, source in sources.items()}
            same = True
        inputs = tuple(str(sources[value]) if value in sources else value for value in core.inputs)
        if same:
            return self._add(core, core.op, inputs, dict(core.attrs), fused, tuple(floats))
        source_quant = next(iter(quants))
        assert source_quant is not None
        middle = self.rewriter.unique(f"{core.outputs[0]}.integers")
        kind = self.graph.types[core.outputs[0]]
        self.rewriter.add(
            replace(core, inputs=inputs, outputs=(middle,)),
            {middle: TensorType(source_quant.storage, kind.shape, source_quant)},
        )
        return self._add(fused[-1], "Requantize", (middle,), {}, [fused[-1]], tuple(floats))

    def _converted(self, core: Node, source: str, out: Quant) -> str:
        if self.graph.types[source].quant == out:
            return source
        value = self.rewriter.unique(f"{source}.requantized")
        kind = TensorType(out.storage, self.graph.types[source].shape, out)
        node = Node(
            self.rewriter.unique(f"{core.name}.requantize"), "Requantize", (source,), (value,),
            origin=core.origin, source=core.source,
        )  # fmt: skip
        self.rewriter.add(node, {value: kind})
        return value

    def _table(self, functions: list[Node], out: Quant, fused: list[Node]) -> bool:
        """Writes functions of one value, one after the other, as one table."""
        first = functions[0]
        source = self._integers(first.inputs[0])
        constant = all(
            not name or name in self.graph.constants for f in functions for name in f.inputs[1:]
        )
        if source is None or not constant:
            return False
        data = self.graph.types[source].quant
        assert data is not None
        entries = table_of(functions, self.graph, data, out)
        table = self.rewriter.constant(f"{first.name}.table", entries, out)
        attrs: dict[str, Attribute] = {"of": first.op}
        return self._add(first, "IntegerTable", (source, table), attrs, fused, first.inputs)


def within(bounds: dict[str, Attribute], found: dict[str, Attribute]) -> dict[str, Attribute]:
    """Combines the bounds of a value that is clipped to `bounds`, then to those found after."""
    least, most = found.get("minimum", -np.inf), found.get("maximum", np.inf)
    clipped = {
        key: float(min(max(float(value), float(least)), float(most)))  # type: ignore[arg-type]
        for key, value in bounds.items()
    }
    return {**found, **clipped}
