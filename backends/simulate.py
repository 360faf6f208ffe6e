"""Runs a plan package alone: exact integers on digital engines, converters on analog ones.

Integers are equal bit for bit; analog engines have the converter's curve; the host runs ONNX
Runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from backends.lowering.host_models import load_host_model
from backends.simulator.kernels import Call, run_kernel
from backends.simulator.samples import join_outputs, split_inputs
from compiler.errors import CompileError, PackageError, UsageError, one_line
from compiler.execute.interpreter import Model
from compiler.ir.graph import Array, Node, Quant, TensorType
from compiler.plan.package import Package
from compiler.plan.schema import Buffer, Constant, Quantization, Step
from compiler.storage.payload import Payload

# Values of a tensor have a leading sample axis; what has no fixed size, or is no tensor, is a list
# of samples.
Value: TypeAlias = "Array | list[Any]"

CHUNK_BYTES = 256 << 20
# Why a kernel fails cannot be known: whoever changes a package can make its hashes fit.
OURS_IF_UNCHANGED = (
    "if the package is as joulec wrote it, this is a bug of joulec: "
    "please report it with the package and the inputs"
)


class Simulator:
    """A package ready to run.

    With a `noise_seed` the converters of analog engines add the chip's noise, repeatably.
    `progress` is called with how many samples are done, as they run in groups. Raises PackageError
    when a payload is not what the plan describes.
    """

    def __init__(
        self,
        package: Package,
        *,
        noise_seed: int | None = None,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.progress = progress
        self.plan = package.plan
        self.noise_seed = noise_seed
        self._types = {buffer.name: _type(buffer) for buffer in self.plan.buffers}
        weights = next((name for name in self.plan.files if name.startswith("weights.")), "")
        data = package.payload(weights) if weights else Payload.of(b"")
        self._constants = [
            {c.name: _constant(c, data) for c in step.constants if c.offset is not None}
            for step in self.plan.steps
        ]
        self._call_types = [self._types_of(step) for step in self.plan.steps]
        models: dict[str, Model] = {}
        for step in self.plan.steps:
            if step.payload and step.payload not in models:
                models[step.payload] = load_host_model(package, step)
        self._models = models
        self._last_use = self._last_uses()

    def run(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Runs samples and returns the outputs in the model's order, stacked as the inputs were.

        Inputs bear the model's names. An array of exactly the plan's shape is one sample; N samples
        are stacked on the batch axis. Raises UsageError (U005) for inputs that do not fit.
        """
        values = self.run_values(inputs, [port.name for port in self.plan.outputs])
        return [join_outputs(port, values[port.name]) for port in self.plan.outputs]

    def run_values(self, inputs: Mapping[str, Any], names: Iterable[str]) -> dict[str, Value]:
        """Computes any values that steps exchange, with a leading sample axis: [S, *shape]."""
        wanted = set(names)
        count, arrays = split_inputs(self.plan.inputs, inputs)
        size = self._chunk(count)
        pieces: list[dict[str, Value]] = []
        with threadpool_limits(1, user_api="blas"):  # small products lose more than they win
            for start in range(0, count, size):
                self.progress(f"run: {start:,} of {count:,} samples done")
                samples = min(size, count - start)
                chunk: dict[str, Value] = {
                    name: _chunk_of(array, start, samples, self._types[name].is_static)
                    for name, array in arrays.items()
                }
                pieces.append(self._run_chunk(chunk, samples, start, wanted))
        return {name: _joined([piece[name] for piece in pieces]) for name in pieces[0]}

    def _run_chunk(
        self, values: dict[str, Value], samples: int, first: int, wanted: set[str]
    ) -> dict[str, Value]:
        """Runs every step in order on some samples; values are dropped after their last use."""
        random = None
        if self.noise_seed is not None:
            random = np.random.default_rng([self.noise_seed, first])
        found = {name: value for name, value in values.items() if name in wanted}
        for step in self.plan.steps:
            try:
                results = self._run_step(step, values, samples, random)
            except CompileError:
                raise
            except Exception as error:  # whatever a step of a strange package can cause
                reason = f"{type(error).__name__}: {error}"
                raise PackageError(
                    f"step {step.index} ({one_line(step.op)}) cannot run: {one_line(reason)}",
                    code="P002" if step.payload else "P003",
                    node=step.name,
                    hint="" if step.payload else OURS_IF_UNCHANGED,
                ) from error
            for name, value in results.items():
                values[name] = value
                if name in wanted:
                    found[name] = value
            for name in self._last_use.get(step.index, ()):
                values.pop(name, None)
        return found

    def _run_step(
        self,
        step: Step,
        values: Mapping[str, Value],
        samples: int,
        random: np.random.Generator | None,
    ) -> dict[str, Value]:
        constants = self._constants[step.index]
        given = [
            constants[name][None] if name in constants else values[name]
            for name in step.inputs
            if name
        ]
        results = (
            self._run_host(step, given, samples)
            if step.payload
            else self._run_kernel(step, given, random)
        )
        return {name: value for name, value in zip(step.outputs, results, strict=True) if name}

    def _run_kernel(
        self, step: Step, given: Sequence[Value], random: np.random.Generator | None
    ) -> Sequence[Value]:
        types = self._call_types[step.index]
        node = Node(
            name=step.name,
            op=step.op,
            inputs=step.inputs,
            outputs=step.outputs,
            attrs=step.attributes,
        )
        arrays = [value for value in given if not isinstance(value, list)]
        results = run_kernel(Call(node, types, random), arrays)
        for name, result in zip(step.outputs, results, strict=True):
            kind = types[name]
            if result.shape[1:] != kind.shape or result.dtype.name != kind.dtype:
                found = f"{result.dtype}{list(result.shape[1:])}"
                raise ValueError(f"{name!r} is {found}, its buffer says {kind.dtype}{kind.shape}")
        return results

    def _run_host(self, step: Step, given: Sequence[Value], samples: int) -> Sequence[Value]:
        """Runs the step's model, sample by sample."""
        model = self._models[step.payload]
        collected: list[list[Any]] = [[] for _ in step.outputs]
        for sample in range(samples):
            feed = {
                name: _sample(value, sample)
                for name, value in zip(model.inputs, given, strict=True)
            }
            results = model.run(feed)
            for values, name in zip(collected, model.outputs, strict=True):
                values.append(results[name])
        return [
            self._stacked(name, values) if self._types[name].is_static else values
            for name, values in zip(step.outputs, collected, strict=True)
        ]

    def _stacked(self, name: str, values: list[Any]) -> Value:
        """Stacks samples of a fixed size; UsageError (U005) where they are not of one."""
        if not _all_arrays(values):
            return values
        wanted = self._types[name].sizes
        other = next((np.shape(v) for v in values if np.shape(v) != np.shape(values[0])), None)
        if other is not None:
            found = next(shape for shape in (np.shape(values[0]), other) if shape != wanted)
            raise UsageError(
                f"value {one_line(name)!r} is {list(found)} for one of these samples, "
                f"and the model declares {list(wanted)}",
                code="U005",
                hint="give samples of which it is, or export the model with that size left open",
            )
        return np.stack(values)

    def _types_of(self, step: Step) -> dict[str, TensorType]:
        """Collects the types of what a step reads and makes."""
        names = (*step.inputs, *step.outputs)
        types = {name: self._types[name] for name in names if name in self._types}
        types.update({constant.name: _type(constant) for constant in step.constants})
        return types

    def _last_uses(self) -> dict[int, list[str]]:
        """Lists the values that can be dropped after each step."""
        last: dict[str, int] = {}
        for step in self.plan.steps:
            for name in (*step.inputs, *step.outputs):
                last[name] = step.index
        drops: dict[int, list[str]] = {}
        for name, index in last.items():
            drops.setdefault(index, []).append(name)
        return drops

    def _chunk(self, count: int) -> int:
        """Computes how many samples run at once: as many as fit a fixed amount of memory.

        One when noise is on, so that each has its own.
        """
        if self.noise_seed is not None and any(s.op == "AnalogProduct" for s in self.plan.steps):
            return 1
        largest = max((self._step_bytes(step) for step in self.plan.steps), default=1)
        return max(1, min(count, CHUNK_BYTES // max(1, largest)))

    def _step_bytes(self, step: Step) -> int:
        """Computes the working memory of a step for one sample, as floats.

        Values and, for a product, the rows of the convolution.
        """
        kinds = [self._types[n] for n in (*step.inputs, *step.outputs) if n in self._types]
        elements = sum(kind.elements for kind in kinds if kind.is_static)
        if step.op in ("Product", "AnalogProduct") and step.attributes.get("kernel"):
            columns = max(1, _columns(step))
            elements += 2 * step.macs // columns
        return 8 * elements


def _columns(step: Step) -> int:
    """Counts the output columns of a group: weights are [G,R,K], gains [G,row tiles,D,K]."""
    axes = 3 if step.op == "Product" else 4
    return next((c.shape[-1] for c in step.constants if len(c.shape) == axes), 1)


def _type(of: Buffer | Constant) -> TensorType:
    return TensorType(of.dtype, of.shape, _quant(of.quantization))


def _quant(quantization: Quantization | None) -> Quant | None:
    if quantization is None:
        return None
    q = quantization
    return Quant(bits=q.bits, signed=q.signed, scale=q.scale, zero_point=q.zero_point, axis=q.axis)


def _constant(constant: Constant, data: Payload) -> Array:
    """Reads a constant from the weights payload; PackageError when it is not all there."""
    try:
        dtype = np.dtype(constant.dtype).newbyteorder("<")
        count = int(np.prod(constant.shape, dtype=object))
        array = data.view(constant.offset or 0, count * dtype.itemsize).view(dtype)
        return array.astype(dtype.newbyteorder("="), copy=False).reshape(constant.shape)
    except (TypeError, ValueError, OverflowError) as error:
        raise PackageError(
            f"constant {one_line(constant.name)!r} lies outside the weights", code="P002"
        ) from error


def _sample(value: Value, sample: int) -> Any:
    if isinstance(value, list):
        return value[sample]
    return np.asarray(value[sample if len(value) > 1 else 0], order="C")


def _all_arrays(values: Sequence[Any]) -> bool:
    return all(isinstance(value, np.ndarray) for value in values)


def _chunk_of(array: Value, start: int, samples: int, static: bool) -> Value:
    """Takes some samples of an input; one that is the same for all samples is repeated."""
    if isinstance(array, list):
        return array * samples
    part = array[start : start + samples] if len(array) > 1 else array
    whole = np.broadcast_to(part, (samples, *part.shape[1:]))
    return whole if static else [np.asarray(item) for item in whole]


def _joined(pieces: Sequence[Value]) -> Value:
    arrays = [piece for piece in pieces if not isinstance(piece, list)]
    if len(arrays) == len(pieces):
        return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]
    return [item for piece in pieces for item in piece]
