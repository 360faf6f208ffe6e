"""Every pass, on every model: numbers stay, a second run changes nothing, the old graph stays.

The reference for numbers is ONNX Runtime. A new pass is covered when the pipeline lists it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from compiler.execute.interpreter import Interpreter
from compiler.frontend.import_onnx import import_onnx
from compiler.ir.graph import Array, Graph
from compiler.ir.text import to_text
from compiler.target.chip import load_target
from passes.base import Pass, run_passes
from passes.calibration.inputs import CalibrationInputs, synthetic_inputs
from passes.pipeline import clean_passes, compile_passes
from tests.support.chips import ALWAYS, on_chips

OURS = Path(__file__).parents[2] / "models"
BINDS = {
    "ppocr_cls_mbv3_op11.onnx": {"x:2": 48, "x:3": 192},
    "silero_vad_16k_lstm_if_op15.onnx": {"sequence": 576},
}
SMALL = [
    "digits_resnet.onnx", "digits_dscnn.onnx", "dim20.onnx",
    "mlperf-tiny/kws_int8_qdq.onnx", "mlperf-tiny/sww_int8_qop.onnx",
    "diverse/mnist8_cntk_op8.onnx",
    "diverse/digits/digits_mlp_extdata/model.onnx",
    *(
        f"diverse/digits/digits_{n}.onnx"
        for n in ("mlp_op7", "cnn_bn_op9", "gru_op13", "bilstm_op14", "loop_op16")
    ),
]  # fmt: skip
LARGE = [
    *(
        f"mlperf-tiny/{n}_{k}.onnx"
        for n in ("ad", "vww")
        for k in ("float", "int8_qdq", "int8_qop")
    ),
    *(
        f"mlperf-tiny/{n}.onnx"
        for n in (
            "ic_float", "ic_int8_qdq", "ic_int8_qop", "kws_float", "kws_hybrid_float",
            "kws_int8_qop", "sww_int8_qdq",
        )
    ),
    "diverse/ad_gemm_bn_op11.onnx", "diverse/cifar_mbv2like_bn_clip_op11.onnx",
    "diverse/blazeface_front128_op12.onnx", "diverse/digits/digits_vit_op20.onnx",
    "diverse/ppocr_cls_mbv3_op11.onnx", "diverse/resnet8_fp16_op13.onnx",
    "diverse/resnet8_qdq_tf2onnx_op15.onnx",
    "diverse/silero_vad_16k_lstm_if_op15.onnx",
]  # fmt: skip
HUGE = ["diverse/basic_pitch_nmp_op15.onnx"]  # half a minute to calibrate

DIANA = load_target("diana")


def load(file: str, request: pytest.FixtureRequest) -> Graph:
    """One of our models, or one of the folder of real models (skipped where that is absent)."""
    if "/" not in file:
        return import_onnx(OURS / file).graph
    path: Path = request.getfixturevalue("models_folder") / file
    return import_onnx(path, BINDS.get(path.name)).graph


def samples_of(graph: Graph, count: int) -> CalibrationInputs:
    """Made-up inputs; silero's sample rate is one that it knows."""
    made = synthetic_inputs(graph, count)
    arrays = {
        name: np.full_like(data, 16000) if name == "sr" else data
        for name, data in made.arrays.items()
    }
    return CalibrationInputs(arrays, synthetic=True)


def passes_before_placing() -> tuple[Pass, ...]:
    """Those that need neither data nor a chip: what comes before `calibrate`."""
    names = [one.name for one in compile_passes(CalibrationInputs({}))]
    return (
        *clean_passes(),
        *compile_passes(CalibrationInputs({}))[: names.index("calibrate")],
    )


# -- what is compared


def check(current: Pass, graph: Graph, samples: Mapping[str, Array]) -> Graph:
    """Runs a pass and holds it to all that it promises."""
    text = to_text(graph)
    after = run_passes(graph, [current], DIANA)
    assert to_text(graph) == text, "the old graph was changed"
    assert current(after, DIANA) is after, "a second run finds something to do"
    if after is graph or current.numerics == "lossy":
        return after
    first = {name: np.asarray(data[0]) for name, data in samples.items()}
    if has_integers(after):
        compare_node_by_node(graph, after, first)
    else:
        compare_outputs(graph, after, first)
    return after


def has_integers(graph: Graph) -> bool:
    return any(kind.quant is not None for kind in graph.types.values())


def compare_outputs(before: Graph, after: Graph, feed: Mapping[str, Array]) -> None:
    """Floats within 1e-4 of the largest, anything else equal."""
    wanted, found = (Interpreter(graph).run(feed) for graph in (before, after))
    for name, values in wanted.items():
        assert error(values, found[name]) <= 1e-4, name


