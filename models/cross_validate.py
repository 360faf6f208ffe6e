"""Estimates how well the training recipes do, by the training images alone.

Run `python -m models.cross_validate` in the root of the repository, with the extra `train`.
"""

import torch
from sklearn.model_selection import StratifiedKFold

from models.digits import split_digits
from models.train_digits import RECIPES, make_torch_deterministic, trained

FOLDS = 5
FOLDS_SEED = 1


def main() -> None:
    """Prints one line for each network: the share of right answers on images left out."""
    make_torch_deterministic()
    digits = split_digits()
    images = torch.from_numpy(digits.training_images)
    labels = torch.from_numpy(digits.training_labels)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=FOLDS_SEED)
    for make_network, recipe in RECIPES.items():
        correct = 0
        for seen, left_out in folds.split(images, labels):
            network = trained(make_network, images[seen], labels[seen], recipe)
            with torch.no_grad():
                answers = network(images[left_out]).argmax(dim=1)
            correct += int((answers == labels[left_out]).sum())
        count = len(labels)
        print(f"{make_network.__name__:14} {100 * correct / count:.1f} % ({correct} of {count})")


if __name__ == "__main__":
    main()
