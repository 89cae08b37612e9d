"""Rows of one entity laid out by record and position, and what each record holds at each of them. Pure.

A timeline is index arithmetic over whole columns: per field, the value a record holds at a row is the one that the last
applied row of the record sent, found by one running maximum over row numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from validation.fields import STEP, Entity
from validation.rules import SOURCE

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BASE, CREATE, UPDATE, DELETE = range(4)
_STEPS = {"create": CREATE, "update": UPDATE, "delete": DELETE}
_EVERY_FIELD = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
NEVER = np.int64(2**62)
"""A row number or position after all others."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All rows of some records: per record its state before (if it had one), then its events by position.

    `rows` holds the values in the order of arrival; `order` sorts it by record and position, and every array below
    is in that order.
    """

    entity: Entity
    rows: pl.DataFrame
    order: Ints
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
        columns = ["pos", "date", STEP.name, "sent", *entity.names]
        state = before.with_columns(
            pos=pl.lit(-1, dtype=pl.Int64),
            date="created_on",
            step=pl.lit(None, dtype=pl.String),
            sent=pl.lit(0, dtype=pl.UInt64),
        )
        lives = ["created_pos", "deleted_pos"]
        of_drop = [name for name in events.columns if name == SOURCE]
        rows = pl.concat([state.select(*columns, *lives), events.select(*columns, *of_drop)], how="diagonal", rechunk=True)
        step = (
            rows[STEP.name].replace_strict(_STEPS, default=BASE, return_dtype=pl.Int8).fill_null(BASE).to_numpy()
            if len(rows)
            else np.empty(0, np.int8)
        )
        codes = rows.select(pl.col(entity.id).rank("dense")).to_series().to_numpy() if len(rows) else np.empty(0, np.uint32)
        pos = rows["pos"].to_numpy()
        order = np.lexsort((pos, codes)).astype(np.int64)
        codes, step = codes[order], step[order]
        first = np.r_[True, codes[1:] != codes[:-1]] if len(codes) else np.empty(0, np.bool_)
        sent = np.where(step <= CREATE, _EVERY_FIELD, rows["sent"].to_numpy()[order])
        sent[step == DELETE] = 0
        return cls(entity, rows, order, pos[order], step, sent, np.cumsum(first) - 1, np.flatnonzero(first).astype(np.int64))

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

    def last_sender(self, field: str, applied: Bools) -> Ints:
        """Return per row the last row up to it that was applied and sends the field; one of another record before the first."""
        numbers = np.where(applied & self.sends(field), np.arange(len(self), dtype=np.int64), -1)
        running: Ints = np.maximum.accumulate(numbers)
        return running

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

    def values(self, column: str, at: Ints) -> pl.Series:
        """Return a column's values at the rows `at`."""
        return self.rows[column].gather(pl.Series(self.order[at])).alias(column)
