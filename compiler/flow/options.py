"""What a compilation can be asked for: every option, declared once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_type_hints

from compiler.choices import (
    MAX_NODES,
    MAX_TENSOR_BYTES,
    Objective,
    Place,
    Precision,
    PruneMethod,
    Weights,
)
from compiler.errors import UsageError, one_line
from compiler.flow.declare import declarations, flag, option


def parse_binds(items: Sequence[str] | None) -> dict[str, int]:
    """Parses NAME=VALUE words into a table; the last = divides.

    Raises UsageError for anything else.
    """
    sizes: dict[str, int] = {}
    for item in items or ():
        name, found, value = item.rpartition("=")
        if not found or not name:
            raise UsageError(f"--bind {one_line(item)!r}: wanted NAME=VALUE, such as --bind N=1")
        if not value.isdecimal() or not 0 < len(value) < 16:
            raise UsageError(f"--bind {one_line(item)!r}: {one_line(value)!r} is no whole number")
        if sizes.setdefault(name, int(value)) != int(value):
            raise UsageError(
                f"--bind {one_line(item)!r}: {one_line(name)!r} is bound to {sizes[name]} already",
                hint="leave one of them out",
            )
    return sizes


def parse_places(items: Sequence[str] | None) -> Place:
    """Parses PATTERN=ENGINE words into pairs, in their order; the last = divides.

    Raises UsageError for anything else.
    """
    places = []
    for item in items or ():
        pattern, equals, engine = item.rpartition("=")
        if not equals or not pattern or not engine:
            raise UsageError(
                f"--place {one_line(item)!r}: wanted PATTERN=ENGINE, such as --place 'conv*=analog'"
            )
        places.append((pattern, engine))
    return tuple(places)


@dataclass(frozen=True)
class Options:
    """What a compilation can be asked for; the command line has a flag for each.

    `bind` gives free sizes of the model; `data` is an npz of calibration inputs (None: made up from
    `seed`), of which `calibration_samples` are used; `place` puts nodes whose name matches a
    pattern on an engine, wherever that can take them (of several patterns the first that matches;
    a pattern that places nothing is refused); with `weights` "resident" all weights stay in the
    engines, or it is refused;
    `calibration` is a file that a calibration of the same model on the same data was saved to;
    `prune` is the share of MACs to remove. With `precision` "float" nothing is quantized: what no
    engine computes in floats runs on the host, and nothing is calibrated. See passes.pipeline for
    the rest.

    `max_nodes` and `max_tensor_bytes` say which models are refused as too large; they change
    nothing else.
    """

    bind: Mapping[str, int] = option(
        {},
        metavar="NAME=VALUE",
        help="A free size of the model by its symbol, or as INPUT:AXIS; may be repeated.",
        parse=parse_binds,
        stage="import",
    )
    data: str | Path | None = option(
        None,
        metavar="FILE.npz",
        help="Samples of the inputs, to calibrate on. Default: made up, with a warning.",
        stage="clean",
        keyed="nothing",  # its hash stands in a plan by itself
        is_file=True,
    )
    calibration: str | Path | None = option(
        None,
        metavar="FILE",
        help="What --save-calibration saved, in place of measuring again.",
        stage="calibrate",
        keyed="file",
        is_file=True,
    )
    calibration_samples: int = option(
        128,
        help="How many samples of --data are used.",
        fault=lambda count: "wanted 1 or more" if count < 1 else "",
        stage="prune",
    )
    seed: int = option(
        0,
        help="For inputs that are made up.",
        fault=lambda seed: "wanted 0 or more" if seed < 0 else "",
        stage="prune",
    )
    prune: float = option(
        0.0,
        metavar="SHARE",
        help="The share of MACs to remove, from 0 to 1.",
        stage="prune",
    )
    prune_method: PruneMethod = option(
        "second-order", help="How channels to remove are chosen.", stage="prune"
    )
    objective: Objective = option(
        "energy", help="What shall be least; edp is energy times latency.", stage="place"
    )
    max_divergence: float | None = option(
        None,
        help="How far the outputs may move, or inf. "
        "Default: 0.02, more where int8 alone moves them more.",
        fault=lambda most: "" if most is None or most >= 0 else "wanted 0 or more, or inf",
        stage="place",
    )
    weights: Weights = option(
        "auto",
        help="Whether weights stay in the engines or are loaded in each inference; "
        "resident: all stay, or it is refused.",
        stage="place",
    )
    place: Place = option(
        (),
        metavar="PATTERN=ENGINE",
        help="Nodes whose name matches run on an engine, wherever it can take them; "
        "may be repeated, the first match counts.",
        parse=parse_places,
        stage="place",
    )
    max_nodes: int = option(
        MAX_NODES,
        help="Refuses a model of more nodes.",
        minimum=1,
        stage="import",
        keyed="nothing",  # it refuses, or changes nothing
    )
    max_tensor_bytes: int = option(
        MAX_TENSOR_BYTES,
        help="Refuses a model whose weights are larger.",
        minimum=1,
        stage="import",
        keyed="nothing",  # it refuses, or changes nothing
    )
    precision: Precision = option(
        "integer",
        help="float: nothing is quantized, and what no engine computes in floats runs on the host.",
        stage="import",
    )


def check_options(options: Options) -> None:
    """Raises UsageError (U004) for options of another type than theirs, or that have no meaning."""
    _check_types(options)
    for name, declared in declarations(type(options)).items():
        value = getattr(options, name)
        if fault := declared.fault(value):
            raise UsageError(f"{flag(name)} {value}: {fault}")
    if options.place and options.precision == "float":
        raise UsageError(
            "--place chooses engines, and --precision float leaves only the host",
            hint="leave one of them out",
        )
    if options.calibration is not None and options.precision == "float":
        raise UsageError(
            "--calibration holds what formats cost, and --precision float has none",
            hint="leave one of them out",
        )
    if options.prune and options.precision == "float":
        raise UsageError(
            f"--prune {options.prune} changes the model's numbers, --precision float keeps them",
            hint="leave one of them out",
        )


def _check_types(options: Options) -> None:
    """The command line gives each option its type; Python gives any."""
    from pydantic import TypeAdapter, ValidationError

    if not isinstance(options, Options):
        raise UsageError(f"options are of type {type(options).__name__}, wanted is joulec.Options")
    for name, kind in get_type_hints(type(options)).items():
        value = getattr(options, name)
        try:
            TypeAdapter(kind).validate_python(value, strict=True)
        except ValidationError as error:
            what = error.errors()[0]["msg"].replace("Input should be", "wanted is")
            shown = one_line(repr(value), limit=80)
            raise UsageError(f"option {name} is {shown}: {what}") from error
