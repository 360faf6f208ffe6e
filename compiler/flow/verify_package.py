"""Compares a package with the model it came from, layer by layer, on the same inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from backends.simulate import Simulator
from compiler.cost.divergence import Measure, divergence, measure_of
from compiler.execute.made_up_inputs import made_up_arrays
from compiler.execute.plain_arrays import flat_arrays
from compiler.flow.reference import Reference
from compiler.ir.graph import Array, Graph
from compiler.plan.package import Package
from compiler.plan.schema import Buffer, Plan, Port


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one value of the package is from the model's, over all samples.

    `absolute` is the largest difference, `relative` that over the largest magnitude in the model:
    infinite where one is finite and the other not, None where no numbers of one size are compared.
    `divergence` is by the formula `kind` of compiler.cost.divergence; it leaves out the samples on
    which the model's own value is NaN or infinite, `left_out` of them. `same` counts the samples
    with the same labels or the same largest score (None: the value holds neither).
    """

    step: str
    engine: str
    value: str
    absolute: float | None
    relative: float | None
    kind: str
    divergence: float
    left_out: int
    same: int | None = None


@dataclass(frozen=True)
class Verification:
    """Differences by step and at the outputs.

    `reference` says who computed the model's values; `unjudged` why that is no one but our own
    import, an empty string where the file as given was run. `imported` are values between steps
    that come from the import, as the file has none of their name.
    """

    reference: str
    samples: int
    same_model: bool
    steps: tuple[Difference, ...]
    outputs: tuple[Difference, ...]
    uncompared: tuple[str, ...]
    unjudged: str = ""
    imported: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest divergence at an output."""
        return max((output.divergence for output in self.outputs), default=0.0)


def verify_package(
    package: Package,
    reference: Reference,
    samples: Mapping[str, Array],
    chosen: Sequence[str] = (),
) -> Verification:
    """Runs samples ([S, *shape] by input name) through the package and the model.

    A value `NAME` or `NAME.int8` stands for the model's NAME. Of the outputs only those `chosen`
    are compared (none: all).
    """
    plan = package.plan
    known = reference.computed() | set(reference.graph.outputs)
    buffers = {buffer.name: buffer for buffer in plan.buffers}
    pairs = _pairs(plan, known)
    outputs = [port.name for port in plan.outputs if not chosen or port.name in chosen]
    graph = reference.graph
    wanted = dict.fromkeys([*outputs, *pairs.values()])
    found = reference.run(samples, wanted)
    feed = {port.name: stacked(port, samples[port.name]) for port in plan.inputs}
    made = Simulator(package).run_values(feed, [*outputs, *pairs])
    steps, uncompared = [], []
    for step in plan.steps:
        for name in step.outputs:
            if name in pairs:
                value = pairs[name]
                measure = measure_of(value, graph)
                named = (step.name, step.engine, value)
                compared = _compare(made[name], found[value], buffers[name], measure, named)
                if compared is None:
                    uncompared.append(value)
                else:
                    steps.append(compared)
    at_outputs = []
    for name in outputs:
        measure, named = measure_of(name, graph), ("", "", name)
        compared = _compare(made[name], found[name], buffers[name], measure, named, at_output=True)
        assert compared is not None
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
        unjudged=reference.unjudged,
        imported=reference.imported,
    )


def made_up_inputs(plan: Plan, graph: Graph, count: int, seed: int) -> Mapping[str, Array]:
    """Makes up seeded samples of the kind that the package was calibrated on, and none of those.

    Floats reach as far as those did.
    """
    ranges = {port.name: port.calibrated for port in plan.inputs if port.calibrated is not None}
    return made_up_arrays(graph, count, seed, "verification", ranges)


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
    measure: Measure,
    named: tuple[str, str, str],
    at_output: bool = False,
) -> Difference | None:
    """Compares one value of all samples.

    None for a value between steps that the package has in another shape, as where it was pruned.
    """
    ours, theirs = list(made), list(found)
    if len(ours) == 1:  # the same for all samples
        ours *= len(theirs)
    sizes_differ = any(_sizes(a) != _sizes(b) for a, b in zip(ours, theirs, strict=True))
    if sizes_differ and not at_output:
        return None
    arrays = _numbers(ours, theirs, buffer)
    if measure.kind != "labels" and arrays is not None:  # integers are real by now
        one, other = arrays
        measured = divergence(replace(measure, quant=None), other, one)
    else:
        measured = divergence(measure, theirs, ours)
    absolute, relative = _distances(*arrays) if arrays is not None else (None, None)
    step, engine, value = named
    return Difference(
        step=step,
        engine=engine,
        value=value,
        absolute=absolute,
        relative=relative,
        kind=measure.kind,
        divergence=measured.divergence,
        left_out=len(measured.left_out),
        same=_same(ours, theirs, measure) if at_output else None,
    )


def _sizes(value: Any) -> list[tuple[int, ...]]:
    """The shapes of the arrays in a value, which a sequence may have of several sizes."""
    return [array.shape for array in flat_arrays(value)]


def _numbers(
    ours: Sequence[Any], theirs: Sequence[Any], buffer: Buffer
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
    """Both as real numbers, [S, *shape]; None where they are no numbers, or not of one shape."""
    if not all(isinstance(item, (np.ndarray, np.generic)) for item in (*ours, *theirs)):
        return None
    if len({np.shape(item) for item in (*ours, *theirs)}) != 1:
        return None
    made, found = np.stack(ours), np.stack(theirs)
    if not all(array.dtype.kind in "biufV" for array in (made, found)):
        return None
    one, other = made.astype(np.float64), found.astype(np.float64)
    if buffer.quantization is not None:  # the zero point is no part of a value
        one = _real(one, buffer)
        other = _real(other, buffer) if found.dtype.kind in "iu" else other
    return one, other


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


def _distances(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> tuple[float, float]:
    """The largest difference, and that over the largest magnitude of the other."""
    if not one.size:
        return 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        distance = np.where(same, 0.0, np.abs(one - other))
        distance = np.where(np.isnan(distance), np.inf, distance)
        sized = np.where(np.isfinite(other), other, 0.0)
        largest, size = float(distance.max()), float(np.abs(sized).max())
    return largest, largest / size if size else (0.0 if largest == 0 else float("inf"))


def _same(ours: Sequence[Any], theirs: Sequence[Any], measure: Measure) -> int | None:
    """Counts the samples whose labels, or whose largest scores, are the same.

    None where the output holds neither.
    """
    if measure.kind == "labels":
        return sum(
            divergence(measure, [one], [other]).divergence == 0
            for one, other in zip(theirs, ours, strict=True)
        )
    held = [flat_arrays(item) for item in (*ours, *theirs)]
    if any(len(arrays) != 1 for arrays in held):
        return None
    arrays = [array for (array,) in held]
    classes = arrays[0].shape[-1] if arrays and arrays[0].ndim else 0
    if classes < 2 or any(array.shape != (classes,) and array.size != classes for array in arrays):
        return None
    if any(array.dtype.kind not in "iufV" for array in arrays):
        return None
    largest = [int(array.astype(np.float64).argmax()) for array in arrays]
    return sum(a == b for a, b in zip(largest[: len(ours)], largest[len(ours) :], strict=True))
