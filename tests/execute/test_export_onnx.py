"""Our own operations, exported and run by ONNX Runtime, give the bits that
compiler.engines.numerics gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from compiler.engines import numerics, numerics_analog
from compiler.engines.bit_slicing import Slicing, digits_of_tiles
from compiler.engines.numerics import Window
from compiler.engines.numerics_analog import Converter
from compiler.errors import UnsupportedError
from compiler.execute.export_onnx import export_onnx
from compiler.execute.interpreter import Model
from compiler.ir.graph import Graph, Node, Quant
from compiler.ir.ops import OWN
from compiler.ir.text import from_text
from compiler.ir.text_placeholders import random_array
from compiler.ir.verify import verify

Array = npt.NDArray[Any]


def samples(graph: Graph) -> dict[str, Array]:
    """Random inputs; integers over their whole range."""
    return {
        name: np.asarray(random_array(graph.types[name], (str(seed),)))
        for seed, name in enumerate(graph.inputs)
    }


def run(graph: Graph, values: Mapping[str, Array]) -> Array:
    """The first output, by ONNX Runtime, of the exported graph."""
    verify(graph)
    model = export_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    return np.asarray(Model(model.SerializeToString()).run(values)[graph.outputs[0]])


def quant(graph: Graph, name: str) -> Quant:
    found = graph.types[name].quant
    assert found is not None
    return found


def by_numerics(graph: Graph, values: Mapping[str, Array]) -> Array:
    """The last node's output as its operation is stated, on numpy."""
    node = graph.nodes[-1]
    known = {**graph.constants, **values}
    inputs = [np.asarray(known[name]) for name in node.inputs]
    return _MEANINGS[node.op](graph, node, inputs)


def in_format(real_steps: Array, graph: Graph, node: Node) -> Array:
    out = quant(graph, node.outputs[0])
    rounded = np.rint(np.asarray(real_steps, np.float32))
    return numerics.to_format(rounded, out, numerics.output_bounds(out, node))


def bounded(data: Array, node: Node) -> Array:
    low = np.float32(node.number("minimum", -np.inf))
    return np.clip(np.asarray(data, np.float32), low, np.float32(node.number("maximum", np.inf)))


def columns(values: Array, graph: Graph, node: Node) -> Array:
    rank = len(graph.types[node.outputs[0]].sizes)
    return values.reshape(numerics.column_shape(values, rank, not node.ints("kernel", ())))


def ratio(one: Quant, out: Quant) -> np.float32:
    return np.float32(np.float32(one.scale[0]) / np.float32(out.scale[0]))


