"""The values of a chip file, each with its source: physical numbers, whole numbers, statements."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from compiler.target.keys import key
from compiler.units import Estimate, TracedEstimate, is_assumption


class Strict(BaseModel):
    """A table of a chip file: unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


# Far beyond anything physical, and small enough that no sum of products leaves the floats.
LEAST_RATE, MOST = 1e-6, 1e15
MOST_WHOLE = 1 << 50
Amount = Annotated[float, Field(strict=True, ge=0, le=MOST)]
Divisor = Annotated[float, Field(strict=True, ge=LEAST_RATE, le=MOST)]
Source = Annotated[
    str,
    Field(strict=True, min_length=3),
    key("where it comes from; `assumption: WHY` where there is no source"),
]


class Quantity(Strict):
    """A physical number: value, the interval it may lie in, and where it comes from.

    A source that starts with "assumption:" must give the interval; without an interval the number
    is taken as exact.
    """

    value: Annotated[Amount, key("the number, in the unit that ends its key")]
    low: Annotated[
        Amount | None, key("the least it may be, in the same unit; wanted of an assumption")
    ] = None
    high: Annotated[
        Amount | None, key("the most it may be, in the same unit; wanted of an assumption")
    ] = None
    source: Source

    @model_validator(mode="after")
    def _check_interval(self) -> Quantity:
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise ValueError(
                f"value {self.value} lies outside [{low}, {high}]: "
                "wanted low no more than value, high no less"
            )
        if self.is_assumption and (self.low is None or self.high is None):
            raise ValueError(
                "an assumption must state low and high: the interval that the number may lie in"
            )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """In a file a number is written out, or a component is named that gives it."""
        from compiler.target.parts.resolve import component_schemas

        written = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [written, *component_schemas()]}

    @property
    def is_assumption(self) -> bool:
        """Whether the number has no source but a stated guess."""
        return is_assumption(self.source)

    @property
    def estimate(self) -> TracedEstimate:
        """The number with its interval; an assumption rests on assumptions as a whole."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return TracedEstimate(self.value, low, high, self.value if self.is_assumption else 0.0)


class Rate(Quantity):
    """A physical number that others are divided by, so it must not be close to zero."""

    value: Annotated[Divisor, key("the number, in the unit that ends its key")]
    low: Annotated[
        Divisor | None, key("the least it may be, in the same unit; wanted of an assumption")
    ] = None


class ComponentQuantity(Quantity):
    """A number that a component of the library gave: which, and the parts that add up to it.

    `given` are its parameters. It is made at load, never written in a file.
    """

    component: str
    given: dict[str, float | str | bool]
    parts: dict[str, Estimate]


class Whole(Strict):
    """A whole number of the geometry, with its source."""

    value: Annotated[int, Field(strict=True, ge=1, le=MOST_WHOLE), key("the number")]
    source: Source

    @property
    def estimate(self) -> TracedEstimate:
        """The number, which has no spread; an assumption rests on assumptions as a whole."""
        assumed = self.value if is_assumption(self.source) else 0
        return TracedEstimate(self.value, self.value, self.value, assumed)


class Statement(Strict):
    """A property of the chip that is no number, with its source."""

    value: Annotated[bool, Field(strict=True), key("whether it is so")]
    source: Source
