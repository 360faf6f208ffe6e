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
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from compiler.errors import TargetError, nearest, one_line
from compiler.storage.files import open_regular
from compiler.storage.mistaken import what_stands_at, why_mistaken, why_unreadable
from compiler.target.analog import Analog as Analog
from compiler.target.analog import OdimoCycles as OdimoCycles
from compiler.target.analog import PixelUnroll as PixelUnroll
from compiler.target.components import with_components
from compiler.target.consistency import contradictions
from compiler.target.digital import Digital
from compiler.target.faults import faults
from compiler.target.keys import key
from compiler.target.layers import LayerCycles
from compiler.target.link import Link, why_not_links
from compiler.target.memory import Memory as Memory
from compiler.target.published import Published
from compiler.target.quantity import Quantity, Rate, Strict
from compiler.units import TracedEstimate

SCHEMA = "joulec.target/1"
MAX_FILE_BYTES = 1 << 20
_TOO_DEEP = re.compile(rb"^[^\"'#=\n]*?(\.[^\"'#=.\n]*){64}", re.MULTILINE)
NAME_PATTERN = "[a-z][a-z0-9_]{0,63}"
Name = Annotated[str, Field(strict=True, pattern=f"^{NAME_PATTERN}$")]


class Host(Strict):
    """The host processor: it runs what no other engine takes, in floats or as the model has it.

    Where `layers` are given, layers take cycles by their kind.
    """

    kind: Annotated[
        Literal["host"], key("the host processor: it takes what no other engine does, in floats")
    ]
    cycle_pj: Annotated[Quantity, key("one cycle")]
    cycles_per_mac: Annotated[Quantity, key("cycles of a multiply-accumulate", "cycle")]
    cycles_per_element: Annotated[Quantity, key("cycles of an operation on one element", "cycle")]
    cycles_per_function: Annotated[
        Quantity, key("cycles of an exponential, a logarithm and the like", "cycle")
    ]
    layers: Annotated[
        LayerCycles | None,
        key("a table of the cycles of layers by kind; left out: all MACs and elements alike"),
    ] = None


Engine = Annotated[Analog | Digital | Host, Field(discriminator="kind")]


class Chip(Strict):
    """One chip file: its keys, types and rules."""

    schema_: Annotated[Literal["joulec.target/1"], key("the version of this format")] = Field(
        alias="schema"
    )
    name: Annotated[Name, key("the chip's name in reports")]
    description: Annotated[
        str,
        Field(min_length=10),
        key("one sentence for `joulec targets list`"),
    ]
    not_modelled: Annotated[
        tuple[str, ...],
        key("what the chip has and the compiler does not count; every report prints it"),
    ]
    node_nm: Annotated[Quantity, key("technology node; components are worked out at it")]
    supply_v: Annotated[Quantity | None, key("supply; wanted as soon as a component is named")] = (
        None
    )
    components: Annotated[
        dict[Name, Quantity],
        key("the chip's own constants in place of the library's, by name"),
    ] = Field(default_factory=dict)
    clock_mhz: Annotated[Rate, key("the one clock; steps end with a cycle")]
    static_mw: Annotated[
        Quantity, key("common power (leakage, clock, controller) while a step runs")
    ]
    memories: Annotated[
        dict[Name, Memory],
        Field(min_length=1),
        key("a table for each memory, the nearest to the engines first"),
    ]
    engines: Annotated[
        dict[Name, Engine],
        Field(min_length=1),
        key("a table for each engine; exactly one is the host"),
    ]
    links: Annotated[
        tuple[Link, ...],
        key("what sends values between engines; a pair without one pays for memories only"),
    ] = ()
    published: Annotated[
        tuple[Published, ...],
        key("peaks that were published, to hold the file's own constants against"),
    ] = ()

    @model_validator(mode="after")
    def _check_engines(self) -> Chip:
        kinds = [engine.kind for engine in self.engines.values()]
        if kinds.count("host") != 1:
            raise ValueError(
                f"engines: found {kinds.count('host')} hosts, wanted exactly one, "
                "which runs what no other engine can"
            )
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
                raise ValueError(
                    f"published.{index}.engine: found {one_line(figure.engine)!r}, "
                    f"wanted one of {names}"
                )
            if engine.kind == "host" or (engine.kind == "digital" and engine.array is None):
                raise ValueError(
                    f"published.{index}.engine: {figure.engine} has no array, and a peak is an "
                    "array's"
                )
            for path in figure.derived:
                if _entry(self, path) is None:
                    raise ValueError(f"published.{index}.derived: no number {one_line(path)!r}")
        return self


def _entry(chip: Chip, path: str) -> object:
    """What stands at a key path of a chip file, or None."""
    found: object = chip
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else getattr(found, name, None)
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
            reason = why_mistaken(path, "a chip file") or why_unreadable(error)
            raise TargetError(f"chip file {one_line(text)!r}: {reason}") from error
        found = what_stands_at(path)
        if found not in ("", "a chip file", "an empty file"):
            raise TargetError(why_mistaken(path, "a chip file"))
        return parse_target(data, text, path)
    names = built_in()
    if mistaken := why_mistaken(Path(text), "a chip by name, or a chip file"):
        raise TargetError(mistaken, hint="a chip file ends in .toml or has a slash in its path")
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
        raise TargetError(f"chip {shown}: {'; '.join([*found, *faults(error, Chip)])}") from error
    found += contradictions(chip.engines)
    if found:
        raise TargetError(f"chip {shown}: {'; '.join(found)}")
    return Target(chip, hashlib.sha256(data).hexdigest(), file)
