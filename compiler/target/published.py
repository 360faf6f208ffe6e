"""The peaks that a chip's makers published, as a chip file lists them.

The peaks that follow from the file's own constants are compared with them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from compiler.target.keys import key
from compiler.target.quantity import Strict

Bits = Annotated[float, Field(strict=True, gt=0, le=64)]
Figure = Annotated[float, Field(strict=True, gt=0, le=1e9)]


class Published(Strict):
    """A peak of one engine, at the bits it was stated for.

    An operation is a multiplication or an addition.

    `scope` says what its energy covers (compiler.cost.peak has the parts). `derived` names the
    numbers of this file that were computed from this very figure: there the prediction says nothing
    new.
    """

    engine: Annotated[str, key("whose peak it is")]
    scope: Annotated[
        Literal["array", "engine", "chip"],
        key("what its energy covers: the array, the engine, or the whole chip"),
    ]
    input_bits: Annotated[Bits, key("bits of inputs that it was stated for")]
    weight_bits: Annotated[Bits, key("bits of weights (1.5 for ternary)")]
    output_bits: Annotated[Bits, key("bits of results")]
    tops: Annotated[Figure | None, key("operations in a second; a MAC is two")] = None
    tops_per_w: Annotated[Figure | None, key("operations for a joule")] = None
    derived: Annotated[
        tuple[str, ...], key("key paths of this file that were computed from this figure")
    ] = ()
    source: Annotated[str, Field(min_length=3), key("where it was published")]

    @model_validator(mode="after")
    def _check_figure(self) -> Published:
        if self.tops is None and self.tops_per_w is None:
            raise ValueError("wanted tops, tops_per_w, or both")
        return self

    @property
    def figures(self) -> dict[str, float]:
        """What was published, by unit."""
        given = {"TOPS": self.tops, "TOPS/W": self.tops_per_w}
        return {unit: value for unit, value in given.items() if value is not None}
