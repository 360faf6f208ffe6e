"""Pruning: groups of channels, the cost of removal, a sound smaller graph, accuracy regained.

The refit regains the accuracy.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from compiler.errors import UsageError
from compiler.execute.export_onnx import export_onnx
from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Array, Graph
from compiler.ir.ops import macs, product_shape
from compiler.ir.text import from_text
from compiler.ir.verify import verify
from compiler.target.chip import load_target
from passes.calibration.inputs import CalibrationInputs, load_inputs, synthetic_inputs
from passes.prune import Prune
from passes.pruning.channels import channel_structure
from passes.pruning.granularity import aligned_widths, prune_granularity
from passes.pruning.saliency import SecondOrder, spaces_of

DIANA, TILE16 = load_target("diana"), load_target("tile16")
MODELS = Path(__file__).parents[2] / "models"

MLP = """\
graph mlp(x: float32[1, 12] batch 0) -> (y batch 0)
w1: float32[24, 12] = const random(1, -1.0, 1.0)
b1: float32[24] = const random(2, -0.5, 0.5)
w2: float32[24, 24] = const random(3, -1.0, 1.0)
b2: float32[24] = const random(4, -0.5, 0.5)
w3: float32[24, 5] = const random(5, -1.0, 1.0)
h: float32[1, 24] = Gemm(x, w1, b1) transB=1
a: float32[1, 24] = Relu(h)
m: float32[1, 24] = MatMul(a, w2)
s: float32[1, 24] = Add(m, b2)
t: float32[1, 24] = Relu(s)
y: float32[1, 5] = MatMul(t, w3)
"""

# A residual block, a depthwise convolution, a convolution without bias and a flattening that
# spreads each channel over 16 rows.
CONVOLUTIONS = """\
graph net(x: float32[1, 3, 8, 8] batch 0) -> (y batch 0)
w1: float32[16, 3, 3, 3] = const random(1, -0.4, 0.4)
b1: float32[16] = const random(2, -0.2, 0.2)
w2: float32[16, 16, 3, 3] = const random(3, -0.2, 0.2)
b2: float32[16] = const random(4, -0.2, 0.2)
wd: float32[16, 1, 3, 3] = const random(5, -0.4, 0.4)
w4: float32[24, 16, 1, 1] = const random(6, -0.4, 0.4)
shape: int64[2] = const [1, 384]
w5: float32[6, 384] = const random(7, -0.1, 0.1)
b5: float32[6] = const random(8, -0.1, 0.1)
c1: float32[1, 16, 8, 8] = Conv(x, w1, b1) pads=[1, 1, 1, 1]
r1: float32[1, 16, 8, 8] = Relu(c1)
c2: float32[1, 16, 8, 8] = Conv(r1, w2, b2) pads=[1, 1, 1, 1]
sum: float32[1, 16, 8, 8] = Add(r1, c2)
c3: float32[1, 16, 8, 8] = Conv(sum, wd) group=16 pads=[1, 1, 1, 1]
r3: float32[1, 16, 8, 8] = Relu(c3)
c4: float32[1, 24, 8, 8] = Conv(r3, w4)
r4: float32[1, 24, 8, 8] = Relu(c4)
p: float32[1, 24, 4, 4] = MaxPool(r4) kernel_shape=[2, 2] strides=[2, 2]
f: float32[1, 384] = Reshape(p, shape)
y: float32[1, 6] = Gemm(f, w5, b5) transB=1
"""


def samples(graph: Graph, count: int, seed: int = 0) -> CalibrationInputs:
    return synthetic_inputs(graph, count, seed)


def run(graph: Graph, inputs: CalibrationInputs) -> npt.NDArray[np.float64]:
    outputs = Interpreter(graph).run_all(inputs.arrays)
    return np.asarray(outputs[graph.outputs[0]].astype(np.float64))


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {name: kind.sizes for name, kind in graph.types.items()}


def matrices(graph: Graph) -> list[tuple[int, int]]:
    """Rows and columns (of all groups) of each product."""
    found = (product_shape(node, graph) for node in graph)
    return [(shape.rows, shape.columns * shape.groups) for shape in found if shape is not None]


def saved_share(before: Graph, after: Graph) -> float:
    """The share of the multiply-accumulates that pruning removed."""
    was, now = (sum(macs(node, graph) for node in graph) for graph in (before, after))
    return 1 - now / was


def output_error(before: Graph, after: Graph) -> float:
    """On samples that no pruning has seen, relative to the power of the output."""
    fresh = samples(before, 100, seed=99)
    wanted = run(before, fresh)
    lost = ((run(after, fresh) - wanted) ** 2).sum()
    return float(lost / ((wanted - wanted.mean(0)) ** 2).sum())


def test_what_hangs_together() -> None:
    graph = from_text(CONVOLUTIONS)
    spaces = spaces_of(channel_structure(graph))
    widths = [(space.width, space.rows_per_channel) for space in spaces]
    assert widths == [(16, 9), (24, 16)], "the addition makes one space of three layers"


def test_the_smaller_graph_is_whole() -> None:
    graph = from_text(CONVOLUTIONS)
    after = Prune(0.7, samples(graph, 48), group=8)(graph, DIANA)
    verify(after)
    export_onnx(after)
    small = shapes(after)
    k, m = small["w1"][0], small["w4"][0]
    assert k < 16
    assert m < 24
    expected = {
        "w1": (k, 3, 3, 3), "b1": (k,), "w2": (k, k, 3, 3), "b2": (k,), "wd": (k, 1, 3, 3),
        "w4": (m, k, 1, 1), "w5": (6, 16 * m), "b5": (6,), "shape": (2,),
        "x": (1, 3, 8, 8), "sum": (1, k, 8, 8), "p": (1, m, 4, 4), "f": (1, 16 * m), "y": (1, 6),
    }  # fmt: skip
    assert {name: small[name] for name in expected} == expected
    assert after.constants["shape"].tolist() == [1, 16 * m]
    assert after.producer["c3"].integer("group", 1) == k
    assert [node.name for node in after] == [node.name for node in graph]
    assert saved_share(graph, after) >= 0.7
    assert matrices(after)[1] == (9 * k, k)
    assert run(after, samples(graph, 2)).shape == (2, 1, 6)


def test_the_old_graph_is_untouched_and_a_run_repeats() -> None:
    graph = from_text(CONVOLUTIONS)
    constants = {name: data.copy() for name, data in graph.constants.items()}
    prune = Prune(0.3, samples(graph, 24))
    one, two = prune(graph, DIANA), prune(graph, DIANA)
    for name, data in constants.items():
        np.testing.assert_array_equal(graph.constants[name], data)
    assert one.nodes == two.nodes
    assert one.types == two.types
    for name in one.constants:
        assert one.constants[name].tobytes() == two.constants[name].tobytes(), name


@pytest.mark.parametrize("text", [MLP, CONVOLUTIONS])
def test_the_refit_wins_back_what_pruning_loses(text: str) -> None:
    graph = from_text(text)
    prune = Prune(0.35, samples(graph, 200))
    whole, bare = prune(graph, DIANA), replace(prune, refit=False)(graph, DIANA)
    assert shapes(whole).items() >= shapes(bare).items()
    assert output_error(graph, whole) < 0.7 * output_error(graph, bare)


def test_magnitude_stands_beside_and_is_worse() -> None:
    graph = from_text(MLP)
    by_size = Prune(0.35, samples(graph, 200), method="magnitude")
    by_error = Prune(0.35, samples(graph, 200))
    assert output_error(graph, by_error(graph, DIANA)) < output_error(graph, by_size(graph, DIANA))


def test_channels_of_zeros_go_first_and_change_nothing() -> None:
    graph = from_text(CONVOLUTIONS)
    constants: dict[str, Array] = dict(graph.constants)
    for name in ("w1", "b1", "w2", "b2"):
        data = constants[name].copy()
        data[[3, 7, 8, 11]] = 0
        constants[name] = data
    graph = replace(graph, constants=constants)
    after = Prune(0.2, samples(graph, 32), group=4)(graph, DIANA)
    assert shapes(after)["w1"][0] == 12
    fresh = samples(graph, 20, seed=5)
    np.testing.assert_allclose(run(after, fresh), run(graph, fresh), rtol=1e-4, atol=1e-5)


def test_a_layer_without_bias_gets_one_and_a_matmul_uses_the_add_after_it() -> None:
    graph = from_text(CONVOLUTIONS)
    after = Prune(0.4, samples(graph, 48))(graph, DIANA)
    assert len(after.producer["c4"].inputs) == 3
    mlp = from_text(MLP)
    after = Prune(0.4, samples(mlp, 48))(mlp, DIANA)
    assert len(after.constants["b2"]) == shapes(after)["s"][1] < 24
    assert len(after.producer["y"].inputs) == 2


def test_nothing_asked_or_nothing_to_prune_gives_the_same_graph() -> None:
    graph = from_text(MLP)
    assert Prune()(graph, DIANA) is graph
    single = from_text(
        "graph one(x: float32[1, 4]) -> (y)\nw: float32[4, 3] = const random(1, -1.0, 1.0)\n"
        "y: float32[1, 3] = MatMul(x, w)\n"
    )
    assert Prune(0.5, samples(single, 8))(single, DIANA) is single
    mixed = from_text(
        "graph mixed(x: float32[1, 4]) -> (y)\nw: float32[4, 6] = const random(1, -1.0, 1.0)\n"
        "v: float32[6, 3] = const random(1, -1.0, 1.0)\naxes: int64[1] = const [1]\n"
        "h: float32[1, 6] = MatMul(x, w)\nc: float32[1, 6] = CumSum(h, axes)\n"
        "y: float32[1, 3] = MatMul(c, v)\n"
    )
    assert Prune(0.5, samples(mixed, 8))(mixed, DIANA) is mixed, "CumSum mixes the channels"


def test_channels_side_by_side_keep_their_places() -> None:
    graph = from_text("""\
