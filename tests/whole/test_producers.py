"""A round trip per producer: a model in its style compiles, its layers run as integers on an
engine, and it gives what ONNX Runtime gives.

The table of docs/dialects.md says what this table says. Calibration data and test inputs are
different made-up samples of one kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

import joulec
from compiler.cost.divergence import relative_squared_error
from compiler.execute.session import open_session
from tests.support import producers as made

Data = npt.NDArray[Any]


@dataclass(frozen=True)
class Producer:
    """What must come out of a model: `layers` products on engines and none on the host, within
    `bound` of ONNX Runtime.

    `bound` is a relative squared error (compiler.cost.divergence; all outputs of 16 samples);
    `says` a note.
    """

    name: str
    build: Callable[[Path], onnx.ModelProto]
    layers: int
    bound: float
    says: str = ""
    reference: str = "onnxruntime"


def dynamic(net: str, weights: str, **options: Any) -> Callable[[Path], onnx.ModelProto]:
    return lambda folder: made.onnxruntime_dynamic(folder, net, weights, **options)


def written(build: Callable[[], onnx.ModelProto]) -> Callable[[Path], onnx.ModelProto]:
    return lambda _: build()


def quantized(net: str, form: str, types: str, **options: Any) -> Callable[[Path], onnx.ModelProto]:
    """`types` names those of activations and weights."""
    activations, weights = types.split()
    kinds = {"quant_format": form, "activation_type": activations, "weight_type": weights}
    return lambda folder: made.onnxruntime_static(folder, net, **kinds, **options)


RESNET, DSCNN = "digits_resnet.onnx", "digits_dscnn.onnx"
CONTRIB = {"UseQDQContribOps": True}
# Rounded once where ONNX Runtime rounds floats: a step now and then. Of 8 bits chosen by
# calibration, and of sums of them: 5e-3.
STEPS, CALIBRATED = 1e-3, 5e-3
WIDE = "values of more than 8 bits in the model"
FIXED = "compiled with their input ranges fixed by --data"

PRODUCERS = [
    # The batch norms of these two nets are quantized as layers of their own: 19 = 10 products and 9
    # scalings of channels.
    Producer("onnxruntime-qdq-s8s8", quantized(RESNET, "QDQ", "QInt8 QInt8"), 19, STEPS),
    Producer(
        "onnxruntime-qdq-u8s8-channel", quantized(RESNET, "QDQ", "QUInt8 QInt8", per_channel=True),
        19, STEPS,
    ),
    Producer(
        "onnxruntime-qdq-u8u8", quantized(DSCNN, "QDQ", "QUInt8 QUInt8"), 19, STEPS,
        "weights are rounded to it",
    ),
    Producer("onnxruntime-qop-u8s8", quantized(RESNET, "QOperator", "QUInt8 QInt8"), 19, STEPS),
    Producer(
        "onnxruntime-qop-s8s8-channel",
        quantized(DSCNN, "QOperator", "QInt8 QInt8", per_channel=True), 19, STEPS,
    ),
    Producer("onnxruntime-int4", quantized(RESNET, "QDQ", "QUInt8 QInt4"), 19, STEPS),
    Producer(
        "onnxruntime-uint4-contrib",
        quantized(RESNET, "QDQ", "QInt8 QUInt4", extra_options=CONTRIB), 19, STEPS,
    ),
    Producer("onnxruntime-uint16", quantized(RESNET, "QDQ", "QUInt16 QInt8"), 19, CALIBRATED, WIDE),
    Producer(
        "onnxruntime-int16-contrib", quantized(DSCNN, "QDQ", "QInt16 QInt8", extra_options=CONTRIB),
        19, CALIBRATED, WIDE,
    ),
    Producer("onnxruntime-dynamic", dynamic(RESNET, "QInt8"), 10, CALIBRATED, FIXED),
    Producer("onnxruntime-dynamic-uint8", dynamic(DSCNN, "QUInt8"), 10, CALIBRATED, FIXED),
    Producer("onnxruntime-dynamic-contrib", written(made.dynamic_by_contrib), 2, CALIBRATED, FIXED),
    Producer("onnxruntime-matmulnbits", written(made.blocked_weights), 2, CALIBRATED),
    Producer(
        "olive-blocked-dequantize", written(partial(made.blocked_weights, "DequantizeLinear")), 2,
        CALIBRATED,
    ),
    Producer(
        "matmulnbits-float16", written(partial(made.blocked_weights, "MatMulNBits", "float16")), 2,
        CALIBRATED,
    ),
    Producer("tensorrt-modelopt", written(made.tensorrt_modelopt), 3, CALIBRATED),
    Producer("aimet", written(made.aimet), 2, STEPS),
    Producer("aimet-int4", written(partial(made.aimet, "int4")), 2, STEPS),
    Producer("nncf", written(made.nncf), 3, CALIBRATED),
    Producer("quark", written(made.quark), 3, CALIBRATED),
    Producer("tf2onnx", written(made.tf2onnx), 2, STEPS),
    Producer("brevitas-qcdq", written(made.brevitas_qcdq), 3, CALIBRATED),
    Producer("brevitas-qonnx", written(made.brevitas_qonnx), 3, CALIBRATED, reference="qonnx"),
    Producer("qkeras-qonnx", written(made.qkeras_qonnx), 2, CALIBRATED, reference="qonnx"),
    Producer("torch-fake-quantize", written(made.torch_fake_quantize), 1, STEPS),
    Producer(
        "shared-and-unsorted", written(made.shared_and_unsorted), 3, CALIBRATED,
        "not in execution order",
    ),
    Producer("float16", written(partial(made.half, "float16")), 3, CALIBRATED),
    Producer(
        "bfloat16", written(partial(made.half, "bfloat16")), 3, CALIBRATED, reference="reference",
    ),
    Producer("torchscript-opset7", written(partial(made.torchscript_named, 7)), 2, CALIBRATED),
    Producer("torchscript-opset17", written(partial(made.torchscript_named, 17)), 2, CALIBRATED),
]  # fmt: skip


class Quant(OpRun):
    """As the qonnx package's executor computes it."""

    op_domain = made.QONNX

    def _run(  # type: ignore[no-untyped-def]
        self, x, scale, point, bits, narrow=0, rounding_mode="ROUND", signed=1
    ):
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        low = -(2 ** (bits - 1)) + narrow if signed else 0 * bits
        clipped = np.clip(x / scale + point, low, high)
        steps = np.floor(clipped) if rounding_mode == "FLOOR" else np.round(clipped)
        return (((steps - point) * scale).astype(np.float32),)


