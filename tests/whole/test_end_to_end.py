"""The whole compiler on real models: what compiles, checks and runs, how accurate it is, and
that the bytes repeat.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import joulec
from compiler.execute.interpreter import Model
from compiler.target.chip import built_in
from tests.bound.test_bound import assert_not_below_its_bound
from tests.support.chips import ALWAYS, BIT_BY_BIT, OTHERS

ROOT = Path(__file__).resolve().parents[2]
BINDS = {"ppocr": {"x:2": 48, "x:3": 192}, "silero": {"sequence": 576}}
HEAVY = (
    "basic_pitch",
    "blazeface",
    "ppocr",
    "vww",
    "cifar_mbv2like",
    "silero",
    "ic_int8",
    "kws_int8_qdq",
)
FILES = (
    *(f"mlperf-tiny/{name}.onnx" for name in (
        "ad_float", "ad_int8_qdq", "ad_int8_qop", "ic_float", "ic_int8_qdq", "ic_int8_qop",
        "kws_float", "kws_hybrid_float", "kws_int8_qdq", "kws_int8_qop", "sww_int8_qdq",
        "sww_int8_qop", "vww_float", "vww_int8_qdq", "vww_int8_qop",
    )),
    *(f"diverse/{name}.onnx" for name in (
        "ad_gemm_bn_op11", "basic_pitch_nmp_op15", "blazeface_front128_op12",
        "cifar_mbv2like_bn_clip_op11", "mnist8_cntk_op8", "ppocr_cls_mbv3_op11",
        "resnet8_fp16_op13", "resnet8_qdq_tf2onnx_op15", "silero_vad_16k_lstm_if_op15",
        "digits/digits_bilstm_op14", "digits/digits_cnn_bn_op9", "digits/digits_gru_op13",
        "digits/digits_loop_op16", "digits/digits_mlp_op7", "digits/digits_vit_op20",
        "digits/digits_mlp_extdata/model",
    )),
)  # fmt: skip


def cases() -> list[Any]:
    """Every file on ALWAYS and on two of the other chips; in the usual run each light file on
    one chip, in turn.
    """
    found = []
    for index, file in enumerate(FILES):
        turns = {OTHERS[(2 * index + step) % len(OTHERS)] for step in range(2)}
        usual = built_in()[index % len(built_in())]
        if usual in BIT_BY_BIT and "digits" not in file:
            usual = ALWAYS[index % len(ALWAYS)]
        for chip in sorted({*ALWAYS, *turns, usual}):
            heavy = any(name in file for name in HEAVY)
            marks = [] if not heavy and chip == usual else [pytest.mark.slow]
            found.append(pytest.param(file, chip, marks=marks, id=f"{Path(file).stem}-{chip}"))
    return found


def some_inputs(plan: Any) -> dict[str, npt.NDArray[np.generic]]:
    """One sample of every input, in a plausible range."""
    random = np.random.default_rng(0)
    feed = {}
    for port in plan.inputs:
        values = random.random(tuple(port.shape)) * 10
        feed[port.name] = np.full(port.shape, 16000) if port.name == "sr" else values
        feed[port.name] = feed[port.name].astype(port.dtype)
    return feed


@pytest.mark.parametrize(("file", "chip"), cases())
def test_a_real_model_compiles_checks_and_runs(
    file: str, chip: str, models_folder: Path, tmp_path: Path
) -> None:
    bind = next((sizes for name, sizes in BINDS.items() if name in file), {})
    joulec.compile(
        models_folder / file, chip, output=tmp_path / "p", options=joulec.Options(bind=bind)
    )
    package = joulec.load(tmp_path / "p")
    assert_not_below_its_bound(package.plan)
    for port, value in zip(
        package.plan.outputs, joulec.run(package, some_inputs(package.plan)), strict=True
    ):
        assert value.shape == port.shape
        assert np.isfinite(value).all()


def test_what_must_be_refused_is_refused(models_folder: Path) -> None:
    for file in sorted((models_folder / "must-diagnose").glob("*.onnx")):
        with pytest.raises(joulec.ModelError):
            joulec.compile(file, "diana")


def labelled(
    name: str, folder: Path
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """(calibration images, test images, labels) of a network, as its file wants them."""
    if name.startswith("ic"):
        test = np.load(folder / "data" / "ic_cifar10_test500.npz")
        calibration = np.load(folder / "data" / "ic_cifar10_calib500.npz")["x"]
        images, given, labels = test["x"].astype(int), calibration.astype(int), test["y"]
        if "qop" in name:
            images, given = images - 128, given - 128
    elif name.startswith("kws"):
        test = np.load(folder / "data" / "kws_kws01_500.npz")
        images = (
            test["x"] if "qop" in name else (test["x"] - np.float32(83)) * np.float32(0.5847029)
        )
        given, images, labels = images[300:], images[:300], test["y"][:300]
    else:
        test = np.load(folder / "data" / "vww_vww01_500.npz")
        images = test["x"].astype(int) - 128 if "qop" in name else test["x"] / np.float32(255)
        given, images, labels = images[300:], images[:300], test["y"][:300]
    dtype = np.int8 if "qop" in name else np.float32
    return (
        given.transpose(0, 3, 1, 2).astype(dtype),
        images.transpose(0, 3, 1, 2).astype(dtype),
        labels,
    )


def both(
    name: str, chip: str, folder: Path, scratch: Path
) -> tuple[joulec.Compiled, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """A compiled network with the plan's outputs, ONNX Runtime's, and the labels."""
    given, data, labels = labelled(name, folder)
    np.savez(scratch / "given.npz", input=given)
    file = folder / "mlperf-tiny" / f"{name}.onnx"
    options = joulec.Options(data=scratch / "given.npz")
    compiled = joulec.compile(file, chip, options=options)
    (found,) = joulec.run(compiled, {"input": data})
    model = Model(file.read_bytes())
    wanted = np.concatenate([model.run({"input": image[None]})["output"] for image in data])
    return compiled, found, wanted, labels


def accuracy(scores: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    return 100 * float((scores.argmax(axis=-1) == labels).mean())


@pytest.mark.parametrize(
    "name", ["ic_float", "kws_float", pytest.param("vww_float", marks=pytest.mark.slow)]
)
def test_int8_keeps_the_accuracy_within_a_point(
    name: str, models_folder: Path, tmp_path: Path
) -> None:
    _, found, wanted, labels = both(name, "diana_digital", models_folder, tmp_path)
    assert accuracy(found, labels) >= accuracy(wanted, labels) - 1.0


@pytest.mark.parametrize("name", ["ic_int8_qdq", "kws_int8_qdq", "vww_int8_qdq"])
def test_a_qdq_model_predicts_as_onnx_runtime_does(
    name: str, models_folder: Path, tmp_path: Path
) -> None:
    _, found, wanted, _ = both(name, "diana_digital", models_folder, tmp_path)
    assert (found.argmax(-1) == wanted.argmax(-1)).mean() >= 0.995


@pytest.mark.parametrize("name", ["ic_int8_qop", "kws_int8_qop", "vww_int8_qop"])
def test_a_qoperator_model_gives_the_integers_of_onnx_runtime(
    name: str, models_folder: Path, tmp_path: Path
) -> None:
    _, found, wanted, _ = both(name, "diana_digital", models_folder, tmp_path)
    assert np.array_equal(found, wanted)


@pytest.mark.slow  # the usual run has `hermes`, below
def test_resnet8_on_the_analog_array_still_classifies(models_folder: Path, tmp_path: Path) -> None:
    compiled, found, wanted, labels = both("ic_float", "diana", models_folder, tmp_path)
    macs = compiled.plan.macs
    assert macs.by_engine["analog"] / macs.after >= 0.6
    assert accuracy(found, labels) >= accuracy(wanted, labels) - 2.0


@pytest.mark.parametrize(
    "chip",
    [
        "hermes",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("isaac", "jia2020", "metis", "princeton16", "puma")
        ),
    ],
)  # fmt: skip
def test_resnet8_classifies_on_good_arrays(chip: str, models_folder: Path, tmp_path: Path) -> None:
    _, found, wanted, labels = both("ic_float", chip, models_folder, tmp_path)
    assert accuracy(found, labels) >= accuracy(wanted, labels) - 2.0


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Another folder, hash seed, number of threads, locale and time zone change no byte."""
    made = []
    for seed, threads, place in (("1", "1", "one"), ("2", "2", "another folder/deep")):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        for name in ("digits_resnet.onnx", "digits_calibration.npz"):
            (folder / name).write_bytes((ROOT / "models" / name).read_bytes())
        environment = {
            **os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(ROOT), "TZ": f"UTC+{seed}",
            "LC_ALL": {"1": "C", "2": "C.UTF-8"}[seed],
        }  # fmt: skip
        code = (
            "import joulec; joulec.compile('digits_resnet.onnx', 'diana', output='p', "
            "options=joulec.Options(data='digits_calibration.npz', prune=0.1))"
        )
        subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, check=True)
        made.append(digest(folder / "p"))
    assert made[0] == made[1]
