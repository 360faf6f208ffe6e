"""Small placed graphs, made by hand and at random, for the tests of the backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from compiler.engines import numerics_analog
from compiler.engines.bit_slicing import digit_factors, weight_digits, weight_reach
from compiler.engines.mapping import map_node
from compiler.ir.graph import Array, Attribute, Graph, Node, Placement, Quant, TensorType
from compiler.ir.ops import infer_types
from compiler.ir.verify import verify
from compiler.target.chip import Target, load_target
from passes.pad_to_tiles import tile_image


@dataclass
class Build:
    """Grows a placed graph node by node; every method gives the name of the value it makes."""

    seed: int = 0
    target: Target = field(default_factory=lambda: load_target("diana"))
    types: dict[str, TensorType] = field(default_factory=dict)
    constants: dict[str, Array] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, shape: tuple[int, ...], quant: Quant | None = None, dtype: str = "") -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        dtype = dtype or (quant.storage if quant else "float32")
        self.types[name] = TensorType(dtype, shape, quant)
        return name

    def constant(self, data: Array, quant: Quant | None = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = data
        self.types[name] = TensorType(data.dtype.name, data.shape, quant)
        return name

    def add(
        self,
        op: str,
        inputs: list[str],
        engine: str,
        quant: Quant | None = None,
        dtype: str = "",
        outputs: int = 1,
        slices: int = 0,
        resident: bool = False,
        attrs: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> str:
        """A node; the shape of its output is inferred."""
        name = f"n{len(self.nodes)}"
        outs = [f"v{len(self.nodes)}" + (f"_{i}" if outputs > 1 else "") for i in range(outputs)]
        node = Node(
            name,
            op,
            tuple(inputs),
            tuple(outs),
            {**(attrs or {}), **more},
            None,
            (f"onnx_{name}",),
            f"{name}.py:1",
        )
        dtype = quant.storage if quant else dtype
        declared = {out: TensorType(dtype, (1,), quant) for out in outs}
        inferred = infer_types(node, {**self.types, **declared}, self.constants)
        for out in outs:
            kind = inferred[out]
            self.types[out] = TensorType(dtype or kind.dtype, kind.shape, quant)
        self.nodes.append(replace(node, placement=self._placement(node, engine, slices, resident)))
        return outs[0]

    def _placement(self, node: Node, engine: str, slices: int, resident: bool) -> Placement:
        """A placement as the partition would make it, of round numbers."""
        alone = Graph("alone", (), (), (node,), self.types, self.constants)
        mapping = map_node(
            node, alone, engine, self.target, weight_slices=max(1, slices), resident=resident
        )
        return Placement(
            mapping=mapping, reason=f"why {node.name}", energy_pj=1, latency_ns=1, divergence=0.25
        )

    def quantize(self, value: str, quant: Quant) -> str:
        scale = self.constant(np.array(quant.scale[0], np.float32))
        point = self.constant(np.array(quant.zero_point[0], quant.storage))
        return self.add("QuantizeLinear", [value, scale, point], "host", quant)

    def dequantize(self, value: str) -> str:
        quant = self.types[value].quant
        assert quant is not None
        scale = self.constant(np.array(quant.scale[0], np.float32))
        point = self.constant(np.array(quant.zero_point[0], quant.storage))
        return self.add("DequantizeLinear", [value, scale, point], "host", dtype="float32")

    def product(
        self,
        value: str,
        columns: int,
        kernel: tuple[int, ...] = (),
        groups: int = 1,
        out: Quant | None = None,
        engine: str = "digital",
        bias: bool = True,
        resident: bool = False,
        per_column: bool = True,
        dtype: str = "",
        attrs: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> str:
        """An integer matrix product; `columns` are those of one group."""
        kind = self.types[value]
        assert kind.quant is not None
        channels = kind.sizes[1] if kernel else kind.sizes[-1]
        rows = channels // groups * prod(kernel)
        weights = self.random.integers(-127, 128, (groups, rows, columns)).astype(np.int8)
        scales = self.random.uniform(0.002, 0.01, groups * columns if per_column else 1)
        scale = tuple(float(np.float32(s)) for s in scales)
        quant = Quant(8, True, scale, (0,) * len(scale), 2 if per_column else None)
        inputs = [value, self.constant(weights, quant)]
        if bias:
            values = self.random.integers(-3000, 3000, groups * columns).astype(np.int32)
            inputs.append(self.constant(values))
        whole = {**(attrs or {}), **more, **({"kernel": kernel} if kernel else {})}
        return self.add(
            "Product", inputs, engine, out, dtype, slices=1, resident=resident, attrs=whole
        )

    def analog(
        self,
        value: str,
        columns: int,
        kernel: tuple[int, ...] = (),
        groups: int = 1,
        out: Quant | None = None,
        digits: int = 1,
        array_rows: int = 1152,
        array_columns: int = 512,
        image: bool = True,
        resident: bool = False,
        dtype: str = "",
        attrs: Mapping[str, Attribute] | None = None,
        **more: Attribute,
    ) -> str:
        """A product on the analog array, with random weights, gains and scales."""
        (unit,) = self.target.analog_engines.values()
        levels, bits = unit.cell_levels.value, unit.converter_bits.value
        kind = self.types[value]
        assert kind.quant is not None
        channels = kind.sizes[1] if kernel else kind.sizes[-1]
        rows = channels // groups * prod(kernel)
        reach = weight_reach(levels, digits)
        weights = self.random.integers(-reach, reach + 1, (groups, rows, columns))
        parts = weight_digits(weights, levels, digits)
        tiles = len(numerics_analog.row_tiles(rows, array_rows))
        step = (1 << (bits - 1)) / (40 * np.sqrt(min(rows, array_rows)))
        gain = self.random.uniform(0.5 * step, 3 * step, (groups, tiles, digits, columns))
        gain = gain.astype(np.float32)
        factors = np.array(digit_factors(levels, digits), np.float32)
        worth = factors[None, None, :, None] / gain
        scale = self.random.uniform(0.001, 0.01, groups * columns).astype(np.float32)
        bias = self.random.uniform(-1, 1, groups * columns).astype(np.float32)
        stored: Array = tile_image(parts, array_rows, array_columns) if image else parts
        constants = [stored, gain, worth.astype(np.float32), scale, bias]
        names = [self.constant(data) for data in constants]
        whole = {**(attrs or {}), **more, **({"kernel": kernel} if kernel else {})}
        return self.add(
            "AnalogProduct", [value, *names], "analog", out, dtype, slices=digits,
            resident=resident, rows=rows, array_rows=array_rows, converter_bits=bits, attrs=whole,
        )  # fmt: skip

    def graph(self, *outputs: str, check: bool = True) -> Graph:
        """The graph; with `check` it is verified."""
        names = outputs or (self.nodes[-1].outputs[0],)
        used = {name for node in self.nodes for name in (*node.inputs, *node.outputs)}
        used |= set(names) | set(self.inputs)
        graph = Graph(
            "test",
            tuple(self.inputs),
            tuple(names),
            tuple(self.nodes),
            {name: kind for name, kind in self.types.items() if name in used},
            {name: data for name, data in self.constants.items() if name in used},
            batch_axes={name: 0 for name in (*self.inputs, *names) if self.types[name].shape},
            ledger={name: "" for node in self.nodes for name in node.origin},
        )
        if check:
            verify(graph)
        return graph


def with_capacities(target: Target, capacities: Mapping[str, int]) -> Target:
    """The chip with memories of other sizes."""
    memories = {
        name: memory.model_copy(
            update={
                "capacity_bytes": memory.capacity_bytes.model_copy(
                    update={"value": capacities.get(name, memory.capacity_bytes.value)}
                )
            }
        )
        for name, memory in target.memories.items()
    }
    return replace(target, chip=target.chip.model_copy(update={"memories": memories}))


INT8 = Quant(8, True, (0.05,), (0,))
INT8_SHIFTED = Quant(8, True, (0.04,), (-17,))
UINT8 = Quant(8, False, (0.03,), (120,))
INT7 = Quant(7, True, (0.1,), (0,))


def classifier(target: str = "diana", seed: int = 0, analog: bool = True) -> Graph:
    """Host, digital, analog and host again: a small residual network with a softmax."""
    build = Build(seed, load_target(target))
    data = build.quantize(build.input((1, 3, 8, 8)), INT8)
    stem = build.product(data, 8, (3, 3), out=INT8_SHIFTED, pads=(1, 1, 1, 1), minimum=0.0)
    if analog:
        narrow = build.add("Requantize", [stem], "digital", INT7)
        branch = build.analog(
            narrow, 8, (3, 3), out=INT8, digits=2, pads=(1, 1, 1, 1), resident=True
        )
    else:
        branch = build.product(stem, 8, (3, 3), out=INT8, pads=(1, 1, 1, 1))
    both = build.add("IntegerAdd", [stem, branch], "digital", INT8_SHIFTED, minimum=0.0)
    pooled = build.add("IntegerAveragePool", [both], "digital", INT8_SHIFTED, kernel=(8, 8))
    flat = build.add(
        "Reshape", [pooled, build.constant(np.array([1, 8], np.int64))], "digital", INT8_SHIFTED
    )
    scores = build.product(flat, 10, out=INT8, resident=True)
    build.add("Softmax", [build.dequantize(scores)], "host", axis=1)
    return build.graph()
