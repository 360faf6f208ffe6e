"""Compares a package with the model it came from, layer by layer, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.simulate import Simulator
from compiler.flow.reference import Reference
from compiler.ir.graph import Array, Graph
from compiler.plan.package import Package
from compiler.plan.schema import Buffer, Plan, Port
from passes.calibration.inputs import synthetic_inputs


@dataclass(frozen=True)
class Difference:
    """How far one value of the package is from the model's, over all samples.

    `absolute` is the largest difference, `relative` that over the largest magnitude in the model,
    `squared_error` the sum of the squared differences over that of the squares. They are infinite
    where one is finite and the other not.
    """

    step: str
    engine: str
    value: str
    absolute: float
    relative: float
    squared_error: float
    agreement: float | None = None


@dataclass(frozen=True)
class Verification:
    """Differences by step and at the outputs.

    `agreement` there is the share of samples with the same largest class score.
    """

    reference: str
    samples: int
    same_model: bool
    steps: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    uncompared: tuple[str, ...]

    @property
    def worst(self) -> float:
        """The largest relative squared error at an output."""
        return max((output.squared_error for output in self.outputs), default=0.0)


def verify_package(
    package: Package, reference: Reference, samples: Mapping[str, Array]
) -> Verification:
    """Runs samples ([S, *shape] by input name) through the package and the model.

    A value `NAME` or `NAME.int8` stands for the model's NAME.
    """
    plan = package.plan
    known = reference.computed() | set(reference.graph.outputs)
    buffers = {buffer.name: buffer for buffer in plan.buffers}
    pairs = _pairs(plan, known)
    outputs = [port.name for port in plan.outputs]
    wanted = dict.fromkeys([*outputs, *pairs.values()])
    found = reference.run(samples, wanted)
    feed = {port.name: stacked(port, samples[port.name]) for port in plan.inputs}
    made = Simulator(package).run_values(feed, [*outputs, *pairs])
    steps, uncompared = [], []
    for step in plan.steps:
        for name in step.outputs:
            if name in pairs:
                value = pairs[name]
                compared = _compare(
                    made[name], found[value], buffers[name], (step.name, step.engine, value)
                )
                if compared is None:
                    uncompared.append(value)
                else:
                    steps.append(compared)
    at_outputs = []
    for name in outputs:
        compared = _compare(made[name], found[name], buffers[name], ("", "", name), scores=True)
        if compared is None:
            uncompared.append(name)
        else:
            at_outputs.append(compared)
    count = len(next(iter(samples.values()), [None]))
    same = reference.sha256 == plan.model.sha256
    return Verification(
        reference=reference.runtime,
        samples=count,
        same_model=same,
        steps=tuple(steps),
        outputs=tuple(at_outputs),
        uncompared=tuple(uncompared),
    )


def made_up_inputs(plan: Plan, graph: Graph, count: int, seed: int) -> Mapping[str, Array]:
    """Makes up seeded samples of what the package was made for.

    Floats lie evenly over the range that their integers cover, all else is as for calibration.
    """
    arrays = dict(synthetic_inputs(graph, count, seed).arrays)
    random = np.random.default_rng(seed)
    quants = {buffer.name: buffer.quantization for buffer in plan.buffers}
    for name, data in arrays.items():
        quant = quants.get(f"{name}.int8")
        if data.dtype == np.float32 and quant is not None and quant.axis is None:
            lowest = -(1 << (quant.bits - 1)) if quant.signed else 0
            ends = np.array([lowest, lowest + (1 << quant.bits) - 1], np.float64)
            low, high = (ends - quant.zero_point[0]) * quant.scale[0]
            arrays[name] = random.uniform(low, high, data.shape).astype(np.float32)
    return arrays


def stacked(port: Port, samples: Array) -> Array:
    """Samples [S, *shape] as a user hands them in: on the batch axis, or on a first axis."""
    if len(samples) == 1:
        return np.asarray(samples[0])
    if port.batch_axis is None:
        return samples
    return np.concatenate(list(samples), axis=port.batch_axis)


def _pairs(plan: Plan, known: set[str]) -> dict[str, str]:
    """The buffers that stand for values of the model, each value once.

    Its last form is nearest to what the layer gives.
    """
    pairs: dict[str, str] = {}
    for step in plan.steps:
        for name in filter(None, step.outputs):
            for value in (name, name.rpartition(".int8")[0]):
                if value in known and value not in pairs.values():
                    pairs[name] = value
    return pairs


def _compare(
    made: Any,
    found: Sequence[Any],
    buffer: Buffer,
    named: tuple[str, str, str],
    scores: bool = False,
) -> Difference | None:
    """Compares one value of all samples.

    None where the two cannot be compared (pruned to another shape, no tensor).
    """
    try:
        ours = np.stack([np.asarray(item) for item in made])
        theirs = np.stack([np.asarray(item) for item in found])
    except ValueError:
        return None
    if len(ours) == 1 and len(theirs) > 1:
        ours = np.broadcast_to(ours, theirs.shape) if ours.shape[1:] == theirs.shape[1:] else ours
    numeric = all(array.dtype.kind in "biufV" for array in (ours, theirs))
    if ours.shape != theirs.shape or not numeric:
        return None
    one, other = ours.astype(np.float64), theirs.astype(np.float64)
    if buffer.quantization is not None:  # the zero point is no part of a value
        one = _real(one, buffer)
        other = _real(other, buffer) if theirs.dtype.kind in "iu" else other
    absolute, relative, squared = _distances(one, other)
    agreement = _agreement(one, other) if scores else None
    step, engine, value = named
    return Difference(
        step=step,
        engine=engine,
        value=value,
        absolute=absolute,
        relative=relative,
        squared_error=squared,
        agreement=agreement,
    )


def _real(integers: npt.NDArray[np.float64], buffer: Buffer) -> npt.NDArray[np.float64]:
    """What quantized integers stand for."""
    quant = buffer.quantization
    assert quant is not None
    scale, point = np.array(quant.scale), np.array(quant.zero_point, np.float64)
    if quant.axis is not None:
        shape = [1] * integers.ndim
        shape[quant.axis + 1] = -1
        scale, point = scale.reshape(shape), point.reshape(shape)
    return np.asarray((integers - point) * scale, np.float64)


def _distances(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]
) -> tuple[float, float, float]:
    if not one.size:
        return 0.0, 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        distance = np.where(same, 0.0, np.abs(one - other))
        distance = np.where(np.isnan(distance), np.inf, distance)
        sized = np.where(np.isfinite(other), other, 0.0)
        largest, size = float(distance.max()), float(np.abs(sized).max())
        squared, whole = float((distance**2).sum()), float((sized**2).sum())
    return (
        largest,
        largest / size if size else (0.0 if largest == 0 else float("inf")),
        squared / whole if whole else (0.0 if squared == 0 else float("inf")),
    )


def _agreement(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    """The share of samples whose largest score is of the same class.

    None where the output does not look like scores.
    """
    classes = one.shape[-1] if one.ndim > 1 else 0
    if classes < 2 or one[0].size != classes:
        return None
    return float((one.argmax(-1) == other.argmax(-1)).mean())