def compare_node_by_node(before: Graph, after: Graph, feed: Mapping[str, Array]) -> None:
    """Compares every node of the new graph, on the values the old one has.

    Floats within 1e-4 of the largest, integers within one step. (From end to end a step more in an
    early sum may be any difference in the scores.)
    """
    made = [name for node in before for name in node.outputs if name]
    values = dict(feed) | Interpreter(before, outputs=made).run(feed)
    given = {name: f"old {name}" for name in values if name not in after.constants}
    nodes = [replace(n, inputs=tuple(given.get(name, name) for name in n.inputs)) for n in after]
    types = {new: after.types[name] for name, new in given.items() if name in after.types}
    separated = replace(
        after, inputs=tuple(types), nodes=tuple(nodes), types={**after.types, **types}
    )
    found = Interpreter(separated, outputs=[name for n in after for name in n.outputs if name])
    results = found.run({new: values[name] for name, new in given.items()})
    for node in after:
        for name in filter(None, node.outputs):
            if name in values:
                assert error(values[name], results[name]) <= 1e-4, f"{node.op} {name}"


def same(wanted: Any, found: Any) -> bool:
    """Whether two values are bit for bit the same: arrays, or lists of them."""
    if isinstance(wanted, list):
        pairs = zip(wanted, found, strict=True)
        return len(wanted) == len(found) and all(same(one, other) for one, other in pairs)
    if wanted is None or found is None:
        return wanted is found
    one, other = np.asarray(wanted), np.asarray(found)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return one.tobytes() == other.tobytes() or np.array_equal(
        one, other, equal_nan=one.dtype.kind == "f"
    )


def error(wanted: Array, found: Array) -> float:
    """Finds the largest difference relative to the largest value.

    0 for integers that are within one step.
    """
    if isinstance(wanted, list) or np.asarray(wanted).dtype.kind not in "fiu":
        return 0.0 if same(wanted, found) else np.inf
    assert (wanted.dtype, wanted.shape) == (found.dtype, found.shape)
    if wanted.size == 0:
        return 0.0
    one, other = wanted.astype(np.float64), found.astype(np.float64)
    if not np.array_equal(np.isfinite(one), np.isfinite(other)):
        return np.inf
    finite = np.isfinite(one)
    difference = float(np.abs(one[finite] - other[finite]).max(initial=0.0))
    if wanted.dtype.kind in "iu":
        return 0.0 if difference <= (1 if wanted.dtype.itemsize == 1 else 0) else np.inf
    return difference / max(float(np.abs(one[finite]).max(initial=0.0)), 1e-6)


# -- the tests


@pytest.mark.parametrize("file", [*SMALL, *LARGE, *HUGE])
def test_passes_before_placing(file: str, request: pytest.FixtureRequest) -> None:
    graph = load(file, request)
    samples = samples_of(graph, 1).arrays
    for current in passes_before_placing():
        graph = check(current, graph, samples)


@pytest.mark.parametrize(("file", "target"), on_chips(SMALL[:3]))
def test_placing_passes_on_our_models(
    file: str, target: str, request: pytest.FixtureRequest
) -> None:
    placing(file, target, request)


@pytest.mark.parametrize("file", SMALL[3:])
def test_placing_passes(file: str, request: pytest.FixtureRequest) -> None:
    placing(file, "diana", request)


@pytest.mark.slow
@pytest.mark.parametrize("target", ALWAYS)
@pytest.mark.parametrize("file", LARGE)
def test_placing_passes_on_large_models(
    file: str, target: str, request: pytest.FixtureRequest
) -> None:
    placing(file, target, request)


def placing(file: str, target: str, request: pytest.FixtureRequest) -> None:
    """calibrate and partition leave every node as it was but for its placement.

    quantize and pad_to_tiles are done when done once.
    """
    chip = load_target(target)
    graph = run_passes(load(file, request), clean_passes(), chip)
    inputs = samples_of(graph, 2)
    first = {name: np.asarray(data[0]) for name, data in inputs.arrays.items()}
    for current in compile_passes(inputs):
        text = to_text(graph)
        after = run_passes(graph, [current], chip)
        assert to_text(graph) == text, "the old graph was changed"
        assert to_text(current(after, chip)) == to_text(after), f"{current.name} run twice"
        if current.name in ("calibrate", "partition"):
            assert [replace(n, placement=None) for n in after] == list(graph)
            assert (after.types, after.constants) == (graph.types, graph.constants)
        elif current.numerics == "exact":
            compare_outputs(graph, after, first)
        graph = after
    assert all(node.placement is not None and node.engine for node in graph)
    Interpreter(graph).run(first)


def test_a_pass_is_named_after_its_file() -> None:
    for current in (*clean_passes(), *compile_passes(CalibrationInputs({}))):
        assert type(current).__module__ == f"passes.{current.name}"
        assert current.numerics in ("exact", "lossy")


# -- random models


@pytest.fixture(scope="session")
def random_models(models_folder: Path) -> ModuleType:
    """The generator of random models, which lies next to the folder of real ones."""
    file = models_folder.parent / "tools" / "random_models.py"
    if not file.is_file():
        pytest.skip(f"no generator of random models at {file}")
    found = importlib.util.spec_from_file_location("random_models", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules["random_models"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.parametrize("seed", range(40))
def test_passes_on_random_models(seed: int, random_models: ModuleType) -> None:
    model, feed = random_models.build(seed)
    graph = import_onnx(model).graph
    samples = {name: np.asarray(data)[None] for name, data in feed.items()}
    for current in passes_before_placing():
        graph = check(current, graph, samples)
