"""The analog in-memory engine of a chip file: arrays of cells, row drivers and converters."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Literal

from pydantic import model_validator

from compiler.target.keys import Within, key
from compiler.target.quantity import Quantity, Statement, Strict, Whole

# A signed input, or code, of one bit has no positive value; the rest keeps powers of these within
# what numpy computes with.
CELL_LEVELS = frozenset((*(1 << bits for bits in range(1, 8)), *range(3, 256, 2)))
# A whole array is written out cell by cell, a byte each: 256 MiB at most.
MOST_LINES = 1 << 14


class PixelUnroll(Strict):
    """Several neighbouring outputs of a line in one activation.

    Their number is 1, 2, 4 and so on up to `most`; each has a copy of the weights. Rows are wired
    in blocks of channels: a convolution of fewer than `least_channels` takes the rows of so many.
    """

    most: Annotated[
        Whole, key("the most outputs of one activation: 1, 2, 4 and so on up to it", "output")
    ]
    least_channels: Annotated[Whole, key("rows are wired in blocks of so many channels", "channel")]


class OdimoCycles(Strict):
    """Time counted as ODiMO counts it (compiler.cost.odimo).

    An activation takes `channels_per_activation` input channels; a load writes the rows that the
    layer needs, or all of them where `loads_all_rows`.
    """

    channels_per_activation: Annotated[
        Whole, key("input channels that one activation takes", "channel")
    ]
    loads_all_rows: Annotated[
        Statement, key("whether a load writes all rows, or those that a layer uses")
    ]


class Analog(Strict):
    """An analog in-memory engine: arrays of cells, row drivers and converters.

    A digital part recombines the converters' codes. A weight is held as digits of `cell_levels`
    levels (odd: balanced digits; a power of two: two's complement in that base), one cell column a
    digit. Inputs drive the rows with all their bits at once, or `input_bits_per_step` in each step,
    least significant first; `step_ns` and the energies of drivers, cells and converters are those
    of one step. `cell_pj` is that of a cell with its bitline, in driven rows and converted columns;
    where `bitline_pj` gives the bitline separately, charges follow the wires: every cell of a
    driven row, and the bitline of a converted column over all rows of the array. `active_mw` is
    power that the engine takes while it works, beside those.
    """

    kind: Annotated[Literal["analog"], key("an analog in-memory engine")]
    arrays: Annotated[Whole, key("arrays that can work at once", "array")]
    rows: Annotated[
        Whole,
        Within(1, MOST_LINES),
        key("rows of an array: inputs that one activation sums", "row"),
    ]
    columns: Annotated[
        Whole,
        Within(1, MOST_LINES),
        key("columns of an array, each with a converter or a share of one", "column"),
    ]
    cell_levels: Annotated[
        Whole,
        Within(2, 255),
        key(
            "levels of a cell: odd for balanced digits (3 to 255), "
            "a power of two for two's complement (2 to 128)",
            "level",
        ),
    ]
    cell_storage_bits: Annotated[Whole, key("bits of a cell as the weights' memory keeps them")]
    max_digits: Annotated[
        Whole, Within(1, 32), key("the most columns that one weight may take", "column")
    ]
    input_bits: Annotated[Whole, Within(2, 16), key("bits of an input")]
    input_bits_per_step: Annotated[
        Whole | None, key("bits that drive a row at once; left out: all of them")
    ] = None
    converter_bits: Annotated[Whole, Within(2, 32), key("bits of a converter's code")]
    takes_groups: Annotated[
        Statement, key("whether grouped and depthwise convolutions may run on the arrays")
    ]
    pixel_unroll: Annotated[
        PixelUnroll | None, key("several outputs of a line in one activation; left out: one")
    ] = None
    odimo: Annotated[
        OdimoCycles | None, key("time counted by ODiMO's published formula instead")
    ] = None
    active_mw: Annotated[
        Quantity | None, key("power while the engine works, besides the energies below")
    ] = None
    converter_noise_lsb: Annotated[
        Quantity, key("standard deviation of the noise before the converter rounds")
    ]
    step_ns: Annotated[Quantity, key("time of one step: rows driven, columns converted")]
    cell_pj: Annotated[
        Quantity,
        key("one cell in one step, its piece of bitline included unless `bitline_pj` is given"),
    ]
    bitline_pj: Annotated[
        Quantity | None,
        key("a cell's piece of bitline in one step, where it is counted by itself"),
    ] = None
    row_driver_pj: Annotated[Quantity, key("driving one row once with `input_bits_per_step` bits")]
    converter_pj: Annotated[Quantity, key("one conversion")]
    recombine_pj: Annotated[
        Quantity, key("one conversion's share of adding up digits, slices and tiles")
    ]
    load_ns_per_row: Annotated[Quantity, key("writing one row of cells")]
    write_pj_per_bit: Annotated[Quantity, key("writing one bit of a cell")]

    @model_validator(mode="after")
    def _check_geometry(self) -> Analog:
        levels = self.cell_levels.value
        if levels not in CELL_LEVELS:
            raise ValueError(
                f"cell_levels: found {levels}, "
                "wanted a power of two up to 128, or an odd number from 3 to 255"
            )
        return self

    @property
    def total_columns(self) -> int:
        """The columns of all arrays together."""
        return self.arrays.value * self.columns.value

    @property
    def bits_per_step(self) -> int:
        """The input bits that drive a row in one step."""
        return (self.input_bits_per_step or self.input_bits).value

    @property
    def steps(self) -> int:
        """The steps of one activation: as many as there are slices of an input."""
        return ceil(self.input_bits.value / self.bits_per_step)
