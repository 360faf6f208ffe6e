"""Lists what the numbers of a chip file must have in common: rules that say why they do not.

Each rule explains what contradicts what, with both numbers, and gives an empty string where
nothing does. `targets check` and every command that reads a chip refuse a chip that breaks one;
what is merely odd is a warning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from compiler.errors import nearest, one_line
from compiler.ir.vector_operations import FLOAT_VECTOR, INTEGER_VECTOR
from compiler.target.analog import Analog
from compiler.target.digital import Digital, MacArray, VectorUnit
from compiler.target.memory import Memory
from compiler.target.quantity import ComponentQuantity, Quantity

Part = TypeVar("Part")
# What the kind of a cell decides.
CELL_KEYS = ("cell_pj", "write_pj_per_bit", "load_ns_per_row")


@dataclass(frozen=True)
class Rule(Generic[Part]):
    """What must hold of a part of a chip, in words, and the function that says why it does not.

    The answer is "KEY: WHAT", with the key inside the part.
    """

    holds: str
    why_not: Callable[[Part], str]


def why_not_operations(unit: VectorUnit) -> str:
    """Explains which operation no vector unit of that arithmetic can have, or is there twice."""
    known = FLOAT_VECTOR if unit.arithmetic == "float32" else INTEGER_VECTOR
    for position, operation in enumerate(unit.operations):
        shown = one_line(operation, 60)
        if operation in unit.operations[:position]:
            return f"operations: {shown!r} stands there twice"
        # Requantize is of no use to floats, and does no harm.
        if operation in known or operation == "Requantize":
            continue
        hint = nearest(operation, list(known)) or f"there are {', '.join(known)}"
        return f"operations: no {unit.arithmetic} vector unit has {shown!r}; {hint}"
    return ""


def why_not_levels(engine: Analog) -> str:
    """Explains that a cell has more levels than its bits can tell apart."""
    levels, bits = engine.cell_levels.value, engine.cell_storage_bits.value
    if levels <= 1 << min(bits, 32):
        return ""
    needed = (levels - 1).bit_length()
    return (
        f"cell_levels: {levels} levels do not fit in cell_storage_bits, {bits} "
        f"({1 << bits} levels); wanted {needed} bits or fewer levels"
    )


def why_not_input_bits(engine: Analog) -> str:
    """Explains that a step takes more bits than an input has."""
    if engine.bits_per_step <= engine.input_bits.value:
        return ""
    return (
        f"input_bits_per_step: {engine.bits_per_step} is more than input_bits, "
        f"{engine.input_bits.value}"
    )


def why_not_unroll(engine: Analog) -> str:
    """Explains that no layer can be unrolled: its block of rows is larger than an array."""
    unroll = engine.pixel_unroll
    if unroll is None or unroll.least_channels.value <= engine.rows.value:
        return ""
    return (
        f"pixel_unroll.least_channels: {unroll.least_channels.value:,} is more than rows, "
        f"{engine.rows.value:,}: no layer fits"
    )


def why_not_odimo(engine: Analog) -> str:
    """Explains that an activation takes more channels than an array has rows."""
    odimo = engine.odimo
    if odimo is None or odimo.channels_per_activation.value <= engine.rows.value:
        return ""
    return (
        f"odimo.channels_per_activation: {odimo.channels_per_activation.value:,} is more than "
        f"rows, {engine.rows.value:,}"
    )


def why_not_converter(engine: Analog) -> str:
    """Explains that the converter's component is another converter than the engine's."""
    return (
        _unequal(engine.converter_pj, "converter_pj", "bits", engine.converter_bits.value,
                 "converter_bits")
        or _beyond(engine.converter_pj, "converter_pj", "sharing_columns", engine.columns.value,
                   "columns")
        or _in_array_rows(engine)
    )  # fmt: skip


def _in_array_rows(engine: Analog) -> str:
    number = engine.converter_pj
    if not isinstance(number, ComponentQuantity) or number.given.get("kind") != "in_array":
        return ""
    return _beyond(number, "converter_pj", "rows", engine.rows.value, "rows")


def why_not_driver(engine: Analog) -> str:
    """Explains that the row driver's component drives another row than the engine's."""
    found = _given(engine.row_driver_pj, "columns")
    columns = engine.columns.value
    # A signed cell may be a pair of cells, with a line of its own each.
    paired = 2 * columns if engine.cell_levels.value % 2 else columns
    if found is not None and found not in (columns, paired):
        pair = f", or {paired:,} where a signed cell is two" if paired > columns else ""
        return (
            f"row_driver_pj.columns: found {found:,.15g}, wanted {columns:,}, the engine's "
            f"columns{pair}"
        )
    return _unequal(
        engine.row_driver_pj, "row_driver_pj", "input_bits", engine.bits_per_step,
        "the bits of a step",
    )  # fmt: skip


def why_not_recombination(engine: Analog) -> str:
    """Explains that the recombination's component adds up other codes than the engine has."""
    number, key = engine.recombine_pj, "recombine_pj"
    return (
        _beyond(number, key, "slices", engine.max_digits.value, "max_digits")
        or _unequal(number, key, "converter_bits", engine.converter_bits.value, "converter_bits")
        or _unequal(number, key, "input_bits", engine.input_bits.value, "input_bits")
        or _unequal(number, key, "input_bits_per_step", engine.bits_per_step, "the bits of a step")
    )


