"""Holds a ZigZag accelerator while it becomes a chip file, and what is lost on the way.

It has the memories by what they serve, and writes lines of TOML with their sources.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

from compiler.errors import TargetError, one_line
from compiler.zigzag.hardware_yaml import Accelerator, Array, Memory

# Data are bytes in both, so a cost of one access is spread over the bytes that it moves.
BITS_PER_BYTE = 8


@dataclass
class Source:
    """An accelerator, the name of its file, and notes.

    There is a note for everything that is not carried over or taken for granted.
    """

    accelerator: Accelerator
    file: str
    notes: list[str] = field(default_factory=list)

    @property
    def array(self) -> Array:
        """The operational array."""
        return self.accelerator.array

    def nearest(self, *operands: str) -> tuple[str, Memory]:
        """Finds the first memory that holds all these operands.

        Raises TargetError where there is none.
        """
        for name, memory in self.accelerator.memories.items():
            if set(memory.operands) >= set(operands):
                return name, memory
        raise TargetError(
            f"{self.file}: no memory holds {' and '.join(operands)}; joulec needs one for inputs "
            "(I1) with outputs (O), and one for weights (I2)"
        )

    def is_shared(self, memory: Memory) -> bool:
        """Whether one instance serves the whole array, and not one a row or a multiplier."""
        everything = set(memory.operands) >= {"I1", "O"}
        return everything or set(memory.served_dimensions) >= set(self.array.dimensions)

    def registers(self, operand: str) -> dict[str, Memory]:
        """Finds the memories at the multipliers that hold one kind of operand."""
        return {
            name: memory
            for name, memory in self.accelerator.memories.items()
            if memory.operands == (operand,) and not self.is_shared(memory)
        }

    def access_pj(self, name: str, direction: Literal["read", "write"]) -> float:
        """Returns the cost of one access of a register, pJ.

        It is 0, with a note, where ZigZag would ask CACTI.
        """
        memory = self.accelerator.memories[name]
        cost = memory.r_cost if direction == "read" else memory.w_cost
        if cost is None or memory.auto_cost_extraction:
            self.note(
                f"memories.{name}.auto_cost_extraction: a register's {direction} is not charged"
            )
            return 0.0
        return cost

    def cost(self, key: str, name: str, direction: Literal["read", "write"]) -> str:
        """Writes the cost of a byte in a memory.

        It is the library's component where ZigZag would ask CACTI.
        """
        memory = self.accelerator.memories[name]
        bits = memory.port_bits(direction)
        cost = memory.r_cost if direction == "read" else memory.w_cost
        short = "r_cost" if direction == "read" else "w_cost"
        if cost is None or memory.auto_cost_extraction:
            source = self.key(
                f"memories.{name}.auto_cost_extraction: the library's, as ZigZag would ask CACTI"
            )
            if memory.mem_type == "dram":
                assumed = toml_text("assumption: " + source)
                return f'{key} = {{ component = "dram", kind = "ddr3", source = {assumed} }}'
            size = max(64, memory.size // BITS_PER_BYTE)
            component = f'component = "sram_{direction}"'
            ports = f"size_bytes = {size}, port_bits = {bits}"
            return f"{key} = {{ {component}, {ports}, source = {toml_text(source)} }}"
        return self.number(
            key,
            cost * BITS_PER_BYTE / bits,
            self.key(f"memories.{name}.{short} {cost:g} for {bits} bits"),
        )

    def note(self, text: str) -> None:
        """Adds a note, once."""
        line = one_line(text, 200)
        if line not in self.notes:
            self.notes.append(line)

    def key(self, text: str) -> str:
        """Writes a key of the file, as a source."""
        return f"{self.file}: {text}"

    def number(self, key: str, value: float, source: str, exact: bool = False) -> str:
        """Writes a number; `exact` for an assumption whose interval is itself."""
        ends = f", low = {value!r}, high = {value!r}" if exact else ""
        return f"{key} = {{ value = {value!r}{ends}, source = {toml_text(source)} }}"

    def whole(self, key: str, value: int, source: str) -> str:
        """Writes a whole number from a key of the file."""
        return f"{key} = {{ value = {value}, source = {toml_text(self.key(source))} }}"

    def statement(self, key: str, value: bool, source: str) -> str:
        """Writes a yes or no from a key of the file."""
        return f"{key} = {{ value = {str(value).lower()}, source = {toml_text(self.key(source))} }}"


def plain_name(text: str) -> str:
    """Makes a name as chip files have them."""
    plain = "".join(
        letter if letter.isascii() and letter.isalnum() else "_" for letter in text.lower()
    )
    plain = plain.strip("_")[:60]
    return plain if plain[:1].isalpha() else f"zigzag_{plain}"[:64].rstrip("_")


def toml_text(text: str) -> str:
    """Writes a TOML string."""
    return json.dumps(one_line(text, 400), ensure_ascii=False)
