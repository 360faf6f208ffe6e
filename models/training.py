"""Trains a network on digits, the same way at every run."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.network import Network


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train.

    `largest_shift_pixels` moves every training image at random by up to so many pixels.
    `neuron_penalty` is the price of a hidden neuron's weights (see `neuron_norms`); 0 is none.
    """

    epochs: int
    learning_rate: float
    largest_shift_pixels: float
    neuron_penalty: float = 0.0
    weight_decay: float = 0.01
    batch: int = 64
    seed: int = 20


def train(network: Network, images: Tensor, labels: Tensor, recipe: Recipe) -> None:
    """Trains in place for a fixed number of epochs and leaves the network ready to run.

    Nothing is chosen by a look at other images: the last weights are the result.
    """
    random = torch.Generator().manual_seed(recipe.seed)
    batches = -(-len(images) // recipe.batch)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=recipe.learning_rate, total_steps=recipe.epochs * batches
    )
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(images), generator=random)
        for chosen in torch.split(order, recipe.batch):
            moved = shifted(images[chosen], recipe.largest_shift_pixels, random)
            loss = nn.functional.cross_entropy(network.logits(moved), labels[chosen])
            if recipe.neuron_penalty:
                loss = loss + recipe.neuron_penalty * neuron_norms(network)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    network.eval()


def shifted(images: Tensor, largest_shift_pixels: float, random: torch.Generator) -> Tensor:
    """The images, each moved by its own random part of a pixel or more, with black behind."""
    count, _, _, width = images.shape
    shift = (torch.rand(count, 2, generator=random) * 2 - 1) * largest_shift_pixels
    # affine_grid measures in half images, hence 2 / width for one pixel.
    moves = torch.cat([torch.eye(2).expand(count, 2, 2), shift[:, :, None] * 2 / width], dim=2)
    grid = nn.functional.affine_grid(moves, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def neuron_norms(network: Network) -> Tensor:
    """The sum over hidden neurons of the length of all weights into and out of the neuron.

    A group lasso: it shrinks whole neurons rather than single weights, so that the network can
    later lose its least used neurons at little cost.
    """
    dense = [step.module for step in network.steps if isinstance(step.module, nn.Linear)]
    lengths = [
        torch.cat([before.weight, before.bias[:, None], after.weight.T], dim=1).norm(dim=1).sum()
        for before, after in pairwise(dense)
    ]
    return torch.stack(lengths).sum()
