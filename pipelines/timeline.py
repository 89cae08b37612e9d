"""Rows of one entity laid out by record and position, and what each record holds at each of them. Pure.

A timeline is index arithmetic over whole columns: per field, the value a record holds at a row is the one that the last
applied row of the record sent, found by one running maximum over row numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from pipelines.nulls import nulls
from validation.fields import STEP, Entity
from validation.rules import SOURCE

Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.uint32]
"""Row numbers as Polars takes them."""
Bools = npt.NDArray[np.bool_]

BASE, CREATE, UPDATE, DELETE = range(4)
_STEPS = {"create": CREATE, "update": UPDATE, "delete": DELETE}
_EVERY_FIELD = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
NEVER = np.int64(2**62)
"""A row number or position after all others."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows of some records: per record its state before (if it had one), then its events by position.

    `rows` holds the values in the order of arrival, the states before first; `order` lays it out, one record after the other,
    each by position, and every array below is in that order.
    """

    entity: Entity
    rows: pl.DataFrame
    order: Rows
    pos: Ints
    step: npt.NDArray[np.int8]
    sent: npt.NDArray[np.uint64]
    group: Ints
    """Number of the record a row belongs to."""
    starts: Ints
    """First row of each record."""

    @classmethod
    def of(cls, entity: Entity, before: pl.DataFrame, events: pl.DataFrame) -> Timeline:
        """Lay out `before` (fields, created_on, created_pos, deleted_pos) and `events` (pos, date, step, sent, fields)."""
        rows = _all_rows(entity, before, events)
        step = np.full(len(rows), BASE, dtype=np.int8)
        for name, number in _STEPS.items():
            step[(rows[STEP.name] == name).fill_null(value=False).to_numpy()] = number
        order, lengths = _laid_out(rows.select("pos", id=entity.id))
        step = step[order]
        sent = np.where(step <= CREATE, _EVERY_FIELD, rows["sent"].to_numpy()[order])
        sent[step == DELETE] = 0
        group = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        return cls(entity, rows, order, rows["pos"].to_numpy()[order], step, sent, group, starts)

    def __len__(self) -> int:
        return len(self.order)

    def sends(self, *fields: str) -> Bools:
        """Tell of each row whether it sends one of the fields."""
        mask = sum(1 << (1 + self.entity.names.index(field)) for field in fields)
        found: Bools = (self.sent & np.uint64(mask)) != 0
        return found

    def first(self, wanted: Bools) -> Ints:
        """Return per record its first wanted row, or NEVER."""
        numbers = np.where(wanted, np.arange(len(self), dtype=np.int64), NEVER)
        return np.minimum.reduceat(numbers, self.starts) if len(self) else np.empty(0, np.int64)

    def last_sender(self, field: str, applied: Bools) -> npt.NDArray[np.int32]:
        """Return per row the last row up to it that was applied and sends the field; one of another record before the first."""
        # As narrow as row numbers allow: this is done for every field, over all rows.
        numbers = np.where(applied & self.sends(field), np.arange(len(self), dtype=np.int32), np.int32(-1))
        return np.maximum.accumulate(numbers, out=numbers)

    def after(self, field: str, applied: Bools, at: Ints) -> pl.Series:
        """Return what the records hold in a field after the rows `at`; each stands at or after its record's creation."""
        return self.values(field, self.last_sender(field, applied)[at])

    def before(self, field: str, applied: Bools, at: Ints) -> pl.Series:
        """Return what the records hold in a field before the rows `at`; each stands after its record's creation."""
        return self.values(field, self.last_sender(field, applied)[at - 1])

    def merged(self, field: str, applied: Bools, at: Ints) -> pl.Series:
        """Return what the records would hold in a field if the rows `at` were applied."""
        senders = np.where(self.sends(field)[at], at, self.last_sender(field, applied)[at - 1])
        return self.values(field, senders)

    def brought(self, field: str, at: Ints) -> pl.Series:
        """Return what the rows `at` themselves send in a field, null where they send none."""
        sent = pl.Series(self.sends(field)[at])
        values = self.values(field, at)
        return pl.select(pl.when(sent).then(values)).to_series()

    def values(self, column: str, at: Ints | npt.NDArray[np.int32]) -> pl.Series:
        """Return a column's values at the rows `at`."""
        brought = self.rows[column]
        if brought.null_count() == len(brought):  # a field that nobody sends: there are some in every night
            return nulls(column, brought.dtype, len(at))
        # Out of many chunks it takes four times as long, and all columns in one chunk each would take their memory once more.
        # And by an index: `gather` would make and run a query, and takes half as long again also where there is much.
        return brought.rechunk()[pl.Series(self.order[at])].alias(column)

    def stood(self, column: str, at: Ints) -> pl.Series:
        """Return what states before tell at the rows `at` (created_pos, deleted_pos); null of events."""
        if column in self.rows.columns:
            return self.values(column, at)
        return nulls(column, pl.Int64(), len(at))


def _all_rows(entity: Entity, before: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    columns = ["pos", "date", STEP.name, "sent", *entity.names]
    events = events.select(*columns, *(name for name in events.columns if name == SOURCE))
    if before.is_empty():
        return events
    state = before.select(
        *entity.names,
        "created_pos",
        "deleted_pos",
        pos=pl.lit(-1, dtype=pl.Int64),
        date="created_on",
        step=pl.lit(None, dtype=pl.String),
        sent=pl.lit(0, dtype=pl.UInt64),
    )
    return pl.concat([state, events], how="diagonal")


def _laid_out(rows: pl.DataFrame) -> tuple[Rows, Ints]:
    """Return the order that lays rows (id, pos) out, each record's by position, and how many rows each record has.

    Records stand in the order in which they first appear: grouped by hashing, not sorted by their ids, and values that were
    read one after the other are mostly gathered so.
    """
    numbered = rows.with_row_index("row")
    pos = rows["pos"].to_numpy()
    if (pos[1:] < pos[:-1]).any():
        numbered = numbered.sort("pos", maintain_order=True)
    records = numbered.group_by("id", maintain_order=True).agg("row")["row"]
    order: Rows = records.explode(empty_as_null=False).to_numpy()
    return order, records.list.len().to_numpy().astype(np.int64)