def product(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    window = Window.of(node)
    data, weights = inputs[0], inputs[1]
    bias = columns(inputs[2], graph, node) if len(inputs) > 2 else None
    kinds = [graph.types[name] for name in node.inputs]
    if kinds[0].quant is None:
        result = numerics.matrix_product(
            data.astype(np.float32), weights.astype(np.float32), window
        )
        return bounded(result if bias is None else result + bias, node)
    assert kinds[1].quant is not None
    centered = numerics.centered(data.astype(np.int32), kinds[0].quant)
    sums = numerics.integer_product(centered, weights.astype(np.int32), window)
    if bias is not None:
        sums = sums + bias.astype(np.int64)
    out = graph.types[node.outputs[0]].quant
    multiplier = numerics.product_multiplier(kinds[0].quant, kinds[1].quant, out)
    factor = columns(multiplier, graph, node) if multiplier.size > 1 else multiplier[0]
    if out is None:
        return bounded(sums.astype(np.float32) * factor, node)
    return numerics.requantize(sums, factor, out, numerics.output_bounds(out, node))


def analog_product(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    data, weights, gain, digit_weight, multiplier, bias = inputs
    groups, _, count, columns_of_group = gain.shape
    if weights.ndim == 5:
        weights = digits_of_tiles(weights, node.integer("rows", 0), groups, count, columns_of_group)
    codes = numerics_analog.analog_product(
        data.astype(np.int32),
        weights.astype(np.int8),
        gain.astype(np.float32),
        digit_weight.astype(np.float32),
        Window.of(node),
        node.integer("array_rows", 0),
        Converter(node.integer("converter_bits", 0)),
        quant(graph, node.inputs[0]).zero_point[0],
        Slicing.of(node, quant(graph, node.inputs[0])),
    )
    real = codes * columns(multiplier, graph, node) + columns(bias, graph, node)
    if graph.types[node.outputs[0]].quant is None:
        return bounded(real, node)
    return in_format(real / np.float32(quant(graph, node.outputs[0]).scale[0]), graph, node)


def clipped_add(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    return bounded(inputs[0] + inputs[1], node)


def centered_floats(graph: Graph, node: Node, inputs: list[Array]) -> list[Array]:
    return [
        numerics.centered(data.astype(np.int32), quant(graph, name)).astype(np.float32)
        for name, data in zip(node.inputs, inputs, strict=True)
    ]


def requantize(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    one, out = quant(graph, node.inputs[0]), quant(graph, node.outputs[0])
    return in_format(centered_floats(graph, node, inputs)[0] * ratio(one, out), graph, node)


def integer_add(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    out = quant(graph, node.outputs[0])
    one, other = (
        data * ratio(quant(graph, name), out)
        for name, data in zip(node.inputs, centered_floats(graph, node, inputs), strict=True)
    )
    return in_format(one + other, graph, node)


def integer_mul(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    one, other, out = (
        np.float32(quant(graph, name).scale[0]) for name in (*node.inputs, *node.outputs)
    )
    left, right = centered_floats(graph, node, inputs)
    return in_format((left * right) * (one * other / out), graph, node)


def integer_average_pool(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    one, out = quant(graph, node.inputs[0]), quant(graph, node.outputs[0])
    centered = numerics.centered(inputs[0].astype(np.int32), one)
    return in_format(numerics.average_pool(centered, node) * ratio(one, out), graph, node)


def integer_table(graph: Graph, node: Node, inputs: list[Array]) -> Array:
    return inputs[1][inputs[0].astype(np.int64) - quant(graph, node.inputs[0]).lowest]


_MEANINGS = {
    "Product": product,
    "AnalogProduct": analog_product,
    "ClippedAdd": clipped_add,
    "Requantize": requantize,
    "IntegerAdd": integer_add,
    "IntegerMul": integer_mul,
    "IntegerAveragePool": integer_average_pool,
    "IntegerTable": integer_table,
}

EXACT = {
    "dense": """\
graph g(x: int8[2, 3, 40]{scale=0.02, zero=-3}) -> (y)
w: int8[1, 40, 5]{scale=0.01} = const random(1, -127, 127)
y: int8[2, 3, 5]{scale=0.3, zero=7} = Product(x, w)
""",
    "dense, unsigned, scales by column, bias, clipped": """\
graph g(x: uint8[2, 40]{scale=0.02, zero=130}) -> (y)
w: int8[1, 40, 4]{scale=[0.01, 0.02, 0.03, 0.007], axis=2} = const random(1, -127, 127)
b: int32[4] = const [1000, -2000, 30000, 0]
y: uint8[2, 4]{scale=0.3} = Product(x, w, b) minimum=0.0 maximum=6.0
""",
    "dense, to reals": """\
graph g(x: int8[2, 40]{scale=0.02, zero=-3}) -> (y)
w: int8[1, 40, 4]{scale=[0.01, 0.02, 0.03, 0.007], axis=2} = const random(1, -127, 127)
b: int32[4] = const [1000, -2000, 30000, 0]
y: float32[2, 4] = Product(x, w, b) minimum=-2.5
""",
    "convolution": """\
graph g(x: int8[1, 6, 7, 8]{scale=0.02, zero=-3}) -> (y)
w: int8[1, 54, 5]{scale=[0.01, 0.02, 0.03, 0.007, 0.1], axis=2} = const random(1, -127, 127)
b: int32[5] = const [1000, -2000, 30000, 0, 1]
y: int8[1, 5, 4, 4]{scale=0.5, zero=-128} = Product(x, w, b) kernel=[3, 3] strides=[2, 2] \
pads=[1, 0, 1, 1] minimum=0.0
""",
    "convolution, unsigned, 7 bits out": """\
graph g(x: uint8[2, 2, 9]{scale=0.02, zero=3}) -> (y)
w: int8[1, 6, 5]{scale=0.01} = const random(1, -127, 127)
y: int8:7[2, 5, 5]{scale=0.05} = Product(x, w) kernel=[3] dilations=[2]
""",
    "groups": """\
graph g(x: int8[1, 4, 5, 5]{scale=0.02, zero=9}) -> (y)
w: int8[2, 8, 3]{scale=[0.01, 0.02, 0.03, 0.007, 0.1, 0.01], axis=2} = const random(1, -127, 127)
y: int8[1, 6, 4, 4]{scale=0.2} = Product(x, w) kernel=[2, 2]
""",
    "depthwise": """\
graph g(x: int8[1, 3, 6, 6]{scale=0.02, zero=-128}) -> (y)
w: int8[3, 9, 1]{scale=0.01} = const random(1, -127, 127)
b: int32[3] = const [100, -100, 0]
y: int8[1, 3, 6, 6]{scale=0.1, zero=1} = Product(x, w, b) kernel=[3, 3] pads=[1, 1, 1, 1] \
maximum=6.0
""",
    "volume": """\
graph g(x: int8[1, 2, 3, 4, 5]{scale=0.02}) -> (y)
w: int8[1, 16, 2]{scale=0.01} = const random(1, -127, 127)
y: int8[1, 2, 2, 3, 4]{scale=0.1} = Product(x, w) kernel=[2, 2, 2]
""",
    "analog, dense": """\
graph g(x: int8:7[3, 40]{scale=0.02}) -> (y)
d: int8[2, 1, 40, 5] = const random(1, -1, 1)
gain: float32[1, 3, 2, 5] = const random(2, 0.1, 0.5)
worth: float32[1, 3, 2, 5] = const random(3, 2.0, 30.0)
m: float32[5] = const [0.01, 0.02, 0.03, 0.04, 0.05]
b: float32[5] = const [0.0, 0.5, -0.5, 3.0, 0.1]
y: int8[3, 5]{scale=0.3, zero=7} = AnalogProduct(x, d, gain, worth, m, b) rows=40 array_rows=16 \
converter_bits=6
""",
    "analog, convolution, groups, to reals": """\
graph g(x: int8:7[2, 4, 5, 6]{scale=0.02, zero=3}) -> (y)
d: int8[2, 2, 18, 3] = const random(1, -1, 1)
gain: float32[2, 2, 2, 3] = const random(2, 0.1, 0.5)
worth: float32[2, 2, 2, 3] = const random(3, 2.0, 30.0)
m: float32[6] = const [0.01, 0.02, 0.03, 0.04, 0.05, 0.001]
b: float32[6] = const [0.0, 0.5, -0.5, 3.0, 0.1, 0.0]
y: float32[2, 6, 3, 6] = AnalogProduct(x, d, gain, worth, m, b) rows=18 array_rows=10 \
converter_bits=5 kernel=[3, 3] pads=[1, 1, 1, 1] strides=[2, 1]
""",
    "analog, image of the tiles": """\
graph g(x: int8:7[3, 20]{scale=0.02}) -> (y)
d: int8[1, 2, 2, 16, 8] = const random(1, -1, 1)
gain: float32[1, 2, 3, 5] = const random(2, 0.1, 0.5)
worth: float32[1, 2, 3, 5] = const random(3, 2.0, 30.0)
m: float32[5] = const [0.01, 0.02, 0.03, 0.04, 0.05]
b: float32[5] = const [0.0, 0.5, -0.5, 3.0, 0.1]
y: int8[3, 5]{scale=0.3, zero=7} = AnalogProduct(x, d, gain, worth, m, b) rows=20 array_rows=16 \
converter_bits=6 minimum=0.0
""",
    "analog, inputs bit by bit, binary cells": """\
graph g(x: int8:4[3, 40]{scale=0.02}) -> (y)
d: int8[2, 1, 40, 5] = const random(1, 0, 1)
gain: float32[1, 3, 2, 5] = const random(2, 0.5, 1.0)
worth: float32[1, 3, 2, 5] = const random(3, 2.0, 30.0)
m: float32[5] = const [0.01, 0.02, 0.03, 0.04, 0.05]
b: float32[5] = const [0.0, 0.5, -0.5, 3.0, 0.1]
y: int8[3, 5]{scale=0.3, zero=7} = AnalogProduct(x, d, gain, worth, m, b) rows=40 array_rows=16 \
converter_bits=3  input_bits_per_step=1 unsigned_digits=2
""",
    "analog, inputs in slices of three bits, convolution": """\
graph g(x: int8[2, 4, 5, 6]{scale=0.02, zero=3}) -> (y)
d: int8[2, 1, 36, 3] = const random(1, -2, 1)
gain: float32[1, 4, 2, 3] = const random(2, 0.1, 0.5)
worth: float32[1, 4, 2, 3] = const random(3, 2.0, 30.0)
m: float32[3] = const [0.01, 0.02, 0.03]
b: float32[3] = const [0.0, 0.5, -0.5]
y: float32[2, 3, 3, 6] = AnalogProduct(x, d, gain, worth, m, b) rows=36 array_rows=10 \
converter_bits=5  kernel=[3, 3] pads=[1, 1, 1, 1] strides=[2, 1] \
 input_bits_per_step=3 unsigned_digits=1
""",
    "clipped add": """\
graph g(a: float32[2, 1, 3], b: float32[4, 1]) -> (y)
y: float32[2, 4, 3] = ClippedAdd(a, b) minimum=0.0 maximum=0.5
""",
    "clipped add of a constant, without bounds": """\
graph g(a: float32[2, 1, 3]) -> (y)
b: float32[2, 1] = const [1.5, -2.25]
y: float32[2, 2, 3] = ClippedAdd(a, b)
""",
    "requantize": """\
graph g(x: uint8[100]{scale=0.1, zero=100}) -> (y)
y: int8:7[100]{scale=0.05, zero=4} = Requantize(x) minimum=-2.0
""",
    "requantize to the same scale": """\
graph g(x: int8[100]{scale=0.1}) -> (y)
y: uint8[100]{scale=0.1, zero=128} = Requantize(x)
""",
    "add": """\
graph g(a: int8[2, 1, 30]{scale=0.1, zero=-5}, b: uint8[4, 1]{scale=0.03, zero=200}) -> (y)
y: int8[2, 4, 30]{scale=0.12, zero=3} = IntegerAdd(a, b) minimum=0.0
""",
    "add of a constant": """\
graph g(a: int8[2, 4, 30]{scale=0.1, zero=-5}) -> (y)
b: int8[4, 1]{scale=0.03} = const [1, 2, 3, -100]
y: int8[2, 4, 30]{scale=0.12, zero=3} = IntegerAdd(a, b)
""",
    "multiply": """\
graph g(a: int8[2, 4, 30]{scale=0.1, zero=-5}, b: uint8[4, 1]{scale=0.03, zero=200}) -> (y)
y: int8[2, 4, 30]{scale=0.7, zero=3} = IntegerMul(a, b) maximum=20.0
""",
    "average pool": """\
graph g(x: int8[2, 3, 9, 8]{scale=0.1, zero=-5}) -> (y)
y: int8[2, 3, 4, 8]{scale=0.07, zero=3} = IntegerAveragePool(x) kernel=[3, 3] strides=[2, 1] \
pads=[0, 1, 0, 1]
""",
    "average pool that counts padding": """\
graph g(x: uint8[2, 3, 9]{scale=0.1, zero=128}) -> (y)
y: int8[2, 3, 6]{scale=0.07, zero=3} = IntegerAveragePool(x) kernel=[4] strides=[2] pads=[3, 2] \
count_include_pad=1 minimum=0.0
""",
    "average pool with dilations": """\
graph g(x: int8[1, 2, 9, 9]{scale=0.1, zero=-5}) -> (y)
y: int8[1, 2, 5, 6]{scale=0.07} = IntegerAveragePool(x) kernel=[3, 2] dilations=[2, 3]
""",
    "table": """\
graph g(x: int8[3, 100]{scale=0.1}) -> (y)
t: int8[256] = const random(1, -128, 127)
y: int8[3, 100]{scale=0.01} = IntegerTable(x, t) of="Sigmoid"
""",
    "table, unsigned": """\
graph g(x: uint8[3, 100]{scale=0.1}) -> (y)
t: uint8[256] = const random(1, 0, 255)
y: uint8[3, 100]{scale=0.01} = IntegerTable(x, t) of="Sigmoid"
""",
}  # fmt: skip

CLOSE = {
    "dense": """\
graph g(x: float32[2, 3, 40]) -> (y)
w: float32[1, 40, 5] = const random(1)
y: float32[2, 3, 5] = Product(x, w)
""",
    "dense, bias, clipped": """\
graph g(x: float32[2, 40]) -> (y)
w: float32[1, 40, 5] = const random(1)
b: float32[5] = const [0.0, 0.5, -0.5, 3.0, 0.1]
y: float32[2, 5] = Product(x, w, b) minimum=0.0 maximum=2.0
""",
    "convolution, groups": """\
graph g(x: float32[2, 4, 7, 8]) -> (y)
w: float32[2, 18, 3] = const random(1)
b: float32[6] = const [0.0, 0.5, -0.5, 3.0, 0.1, 1.0]
y: float32[2, 6, 4, 6] = Product(x, w, b) kernel=[3, 3] strides=[2, 1] pads=[1, 0, 1, 0] maximum=0.5
""",
}


@pytest.mark.parametrize("case", EXACT)
def test_integers_agree_to_the_bit(case: str) -> None:
    graph = from_text(EXACT[case])
    values = samples(graph)
    want, got = by_numerics(graph, values), run(graph, values)
    assert got.dtype == want.dtype == np.dtype(graph.types["y"].dtype)
    assert got.shape == graph.types["y"].sizes
    assert len(np.unique(want)) > 2  # the case says something
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("case", CLOSE)
def test_floats_agree_to_rounding(case: str) -> None:
    graph = from_text(CLOSE[case])
    values = samples(graph)
    np.testing.assert_allclose(run(graph, values), by_numerics(graph, values), rtol=1e-5, atol=1e-6)


def test_every_operation_of_ours_has_a_case() -> None:
    tested = {node.op for text in (*EXACT.values(), *CLOSE.values()) for node in from_text(text)}
    assert tested == set(OWN) - {"Segment"}


def test_a_segment_cannot_share_a_model() -> None:
    graph = from_text('graph g(x: float32[1]) -> (y)\ny: float32[1] = Segment(x) model=bytes("")\n')
    with pytest.raises(UnsupportedError, match="its own opset") as caught:
        export_onnx(graph)
    assert caught.value.node == "y"


def test_standard_nodes_outputs_and_annotations() -> None:
    graph = from_text(
        "graph g(x: float32[2]) -> (x, w, y)\n"
        "domain com.microsoft 1\n"
        "w: float32[2] = const [1.0, 2.0]\n"
        "h: float32[2] = Add(x, w) @digital\n"
        "y: float32[2] = com.microsoft::Gelu(h) @host\n"
    )
    x = np.array([3.0, 4.0], np.float32)
    model = export_onnx(graph, annotate=True)
    got = Model(model.SerializeToString()).run({"x": x})
    assert got["x"].tolist() == [3, 4]
    assert got["w"].tolist() == [1, 2]
    notes = [{item.key: item.value for item in node.metadata_props} for node in model.graph.node]
    assert [note["joulec.engine"] for note in notes] == ["digital", "host"]
    assert [(item.domain, item.version) for item in model.opset_import] == [
        ("", 23),
        ("com.microsoft", 1),
    ]
    assert not any(node.metadata_props for node in export_onnx(graph).graph.node)


def test_names_of_the_model_do_not_meet_ours() -> None:
    graph = from_text(
        'graph g("_1": int8[4]{scale=0.1, zero=3}) -> ("_2")\n'
        '"_2": int8[4]{scale=0.3} = Requantize("_1")\n'
    )
    values = samples(graph)
    np.testing.assert_array_equal(run(graph, values), by_numerics(graph, values))
