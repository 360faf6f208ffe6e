"""Describes how a node lies on an engine: a frozen value in placement, candidate and step alike.

compiler.engines.mapping builds it; cost, layout, bound and report read it and never compute it
again. Its text form is `compiler.ir.records`, its form in a plan the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

from compiler.ir.formats import FLOAT, INT8, Format


@dataclass(frozen=True)
class Resource:
    """What layers compete for on an engine: its arrays' columns, or its weight memory's bytes."""

    engine: str
    kind: Literal["columns", "weight_bytes"]

    @property
    def words(self) -> str:
        """The resource as reasons name it."""
        if self.kind == "columns":
            return f"columns of the {self.engine} arrays"
        return f"bytes of {self.engine} weight memory"


@dataclass(frozen=True)
class ProductShape:
    """A layer as matrices: for each of `groups`, `rows` x `columns` weights.

    They are used at `positions` places.
    """

    groups: int
    rows: int
    columns: int
    positions: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return self.groups * self.rows * self.columns * self.positions

    @property
    def weights(self) -> int:
        """The number of weights."""
        return self.groups * self.rows * self.columns


@dataclass(frozen=True)
class Unroll:
    """Neighbouring outputs of a line that one activation computes, each on columns of its own.

    Their patches overlap and together take `rows` rows; a copy of the weights lies on the rows of
    its own patch, with zeros on the others, so the numbers are those of one output at a time.
    `activations` is what all positions take.
    """

    outputs: int
    rows: int
    activations: int


@dataclass(frozen=True, kw_only=True)
class AnalogMapping:
    """A layer on an engine's arrays, in tiles of `array_rows` x `array_columns` cells.

    `array_steps` is how often the rows are driven for one position, a slice of the inputs' bits
    each. `input_reads` is how often each input byte is read from memory. `reserved_columns` are the
    columns, over all rows, that no other layer can have while this one lies there. The weights stay
    between inferences where they are `resident`.
    """

    format: Format
    shape: ProductShape
    array_rows: int
    array_columns: int
    row_tiles: int
    column_tiles: int
    array_steps: int
    input_reads: float
    reserved_columns: int
    unroll: Unroll
    resident: bool
    kind: Literal["analog"] = "analog"

    @property
    def engine(self) -> str:
        """The engine whose arrays hold the layer."""
        return self.format.engine

    @property
    def weight_slices(self) -> int:
        """The neighbouring cells that hold a weight."""
        return self.format.weight_slices

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers that must be 1 or more in a mapping of anything, by name."""
        return {
            "groups": self.shape.groups,
            "rows": self.shape.rows,
            "columns": self.shape.columns,
            "array_rows": self.array_rows,
            "array_columns": self.array_columns,
            "row_tiles": self.row_tiles,
            "column_tiles": self.column_tiles,
            "array_steps": self.array_steps,
            "outputs": self.unroll.outputs,
            "weight_slices": self.weight_slices,
        }

    @property
    def copies(self) -> int:
        """How often the weights lie in the arrays: once for each output of an activation."""
        return self.unroll.outputs

    @property
    def tiles(self) -> int:
        """Arrays' worth of cells the layer occupies."""
        return self.shape.groups * self.row_tiles * self.column_tiles

    @property
    def rounds(self) -> int:
        """Activations one after another for one position.

        Resident tiles lie on arrays of their own and are active at once, others take turns on one
        array.
        """
        return 1 if self.resident else self.tiles

    @property
    def used_cells(self) -> int:
        """Cells that hold a slice of a weight, in all copies."""
        return self.copies * self.shape.weights * self.weight_slices

    @property
    def written_cells(self) -> int:
        """Cells that loading the layer writes: with copies, the zeros between them too."""
        return self.copies * self.shape.groups * self.unroll.rows * self.physical_columns

    @property
    def physical_columns(self) -> int:
        """Columns of cells that one output of each column of the matrix takes."""
        return self.shape.columns * self.weight_slices

    @property
    def array_cells(self) -> int:
        """Cells of the tiles the layer occupies."""
        return self.tiles * self.array_rows * self.array_columns

    @property
    def utilization(self) -> float:
        """The share of those cells that is used."""
        return self.used_cells / self.array_cells

    @cached_property
    def uses(self) -> dict[Resource, int]:
        """What it takes of the engine: for good where it is resident, else while it runs."""
        columns = self.reserved_columns
        if not self.resident:
            columns = min(columns, self.array_columns)
        return {Resource(self.engine, "columns"): columns}

    def describe(self) -> str:
        """The mapping in words."""
        shape = self.shape
        groups = f"{shape.groups} x " if shape.groups > 1 else ""
        digits = f" x {self.weight_slices} digits" if self.weight_slices > 1 else ""
        steps = f" in {self.array_steps} steps" if self.array_steps > 1 else ""
        pixels = f", {self.unroll.outputs} pixels at a time" if self.unroll.outputs > 1 else ""
        plural = "s" if self.tiles > 1 else ""
        return (
            f"{groups}{shape.rows}x{shape.columns}{digits}{steps}: {self.tiles} tile{plural} of "
            f"{self.array_rows}x{self.array_columns}, {100 * self.utilization:.0f} % used{pixels}"
        )


