"""Defines a pass, and runs a list of passes with a check after each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from compiler.ir.graph import Graph
from compiler.ir.verify import GraphError, verify
from compiler.target.chip import Target


@dataclass(frozen=True)
class Pass:
    """One transformation; its fields are its options and its `repr` is its full specification.

    `name` is its file's name. An "exact" pass keeps the numbers (as ONNX Runtime computes them, to
    float rounding); a "lossy" one says in its docstring what it gives up. Called with a graph and
    the chip it gives a graph: the same object when there was nothing to do.
    """

    name: ClassVar[str]
    numerics: ClassVar[Literal["exact", "lossy"]]

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """Returns the graph after the pass."""
        raise NotImplementedError


# Called with how far a pass is; no field of the pass, as it changes nothing of what the pass does.
_listener: ContextVar[Callable[[str], None]] = ContextVar("listener", default=lambda _: None)


def report_progress(part: str) -> None:
    """Reports how far the pass that runs is, such as "node 3 of 40", to whoever shows progress."""
    _listener.get()(part)


def _report_part(name: str, progress: Callable[[str], None], part: str) -> None:
    progress(f"{name}: {part}")


Observer = Callable[[int, Pass, Graph, Graph], None]


class PassError(Exception):
    """A pass failed: a bug of ours.

    Holds the pass's position, the pass and the graph it was given.
    """

    def __init__(self, position: int, failed: Pass, before: Graph, cause: Exception) -> None:
        super().__init__(f"pass {position} {failed!r}: {type(cause).__name__}: {cause}")
        self.position = position
        self.failed = failed
        self.before = before


def run_passes(
    graph: Graph,
    passes: Sequence[Pass],
    target: Target,
    *observers: Observer,
    progress: Callable[[str], None] = lambda _: None,
    first: int = 0,
) -> Graph:
    """Runs passes in order, verifies after each, and calls the observers.

    An observer is called with (position, pass, before, after); positions count from `first`, the
    number of passes that ran before.

    `progress` is called with the name of each pass as it starts, and with "NAME: PART" where the
    pass reports how far it is. Errors the user can cause (CompileError) pass through; anything else
    becomes a PassError.
    """
    from compiler.errors import CompileError

    for position, current in enumerate(passes, first):
        progress(current.name)
        listening = _listener.set(partial(_report_part, current.name, progress))
        try:
            after = current(graph, target)
            if after is not graph:
                verify(after)
        except CompileError as error:
            if not isinstance(error, GraphError):
                raise
            raise PassError(position, current, graph, error) from error
        except Exception as error:
            raise PassError(position, current, graph, error) from error
        finally:
            _listener.reset(listening)
        for observer in observers:
            observer(position, current, graph, after)
        graph = after
    return graph
