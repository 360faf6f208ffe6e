"""Checks what must hold in a package, whoever made it.

Hashes, sums, the order of steps, places in memory, capacities, and a row for every node.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from compiler.errors import PackageError
from compiler.ir.mapping import AnalogMapping, DigitalMapping
from compiler.ir.ops import VIEWS
from compiler.plan.package import Package
from compiler.plan.schema import Buffer, Constant, Energy, Plan
from compiler.plan.views import samples_of
from compiler.units import ZERO, Estimate, total

RELATIVE_TOLERANCE = 1e-9

ITEM_BITS = {
    "bool": 8, "int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32,
    "int64": 64, "uint64": 64, "float16": 16, "bfloat16": 16, "float32": 32, "float64": 64,
    "int4": 4, "uint4": 4,
}  # fmt: skip


def check_package(package: Package) -> None:
    """Checks a package with its payloads.

    The plan's own hash is compared with its bytes where these are read
    (compiler.plan.canonical_json.parse_plan) and nowhere else.

    Raises: PackageError with the first thing that does not hold: P001 for damaged files, P002 for
    numbers that contradict each other.
    """
    plan = package.plan
    for name, file in plan.files.items():
        package.payload(name)
        if file.sha256[:16] not in name:
            raise PackageError(f"file {name} does not carry its hash")
    check_plan(plan)


def check_plan(plan: Plan) -> None:
    """Checks a plan alone: the part of `check_package` that needs no payloads."""
    _check_steps(plan)
    _check_times(plan)
    _check_mappings(plan)
    _check_files(plan)
    _check_energy(plan)
    _check_macs(plan)
    _check_buffers(plan)
    _check_constants(plan)
    _check_memory(plan)
    _check_placements(plan)


def _require(holds: bool, message: str) -> None:
    """Raises PackageError (P002) with the message where something does not hold."""
    if not holds:
        raise PackageError(message, code="P002")


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= RELATIVE_TOLERANCE * max(abs(one), abs(other), 1e-6)


def _same(one: Estimate, other: Estimate) -> bool:
    return (
        _close(one.value, other.value)
        and _close(one.low, other.low)
        and _close(one.high, other.high)
    )


def _check_steps(plan: Plan) -> None:
    """Steps are numbered in order, read only what is there, and make each value once."""
    buffers = {buffer.name for buffer in plan.buffers}
    _require(len(buffers) == len(plan.buffers), "two buffers have one name")
    made = {port.name for port in plan.inputs}
    _require(made <= buffers, "an input has no buffer")
    names: set[str] = set()
    for index, step in enumerate(plan.steps):
        where = f"step {index} ({step.name!r})"
        _require(step.index == index, f"{where} says it is step {step.index}")
        _require(step.name not in names, f"{where} has the name of another step")
        names.add(step.name)
        _require(step.engine in plan.engines, f"{where} runs on an unknown engine {step.engine!r}")
        constants = {constant.name for constant in step.constants}
        for name in step.inputs:
            there = not name or name in made or name in constants
            _require(there, f"{where} reads {name!r} before it is made")
        for name in filter(None, step.outputs):
            _require(name in buffers, f"{where} makes {name!r}, which has no buffer")
            _require(name not in made, f"{where} makes {name!r} a second time")
            made.add(name)
    for port in plan.outputs:
        _require(port.name in made, f"output {port.name!r} is never made")
    found = samples_of(plan.inputs)
    _require(
        plan.samples in (None, found),
        f"an inference has {plan.samples} samples where its inputs hold {found}",
    )


def _check_times(plan: Plan) -> None:
    """A step starts after its inputs are made; an engine does one step at a time, in order."""
    ready: dict[str, float] = {}
    free: dict[str, float] = {}
    for step in plan.steps:
        where = f"step {step.index} ({step.name!r})"
        _require(step.end_ns >= step.start_ns, f"{where} ends before it starts")
        earliest = max((ready.get(name, 0.0) for name in step.inputs), default=0.0)
        _require(step.start_ns >= earliest, f"{where} starts before its inputs are made")
        begins = free.get(step.engine, 0.0)
        _require(step.start_ns >= begins, f"{where} starts while {step.engine!r} is busy")
        _require(
            step.weight_load_ns <= step.latency_ns.value * (1 + RELATIVE_TOLERANCE) + 1e-6,
            f"{where} loads weights for longer than it runs",
        )
        _require(
            _close(step.start_ns + step.latency_ns.value, step.end_ns),
            f"{where} takes another time than lies between its start and its end",
        )
        free[step.engine] = step.end_ns
        ready.update(dict.fromkeys(step.outputs, step.end_ns))
    latest = max((step.end_ns for step in plan.steps), default=0.0)
    _require(_close(plan.latency_ns.value, latest), "the latency is not the end of the last step")
    serial = sum(step.latency_ns.value for step in plan.steps)
    close = abs(plan.serial_latency_ns.value - serial) <= 1e-6 * max(1.0, serial)
    _require(close, "the serial latency is not the sum of the steps")


def _check_mappings(plan: Plan) -> None:
    """A step is mapped onto its own engine, and what it uses is what its mapping says."""
    for step in plan.steps:
        where, mapping = f"step {step.index} ({step.name!r})", step.mapping
        _require(mapping.engine == step.engine, f"{where} is mapped onto another engine")
        kind = plan.engines.get(step.engine)
        _require(mapping.kind == kind, f"{where} has a mapping of another kind of engine")
        if isinstance(mapping, AnalogMapping):
            _require_sizes(mapping.sizes, where)
            used, whole = mapping.used_cells, mapping.array_cells
        elif isinstance(mapping, DigitalMapping) and mapping.tiling is not None:
            _require_sizes(mapping.tiling.sizes, where)
            used, whole = mapping.tiling.shape.macs, mapping.tiling.lane_steps
        else:
            continue
        use = step.utilization
        matches = use is None or (use.used, use.total) == (used, whole)
        _require(matches, f"{where} uses {use} where its mapping takes {used:,} of {whole:,}")


def _require_sizes(sizes: Mapping[str, int], where: str) -> None:
    for name, size in sizes.items():
        _require(size > 0, f"{where} has a mapping with {name} {size}")


def _check_files(plan: Plan) -> None:
    """Every file is used, every file used is there."""
    used = {step.payload for step in plan.steps} | {step.payload_weights for step in plan.steps}
    used.discard("")
    stored = [c for step in plan.steps for c in step.constants if c.offset is not None]
    weights = [name for name in plan.files if name.startswith("weights.")]
    _require(len(weights) == (1 if stored else 0), "there is not one weights file")
    _require(used | set(weights) == set(plan.files), "files and steps name different payloads")
    size_bytes = plan.files[weights[0]].size_bytes if weights else 0
    for constant in stored:
        bits = ITEM_BITS.get(constant.dtype, 0)
        end = (constant.offset or 0) + prod(constant.shape) * bits // 8
        _require(
            bits > 0 and end <= size_bytes,
            f"constant {constant.name!r} lies outside the weights file",
        )


def _check_energy(plan: Plan) -> None:
    """Requires that every energy is the sum of its parts.

    The plan's energy is the sum of its steps', in total, by part and by engine.
    """
    for step in plan.steps:
        _check_parts(step.energy_pj, f"step {step.index} ({step.name!r})")
    _check_parts(plan.energy_pj, "the plan")
    energies = [step.energy_pj for step in plan.steps]
    everything = total([energy.total for energy in energies])
    _require(_same(plan.energy_pj.total, everything), "the energy is not the sum of the steps")
    parts = {part for energy in energies for part in energy.parts} | set(plan.energy_pj.parts)
    for part in sorted(parts):
        found = total([energy.parts.get(part, ZERO) for energy in energies])
        stated = plan.energy_pj.parts.get(part, ZERO)
        _require(_same(stated, found), f"the energy of part {part!r} is not the sum of the steps")
    by_engine = plan.energy_pj.by_engine
    _require(set(by_engine) == set(plan.engines), "energy by engine does not name the engines")
    for name, stated in by_engine.items():
        found = total([step.energy_pj.total for step in plan.steps if step.engine == name])
        _require(_same(stated, found), f"the energy of engine {name!r} is not the sum of its steps")
    divergence = sum(step.divergence for step in plan.steps)
    _require(
        _close(plan.divergence_total, divergence), "the divergence is not the sum of the steps"
    )


def _check_parts(energy: Energy, where: str) -> None:
    parts = total([energy.parts[part] for part in sorted(energy.parts)])
    _require(_same(energy.total, parts), f"the energy of {where} is not the sum of its parts")
    _require(energy.total.low >= 0, f"the energy of {where} is negative")


def _check_macs(plan: Plan) -> None:
    found = dict.fromkeys(plan.engines, 0)
    for step in plan.steps:
        found[step.engine] += step.macs
    _require(plan.macs.by_engine == found, "the MACs by engine are not the sums of the steps")
    _require(plan.macs.after == sum(found.values()), "the MACs are not the sum of the steps")


def _check_buffers(plan: Plan) -> None:
    """Sizes follow from types, lives from the steps.

    Only a view shares the bytes of what it looks at.
    """
    owners = {buffer.name: buffer for buffer in plan.buffers}
    uses = _uses(plan)
    sources = {
        step.outputs[0]: owners.get(step.inputs[0])
        for step in plan.steps
        if step.op in VIEWS and not step.payload and step.inputs and step.outputs
    }
    for buffer in plan.buffers:
        where = f"buffer {buffer.name!r}"
        size = _size_bytes(buffer)
        _require(size is None or size == buffer.size_bytes, f"{where} has not the size of its type")
        _require(bool(buffer.memory) or not buffer.size_bytes, f"{where} has bytes and no memory")
        if buffer.same_as:
            source, root = sources.get(buffer.name), owners.get(buffer.same_as)
            true = source is not None and (source.same_as or source.name) == buffer.same_as
            _require(true, f"{where} is no view of {buffer.same_as!r}")
            assert root is not None
            _require(_place(root) == _place(buffer), f"{where} does not lie where its view says")
        if buffer.memory:
            first, last, start, end = uses[buffer.name]
            _require(
                buffer.first_step <= first
                and last <= buffer.last_step
                and buffer.live_from_ns <= start
                and end <= buffer.live_to_ns,
                f"{where} is used when it is not held",
            )


def _place(buffer: Buffer) -> tuple[object, ...]:
    return (
        buffer.memory, buffer.address, buffer.size_bytes, buffer.first_step, buffer.last_step,
        buffer.live_from_ns, buffer.live_to_ns,
    )  # fmt: skip


def _uses(plan: Plan) -> dict[str, tuple[int, int, float, float]]:
    """The first and last step that touch each value, and from when to when they run.

    Step -1 is before the first, the number of steps after the last. Scratch memory is touched by
    the step that it says.
    """
    steps = plan.steps
    uses: dict[str, tuple[int, int, float, float]] = {}
    for buffer in plan.buffers:
        owner = steps[buffer.first_step] if 0 <= buffer.first_step < len(steps) else None
        times = (owner.start_ns, owner.end_ns) if owner else (0.0, 0.0)
        uses[buffer.name] = (buffer.first_step, buffer.first_step, *times)
    for port in plan.inputs:
        uses[port.name] = (-1, -1, 0.0, 0.0)
    for step in steps:
        for name in filter(None, step.outputs):
            uses[name] = (step.index, step.index, step.start_ns, step.end_ns)
        for name in step.inputs:
            if name in uses:
                first, _, start, end = uses[name]
                uses[name] = (first, step.index, start, max(end, step.end_ns))
    for port in plan.outputs:
        first, _, start, _ = uses[port.name]
        uses[port.name] = (first, len(steps), start, plan.latency_ns.value)
    return uses


def _size_bytes(buffer: Buffer) -> int | None:
    """The bytes of a buffer's type; None where a size or the element type is not known."""
    if buffer.shape is None or None in buffer.shape or buffer.dtype not in ITEM_BITS:
        return None
    elements = prod(size for size in buffer.shape if size is not None)
    return (elements * ITEM_BITS[buffer.dtype] + 7) // 8


