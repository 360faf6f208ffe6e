"""Every formula of the cost model with pencil and paper, on one small layer each; then what must
hold of all of them.

tile16 runs at 100 MHz (10 ns a cycle) with 2 mW of static power; its one memory takes 1.112 pJ and
10/16 ns a byte. What a byte of its weight memory and a value on its vector unit take is the
library's (tests/target/test_components.py has the pencil for those).
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler.cost.memory import home_of, move, weight_home
from compiler.cost.node import (
    conversion_cost,
    requantize_cost,
    requantizing_engine,
    unmodelled,
    value_bytes,
)
from compiler.cost.step import NOTHING, PARTS, StepCost, with_static
from compiler.errors import CapacityError
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.formats import INT8, Format
from compiler.ir.graph import Calibration, Graph
from compiler.ir.mapping import ProductShape
from compiler.ir.ops import product_shape
from compiler.ir.text import from_text
from compiler.target.chip import Target, built_in, load_target
from compiler.units import Estimate
from passes.partitioning.assignment import Assignment
from passes.partitioning.candidates import build_problem
from passes.partitioning.solve import solve
from tests.support.chips import only_digital
from tests.support.mappings import cost_on, load_on

TILE16, DIANA = load_target("tile16"), load_target("diana")
DIGITAL = only_digital(TILE16)
assert DIGITAL.array is not None
assert DIGITAL.array.weight_read_pj_per_byte is not None
assert DIGITAL.vector is not None
WEIGHT_PJ = DIGITAL.array.weight_read_pj_per_byte.value
VECTOR_PJ = DIGITAL.vector.operation_pj.value

DENSE = """\
graph g(x: float32[1, 20]) -> (y)
w: float32[1, 20, 20] = const random(1)
y: float32[1, 20] = Product(x, w)
"""
CONVOLUTION = """\
graph g(x: float32[1, 2, 6, 6]) -> (y)
w: float32[1, 18, 8] = const random(1)
y: float32[1, 8, 6, 6] = Product(x, w) kernel=[3, 3] pads=[1, 1, 1, 1]
"""


def cost(text: str, engine: str, target: Target = TILE16, **options: Any) -> StepCost:
    """The cost of the last node of a graph."""
    graph = from_text(text)
    return cost_on(graph.nodes[-1], graph, engine, target, **options)


def values(step: StepCost) -> dict[str, Any]:
    return {part: pytest.approx(estimate.value, rel=1e-12) for part, estimate in step.parts.items()}


def changed(target: Target, path: str, value: float) -> Target:
    """The chip with one number of its file set; one that was left out is put in."""
    table = target.chip.model_dump(by_alias=True)
    *keys, last = path.split(".")
    place = table
    for key in keys:
        place = place[key]
    place[last] = {**(place[last] or {"source": "a test"}), "value": value}
    return Target(type(target.chip).model_validate(table), "")


# -- the analog array: 20 x 20 weights on 16 x 16 cells


def test_analog_product() -> None:
    """20 rows driven for each of 2 column tiles; 20 columns converted for each of 2 row tiles;
    the input read twice.
    """
    found = cost(DENSE, "analog")
    assert values(found) == {
        "conversion": 40 * 0.256 + 40 * 0.55,
        "compute": 400 * 0.0026 + 40 * 0.02,
        "memory": (2 * 20 + 20) * 1.112,
        "static": 2 * 80,
    }
    assert found.latency_ns == 4 * 20  # four tiles take turns; the bytes take only 37.5 ns


def test_a_resident_analog_product_works_on_all_tiles_at_once() -> None:
    found = cost(DENSE, "analog", resident=True)
    # Now the bytes set the pace, as one step is 20 ns: (40 + 20) / 16 cycles of 10 ns, rounded up.
    assert found.latency_ns == 40
    assert found.parts["conversion"] == cost(DENSE, "analog").parts["conversion"]


def test_two_digits_take_two_columns_a_weight() -> None:
    """40 physical columns are three column tiles."""
    found = cost(DENSE, "analog", weight_slices=2)
    assert values(found) == {
        "conversion": 20 * 3 * 0.256 + 40 * 2 * 0.55,
        "compute": 20 * 40 * 0.0026 + 40 * 2 * 0.02,
        "memory": (3 * 20 + 20) * 1.112,
        "static": 2 * 6 * 20,
    }


def test_inputs_in_slices_drive_and_convert_once_for_each() -> None:
    """8-bit inputs, 3 bits a step: 3 steps, each with its own drives, cells and conversions."""
    found = cost(DENSE, "analog", changed(TILE16, "engines.analog.input_bits_per_step", 3))
    whole = cost(DENSE, "analog")
    for part in ("conversion", "compute"):
        assert found.parts[part].value == pytest.approx(3 * whole.parts[part].value, rel=1e-12)
    assert found.parts["memory"] == whole.parts["memory"]
    assert found.latency_ns == 3 * whole.latency_ns == 3 * 4 * 20


def test_loading_an_analog_array() -> None:
    """400 cells of 4 bits: 200 bytes read, 1600 bits written, 20 rows for each of 2 column
    tiles.
    """
    shape = ProductShape(1, 20, 20, 1)
    found = load_on(shape, "analog", "sram", TILE16)
    assert values(found) == {"weight_load": 200 * 1.112 + 1600 * 0.05, "static": 2 * 400}
    assert found.latency_ns == 40 * 10


# -- the digital array: 4 columns x 4 positions


def test_digital_dense_product() -> None:
    """Five blocks of 20 rows; each block reads the 20 inputs again; (20 + 20) / 4 cycles of
    port.
    """
    found = cost(DENSE, "digital")
    assert values(found) == {
        "compute": 400 * 0.25 + 400 * WEIGHT_PJ,
        "memory": (5 * 20 + 20) * 1.112,
        "static": 2 * 1100,
    }
    assert found.latency_ns == (5 * 20 + 10) * 10


def test_digital_convolution() -> None:
    """36 positions in lines of 6 are 12 blocks, 8 channels 2; each input is read for 3 kernel
    rows and 2 column blocks.
    """
    found = cost(CONVOLUTION, "digital")
    assert values(found) == {
        "compute": 18 * 8 * 36 * 0.25 + 12 * 18 * 8 * WEIGHT_PJ,
        "memory": (72 * 3 * 2 + 288) * 1.112,
        "static": 2 * 5220,
    }
    assert found.latency_ns == (24 * 18 + (72 + 288) / 4) * 10


def test_an_array_that_sums_rows_charges_its_steps() -> None:
    """20 rows on 8: three steps of two cycles for each of 5 blocks; the sums of 20 columns are
    accumulated in each step.
    """
    array = {
        "rows": {"value": 8, "source": "a test"},
        "cycles_per_step": {"value": 2, "source": "a test"},
        "accumulate_pj": {"value": 0.1, "source": "a test"},
    }
    found = cost(DENSE, "digital", with_array(array))
    assert found.parts["compute"].value == pytest.approx(
        400 * 0.25 + 400 * WEIGHT_PJ + 20 * 3 * 0.1, rel=1e-12
    )
    assert found.latency_ns == (5 * 3 * 2 + 40 / 4) * 10


def test_idle_lanes_take_what_the_chip_says_and_one_in_memory_reads_no_weight() -> None:
    """5 blocks x 3 steps of 8 x 4 x 4 lanes do 400 MACs; the sums of 20 columns are accumulated
    in each step.
    """
    array = {
        "rows": {"value": 8, "source": "a test"},
        "holds_weights": {"value": True, "source": "a test"},
        "idle_lane_pj": {"value": 0.05, "source": "a test"},
        "accumulate_pj": {"value": 0.1, "source": "a test"},
        "weight_read_pj_per_byte": None,
    }
    found = cost(DENSE, "digital", with_array(array))
    idle = 5 * 3 * 8 * 4 * 4 - 400
    assert found.parts["compute"].value == pytest.approx(
        400 * 0.25 + idle * 0.05 + 20 * 3 * 0.1, rel=1e-12
    )


def with_array(entries: dict[str, Any]) -> Target:
    """tile16 with other entries in its digital array."""
    table = TILE16.chip.model_dump(by_alias=True)
    table["engines"]["digital"]["array"].update(entries)
    return Target(type(TILE16.chip).model_validate(table), "")


def test_loading_the_digital_weight_memory() -> None:
    found = load_on(ProductShape(1, 20, 20, 1), "digital", "sram", TILE16)
    assert values(found) == {"weight_load": 400 * (1.112 + WEIGHT_PJ), "static": 2 * 1000}
    assert found.latency_ns == 400 / 4 * 10


def test_vector_unit() -> None:
    """Two tensors of 288 bytes in, one out, four a cycle."""
    found = cost(
        (
            "graph g(x: float32[1, 8, 6, 6], z: float32[1, 8, 6, 6]) -> (y)\n"
            "y: float32[1, 8, 6, 6] = Add(x, z)\n"
        ),
        "digital",
    )
    assert values(found) == {
        "compute": 288 * VECTOR_PJ,
        "memory": 3 * 288 * 1.112,
        "static": 2 * 720,
    }
    assert found.latency_ns == 288 / 4 * 10


def test_a_pool_looks_at_its_whole_window() -> None:
    pool = "y: float32[1, 1, 2, 2] = MaxPool(x) kernel_shape=[2, 2] strides=[2, 2]"
    found = cost(f"graph g(x: float32[1, 1, 4, 4]) -> (y)\n{pool}\n", "digital")
    assert found.parts["compute"].value == pytest.approx(4 * 4 * VECTOR_PJ)
    mean = "y: float32[1, 1, 1, 1] = GlobalAveragePool(x)"
    found = cost(f"graph g(x: float32[1, 1, 4, 4]) -> (y)\n{mean}\n", "digital")
    assert found.parts["compute"].value == pytest.approx(16 * VECTOR_PJ)


def test_moving_values_costs_only_memory() -> None:
    text = (
        "graph g(x: float32[2, 24], z: float32[2, 8]) -> (y)\n"
        "y: float32[2, 32] = Concat(x, z) axis=1\n"
    )
    found = cost(text, "digital")
    assert values(found) == {"memory": (64 + 64) * 1.112, "static": 2 * 40}
    assert found.latency_ns == 64 / 16 * 10


def test_a_view_costs_nothing() -> None:
    text = (
        "graph g(x: float32[2, 4]) -> (y)\ns: int64[1] = const [8]\ny: float32[8] = Reshape(x, s)\n"
    )
    assert cost(text, "digital") == cost(text, "host") == NOTHING


# -- the host: cycles of 20 pJ (8 to 45)


def test_host_product_of_two_activations() -> None:
    """16 MACs of 4 cycles and 4 elements of 4; floats of 4 bytes; the interval is that of cycles
    times that of a cycle.
    """
    found = cost(
        "graph g(x: float32[1, 4], z: float32[4, 4]) -> (y)\ny: float32[1, 4] = MatMul(x, z)\n",
        "host",
    )
    host = found.parts["host"]
    assert (host.value, host.low, host.high) == pytest.approx(
        (80 * 20, (16 * 1 + 4 * 2) * 8, (16 * 12 + 4 * 12) * 45)
    )
    assert found.parts["memory"].value == pytest.approx((16 + 64 + 16) * 1.112)
    assert found.latency_ns == 80 * 10


def test_host_functions_and_weights() -> None:
    softmax = "graph g(x: float32[1, 10]) -> (y)\ny: float32[1, 10] = Softmax(x)\n"
    assert cost(softmax, "host").parts["host"].value == pytest.approx((10 * 4 + 10 * 60) * 20)
    found = cost(DENSE, "host")
    assert found.parts["host"].value == pytest.approx((400 * 4 + 20 * 4) * 20)
    assert found.parts["memory"].value == pytest.approx((80 + 1600 + 80) * 1.112)


def test_changes_of_form() -> None:
    to_integers = conversion_cost(10, 40, False, TILE16)
    assert values(to_integers) == {"host": 10 * 4 * 20, "memory": 50 * 1.112, "static": 2 * 400}
    to_floats = conversion_cost(10, 40, True, TILE16)
    assert to_floats.energy_pj.value == pytest.approx(to_integers.energy_pj.value)
    assert requantizing_engine(TILE16) == "digital"
    rescaled = requantize_cost(20, "digital", TILE16)
    assert values(rescaled) == {"compute": 20 * VECTOR_PJ, "memory": 40 * 1.112, "static": 2 * 50}
    on_host = requantize_cost(20, "host", TILE16)
    assert on_host.parts["host"].value == pytest.approx(20 * 4 * 20)


# -- memories of diana: l1 256 KiB at 0.792, l2 512 KiB at 1.589, off chip at 64 pJ a byte


def test_a_value_lies_as_near_as_its_size_allows() -> None:
    sizes = {262144: "l1", 262145: "l2", 524288: "l2", 524289: "off_chip", 4294967296: "off_chip"}
    assert {size: home_of(size, DIANA) for size in sizes} == sizes
    with pytest.raises(CapacityError) as caught:
        home_of(4294967297, DIANA)
    assert caught.value.line() == (
        "error[C001]: a value of 4,294,967,297 bytes fits no memory of diana; "
        "its largest holds 4,294,967,296 bytes; "
        "take a chip with more memory, or a smaller input"
    )


def test_weights_lie_in_the_second_memory_while_they_fit() -> None:
    assert weight_home(0, 524288, DIANA) == "l2"
    assert weight_home(1, 524288, DIANA) == "off_chip"
    # The only one: whether it fits is the plan's business.
    assert weight_home(10**9, 10**9, TILE16) == "sram"


def test_a_move_pays_both_ends_and_waits_for_the_slower() -> None:
    found = move(100, "l1", 100, "off_chip", DIANA)
    assert found.parts["memory"].value == pytest.approx(100 * 0.792 + 100 * 64)
    assert found.latency_ns == pytest.approx((70 + 100 / 4) * 1000 / 260)  # 70 cycles of set-up


def test_a_node_pays_for_where_its_values_really_lie() -> None:
    near, far = (
        cost(DENSE, "digital", DIANA),
        cost(DENSE, "digital", DIANA, homes={"x": "off_chip"}),
    )
    # 20 columns on 16 are two blocks, so 20 bytes are read twice: brought into l1 once (read there,
    # written here) and read again here.
    assert far.parts["memory"].value - near.parts["memory"].value == pytest.approx(
        20 * (64 + 0.792)
    )
    assert far.parts["compute"] == near.parts["compute"]


def test_bytes_of_a_value() -> None:
    types = from_text(
        "graph g(a: float32[3], b: int8[3]{scale=1.0}, c: int64[3], d: float32[?], "
        "e: bool[3]) -> (a)\n"
    ).types
    beside_host = {name: value_bytes(kind, on_host=False) for name, kind in types.items()}
    on_host = {name: value_bytes(kind, on_host=True) for name, kind in types.items()}
    assert beside_host == {"a": 3, "b": 3, "c": 24, "d": 0, "e": 3}
    assert on_host == {"a": 12, "b": 3, "c": 24, "d": 0, "e": 3}


def test_what_is_not_modelled_is_said() -> None:
    free = from_text("graph g(x: float32[?]) -> (y)\ny: float32[?] = Relu(x)\n")
    assert unmodelled(free.nodes[0], free) == "the size of 'x' is not known before it runs"
    loop = "Loop<body = b (int64 i, bool g, s) => (h, t) { h = Identity(g) t = Exp(s) }>(n, , x)"
    model = (
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[2] x, int64 n) => (y) {{ y = {loop} }}'
    )
    whole = import_onnx(onnx.parser.parse_model(model)).graph
    assert unmodelled(whole.nodes[0], whole) == "how often Loop turns is not known before it runs"
    dense = from_text(DENSE)
    assert unmodelled(dense.nodes[0], dense) == ""


# -- steps


def test_steps_add_part_by_part() -> None:
    one = StepCost(Estimate.exact(3), {"compute": Estimate(1, 0, 2), "memory": Estimate.exact(5)})
    two = StepCost(Estimate(4, 3, 9), {"memory": Estimate.exact(7), "static": Estimate.exact(1)})
    found = one + two
    assert found.time_ns == Estimate(7, 6, 12)
    assert found.latency_ns == 7
    assert dict(found.parts) == {
        "compute": Estimate(1, 0, 2),
        "memory": Estimate.exact(12),
        "static": Estimate.exact(1),
    }
    assert found.energy_pj == Estimate(14, 13, 15)
    assert NOTHING + one == one
    assert with_static(one, Estimate.exact(2)).parts["static"] == Estimate.exact(6)
    assert with_static(two, Estimate(2, 1, 3)).parts["static"] == Estimate(9, 1 + 3, 1 + 27)


# -- what must hold of every layer

SHAPES = st.builds(
    lambda channels, columns, size, kernel, stride: convolution(
        channels, columns, size, kernel, stride
    ),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(3, 12),
    st.sampled_from([(1, 1), (3, 3), (3, 1), (1, 3)]),
    st.integers(1, 2),
)


def convolution(
    channels: int, columns: int, size: int, kernel: tuple[int, int], stride: int
) -> Graph:
    out = tuple((size - k) // stride + 1 for k in kernel)
    return from_text(f"""\
