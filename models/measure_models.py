"""Measures size and accuracy of the shipped models: the table in models/README.md.

Run `python -m models.measure_models` in the root of the repository; it needs no torch.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper, shape_inference

TEST_FILES = {
    "digits_resnet": "digits_test",
    "digits_dscnn": "digits_test",
    "dim20": "dim20_test",
}


def main() -> None:
    """Prints one line for each model."""
    arguments = argparse.ArgumentParser(description="measure joulec's small models")
    arguments.add_argument(
        "--folder", type=Path, default=Path(__file__).parent, help="where the files are"
    )
    folder: Path = arguments.parse_args().folder
    print(f"{'model':14} {'bytes':>8} {'parameters':>11} {'MACs':>8}  test accuracy")
    for name, test_file in TEST_FILES.items():
        path = folder / f"{name}.onnx"
        model = onnx.load(path)
        test = np.load(folder / f"{test_file}.npz")
        correct = correct_answers(model, test["image"], test["y"])
        count = len(test["y"])
        print(
            f"{name:14} {path.stat().st_size:8} {parameters(model):11}"
            f" {multiply_accumulates(model):8}"
            f"  {100 * correct / count:.1f} % ({correct} of {count})"
        )


def correct_answers(
    model: onnx.ModelProto, images: NDArray[np.float32], labels: NDArray[np.int64]
) -> int:
    """For how many images the model's largest output is the label; optimisations are off."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    # One image at a time also suits a model whose batch is fixed at 1.
    answers = [
        int(np.argmax(session.run(None, {"image": images[index : index + 1]})[0]))
        for index in range(len(images))
    ]
    return int(np.sum(np.array(answers) == labels))


def parameters(model: onnx.ModelProto) -> int:
    """How many numbers the weights hold, the vectors of BatchNormalization included."""
    return sum(numpy_helper.to_array(weight).size for weight in model.graph.initializer)


def multiply_accumulates(model: onnx.ModelProto) -> int:
    """Multiplications with a weight in Conv and Gemm for one image; other nodes do not count."""
    weights = {weight.name: weight for weight in model.graph.initializer}
    inferred = shape_inference.infer_shapes(model, strict_mode=True)
    shapes = {
        value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }
    total = 0
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            # Each weight serves every place of the output image: height times width, 1 for Gemm.
            places = int(np.prod(shapes[node.output[0]][2:]))
            total += numpy_helper.to_array(weights[node.input[1]]).size * places
    return total


if __name__ == "__main__":
    main()
