"""Compiles the first segment of ResNet-18 that was measured on DIANA: 8.12e5 cycles.

The figure is from KULeuven-MICAS/stream, main_validation_diana_test.py. The layers are those of the
public workload (stream/inputs/validation/diana/workload/resnet18_few_layers_with_residual.py): a
7x7 convolution of stride 2 on the digital array, a 2x2 max-pool, four 3x3 and one 1x1 convolution
of 64 channels on the analog array, two additions. The weights are made up; only sizes matter here.
Prints cycles by step, for docs/diana.md:

    .venv/bin/python -m tests.support.diana_segment
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import joulec
from compiler.plan.schema import Plan, Step
from compiler.target.chip import Target, load_target

MEASURED_CYCLES = 8.12e5
# conv1 by match (digital/cost_model.py): Cin * FY * FX + 2 * Cin * FY + 23 cycles for each of 4 x 7
# x 112 blocks of 16 x 16.
CONV1_BY_MATCH = 4 * 7 * 112 * (3 * 49 + 2 * 3 * 7 + 23)
AS_ON_THE_CHIP = (
    ("conv1", "digital"),
    ("conv2*", "analog"),
    ("pool", "digital"),
    ("add*", "digital"),
)


def segment() -> onnx.ModelProto:
    """The segment as an ONNX model of float32, from an image of 3x224x224 to 64x56x56."""
    random = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def add(op: str, name: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def convolution(name: str, data: str, inputs: int, kernel: int, pad: int) -> str:
        scale = np.sqrt(2 / (inputs * kernel**2))
        values = random.normal(0, scale, (64, inputs, kernel, kernel)).astype(np.float32)
        weights.append(numpy_helper.from_array(values, f"{name}.weight"))
        return add("Conv", name, data, f"{name}.weight", pads=[pad] * 4)

    values = random.normal(0, 0.1, (64, 3, 7, 7)).astype(np.float32)
    weights.append(numpy_helper.from_array(values, "conv1.weight"))
    first = add("Conv", "conv1", "image", "conv1.weight", pads=[3, 3, 2, 2], strides=[2, 2])
    pooled = add("MaxPool", "pool", first, kernel_shape=[2, 2], strides=[2, 2])
    main = convolution("conv2_1", pooled, 64, 3, 1)
    side = convolution("conv2_side", pooled, 64, 1, 0)
    joined = add("Add", "add1", side, convolution("conv2_2", main, 64, 3, 1))
    main = convolution("conv2_3", joined, 64, 3, 1)
    out = add("Add", "add2", joined, convolution("conv2_4", main, 64, 3, 1))
    graph = helper.make_graph(
        nodes, "resnet18_first_segment",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info(out, TensorProto.FLOAT, [1, 64, 56, 56])],
        weights,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def in_lines(target: Target) -> Target:
    """Gives the chip an L1 with room for whole values.

    In the measured run layers pass lines to one another, so no value ever needs more of L1 than a
    few lines. joulec runs layer by layer; the larger L1 makes up for that.
    """
    memories = target.memories
    l1 = memories["l1"]
    room = l1.capacity_bytes.model_copy(update={"value": 1 << 30})
    memories = {**memories, "l1": l1.model_copy(update={"capacity_bytes": room})}
    return replace(target, chip=target.chip.model_copy(update={"memories": memories}))


def plan_of(target: Target) -> Plan:
    """Compiles the segment with the layers where the chip had them.

    Ternary weights are loaded for each layer.
    """
    options = joulec.Options(
        place=AS_ON_THE_CHIP,
        max_divergence=inf,
        calibration_samples=1,
        objective="latency",
        weights="reload",
    )
    return joulec.compile(segment(), target, options=options).plan


def chip_steps(plan: Plan, target: Target) -> list[Step]:
    """Selects the steps on the engines.

    The host's changes of format at both ends are no part of the measured run.
    """
    return [step for step in plan.steps if step.engine != target.host[0]]


def serial_cycles(plan: Plan, target: Target, *, formats: bool = True) -> float:
    """Adds up the cycles of the steps, with or without changes of format between engines."""
    steps = [step for step in chip_steps(plan, target) if formats or step.op != "Requantize"]
    return sum(step.latency_ns.value for step in steps) / target.cycle_ns


def with_match_cycles(plan: Plan, target: Target) -> float:
    """Adds up the cycles with the first layer by the other public model of the digital array.

    The first layer is three quarters of the sum.
    """
    ours = (
        next(step.latency_ns.value for step in plan.steps if step.name == "conv1") / target.cycle_ns
    )
    return serial_cycles(plan, target) - ours + CONV1_BY_MATCH


def overlapped_cycles(plan: Plan, target: Target) -> float:
    """Measures from the start of the first step to the end of the last.

    Engines overlap where the data allow.
    """
    steps = chip_steps(plan, target)
    start, end = min(step.start_ns for step in steps), max(step.end_ns for step in steps)
    return (end - start) / target.cycle_ns


def main() -> None:
    """Prints cycles by step and the sums."""
    chip = load_target("diana")
    whole, lines = plan_of(chip), plan_of(in_lines(chip))
    print("| step | operation | engine | cycles, in lines | of which load | layer by layer |")
    print("| --- | --- | --- | --- | --- | --- |")
    for step, other in zip(chip_steps(lines, chip), chip_steps(whole, chip), strict=True):
        cycles, load = (ns / chip.cycle_ns for ns in (step.latency_ns.value, step.weight_load_ns))
        there = other.latency_ns.value / chip.cycle_ns
        words = (
            f"{step.name} | {step.op} | {step.engine} | {cycles:,.0f} | {load:,.0f} | {there:,.0f}"
        )
        print(f"| {words} |")
    for words, cycles in (
        ("serial sum, in lines", serial_cycles(lines, chip)),
        ("the same, engines overlapping", overlapped_cycles(lines, chip)),
        ("without changes of format", serial_cycles(lines, chip, formats=False)),
        ("with match's model of conv1", with_match_cycles(lines, chip)),
        ("serial sum, layer by layer", serial_cycles(whole, chip)),
    ):
        print(f"| {words} | | | {cycles:,.0f} | {cycles / MEASURED_CYCLES:.3f} of the measured | |")


if __name__ == "__main__":
    main()
