"""Trains the three networks on handwritten digits and writes their .onnx and .npz files.

Run `python -m models.train_digits` in the root of the repository, with the extra `train`.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.architectures import digits_dscnn, digits_resnet, dim20
from models.archive import write_archive
from models.digits import Digits, split_digits
from models.export import onnx_model
from models.network import INPUT, Network
from models.training import Recipe, train

INITIAL_WEIGHTS_SEED = 20

# Chosen by models/cross_validate.py, which sees the training images only.
RECIPES = {
    digits_resnet: Recipe(epochs=40, learning_rate=0.005, largest_shift_pixels=1.0),
    digits_dscnn: Recipe(epochs=60, learning_rate=0.01, largest_shift_pixels=0.5),
    dim20: Recipe(epochs=300, learning_rate=0.01, largest_shift_pixels=0.5, neuron_penalty=0.003),
}


def main() -> None:
    """Writes the images, then trains and writes one network after the other."""
    arguments = argparse.ArgumentParser(description="train and write joulec's small models")
    arguments.add_argument(
        "--folder", type=Path, default=Path(__file__).parent, help="where the files go"
    )
    folder: Path = arguments.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)

    make_torch_deterministic()
    digits = split_digits()
    write_images(folder, digits)
    for make_network, recipe in RECIPES.items():
        images = torch.from_numpy(digits.training_images)
        labels = torch.from_numpy(digits.training_labels)
        network = trained(make_network, images, labels, recipe)
        write_model(folder / f"{network.name}.onnx", network, digits.test_images)


def make_torch_deterministic() -> None:
    """Takes one thread, because several add in a different order and so make other bytes."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def trained(
    make_network: Callable[[], Network], images: Tensor, labels: Tensor, recipe: Recipe
) -> Network:
    """A new network, trained from the same first weights at every call."""
    torch.manual_seed(INITIAL_WEIGHTS_SEED)
    network = make_network()
    train(network, images, labels, recipe)
    return network


def write_images(folder: Path, digits: Digits) -> None:
    """Writes test and calibration images, once as squares and once as the rows dim20 reads."""
    test, labels = digits.test_images, digits.test_labels
    calibration = digits.calibration_images
    write_archive(folder / "digits_test.npz", {"image": test, "y": labels})
    write_archive(folder / "digits_calibration.npz", {"image": calibration})
    write_archive(folder / "dim20_test.npz", {"image": test.reshape(-1, 64), "y": labels})
    write_archive(folder / "dim20_calibration.npz", {"image": calibration.reshape(-1, 64)})


def write_model(path: Path, network: Network, images: NDArray[np.float32]) -> None:
    """Writes the model after onnxruntime has computed the same from it as torch."""
    content = onnx_model(network).SerializeToString(deterministic=True)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    batch = network.batch or len(images)
    for start in range(0, len(images), batch):
        some = images[start : start + batch]
        with torch.no_grad():
            expected = network(torch.from_numpy(some)).numpy()
        found = session.run(None, {INPUT: some.reshape(-1, *network.image_shape)})[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    path.write_bytes(content)
    print(f"wrote {path} ({len(content)} bytes); onnxruntime agrees with torch")


if __name__ == "__main__":
    main()
