"""Saves a calibration to a file, and takes it from there into a later compilation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from compiler.errors import ModelError, UsageError, one_line
from compiler.flow.declare import declarations, flag, read_by
from compiler.flow.formats import formats_of, why_not_same_formats
from compiler.flow.options import Options
from compiler.flow.up_to_date import own_digest
from compiler.ir.formats import Format
from compiler.ir.graph import Calibration, Graph
from compiler.ir.text import to_text
from compiler.storage.files import open_regular
from compiler.storage.mistaken import why_mistaken, why_unreadable
from compiler.storage.payload import Payload
from compiler.target.chip import Target
from passes.base import Pass

SCHEMA = "joulec.calibration/1"
MAX_FILE_BYTES = 256 << 20

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LARGEST = (2 - 2**-23) * 2.0**127  # of float32: what a value of a graph can be
# Both ends of a range, in which 0 always lies.
Low = Annotated[float, Field(ge=-LARGEST, le=0)]
High = Annotated[float, Field(ge=0, le=LARGEST)]
# The formulas of the outputs, each once; none of a model without outputs.
Kinds = Annotated[
    str, Field(pattern=r"^((^|, )(KL|labels|relative squared error))*$", max_length=100)
]
# A Kullback-Leibler divergence of nothing may be a rounding error below 0.
Divergence = Annotated[float, Field(ge=-1e-3)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Measured(_Strict):
    """What calibration found; see `compiler.ir.graph.Calibration`."""

    ranges: dict[str, tuple[Low, High]]
    divergence: dict[str, dict[str, Divergence]]
    kind: Kinds
    inputs_hash: Sha256
    estimated: Annotated[int, Field(ge=0)]
    rounding: dict[str, Divergence]


class MeasuredFor(_Strict):
    """What a calibration was measured for: it holds where all of this is the same.

    `graph` is the hash of the graph that was measured, whose weights may be pruned ones: these are
    not in the file, as pruning is run again, and gives the same or another hash. `options` are
    those that were read up to there; `formats` see compiler.flow.formats.
    """

    compiler: Sha256
    model: Sha256
    inputs: Sha256
    graph: Sha256
    options: dict[str, JsonValue]
    formats: dict[str, JsonValue]


class CalibrationFile(_Strict):
    """A calibration as it is saved; `hash` is that of the file with this field blank."""

    schema_: Literal["joulec.calibration/1"] = Field(alias="schema")
    hash: Sha256 | Literal[""]
    measured_for: MeasuredFor
    measured: Measured


@dataclass(frozen=True, repr=False)
class Recall(Pass):
    """Adds a calibration that an earlier run of `calibrate` found on the same graph and inputs.

    It is reported as that pass, since it leaves what that would.
    """

    name: ClassVar[str] = "calibrate"
    numerics: ClassVar[Literal["exact", "lossy"]] = "exact"

    instead_of: Pass
    found: Calibration

    def __call__(self, graph: Graph, target: Target) -> Graph:
        """The same graph with its calibration."""
        return replace(graph, calibration=self.found)

    def __repr__(self) -> str:
        return repr(self.instead_of)


def saved_bytes(measured_for: MeasuredFor, found: Calibration) -> bytes:
    """Writes what was found as the bytes of a file: JSON, its keys in the order of the graph.

    The order counts: sums of divergences are rounded in it.
    """
    table: dict[str, Any] = {
        "schema": SCHEMA,
        "hash": "",
        "measured_for": measured_for.model_dump(),
        "measured": {
            "ranges": {name: list(ends) for name, ends in found.ranges.items()},
            "divergence": {
                node: {str(form): number for form, number in formats.items()}
                for node, formats in found.divergence.items()
            },
            "kind": found.kind,
            "inputs_hash": found.inputs_hash,
            "estimated": found.estimated,
            "rounding": dict(found.rounding),
        },
    }
    return _bytes(table | {"hash": hashlib.sha256(_bytes(table)).hexdigest()})


def load_calibration(path: str | Path) -> CalibrationFile:
    """Reads a saved calibration, from anyone.

    Raises UsageError (U001) for a file that cannot be read, ModelError (M009) for one that is
    broken, was changed, or is no calibration.
    """
    shown = f"calibration file {one_line(str(path))!r}"
    try:
        with open_regular(Path(path)) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = why_mistaken(Path(path), "a calibration file") or why_unreadable(error)
        raise UsageError(f"{shown}: {reason}", code="U001") from error
    if len(data) > MAX_FILE_BYTES:
        raise ModelError(f"{shown} is larger than {MAX_FILE_BYTES:,} bytes", code="M009")
    try:
        file = CalibrationFile.model_validate_json(data)
        table = json.loads(data)
    except (ValidationError, ValueError, RecursionError) as error:
        reason = why_mistaken(Path(path), "a calibration file") or _fault(error)
        raise ModelError(f"{shown} is no calibration: {reason}", code="M009") from error
    if hashlib.sha256(_bytes(table | {"hash": ""})).hexdigest() != file.hash:
        raise ModelError(f"{shown} was changed: its own hash does not match", code="M009")
    return file


def recall(path: str | Path, graph: Graph, wanted: MeasuredFor, *, instead_of: Pass) -> Recall:
    """Makes the pass that adds a saved calibration to a graph in place of measuring again.

    Raises UsageError (U009) where it is of something else than is `wanted`, and what
    `load_calibration` raises.
    """
    file = load_calibration(path)
    shown = f"calibration file {one_line(str(path))!r}"
    if reason := why_not_same(file.measured_for, wanted):
        raise UsageError(
            f"{shown} does not hold here: {one_line(reason)}",
            code="U009",
            hint="make it again with --save-calibration",
        )
    found = file.measured
    if unknown := _unknown_name(found, graph):
        raise ModelError(
            f"{shown} names {one_line(unknown)!r}, which the model has not", code="M009"
        )
    try:
        divergence = {
            node: {Format.parse(text): number for text, number in formats.items()}
            for node, formats in found.divergence.items()
        }
    except ValueError as error:
        raise ModelError(
            f"{shown} is no calibration: {one_line(str(error))}", code="M009"
        ) from error
    calibration = Calibration(
        ranges=found.ranges,
        divergence=divergence,
        kind=found.kind,
        inputs_hash=found.inputs_hash,
        estimated=found.estimated,
        rounding=found.rounding,
    )
    return Recall(instead_of, calibration)


def measured_for(
    graph: Graph, *, target: Target, options: Options, model: str, inputs: str
) -> MeasuredFor:
    """Records what a graph is measured for; `model` and `inputs` are hashes."""
    return MeasuredFor(
        compiler=own_digest(),
        model=model,
        inputs=inputs,
        graph=_graph_digest(graph),
        options=_options_read(options),
        formats=json.loads(json.dumps(formats_of(target))),
    )


def _options_read(options: Options) -> dict[str, JsonValue]:
    """The options that change what is measured."""
    declared = declarations(type(options))
    names = [n for n in read_by("calibrate", type(options)) if declared[n].keyed == "value"]
    plain: dict[str, JsonValue] = json.loads(
        json.dumps({name: getattr(options, name) for name in names}, default=dict)
    )
    return plain


def why_not_same(was: MeasuredFor, now: MeasuredFor) -> str:
    """Says what differs: first what a user gave, last what follows from it."""
    if was.model != now.model:
        return f"it is of the model of sha256 {was.model[:12]}, this one's is {now.model[:12]}"
    for name in dict.fromkeys([*was.options, *now.options]):
        before, here = was.options.get(name), now.options.get(name)
        if before != here:
            return f"it is of {flag(name)} {json.dumps(before)}, here is {json.dumps(here)}"
    if was.inputs != now.inputs:
        return "it was measured on other samples"
    if reason := why_not_same_formats(was.formats, now.formats):
        return f"its chip had other formats: {reason}"
    if was.compiler != now.compiler:
        return "another joulec, or other versions of its libraries, made it"
    if was.graph != now.graph:
        return "the model is another one once it is prepared"
    return ""


def _graph_digest(graph: Graph) -> str:
    """Hashes a graph: its text, and the bytes of the constants that the text shortens."""
    digest = hashlib.sha256(to_text(graph).encode("utf-8", "backslashreplace"))
    names = sorted(name for name, data in graph.constants.items() if data.dtype.kind not in "OUS")
    digest.update(Payload.laid_out((graph.constants[n] for n in names), 1).sha256.encode())
    return digest.hexdigest()


def _unknown_name(found: Measured, graph: Graph) -> str:
    """A name that the graph does not have, or nothing."""
    nodes = {node.name for node in graph}
    for name in (*found.ranges, *found.rounding):
        if name not in graph.types:
            return name
    return next((name for name in found.divergence if name not in nodes), "")


def _bytes(table: Mapping[str, Any]) -> bytes:
    return (json.dumps(table, allow_nan=True) + "\n").encode("ascii")


def _fault(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return one_line(str(error)) or type(error).__name__
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return one_line(f"{path}: {first['msg']}" if path else first["msg"])
