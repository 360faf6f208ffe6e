"""Small ONNX models at random: convolutions of all kinds, pools, additions, concatenations, dense layers, with odd sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def random_model(seed: int, most_layers: int = 6) -> onnx.ModelProto:
    """A model of float32 with one input and one output; the same for the same seed."""
    return _Growing(seed, most_layers).model()


class _Growing:
    def __init__(self, seed: int, most_layers: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        size = int(self.random.integers(4, 13))
        self.input = [1, int(self.random.choice([1, 2, 3, 8, 17])), size, size]
        self.values = [("x", self.input)]  # what later layers may read
        for _ in range(int(self.random.integers(1, most_layers + 1))):
            self.grow()
        self.finish()

    def pick(self, *choices: int) -> int:
        return int(self.random.choice(choices))

    def add(self, op: str, inputs: list[str], shape: list[int], **attrs: Any) -> None:
        out = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(op, inputs, [out], name=f"{op}_{len(self.nodes)}", **attrs)
        )
        self.values.append((out, shape))

    def constant(self, *shape: int) -> str:
        data = self.random.normal(0, 1 / np.sqrt(np.prod(shape[1:]) or 1), shape).astype(np.float32)
        self.weights.append(numpy_helper.from_array(data, f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def grow(self) -> None:
        """One more layer on a value of the last two."""
        name, shape = self.values[-1 - int(self.random.integers(min(2, len(self.values))))]
        kind = self.random.choice(
            ["conv", "conv", "depthwise", "pool", "relu", "add", "concat", "softmax"]
        )
        if kind in ("conv", "depthwise"):
            groups = shape[1] if kind == "depthwise" else 1
            outputs = groups * self.pick(1, 2) if groups > 1 else self.pick(1, 5, 16, 33, 64)
            height, width = (min(self.pick(1, 3, 5), size) for size in shape[2:])
            strides = [self.pick(1, 1, 2), self.pick(1, 1, 2)]
            out = [
                (s - k) // t + 1
                for s, k, t in zip(shape[2:], (height, width), strides, strict=True)
            ]
            weights = self.constant(outputs, shape[1] // groups, height, width)
            self.add("Conv", [name, weights], [1, outputs, *out], group=groups, strides=strides)
        elif kind == "pool" and min(shape[2:]) > 1:
            op = str(self.random.choice(["MaxPool", "AveragePool"]))
            out = [size // 2 for size in shape[2:]]
            self.add(op, [name], [*shape[:2], *out], kernel_shape=[2, 2], strides=[2, 2])
        elif kind == "concat":
            self.add("Concat", [name, name], [1, 2 * shape[1], *shape[2:]], axis=1)
        elif kind == "softmax":
            self.add("Softmax", [name], shape, axis=1)
        elif kind == "add":
            self.add("Add", [name, name], shape)
        else:
            self.add("Relu", [name], shape)

    def finish(self) -> None:
        """A dense layer at the end, more often than not."""
        if self.random.random() < 0.3:
            return
        name, shape = self.values[-1]
        if np.prod(shape) > 600:  # a dense layer of many rows is slow to fit and nothing new
            self.add("GlobalAveragePool", [name], [*shape[:2], 1, 1])
            name, shape = self.values[-1]
        size, columns = int(np.prod(shape)), self.pick(1, 10, 100)
        self.add("Flatten", [name], [1, size])
        self.add("Gemm", [self.values[-1][0], self.constant(size, columns)], [1, columns])

    def model(self) -> onnx.ModelProto:
        name, shape = self.values[-1]
        graph = helper.make_graph(
            self.nodes, "random",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.input)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)],
            self.weights,
        )  # fmt: skip
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