def why_not_step(engine: Analog) -> str:
    """Explains that the step's component is a step of another array."""
    number, key = engine.step_ns, "step_ns"
    return (
        _unequal(number, key, "rows", engine.rows.value, "rows")
        or _unequal(number, key, "converter_bits", engine.converter_bits.value, "converter_bits")
        or _beyond(number, key, "slices", engine.max_digits.value, "max_digits")
        or _unequal(number, key, "input_bits", engine.input_bits.value, "input_bits")
        or _unequal(number, key, "input_bits_per_step", engine.bits_per_step, "the bits of a step")
    )


def why_not_bitline(engine: Analog) -> str:
    """Explains that the bitline is counted twice, or not at all."""
    has_bitline = _given(engine.cell_pj, "has_bitline")
    if has_bitline is None:
        return ""
    if has_bitline and engine.bitline_pj is not None:
        return (
            "cell_pj.has_bitline: found true, and bitline_pj counts the bitline again; wanted "
            "has_bitline = false, or no bitline_pj"
        )
    if not has_bitline and engine.bitline_pj is None:
        return "bitline_pj: missing; wanted, as cell_pj has has_bitline = false"
    return ""


def why_not_cells(engine: Analog) -> str:
    """Explains that the cells' components are of different kinds, or of other cells."""
    numbers = {key: getattr(engine, key) for key in CELL_KEYS}
    kinds = {key: kind for key, number in numbers.items() if (kind := _kind_of(number))}
    (first, kind), *others = kinds.items() or (("", ""),)
    for key, other in others:
        if other != kind:
            return f"{key}.kind: found {other}, wanted {kind}, as {first} has"
    bits, columns = engine.cell_storage_bits.value, engine.columns.value
    return _unequal(
        numbers["write_pj_per_bit"], "write_pj_per_bit", "bits_per_cell", bits, "cell_storage_bits"
    ) or _unequal(numbers["load_ns_per_row"], "load_ns_per_row", "columns", columns, "columns")


def _kind_of(number: Quantity) -> str:
    """The kind of resistive cell that a component was given."""
    kind = number.given.get("kind") if isinstance(number, ComponentQuantity) else ""
    return str(kind) if kind else ""


def why_not_binary(engine: Analog) -> str:
    """Explains that binary cells have no digit for the sign."""
    if engine.cell_levels.value == 2 and engine.max_digits.value < 2:
        return "max_digits: found 1, wanted 2 or more: binary cells need 2 digits"
    return ""


def why_not_mac_bits(array: MacArray) -> str:
    """Explains that the multiplier's component has other operands than the array."""
    bits = 8 * array.number_bytes
    for key in ("mac_pj", "accumulate_pj", "idle_lane_pj"):
        number = getattr(array, key)
        for operand in ("input_bits", "weight_bits"):
            if why := _unequal(number, key, operand, bits, f"the bits of {array.arithmetic}"):
                return why
    return ""


def why_not_adder_tree(array: MacArray) -> str:
    """Explains that the component of an array in memory sums other rows than the array."""
    for key in ("mac_pj", "accumulate_pj"):
        number = getattr(array, key)
        if _given(number, "rows") is None:
            continue
        if not array.is_in_memory:
            return (
                f"{key}: {number.component} is of an array that holds its weights, and "
                "holds_weights is not true"
            )
        why = _unequal(number, key, "rows", array.row_lanes, "rows") or _unequal(
            number, key, "outputs", array.columns.value, "columns"
        )
        if why:
            return why
    return ""


