"""Put rows into the working warehouse's tables, by the names of their columns. Runs in the caller's transaction."""

from __future__ import annotations

import duckdb
import polars as pl
import pyarrow as pa

from pipelines.database import handed_over
from pipelines.tables import TABLES


def insert(con: duckdb.DuckDBPyConnection, table: str, rows: pl.DataFrame | pa.Table) -> None:
    """Insert the table's columns out of a frame, or an Arrow table as it is; columns it lacks are NULL."""
    if not len(rows):
        return
    with handed_over(con, incoming=rows if isinstance(rows, pa.Table) else columns_of(table, rows)):
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")


def columns_of(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of a frame that a table has, in the table's order."""
    return frame.select(name for name in TABLES[table].names if name in frame.columns)