def _check_constants(plan: Plan) -> None:
    """A constant is the same wherever it is read."""
    seen: dict[str, tuple[object, ...]] = {}
    for step in plan.steps:
        for c in step.constants:
            record = (c.dtype, c.shape, c.memory, c.address, c.size_bytes)
            same = seen.setdefault(c.name, record) == record
            _require(same, f"constant {c.name!r} is not the same in two steps")


def _check_memory(plan: Plan) -> None:
    """Requires that everything lies inside its memory.

    Nothing may share bytes with anything else that is needed at the same time.
    """
    constants = {c.name: c for step in plan.steps for c in step.constants}
    things: list[Buffer | Constant] = [*constants.values(), *plan.buffers]
    for thing in things:
        if thing.memory or thing.size_bytes:
            known = plan.memories.get(thing.memory)
            end = thing.address + thing.size_bytes
            _require(
                known is not None, f"{thing.name!r} lies in an unknown memory {thing.memory!r}"
            )
            assert known is not None
            _require(
                end <= known.capacity_bytes,
                f"{thing.name!r} ends at byte {end:,} of {thing.memory!r}, "
                f"which holds {known.capacity_bytes:,}",
            )
    _require(set(plan.peak_bytes) == set(plan.memories), "peak bytes do not name the memories")
    for name, use in plan.memories.items():
        _check_one_memory(name, constants, plan)
        _require(plan.peak_bytes[name] == use.peak_bytes, f"the peak of {name!r} is told twice")
        within = use.weight_bytes <= use.peak_bytes <= use.capacity_bytes
        _require(within, f"the peak of {name!r} is not between its weights and its capacity")
    for name, resident in plan.resident.items():
        fits = resident.used <= resident.total
        share = f"{resident.used} of {resident.total} {resident.unit}"
        _require(fits, f"resident weights take {share} of engine {name!r}")


