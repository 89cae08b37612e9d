"""What settling gives, whatever it was given: the frames and their columns. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from validation.fields import Entity

REASONS = {"pos": pl.Int64(), "code": pl.String(), "field": pl.String(), "value": pl.String(), "message": pl.String()}
NO_REASONS = pl.DataFrame(schema=REASONS)
CHANGES = {
    "pos": pl.Int64(),
    "id": pl.String(),
    "field": pl.String(),
    "old_value": pl.String(),
    "new_value": pl.String(),
    "change_date": pl.Date(),
    "change_reason": pl.String(),
}
SPAN = {"created_on": pl.Date(), "updated_on": pl.Date(), "deleted_on": pl.Date()}


def lives_schema(entity: Entity) -> dict[str, pl.DataType]:
    """Return the columns of lives: `id`, when the record was created and deleted, and what its children may ask for."""
    shown: dict[str, pl.DataType] = {
        name: entity.field(name).type.dtype for name in (entity.parent_id, "currency") if name in entity.names
    }
    return {"id": pl.String(), "created_pos": pl.Int64(), "deleted_pos": pl.Int64(), **shown}


def placed(described: pl.DataFrame, pos: npt.NDArray[np.int64]) -> pl.DataFrame:
    """Replace `row` by the position of the event that stands there."""
    return described.with_columns(pos=pl.Series(pos)[described["row"]]).select(*REASONS)


@dataclass(frozen=True, slots=True)
class Settled:
    """What a stage gives. `pos` is an event's position, `id` a record's id.

    `verdicts`: pos, applied, parent_id (of the record as it stands after the event; null where there is none).
    `reasons`, `warnings`: columns `REASONS`. `changes`: columns `CHANGES`, one a watched field changed by an applied update.
    `versions`: the fields, `SPAN`, valid_from, valid_to: one a record and business date with an applied event.
    `lives`: columns `lives_schema`, of every record that was ever created.
    `counted`: how many rows of `reasons`, `warnings`, `changes` and `lives` were found: none may be lost on the way.
    """

    verdicts: pl.DataFrame
    reasons: pl.DataFrame
    warnings: pl.DataFrame
    changes: pl.DataFrame
    versions: pl.DataFrame
    lives: pl.DataFrame
    counted: tuple[int, int, int, int]


@cache
def nothing_settled(entity: Entity) -> Settled:
    """Return what settling no event of no record gives."""
    fields: dict[str, pl.DataType] = {name: entity.field(name).type.dtype for name in entity.names}
    return Settled(
        verdicts=pl.DataFrame(schema={"pos": pl.Int64(), "applied": pl.Boolean(), "parent_id": pl.String()}),
        reasons=NO_REASONS,
        warnings=NO_REASONS,
        changes=pl.DataFrame(schema=CHANGES),
        versions=pl.DataFrame(schema={**fields, **SPAN, "valid_from": pl.Date(), "valid_to": pl.Date()}),
        lives=pl.DataFrame(schema=lives_schema(entity)),
        counted=(0, 0, 0, 0),
    )
