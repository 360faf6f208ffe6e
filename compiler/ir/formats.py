"""Names the numbers that an engine computes a node in: one parser and one printer of their text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_ANALOG = re.compile(r"([^/\s]+)/([1-9][0-9]*)")


@dataclass(frozen=True, order=True)
class Format:
    """The numbers of a node: the model's floats, 8-bit integers, or those of an analog array.

    An analog format belongs to one engine, whose cells and converters make its numbers;
    `weight_slices` is the number of neighbouring cells that hold a weight. Both are empty for other
    kinds.
    """

    kind: Literal["float", "int8", "analog"]
    engine: str = ""
    weight_slices: int = 0

    def __str__(self) -> str:
        """The format as text: `float`, `int8`, or ENGINE/WEIGHT_SLICES."""
        return f"{self.engine}/{self.weight_slices}" if self.kind == "analog" else self.kind

    @staticmethod
    def analog(engine: str, weight_slices: int) -> Format:
        """Builds the format of an analog engine with so many cells a weight."""
        return Format("analog", engine, weight_slices)

    @staticmethod
    def parse(text: str) -> Format:
        """Parses the text that `str` gives for a format. Raises ValueError for any other text."""
        if text == "int8":
            return INT8
        if text == "float":
            return FLOAT
        found = _ANALOG.fullmatch(text)
        if found is None:
            raise ValueError(f"format {text!r}: wanted float, int8 or ENGINE/WEIGHT_SLICES")
        return Format.analog(found[1], int(found[2]))

    @property
    def takes_integers(self) -> bool:
        """Whether a node in this format reads and makes integers."""
        return self.kind != "float"


INT8 = Format("int8")
FLOAT = Format("float")
