"""Writes a ZigZag accelerator as a chip file, as far as joulec has a place for it.

Each number comes with the file and key it is from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.errors import TargetError, one_line
from compiler.target.chip import parse_target
from compiler.zigzag.digital import digital_lines
from compiler.zigzag.hardware_yaml import Accelerator, Memory
from compiler.zigzag.in_memory import analog_lines, profile_lines, step_ns
from compiler.zigzag.source import BITS_PER_BYTE, Source, plain_name, toml_text

LIBRARY_HOST = (
    "[engines.host]\n"
    'kind = "host"\n'
    'cycle_pj = { component = "host_cycle" }\n'
    "cycles_per_mac = { value = 4, low = 1, high = 12, "
    'source = "assumption: load, load, multiply-add and loop on a scalar core with a float unit" '
    "}\n"
    "cycles_per_element = { value = 4, low = 2, high = 12, "
    'source = "assumption: load, operate, store and loop" }\n'
    "cycles_per_function = { value = 60, low = 20, high = 200, "
    'source = "assumption: exp, log, tanh and the like in software" }\n'
)


@dataclass(frozen=True)
class Imported:
    """A chip file as text, and a line for each thing it could not carry over or had to assume."""

    text: str
    notes: tuple[str, ...]


def imported(accelerator: Accelerator, file_name: str) -> Imported:
    """Writes the chip file of an accelerator.

    Raises TargetError where no sound chip comes of it.
    """
    source = Source(accelerator, one_line(file_name, 100))
    text = "\n".join(_lines(source)) + "\n" + LIBRARY_HOST
    try:
        parse_target(text.encode(), file_name)
    except TargetError as error:
        hint = "the file asks for more than a chip of joulec can have"
        raise TargetError(f"no sound chip: {error.message}", hint=hint) from error
    return Imported(text, tuple(source.notes))


def _lines(source: Source) -> Iterator[str]:
    """Writes the chip file but for its host."""
    _note_unknown(source)
    for name, memory in source.accelerator.memories.items():
        _note_memory(source, name, memory)
    name = plain_name(source.accelerator.name)
    engine = list(
        analog_lines(source) if source.array.imc_type == "analog" else digital_lines(source)
    )
    lost = list(source.notes)
    yield 'schema = "joulec.target/1"'
    yield f"name = {toml_text(name)}"
    origin = f"Imported from the ZigZag accelerator {source.accelerator.name} in {source.file}"
    yield f"description = {toml_text(origin)}"
    yield f"not_modelled = [{', '.join(toml_text(note) for note in lost)}]"
    if source.array.is_imc:
        yield source.number(
            "node_nm", 28, source.key("operational_array.is_imc: ZigZag has them at 28 nm")
        )
        yield source.number(
            "supply_v", 0.9, source.key("operational_array.is_imc: ZigZag runs them at 0.9 V")
        )
    else:
        why = "ZigZag states none; it enters the host only"
        yield source.number("node_nm", 28, f"assumption: {why}", exact=True)
        yield source.number("supply_v", 0.9, f"assumption: {why}", exact=True)
    yield _clock(source)
    yield source.number("static_mw", 0, "ZigZag counts no leakage and no clock")
    if source.array.is_imc:
        yield "\n[components]"
        yield from profile_lines(source)
    yield from _memories(source)
    yield from engine


def _note_unknown(source: Source) -> None:
    tables: dict[str, object] = {"": source.accelerator, "operational_array.": source.array}
    tables |= {f"memories.{name}.": memory for name, memory in source.accelerator.memories.items()}
    for path, table in tables.items():
        for key in getattr(table, "unknown", []):
            source.note(f"{path}{key}: not known")
    for path in source.accelerator.given_twice:
        source.note(f"{path}: given twice; the last one counts")
    if source.array.unit_area is not None:
        source.note("operational_array.unit_area: joulec has no areas")
    if source.array.systolic_dimensions:
        source.note("operational_array.systolic_dimensions: filling and draining take no time")


def _note_memory(source: Source, name: str, memory: Memory) -> None:
    path = f"memories.{name}"
    both = set(memory.operands) >= {"I1", "O"}
    if source.is_shared(memory) and not both and memory.operands != ("I2",):
        held = " and ".join(memory.operands)
        source.note(f"{path}: it holds {held} alone; joulec's memories hold inputs and outputs")
    if memory.area:
        source.note(f"{path}.area: joulec has no areas")
    if memory.latency is not None and memory.latency > 1:
        source.note(f"{path}.latency {memory.latency}: an access takes no time beside its transfer")
    if memory.force_double_buffering:
        source.note(f"{path}.force_double_buffering: joulec overlaps transfers and work anyway")
    if any(port.bandwidth_min < port.bandwidth_max for port in memory.ports):
        source.note(f"{path}.bandwidth_min: bytes cost the same however few are moved at once")
    if len({port.bandwidth_max for port in memory.ports}) > 1:
        source.note(f"{path}.ports: of different widths; the widest that reads sets the time")


def _memories(source: Source) -> Iterator[str]:
    source.nearest("I1", "O")
    for name, memory in source.accelerator.memories.items():
        if not set(memory.operands) >= {"I1", "O"}:
            continue
        yield f"\n[memories.{plain_name(name)}]"
        yield source.whole(
            "capacity_bytes",
            max(1, memory.size // BITS_PER_BYTE),
            f"memories.{name}.size {memory.size} bits",
        )
        yield source.cost("read_pj_per_byte", name, "read")
        yield source.cost("write_pj_per_byte", name, "write")
        bits = memory.port_bits("read")
        yield source.number(
            "bytes_per_cycle",
            bits / BITS_PER_BYTE,
            source.key(f"memories.{name}.ports: {bits} bits"),
        )


def _clock(source: Source) -> str:
    if source.array.is_imc:
        return source.number(
            "clock_mhz",
            1000 / step_ns(source),
            "derived: a step of the array is ZigZag's cycle",
        )
    source.note("ZigZag counts cycles: the clock is an assumption, 500 MHz")
    origin = "assumption: ZigZag counts cycles"
    return f'clock_mhz = {{ value = 500, low = 100, high = 1000, source = "{origin}" }}'
