"""Makes random sound ONNX models from a seed, with inputs.

They are networks of the usual kinds, and tensors pushed around. The same seed gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.random_layers import (
    attention,
    binary,
    convolution,
    dense,
    fake_quantized,
    function,
    move,
    norm,
    pool,
    quantized_dense,
    recurrent,
    reduce,
    transposed,
)
from tests.support.random_sketch import Sketch

Layer = Callable[[Sketch], None]
FAMILIES: dict[str, tuple[tuple[Layer, int], ...]] = {
    "convolutional": (
        (convolution, 5), (norm, 2), (function, 4), (pool, 2), (binary, 2), (transposed, 1),
    ),
    "dense": ((dense, 5), (function, 4), (binary, 2), (norm, 1), (reduce, 1)),
    "quantized": (
        (quantized_dense, 3), (fake_quantized, 4), (dense, 2), (convolution, 3), (function, 2),
        (pool, 1), (binary, 2),
    ),
    "attention": ((attention, 2), (dense, 2), (norm, 3), (function, 2), (binary, 2)),
    "recurrent": ((recurrent, 3), (dense, 2), (function, 2), (move, 1)),
    "tensors": ((move, 8), (binary, 2), (reduce, 2), (function, 1)),
    "mixed": (
        (convolution, 2), (transposed, 1), (pool, 1), (norm, 2), (function, 3), (binary, 3),
        (dense, 2), (attention, 1), (recurrent, 1), (reduce, 1), (move, 4), (fake_quantized, 1),
        (quantized_dense, 1),
    ),
}  # fmt: skip


def build(seed: int, most_layers: int = 24) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """A model, and inputs for it by name."""
    s = Sketch(seed)
    family = s.one_of(list(FAMILIES))
    image = (s.whole(1, 2), s.whole(1, 6), s.whole(4, 12), s.whole(4, 12))
    sequence = (s.whole(1, 8), s.whole(2, 6), s.one_of([8, 16]))
    shapes: dict[str, list[tuple[int, ...]]] = {
        "convolutional": [image],
        "quantized": [image, (2, 24)],
        "dense": [(s.whole(1, 4), s.whole(1, 48))],
    }
    for shape in shapes.get(family, [sequence, image, (s.whole(1, 9),)]):
        s.input(*shape)
    layers, weights = zip(*FAMILIES[family], strict=True)
    share = np.asarray(weights) / sum(weights)
    for _ in range(s.whole(min(4, most_layers), most_layers)):
        layers[int(s.random.choice(len(layers), p=share))](s)
    return _finished(s, f"{family}_{seed}"), s.feed


def _finished(s: Sketch, name: str) -> onnx.ModelProto:
    """Finishes the model; its outputs are the values that nothing reads.

    Now and then it is one of them alone, which leaves dead nodes.
    """
    read = {value for node in s.nodes for value in node.input}
    made = {value for node in s.nodes for value in node.output}
    ends = [value for value in s.values if value.name in made and value.name not in read]
    if not ends:
        ends = [s.add("Identity", [s.values[-1].name], s.values[-1].shape, s.values[-1].bound)]
    if s.chance(0.1):
        ends = ends[-1:]
    inputs = [
        helper.make_tensor_value_info(key, TensorProto.FLOAT, data.shape)
        for key, data in s.feed.items()
    ]
    outputs = [helper.make_tensor_value_info(v.name, TensorProto.FLOAT, v.shape) for v in ends[-6:]]
    graph = helper.make_graph(s.nodes, name, inputs, outputs, s.weights)
    opset = [helper.make_opsetid("", s.opset)]
    return helper.make_model(
        graph, opset_imports=opset, ir_version=8, producer_name="random_networks"
    )
