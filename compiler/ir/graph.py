"""The graph: frozen values, names instead of references, nodes in execution order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler.ir.formats import Format
from compiler.ir.mapping import NodeMapping
from compiler.units import Estimate

if TYPE_CHECKING:
    import networkx

Array: TypeAlias = npt.NDArray[np.generic]
# bytes: a serialized TensorProto (a tensor attribute), or the ModelProto of a Segment
Attribute: TypeAlias = (
    "int | float | str | bytes | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]"
)

OPSET = 23  # the one opset of ONNX's default domain that a graph speaks


@dataclass(frozen=True)
class Quant:
    """How integers stand for real numbers: real = scale * (integer - zero_point).

    `scale` and `zero_point` have one entry, or one per index along `axis`.
    """

    bits: int
    signed: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None

    @property
    def lowest(self) -> int:
        """The smallest integer of the format."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest integer of the format."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def storage(self) -> str:
        """The numpy type that holds the integers."""
        width = 8 if self.bits <= 8 else 16 if self.bits <= 16 else 32
        return f"{'int' if self.signed else 'uint'}{width}"


@dataclass(frozen=True)
class TensorType:
    """What a value is: its element type, shape and quantization.

    `dtype` is numpy's name, or the ONNX text of a sequence or optional.

    `shape` is None when even the rank is unknown, and holds None for an unknown size; both are
    for values that only the host sees.
    """

    dtype: str
    shape: tuple[int | None, ...] | None
    quant: Quant | None = None

    @cached_property
    def is_static(self) -> bool:
        """Whether every size is known."""
        return self.shape is not None and all(size is not None for size in self.shape)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a static type; ValueError when a size is unknown."""
        if self.shape is None:
            raise ValueError("the rank is unknown")
        sizes = tuple(size for size in self.shape if size is not None)
        if len(sizes) != len(self.shape):
            raise ValueError(f"shape {self.shape} has unknown sizes")
        return sizes

    @cached_property
    def elements(self) -> int:
        """The number of elements of a static type."""
        count = 1
        for size in self.sizes:
            count *= size
        return count

    @cached_property
    def size_bytes(self) -> int:
        """The bytes of a static type as stored: a 7-bit integer takes the byte that holds it."""
        return (self.elements * DTYPE_BITS.get(self.dtype, 64) + 7) // 8


DTYPE_BITS = {
    "bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
    "int64": 64, "uint64": 64, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64,
    "int4": 4, "uint4": 4, "complex64": 64, "complex128": 128,
    "float8_e4m3fn": 8, "float8_e4m3fnuz": 8, "float8_e5m2": 8, "float8_e5m2fnuz": 8,
    "float8_e8m0fnu": 8, "float6_e2m3fn": 6, "float6_e3m2fn": 6, "float4_e2m1fn": 4,
    "int2": 2, "uint2": 2,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A candidate that a node did not take; `reason` explains why, though it is better by itself.

    A candidate that cannot be has no costs, and `reason` explains why it cannot be. `mapping` is in
    words. The margins are what it takes more than the chosen candidate (negative: less), in an
    interval that holds what the two do not share (compiler.cost.margin).
    """

    engine: str
    mapping: str = ""
    energy_pj: float | None = None
    latency_ns: float | None = None
    divergence: float | None = None
    reason: str
    energy_margin_pj: Estimate | None = None
    latency_margin_ns: Estimate | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where and how a node runs and why, with the alternatives it did not take.

    Energy (pJ), latency (ns) and divergence are of this node alone, as they were when it was
    chosen; `weight_home` is the memory that stores its weights ("" where there are none).
    """

    mapping: NodeMapping
    reason: str = ""
    energy_pj: float = 0.0
    latency_ns: float = 0.0
    divergence: float = 0.0
    weight_home: str = ""
    alternatives: tuple[Alternative, ...] = ()

    @property
    def engine(self) -> str:
        """The engine the node runs on."""
        return self.mapping.engine


@dataclass(frozen=True)
class Node:
    """One operation on named values.

    `op` is an ONNX operation, `domain::operation`, or one of ours (compiler.ir.ops). An empty
    string among `inputs` or `outputs` is an optional one left out. `origin` names the ONNX nodes it
    came from, the main one first; `source` is the user's own FILE:LINE in SCOPE where the exporter
    wrote it.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Attribute] = field(default_factory=dict)
    placement: Placement | None = None
    origin: tuple[str, ...] = ()
    source: str = ""

    def input(self, position: int) -> str:
        """The input at a position, or an empty string where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else ""

    def ints(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute that is a list of integers; TypeError where it is something else."""
        value = self.attrs.get(name, default)
        if not isinstance(value, tuple):
            raise TypeError(f"attribute {name} of {self.name} is not a list of integers")
        return tuple(int(item) for item in value)

    def integer(self, name: str, default: int) -> int:
        """An attribute that is an integer; TypeError where it is something else."""
        value = self.attrs.get(name, default)
        if not isinstance(value, int):
            raise TypeError(f"attribute {name} of {self.name} is not an integer")
        return value

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number; TypeError where it is something else."""
        value = self.attrs.get(name, default)
        if not isinstance(value, int | float):
            raise TypeError(f"attribute {name} of {self.name} is not a number")
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """An attribute that is a text; TypeError where it is something else."""
        value = self.attrs.get(name, default)
        if not isinstance(value, str):
            raise TypeError(f"attribute {name} of {self.name} is not a text")
        return value

    @property
    def engine(self) -> str:
        """The engine it was placed on, or an empty string."""
        return self.placement.engine if self.placement else ""


@dataclass(frozen=True)
class Graph:
    """A model: typed values, constants and nodes in execution order.

    `domains` holds the opset of every domain but ONNX's default, which is always OPSET.
    `batch_axes` gives, for an input or output, the axis along which samples are stacked. `ledger`
    lists every node of the ONNX file, in order, with its fate: "" while nodes of the graph stand
    for it, else what became of it ("folded", "removed"). `unquantized` is the
    graph before `quantize`, which `refit` fits weights to (None before the one, behind the other).
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    types: Mapping[str, TensorType]
    constants: Mapping[str, Array]
    domains: Mapping[str, int] = field(default_factory=dict)
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    ledger: Mapping[str, str] = field(default_factory=dict)
    calibration: Calibration | None = None
    partition: PartitionSummary | None = None
    unquantized: Graph | None = None

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    @cached_property
    def producer(self) -> Mapping[str, Node]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """The nodes that read each value, in execution order, each once."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    def only_consumer(self, value: str) -> Node | None:
        """Finds the one node that reads a value; None for a graph output or several readers."""
        readers = self.consumers.get(value, ())
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def constant(self, value: str) -> Array | None:
        """The data of a constant value, or None for a value that is computed or left out."""
        return self.constants.get(value)

    def to_networkx(self) -> networkx.DiGraph[str]:
        """Builds a networkx view of the nodes and the values that they hand to one another.

        A vertex is a node's name, in execution order, with the attributes `op`, `engine` ("" where
        the node is not placed) and `outputs`. An arc leads from the node that makes values to one
        that reads them: its `values` map their names to their bytes, None where a size is unknown.
        What nodes read of the graph's inputs and constants is no arc. The view's own attributes
        are `name`, `inputs` and `outputs`. Changes to the view do not change the graph.
        """
        import networkx

        view: networkx.DiGraph[str] = networkx.DiGraph(
            name=self.name, inputs=self.inputs, outputs=self.outputs
        )
        for node in self.nodes:
            view.add_node(node.name, op=node.op, engine=node.engine, outputs=node.outputs)
        for value, maker in self.producer.items():
            kind = self.types.get(value)
            size_bytes = kind.size_bytes if kind is not None and kind.is_static else None
            for reader in self.consumers.get(value, ()):
                if not view.has_edge(maker.name, reader.name):
                    view.add_edge(maker.name, reader.name, values={})
                view.edges[maker.name, reader.name]["values"][value] = size_bytes
        return view


@dataclass(frozen=True)
class Calibration:
    """What calibration measured: ranges of values, and the divergence of each number format alone.

    `ranges` maps a value to (low, high) after clip search. `divergence` maps a node to {format:
    divergence}. `rounding` maps a value to the divergence that it alone in int8 would cause, where
    an integer engine could read it so from the host. `kind` names the measure of divergence ("KL"
    or "relative squared error"). `inputs_hash` names the calibration inputs. For `estimated` of the
    nodes the divergence was not measured at the outputs (see passes.calibrate).
    """

    ranges: Mapping[str, tuple[float, float]]
    divergence: Mapping[str, Mapping[Format, float]]
    kind: str
    inputs_hash: str
    estimated: int = 0
    rounding: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PartitionSummary:
    """How good the chosen assignment is: its objective, and the proven bound on any other.

    The objective is recomputed from the candidates; `gap` is (objective - bound) / objective.
    Energy in pJ and serial latency in ns are of the nodes and the changes of format between them.
    """

    objective: str
    energy_pj: float
    latency_ns: float
    divergence: float
    max_divergence: float
    divergence_kind: str
    gap: float