graph g(x: float32[1, {channels}, {size}, {size}]) -> (y)
w: float32[1, {channels * prod(kernel)}, {columns}] = const random(1)
y: float32[1, {columns}, {out[0]}, {out[1]}] = Product(x, w) kernel=[{kernel[0]}, {kernel[1]}] \
strides=[{stride}, {stride}]
""")


def every_cost(graph: Graph, target: Target) -> dict[str, StepCost]:
    """A product on every engine in every arrangement, with its weight loads."""
    shape = product_shape(graph.nodes[0], graph)
    assert shape is not None
    home = list(target.memories)[-1]
    found = {"host": cost_on(graph.nodes[0], graph, "host", target)}
    for name, engine in target.digital_engines.items():
        if engine.array is not None:
            found[name] = cost_on(graph.nodes[0], graph, name, target)
            found[f"{name} load"] = load_on(shape, name, home, target)
    for name, unit in target.analog_engines.items():
        for digits in range(1, unit.max_digits.value + 1):
            for resident in (False, True):
                found[f"{name} {digits} {resident}"] = cost_on(
                    graph.nodes[0], graph, name, target, weight_slices=digits, resident=resident
                )
            found[f"{name} {digits} load"] = load_on(
                shape, name, home, target, weight_slices=digits
            )
    return found


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(built_in()))
def test_parts_add_up_within_their_intervals(graph: Graph, name: str) -> None:
    for arrangement, step in every_cost(graph, load_target(name)).items():
        assert set(step.parts) <= set(PARTS)
        energy = step.energy_pj
        assert energy.value == pytest.approx(sum(part.value for part in step.parts.values()))
        assert energy.low <= energy.value <= energy.high
        if (name, arrangement) != ("diana_odimo", "digital load"):  # which that model leaves out
            assert energy.low > 0
            assert step.latency_ns > 0


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_fewer_digits_never_cost_more(graph: Graph) -> None:
    found = every_cost(graph, DIANA)
    for kind in ("False", "True", "load"):
        for fewer in (1, 2):
            less, more = found[f"analog {fewer} {kind}"], found[f"analog {fewer + 1} {kind}"]
            assert less.energy_pj.value <= more.energy_pj.value
            assert less.latency_ns <= more.latency_ns


@settings(max_examples=40, deadline=None)
@given(SHAPES)
def test_a_resident_layer_is_never_slower(graph: Graph) -> None:
    found = every_cost(graph, DIANA)
    for digits in (1, 2, 3):
        resident, reloaded = found[f"analog {digits} True"], found[f"analog {digits} False"]
        assert resident.latency_ns <= reloaded.latency_ns
        assert resident.energy_pj.value <= reloaded.energy_pj.value


def scaled(target: Target, path: str, factor: float) -> Target:
    """The chip with one number of its file scaled."""
    *keys, last = path.split(".")
    place = target.chip.model_dump(by_alias=True)
    for key in keys:
        place = place[key]
    number = place[last]["value"]
    return changed(target, path, type(number)(number * factor))


CALIBRATED = Calibration(
    {"x": (-1, 1), "y": (-1, 1)},
    {"y": {INT8: 0.0, **{Format.analog("analog", n): 0.0 for n in (1, 2, 3)}}},
    "KL",
    "",
)
CAPACITIES = [
    ("tile16", "engines.analog.rows"), ("tile16", "engines.analog.columns"),
    ("tile16", "engines.analog.arrays"), ("tile16", "engines.digital.array.columns"),
    ("tile16", "engines.digital.array.positions"),
    ("tile16", "engines.digital.array.weight_memory_bytes"),
    ("tile16", "memories.sram.capacity_bytes"), ("tile16", "memories.sram.bytes_per_cycle"),
    ("diana", "engines.analog.rows"), ("diana", "engines.analog.columns"),
    ("diana", "engines.analog.pixel_unroll.most"), ("diana", "memories.l1.capacity_bytes"),
    ("diana", "memories.l2.capacity_bytes"), ("diana", "engines.digital.array.weight_memory_bytes"),
    ("diana", "engines.digital.array.activation_bytes_per_cycle"),
    ("diana", "engines.digital.vector.elements_per_cycle"),
]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(SHAPES, st.sampled_from(CAPACITIES), st.sampled_from([2, 3, 7]))
def test_more_capacity_at_the_same_access_costs_never_costs_more(
    graph: Graph, what: tuple[str, str], factor: int
) -> None:
    small = load_target(what[0])
    found, larger = every_cost(graph, small), every_cost(graph, scaled(small, what[1], factor))
    for arrangement, step in larger.items():
        assert step.energy_pj.value <= found[arrangement].energy_pj.value * (1 + 1e-12), arrangement
        assert step.latency_ns <= found[arrangement].latency_ns * (1 + 1e-12), arrangement


@settings(max_examples=25, deadline=None)
@given(SHAPES, st.sampled_from(CAPACITIES), st.sampled_from([2, 7]))
def test_nor_does_the_partition(graph: Graph, what: tuple[str, str], factor: int) -> None:
    small = load_target(what[0])
    graph = replace(graph, calibration=CALIBRATED)
    found = [
        solve(build_problem(graph, target, "auto", float("inf")), "energy").energy_pj
        for target in (small, scaled(small, what[1], factor))
    ]
    assert found[1] <= found[0] * (1 + 1e-12)


@settings(max_examples=25, deadline=None)
@given(
    SHAPES,
    st.sampled_from(
        [
            "engines.analog.cell_storage_bits", "engines.analog.write_pj_per_bit",
            "engines.analog.converter_pj", "engines.digital.array.mac_pj",
            "memories.l1.read_pj_per_byte", "engines.host.cycle_pj",
        ]
    ),
)  # fmt: skip
def test_fewer_bits_and_cheaper_parts_never_cost_more(graph: Graph, path: str) -> None:
    table = DIANA.chip.model_dump(by_alias=True)
    place = table
    for key in path.split("."):
        place = place[key]
    place.update({"value": place["value"] / 2 if path[-1] != "s" else 1})
    if "low" in place:
        place["low"] = None if place["low"] is None else place["low"] / 2
    cheaper = Target(type(DIANA.chip).model_validate(table), "")
    found, less = every_cost(graph, DIANA), every_cost(graph, cheaper)
    for arrangement, step in less.items():
        assert step.energy_pj.value <= found[arrangement].energy_pj.value * (1 + 1e-12), arrangement


def test_costs_add_over_layers() -> None:
    """With nothing between them, the cost of two layers is that of one and the other."""
    graph = from_text("""\
graph g(x: int8[1, 20]{scale=1.0}) -> (y)
w: int8[1, 20, 20]{scale=1.0} = const random(1)
v: int8[1, 20, 10]{scale=1.0} = const random(2)
h: int8[1, 20]{scale=1.0} = Product(x, w)
y: int8[1, 10]{scale=1.0} = Product(h, v)
""")
    problem = build_problem(graph, TILE16, "reload", float("inf"))
    solution = solve(problem, "energy")
    picks = [o[c] for o, c in zip(problem.candidates, solution.chosen, strict=True)]
    together = picks[0].cost + picks[1].cost
    assert solution.energy_pj == pytest.approx(together.energy_pj.value)
    assert solution.latency_ns == pytest.approx(together.latency_ns)
    assert Assignment(problem, solution.chosen).totals()[0] == solution.energy_pj
