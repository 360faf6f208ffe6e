"""Outputs that are labels, texts or maps, as classical learners have: run, evaluate, verify."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import joulec as joulec_module
from backends.reports.verdict import verdict
from tests.cli.test_cli import Shell, fails

NAMES = ["ape", "bee", "cat", "dog"]


def classifier() -> onnx.ModelProto:
    """What scikit-learn's classifiers become: the name of the class, and a map of probabilities."""
    random = np.random.default_rng(0)
    weights = (0.4 * random.standard_normal((16, 4))).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["c"], name="product"),
        helper.make_node("Softmax", ["c"], ["p"], axis=1),
        helper.make_node("ArgMax", ["c"], ["k"], axis=1, keepdims=0),
        helper.make_node("ArrayFeatureExtractor", ["names", "k"], ["row"], domain="ai.onnx.ml"),
        helper.make_node("Reshape", ["row", "flat"], ["label"]),
        helper.make_node(
            "ZipMap", ["p"], ["chances"], domain="ai.onnx.ml", classlabels_strings=NAMES
        ),
    ]
    value = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(TensorProto.STRING, value))
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 16])],
        [
            helper.make_tensor_value_info("label", TensorProto.STRING, ["N"]),
            helper.make_value_info("chances", maps),
        ],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.array([-1]), "flat"),
            numpy_helper.from_array(np.array([NAMES], object), "names"),
        ],
    )
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


@pytest.fixture
def joulec(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(capsys)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier, its package on the digital engine, and 100 samples with the right labels."""
    import onnxruntime

    folder = tmp_path_factory.mktemp("classifier")
    onnx.save(classifier(), folder / "m.onnx")
    x = np.random.default_rng(1).standard_normal((100, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "m.onnx")
    labels = np.asarray(session.run(["label"], {"x": x})[0], np.str_)
    np.savez(folder / "x.npz", x=x, y=labels)
    options = joulec_module.Options(
        data=folder / "x.npz", place=(("product", "digital"),), max_divergence=float("inf")
    )
    made = joulec_module.compile(folder / "m.onnx", "diana", options=options)
    made.save(folder / "out")
    return folder


def test_the_headline_says_how_many_labels_agree(folder: Path) -> None:
    assert "labels: " in verdict(joulec_module.load(folder / "out").plan)[1]


def test_maps_are_written_as_a_matrix_with_its_keys(
    joulec: Shell, folder: Path, tmp_path: Path
) -> None:
    ran = joulec("run", folder / "out", "-i", folder / "x.npz", "-o", "o.npz")
    assert ran.status == 0
    assert "chances: float32[100, 4]" in ran.out
    written = np.load(tmp_path / "o.npz")
    assert sorted(written.files) == ["chances", "chances.keys", "label"]
    assert written["chances.keys"].tolist() == NAMES
    np.testing.assert_allclose(written["chances"].sum(axis=1), 1, rtol=1e-5)
    best = written["chances.keys"][written["chances"].argmax(axis=1)]
    assert (best == written["label"]).all()
    assert (
        joulec(
            "run", folder / "out", "-i", folder / "x.npz", "-o", "o.npz", "--only", "label"
        ).status
        == 0
    )
    assert np.load(tmp_path / "o.npz").files == ["label"]


@pytest.mark.parametrize("chosen", [(), ("--output", "label"), ("--output", "chances")])
def test_labels_and_maps_are_evaluated(
    joulec: Shell, folder: Path, chosen: tuple[str, ...]
) -> None:
    ran = joulec(
        "evaluate",
        folder / "out",
        "--data",
        folder / "x.npz",
        "--model",
        folder / "m.onnx",
        *chosen,
    )
    assert ran.status == 0, ran.err
    assert ran.out.startswith("accuracy 100.0 % (100 of 100): the model in ONNX Runtime\n")
    assert float(ran.out.splitlines()[1].split()[1]) > 90


def test_verify_counts_the_samples_with_the_same_label(joulec: Shell, folder: Path) -> None:
    ran = joulec(
        "verify", folder / "m.onnx", folder / "out", "--data", folder / "x.npz", "--samples", "100"
    )
    assert ran.status == 0, ran.out
    [line] = [line for line in ran.out.splitlines() if line.startswith("label: ")]
    same = re.fullmatch(
        r"label: the same labels in (\d+) of 100 samples \((.*) %\); .* agree", line
    )
    assert same is not None
    assert 90 < int(same[1]) <= 100
    args = ("--data", folder / "x.npz", "--samples", "100", "--output", "label", "--format", "json")
    table = joulec("verify", folder / "m.onnx", folder / "out", *args).table
    [output] = table["outputs"]
    assert (output["value"], output["kind"]) == ("label", "labels")
    assert output["same"] == int(same[1])
    assert output["divergence"] == pytest.approx(1 - int(same[1]) / 100)


def test_an_output_that_is_not_there(joulec: Shell, folder: Path) -> None:
    out, data = folder / "out", ("--data", folder / "x.npz")
    for words in (
        ("verify", folder / "m.onnx", out, *data, "--output"),
        ("evaluate", out, *data, "--output"),
        ("run", out, "-i", folder / "x.npz", "-o", "o.npz", "--only"),
    ):
        fails(joulec(*words, "lable"), 2, "U005", "did you mean 'label'?")


def test_a_sequence_of_tensors_of_several_sizes_is_verified(joulec: Shell) -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> g (float[1,6] x) => (seq(float[1,N]) y)'
        " <int64[3] l = {1, 2, 3}> { y = SplitToSequence<axis = 1>(x, l) }"
    )
    onnx.save(model, "ragged.onnx")
    joulec("compile", "ragged.onnx", "-t", "diana_digital", "-o", "r")
    result = joulec("verify", "ragged.onnx", "r")
    assert "the package holds: divergence 0 " in result.out
