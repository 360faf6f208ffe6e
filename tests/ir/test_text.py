"""A graph as text: how it looks, that it reads back the same, and errors of wrong texts."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.errors import ModelError
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.formats import FLOAT, INT8, Format
from compiler.ir.graph import (
    Alternative,
    Array,
    Attribute,
    Calibration,
    Graph,
    Node,
    Placement,
    Quant,
    TensorType,
)
from compiler.ir.mapping import (
    AnalogMapping,
    DigitalMapping,
    DigitalTiling,
    HostMapping,
    ProductShape,
    Unroll,
)
from compiler.ir.text import from_text, to_text
from compiler.ir.verify import verify
from compiler.target.chip import load_target
from compiler.units import Estimate
from passes.base import run_passes
from passes.calibrate import Calibrate
from passes.calibration.inputs import synthetic_inputs
from passes.partition import Partition

MODELS = sorted(Path(__file__).parents[2].glob("models/*.onnx"))

MLP = """\
graph mlp(x: float32[1, 4] batch 0) -> (y batch 0)
domain com.microsoft 1
w: float32[4, 2] = const [0.5, -1.0, 2.0, 0.25, 1.0, 1.0, -0.5, 3.0]
big: float32[2, 100] = const random(7, -0.5, 0.5)
h: float32[1, 2] = MatMul(x, w) named /fc/MatMul from (MatMul_0, Add_1) at "model.py:12" \
@analog
a: float32[1, 2], "", b: float32[1, ?] = com.microsoft::Odd(h, "", big) alpha=0.1 \
beta=0.1d axis=-1 mode="half even" pads=[0, 1] none=[]
c: float32[1, 2] = Relu(a) names=["a", "b"] raw=bytes("AAEC")
y: int8:7[1, 2]{scale=0.02, zero=-3} = QuantizeLinear(c) @digital
ledger (MatMul_0, Add_1, Drop_2 removed)
calibration "KL" on "1a2b"
range h [-1.0, 2.5]
divergence h (int8 0.001, analog/1 0.25)
"""


def test_a_text_reads_back_and_prints_the_same() -> None:
    graph = from_text(MLP)
    assert to_text(graph) == MLP
    assert graph.nodes[1] == Node(
        "a",
        "com.microsoft::Odd",
        ("h", "", "big"),
        ("a", "", "b"),
        {
            "alpha": float(np.float32(0.1)), "beta": 0.1, "axis": -1, "mode": "half even",
            "pads": (0, 1),
            "none": (),
        },
    )  # fmt: skip
    assert graph.nodes[2].attrs == {"names": ("a", "b"), "raw": b"\0\1\2"}
    assert graph.types["y"].quant == Quant(7, True, (float(np.float32(0.02)),), (-3,))
    assert graph.types["b"].shape == (1, None)
    assert graph.nodes[0].placement == Placement(mapping=HostMapping(engine="analog"))


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (TensorType("float32", ()), "float32[]"),
        (TensorType("float32", None), "float32[...]"),
        (TensorType("int8", (2, None), Quant(8, True, (0.5,), (0,))), "int8[2, ?]{scale=0.5}"),
        (TensorType("int8", (2,), Quant(4, True, (0.1,), (1,))), "int8:4[2]{scale=0.1d, zero=1}"),
        (
            TensorType("uint8", (2,), Quant(8, False, (0.5, 0.25), (3, 0), 0)),
            "uint8[2]{scale=[0.5, 0.25], zero=[3, 0], axis=0}",
        ),
        (TensorType("uint8", (2,), Quant(8, True, (1.0,), (0,))), "uint8[2]{scale=1.0, signed=1}"),
        (TensorType("sequence_type { a: 1 }", None), '"sequence_type { a: 1 }"[...]'),
    ],
)
def test_types(kind: TensorType, shown: str) -> None:
    graph = Graph("g", ("x",), (), (), {"x": kind}, {})
    assert to_text(graph) == f"graph g(x: {shown}) -> ()\n"
    assert same(from_text(to_text(graph)), graph)


def test_many_scales_are_replaced_by_seeded_ones_that_print_alike() -> None:
    quant = Quant(8, True, tuple(i / 64 for i in range(64)), tuple(range(64)), 1)
    graph = Graph("g", ("x",), (), (), {"x": TensorType("int8", (2, 64), quant)}, {})
    text = to_text(graph)
    assert "{scale=<64 values sha " in text
    again = from_text(text)
    found = again.types["x"].quant
    assert found is not None
    assert len(found.scale) == len(found.zero_point) == 64
    assert min(found.scale) > 0
    assert to_text(again) == text
    assert from_text(text).types == again.types


def test_a_large_constant_is_replaced_by_data_in_its_range() -> None:
    weights = np.random.default_rng(1).normal(size=(3, 100)).astype(np.float32)
    types = {"w": TensorType("float32", (3, 100))}
    graph = Graph("g", (), ("w",), (), types, {"w": weights})
    text = to_text(graph)
    again = from_text(text)
    data = again.constants["w"]
    assert weights.min() <= data.min() < 0 < data.max() <= weights.max()
    assert not np.array_equal(data, weights)
    assert not data.flags.writeable
    assert to_text(again) == text
    other = dataclasses.replace(graph, constants={"w": weights + 1})
    assert to_text(other) != text


def test_what_is_computed_from_random_data_is_other_data() -> None:
    graph = from_text("graph g() -> (w)\nw: float32[20] = const random(1)\n")
    doubled = dataclasses.replace(graph, constants={"w": graph.constants["w"] * 2})
    assert to_text(doubled) != to_text(graph)


def test_constants_nobody_reads_are_left_out() -> None:
    graph = from_text("graph g(x: float32[1]) -> (x)\nw: float32[1] = const [1.0]\n")
    assert to_text(graph) == "graph g(x: float32[1]) -> (x)\n"


def test_comments_and_blank_lines() -> None:
    graph = from_text(
        '\n# a comment\ngraph g(x: float32[1]) -> ("#")  # another\r\n\n"#" = Relu(x)\n'
    )
    assert graph.outputs == ("#",)
    assert graph.nodes[0].inputs == ("x",)


def test_long_bytes_cannot_be_read_back() -> None:
    node = Node("s", "Segment", (), ("y",), {"model": bytes(257)})
    graph = Graph("g", (), ("y",), (node,), {"y": TensorType("float32", (1,))}, {})
    text = to_text(graph)
    assert "model=<257 bytes sha " in text
    with pytest.raises(ModelError, match=r"line 2: the bytes <257 bytes sha .*cannot be read back"):
        from_text(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: wanted 'graph NAME(inputs) -> (outputs)', found no text"),
        ("grap g() -> ()", "line 1: wanted 'graph', found 'grap'"),
        ("graph g() -> (y", "line 1: wanted ',' or ')', found the end of the line"),
        ("graph g() -> () x", "line 1: wanted the end of the line, found 'x'"),
        ("graph g() -> ()\n\ny: float32[1 = Relu(x)", "line 3: wanted ',' or ']', found '='"),
        (
            "graph g() -> ()\ny: float32[-1] = Relu(x)",
            "wanted a size of 0 or more, or '?', found '-1'",
        ),
        ("graph g() -> ()\ny: int8:7[1] = Relu(x)", "wanted '{scale=...}' after int8:7, found '='"),
        ("graph g() -> ()\ny: int8[1]{zero=1} = Relu(x)", "line 2: a quantization needs a scale"),
        (
            "graph g() -> ()\ny: int8[1]{scal=1} = Relu(x)",
            "wanted scale, zero, axis or signed, found 'scal'",
        ),
        (
            "graph g() -> ()\ny = Relu(x) ?",
            "wanted attribute=value, 'named', 'from', 'at' or '@engine', found '?'",
        ),
        ("graph g() -> ()\ny = Relu(x) a=", "line 2: wanted a number, found the end of the line"),
        (
            'graph g() -> ()\ny = Relu(x) a="\\q"',
            "wanted a text with JSON's escapes, found '\"\\q\"'",
        ),
        ('graph g() -> ()\ny = Relu(x) a=bytes("?")', "line 2: bytes are written in base64"),
        (
            "graph g() -> ()\ny = Relu(x) \x1b[31m",
            "wanted a name, number, text or sign, found '\\x1b[31m'",
        ),
        ("graph g() -> ()\ny Relu(x)", "line 2: wanted ',' or '=', found 'Relu'"),
        (
            "graph g() -> ()\na, b = const [1]",
            "line 2: a constant is one value of a known type and size",
        ),
        (
            "graph g() -> ()\na: float32[3] = const [1]",
            "line 2: the type wants 3 elements, the list has 1",
        ),
        ("graph g() -> ()\na: int8[1] = const [300]", "line 2: an element is no int8"),
        ("graph g() -> ()\na: int8[1] = const [1.5]", "line 2: an element is no int8"),
        ("graph g() -> ()\na: uint64[1] = const [-1]", "line 2: an element is no uint64"),
        (
            "graph g() -> ()\na: float99[1] = const [1]",
            "line 2: a constant cannot be of type float99",
        ),
        ("graph g() -> ()\na: float32[1] = const random(x)", "line 2: wanted a number, found 'x'"),
        (
            "graph g() -> ()\na: float32[1] = const random(1, 2)",
            "random data is written 'random(seed)'",
        ),
        (
            "graph g() -> ()\na: float32[1] = const random(1, 2, 1)",
            "random data cannot lie between 2 and 1",
        ),
        ("graph g() -> ()\na: uint8[99] = const random(1, -5, 1)", "line 2: "),
        ("graph g() -> ()\na: int8[99999999999] = const random(1)", "passes the limit"),
        ("graph g() -> ()\nrange x [0, 1]", "line 2: wanted a line 'calibration' before this one"),
    ],
)  # fmt: skip
def test_a_wrong_text_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        from_text(text)
    assert message in caught.value.message
    assert caught.value.code == "M001"


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_models_read_back(path: Path) -> None:
    graph = import_onnx(path).graph
    text = to_text(graph)
    again = from_text(text)
    assert to_text(again) == text
    assert same(dataclasses.replace(again, constants=graph.constants), graph)
    verify(again)


# Any graph that the types allow, sense or nonsense: the text is about form.
names = st.one_of(
    st.sampled_from(
        [
            "x", "h.in", "x:0", "/a/b_output_0", "a::b", "graph", "const", "from", "inf", "nan",
            "ledger",
        ]
    ),
    st.text(min_size=1, max_size=6),
)  # fmt: skip
formats = st.one_of(
    st.sampled_from([INT8, FLOAT]),
    st.builds(Format.analog, st.sampled_from(["analog", "array-b"]), st.integers(1, 9)),
)
whole = st.integers(-(2**63), 2**63 - 1)
floats = st.one_of(st.floats(allow_nan=False), st.floats(width=32, allow_nan=False))
attributes: st.SearchStrategy[Attribute] = st.one_of(
    whole,
    floats,
    st.text(max_size=8),
    st.binary(max_size=20),
    st.lists(whole, max_size=3).map(tuple),
    st.lists(floats, max_size=3).map(tuple),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
)


@st.composite
def quants(draw: st.DrawFn) -> Quant:
    count = draw(st.integers(1, 8))
    scale = draw(st.lists(floats, min_size=count, max_size=count))
    zero = draw(st.lists(st.integers(-128, 127), min_size=count, max_size=count))
    axis = draw(st.none() | st.integers(0, 4))
    return Quant(draw(st.integers(1, 32)), draw(st.booleans()), tuple(scale), tuple(zero), axis)


sizes = st.none() | st.lists(st.none() | st.integers(0, 9), max_size=4).map(tuple)
dtypes = st.sampled_from(["float32", "int8", "uint8", "int32", "bool"])
kinds = st.one_of(
    st.builds(TensorType, dtypes, sizes, st.none() | quants()),
    st.builds(TensorType, st.just("sequence_type { elem_type: 1 }"), sizes),
)


@st.composite
def constants(draw: st.DrawFn) -> Array:
    dtype = np.dtype(
        draw(
            st.sampled_from(
                [
                    "bool", "int8", "uint8", "int64", "uint64", "float16", "float32", "float64",
                    "complex64",
                ]
            )
        )
    )  # fmt: skip
    shape = draw(st.sampled_from([(), (0,), (3,), (2, 2), (2, 2, 2)]))
    count = int(np.prod(shape)) * dtype.itemsize
    data = np.frombuffer(draw(st.binary(min_size=count, max_size=count)), np.uint8)
    if dtype.kind == "b":
        return (data % 2).astype(bool).reshape(shape)
    values = data.view(dtype).copy()
    values[np.isnan(values)] = 0  # of the many that are not a number the text knows one
    return values.reshape(shape)


few = st.integers(0, 9)
amounts = st.floats(allow_nan=False)
texts = st.text(max_size=5)
shapes = st.builds(ProductShape, few, few, few, few)
tilings = st.builds(
    DigitalTiling,
    shape=shapes,
    input_reads=amounts,
    **dict.fromkeys(
        ("row_lanes", "column_lanes", "position_lanes", "blocks", "rounds", "row_steps",
         "weight_bytes_read", "weight_bytes", "working_bytes"),
        few,
    ),
)  # fmt: skip
analog_mappings = st.builds(
    AnalogMapping,
    format=formats,
    shape=shapes,
    input_reads=amounts,
    unroll=st.builds(Unroll, few, few, few),
    resident=st.booleans(),
    **dict.fromkeys(
        ("array_rows", "array_columns", "row_tiles", "column_tiles", "array_steps",
         "reserved_columns"),
        few,
    ),
)  # fmt: skip
mappings = st.one_of(
    st.builds(HostMapping, engine=names),
    st.builds(
        DigitalMapping,
        engine=names,
        format=formats,
        tiling=st.none() | tilings,
        resident=st.booleans(),
    ),
    analog_mappings.filter(lambda mapping: mapping.engine),
)
alternatives = st.builds(
    Alternative,
    engine=names,
    mapping=texts,
    energy_pj=st.none() | amounts,
    latency_ns=st.none() | amounts,
    divergence=st.none() | amounts,
    reason=texts,
    energy_margin_pj=st.none() | st.builds(Estimate.exact, amounts),
    latency_margin_ns=st.none() | st.just(Estimate(-2.5, -3.0, 4.0)),
)
placements = st.builds(
    Placement,
    mapping=mappings,
    reason=texts,
    energy_pj=amounts,
    latency_ns=amounts,
    divergence=amounts,
    weight_home=texts,
    alternatives=st.lists(alternatives, max_size=2).map(tuple),
)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    made = draw(st.lists(names, unique=True, min_size=1, max_size=8))
    types = {name: draw(kinds) for name in made}
    data = {name: draw(constants()) for name in draw(st.lists(st.sampled_from(made), unique=True))}
    types |= {name: TensorType(item.dtype.name, item.shape) for name, item in data.items()}
    values = st.lists(st.sampled_from([*made, ""]), max_size=3).map(tuple)
    some_names = st.lists(names, max_size=2).map(tuple)
    nodes = draw(
        st.lists(
            st.builds(
                Node,
                names,
                names,
                values,
                values,
                st.dictionaries(names, attributes, max_size=3),
                st.none() | placements,
                some_names,
                st.sampled_from(["", "model.py:12", 'a "b"\n']),
            ),
            max_size=4,
            unique_by=lambda node: node.name,
        )
    )
    ends = st.lists(st.sampled_from(made), unique=True, max_size=2).map(tuple)
    inputs, outputs = draw(ends), draw(ends)
    shown = set(inputs) | {name for node in nodes for name in node.outputs}
    read = set(outputs) | {name for node in nodes for name in node.inputs}
    shown |= read & data.keys()
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    return Graph(
        draw(st.text(max_size=5)),
        inputs,
        outputs,
        tuple(nodes),
        {name: kind for name, kind in types.items() if name in shown},
        {name: item for name, item in data.items() if name in read},
        draw(st.dictionaries(names, st.integers(1, 30), max_size=2)),
        dict.fromkeys((*inputs, *outputs)[:2], 0),
        draw(st.dictionaries(names, st.sampled_from(["", "folded", "turned round"]), max_size=3)),
        draw(
            st.none()
            | st.builds(
                Calibration,
                st.dictionaries(names, st.tuples(numbers, numbers), max_size=2),
                st.dictionaries(names, st.dictionaries(formats, numbers, max_size=2), max_size=2),
                st.text(max_size=4),
                st.text(max_size=4),
            )
        ),
    )


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_every_graph_reads_back(graph: Graph) -> None:
    text = to_text(graph)
    assert all(line.isprintable() for line in text.splitlines())
    again = from_text(text)
    assert same(again, graph)
    assert to_text(again) == text


PLACED = """\
graph g(x: float32[1, 3]) -> (y)
w: float32[1, 3, 4] = const [0.5, -1, 2, 0.25, 1, 1, -0.5, 3, 1, 2, 3, 4]
v: float32[1, 4, 2] = const [1, 2, 3, 4, 5, 6, 7, 8]
h: float32[1, 4] = Product(x, w)
r: float32[1, 4] = Relu(h)
y: float32[1, 2] = Product(r, v)
"""


@pytest.mark.parametrize("chip", ["diana", "tile16", "princeton16", "diana_digital"])
def test_what_the_partition_decided_reads_back_whole(chip: str) -> None:
    """A reproducer of a placed graph reproduces: the mapping, the costs and the ways not taken."""
    target = load_target(chip)
    graph = from_text(PLACED)
    placed = run_passes(
        graph, [Calibrate(synthetic_inputs(graph, 4)), Partition(max_divergence=1.0)], target
    )
    again = from_text(to_text(placed))
    assert [node.placement for node in again] == [node.placement for node in placed]
    assert (again.partition, again.calibration) == (placed.partition, placed.calibration)
    assert same(again, placed)


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("Placement(mapping=HostMapping(engine=\"digital\"))",
         "'h' runs on 'host' as its own line says"),
        ("HostMapping(engine=\"host\")", "wanted the Placement of a node above"),
        ("Placement(mapping=Unknown())", "no record is called Unknown"),
        ("Placement(mapping=HostMapping())", "missing 1 required keyword-only argument: 'engine'"),
        ("Placement(mapping=HostMapping(engine=\"host\", format=format(\"x/0\")))",
         "wanted float, int8"),
    ],
)  # fmt: skip
def test_a_placement_that_is_none_is_refused(record: str, says: str) -> None:
    text = f"graph g(x: float32[1]) -> (h)\nh: float32[1] = Relu(x) @host\nplacement h {record}\n"
    with pytest.raises(ModelError, match=re.escape(says)):
        from_text(text)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='graph x:[](),=const "1.<>@?-\\\n', max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    with contextlib.suppress(ModelError):
        from_text("graph g(x: float32[1]) -> (y)\n" + text)


def same(one: Graph, other: Graph) -> bool:
    """Whether two graphs are equal to the last bit of their constants."""
    assert dataclasses.replace(one, constants={}) == dataclasses.replace(other, constants={})
    assert one.constants.keys() == other.constants.keys()
    for name, data in one.constants.items():
        assert data.dtype == other.constants[name].dtype
        assert data.shape == other.constants[name].shape
        assert data.tobytes() == other.constants[name].tobytes()
    return True
