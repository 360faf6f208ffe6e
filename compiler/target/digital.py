"""The digital engine of a chip file: an array of multipliers and a vector unit.

The multipliers lie next to the memory of the weights, or inside it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import model_validator

from compiler.target.keys import key
from compiler.target.quantity import Quantity, Statement, Strict, Whole
from compiler.units import ZERO, Estimate

Arithmetic = Literal["int8", "float32"]


class MacArray(Strict):
    """Multipliers: `columns` outputs x neighbouring `positions` x `rows` of the patch.

    One step sums the rows; what is left out is 1. They multiply int8 unless `arithmetic` says
    otherwise. A step takes `cycles_per_step` cycles: more than one where inputs enter bit by bit.
    Several `arrays` share a layer by its columns and groups. Where `holds_weights`, the multipliers
    lie in the memory of the weights (digital in-memory computing): using a weight costs no read,
    and a layer that stays takes whole arrays of it. Lanes without work are gated, or take
    `idle_lane_pj` in each step. `accumulate_pj` is what a step costs for each output beside its
    multiplications, where `mac_pj` does not include it. With `odimo` the cycles are counted as
    ODiMO counts them (compiler.cost.odimo). `cycle_scale` multiplies the cycles of a layer: one
    factor between what is counted here and what was measured, where it was.
    """

    arithmetic: Annotated[Arithmetic, key("what the multipliers compute in")] = "int8"
    arrays: Annotated[
        Whole | None,
        key("arrays that share a layer by its columns and groups; left out: 1", "array"),
    ] = None
    rows: Annotated[
        Whole | None, key("inputs of a patch that one step sums; left out: 1", "row")
    ] = None
    columns: Annotated[Whole, key("output channels that one step computes", "column")]
    positions: Annotated[
        Whole | None, key("neighbouring outputs that one step computes; left out: 1", "output")
    ] = None
    cycles_per_step: Annotated[
        Whole | None,
        key("cycles of a step (more than one: inputs bit by bit); left out: 1", "cycle"),
    ] = None
    holds_weights: Annotated[
        Statement | None,
        key("whether the multipliers lie in the weights' memory; left out: no"),
    ] = None
    weight_memory_bytes: Annotated[Whole, key("weights that can stay between inferences")]
    weight_load_bytes_per_cycle: Annotated[Whole, key("width of the port that loads weights")]
    activation_bytes_per_cycle: Annotated[Whole, key("width of the port for inputs and outputs")]
    block_overhead_cycles: Annotated[
        Quantity | None, key("cycles of each block besides its steps; left out: 0")
    ] = None
    odimo: Annotated[
        Statement | None, key("whether cycles are counted by ODiMO's published formula instead")
    ] = None
    cycle_scale: Annotated[
        Quantity | None, key("what a layer's cycles are multiplied with; left out: 1", "1")
    ] = None
    mac_pj: Annotated[Quantity, key("one multiply-accumulate")]
    accumulate_pj: Annotated[
        Quantity | None, key("an output in one step, where `mac_pj` does not include it")
    ] = None
    idle_lane_pj: Annotated[
        Quantity | None, key("a multiplier without work in one step; left out: it is gated")
    ] = None
    weight_read_pj_per_byte: Annotated[
        Quantity | None, key("reading a weight to use it; not where `holds_weights`")
    ] = None
    weight_write_pj_per_byte: Annotated[Quantity, key("loading a weight")]

    @model_validator(mode="after")
    def _check_weights(self) -> MacArray:
        if self.is_in_memory and self.weight_read_pj_per_byte is not None:
            raise ValueError("weight_read_pj_per_byte: an array that holds its weights reads none")
        if not self.is_in_memory and self.weight_read_pj_per_byte is None:
            raise ValueError(
                "weight_read_pj_per_byte: missing; wanted, as holds_weights is not true"
            )
        if self.is_in_memory and self.weight_memory_bytes.value < self.array_bytes:
            raise ValueError(
                f"weight_memory_bytes: found {self.weight_memory_bytes.value:,}, "
                f"wanted {self.array_bytes:,} or more: one array alone holds so many"
            )
        return self

    @property
    def is_in_memory(self) -> bool:
        """Whether the multipliers lie in the weights' memory."""
        return self.holds_weights is not None and self.holds_weights.value

    @property
    def row_lanes(self) -> int:
        """The rows of a patch that one step sums."""
        return self.rows.value if self.rows else 1

    @property
    def position_lanes(self) -> int:
        """The neighbouring positions that one step computes."""
        return self.positions.value if self.positions else 1

    @property
    def lanes(self) -> int:
        """The multipliers of one array."""
        return self.row_lanes * self.columns.value * self.position_lanes

    @property
    def number_bytes(self) -> int:
        """The bytes of a weight."""
        return 4 if self.arithmetic == "float32" else 1

    @property
    def array_bytes(self) -> int:
        """The bytes of weights that one array uses in one step."""
        return self.row_lanes * self.columns.value * self.number_bytes

    @property
    def array_count(self) -> int:
        """How many arrays there are."""
        return self.arrays.value if self.arrays else 1

    @property
    def step_cycles(self) -> int:
        """The cycles of one step."""
        return self.cycles_per_step.value if self.cycles_per_step else 1

    def cycles_of(self, steps: int) -> Estimate:
        """Computes the cycles of so many steps."""
        whole = self.cycles_per_step
        return whole.estimate.times(steps) if whole else Estimate.exact(steps)

    @property
    def overhead_cycles(self) -> Estimate:
        """The cycles that each block takes beside its steps."""
        return self.block_overhead_cycles.estimate if self.block_overhead_cycles else ZERO


class VectorUnit(Strict):
    """What computes element by element: `operations` are ONNX operators, and Requantize."""

    arithmetic: Annotated[Arithmetic, key("what the unit computes in")] = "int8"
    elements_per_cycle: Annotated[Whole, key("operations in a cycle", "operation/cycle")]
    operations: Annotated[tuple[str, ...], key("ONNX operations that it has, and Requantize")]
    operation_pj: Annotated[Quantity, key("one operation on one element")]


class Digital(Strict):
    """A digital engine: an array of multipliers, a vector unit, or both.

    `active_mw` is power that it takes while it works, beside theirs.
    """

    kind: Annotated[Literal["digital"], key("a digital engine")]
    active_mw: Annotated[
        Quantity | None, key("power while the engine works, besides the energies of its units")
    ] = None
    array: Annotated[
        MacArray | None, key("the multipliers; left out: it multiplies no matrices")
    ] = None
    vector: Annotated[
        VectorUnit | None, key("the unit for element-by-element work; left out: there is none")
    ] = None

    @model_validator(mode="after")
    def _check_units(self) -> Digital:
        if self.array is None and self.vector is None:
            raise ValueError("wanted an array, a vector unit, or both")
        if self.array and self.vector and self.array.arithmetic != self.vector.arithmetic:
            raise ValueError(
                f"arithmetic: found {self.array.arithmetic} of the array and "
                f"{self.vector.arithmetic} of the vector unit, wanted the same"
            )
        return self

    @property
    def arithmetic(self) -> Arithmetic:
        """What its units compute in."""
        unit = self.array or self.vector
        return unit.arithmetic if unit else "int8"

    @property
    def vector_operations(self) -> tuple[str, ...]:
        """The operations of the vector unit, none where there is no such unit."""
        return self.vector.operations if self.vector else ()

    @property
    def weight_memory_bytes(self) -> int:
        """The bytes of weights that the array can keep, 0 where there is no array."""
        return self.array.weight_memory_bytes.value if self.array else 0
