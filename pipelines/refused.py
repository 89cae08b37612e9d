"""Keep the exact bytes of refused records in the working warehouse. Runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import chain, pairwise

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from pipelines import database, inserting
from pipelines.corrections import log_path
from pipelines.database import ROW_GROUP
from pipelines.positions import position
from pipelines.ranges import Ranges
from pipelines.sheets import MAX_RECORD

RawLines = Callable[[str, str, np.ndarray, np.ndarray], Iterator[Ranges]]
"""Path and SHA-256 of a drop, or the log's name of a resubmitted file and its SHA-256; offsets and lengths of records in it,
ascending -> their bytes."""
_BYTES_OF = ("of_a_fix", "path", "sha256")
"""What names the file that has a line's bytes."""
_ALONE = nullcontext()
"""The turn of who has the connection for itself."""
_AT_ONCE = 64 * 1024 * 1024
"""Bytes of refused records that are handed over together, about."""


def add_raw(
    con: duckdb.DuckDBPyConnection,
    refused: pl.DataFrame,
    raw_lines: RawLines,
    *,
    turn: AbstractContextManager[object] = _ALONE,
) -> None:
    """Write the bytes of refused records, so many at a time that they are no burden.

    The connection is used in `turn`, where another thread uses it too.
    `refused`: rank, business_date, path, sha256 (of the drop), file (of the lines that stand in), line, byte_offset, byte_length.
    """
    of_a_fix = pl.col("file").is_not_null()
    placed = refused.with_columns(of_a_fix.alias("of_a_fix"), sha256=pl.coalesce("file", "sha256"))
    # By one number, in a fifth of the time that several columns take; of the few that stand in there may be several files a drop.
    stands_in = placed["of_a_fix"]
    fixed = placed.filter(stands_in).sort("rank", "sha256", "byte_offset")
    placed = pl.concat([placed.filter(~stands_in).sort(position()), fixed])
    too_long = pl.col("byte_length") > MAX_RECORD
    _add_together(con, placed.filter(~too_long), raw_lines, turn)
    _add_one_by_one(con, placed.filter(too_long), raw_lines, turn)


def _add_together(
    con: duckdb.DuckDBPyConnection, lines: pl.DataFrame, raw_lines: RawLines, turn: AbstractContextManager[object]
) -> None:
    """Write records that are short, cut by bytes, not by drop: a year of small drops is one statement, not 365."""
    first, some, size = 0, list[pl.Series](), 0
    for found in chain(_ranges(lines, raw_lines), [None]):
        if found is not None:
            some.append(_column(found))
            size += found.size
        if some and (found is None or size >= _AT_ONCE):
            raw = pl.concat(some)
            # Rows that do not fill a row group wait, or the commit writes those that stand around them once more.
            over = len(raw) % ROW_GROUP if found is not None and len(raw) > ROW_GROUP else 0
            now, later = raw[: len(raw) - over], raw[len(raw) - over :]
            with turn:
                inserting.insert(con, "rejected_lines", lines[first : first + len(now)].with_columns(now))
            first, some, size = first + len(now), [later], int(later.bin.size().sum())


def _add_one_by_one(
    con: duckdb.DuckDBPyConnection, lines: pl.DataFrame, raw_lines: RawLines, turn: AbstractContextManager[object]
) -> None:
    """Write records of which DuckDB must be let hold one at a time."""
    if lines.is_empty():
        return
    with turn:
        database.let_hold(con, max(lines["byte_length"]))
    for line in lines.iter_slices(1):
        ((raw_line, *_),) = _ranges(line, raw_lines)
        # Nobody copies these on the way to DuckDB: there may be hundreds of MB.
        ends = pa.py_buffer(np.array([0, len(raw_line)], dtype=np.int64))
        as_it_is = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(raw_line)])
        told = inserting.columns_of("rejected_lines", line).to_arrow()
        with turn:
            inserting.insert(con, "rejected_lines", told.append_column("raw", as_it_is))


def _ranges(lines: pl.DataFrame, raw_lines: RawLines) -> Iterator[Ranges]:
    """Yield the bytes of lines that stand file after file, each file's in their order."""
    begins = [pl.col(name).ne_missing(pl.col(name).shift()) for name in _BYTES_OF]
    firsts = lines.select(pl.any_horizontal(begins).arg_true()).to_series()
    offsets, lengths = lines["byte_offset"].to_numpy(), lines["byte_length"].to_numpy()
    files = lines.select(_BYTES_OF)[firsts].iter_rows()
    for (of_a_fix, path, sha256), (first, end) in zip(files, pairwise([*firsts, len(lines)]), strict=True):
        # A resubmitted file is plain, whatever it corrects.
        name = log_path(path, sha256) if of_a_fix else path
        yield from raw_lines(name, sha256, offsets[first:end], lengths[first:end])


def _column(ranges: Ranges) -> pl.Series:
    """Return the ranges, as they stand in memory where most of what was read is theirs: no record is taken into the hand."""
    if 2 * ranges.size < len(ranges.content):
        return pl.Series("raw", list(ranges.pieces()), dtype=pl.Binary())
    edges = np.stack([ranges.starts, ranges.ends], axis=1).ravel()
    buffers = [None, pa.py_buffer(edges), pa.py_buffer(ranges.content)]
    # Every second one is what lies between two of them.
    with_gaps = pa.Array.from_buffers(pa.large_binary(), len(edges) - 1, buffers)
    return pl.Series("raw", with_gaps).gather_every(2)
