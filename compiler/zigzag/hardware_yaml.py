"""Reads a ZigZag accelerator, a YAML file of memories and an operational array, and checks it.

Nothing in the file is run: only plain values are read, aliases are refused (a few lines of them can
unfold to gigabytes), and file size, depth and every number have a limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from compiler.errors import TargetError, UsageError, one_line
from compiler.storage.files import open_regular
from compiler.storage.mistaken import why_mistaken, why_unreadable

MAX_FILE_BYTES = 1 << 16
MAX_DEPTH = 20
MAX_MEMORIES = 64

Operand = Literal["I1", "I2", "O"]
Dimension = Annotated[str, Field(pattern=r"^D\d$")]
Cost = Annotated[float, Field(ge=0, le=1e12)]
Bits = Annotated[int, Field(ge=1, le=1 << 50)]
Text = Annotated[str, Field(max_length=100)]


class _Part(BaseModel):
    """A table of the file; keys that are not known are held in `unknown`, to be reported."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    @property
    def unknown(self) -> list[str]:
        """The keys that ZigZag's own reader would not take."""
        return list(self.model_extra or {})


class Port(_Part):
    """One port of a memory; `bandwidth_max` is the width in bits that one access moves."""

    name: Text = ""
    type: Literal["read", "write", "read_write"]
    bandwidth_min: Bits
    bandwidth_max: Bits
    allocation: tuple[Text, ...] = ()


class Memory(_Part):
    """One memory; `size` is in bits.

    The costs are those of one access of full width, in pJ by convention.
    """

    size: Bits
    r_cost: Cost | None = None
    w_cost: Cost | None = None
    area: Cost | None = None
    latency: int | None = None
    mem_type: Literal["sram", "dram", "rf"] = "sram"
    auto_cost_extraction: bool = False
    force_double_buffering: bool = False
    operands: Annotated[tuple[Operand, ...], Field(min_length=1)]
    ports: Annotated[tuple[Port, ...], Field(min_length=1, max_length=32)]
    served_dimensions: tuple[Dimension, ...]

    @model_validator(mode="after")
    def _check_costs(self) -> Memory:
        if not self.auto_cost_extraction and (self.r_cost is None or self.w_cost is None):
            raise ValueError("r_cost and w_cost: wanted, as auto_cost_extraction is not true")
        if not self.port_bits("read") or not self.port_bits("write"):
            raise ValueError("ports: wanted one that reads and one that writes")
        return self

    def port_bits(self, direction: Literal["read", "write"]) -> int:
        """Returns the width of its widest port of that direction, 0 where there is none."""
        return max((p.bandwidth_max for p in self.ports if direction in p.type), default=0)


class Array(_Part):
    """The operational array: multipliers along dimensions, or an in-memory-computing array."""

    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1, max_length=9)]
    sizes: tuple[Annotated[int, Field(ge=1, le=1 << 24)], ...]
    is_imc: bool = False
    imc_type: Literal["analog", "digital"] | None = None
    input_precision: tuple[Annotated[int, Field(ge=1, le=32)], ...] = (8, 8)
    bit_serial_precision: Annotated[float, Field(ge=1, le=32)] | None = None
    adc_resolution: Annotated[float, Field(ge=0, le=16)] | None = None
    unit_energy: Cost | None = None
    unit_area: Cost | None = None
    systolic_dimensions: tuple[Dimension, ...] = ()

    @model_validator(mode="after")
    def _check_kind(self) -> Array:
        if len(self.sizes) != len(self.dimensions):
            count = len(self.dimensions)
            raise ValueError(f"sizes: {len(self.sizes)} of them for {count} dimensions")
        if len(set(self.dimensions)) != len(self.dimensions):
            raise ValueError("dimensions: one is there twice")
        if len(self.input_precision) != 2:
            raise ValueError("input_precision: wanted two, of inputs and of weights")
        if not self.is_imc and self.unit_energy is None:
            raise ValueError("unit_energy: wanted, as is_imc is not true")
        if self.is_imc and (self.imc_type is None or self.bit_serial_precision is None):
            raise ValueError("imc_type and bit_serial_precision: wanted, as is_imc is true")
        if self.imc_type == "analog" and not self.adc_resolution:
            raise ValueError("adc_resolution: wanted, as imc_type is analog")
        if self.is_imc and len(self.dimensions) < 2:
            raise ValueError("dimensions: an in-memory array has at least two")
        return self

    @property
    def extents(self) -> dict[str, int]:
        """The size along each dimension, by name."""
        return dict(sorted(zip(self.dimensions, self.sizes, strict=True)))


