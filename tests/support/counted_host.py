"""A chip that is nothing but a host, with cycles by kind of layer, and a network to count on it."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

# 10 ns and 2 pJ a cycle, all cycles doubled; cycles of one kind are told from another's by digits.
CHIP = """\
schema = "joulec.target/1"
name = "counted"
description = "nothing but a host"
not_modelled = []
node_nm = { value = 40, source = "a test" }
clock_mhz = { value = 100, source = "a test" }
static_mw = { value = 0, source = "a test" }
[memories.sram]
capacity_bytes = { value = 1048576, source = "a test" }
read_pj_per_byte = { value = 0, source = "a test" }
write_pj_per_byte = { value = 0, source = "a test" }
bytes_per_cycle = { value = 4, source = "a test" }
[engines.host]
kind = "host"
cycle_pj = { value = 2, source = "a test" }
cycles_per_mac = { value = 9, source = "a test" }
cycles_per_element = { value = 7, source = "a test" }
cycles_per_function = { value = 11, source = "a test" }
[engines.host.layers]
cycles_per_convolution_mac = { value = 1, low = 0.5, high = 3, source = "a test" }
cycles_per_narrow_mac = { value = 2, source = "a test" }
cycles_per_depthwise_mac = { value = 3, source = "a test" }
cycles_per_dense_mac = { value = 4, source = "a test" }
cycles_per_pooled_element = { value = 5, source = "a test" }
cycles_per_start = { value = 100, source = "a test" }
cycle_scale = { value = 2, low = 1, high = 3, source = "a test" }
"""
# What `small_quantized_network` takes on it: narrow MACs at 2 cycles, depthwise ones at 3, two
# starts of 100; all doubled.
NARROW_MACS, DEPTHWISE_MACS = 27 * 4 * 36, 9 * 4 * 36
CYCLES = 2 * (NARROW_MACS * 2 + DEPTHWISE_MACS * 3 + 200)
ENERGY_PJ, LATENCY_NS = CYCLES * 2, CYCLES * 10


def small_quantized_network() -> bytes:
    """A narrow and a depthwise QLinearConv, int8 from input to output."""
    random = np.random.default_rng(0)

    def integers(name: str, shape: tuple[int, ...]) -> TensorProto:
        return numpy_helper.from_array(random.integers(-20, 20, shape).astype(np.int8), name)

    scales = [
        numpy_helper.from_array(np.array(0.05, np.float32), "s"),
        numpy_helper.from_array(np.array(3, np.int8), "z"),
        numpy_helper.from_array(np.array(0.01, np.float32), "ws"),
        numpy_helper.from_array(np.array(0, np.int8), "wz"),
    ]
    quantization = ("s", "z", "ws", "wz", "s", "z")
    first, second = ("x", *quantization[:2]), ("a", *quantization[:2])
    nodes = [
        helper.make_node(
            "QLinearConv", [*first, "w1", "ws", "wz", "s", "z"], ["a"], pads=[1, 1, 1, 1]
        ),
        helper.make_node(
            "QLinearConv", [*second, "w2", "ws", "wz", "s", "z"], ["y"], group=4, pads=[1] * 4
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.INT8, (1, 3, 6, 6))],
        [helper.make_tensor_value_info("y", TensorProto.INT8, (1, 4, 6, 6))],
        [*scales, integers("w1", (4, 3, 3, 3)), integers("w2", (4, 1, 3, 3))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data