graph two(x: float32[1, 2, 6, 6] batch 0) -> (y batch 0)
wa: float32[8, 2, 3, 3] = const random(1, -0.5, 0.5)
wb: float32[6, 2, 3, 3] = const random(2, -0.5, 0.5)
scale: float32[1, 16, 1, 1] = const random(4, 0.5, 1.5)
wc: float32[3, 16, 1, 1] = const random(3, -0.5, 0.5)
a: float32[1, 8, 4, 4] = Conv(x, wa)
xc: float32[1, 2, 4, 4] = MaxPool(x) kernel_shape=[3, 3]
b: float32[1, 6, 4, 4] = Conv(x, wb)
c: float32[1, 16, 4, 4] = Concat(a, xc, b) axis=1
d: float32[1, 16, 4, 4] = Mul(c, scale)
e: float32[1, 16, 4, 4] = Relu(d)
y: float32[1, 3, 4, 4] = Conv(e, wc)
""")
    after = Prune(0.4, samples(graph, 40))(graph, DIANA)
    verify(after)
    small = shapes(after)
    width = small["wa"][0] + 2 + small["wb"][0]
    assert width < 16
    assert small["wc"] == (3, width, 1, 1)
    assert small["scale"] == (1, width, 1, 1)
    assert output_error(graph, after) < 0.5


def test_integers_keep_their_scales_where_the_new_weights_fit_them() -> None:
    graph = from_text("""\
