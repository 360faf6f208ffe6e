"""Reads a chip from one TOML file: its engines, memories and numbers with their sources.

Types are strict: unknown keys and missing keys are refused.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from math import ceil
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from compiler.errors import TargetError, nearest, one_line
from compiler.storage.files import open_regular
from compiler.target.components import with_components
from compiler.target.digital import Digital
from compiler.target.link import Link, why_not_links
from compiler.target.published import Published
from compiler.target.quantity import Quantity, Rate, Statement, Strict, Whole
from compiler.units import TracedEstimate

SCHEMA = "joulec.target/1"
MAX_FILE_BYTES = 1 << 20
_TOO_DEEP = re.compile(rb"^[^\"'#=\n]*?(\.[^\"'#=.\n]*){64}", re.MULTILINE)
# A signed input of one bit has no positive value; the rest keeps powers of these within what numpy
# computes with.
CELL_LEVELS = frozenset((*(1 << bits for bits in range(1, 8)), *range(3, 256, 2)))
# A whole array is written out cell by cell, a byte each: 256 MiB at most.
ANALOG_LIMITS = (
    ("rows", 1, 1 << 14), ("columns", 1, 1 << 14), ("input_bits", 2, 16), ("converter_bits", 1, 32),
    ("max_digits", 1, 32),
)  # fmt: skip


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class PixelUnroll(Strict):
    """Several neighbouring outputs of a line in one activation.

    Their number is 1, 2, 4 and so on up to `most`; each has a copy of the weights. Rows are wired
    in blocks of channels: a convolution of fewer than `least_channels` takes the rows of so many.
    """

    most: Whole
    least_channels: Whole


class OdimoCycles(Strict):
    """Time counted as ODiMO counts it (compiler.cost.odimo).

    An activation takes `channels_per_activation` input channels; a load writes the rows that the
    layer needs, or all of them where `loads_all_rows`.
    """

    channels_per_activation: Whole
    loads_all_rows: Statement


class Analog(Strict):
    """An analog in-memory engine: arrays of cells, row drivers and converters.

    A digital part recombines the converters' codes. A weight is held as digits of `cell_levels`
    levels (odd: balanced digits; a power of two: two's complement in that base), one cell column a
    digit. Inputs drive the rows with all their bits at once, or `input_bits_per_step` in each step,
    least significant first; `step_ns` and the energies of drivers, cells and converters are those
    of one step. `cell_pj` is that of a cell with its bitline, in driven rows and converted columns;
    where `bitline_pj` gives the bitline separately, charges follow the wires: every cell of a
    driven row, and the bitline of a converted column over all rows of the array. `active_mw` is
    power that the engine takes while it works, beside those.
    """

    kind: Literal["analog"]
    arrays: Whole
    rows: Whole
    columns: Whole
    cell_levels: Whole
    cell_storage_bits: Whole
    max_digits: Whole
    input_bits: Whole
    input_bits_per_step: Whole | None = None
    converter_bits: Whole
    takes_groups: Statement
    pixel_unroll: PixelUnroll | None = None
    odimo: OdimoCycles | None = None
    active_mw: Quantity | None = None
    converter_noise_lsb: Quantity
    step_ns: Quantity
    cell_pj: Quantity
    bitline_pj: Quantity | None = None
    row_driver_pj: Quantity
    converter_pj: Quantity
    recombine_pj: Quantity
    load_ns_per_row: Quantity
    write_pj_per_bit: Quantity

    @model_validator(mode="after")
    def _check_geometry(self) -> Analog:
        for key, fewest, most in ANALOG_LIMITS:
            if not fewest <= getattr(self, key).value <= most:
                raise ValueError(f"{key}: wanted {fewest} to {most}")
        bits = self.input_bits.value
        if self.bits_per_step > bits:
            raise ValueError(
                f"input_bits_per_step: {self.bits_per_step} is more than input_bits, {bits}"
            )
        levels = self.cell_levels.value
        if levels not in CELL_LEVELS:
            raise ValueError(
                "cell_levels: wanted a power of two up to 128, or an odd number from 3 to 255"
            )
        if levels == 2 and self.max_digits.value < 2:
            raise ValueError("max_digits: binary cells need 2 digits")
        return self

    @property
    def total_columns(self) -> int:
        """The columns of all arrays together."""
        return self.arrays.value * self.columns.value

    @property
    def bits_per_step(self) -> int:
        """The input bits that drive a row in one step."""
        return (self.input_bits_per_step or self.input_bits).value

    @property
    def steps(self) -> int:
        """The steps of one activation: as many as there are slices of an input."""
        return ceil(self.input_bits.value / self.bits_per_step)


class Host(Strict):
    """The host processor: it runs what no other engine takes, in float."""

    kind: Literal["host"]
    cycle_pj: Quantity
    cycles_per_mac: Quantity
    cycles_per_element: Quantity
    cycles_per_function: Quantity


class Memory(Strict):
    """A memory level; the first in the file is the nearest to the engines.

    `setup_cycles` go before each transfer (a DMA's).
    """

    capacity_bytes: Whole
    read_pj_per_byte: Quantity
    write_pj_per_byte: Quantity
    bytes_per_cycle: Rate
    setup_cycles: Quantity | None = None


Engine = Annotated[Analog | Digital | Host, Field(discriminator="kind")]


class Chip(Strict):
    """One chip file: its keys, types and rules."""

    schema_: Literal["joulec.target/1"] = Field(alias="schema")
    name: Name
    description: Annotated[str, Field(min_length=10)]
    not_modelled: tuple[str, ...]
    node_nm: Quantity
    supply_v: Quantity | None = None
    components: dict[Name, Quantity] = Field(default_factory=dict)
    clock_mhz: Rate
    static_mw: Quantity
    memories: Annotated[dict[Name, Memory], Field(min_length=1)]
    engines: Annotated[dict[Name, Engine], Field(min_length=1)]
    links: tuple[Link, ...] = ()
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _check_engines(self) -> Chip:
        kinds = [engine.kind for engine in self.engines.values()]
        if kinds.count("host") != 1:
            raise ValueError("engines: a chip has exactly one host, which runs what no other can")
        return self

    @model_validator(mode="after")
    def _check_links(self) -> Chip:
        if why := why_not_links(self.links, self.engines):
            raise ValueError(why)
        return self

    @model_validator(mode="after")
    def _check_published(self) -> Chip:
        for index, figure in enumerate(self.published):
            engine = self.engines.get(figure.engine)
            if engine is None:
                names = ", ".join(self.engines)
                raise ValueError(f"published.{index}.engine: there are {names}")
            if engine.kind == "host" or (engine.kind == "digital" and engine.array is None):
                raise ValueError(f"published.{index}.engine: {figure.engine} has no array")
            for key in figure.derived:
                if _entry(self, key) is None:
                    raise ValueError(f"published.{index}.derived: no number {one_line(key)!r}")
        return self


def _entry(chip: Chip, path: str) -> object:
    """What stands at a key path of a chip file, or None."""
    found: object = chip
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else getattr(found, key, None)
    return found


@dataclass(frozen=True)
class Target:
    """A chip ready for use.

    `sha256` is over the bytes of its file; `file` is None for a chip that is built in. `costs`
    remembers what `compiler.cost.node` found for the chip.
    """

    chip: Chip
    sha256: str
    file: Path | None = None
    costs: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The chip's name."""
        return self.chip.name

    @property
    def cycle_ns(self) -> float:
        """The time of one clock cycle."""
        return 1000.0 / self.chip.clock_mhz.value

    @cached_property
    def cycle(self) -> TracedEstimate:
        """The time of one clock cycle (ns) with its interval."""
        return self.chip.clock_mhz.estimate.inverse(1000.0)

    @cached_property
    def analog_engines(self) -> dict[str, Analog]:
        """The analog engines by name, in the order of the chip file."""
        return {n: e for n, e in self.chip.engines.items() if isinstance(e, Analog)}

    @cached_property
    def digital_engines(self) -> dict[str, Digital]:
        """The digital engines by name, in the order of the chip file."""
        return {n: e for n, e in self.chip.engines.items() if isinstance(e, Digital)}

    @cached_property
    def host(self) -> tuple[str, Host]:
        """The host with its name."""
        found = [(n, e) for n, e in self.chip.engines.items() if isinstance(e, Host)]
        return found[0]

    @cached_property
    def links(self) -> dict[tuple[str, str], Link]:
        """The links by the engine that sends and the engine that receives."""
        return {link.ends: link for link in self.chip.links}

    @property
    def memories(self) -> dict[str, Memory]:
        """The memories, nearest first."""
        return self.chip.memories


def built_in() -> list[str]:
    """The names of the chips that are shipped."""
    folder = resources.files("compiler") / "targets"
    return sorted(item.name[:-5] for item in folder.iterdir() if item.name.endswith(".toml"))


def load_target(name_or_file: str | Path) -> Target:
    """A shipped chip by name, or a chip file by path (anything with a slash or ending in .toml).

    Raises TargetError naming the file and key path of every fault.
    """
    text = str(name_or_file)
    if text in built_in():
        data = (resources.files("compiler") / "targets" / f"{text}.toml").read_bytes()
        return parse_target(data, text)
    if text.endswith(".toml") or "/" in text:
        path = Path(text)
        try:
            with open_regular(path) as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise TargetError(f"chip file {one_line(text)!r}: {reason}") from error
        return parse_target(data, text, path)
    names = built_in()
    hint = nearest(text, names) or "give a .toml file for a chip of your own"
    raise TargetError(f"no chip {one_line(text)!r}; built in are: {', '.join(names)}", hint=hint)


def parse_target(data: bytes, shown: str, file: Path | None = None) -> Target:
    """A chip from the bytes of its file; raises TargetError with the key path of every fault."""
    shown = one_line(shown)
    if len(data) > MAX_FILE_BYTES:
        raise TargetError(f"chip {shown}: larger than {MAX_FILE_BYTES} bytes")
    if _TOO_DEEP.search(data):  # quadratic to parse, and no chip has it
        raise TargetError(f"chip {shown}: its keys are nested too deeply")
    try:
        table = tomllib.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # ValueError: no UTF-8, no TOML, too many digits
        raise TargetError(f"chip {shown}: not a TOML file: {one_line(str(error))}") from error
    table, found = with_components(table)
    try:
        chip = Chip.model_validate(table)
    except ValidationError as error:
        raise TargetError(f"chip {shown}: {'; '.join([*found, *faults(error)])}") from error
    if found:
        raise TargetError(f"chip {shown}: {'; '.join(found)}")
    return Target(chip, hashlib.sha256(data).hexdigest(), file)


def faults(error: ValidationError) -> list[str]:
    """Every fault of a file that people write, as 'key.path: what is wrong'."""
    lines = []
    for item in error.errors():
        where = [str(part) for part in item["loc"]]
        if where[:1] == ["engines"]:
            del where[2:3]  # pydantic puts the kind of an engine behind its name
        path = ".".join(where)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = f"no such key; {nearest(where[-1], _keys(Strict))}".rstrip("; ")
        # A table's own check may name one of its keys first.
        joint = "." if re.match(r"[a-z_]+: ", message) else ": "
        lines.append(one_line(f"{path}{joint}{message}" if path else message))
    return lines


def _keys(table: type[Strict]) -> list[str]:
    """The keys of all tables of a kind, and of the kinds made from it."""
    own = [field.alias or name for name, field in table.model_fields.items()]
    return [*own, *(key for kind in table.__subclasses__() for key in _keys(kind))]


def target_schema() -> dict[str, Any]:
    """The JSON Schema of a chip file."""
    return Chip.model_json_schema(by_alias=True)
