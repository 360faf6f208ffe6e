"""Measures CPU time as a ratio to a fixed piece of numpy in the same run, median of several.

Run by `make bench`. A ratio is more reliable than seconds on a shared machine: both sides slow down
together.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

ROOT = Path(__file__).resolve().parents[2]
REPEATS = 3


def baseline() -> None:
    """The yardstick: a sort and matrix products of fixed size on one thread's worth of numpy."""
    random = np.random.default_rng(0)
    data = random.standard_normal((600, 600))
    for _ in range(10):
        data = np.tanh(data @ data / 600)
    np.sort(random.standard_normal(2_000_000))


def cpu_seconds(work: Callable[[], object]) -> float:
    """The median CPU time of this process and its children over REPEATS runs."""
    times = []
    for _ in range(REPEATS):
        before = os.times()
        work()
        after = os.times()
        times.append(sum(after[:4]) - sum(before[:4]))
    return statistics.median(times)


def models_folder() -> Path | None:
    """The folder of external models, or None where it is absent."""
    folder = Path(os.environ.get("JOULEC_MODELS", ROOT.parent / "shared" / "models-ext"))
    return folder if folder.is_dir() else None


def chain(count: int) -> onnx.ModelProto:
    """One Relu after the other."""
    names = ["x", *(f"v{index}" for index in range(count))]
    nodes = [
        onnx.helper.make_node("Relu", [read], [made]) for read, made in itertools.pairwise(names)
    ]
    ports = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8])
        for name in (names[0], names[-1])
    ]
    graph = onnx.helper.make_graph(nodes, "chain", ports[:1], ports[1:])
    opset = onnx.helper.make_opsetid("", 17)
    return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)


def benchmarks(scratch: Path) -> dict[str, Callable[[], object]]:
    """Every benchmark by name."""
    import joulec

    digits = ROOT / "models"
    given = joulec.Options(data=digits / "digits_calibration.npz")
    package = joulec.compile(digits / "digits_resnet.onnx", "diana", options=given)
    images = {"image": np.load(digits / "digits_test.npz")["image"]}
    found: dict[str, Callable[[], object]] = {
        "joulec --help": lambda: subprocess.run(
            [sys.executable, "-m", "compiler.cli", "--help"],
            cwd=ROOT,
            check=True,
            capture_output=True,
        ),
        "compile digits_resnet, 128 images": lambda: joulec.compile(
            digits / "digits_resnet.onnx", "diana", options=given
        ),
        "run digits_resnet, 500 images": lambda: joulec.run(package, images),
    }
    long = scratch / "chain.onnx"
    onnx.save(chain(2000), long)
    found["compile a chain of 2,000 nodes"] = lambda: joulec.compile(long, "diana")
    folder = models_folder()
    if folder is None:
        print("the external models are absent: ResNet-8 is left out")
        return found
    model = folder / "mlperf-tiny" / "ic_float.onnx"
    data = scratch / "ic.npz"
    pixels = np.load(folder / "data" / "ic_cifar10_calib500.npz")["x"]
    np.savez(data, input=pixels.transpose(0, 3, 1, 2).astype(np.float32))
    with_data = joulec.Options(data=data, calibration_samples=128)
    resnet = joulec.compile(model, "diana", options=joulec.Options())
    test = np.load(folder / "data" / "ic_cifar10_test500.npz")["x"]
    batch = {"input": test.transpose(0, 3, 1, 2).astype(np.float32)}
    found["compile ResNet-8, 128 images"] = lambda: joulec.compile(
        model, "diana", options=with_data
    )
    found["compile ResNet-8, no data"] = lambda: joulec.compile(model, "diana")
    found["run ResNet-8, 500 images"] = lambda: joulec.run(resnet, batch)
    return found


def main() -> None:
    """Prints CPU seconds and the ratio to the yardstick for each benchmark."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        unit = cpu_seconds(baseline)
        print(f"{'benchmark':36s} {'CPU s':>8s} {'ratio':>8s}   (yardstick {unit:.3f} s CPU)")
        for name, work in benchmarks(Path(folder)).items():
            seconds = cpu_seconds(work)
            print(f"{name:36s} {seconds:8.3f} {seconds / unit:8.2f}", flush=True)
    print(f"done in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
