"""The rejected records of a drop as they are handed out: their bytes, why each was refused, and what they are known by again.

There are two ways to the same: out of the warehouse, a stretch of lines at a time, whatever their number and size; and out of
what a morning has of them already, where that is all, so that a year of dates is not asked for drop by drop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple, Protocol

import duckdb
import polars as pl

from pipelines import threads
from pipelines.archive import Archive
from pipelines.database import query
from pipelines.discovery import drop_format
from pipelines.issues import DIGEST, digest_of
from pipelines.sheets import MAX_RECORD

_BYTES_AT_ONCE = 8 * 1024 * 1024
_RECORDS_AT_ONCE = 50_000
"""Records whose reasons are asked for together."""
_ROWS_AT_ONCE = 16_384
"""Rows that are worked on together: memory that was just used is used again, which is quicker to have than new."""

IN_A_DROP = ("line", "code", "field", "value", "message")
"""The order of a drop's reasons."""
_OF_A_DROP = "business_date = $day AND path = $path"
_SLOTS = f"""
    SELECT line, id, left(sha256(raw), {DIGEST}) AS digest FROM rejected_lines
    LEFT JOIN (SELECT line, entity_id AS id FROM events WHERE {_OF_A_DROP} AND verdict = 'rejected') USING (line)
    WHERE {_OF_A_DROP} ORDER BY line
"""
_PLACES = f"SELECT line, sha256, byte_offset, byte_length FROM rejected_lines WHERE {_OF_A_DROP} ORDER BY line"
_LINES = f"SELECT line FROM rejected_lines WHERE {_OF_A_DROP} ORDER BY line"
_RAW = f"SELECT line, raw FROM rejected_lines WHERE {_OF_A_DROP} AND line BETWEEN $first AND $last ORDER BY line"
_REASONS = f"""
    SELECT line, category, step, entity_id AS id, code, field, value, message, cause_date, cause_path, cause_line
    FROM rejections WHERE {_OF_A_DROP} AND line BETWEEN $first AND $last ORDER BY {", ".join(IN_A_DROP)}
"""
_COLUMNS = ("line", "category", "step", "id", "code", "field", "value", "message", "cause_date", "cause_path", "cause_line")


@dataclass(frozen=True, slots=True)
class Original:
    """A drop that has rejected lines."""

    business_date: date
    path: str
    sha256: str


class Records(NamedTuple):
    """Some records, with the line each starts on in its drop and their bytes without line ends."""

    lines: Sequence[int]
    raw: Sequence[bytes]


class LongRecord(NamedTuple):
    """One record that is too long to be had in memory as a whole."""

    line: int
    pieces: Iterator[bytes]


class Rejected(Protocol):
    """The rejected records of one drop, all in the order of their lines."""

    def slots(self) -> pl.DataFrame:
        """Return line, id (of the record, when it has one) and digest (of its bytes)."""

    def records(self) -> Iterator[Records | LongRecord]:
        """Yield the bytes, some records at a time."""

    def reasons(self) -> Iterator[pl.DataFrame]:
        """Yield the reasons, a row each, columns as in `rejections`; at least one frame."""


@dataclass(frozen=True, slots=True)
class InWarehouse:
    """What `rejected_lines` and `rejections` have of a drop; a record too long for memory comes from the archive."""

    con: duckdb.DuckDBPyConnection
    original: Original
    archive: Archive

    def slots(self) -> pl.DataFrame:
        """See `Rejected`."""
        return self._ask(_SLOTS)

    def records(self) -> Iterator[Records | LongRecord]:
        """See `Rejected`. So many at a time as make some MiB, and none is sorted with its bytes beside all others."""
        before = pl.col("byte_length").cum_sum() - pl.col("byte_length")
        is_long = pl.col("byte_length") > MAX_RECORD
        places = self._ask(_PLACES).with_columns(some=pl.struct(is_long.alias("is_long"), before // _BYTES_AT_ONCE).rle_id())
        stretches = places.partition_by("some", maintain_order=True)
        short = (some["line"] for some in stretches if some["byte_length"][0] <= MAX_RECORD)
        found = self._ask_ahead(_RAW, ((lines[0], lines[-1]) for lines in short))
        for some in stretches:
            if some["byte_length"][0] > MAX_RECORD:
                for line, sha256, offset, length in some.drop("some").iter_rows():
                    yield LongRecord(line, self._pieces(sha256, offset, length))
            else:
                yield from _in_pieces(next(found))

    def reasons(self) -> Iterator[pl.DataFrame]:
        """See `Rejected`."""
        lines = self._ask(_LINES)["line"].to_list()
        some = (lines[first : first + _RECORDS_AT_ONCE] or [0] for first in range(0, max(len(lines), 1), _RECORDS_AT_ONCE))
        for found in self._ask_ahead(_REASONS, ((lines[0], lines[-1]) for lines in some)):
            yield from found.iter_slices(_ROWS_AT_ONCE) if len(found) else [found]

    def _ask_ahead(self, sql: str, stretches: Iterable[tuple[int, int]]) -> Iterator[pl.DataFrame]:
        """Yield what is found in each stretch of lines; while one is written the next is asked for."""
        with threads.pool(1) as beside:
            asked: Future[pl.DataFrame] | None = None
            for first, last in stretches:
                following = beside.submit(self._ask, sql, first=first, last=last)
                if asked is not None:
                    yield asked.result()
                asked = following
            if asked is not None:
                yield asked.result()

    def _ask(self, sql: str, **bounds: int) -> pl.DataFrame:
        return query(self.con, sql, {"day": self.original.business_date, "path": self.original.path, **bounds})

    def _pieces(self, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a record of the original, or of a file that corrects it and is never packed."""
        shape = drop_format(self.original.path.rpartition("/")[2]) if sha256 == self.original.sha256 else None
        return self.archive.pieces_of(sha256, shape[1] if shape else None, offset, length)


@dataclass(frozen=True, slots=True)
class InHand:
    """What a morning has of a drop, when that is all: rows of `Morning.rejections`, every line with all its bytes."""

    rows: pl.DataFrame

    def slots(self) -> pl.DataFrame:
        """See `Rejected`."""
        known = self._by_record()
        digests = pl.Series("digest", list(map(digest_of, known["raw"])), dtype=pl.String())
        return known.select("line", "id").with_columns(digests)

    def records(self) -> Iterator[Records | LongRecord]:
        """See `Rejected`."""
        yield from _in_pieces(self._by_record())

    def reasons(self) -> Iterator[pl.DataFrame]:
        """See `Rejected`."""
        yield from self.rows.select(_COLUMNS).sort(IN_A_DROP, nulls_last=True).iter_slices(_ROWS_AT_ONCE)

    def _by_record(self) -> pl.DataFrame:
        return self.rows.filter(pl.col("line").is_first_distinct())


def _in_pieces(known: pl.DataFrame) -> Iterator[Records]:
    for some in known.iter_slices(_ROWS_AT_ONCE):
        yield Records(some["line"].to_list(), some["raw"].to_list())
