"""The first segment of ResNet-18 as it was measured on DIANA: 8.12e5 cycles (KULeuven-MICAS/stream, main_validation_diana_test.py).

The layers are those of the public workload (stream/inputs/validation/diana/workload/resnet18_few_layers_with_residual.py): a 7x7
convolution of stride 2 on the digital array, a 2x2 max-pool, four 3x3 and one 1x1 convolution of 64 channels on the analog array, two
additions. The weights are made up; only sizes matter here.

    .venv/bin/python -m tests.diana_segment
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import joulec
from compiler.plan import Plan
from compiler.target import Target, load_target

MEASURED_CYCLES = 8.12e5
AS_ON_THE_CHIP = (("conv1", "digital"), ("conv2*", "analog"))


def segment() -> onnx.ModelProto:
    """The segment as an ONNX model of float32, from an image of 3x224x224 to 64x56x56."""
    random = np.random.default_rng(0)
    weights, nodes = [], []

    def convolution(
        name: str, data: str, inputs: int, kernel: int, stride: int, pads: list[int]
    ) -> str:
        scale = np.sqrt(2 / (inputs * kernel**2))
        values = random.normal(0, scale, (64, inputs, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}.weight"))
        attributes = {"strides": [stride, stride], "pads": pads, "kernel_shape": [kernel, kernel]}
        inputs_of = [data, f"{name}.weight"]
        nodes.append(helper.make_node("Conv", inputs_of, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def add(name: str, left: str, right: str) -> str:
        nodes.append(helper.make_node("Add", [left, right], [f"{name}.out"], name=name))
        return f"{name}.out"

    first = convolution("conv1", "image", 3, 7, 2, [3, 3, 2, 2])
    pool = helper.make_node(
        "MaxPool", [first], ["pool.out"], name="pool", kernel_shape=[2, 2], strides=[2, 2]
    )
    nodes.append(pool)
    main = convolution("conv2_1", "pool.out", 64, 3, 1, [1, 1, 1, 1])
    side = convolution("conv2_side", "pool.out", 64, 1, 1, [0, 0, 0, 0])
    main = convolution("conv2_2", main, 64, 3, 1, [1, 1, 1, 1])
    joined = add("add1", side, main)
    main = convolution("conv2_3", joined, 64, 3, 1, [1, 1, 1, 1])
    main = convolution("conv2_4", main, 64, 3, 1, [1, 1, 1, 1])
    out = add("add2", joined, main)
    graph = helper.make_graph(
        nodes, "resnet18_first_segment",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, 64, 56, 56])],
        weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def plan_of(target: Target) -> Plan:
    """The plan with the convolutions where the chip had them, one step after the other."""
    options = joulec.Options(
        place=AS_ON_THE_CHIP, max_divergence=1e9, calibration_samples=1, objective="latency"
    )
    return joulec.compile(segment(), target, options=options).plan


def cycles_by_step(plan: Plan, target: Target) -> dict[str, float]:
    """The cycles of each step on the chip's engines; the host's changes of format at both ends are not part of the measurement."""
    host = target.host[0]
    return {
        step.name: step.latency_ns / target.cycle_ns for step in plan.steps if step.engine != host
    }


def main() -> None:
    """Prints cycles by step."""
    target = load_target("diana")
    plan = plan_of(target)
    for step in plan.steps:
        print(
            f"{step.name:32s} {step.op:20s} {step.engine:8s} {step.latency_ns / target.cycle_ns:12,.0f} load {step.weight_load_ns / target.cycle_ns:8,.0f} {step.start_ns / target.cycle_ns:12,.0f} {step.mapping}"
        )
    total = sum(cycles_by_step(plan, target).values())
    print(
        f"serial sum {total:,.0f} cycles; measured {MEASURED_CYCLES:,.0f}; ratio {total / MEASURED_CYCLES:.3f}",
        plan.latency_ns / target.cycle_ns,
    )
    for b in plan.buffers:
        print(b.name, b.memory, b.size_bytes)


if __name__ == "__main__":
    main()
