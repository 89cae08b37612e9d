"""Keep the exact bytes of refused records in the working warehouse. Runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from pipelines import inserting
from pipelines.corrections import log_path
from pipelines.sheets import MAX_RECORD

RawLines = Callable[[str, str, pl.DataFrame], Iterator[bytes]]
"""Path and SHA-256 of a drop, or the log's name of a resubmitted file and its SHA-256; byte_offset, byte_length of records in it,
ascending -> their bytes, one record after the other."""
_AT_ONCE = 64 * 1024 * 1024
"""Bytes of refused records that are handed over together, about."""


def add_raw(con: duckdb.DuckDBPyConnection, refused: pl.DataFrame, raw_lines: RawLines) -> None:
    """Write the bytes of refused records, so many at a time that they are no burden.

    `refused`: rank, business_date, path, sha256 (of the drop), file (of the lines that stand in), line, byte_offset, byte_length.
    """
    of_a_fix = pl.col("file").is_not_null()
    placed = refused.with_columns(of_a_fix.alias("of_a_fix"), sha256=pl.coalesce("file", "sha256"))
    placed = placed.sort("rank", "of_a_fix", "sha256", "byte_offset")
    too_long = pl.col("byte_length") > MAX_RECORD
    bytes_of = ("of_a_fix", "path", "sha256")
    short = placed.filter(~too_long)
    pieces = chain.from_iterable(
        raw_lines(_named(of, path, sha256), str(sha256), lines.select("byte_offset", "byte_length"))
        for (of, path, sha256), lines in short.group_by(bytes_of, maintain_order=True)
    )
    before = pl.col("byte_length").cum_sum() - pl.col("byte_length")
    for some in short.with_columns(some=before // _AT_ONCE).partition_by("some", maintain_order=True):
        raw = pl.Series("raw", list(islice(pieces, len(some))), dtype=pl.Binary)
        inserting.insert(con, "rejected_lines", some.with_columns(raw))
    for line in placed.filter(too_long).iter_slices(1):
        of, path, sha256 = line.select(bytes_of).row(0)
        [raw_line] = raw_lines(_named(of, path, sha256), sha256, line.select("byte_offset", "byte_length"))
        # Nobody copies these on the way to DuckDB: there may be hundreds of MB.
        ends = pa.py_buffer(np.array([0, len(raw_line)], dtype=np.int64))
        as_it_is = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(raw_line)])
        told = inserting.columns_of("rejected_lines", line).to_arrow()
        inserting.insert(con, "rejected_lines", told.append_column("raw", as_it_is))


def _named(of_a_fix: object, path: object, sha256: object) -> str:
    """Return the name that tells how archived bytes are written: a resubmitted file is plain, whatever it corrects."""
    return log_path(str(path), str(sha256)) if of_a_fix else str(path)
