"""Finds the samples on which a model's own outputs are NaN or infinite, and where that begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from compiler.errors import Diagnostic, one_line

if TYPE_CHECKING:
    from compiler.ir.graph import Array, Graph, Node

MOST_OUTPUTS = 4  # that are named
MOST_SAMPLES = 6  # of each, that are named


def not_number_notes(
    model: Graph,
    samples: Mapping[str, Array],
    outputs: Mapping[str, Sequence[Any]],
    first: int = 0,
) -> tuple[Diagnostic, ...]:
    """Warns of outputs of the model itself that are NaN or infinite, a line for each output.

    `outputs` are what it gives on the samples, of which `first` is the number of the first.
    """
    notes: list[Diagnostic] = []
    for name, values in outputs.items():
        bad = [index for index, value in enumerate(values) if _bad_of([value])]
        if bad and len(notes) < MOST_OUTPUTS:
            notes.append(_note(model, samples, name, values, bad, first))
    return tuple(notes)


def _note(
    model: Graph,
    samples: Mapping[str, Array],
    name: str,
    values: Sequence[Any],
    bad: Sequence[int],
    first: int,
) -> Diagnostic:
    sample = {name: np.asarray(data[bad[0]]) for name, data in samples.items()}
    origin = _first_node(model, sample, name)
    node = (origin.origin or (origin.name,))[0] if origin is not None else ""
    begins = f"it begins at node {one_line(node)!r} ({one_line(origin.op)})" if origin else ""
    numbers = ", ".join(str(first + index) for index in bad[:MOST_SAMPLES])
    more = ", ..." if len(bad) > MOST_SAMPLES else ""
    plural = "s" if len(bad) > 1 else ""
    out = "its finite elements alone are" if len(bad) == len(values) else "there it is not"
    return Diagnostic(
        code="W012",
        message=f"output {one_line(name)!r} of the model itself is "
        f"{_bad_of([values[index] for index in bad])} on sample{plural} {numbers}{more} "
        f"(counted from 0; {len(bad)} of {len(values)}), so {out} measured"
        + (f"; {begins}" if begins else ""),
    )


def _bad_of(values: Sequence[Any]) -> str:
    """What values hold that is no finite number: NaN, infinity or both; an empty string if none."""
    from compiler.execute.plain_arrays import flat_arrays

    arrays = [array for value in values for array in flat_arrays(value)]
    floats = [array.astype(np.float64) for array in arrays if array.dtype.kind in "fV"]
    found = []
    if any(np.isnan(array).any() for array in floats):
        found.append("NaN")
    if any(np.isinf(array).any() for array in floats):
        found.append("infinity")
    return " and ".join(found)


def _first_node(model: Graph, sample: Mapping[str, Array], output: str) -> Node | None:
    """The first node before an output that makes what is not finite of inputs that are.

    Where there is none (a constant is infinite), the first that gives it. None where the values
    between cannot be looked at.
    """
    from compiler.execute.interpreter import Interpreter, RunError

    nodes = _before(model, output)
    names = {
        name
        for node in nodes
        for name in node.outputs
        if name and model.types[name].dtype.startswith(("float", "bfloat"))
    }
    try:
        values = Interpreter(model, outputs=tuple(names)).run(sample)
    except RunError:
        return None
    known = {**model.constants, **sample, **values}
    bad = {name for name, value in known.items() if _bad_of([value])}
    giving = [node for node in nodes if bad.intersection(node.outputs)]
    beginning = (node for node in giving if not bad.intersection(node.inputs))
    return next(beginning, giving[0] if giving else None)


def _before(model: Graph, output: str) -> list[Node]:
    """The nodes that an output depends on, in execution order."""
    wanted, found = {output}, []
    for node in reversed(model.nodes):
        if wanted.intersection(node.outputs):
            found.append(node)
            wanted.update(node.inputs)
    return found[::-1]
