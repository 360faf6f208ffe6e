"""The plan: everything a chip or the simulator needs to run a model, and what the run costs.

The schema "joulec.plan/2" is a promise: keys are added, never changed. How it is written stands in
compiler.plan.canonical_json, what a folder of files adds to it in compiler.plan.package, what must
hold among its numbers in compiler.plan.check.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from compiler.errors import Diagnostic
from compiler.ir.mapping import NodeMapping as AnyMapping
from compiler.units import ZERO, Estimate

SCHEMA: Final = "joulec.plan/2"

Whole: TypeAlias = Annotated[int, Field(ge=0, le=1 << 62)]
Amount: TypeAlias = Annotated[float, Field(ge=0)]
Sha256: TypeAlias = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
PayloadName: TypeAlias = Annotated[
    str, Field(pattern=r"^(weights\.[0-9a-f]{16}\.bin|host/[0-9a-f]{16}\.(onnx|bin))$")
]
Shape: TypeAlias = tuple[Whole, ...]
Attribute: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...] | tuple[str, ...]


NodeMapping: TypeAlias = Annotated[AnyMapping, Field(discriminator="kind")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Quantization(_Record):
    """How integers stand for reals: real = scale * (integer - zero_point).

    One entry, or one per index along `axis`.
    """

    bits: Annotated[int, Field(ge=1, le=32)]
    signed: bool
    scale: tuple[float, ...]
    zero_point: tuple[int, ...]
    axis: int | None = None


class Named(_Record):
    """A file that went into the plan: its name and the hash of its bytes."""

    name: str
    sha256: str


class Port(_Record):
    """An input or output of the model.

    `shape` holds None where a size is unknown, and is None when the rank is.

    `batch_axis` is the axis along which samples are stacked, None where the model has none.
    `calibrated` are the least and the largest value of an input of floats in the samples that the
    plan was calibrated on, None where there is nothing of the kind.
    """

    name: str
    dtype: str
    shape: tuple[Whole | None, ...] | None
    quantization: Quantization | None
    batch_axis: Whole | None
    calibrated: tuple[float, float] | None = None


class Buffer(_Record):
    """A value and its place in memory.

    It takes the bytes [address, address + size_bytes) of `memory` from `first_step` to `last_step`.
    `first_step` is -1 for a model input, `last_step` the number of steps for a model output.
    `same_as` names the buffer that a view shares its bytes with ("" for none). A value whose size
    is unknown before it runs has no memory ("") and size 0.
    """

    name: str
    dtype: str
    shape: tuple[Whole | None, ...] | None
    quantization: Quantization | None
    memory: str
    address: Whole
    size_bytes: Whole
    first_step: Annotated[int, Field(ge=-1)]
    last_step: Annotated[int, Field(ge=-1)]
    live_from_ns: Amount
    live_to_ns: Amount
    same_as: str = ""


class Constant(_Record):
    """Data that a step reads and that is known beforehand.

    `offset` is the first byte in the weights payload; it is None when the data lies inside the
    step's own payload. On the chip it takes `size_bytes` of `memory` at `address`; cells of an
    analog array are packed there, and spread to an int8 image of the array tiles in the payload.
    """

    name: str
    dtype: str
    shape: Shape
    quantization: Quantization | None
    offset: Whole | None
    memory: str
    address: Whole
    size_bytes: Whole


class Energy(_Record):
    """Energy and its named parts; the parts add up to the total."""

    total: Estimate
    parts: dict[str, Estimate]


class PlanEnergy(Energy):
    """The energy of one inference, also by engine; the engines add up to the total too."""

    by_engine: dict[str, Estimate]


class Use(_Record):
    """How much of something is used, counted in `unit`.

    Cells of an analog array, lanes of a digital one, tiles or bytes of resident weights.
    """

    used: Whole
    total: Whole
    unit: str

    @property
    def share(self) -> float:
        """The used share, 0 of nothing."""
        return self.used / self.total if self.total else 0.0


class Step(_Record):
    """One piece of work on one engine.

    `inputs` name buffers or constants ("" is an optional one left out). A step with a `payload`
    runs that ONNX model on its inputs, by position (`payload_weights` holds its external data, ""
    where it has none); any other is the operation `op` of compiler.ir.ops with `attributes`.
    `operations` are the operations inside, `nodes` the nodes of the ONNX file it came from, both
    with the one first that takes the most energy. `not_modelled` says why its energy is not all
    counted, or is "".
    """

    index: Whole
    name: str
    op: str
    engine: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute]
    constants: tuple[Constant, ...]
    payload: PayloadName | Literal[""]
    payload_weights: PayloadName | Literal[""] = ""
    start_ns: Amount
    end_ns: Amount
    weight_load_ns: Amount
    energy_pj: Energy
    macs: Whole
    operations: tuple[str, ...]
    nodes: tuple[str, ...]
    latency_ns: Estimate
    mapping: NodeMapping
    weight_home: str
    utilization: Use | None
    divergence: float
    reason: str
    source: str
    not_modelled: str

    @property
    def resident(self) -> bool:
        """Whether the weights of a product stay in its engine between inferences."""
        return self.utilization is not None and self.mapping.resident

    @property
    def weight_slices(self) -> int:
        """The cells that hold a weight of a product side by side, 1 on digital engines; else 0."""
        return max(1, self.mapping.format.weight_slices) if self.utilization is not None else 0

    @property
    def mapping_words(self) -> str:
        """How a product lies on its arrays, in words; none for anything else."""
        return self.mapping.describe() if self.utilization is not None else ""


class Alternative(_Record):
    """Another engine or mapping that a node could have had, and what it would have cost.

    `reason` says why it was not chosen although it is better by itself, or why it cannot run. The
    margins are what it takes more than what was chosen (negative: less), in an interval that holds
    only what the two do not share; None where there is no such cost, or nobody said.
    """

    engine: str
    mapping: str
    energy_pj: float | None
    latency_ns: float | None
    divergence: float | None
    reason: str
    energy_margin_pj: Estimate | None = None
    latency_margin_ns: Estimate | None = None


class Part(_Record):
    """The part of a node that one engine does, and the steps that do it.

    `share` is of the node's MACs, or of its operations where it has no MACs.
    """

    engine: str
    share: Annotated[float, Field(ge=0, le=1)]
    steps: tuple[Whole, ...]


class Placement(_Record):
    """What became of one node of the ONNX file.

    placed: steps stand for it. fused: a step of another node does its work. folded: computed while
    compiling. removed: nothing reads it.
    """

    node: str
    fate: Literal["placed", "fused", "folded", "removed"]
    parts: tuple[Part, ...]
    reason: str
    mapping: NodeMapping | None
    divergence: float
    alternatives: tuple[Alternative, ...]


class Spill(_Record):
    """A value in a farther memory than its size asked for, as the nearer one was full."""

    buffer: str
    wanted: str
    got: str
    size_bytes: Whole


class Macs(_Record):
    """Multiply-accumulates of one inference, before and after compilation.

    `before` are those of the model as given (None when not known), `after` those of the plan.
    """

    before: Whole | None
    after: Whole
    by_engine: dict[str, Whole]


class Efficiency(_Record):
    """TOPS/W at one scope (one MAC is two operations), with the bit widths it holds for.

    None where that scope did no work.
    """

    value: Estimate | None
    scope: str
    at: str


class MemoryUse(_Record):
    """How much of a memory is used.

    The peak is that of activations and weights together; `weight_bytes` is the part of weights.
    """

    capacity_bytes: Whole
    peak_bytes: Whole
    weight_bytes: Whole


class Load(_Record):
    """Loading the resident weights, once before the first inference.

    Not part of an inference's energy or latency.
    """

    energy_pj: Estimate = ZERO
    latency_ns: Amount = 0.0


class PrunedSize(_Record):
    """A layer before or after pruning: `groups` of `rows` x `columns`, and what they cost.

    `mapping` is how they lie on the engine's arrays. The energy holds the weight load where that is
    paid in each inference.
    """

    groups: Whole
    rows: Whole
    columns: Whole
    macs: Whole
    mapping: NodeMapping
    energy_pj: Amount
    latency_ns: Amount


class PrunedLayer(_Record):
    """A layer that pruning made smaller.

    `before` is what it was, on the engine where it now runs.
    """

    node: str
    engine: str
    before: PrunedSize
    after: PrunedSize


class LowerBound(_Record):
    """What no plan can go below (compiler.bound): energy (pJ), with the weight load too, and time.

    The energy without the load is the sum of its four parts.
    """

    energy_pj: Amount
    energy_with_load_pj: Amount
    latency_ns: Amount
    work_pj: Amount
    activations_pj: Amount
    ports_pj: Amount
    static_pj: Amount


class PartitionResult(_Record):
    """How good the chosen assignment is.

    The objective is recomputed from the assignment; no other is better by more than `gap`. Energy
    (pJ) and serial latency (ns) are of the nodes and the changes of format between them.
    `divergence` is an estimate: the sum of what each chosen format does alone. `max_divergence` is
    None where there was no limit, and `raised_for_int8` where it is no user's: on made-up samples
    the default is raised to the sum of what int8 alone does.
    """

    objective: str
    energy_pj: Amount
    latency_ns: Amount
    divergence: float
    divergence_kind: str
    max_divergence: float | None
    gap: float
    raised_for_int8: bool = False


class OutputDivergence(_Record):
    """What the whole plan does to one output, by one of the formulas of compiler.cost.divergence.

    Of `labels` it is the share that differs. `left_out` counts the samples on which the model's own
    output is NaN or infinite: they are not measured.
    """

    name: str
    kind: Literal["KL", "relative squared error", "labels"]
    divergence: float
    left_out: Whole


class MeasuredDivergence(_Record):
    """What the compiled network does to the outputs of the model as given, measured on samples.

    All is in it: what import rounds, pruning, number formats. `divergence` is the largest over the
    `outputs`. The samples are `held_out` where calibration did not see them, and `made_up` where
    none were given.
    """

    divergence: float
    samples: Whole
    held_out: bool
    made_up: bool = False
    outputs: tuple[OutputDivergence, ...] = ()

    @property
    def on(self) -> str:
        """The samples in words, such as '64 held-out samples'."""
        kind = "made-up" if self.made_up else "held-out" if self.held_out else "calibration's own"
        return f"{self.samples:,} {kind} sample{'' if self.samples == 1 else 's'}"

    @property
    def worst(self) -> OutputDivergence | None:
        """The output that diverges most; None where the outputs were not recorded."""
        return max(self.outputs, key=lambda output: output.divergence, default=None)


class File(_Record):
    """A payload of the package."""

    sha256: Sha256
    size_bytes: Whole


class BuiltFrom(_Record):
    """What a plan was made from in addition to its `model` and `target`.

    It is enough to see whether compiling again would change nothing. `external` are the files the
    model keeps weights in, relative to its folder; their bytes are part of the model's hash. The
    others are hashes: of the calibration data ("" for none), of all options, of the compiler's
    source and the versions it ran on.
    """

    external: tuple[str, ...]
    data: Sha256 | Literal[""]
    options: Sha256
    joulec: Sha256


class Plan(_Record):
    """A compiled model.

    See the classes of its fields; energy and latency are of one inference of the shapes in
    `inputs`.

    `latency_ns` is when the last step ends, engines overlapping; `serial_latency_ns` is the sum of
    all steps. `engines` maps names to kinds. `resident` tells what the weights that stay take of
    each engine. `bound` and `partition` are what the partition pass reports. `assumed_energy_pj` is
    the part of the energy that rests on numbers of the chip file without a source (None: not
    known); `built_from` is None when nobody said. `divergence_total` is an estimate, the sum over
    the steps; `measured` is what the plan as a whole was found to do (None: it was not run).
    `samples` is how many samples an inference has: the size of its inputs along their batch axis,
    None where they have none.
    """

    schema_: Literal["joulec.plan/2"] = Field(alias="schema")
    hash: Sha256 | Literal[""]
    model: Named
    target: Named
    engines: dict[str, Literal["analog", "digital", "host"]]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    pipeline: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    placements: tuple[Placement, ...]
    energy_pj: PlanEnergy
    one_time_load: Load
    latency_ns: Estimate
    serial_latency_ns: Estimate
    memories: dict[str, MemoryUse]
    peak_bytes: dict[str, Whole]
    spills: tuple[Spill, ...]
    macs: Macs
    utilization: dict[str, Use]
    resident: dict[str, Use]
    tops_per_watt: dict[str, Efficiency]
    bound: LowerBound | None
    partition: PartitionResult | None
    measured: MeasuredDivergence | None
    divergence_total: float
    files: dict[PayloadName, File]
    not_modelled: tuple[str, ...]
    pruning: tuple[PrunedLayer, ...] = ()
    assumed_energy_pj: Amount | None = None
    built_from: BuiltFrom | None = None
    samples: Whole | None = None

    @property
    def divergence(self) -> float:
        """The divergence measured on the whole plan; where it was not run, the sum of estimates."""
        return self.measured.divergence if self.measured is not None else self.divergence_total