class BipolarQuant(OpRun):
    """As the qonnx package's executor computes it."""

    op_domain = made.QONNX

    def _run(self, x, scale):  # type: ignore[no-untyped-def]
        return ((np.where(x >= 0, 1, -1) * scale).astype(np.float32),)


def reference_outputs(
    producer: Producer, model: onnx.ModelProto, samples: Mapping[str, Data]
) -> Data:
    """Runs the reference on each sample."""
    ((name, stacked),) = samples.items()
    parts = [stacked[i : i + 1] for i in range(len(stacked))]
    if producer.reference == "onnxruntime":
        session = open_session(model.SerializeToString())  # fmt: skip
        return np.concatenate([session.run(None, {name: part})[0] for part in parts])
    evaluator = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant])
    results: list[Any] = [evaluator.run(None, {name: part}) for part in parts]
    return np.concatenate([np.asarray(result[0]) for result in results])


def inputs_of(model: onnx.ModelProto, count: int, seed: int) -> dict[str, Data]:
    """Samples of the model's one input, stacked on its first axis: images, or smooth noise."""
    weights = {tensor.name for tensor in model.graph.initializer}
    (value,) = (value for value in model.graph.input if value.name not in weights)
    if value.name == "image":
        return {"image": made.IMAGES[-count:] if seed > 1 else made.IMAGES[:count]}
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    random = np.random.default_rng(seed)
    samples: Data = random.standard_normal((count, *sizes[1:])).astype(dtype)
    return {value.name: samples}


# Of the larger nets only some are compiled in the usual run.
USUAL = (
    "onnxruntime-qdq-u8s8-channel",
    "onnxruntime-uint16",
    "onnxruntime-dynamic-uint8",
    "onnxruntime-dynamic-contrib",
    "onnxruntime-matmulnbits",
)


def cases() -> list[Any]:
    """Every producer on the digital chip and on the hybrid one; in the usual run on the digital
    one, of the larger nets only some.
    """
    found = []
    for producer in PRODUCERS:
        large = producer.name.startswith("onnxruntime") and producer.name not in USUAL
        for chip in ("diana_digital", "diana"):
            marks = [pytest.mark.slow] if chip == "diana" or large else []
            found.append(pytest.param(producer, chip, marks=marks, id=f"{producer.name}-{chip}"))
    return found


@pytest.mark.parametrize(("producer", "chip"), cases())
def test_a_producers_model_runs_as_integers_and_gives_what_onnx_runtime_gives(
    producer: Producer, chip: str, tmp_path: Path
) -> None:
    model = producer.build(tmp_path)
    calibration = inputs_of(model, 32 if chip == "diana_digital" else 156, seed=1)
    for name, data in calibration.items():  # an npz has no bfloat16
        stored = data.astype(np.float32) if data.dtype.kind == "V" else data
        np.savez(tmp_path / "data.npz", allow_pickle=False, **{name: stored})
    compiled = joulec.compile(model, chip, options=joulec.Options(data=tmp_path / "data.npz"))
    samples = inputs_of(model, 16, seed=100)
    wanted = reference_outputs(producer, model, samples).astype(np.float64)
    found = joulec.run(compiled, samples)[0].astype(np.float64)
    error = relative_squared_error(wanted, found)
    engines = [step.engine for step in compiled.plan.steps if step.macs]
    assert len(engines) == producer.layers
    assert set(engines) <= {"digital", "analog"}
    # Layers on the analog array add the divergence allowed, on other samples at most twice that.
    assert error <= producer.bound + (0.04 if "analog" in engines else 0.0)
    assert producer.says in "\n".join(found.line() for found in compiled.diagnostics)
