"""A memory of a chip file: its size, what a byte costs, how wide its port is."""

from __future__ import annotations

from typing import Annotated

from compiler.target.keys import key
from compiler.target.quantity import Quantity, Rate, Strict, Whole


class Memory(Strict):
    """A memory level; the first in the file is the nearest to the engines.

    `setup_cycles` go before each transfer (a DMA's).
    """

    capacity_bytes: Annotated[Whole, key("size")]
    read_pj_per_byte: Annotated[Quantity, key("energy of reading")]
    write_pj_per_byte: Annotated[Quantity, key("energy of writing")]
    bytes_per_cycle: Annotated[Rate, key("width of its port, for reads and for writes")]
    setup_cycles: Annotated[Quantity | None, key("cycles before each transfer (a DMA call)")] = None
