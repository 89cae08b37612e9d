"""The rejected records of a drop as they are handed out: their bytes, why each was refused, and where the bytes stand.

There are two ways to the same: out of the warehouse, a stretch of lines at a time, whatever their number and size; and out of
what a morning has of them already, where that is all, so that a year of dates is not asked for drop by drop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple, Protocol, TypeVar

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from pipelines import threads
from pipelines.archive import Archive
from pipelines.database import query
from pipelines.discovery import drop_format
from pipelines.sheets import MAX_RECORD

_BYTES_AT_ONCE = 8 * 1024 * 1024
_RECORDS_AT_ONCE = 50_000
_ROWS_AT_ONCE = 16_384
"""Reasons that are written together: memory that was just used is used again, which is quicker to have than new."""

_AHEAD = 2
"""Stretches that are asked for before they are needed."""

IN_A_DROP = ("line", "code", "field", "value", "message")
"""The order of a drop's reasons."""
_OF_A_DROP = "business_date = $day AND path = $path"
_OF_SOME = f"{_OF_A_DROP} AND line BETWEEN $first AND $last"
_SLOTS = f"""
    SELECT line, id, nullif(sha256, $sha256) AS file, byte_offset, byte_length FROM rejected_lines
    LEFT JOIN (SELECT line, entity_id AS id FROM events WHERE {_OF_A_DROP} AND verdict = 'rejected') USING (line)
    WHERE {_OF_A_DROP} ORDER BY line
"""
_RAW = f"SELECT line, raw || $line_end AS raw FROM rejected_lines WHERE {_OF_SOME} ORDER BY line"
_REASONS = f"""
    SELECT line, category, step, entity_id AS id, code, field, value, message, cause_date, cause_path, cause_line
    FROM rejections WHERE {_OF_SOME}
"""
_COLUMNS = ("line", "category", "step", "id", "code", "field", "value", "message", "cause_date", "cause_path", "cause_line")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Original:
    """A drop that has rejected lines."""

    business_date: date
    path: str
    sha256: str


class Records(NamedTuple):
    """Some records, each with a line end."""

    lines: np.ndarray
    """On which each starts in its drop, ascending."""
    content: memoryview
    """One after the other."""
    ends: np.ndarray
    """Of each in `content`."""

    def feeds(self) -> np.ndarray:
        """Return how many LF each has, that of its line end too."""
        octets = np.frombuffer(self.content, np.uint8)
        at = octets == ord("\n")
        if np.count_nonzero(at) == len(self.lines):
            return np.ones(len(self.lines), np.int64)
        return np.diff(np.searchsorted(np.flatnonzero(at), self.ends), prepend=0)


class LongRecord(NamedTuple):
    """One record that is too long to be had in memory as a whole, with a line end."""

    line: int
    pieces: Iterator[bytes]


class Stretch(NamedTuple):
    """Records that follow each other, and their reasons: columns as in `rejections`, in the order `IN_A_DROP`."""

    records: Records | LongRecord
    reasons: pl.DataFrame


class Rejected(Protocol):
    """The rejected records of one drop, all in the order of their lines."""

    @property
    def slots(self) -> pl.DataFrame:
        """Line, id (of the record, when it has one) and where its bytes stand, in the drop's or in those of a `file`.

        Columns `file` (SHA-256, null: the drop), byte_offset, byte_length.
        """

    def stretches(self, line_end: bytes) -> Iterator[Stretch]:
        """Yield the records with that line end each, and their reasons."""