class Accelerator(_Part):
    """A whole file; the first memory is the nearest to the array."""

    name: Text
    memories: Annotated[dict[Text, Memory], Field(min_length=1, max_length=MAX_MEMORIES)]
    array: Array = Field(validation_alias=AliasChoices("operational_array"))
    # Keys that stand twice in one table, by path; the last one counts, as for ZigZag itself.
    given_twice: tuple[str, ...] = ()


def read_accelerator(path: Path) -> Accelerator:
    """Reads the accelerator of a file.

    Raises UsageError (U001) where it cannot be read, TargetError naming every fault by key path.
    """
    shown = one_line(str(path))
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = why_mistaken(path, "a YAML file of hardware") or why_unreadable(error)
        raise UsageError(f"{shown!r}: {reason}", code="U001") from error
    if mistaken := why_mistaken(path, "a YAML file of hardware"):
        raise TargetError(mistaken)
    if len(data) > MAX_FILE_BYTES:
        raise TargetError(f"{shown!r}: larger than {MAX_FILE_BYTES:,} bytes")
    return parse_accelerator(data, shown)


def parse_accelerator(data: bytes, shown: str) -> Accelerator:
    """Parses the accelerator of a file's bytes; raises TargetError."""
    table, twice = _plain_values(data, shown)
    try:
        return Accelerator.model_validate(table).model_copy(update={"given_twice": twice})
    except ValidationError as error:
        hint = "wanted is a hardware description as zigzag-dse 3 takes it"
        raise TargetError(f"{shown!r}: {'; '.join(_faults(error))}", hint=hint) from error


def _plain_values(data: bytes, shown: str) -> tuple[Any, tuple[str, ...]]:
    """Parses the YAML as plain values, and finds the keys that stand twice in a table.

    Plain values are dicts, lists, texts and numbers.
    """
    import yaml

    try:
        text = data.decode("utf-8")
        depth = 0
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1
                raise TargetError(f"{shown!r}: line {line} holds an alias, which is not taken")
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise TargetError(f"{shown!r}: nested deeper than {MAX_DEPTH}")
        return yaml.safe_load(text), tuple(_given_twice(yaml.compose(text, yaml.SafeLoader), ""))
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # A UnicodeDecodeError is a ValueError, and so is a date or a number that Python cannot
        # hold.
        raise TargetError(f"{shown!r}: not plain YAML: {one_line(_problem(error), 200)}") from error


def _problem(error: Exception) -> str:
    """Words what is wrong and where, without PyYAML's drawing of the line."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    if problem is None or mark is None:
        return str(error)
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}"


def _given_twice(node: Any, path: str) -> Iterator[str]:
    """Finds every key that stands twice in one table of a composed YAML document."""
    if node is None or node.id == "scalar":
        return
    if node.id == "sequence":
        for index, item in enumerate(node.value):
            yield from _given_twice(item, f"{path}{index}.")
        return
    seen = set()
    for key, value in node.value:
        name = str(key.value)[:100]
        if name in seen:
            yield f"{path}{name}"
        seen.add(name)
        yield from _given_twice(value, f"{path}{name}.")


def _faults(error: ValidationError) -> list[str]:
    found = error.errors()
    lines = []
    for item in found[:10]:
        words = (".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, "))
        lines.append(one_line(": ".join(word for word in words if word)))
    return lines + ([f"and {len(found) - 10} more"] if len(found) > 10 else [])
