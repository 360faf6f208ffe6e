"""Writes ZigZag's digital arrays as engines of a chip file.

They are multipliers with the registers around them, or digital in-memory arrays.

ZigZag leaves to the mapping file which loop runs along which dimension; here it is read off the
registers: a dimension that shares one output register sums (rows), one that shares an input
register holds outputs (columns), one that shares a weight register holds positions. What is left
over is columns first; then rows where weights stay at the multipliers, positions where they do not;
then further arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from compiler.zigzag.hardware_yaml import Memory
from compiler.zigzag.in_memory import Roles, in_memory_roles, step_bits, step_count
from compiler.zigzag.source import BITS_PER_BYTE, Source, toml_text


def digital_lines(source: Source) -> Iterator[str]:
    """Writes the digital engine."""
    store = _weight_memory(source)
    local = source.registers("I2")
    is_imc = source.array.is_imc
    in_memory = is_imc or (store is None and bool(local))
    roles = in_memory_roles(source) if is_imc else _roles(source, in_memory)
    yield "\n[engines.digital]"
    yield 'kind = "digital"'
    yield "\n[engines.digital.array]"
    where = f"operational_array.sizes {list(source.array.sizes)}"
    for key, size in (
        ("arrays", roles.arrays),
        ("rows", roles.rows),
        ("columns", roles.columns),
        ("positions", roles.positions),
    ):
        if size > 1 or key == "columns":
            yield source.whole(key, size, where)
    yield from _steps_lines(source)
    if is_imc and store is not None:
        source.note(
            f"memories.{store[0]}: weights come to the array from the memory after the nearest"
        )
    if in_memory:
        yield source.statement(
            "holds_weights",
            True,
            f"memories.{next(iter(local), '')}" if local else "operational_array.is_imc",
        )
    yield from _weights(source, None if is_imc else store, roles, in_memory)
    _, nearest = source.nearest("I1", "O")
    width = max(1, nearest.port_bits("read") // BITS_PER_BYTE)
    yield source.whole(
        "activation_bytes_per_cycle",
        width,
        "the width of the nearest memory for inputs and outputs",
    )
    yield from _mac_energy(source, roles, store is not None)
    yield ""


def _steps_lines(source: Source) -> Iterator[str]:
    if not source.array.is_imc:
        return
    steps = step_count(source)
    if steps > 1:
        yield source.whole(
            "cycles_per_step",
            steps,
            f"operational_array.bit_serial_precision {source.array.bit_serial_precision:g} of "
            f"{source.array.input_precision[0]}",
        )


def _weight_memory(source: Source) -> tuple[str, Memory] | None:
    """Finds the largest shared memory for weights alone, where there is one."""
    found = {
        name: memory
        for name, memory in source.accelerator.memories.items()
        if memory.operands == ("I2",) and source.is_shared(memory)
    }
    if not found:
        return None
    name = max(found, key=lambda each: found[each].size)
    for other in found:
        if other != name:
            source.note(f"memories.{other}: a nearer memory for weights; {name} stands for both")
    return name, found[name]


def _roles(source: Source, holds_weights: bool) -> Roles:
    extents = source.array.extents
    sums = {d for m in source.registers("O").values() for d in m.served_dimensions}
    holds = {d for m in source.registers("I1").values() for d in m.served_dimensions} - sums
    places = (
        {d for m in source.registers("I2").values() for d in m.served_dimensions} - sums - holds
    )
    rest = [name for name in extents if name not in sums | holds | places]
    if not holds and rest:
        holds = {rest.pop(0)}
    if rest and holds_weights and not sums:
        sums = {rest.pop(0)}
    elif rest and not holds_weights and not places:
        places = {rest.pop(0)}
    roles = {
        "rows (summed)": sums,
        "columns (outputs)": holds,
        "positions": places,
        "arrays": set(rest),
    }
    for role, names in roles.items():
        if names:
            source.note(
                f"operational_array.dimensions: {', '.join(sorted(names))} taken as {role}; "
                "ZigZag leaves that to the mapping"
            )
    sizes = [prod(extents[name] for name in names) for names in roles.values()]
    return Roles(*sizes)


def _weights(
    source: Source, store: tuple[str, Memory] | None, roles: Roles, in_memory: bool
) -> Iterator[str]:
    """Writes where the engine holds its weights, and what reading and writing them takes."""
    local = source.registers("I2")
    if store is not None:
        name, memory = store
        count = 1
    elif local:
        name, memory = next(iter(local.items()))
        count = max(1, roles.rows * roles.columns * roles.arrays)
        for other in list(local)[1:]:
            source.note(f"memories.{other}: a second register for weights")
    else:
        name, memory = source.nearest("I2")
        count = 1
        source.note(f"memories.{name}: weights are read from it for every use")
    size = max(1, memory.size * count // BITS_PER_BYTE)
    yield source.whole(
        "weight_memory_bytes", size, f"memories.{name}.size {memory.size} bits, {count} of them"
    )
    width = max(1, memory.port_bits("write") * count // BITS_PER_BYTE)
    yield source.whole(
        "weight_load_bytes_per_cycle", width, f"memories.{name}.ports, {count} of them"
    )
    if not in_memory:
        yield source.cost("weight_read_pj_per_byte", name, "read")
    yield source.cost("weight_write_pj_per_byte", name, "write")


def _mac_energy(source: Source, roles: Roles, reads_registers: bool) -> Iterator[str]:
    """Writes the energy of the multiplier with the reads of its operands' registers.

    The registers of outputs are counted under accumulate_pj.
    """
    if source.array.is_imc:
        inputs, weights = source.array.input_precision
        bits = f"weight_bits = {weights}, input_bits = {inputs}"
        step = f"input_bits_per_step = {step_bits(source):g}"
        origin = f"source = {toml_text(source.key('operational_array'))}"
        size = f"rows = {roles.rows}, outputs = {roles.columns}"
        yield f'mac_pj = {{ component = "digital_array_mac", {size}, {bits}, {origin} }}'
        component = f'component = "digital_array_accumulate", rows = {roles.rows}, {bits}, {step}'
        yield f"accumulate_pj = {{ {component}, {origin} }}"
        yield f'idle_lane_pj = {{ component = "digital_array_idle_lane", {bits}, {origin} }}'
        return
    unit = source.array.unit_energy or 0.0
    read = {"I1": source.registers("I1"), "I2": source.registers("I2") if reads_registers else {}}
    known = {
        name: source.access_pj(name, "read") * BITS_PER_BYTE / memory.port_bits("read")
        for group in read.values()
        for name, memory in group.items()
        if not memory.served_dimensions
    }
    for group in read.values():
        for name, memory in group.items():
            if memory.served_dimensions:
                source.note(
                    f"memories.{name}: a register that several multipliers share is not charged"
                )
    keys = " + ".join(
        ["operational_array.unit_energy", *(f"memories.{name}.r_cost" for name in known)]
    )
    energy = unit + sum(known.values())
    origin = source.key(f"{keys} (low: no register is read)" if known else keys)
    ends = f"low = {unit!r}, high = {energy!r}"
    yield f"mac_pj = {{ value = {energy!r}, {ends}, source = {toml_text(origin)} }}"
    outputs = source.registers("O")
    if outputs:
        cost = sum(source.access_pj(n, "read") + source.access_pj(n, "write") for n in outputs)
        keys = " + ".join(f"memories.{name}.r_cost + w_cost" for name in outputs)
        yield source.number("accumulate_pj", cost, source.key(keys))