@dataclass(frozen=True, kw_only=True)
class DigitalTiling:
    """A layer on a digital array: blocks of output channels (or of groups) x output positions.

    A block takes `row_steps` steps of `row_lanes` x `column_lanes` x `position_lanes` multipliers;
    `rounds` blocks follow one another on the busiest array. `weight_bytes` is what the layer takes
    of the weight memory while its weights stay, `working_bytes` what it needs free to be loaded
    block by block, `weight_bytes_read` what the multipliers read of it. `input_reads` is how often
    each input byte is read from memory.
    """

    shape: ProductShape
    row_lanes: int
    column_lanes: int
    position_lanes: int
    blocks: int
    rounds: int
    row_steps: int
    weight_bytes_read: int
    weight_bytes: int
    working_bytes: int
    input_reads: float

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers that must be 1 or more in a tiling of anything, by name."""
        return {
            "macs": self.shape.macs,
            "row_lanes": self.row_lanes,
            "column_lanes": self.column_lanes,
            "position_lanes": self.position_lanes,
            "blocks": self.blocks,
            "row_steps": self.row_steps,
        }

    @property
    def lane_steps(self) -> int:
        """Multipliers times steps, busy or idle."""
        lanes = self.row_lanes * self.column_lanes * self.position_lanes
        return self.blocks * self.row_steps * lanes

    def describe(self) -> str:
        """The tiling in words."""
        lanes = [self.row_lanes] if self.row_lanes > 1 else []
        lanes += [self.column_lanes, self.position_lanes]
        used = self.shape.macs / self.lane_steps
        blocks = "1 block" if self.blocks == 1 else f"{self.blocks} blocks"
        return f"{blocks} of {'x'.join(map(str, lanes))}, {100 * used:.0f} % used"


@dataclass(frozen=True, kw_only=True)
class DigitalMapping:
    """A node on a digital engine: a product in its `tiling`, or any other node on the vector unit.

    The weights of a product stay between inferences where they are `resident`.
    """

    engine: str
    format: Format = INT8
    tiling: DigitalTiling | None = None
    resident: bool = True
    kind: Literal["digital"] = "digital"

    @cached_property
    def uses(self) -> dict[Resource, int]:
        """What it takes of the engine: for good where it is resident, else while it runs."""
        if self.tiling is None:
            return {}
        size = self.tiling.weight_bytes if self.resident else self.tiling.working_bytes
        return {Resource(self.engine, "weight_bytes"): size}

    def describe(self) -> str:
        """The mapping in words, none for the vector unit."""
        return self.tiling.describe() if self.tiling else ""


@dataclass(frozen=True, kw_only=True)
class HostMapping:
    """A node on the host: it computes the model's own numbers and reads weights where they lie."""

    engine: str
    format: Format = FLOAT
    kind: Literal["host"] = "host"

    @property
    def resident(self) -> bool:
        """Always: there is no load to pay."""
        return True

    @property
    def uses(self) -> dict[Resource, int]:
        """Nothing: the host competes for no array."""
        return {}

    def describe(self) -> str:
        """No words: nothing is laid out."""
        return ""


NodeMapping: TypeAlias = AnalogMapping | DigitalMapping | HostMapping