def _check_one_memory(name: str, constants: Mapping[str, Constant], plan: Plan) -> None:
    """Requires that no two things of a memory overlap in bytes while both are needed.

    They may overlap where one is done, in time and in order, before the other begins.
    """
    forever = float("inf")
    rows = [
        (c.address, c.address + c.size_bytes, -2, len(plan.steps) + 1, -1.0, forever)
        for c in constants.values()
        if c.memory == name and c.size_bytes
    ]
    names = [c.name for c in constants.values() if c.memory == name and c.size_bytes]
    for buffer in plan.buffers:
        if buffer.memory == name and not buffer.same_as and buffer.size_bytes:
            end = buffer.address + buffer.size_bytes
            steps = (buffer.first_step, buffer.last_step)
            rows.append((buffer.address, end, *steps, buffer.live_from_ns, buffer.live_to_ns))
            names.append(buffer.name)
    _require(
        max((row[1] for row in rows), default=0) <= plan.memories[name].peak_bytes,
        f"something lies above the peak of {name!r}",
    )
    table = np.array(rows, np.float64).reshape(-1, 6)
    low, high, first, last, start, end_ns = table.T
    for index in range(len(rows)):
        rest = slice(index + 1, None)
        bytes_shared = (low[rest] < high[index]) & (low[index] < high[rest])
        before = (last[rest] < first[index]) & (end_ns[rest] <= start[index])
        after = (last[index] < first[rest]) & (end_ns[index] <= start[rest])
        clash = np.flatnonzero(bytes_shared & ~before & ~after)
        if clash.size:
            other = names[index + 1 + int(clash[0])]
            _require(False, f"{names[index]!r} and {other!r} overlap in {name!r}")


def _check_placements(plan: Plan) -> None:
    """Each node has one row; rows and steps name each other."""
    rows = {row.node: row for row in plan.placements}
    _require(len(rows) == len(plan.placements), "a node is placed twice")
    for row in plan.placements:
        where = f"the placement of {row.node!r}"
        has_parts = row.fate in ("placed", "fused")
        _require(bool(row.parts) == has_parts, f"{where} is {row.fate} with {len(row.parts)} parts")
        for part in row.parts:
            for index in part.steps:
                _require(index < len(plan.steps), f"{where} names step {index}, which is not there")
                step = plan.steps[index]
                _require(step.engine == part.engine, f"{where} names an engine its step is not on")
                _require(
                    row.node in step.nodes, f"{where} names step {index}, which is not its own"
                )
        shares = sum(part.share for part in row.parts)
        _require(not row.parts or _close(shares, 1.0), f"the parts of {row.node!r} are not a whole")
    for step in plan.steps if plan.placements else ():
        for name in step.nodes:
            standing = name in rows and rows[name].fate in ("placed", "fused")
            _require(standing, f"step {step.index} comes from {name!r}, which is not placed")