graph ints(x: int8:8[1, 8]{scale=0.02, zero=-3} batch 0) -> (y batch 0)
w1: int8:8[1, 8, 16]{scale=0.01, zero=0} = const random(1, -120, 120)
b1: int32[16] = const random(2, -500, 500)
w2: int8:8[1, 16, 4]{scale=[0.01, 0.02, 0.015, 0.01], zero=[0, 0, 0, 0], axis=2} \
= const random(3, -120, 120)
b2: int32[4] = const random(4, -500, 500)
h: int8:8[1, 16]{scale=0.05, zero=-128} = Product(x, w1, b1) minimum=0.0
y: int8:8[1, 4]{scale=0.1, zero=4} = Product(h, w2, b2)
""")
    prune = Prune(0.25, samples(graph, 200))
    after = prune(graph, DIANA)
    verify(after)
    assert shapes(after)["w1"] == (1, 8, 12)
    old, new = graph.types["w2"].quant, after.types["w2"].quant
    assert old is not None
    assert new is not None
    reached = np.abs(after.constants["w2"].astype(int)).max(axis=(0, 1))
    for was, now, reach in zip(old.scale, new.scale, reached.tolist(), strict=True):
        assert now == was or (now > was and reach == 127), "wider only as far as it must be"
    assert after.constants["w2"].dtype == np.int8
    bare = replace(prune, refit=False)(graph, DIANA)
    assert output_error(graph, after) < output_error(graph, bare)


def test_idle_channels_are_free_and_the_rest_is_not() -> None:
    """Ten of 24 channels never speak: they go without a trace, and no layer collapses for it."""
    graph = from_text(CONVOLUTIONS)
    constants: dict[str, Array] = dict(graph.constants)
    constants["w4"] = constants["w4"].copy()
    constants["w4"][:10] = 0
    graph = replace(graph, constants=constants)
    free = Prune(0.05, samples(graph, 48))(graph, DIANA)
    assert shapes(free)["w4"][0] < 24
    assert output_error(graph, free) < 1e-6
    after = Prune(0.3, samples(graph, 48))(graph, DIANA)
    assert 7 <= shapes(after)["w4"][0] <= 14


def test_a_node_that_cannot_run_on_made_up_inputs_is_no_obstacle() -> None:
    graph = from_text("""\
