"""What a field is: its name, its type, when it must be there. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class FieldType(StrEnum):
    """The contract's field types (section 3)."""

    TEXT = "text"
    DATE = "date"
    MONEY = "money"
    RATE = "rate"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    OBJECT = "object"

    @property
    def dtype(self) -> pl.DataType:
        """Return the Polars type of a value of this field in a record."""
        return _DTYPES[self]

    @property
    def sql(self) -> str:
        """Return the DuckDB type of the column that holds this field."""
        return _SQL_TYPES[self]

    @property
    def json(self) -> str:
        """Return the JSON type a sender must use: string, number, boolean or object."""
        return _JSON_TYPES.get(self, "number")

    @property
    def is_number(self) -> bool:
        """Tell whether a sender writes this field as a JSON number."""
        return self.json == "number"

    @property
    def is_string(self) -> bool:
        """Tell whether a sender writes this field as a JSON string."""
        return self.json == "string"


_DTYPES: dict[FieldType, pl.DataType] = {
    FieldType.TEXT: pl.String(),
    FieldType.DATE: pl.Date(),
    FieldType.MONEY: pl.Decimal(18, 4),
    FieldType.RATE: pl.Decimal(18, 8),
    FieldType.INTEGER: pl.Int32(),
    FieldType.BOOLEAN: pl.Boolean(),
    FieldType.OBJECT: pl.String(),
}
_SQL_TYPES: dict[FieldType, str] = {
    FieldType.TEXT: "VARCHAR",
    FieldType.DATE: "DATE",
    FieldType.MONEY: "DECIMAL(18,4)",
    FieldType.RATE: "DECIMAL(18,8)",
    FieldType.INTEGER: "INTEGER",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.OBJECT: "JSON",
}
_JSON_TYPES: dict[FieldType, str] = {
    FieldType.TEXT: "string",
    FieldType.DATE: "string",
    FieldType.BOOLEAN: "boolean",
    FieldType.OBJECT: "object",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an entity, as the contract's section 3 lists it."""

    name: str
    type: FieldType
    comment: str
    required: bool = False
    """Required on create; an update may not set it to null."""
    alias: str | None = None
    """Another spelling that a sender may use."""
    choices: tuple[str, ...] = ()
    default: str | None = None
    """Fills the field of a create that does not send it."""
    identifies: bool = False
    """Names a person or leads to one, or is free text that may: the masked warehouse has a token in its place."""


STEP = Field("step", FieldType.TEXT, "create, update or delete", choices=("create", "update", "delete"))


@dataclass(frozen=True, slots=True)
class Entity:
    """One category of records: its fields in the order of the warehouse's columns."""

    category: str
    table: str
    fields: tuple[Field, ...]
    """The id comes first."""
    parent: str | None = None
    """Category of the record this one hangs on."""
    parent_id: str | None = None
    """Field that names the parent."""
    watched: tuple[str, ...] = ()
    """Fields whose every change is kept in a table of its own."""
    api_required: frozenset[str] = frozenset()
    """Fields that are required, in place of those that say so, of an event that came through the API."""
    other_category: str | None = None
    """Another spelling of the category (with `kind` "loan" or none)."""

    @property
    def id(self) -> str:
        """Return the name of the id field."""
        return self.fields[0].name

    @property
    def history(self) -> str:
        """Return the name of the table of versions."""
        return f"{self.category}_history"

    @property
    def names(self) -> tuple[str, ...]:
        """Return the field names, id first."""
        return tuple(field.name for field in self.fields)

    @property
    def spellings(self) -> tuple[str, ...]:
        """Return every name a sender may use: step, the fields, then the aliases. Bit i of a sheet's masks is name i."""
        aliases = tuple(field.alias for field in self.fields if field.alias)
        return (STEP.name, *self.names, *aliases)

    def field(self, name: str) -> Field:
        """Return the field of that name or of that alias; KeyError when there is none."""
        for field in (STEP, *self.fields):
            if name in (field.name, field.alias):
                return field
        raise KeyError(name)