def why_not_weight_banks(array: MacArray) -> str:
    """Explains that a bank of the weights' memory is larger than the whole."""
    return next(
        (
            why
            for key in ("weight_read_pj_per_byte", "weight_write_pj_per_byte")
            if (
                why := _beyond(
                    getattr(array, key), key, "size_bytes", array.weight_memory_bytes.value,
                    "weight_memory_bytes",
                )
            )
        ),
        "",
    )  # fmt: skip


def why_not_banks(memory: Memory) -> str:
    """Explains that a bank of a memory is larger than the memory."""
    return next(
        (
            why
            for key in ("read_pj_per_byte", "write_pj_per_byte")
            if (
                why := _beyond(
                    getattr(memory, key), key, "size_bytes", memory.capacity_bytes.value,
                    "capacity_bytes",
                )
            )
        ),
        "",
    )  # fmt: skip


ANALOG_RULES = (
    Rule("a cell's levels fit in its storage bits", why_not_levels),
    Rule("binary cells have two digits, one for the sign", why_not_binary),
    Rule("a step takes no more bits than an input has", why_not_input_bits),
    Rule("a block of unrolled channels fits in the rows", why_not_unroll),
    Rule("ODiMO's activation takes no more channels than there are rows", why_not_odimo),
    Rule("the converter's component has the converter's bits", why_not_converter),
    Rule("the driver's component has the engine's columns, and a step's bits", why_not_driver),
    Rule("the recombination's component has the engine's bits", why_not_recombination),
    Rule("the step's component has the engine's rows and bits", why_not_step),
    Rule("the bitline is counted once", why_not_bitline),
    Rule("the cells' components are of one kind, and of the engine's cells", why_not_cells),
)
ARRAY_RULES = (
    Rule("the multiplier's component has the array's operands", why_not_mac_bits),
    Rule("an in-memory component has the array's rows and columns", why_not_adder_tree),
)
VECTOR_RULES = (Rule("a vector unit's operations are such as one can have", why_not_operations),)
# What is odd and no contradiction: a memory made smaller to see what happens keeps its banks.
BANK_RULE = Rule("a bank is no larger than its memory", why_not_banks)
WEIGHT_BANK_RULE = Rule("a bank of weights is no larger than their memory", why_not_weight_banks)


def oddities(engines: Mapping[str, object], memories: Mapping[str, Memory]) -> Iterator[str]:
    """Lists what is odd between the numbers of a chip, as 'key.path: why'."""
    for name, memory in memories.items():
        yield from _broken((BANK_RULE,), memory, f"memories.{name}")
    for name, engine in engines.items():
        if isinstance(engine, Digital) and engine.array is not None:
            yield from _broken((WEIGHT_BANK_RULE,), engine.array, f"engines.{name}.array")


def contradictions(engines: Mapping[str, object]) -> Iterator[str]:
    """Lists every rule that a chip breaks, as 'key.path: why'."""
    for name, engine in engines.items():
        if isinstance(engine, Analog):
            yield from _broken(ANALOG_RULES, engine, f"engines.{name}")
        if isinstance(engine, Digital) and engine.array is not None:
            yield from _broken(ARRAY_RULES, engine.array, f"engines.{name}.array")
        if isinstance(engine, Digital) and engine.vector is not None:
            yield from _broken(VECTOR_RULES, engine.vector, f"engines.{name}.vector")


def _broken(rules: tuple[Rule[Part], ...], part: Part, path: str) -> Iterator[str]:
    for rule in rules:
        if why := rule.why_not(part):
            yield f"{path}.{why}"


def _given(number: Quantity | None, parameter: str) -> float | None:
    """What a component was given for a parameter; None where there is none."""
    if not isinstance(number, ComponentQuantity):
        return None
    value = number.given.get(parameter)
    return None if value is None or isinstance(value, str) else value


def _unequal(number: Quantity | None, key: str, parameter: str, wanted: float, what: str) -> str:
    """Explains that a component's parameter is not what the engine has."""
    found = _given(number, parameter)
    if found is None or found == wanted:
        return ""
    return f"{key}.{parameter}: found {found:,.15g}, wanted {wanted:,} as {what}"


def _beyond(number: Quantity | None, key: str, parameter: str, most: float, what: str) -> str:
    """Explains that a component's parameter is more than the engine has."""
    found = _given(number, parameter)
    if found is None or found <= most:
        return ""
    return f"{key}.{parameter}: found {found:,.15g}, wanted no more than {most:,}, the {what}"