graph lookup(x: float32[1, 8] batch 0, i: int64[1] batch 0) -> (y batch 0, z)
table: float32[2, 3] = const random(1, -1.0, 1.0)
w1: float32[8, 16] = const random(2, -1.0, 1.0)
w2: float32[16, 4] = const random(3, -1.0, 1.0)
z: float32[1, 3] = Gather(table, i)
h: float32[1, 16] = MatMul(x, w1)
a: float32[1, 16] = Relu(h)
y: float32[1, 4] = MatMul(a, w2)
""")
    after = Prune(0.25)(graph, DIANA)
    verify(after)
    assert saved_share(graph, after) >= 0.25


def removal_error(
    weights: npt.NDArray[np.float64], moments: npt.NDArray[np.float64], rows: list[int]
) -> float:
    """Finds the least tr((W - V) H (W - V)^T) over all V whose `rows` are zero: the reference.

    By solving for V.
    """
    left = [row for row in range(len(moments)) if row not in rows]
    root = np.linalg.cholesky(moments).T
    fitted, *_ = np.linalg.lstsq(root[:, left], root @ weights.T, rcond=None)
    return float(((root @ weights.T - root[:, left] @ fitted) ** 2).sum())


def test_the_cost_of_a_group_is_what_least_squares_loses() -> None:
    random = np.random.default_rng(0)
    data = random.standard_normal((9, 40)) + random.standard_normal((1, 40))
    weights = random.standard_normal((4, 9))
    moments = data @ data.T + 0.1 * np.eye(9)
    sweep = SecondOrder(weights, moments)
    groups = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    costs = sweep.costs(groups)
    for cost, group in zip(costs, groups.tolist(), strict=True):
        assert cost == pytest.approx(removal_error(weights, moments, group))
    sweep.remove(groups[1])
    assert not sweep.weights[:, 3:6].any()
    both = costs[1] + sweep.costs(groups[:1])[0]
    assert both == pytest.approx(removal_error(weights, moments, [0, 1, 2, 3, 4, 5]))


def test_granularity_is_told_with_its_reason() -> None:
    wide = prune_granularity(20, 1, TILE16)
    assert (wide.channels, wide.frees_tiles) == (16, True)
    assert wide.reason == (
        "20 columns take 2 arrays of 16x16, and only whole arrays of 16 columns are freed"
    )
    assert prune_granularity(16, 9, TILE16).channels == 2
    assert not prune_granularity(64, 9, DIANA).frees_tiles
    assert aligned_widths(20, 1, TILE16) == (16,)
    assert aligned_widths(64, 1, TILE16) == (48, 32, 16)
    assert aligned_widths(16, 4, TILE16) == (12, 8, 4)
    assert aligned_widths(64, 9, DIANA) == ()


def test_dim20_comes_to_whole_tiles() -> None:
    graph = import_onnx(MODELS / "dim20.onnx").graph
    inputs = load_inputs(MODELS / "dim20_calibration.npz", graph)
    after = Prune(0.25, inputs)(graph, TILE16)
    assert matrices(after) == [(64, 16), (16, 16), (16, 16), (16, 10)]
    test = load_inputs(MODELS / "dim20_test.npz", graph)
    with np.load(MODELS / "dim20_test.npz") as archive:
        labels = archive["y"]
    answers = run(after, test).reshape(len(labels), -1).argmax(axis=1)
    assert (answers == labels).mean() > 0.975, "measured: 98.6 % before and after"


@pytest.mark.slow
def test_a_depthwise_network_keeps_its_answers(models_folder: Path) -> None:
    graph = import_onnx(models_folder / "mlperf-tiny" / "kws_float.onnx").graph
    with np.load(models_folder / "data" / "kws_kws01_500.npz") as archive:
        features = (archive["x"].astype(np.float32) - 83) * np.float32(0.5847029089927673)
    pictures = features.transpose(0, 3, 1, 2)[:, None]
    inputs = CalibrationInputs({"input": pictures[300:428]})
    after = Prune(0.25, inputs)(graph, DIANA)
    verify(after)
    assert 0.25 <= saved_share(graph, after) < 0.27
    test = CalibrationInputs({"input": pictures[:100]})
    agree = run(after, test).argmax(-1) == run(graph, test).argmax(-1)
    assert agree.mean() > 0.9


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_a_share_that_cannot_be(share: float) -> None:
    with pytest.raises(UsageError, match="cannot be pruned"):
        Prune(share)
