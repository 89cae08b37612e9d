"""Field dependencies that several entities share. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from validation.fields import Entity
from validation.rules import BEFORE, Rule, record_rule


def names(entity: Entity) -> dict[str, pl.DataType]:
    """Return the columns of an entity's record and their types."""
    return {field.name: field.type.dtype for field in entity.fields}


def immutable(*fields: str) -> Iterator[Rule]:
    """Yield the rules that these fields never change once the record is there."""
    for field in fields:
        other = "USD" if field == "currency" else "X9"
        yield record_rule(
            "immutable_field",
            field,
            (BEFORE + field, field),
            lambda before, after: before != after,
            on_create=False,
            when="an update changes it",
            example=f'{{"step": "update", "{field}": "{other}"}}',
            message=f'{field} changes from "{{{BEFORE}{field}}}" to "{{{field}}}"; wanted it left as it is',
        )
