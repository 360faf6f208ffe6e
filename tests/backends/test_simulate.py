from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info

import joulec
from backends.hybrid import lower
from backends.simulate import Simulator
from compiler.errors import PackageError, UsageError
from compiler.execute.interpreter import Interpreter
from compiler.ir.graph import Array, Attribute, Graph, Quant, TensorType
from compiler.plan.check import check_package
from compiler.plan.package import Package, host_model_name, seal
from compiler.storage.payload import Payload
from compiler.target.chip import Target, load_target
from tests.support.placed_graphs import INT7, INT8, INT8_SHIFTED, UINT8, Build, classifier

DIANA = load_target("diana")
QUICK = settings(max_examples=60, deadline=None, derandomize=True)
INPUTS = (INT8, INT8_SHIFTED, UINT8, INT7)


def package_of(graph: Graph, target: Target) -> Package:
    return lower(graph, target, model_name="test", model_sha256="0" * 64)


def samples_of(graph: Graph, count: int, seed: int = 1) -> dict[str, Array]:
    """Random samples [S, *shape] for every input."""
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name in graph.inputs:
        kind = graph.types[name]
        shape = (count, *kind.sizes)
        if kind.quant is not None:
            low, high = kind.quant.lowest, kind.quant.highest
            arrays[name] = random.integers(low, high + 1, shape).astype(kind.dtype)
        else:
            arrays[name] = (random.standard_normal(shape) * 2).astype(kind.dtype)
    return arrays


def assert_same(graph: Graph, target: Target = DIANA, count: int = 3) -> None:
    """Checks that the package gives the same bits as ONNX Runtime on the graph.

    For every value that steps exchange.
    """
    package = package_of(graph, target)
    check_package(package)
    samples = samples_of(graph, count)
    names = [b.name for b in package.plan.buffers if b.name in graph.types]
    stacked = {
        name: np.concatenate(list(data)) if name in graph.batch_axes else data
        for name, data in samples.items()
    }
    found = Simulator(package).run_values(stacked, names)
    reference = Interpreter(graph, outputs=names).run_all(samples)
    for name in names:
        np.testing.assert_array_equal(found[name], reference[name], err_msg=name)


@pytest.mark.parametrize("analog", [True, False])
def test_a_classifier_gives_the_bits_of_the_interpreter(analog: bool) -> None:
    assert_same(classifier(analog=analog))


