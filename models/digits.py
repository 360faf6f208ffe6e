"""Splits scikit-learn's handwritten digits into images for training and images for the test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

LARGEST_PIXEL = 16
TEST_IMAGES = 500
CALIBRATION_IMAGES = 256
SPLIT_SEED = 20


@dataclass(frozen=True)
class Digits:
    """Images as float32 [count, 1, 8, 8] between 0 and 1, labels as int64 [count]."""

    training_images: NDArray[np.float32]
    training_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    @property
    def calibration_images(self) -> NDArray[np.float32]:
        """A part of the training images, which the split has already shuffled."""
        return self.training_images[:CALIBRATION_IMAGES]


def split_digits() -> Digits:
    """The same split at every call, with every digit equally frequent in both parts."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / LARGEST_PIXEL).astype(np.float32).reshape(-1, 1, 8, 8)
    training_images, test_images, training_labels, test_labels = train_test_split(
        images,
        labels.astype(np.int64),
        test_size=TEST_IMAGES,
        stratify=labels,
        random_state=SPLIT_SEED,
    )
    return Digits(training_images, training_labels, test_images, test_labels)
