"""The limits of memory, time and work that every command has which reads a file."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

from compiler.choices import MAX_LOOP_WORK
from compiler.flow.declare import option
from compiler.flow.limits import limited


@dataclass(frozen=True)
class Limits:
    """What a command may take: bytes (None: what the machine has), seconds, work of Loops."""

    max_memory: int | None = option(
        None,
        minimum=1,
        metavar="BYTES",
        help="Ends (3) when it takes more. Default: what the machine has.",
    )
    time_limit: float = option(
        6 * 3600.0, minimum=0.001, metavar="SECONDS", help="Ends (3) when it takes longer."
    )
    max_loop_work: int = option(
        MAX_LOOP_WORK,
        minimum=1,
        metavar="NODES",
        help="Ends (3) when Loops and Scans of a node execute more nodes in a run of it; "
        "a node of many elements counts as several.",
    )

    def enforced(self) -> AbstractContextManager[None]:
        """Refuses (ModelError M008) what is done inside when it takes more."""
        return limited(self.max_memory, self.time_limit, self.max_loop_work)


DEFAULT_LIMITS = Limits()
