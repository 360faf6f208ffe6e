"""Measures what dim20 loses if its hidden layers shrink from 20 to fewer neurons.

Run `python -m models.measure_pruning` in the root of the repository; it needs no torch.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from models.measure_models import correct_answers

WIDTHS = (20, 18, 16, 14, 12, 10, 8)


def main() -> None:
    """Prints one line for each width."""
    folder = Path(__file__).parent
    model = onnx.load(folder / "dim20.onnx")
    test = np.load(folder / "dim20_test.npz")
    for width in WIDTHS:
        correct = correct_answers(narrowed(model, width), test["image"], test["y"])
        count = len(test["y"])
        print(f"{width:2} neurons: {100 * correct / count:.1f} % ({correct} of {count})")


def narrowed(model: onnx.ModelProto, width: int) -> onnx.ModelProto:
    """A copy whose hidden layers keep only the `width` neurons with the largest weights.

    A neuron's measure is the length of its weights in times the length of its weights out, which
    does not change if a factor moves from one side of the Relu to the other. Nothing is retrained.
    """
    weights = {
        weight.name: numpy_helper.to_array(weight).copy() for weight in model.graph.initializer
    }
    dense = [node.input for node in model.graph.node if node.op_type == "Gemm"]
    for (_, weight_in, bias_in), (_, weight_out, _) in pairwise(dense):
        length_in = np.linalg.norm(weights[weight_in], axis=1)
        length_out = np.linalg.norm(weights[weight_out], axis=0)
        kept = np.sort(np.argsort(-length_in * length_out, kind="stable")[:width])
        weights[weight_in] = weights[weight_in][kept]
        weights[bias_in] = weights[bias_in][kept]
        weights[weight_out] = weights[weight_out][:, kept]
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.ClearField("initializer")
    copy.graph.initializer.extend(
        numpy_helper.from_array(weight, name) for name, weight in weights.items()
    )
    return copy


if __name__ == "__main__":
    main()
