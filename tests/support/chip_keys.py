"""Writes the tables of docs/chip-file.md: the keys of a chip file, and the components for each.

Keys, units, ranges and which may be left out come from the schema in compiler.target, typical
values from the shipped chips; only the meaning is written here. A key without a meaning, and a
meaning without a key, fail (tests/project/test_pages.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from statistics import median_low
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from compiler.target.chip import (
    ANALOG_LIMITS,
    Analog,
    Chip,
    Host,
    Memory,
    OdimoCycles,
    PixelUnroll,
    built_in,
    load_target,
)
from compiler.target.digital import Digital, MacArray, VectorUnit
from compiler.target.link import Link
from compiler.target.parts.component import UNITS
from compiler.target.parts.library import COMPONENTS
from compiler.target.parts.resolve import DATA
from compiler.target.published import Published
from compiler.target.quantity import Quantity, Rate, Statement, Strict, Whole

# The tables of a chip file in the order of the page, as a file writes them.
TABLES: dict[type[Strict], str] = {
    Chip: "at the top of the file",
    Memory: "[memories.NAME]",
    Analog: "[engines.NAME] of kind analog",
    PixelUnroll: "pixel_unroll of an analog engine",
    OdimoCycles: "odimo of an analog engine",
    Digital: "[engines.NAME] of kind digital",
    MacArray: "[engines.NAME.array] of a digital engine",
    VectorUnit: "[engines.NAME.vector] of a digital engine",
    Host: "[engines.NAME] of kind host",
    Link: "[[links]]",
    Published: "[[published]]",
    Quantity: "a number",
}

MEANINGS: dict[type[Strict], dict[str, str]] = {
    Chip: {
        "schema": "the version of this format",
        "name": "the chip's name in reports",
        "description": "one sentence for `joulec targets list`",
        "not_modelled": "what the chip has and the compiler does not count; every report prints it",
        "node_nm": "technology node; components are worked out at it",
        "supply_v": "supply; wanted as soon as a component is named",
        "components": "the chip's own constants in place of the library's, by name",
        "clock_mhz": "the one clock; steps end with a cycle",
        "static_mw": "common power (leakage, clock, controller) while a step runs",
        "memories": "a table for each memory, the nearest to the engines first",
        "engines": "a table for each engine; exactly one is the host",
        "links": "what sends values between engines; a pair without one pays for memories only",
        "published": "peaks that were published, to hold the file's own constants against",
    },
    Memory: {
        "capacity_bytes": "size",
        "read_pj_per_byte": "energy of reading",
        "write_pj_per_byte": "energy of writing",
        "bytes_per_cycle": "width of its port, for reads and for writes",
        "setup_cycles": "cycles before each transfer (a DMA call)",
    },
    Analog: {
        "kind": "an analog in-memory engine",
        "arrays": "arrays that can work at once",
        "rows": "rows of an array: inputs that one activation sums",
        "columns": "columns of an array, each with a converter or a share of one",
        "cell_levels": "levels of a cell: odd for balanced digits, a power of two for two's "
        "complement",
        "cell_storage_bits": "bits of a cell as the weights' memory keeps them",
        "max_digits": "the most columns that one weight may take",
        "input_bits": "bits of an input",
        "input_bits_per_step": "bits that drive a row at once; left out: all of them",
        "converter_bits": "bits of a converter's code",
        "takes_groups": "whether grouped and depthwise convolutions may run on the arrays",
        "pixel_unroll": "several outputs of a line in one activation; left out: one",
        "odimo": "time counted by ODiMO's published formula instead",
        "active_mw": "power while the engine works, besides the energies below",
        "converter_noise_lsb": "standard deviation of the noise before the converter rounds",
        "step_ns": "time of one step: rows driven, columns converted",
        "cell_pj": "one cell in one step, its piece of bitline included unless `bitline_pj` is "
        "given",
        "bitline_pj": "a cell's piece of bitline in one step, where it is counted by itself",
        "row_driver_pj": "driving one row once with `input_bits_per_step` bits",
        "converter_pj": "one conversion",
        "recombine_pj": "one conversion's share of adding up digits, slices and tiles",
        "load_ns_per_row": "writing one row of cells",
        "write_pj_per_bit": "writing one bit of a cell",
    },
    PixelUnroll: {
        "most": "the most outputs of one activation: 1, 2, 4 and so on up to it",
        "least_channels": "rows are wired in blocks of so many channels",
    },
    OdimoCycles: {
        "channels_per_activation": "input channels that one activation takes",
        "loads_all_rows": "whether a load writes all rows, or those that a layer uses",
    },
    Digital: {
        "kind": "a digital engine",
        "active_mw": "power while the engine works, besides the energies of its units",
        "array": "the multipliers; left out: it multiplies no matrices",
        "vector": "the unit for element-by-element work; left out: there is none",
    },
    MacArray: {
        "arithmetic": "what the multipliers compute in",
        "arrays": "arrays that share a layer by its columns and groups; left out: 1",
        "rows": "inputs of a patch that one step sums; left out: 1",
        "columns": "output channels that one step computes",
        "positions": "neighbouring outputs that one step computes; left out: 1",
        "cycles_per_step": "cycles of a step (more than one: inputs bit by bit); left out: 1",
        "holds_weights": "whether the multipliers lie in the weights' memory; left out: no",
        "weight_memory_bytes": "weights that can stay between inferences",
        "weight_load_bytes_per_cycle": "width of the port that loads weights",
        "activation_bytes_per_cycle": "width of the port for inputs and outputs",
        "block_overhead_cycles": "cycles of each block besides its steps; left out: 0",
        "odimo": "whether cycles are counted by ODiMO's published formula instead",
        "mac_pj": "one multiply-accumulate",
        "accumulate_pj": "an output in one step, where `mac_pj` does not include it",
        "idle_lane_pj": "a multiplier without work in one step; left out: it is gated",
        "weight_read_pj_per_byte": "reading a weight to use it; not where `holds_weights`",
        "weight_write_pj_per_byte": "loading a weight",
    },
    VectorUnit: {
        "arithmetic": "what the unit computes in",
        "elements_per_cycle": "operations in a cycle",
        "operations": "ONNX operations that it has, and Requantize",
        "operation_pj": "one operation on one element",
    },
    Host: {
        "kind": "the host processor: it takes what no other engine does, in floats",
        "cycle_pj": "one cycle",
        "cycles_per_mac": "cycles of a multiply-accumulate",
        "cycles_per_element": "cycles of an operation on one element",
        "cycles_per_function": "cycles of an exponential, a logarithm and the like",
    },
    Link: {
        "from": "the engine that sends",
        "to": "the engine that receives: another; each pair in each direction once",
        "pj_per_byte": "energy of a byte, besides what the memories take",
        "bytes_per_cycle": "its width; a value takes whole cycles",
    },
    Published: {
        "engine": "whose peak it is",
        "scope": "what its energy covers: the array, the engine, or the whole chip",
        "input_bits": "bits of inputs that it was stated for",
        "weight_bits": "bits of weights (1.5 for ternary)",
        "output_bits": "bits of results",
        "tops": "operations in a second; a MAC is two",
        "tops_per_w": "operations for a joule",
        "derived": "key paths of this file that were computed from this figure",
        "source": "where it was published",
    },
    Quantity: {
        "value": "the number, in the unit that ends its key",
        "low": "the least it may be; wanted of an assumption",
        "high": "the most it may be; wanted of an assumption",
        "source": "where it comes from; `assumption: WHY` where there is no source",
    },
}  # fmt: skip

# By the end of a key, the longest first.
UNIT_OF = {
    "bytes_per_cycle": "byte/cycle", "pj_per_byte": "pJ/byte", "_pj_per_bit": "pJ/bit",
    "_ns_per_row": "ns/row", "_pj": "pJ", "_ns": "ns", "_mw": "mW", "_mhz": "MHz", "_nm": "nm",
    "_lsb": "converter steps", "_bytes": "byte", "_bits": "bit", "_cycles": "cycle",
    "_bits_per_step": "bit", "tops_per_w": "TOPS/W", "tops": "TOPS", "_v": "V",
}  # fmt: skip

# Which components suit a key, the likeliest first.
SUITING: dict[type[Strict], dict[str, tuple[str, ...]]] = {
    Chip: {"static_mw": ("sram_leakage",)},
    Memory: {
        "read_pj_per_byte": ("sram_read", "dram", "register", "link"),
        "write_pj_per_byte": ("sram_write", "dram", "register", "link"),
    },
    Link: {"pj_per_byte": ("link",)},
    Analog: {
        "step_ns": ("analog_step",),
        "cell_pj": ("analog_cell",),
        "bitline_pj": ("analog_bitline",),
        "row_driver_pj": ("row_driver",),
        "converter_pj": ("converter",),
        "recombine_pj": ("recombination",),
        "write_pj_per_bit": ("cell_write",),
    },
    MacArray: {
        "mac_pj": ("multiply_accumulate", "digital_array_mac"),
        "accumulate_pj": ("digital_array_accumulate",),
        "idle_lane_pj": ("digital_array_idle_lane",),
        "weight_read_pj_per_byte": ("sram_read", "register"),
        "weight_write_pj_per_byte": ("sram_write", "register"),
    },
    VectorUnit: {"operation_pj": ("vector_operation",)},
    Host: {"cycle_pj": ("host_cycle",)},
}
# These hold the costs of other people's models, some of them without limits: not typical of chips.
COMPARISONS = {"diana_odimo", "eyeriss_like", "tpu_like", "zigzag_aimc", "zigzag_dimc"}
# What only gives a time that a chip file writes in cycles.
WITHOUT_KEY = {"digital_array_step": "the cycle time of a digital in-memory array, by hand"}


def keys_tables() -> str:
    """The tables of all keys, one for each table of a chip file."""
    return "\n".join(_table(table, place) for table, place in TABLES.items())


def components_table() -> str:
    """The table of components: which keys each suits, its unit, its parameters, what it is."""
    rows = [
        "| component | suits the key | unit | parameters (a default in brackets) | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, component in COMPONENTS.items():
        places = [
            f"`{key}` ({_short(TABLES[table])})"
            for table, keys in SUITING.items()
            for key, suiting in keys.items()
            if name in suiting
        ]
        given = [_parameter(key, one.default) for key, one in component.parameters.items()]
        given += [f"`{key}`" for key in DATA if component.takes_data]
        unit = component.unit.replace("_per_", "/").replace("pj", "pJ").replace("mw", "mW")
        where = ", ".join(places) or WITHOUT_KEY[name]
        rows.append(
            f"| `{name}` | {where} | {unit} | {', '.join(given) or 'none'} | {component.says} |"
        )
    return "\n".join(rows) + "\n"


def _short(place: str) -> str:
    """A table's place in a few words: `memories.NAME`, `engine.array`."""
    return place.split(" of ")[0].strip("[]").replace("engines.NAME", "engine")


