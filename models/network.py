"""Holds a network as named steps, so that torch can train it and the exporter can read it.

Every step is a torch module with a name and the names of the values that it reads; the value that
a step makes carries the step's own name. (mypy runs with and without torch: without it, every
torch class is unknown to mypy, hence the ignores.)
"""

from dataclasses import dataclass

from torch import Tensor, nn

INPUT = "image"
CLASSIFIER = "classifier"


@dataclass(frozen=True)
class Step:
    """One operation: what it is called, what it computes, which values it reads."""

    name: str
    module: nn.Module
    inputs: tuple[str, ...]


class Add(nn.Module):  # type: ignore[misc, unused-ignore]
    """Adds two values of the same shape, which torch has only as a function."""

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """The sum."""
        return left + right


class Network(nn.Module):  # type: ignore[misc, unused-ignore]
    """Steps in the order in which they run, from 'image' to `output`.

    `batch` is the fixed number of images in one run, or None if the number is free.
    """

    def __init__(
        self, name: str, image_shape: tuple[int, ...], output: str, batch: int | None
    ) -> None:
        super().__init__()
        self.name = name
        self.image_shape = image_shape
        self.output = output
        self.batch = batch
        self.steps: list[Step] = []
        self.modules_of_steps = nn.ModuleList()  # registers the weights with torch

    def add(self, name: str, module: nn.Module, *inputs: str) -> str:
        """Appends a step and returns its name, for later steps to read."""
        self.steps.append(Step(name, module, inputs))
        self.modules_of_steps.append(module)
        return name

    def values(self, images: Tensor) -> dict[str, Tensor]:
        """What every step makes of the images, which may come in any shape of 64 pixels."""
        values = {INPUT: images.reshape(-1, *self.image_shape)}
        for step in self.steps:
            values[step.name] = step.module(*(values[name] for name in step.inputs))
        return values

    def logits(self, images: Tensor) -> Tensor:
        """The classifier's scores, before a softmax: what the training loss needs."""
        return self.values(images)[CLASSIFIER]

    def forward(self, images: Tensor) -> Tensor:
        """What the last step makes of the images: the network's output."""
        return self.values(images)[self.steps[-1].name]
