"""Describes the keys of a chip file: what each means, its unit, and what it may be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, get_origin

from pydantic import BaseModel, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

# The unit of a key by its end, the longest first.
UNIT_OF = {
    "bytes_per_cycle": "byte/cycle", "pj_per_byte": "pJ/byte", "_pj_per_bit": "pJ/bit",
    "_ns_per_row": "ns/row", "_pj": "pJ", "_ns": "ns", "_mw": "mW", "_mhz": "MHz", "_nm": "nm",
    "_lsb": "converter steps", "_bytes": "byte", "_bits": "bit", "_cycles": "cycle",
    "_bits_per_step": "bit", "tops_per_w": "TOPS/W", "tops": "TOPS", "_v": "V",
}  # fmt: skip


def key(says: str, unit: str = "") -> Any:
    """Describes a key; a unit is given where the end of the key's name does not say it."""
    return Field(description=says, json_schema_extra={"unit": unit} if unit else None)


def unit_of(name: str, field: FieldInfo) -> str:
    """Finds the unit of a key: its own, or what the end of its name says; "" for no number."""
    extra = field.json_schema_extra
    own = extra.get("unit") if isinstance(extra, Mapping) else None
    if own is not None:
        return str(own)
    return next((unit for end, unit in UNIT_OF.items() if name.endswith(end)), "")


def keys_of(table: type[BaseModel]) -> dict[str, FieldInfo]:
    """Lists the keys of a table as a file spells them."""
    return {field.alias or name: field for name, field in table.model_fields.items()}


def kinds_in(annotation: Any) -> Iterator[type]:
    """The classes in an annotation, through unions, containers and Annotated; values of dicts."""
    if get_origin(annotation) is Literal:
        return
    inner = get_args(annotation)
    if get_origin(annotation) is dict:
        inner = inner[1:]
    for one in inner:
        yield from kinds_in(one)
    if not inner and isinstance(annotation, type) and annotation is not type(None):
        yield annotation


class HasValue(Protocol):
    """A number of a chip file with its source."""

    @property
    def value(self) -> float:
        """The number."""


@dataclass(frozen=True)
class Within:
    """Holds a number of a chip file between two ends."""

    least: float
    most: float

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Checks the ends once the number is one."""
        return core_schema.no_info_after_validator_function(self._held, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Writes the ends beside the number's own schema."""
        ends = {"minimum": self.least, "maximum": self.most}
        return {"allOf": [handler(schema)], "properties": {"value": ends}}

    def _held(self, number: HasValue) -> HasValue:
        if not self.least <= number.value <= self.most:
            raise ValueError(f"found {number.value:,}, wanted {self.words}")
        return number

    @property
    def words(self) -> str:
        """The ends in words."""
        return f"{self.least:,} to {self.most:,}"