def _parameter(key: str, default: object) -> str:
    if default is None:
        return f"`{key}`"
    shown = str(default).lower() if isinstance(default, bool) else f"{default:g}"
    return f"`{key}` ({shown})"


def faults() -> list[str]:
    """What is missing or stale among the words above, one line each."""
    found = [f"{table.__name__} has no place on the page" for table in _reached(Chip) - set(TABLES)]
    for table in TABLES:
        keys, told = set(_fields(table)), set(MEANINGS[table])
        found += [f"say in MEANINGS what {table.__name__}.{key} means" for key in keys - told]
        found += [f"{table.__name__} has no key {key} any more" for key in told - keys]
        for key, names in SUITING.get(table, {}).items():
            wanted = next((unit for unit in UNITS if f"_{key}".endswith(f"_{unit}")), "")
            units = [COMPONENTS[name].unit for name in names]
            found += [f"{key} is not in {unit}" for unit in units if unit != wanted]
    suiting = {name for keys in SUITING.values() for names in keys.values() for name in names}
    lost = set(COMPONENTS) - suiting - set(WITHOUT_KEY)
    return found + [f"say which key the component {name} suits" for name in lost]


def _fields(table: type[Strict]) -> dict[str, FieldInfo]:
    """The keys of a table as a file spells them."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def _reached(table: type[BaseModel]) -> set[type[Strict]]:
    """A table and all that its keys hold, without the kinds of values."""
    found: set[type[Strict]] = {table} if issubclass(table, Strict) else set()
    for field in table.model_fields.values():
        for kind in _kinds(field.annotation):
            if issubclass(kind, Strict) and not issubclass(kind, Quantity | Whole | Statement):
                found |= _reached(kind)
    return found


def _kinds(annotation: Any) -> Iterator[type]:
    """The classes in an annotation, through unions, containers and Annotated."""
    inner = get_args(annotation)
    if get_origin(annotation) is Literal:
        return
    if inner:
        for one in inner:
            yield from _kinds(one)
    elif isinstance(annotation, type):
        yield annotation


def _table(table: type[Strict], place: str) -> str:
    """One table of keys."""
    shown = f"`{place}`" if place.startswith("[") and " " not in place else place
    rows = [
        f"### {shown}\n",
        "| key | unit | meaning | takes | typical |",
        "| --- | --- | --- | --- | --- |",
    ]
    for key, field in _fields(table).items():
        optional = "" if field.is_required() else " (may be left out)"
        cells = (
            f"`{key}`{optional}",
            _unit(key, field),
            MEANINGS[table].get(key, "?"),
            _takes(table, key, field),
            _typical(table, key),
        )
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _unit(key: str, field: FieldInfo) -> str:
    kinds = set(_kinds(field.annotation))
    if not kinds & {Quantity, Rate, Whole, float} or key == "components":
        return ""
    endings = [unit for end, unit in UNIT_OF.items() if key.endswith(end)]
    if endings:
        return endings[0]
    return "cycle" if key.startswith("cycles_") else "" if key in ("value", "low", "high") else "1"


def _takes(table: type[Strict], key: str, field: FieldInfo) -> str:
    """The kind of value and its range, in words."""
    limits = {name: (low, high) for name, low, high in ANALOG_LIMITS}
    kinds = set(_kinds(field.annotation))
    literal = _literals(field.annotation)
    if literal:
        return " or ".join(f'`"{word}"`' for word in literal)
    if table is Analog and key == "cell_levels":
        return "whole number: 2, 4, 8 to 128, or odd from 3 to 255"
    if table is Analog and key in limits:
        low, high = limits[key]
        return f"whole number, {low:,} to {high:,}"
    if table is Quantity and key != "source":
        return "number, 0 to 1e15"
    if Whole in kinds:
        return "whole number, 1 or more"
    if Rate in kinds:
        return "number, 1e-6 or more"
    if key == "components":
        return "numbers"
    if Quantity in kinds:
        return "number, 0 or more"
    if Statement in kinds:
        return "`true` or `false`"
    if float in kinds:
        return "plain number above 0" + (", at most 64" if "bits" in key else "")
    if str in kinds and get_origin(field.annotation) is tuple:
        return "list of texts"
    if kinds & set(TABLES):
        return "a table" if get_origin(field.annotation) is not tuple else "tables"
    return "text"


def _literals(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return tuple(map(str, get_args(annotation)))
    if get_origin(annotation) in (Union, UnionType):
        return tuple(word for one in get_args(annotation) for word in _literals(one))
    return ()


@cache
def _numbers() -> Mapping[tuple[type[Strict], str], tuple[list[float], int]]:
    """Of every key the values in the shipped chips, and how many tables of its kind there are."""
    values: dict[tuple[type[Strict], str], list[float]] = {}
    tables: dict[type[Strict], int] = {}
    for name in sorted(set(built_in()) - COMPARISONS):
        for table in _inside(load_target(name).chip):
            kind = type(table)
            tables[kind] = tables.get(kind, 0) + 1
            for key, field in kind.model_fields.items():
                entry = getattr(table, key)
                if isinstance(entry, Quantity | Whole | Statement):
                    values.setdefault((kind, field.alias or key), []).append(entry.value)
    return {key: (found, tables[key[0]]) for key, found in values.items()}


def _inside(table: Any) -> Iterator[Strict]:
    """A table and the tables in it."""
    if isinstance(table, Mapping):
        for one in table.values():
            yield from _inside(one)
    if isinstance(table, tuple):
        for one in table:
            yield from _inside(one)
    if isinstance(table, Strict) and not isinstance(table, Quantity | Whole | Statement):
        yield table
        for name in type(table).model_fields:
            yield from _inside(getattr(table, name))


def _typical(table: type[Strict], key: str) -> str:
    """What the shipped chips have: the middle value, the range, how many have the key."""
    found, tables = _numbers().get((table, key), ([], 0))
    if not found:
        return ""
    low, high = min(found), max(found)
    if isinstance(low, bool):
        words = "both" if low != high else str(bool(low)).lower()
    elif low == high:
        words = _shown(low)
    else:
        words = f"{_shown(median_low(found))} ({_shown(low)} to {_shown(high)})"
    return words if len(found) == tables else f"{words}; in {len(found)} of {tables}"


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.3g}"
