"""Lowers a placed graph to a plan package.

Forms drafts of steps, schedules and allocates them, writes the steps, adds up energy and time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from backends.lowering import accounts
from backends.lowering.form_steps import StepDraft, form_steps, mapping_of
from backends.lowering.latency import latencies
from backends.lowering.layout import Layout, schedule_and_allocate
from backends.lowering.memory import ALIGNMENT
from backends.lowering.placements import placements
from compiler.cost.node import unmodelled
from compiler.errors import Diagnostic
from compiler.ir.graph import Graph, Node, Quant, TensorType
from compiler.ir.mapping import AnalogMapping, HostMapping
from compiler.ir.ops import macs, operation_name
from compiler.plan.package import Package, host_model_name, host_weights_name, seal, weights_name
from compiler.plan.schema import (
    SCHEMA,
    Attribute,
    Buffer,
    BuiltFrom,
    Constant,
    LowerBound,
    MeasuredDivergence,
    MemoryUse,
    Named,
    PartitionResult,
    Plan,
    Port,
    PrunedLayer,
    Quantization,
    Spill,
    Step,
)
from compiler.plan.views import samples_of
from compiler.storage.payload import Payload
from compiler.target.chip import Target
from compiler.units import Estimate


def lower(
    graph: Graph,
    target: Target,
    *,
    model_name: str,
    model_sha256: str,
    pipeline: Sequence[str] = (),
    diagnostics: Sequence[Diagnostic] = (),
    partition: PartitionResult | None = None,
    measured: MeasuredDivergence | None = None,
    bound: LowerBound | None = None,
    macs_before: int | None = None,
    pruning: Sequence[PrunedLayer] = (),
    built_from: BuiltFrom | None = None,
    calibrated: Mapping[str, tuple[float, float]] | None = None,
) -> Package:
    """The plan of a placed graph, with its payloads.

    `pipeline` are the passes that ran, `macs_before` the model's MACs as given; `partition`,
    `bound`, `pruning` and `built_from` are passed through, and `calibrated`, the ranges of inputs.
    Raises CapacityError when the model does not fit the memories of the target.
    """
    drafts = form_steps(graph, target)
    layout = schedule_and_allocate(drafts, graph, target)
    times = latencies(drafts, layout)
    weights, offsets = _weights(drafts, graph)
    payloads: dict[str, Payload] = {}
    for draft in drafts:
        if draft.model:
            payloads[_model_name(draft)] = draft.model_payload
        if draft.weights is not None:
            payloads[host_weights_name(draft.weights)] = draft.weights
    if weights.size_bytes:
        payloads[weights_name(weights)] = weights
    steps = tuple(
        _step(index, draft, graph, target, layout, times.steps[index], offsets)
        for index, draft in enumerate(drafts)
    )
    energy = accounts.plan_energy(steps, target)
    memories = _memories(layout, target)
    inputs = tuple(_port(name, graph, calibrated or {}) for name in graph.inputs)
    plan = Plan(
        schema=SCHEMA,
        hash="",
        model=Named(name=model_name, sha256=model_sha256),
        target=Named(name=target.name, sha256=target.sha256),
        engines={name: unit.kind for name, unit in target.chip.engines.items()},
        inputs=inputs,
        outputs=tuple(_port(name, graph, {}) for name in graph.outputs),
        pipeline=tuple(pipeline),
        diagnostics=tuple(diagnostics),
        steps=steps,
        buffers=_buffers(drafts, graph, layout),
        placements=placements(drafts, graph),
        energy_pj=energy,
        one_time_load=accounts.one_time_load(drafts, layout.loads),
        latency_ns=times.plan,
        serial_latency_ns=times.serial,
        memories=memories,
        peak_bytes={name: use.peak_bytes for name, use in memories.items()},
        spills=_spills(layout),
        macs=accounts.macs_of(steps, list(target.chip.engines), macs_before),
        utilization=accounts.utilization(steps),
        resident=accounts.resident_use(drafts, target),
        tops_per_watt=accounts.efficiency(steps, energy, target),
        bound=bound,
        partition=partition,
        measured=measured,
        divergence_total=sum(step.divergence for step in steps),
        files={},
        not_modelled=_not_modelled(steps, target),
        pruning=tuple(pruning),
        assumed_energy_pj=accounts.assumed_energy_pj(layout.costs),
        built_from=built_from,
        samples=samples_of(inputs),
    )
    return seal(plan, payloads)


def _weights(drafts: Sequence[StepDraft], graph: Graph) -> tuple[Payload, dict[str, int]]:
    """The weights payload, and where in it each constant starts."""
    names = tuple(dict.fromkeys(name for draft in drafts for name in draft.stored))
    data = Payload.laid_out((graph.constants[name] for name in names), ALIGNMENT)
    return data, dict(zip(names, (start for start, _ in data.pieces), strict=True))


def _model_name(draft: StepDraft) -> str:
    return host_model_name(draft.model_payload) if draft.model else ""


def _step(
    index: int,
    draft: StepDraft,
    graph: Graph,
    target: Target,
    layout: Layout,
    latency_ns: Estimate,
    offsets: Mapping[str, int],
) -> Step:
    main, cost = draft.main, layout.costs[index]
    mapping = mapping_of(main) if main is not None else HostMapping(engine=draft.engine)
    utilization = accounts.use_of(draft)
    pays_load = utilization is not None and not mapping.resident
    return Step(
        index=index,
        name=draft.name,
        op=draft.op,
        engine=draft.engine,
        inputs=draft.inputs,
        outputs=draft.outputs,
        attributes=_attributes(draft, target),
        constants=_constants(draft, graph, layout, offsets),
        payload=_model_name(draft),
        payload_weights=host_weights_name(draft.weights) if draft.weights is not None else "",
        start_ns=layout.times.starts_ns[index],
        end_ns=layout.times.ends_ns[index],
        weight_load_ns=layout.loads[index].latency_ns if pays_load else 0.0,
        energy_pj=accounts.energy_of(cost),
        macs=sum(macs(node, graph) for node in draft.nodes),
        operations=tuple(operation_name(node) for node in draft.main_first),
        nodes=tuple(dict.fromkeys(name for node in draft.main_first for name in node.origin)),
        latency_ns=latency_ns,
        mapping=mapping,
        weight_home=layout.constant_places[main.inputs[1]].memory if main and utilization else "",
        utilization=utilization,
        divergence=sum(node.placement.divergence for node in draft.nodes if node.placement),
        reason=_reason(draft.main_first),
        source="; ".join(dict.fromkeys(node.source for node in draft.nodes if node.source)),
        not_modelled=next((why for node in draft.nodes if (why := unmodelled(node, graph))), ""),
    )


def _attributes(draft: StepDraft, target: Target) -> dict[str, Attribute]:
    """What the arithmetic needs; the noise of an analog step's converters is the chip's."""
    attributes = dict(draft.attributes)
    unit = target.analog_engines.get(draft.engine)
    if draft.op == "AnalogProduct" and unit is not None:
        attributes["noise_lsb"] = unit.converter_noise_lsb.value
        mapping = mapping_of(draft.main) if draft.main is not None else None
        if isinstance(mapping, AnalogMapping) and mapping.unroll.outputs > 1:
            attributes["pixels"] = mapping.unroll.outputs
    return attributes


def _reason(nodes: Sequence[Node]) -> str:
    """Says why the nodes run where they do: the reason they share, or the first of several."""
    reasons = list(dict.fromkeys(node.placement.reason for node in nodes if node.placement))
    if len(reasons) > 1:
        more = f"{len(reasons) - 1} more reason{'s' if len(reasons) > 2 else ''}"
        return f"{reasons[0]} (and {more} for its {len(nodes)} nodes)"
    return reasons[0] if reasons else "constants are handed out by the host"


def _constants(
    draft: StepDraft, graph: Graph, layout: Layout, offsets: Mapping[str, int]
) -> tuple[Constant, ...]:
    def constant(name: str, kind: TensorType, offset: int | None) -> Constant:
        place = layout.constant_places[name]
        return Constant(
            name=name,
            dtype=kind.dtype,
            shape=kind.sizes,
            quantization=_quantization(kind.quant),
            offset=offset,
            memory=place.memory,
            address=place.address,
            size_bytes=layout.constant_bytes[name],
        )

    found = [constant(name, graph.types[name], offsets[name]) for name in draft.stored]
    found += [constant(name, graph.types[name], None) for name in draft.inside]
    if draft.op == "Segment":
        kind = TensorType("uint8", (len(draft.model),))
        found.append(constant(draft.model_constant, kind, None))
    return tuple(found)


def _quantization(quant: Quant | None) -> Quantization | None:
    if quant is None:
        return None
    return Quantization(
        bits=quant.bits,
        signed=quant.signed,
        scale=quant.scale,
        zero_point=quant.zero_point,
        axis=quant.axis,
    )


def _port(name: str, graph: Graph, calibrated: Mapping[str, tuple[float, float]]) -> Port:
    kind = graph.types[name]
    return Port(
        name=name,
        dtype=kind.dtype,
        shape=kind.shape,
        quantization=_quantization(kind.quant),
        batch_axis=graph.batch_axes.get(name),
        calibrated=calibrated.get(name),
    )


def _buffers(drafts: Sequence[StepDraft], graph: Graph, layout: Layout) -> tuple[Buffer, ...]:
    """Lists the values that steps exchange, in the order of their making.

    The scratch memory of a host segment follows the values that the segment makes.
    """
    position = {name: i for i, draft in enumerate(drafts) for name in draft.outputs}
    buffers = [_buffer(name, -1, graph, layout) for name in graph.inputs]
    for index, draft in enumerate(drafts):
        names = [name for name in draft.outputs if name]
        buffers += [_buffer(name, position[name], graph, layout) for name in names]
        if draft.scratch_buffer in layout.lives:
            size_bytes = layout.lives[draft.scratch_buffer].size_bytes
            kind = TensorType("uint8", (size_bytes,))
            buffers.append(_buffer(draft.scratch_buffer, index, graph, layout, kind))
    return tuple(buffers)


def _buffer(
    name: str, made_by: int, graph: Graph, layout: Layout, kind: TensorType | None = None
) -> Buffer:
    kind = kind or graph.types[name]
    root = layout.roots.get(name, name)
    live, place = layout.lives.get(root), layout.places.get(root)
    return Buffer(
        name=name,
        dtype=kind.dtype,
        shape=kind.shape,
        quantization=_quantization(kind.quant),
        memory=place.memory if place else "",
        address=place.address if place else 0,
        size_bytes=live.size_bytes if live else 0,
        first_step=live.first_step if live else made_by,
        last_step=live.last_step if live else made_by,
        live_from_ns=live.from_ns if live else 0.0,
        live_to_ns=live.to_ns if live else 0.0,
        same_as=root if root != name else "",
    )


def _memories(layout: Layout, target: Target) -> dict[str, MemoryUse]:
    tops = dict(layout.weight_bytes)
    for name, place in layout.places.items():
        tops[place.memory] = max(tops[place.memory], place.address + layout.lives[name].size_bytes)
    return {
        name: MemoryUse(
            capacity_bytes=memory.capacity_bytes.value,
            peak_bytes=tops[name],
            weight_bytes=layout.weight_bytes[name],
        )
        for name, memory in target.memories.items()
    }


def _spills(layout: Layout) -> tuple[Spill, ...]:
    return tuple(
        Spill(
            buffer=name,
            wanted=layout.homes[name],
            got=place.memory,
            size_bytes=layout.lives[name].size_bytes,
        )
        for name, place in sorted(layout.places.items())
        if place.memory != layout.homes[name]
    )


def _not_modelled(steps: Sequence[Step], target: Target) -> tuple[str, ...]:
    """What the chip file leaves out, then what the steps leave out, each said once."""
    said = [f"{step.name}: {step.not_modelled}" for step in steps if step.not_modelled]
    return (*target.chip.not_modelled, *said)