def windows(draw: st.DrawFn, rank: int, sizes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """A kernel with strides, pads and dilations that fits the sizes."""
    kernel, pads_low, pads_high, strides, dilations = [], [], [], [], []
    for size in sizes[:rank]:
        kernel.append(draw(st.integers(1, 3)))
        dilations.append(draw(st.integers(1, 2)))
        span = dilations[-1] * (kernel[-1] - 1) + 1
        least = max(0, span - size)
        pads_low.append(draw(st.integers(0, 2)))
        pads_high.append(draw(st.integers(least, least + 2)))
        strides.append(draw(st.integers(1, 3)))
    return {
        "kernel": tuple(kernel),
        "strides": tuple(strides),
        "pads": (*pads_low, *pads_high),
        "dilations": tuple(dilations),
    }


@st.composite
def convolutions(draw: st.DrawFn, analog: bool) -> Graph:
    """Draws a convolution of one, two or three axes.

    Groups, depthwise, strides, pads, dilations, bounds and formats vary.
    """
    build = Build(draw(st.integers(0, 1 << 30)))
    rank = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels = groups * draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(2, 7)) for _ in range(rank))
    batch = draw(st.integers(1, 2))
    data = build.input((batch, channels, *sizes), draw(st.sampled_from(INPUTS)))
    columns = draw(st.integers(1, 4))
    attrs: dict[str, Attribute] = dict(windows(draw, rank, sizes))
    if draw(st.booleans()):
        attrs["minimum"] = draw(st.sampled_from([0.0, -0.5, -100.0]))
    if draw(st.booleans()):
        attrs["maximum"] = draw(st.sampled_from([6.0, 0.31, 100.0]))
    out = draw(st.sampled_from([*INPUTS, None]))
    dtype = "" if out else "float32"
    kernel = attrs.pop("kernel")
    assert isinstance(kernel, tuple)
    shape = tuple(int(size) for size in kernel)
    if analog:
        rows = channels // groups * prod(shape)
        array_rows = draw(st.sampled_from([1152, max(1, rows // 2), max(1, rows // 3), 5]))
        if draw(st.booleans()):
            attrs["input_bits_per_step"] = draw(st.integers(1, 8))
            attrs["unsigned_digits"] = draw(st.integers(0, 3))
        build.analog(
            data, columns, shape, groups, out, draw(st.integers(1, 3)), array_rows,
            draw(st.sampled_from([512, 3])), draw(st.booleans()), dtype=dtype, attrs=attrs,
        )  # fmt: skip
    else:
        build.product(
            data, columns, shape, groups, out, bias=draw(st.booleans()), dtype=dtype,
            per_column=draw(st.booleans()), attrs=attrs,
        )  # fmt: skip
    return build.graph()


@QUICK
@given(convolutions(analog=False))
def test_integer_convolutions(graph: Graph) -> None:
    assert_same(graph)


@QUICK
@given(convolutions(analog=True))
def test_analog_convolutions(graph: Graph) -> None:
    assert_same(graph)


@pytest.mark.parametrize("analog", [False, True])
@pytest.mark.parametrize("shape", [(1, 40), (3, 40), (1, 5, 40), (2, 3, 4, 40)])
@pytest.mark.parametrize("out", [INT8_SHIFTED, UINT8, None])
def test_dense_products(shape: tuple[int, ...], out: Quant | None, analog: bool) -> None:
    build = Build(3)
    data = build.input(shape, INT7)
    dtype = "" if out else "float32"
    if analog:
        build.analog(data, 9, out=out, digits=3, array_rows=16, array_columns=16, dtype=dtype)
    else:
        build.product(data, 9, out=out, dtype=dtype)
    assert_same(build.graph())


def test_a_product_beyond_float32_is_exact() -> None:
    build = Build(5)
    build.product(build.input((1, 5000), INT8), 4, out=Quant(8, True, (50.0,), (0,)))
    assert_same(build.graph())


@st.composite
def pools(draw: st.DrawFn) -> Graph:
    build = Build(draw(st.integers(0, 99)))
    rank = draw(st.integers(1, 3))
    sizes = tuple(draw(st.integers(3, 9)) for _ in range(rank))
    quant = draw(st.sampled_from([INT8, INT8_SHIFTED, UINT8]))
    data = build.input((draw(st.integers(1, 2)), 3, *sizes), quant)
    kernel = tuple(draw(st.integers(1, 3)) for _ in sizes)
    strides = tuple(draw(st.integers(1, 3)) for _ in sizes)
    pads = tuple(draw(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    if draw(st.booleans()):
        build.add(
            "MaxPool", [data], "digital", quant, kernel_shape=kernel, strides=strides, pads=pads
        )
    else:
        build.add(
            "IntegerAveragePool", [data], "digital", draw(st.sampled_from(INPUTS)), kernel=kernel,
            strides=strides, pads=pads, count_include_pad=draw(st.integers(0, 1)),
        )  # fmt: skip
    return build.graph()


@QUICK
@given(pools())
def test_pools(graph: Graph) -> None:
    assert_same(graph)


def test_max_pool_with_dilation_and_ceiling() -> None:
    build = Build()
    data = build.input((1, 2, 9, 9), INT8)
    one = build.add(
        "MaxPool", [data], "digital", INT8, kernel_shape=(2, 2), dilations=(2, 3), strides=(2, 1)
    )
    build.add("MaxPool", [one], "digital", INT8, kernel_shape=(2, 3), strides=(3, 2), ceil_mode=1)
    assert_same(build.graph())


@pytest.mark.parametrize("out", INPUTS)
@pytest.mark.parametrize("op", ["IntegerAdd", "IntegerMul"])
@pytest.mark.parametrize("other", [(1, 4, 5, 5), (4, 1, 1), (5,), (1, 1, 1, 1), ()])
def test_elementwise(op: str, out: Quant, other: tuple[int, ...]) -> None:
    build = Build()
    data = build.input((1, 4, 5, 5), INT8_SHIFTED)
    second = build.input(other, INT7)
    both = build.add(op, [data, second], "digital", out, minimum=-1.0)
    fixed = np.asarray(np.random.default_rng(0).integers(-9, 9, other), np.int8)
    build.add(op, [build.constant(fixed, INT7), both], "digital", out)
    assert_same(build.graph())


def test_requantize_and_table() -> None:
    build = Build()
    data = build.input((2, 3), UINT8)
    narrow = build.add("Requantize", [data], "digital", INT7, maximum=3.0)
    wide = build.add("Requantize", [narrow], "digital", UINT8)
    table = np.random.default_rng(0).integers(-128, 128, 256).astype(np.int8)
    seen = build.add("IntegerTable", [wide, build.constant(table)], "digital", INT8)
    again = build.add("IntegerTable", [seen, build.constant(table)], "digital", INT8)
    build.add("IntegerAdd", [again, seen], "digital", INT8_SHIFTED)
    assert_same(build.graph())


Move = Callable[[Build, str], object]


def indices(build: Build, *values: int) -> str:
    return build.constant(np.array(values, np.int64))


MOVES: dict[str, Move] = {
    "transpose": lambda b, x: b.add("Transpose", [x], "digital", INT8, perm=(0, 2, 3, 1)),
    "transpose all": lambda b, x: b.add("Transpose", [x], "digital", INT8),
    "slice": lambda b, x: b.add(
        "Slice", [x, indices(b, 1, -1), indices(b, 99, -99), indices(b, 2, -1), indices(b, 2, -2)],
        "digital", INT8,
    ),
    "slice plain": lambda b, x: b.add(
        "Slice", [x, indices(b, 0, 1), indices(b, 1, -1)], "digital", INT8
    ),
    "concat": lambda b, x: b.add(
        "Concat", [x, b.constant(np.ones((1, 4, 6, 2), np.int8), INT8), x], "digital", INT8, axis=-1
    ),
    "pad": lambda b, x: b.add(
        "Pad", [x, indices(b, 0, 1, 2, 0, 0, 0, 1, 3), b.constant(np.array(-7, np.int8))],
        "digital", INT8,
    ),
    "pad axes": lambda b, x: b.add(
        "Pad", [x, indices(b, 1, 2), "", indices(b, -1)], "digital", INT8, mode="edge"
    ),
    "pad reflect": lambda b, x: b.add(
        "Pad", [x, indices(b, 0, 0, 2, 1, 0, 0, 1, 2)], "digital", INT8, mode="reflect"
    ),
    "pad away": lambda b, x: b.add(
        "Pad", [x, indices(b, 0, 0, -2, 1, 0, 0, 1, 2)], "digital", INT8
    ),
    "split": lambda b, x: b.add(
        "Split", [x, indices(b, 1, 3)], "digital", INT8, outputs=2, axis=1
    ),
    "depth to space": lambda b, x: b.add("DepthToSpace", [x], "digital", INT8, blocksize=2),
    "depth to space CRD": lambda b, x: b.add(
        "DepthToSpace", [x], "digital", INT8, blocksize=2, mode="CRD"
    ),
    "space to depth": lambda b, x: b.add("SpaceToDepth", [x], "digital", INT8, blocksize=2),
    "reshape": lambda b, x: b.add("Reshape", [x, indices(b, 0, -1)], "digital", INT8),
    "flatten": lambda b, x: b.add("Flatten", [x], "digital", INT8, axis=2),
    "unsqueeze": lambda b, x: b.add("Unsqueeze", [x, indices(b, 1)], "digital", INT8),
    "squeeze": lambda b, x: b.add("Squeeze", [x, indices(b, 0)], "digital", INT8),
    "identity": lambda b, x: b.add("Identity", [x], "digital", INT8),
    "host view": lambda b, x: b.add("Flatten", [x], "host", INT8),
    "not ours": lambda b, x: b.add("Tile", [x, indices(b, 1, 2, 1, 1)], "digital", INT8),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVES)
def test_movement(name: str) -> None:
    build = Build()
    data = build.input((1, 4, 6, 6), INT8)
    copied = build.add("Requantize", [data], "digital", INT8)
    MOVES[name](build, copied)
    assert_same(build.graph(*build.nodes[-1].outputs))


def test_a_computed_slice_is_left_to_onnx_runtime() -> None:
    build = Build()
    data = build.input((1, 4), INT8)
    start = build.input((1,), dtype="int64")
    end = build.constant(np.array([9], np.int64))
    build.add("Slice", [data, start, end], "host", INT8)
    build.types["v0"] = TensorType("int8", (None, 4), INT8)
    graph = build.graph()
    simulator = Simulator(package_of(graph, DIANA))
    x = np.arange(4, dtype=np.int8)[None]
    (found,) = simulator.run({"x0": x, "x1": np.zeros(1, np.int64)})
    np.testing.assert_array_equal(found, x)


def test_samples_are_stacked_on_the_batch_axis() -> None:
    graph = classifier()
    simulator = Simulator(package_of(graph, DIANA))
    x = samples_of(graph, 5)["x0"]
    (together,) = simulator.run({"x0": np.concatenate(list(x))})
    assert together.shape == (5, 10)
    for index in range(5):
        (alone,) = simulator.run({"x0": x[index]})
        assert alone.shape == (1, 10)
        np.testing.assert_array_equal(alone[0], together[index])


def test_the_result_does_not_depend_on_the_size_of_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = classifier()
    simulator = Simulator(package_of(graph, DIANA))
    x = {"x0": np.concatenate(list(samples_of(graph, 7)["x0"]))}
    (whole,) = simulator.run(x)
    monkeypatch.setattr("backends.simulate.CHUNK_BYTES", 200_000)
    assert simulator._chunk(7) in (2, 3)
    np.testing.assert_array_equal(simulator.run(x)[0], whole)


def test_noise_is_off_unless_seeded_and_then_repeatable() -> None:
    graph = classifier()
    package = package_of(graph, DIANA)
    x = {"x0": np.concatenate(list(samples_of(graph, 4)["x0"]))}
    (quiet,) = Simulator(package).run(x)
    (noisy,) = Simulator(package, noise_seed=7).run(x)
    (again,) = Simulator(package, noise_seed=7).run(x)
    (other,) = Simulator(package, noise_seed=8).run(x)
    assert not np.array_equal(quiet, noisy)
    assert not np.array_equal(noisy, other)
    np.testing.assert_array_equal(noisy, again)
    fewer = {"x0": x["x0"][:2]}
    np.testing.assert_array_equal(Simulator(package, noise_seed=7).run(fewer)[0], noisy[:2])


def test_samples_whose_sizes_the_model_declares_falsely_are_told() -> None:
    """What a value decides differs between samples, whatever the model says."""
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> g (int64[2] shape) => (float[2, 3] y) '
        "{ y = ConstantOfShape(shape) }"
    )
    made = joulec.compile(model, "tile16")
    with pytest.raises(UsageError) as caught:
        joulec.run(made, {"shape": np.array([[2, 3], [4, 1]])})
    assert caught.value.code == "U005"
    assert "'y' is [4, 1] for one of these samples, and the model declares [2, 3]" in (
        caught.value.message
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "input 'x0' is missing; it is float32[1, 3, 8, 8]"),
        ({"x": np.zeros((1, 3, 8, 8), np.float32)}, "there is no input 'x'; the model has x0"),
        (
            {"x0": np.zeros((1, 3, 8, 9), np.float32)},
            "float32[1, 3, 8, 9], wanted is float32[1, 3, 8, 8]",
        ),
        ({"x0": np.zeros((0, 3, 8, 8), np.float32)}, "or N samples of that stacked on axis 0"),
        (
            {"x0": np.zeros((1, 3, 8, 8), np.complex64)},
            "input 'x0' is complex64, wanted is float32",
        ),
        ({"x0": np.zeros((1, 3, 8, 8), np.int64)}, "input 'x0' is int64, wanted is float32"),
        ({"x0": "text"}, "input 'x0' is "),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_refused(inputs: dict[str, object], words: str) -> None:
    simulator = Simulator(package_of(classifier(), DIANA))
    with pytest.raises(UsageError) as caught:
        simulator.run(inputs)
    assert caught.value.code == "U005"
    assert words in caught.value.line()


def test_wider_floats_and_small_integers_are_taken() -> None:
    simulator = Simulator(package_of(classifier(), DIANA))
    x = np.random.default_rng(0).integers(0, 4, (2, 3, 8, 8))
    (one,) = simulator.run({"x0": x.astype(np.float64)})
    (other,) = simulator.run({"x0": x.astype(np.uint8)})
    np.testing.assert_array_equal(one, other)


def with_payload(package: Package, model: bytes) -> Package:
    """The package with another model in its first host step, under fresh hashes."""
    first = package.plan.steps[0]
    name = host_model_name(Payload.of(model))
    step = first.model_copy(update={"payload": name})
    plan = package.plan.model_copy(update={"steps": (step, *package.plan.steps[1:])})
    payloads = {key: data for key, data in package.payloads.items() if key != first.payload}
    return seal(plan, {**payloads, name: Payload.of(model)})


def test_a_host_model_that_reads_other_files_is_refused() -> None:
    package = package_of(classifier(), DIANA)
    model = onnx.ModelProto.FromString(package.payload(package.plan.steps[0].payload).tobytes())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    strange = with_payload(package, model.SerializeToString())
    check_package(strange)
    with pytest.raises(PackageError, match="refers to data in other files"):
        Simulator(strange)


@pytest.mark.parametrize("model", [b"junk", b"", onnx.ModelProto().SerializeToString()])
def test_a_host_model_that_is_none_is_refused(model: bytes) -> None:
    with pytest.raises(PackageError) as caught:
        Simulator(with_payload(package_of(classifier(), DIANA), model))
    assert "\n" not in caught.value.line()


@pytest.mark.parametrize(
    ("index", "update"),
    [
        (1, {"op": "Magic"}),
        (1, {"attributes": {"kernel": (9, 9, 9)}}),
        (1, {"attributes": {"kernel": "text"}}),
        (3, {"attributes": {}}),
        (5, {"attributes": {"kernel": (2, 2)}}),
        (4, {"inputs": ("v1",)}),
    ],
)
def test_a_step_that_makes_no_sense_is_a_damaged_package(
    index: int, update: dict[str, object]
) -> None:
    package = package_of(classifier(), DIANA)
    steps = list(package.plan.steps)
    steps[index] = steps[index].model_copy(update=update)
    plan = package.plan.model_copy(update={"steps": tuple(steps)})
    with pytest.raises(PackageError) as caught:
        Simulator(Package(plan, package.payloads)).run({"x0": np.zeros((1, 3, 8, 8), np.float32)})
    assert caught.value.exit_status == 3
    assert "\n" not in caught.value.line()


def test_products_run_on_one_thread_and_the_setting_is_given_back() -> None:
    before = threadpool_info()
    graph = classifier()
    Simulator(package_of(graph, DIANA)).run({"x0": samples_of(graph, 1)["x0"][0]})
    assert threadpool_info() == before