@dataclass(frozen=True)
class InWarehouse:
    """What `rejected_lines` and `rejections` have of a drop; a record too long for memory comes from the archive."""

    con: duckdb.DuckDBPyConnection
    original: Original
    archive: Archive

    @cached_property
    def slots(self) -> pl.DataFrame:
        """See `Rejected`."""
        return query(self.con, _SLOTS, self._asked(sha256=self.original.sha256))

    def stretches(self, line_end: bytes) -> Iterator[Stretch]:
        """See `Rejected`. So many at a time as make some MiB: neither the lines nor the reasons are ever held as a whole."""
        stretches = _stretches(self.slots["byte_length"].to_numpy())
        bounds = [(some["line"][0], some["line"][-1]) for some in (self.slots[first:end] for first, end in stretches)]
        is_long = (self.slots["byte_length"][[first for first, _ in stretches]] > MAX_RECORD).to_list()
        short = [bound for bound, long in zip(bounds, is_long, strict=True) if not long]
        with (
            self.con.cursor() as here,
            self.con.cursor() as there,
            closing(_ahead(lambda bound: self._records(here, line_end, *bound), short)) as records,
            closing(_ahead(lambda bound: self._reasons(there, *bound), bounds)) as reasons,
        ):
            for (slot, _), long, why in zip(stretches, is_long, reasons, strict=True):
                yield Stretch(self._long(slot, line_end) if long else next(records), why)

    def _asked(self, **bounds: object) -> dict[str, object]:
        return {"day": self.original.business_date, "path": self.original.path, **bounds}

    def _records(self, con: duckdb.DuckDBPyConnection, line_end: bytes, first: int, last: int) -> Records:
        asked = self._asked(line_end=line_end, first=first, last=last)
        found = con.sql(_RAW, params=asked).to_arrow_table()
        # As they stand in memory: no record is taken into the hand.
        raw = found["raw"].cast(pa.large_binary()).combine_chunks()
        _, ends, octets = raw.buffers()
        places = np.frombuffer(ends, np.int64)[raw.offset : raw.offset + len(raw) + 1]
        return Records(found["line"].to_numpy(), memoryview(octets)[places[0] : places[-1]], places[1:] - places[0])

    def _reasons(self, con: duckdb.DuckDBPyConnection, first: int, last: int) -> pl.DataFrame:
        return query(con, _REASONS, self._asked(first=first, last=last)).sort(IN_A_DROP, nulls_last=True)

    def _long(self, slot: int, line_end: bytes) -> LongRecord:
        """Return a record of the original, or of a file that corrects it and is never packed."""
        line, _, file, offset, length = self.slots.row(slot)
        shape = None if file else drop_format(self.original.path.rpartition("/")[2])
        pieces = self.archive.pieces_of(file or self.original.sha256, shape[1] if shape else None, offset, length)
        return LongRecord(line, chain(pieces, [line_end]))


@dataclass(frozen=True, slots=True)
class InHand:
    """What a morning has of a drop, when that is all."""

    sha256: str
    """Of the drop."""
    rows: pl.DataFrame
    """Of `Morning.rejections`, every line with all its bytes."""

    @property
    def slots(self) -> pl.DataFrame:
        """See `Rejected`."""
        known = self.rows.filter("is_first")
        file = pl.when(pl.col("sha256") != self.sha256).then("sha256").alias("file")
        return known.select("line", "id", file, "byte_offset", pl.col("length").alias("byte_length"))

    def stretches(self, line_end: bytes) -> Iterator[Stretch]:
        """See `Rejected`."""
        known, rows = self.rows.filter("is_first"), self.rows.select(_COLUMNS)
        for some in known.iter_slices(_RECORDS_AT_ONCE):
            lines, raw = some["line"].to_numpy(), some["raw"].to_list()
            ends = np.cumsum(some["length"].to_numpy() + len(line_end))
            why = rows if len(some) == len(known) else rows.filter(pl.col("line").is_between(lines[0], lines[-1]))
            yield Stretch(Records(lines, memoryview(line_end.join([*raw, b""])), ends), why)


def _stretches(sizes: np.ndarray) -> list[tuple[int, int]]:
    """Return where stretches of records of those sizes begin and end: some MiB or many records, or one that is long."""
    number, before = np.arange(len(sizes)), np.cumsum(sizes) - sizes
    alone = np.where(sizes > MAX_RECORD, number, -1)
    bounded = (alone, before // _BYTES_AT_ONCE, number // _RECORDS_AT_ONCE)
    begins = np.flatnonzero(np.logical_or.reduce([np.diff(of, prepend=-2) != 0 for of in bounded]))
    return list(pairwise([*begins.tolist(), len(sizes)]))


def in_pieces(reasons: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of a stretch, as many together as are best worked on at once; at least one frame."""
    yield from reasons.iter_slices(_ROWS_AT_ONCE) if len(reasons) else [reasons]


def _ahead(ask: Callable[[tuple[int, int]], T], bounds: Iterable[tuple[int, int]]) -> Generator[T]:
    """Yield the answers; while one is made use of the next ones are asked for."""
    with threads.pool(1) as beside:
        asked: deque[Future[T]] = deque()
        for bound in bounds:
            asked.append(beside.submit(ask, bound))
            if len(asked) > _AHEAD:
                yield asked.popleft().result()
        for answer in asked:
            yield answer.result()
