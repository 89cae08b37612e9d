"""The one door to DuckDB.

A connection reaches no file but its database and no network, and nothing gives that back to it; its settings are locked, save
how much it may hold (`let_hold`); its clock is UTC. What happens inside `transaction` happens whole or not at all.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa

from pipelines.problems import NightdropError

ROW_GROUP = 122_880
"""So many rows DuckDB keeps together, and is given at a time of a large frame."""
STORAGE_VERSION = "v1.5.0"
"""New files are written in this format, so that analysts' clients from DuckDB 1.5 on can read them."""
_BESIDE = 512 * 1024 * 1024
"""Bytes that a connection needs beside one huge value."""


def connect(
    path: Path,
    *,
    read_only: bool = False,
    memory_limit: str | None = None,
    folders: Sequence[Path] = (),
) -> duckdb.DuckDBPyConnection:
    """Open a database file; without `read_only` it is made when missing.

    Frames come in with `con.register`. A result must be fetched to its end (`fetchall`, not `fetchone`) before the next
    statement: DuckDB 2 refuses it otherwise. SQL reaches no file, save under `folders` (Parquet handed over, exports).
    `memory_limit` as DuckDB writes it (`"2GB"`); none is DuckDB's own, 80 % of the machine.
    Raises NightdropError when the file is missing (`read_only`), locked by another process, damaged or not to be opened.
    """
    if read_only and not path.is_file():
        raise NightdropError(
            f"{path}: there is no database file here. `nightdrop run` makes the warehouse; look whether --home is right."
        )
    try:
        con = duckdb.connect(str(path), read_only=read_only, config={"storage_compatibility_version": STORAGE_VERSION})
    except duckdb.ProgrammingError:  # a setting of ours, nothing about the file
        raise
    except duckdb.Error as error:
        raise NightdropError(_why_not_opened(path, str(error))) from error
    try:
        _lock_down(con, memory_limit, folders)
    except BaseException:
        con.close()
        raise
    return con


def attach(con: duckdb.DuckDBPyConnection, path: Path, name: str) -> None:
    """Let a connection read the tables of another database file, under `folders`, as `name.table`."""
    con.execute(f"ATTACH {_literal(str(path.resolve()))} AS {name} (READ_ONLY)")


def let_hold(con: duckdb.DuckDBPyConnection, size: int) -> None:
    """Let a connection with a memory limit hold a value of so many bytes: DuckDB has it twice while it is put in, or looked at.

    The limit only grows. Of a connection without one nothing changes.
    """
    asked = "SELECT current_setting('lock_configuration'), parse_formatted_bytes(current_setting('memory_limit'))"
    ((locked, limit),) = con.execute(asked).fetchall()
    wanted = 2 * size + _BESIDE
    if not locked and limit < wanted:
        con.execute(f"SET memory_limit = '{wanted}B'")


def seal(con: duckdb.DuckDBPyConnection) -> None:
    """Write all that is committed into the one database file and close it: no `.wal` stays beside it."""
    try:
        con.execute("CHECKPOINT")
    finally:
        con.close()


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Generator[None]:
    """Commit what the block does when it ends, take it all back when it raises. Does not nest.

    Raises NightdropError when the commit itself fails (a full disk, say); the database is then as it was before.
    """
    con.execute("BEGIN TRANSACTION")
    try:
        yield
    except BaseException:
        _roll_back(con)
        raise
    try:
        con.execute("COMMIT")
    except duckdb.Error as error:
        _roll_back(con)
        raise NightdropError(
            f"{_file_of(con)}: the changes could not be committed ({_first_line(error)}). The database is as it was "
            "before. Look whether the disk is full or read-only, then run again."
        ) from error


@contextmanager
def handed_over(con: duckdb.DuckDBPyConnection, **frames: pl.DataFrame | pa.Table) -> Generator[None]:
    """Let the statements of the block read frames as tables of those names."""
    handed = {name: _Handed(frame) for name, frame in frames.items()}
    for name, rows in handed.items():
        con.register(name, rows)
    try:
        yield
    finally:
        for name, rows in handed.items():
            with suppress(duckdb.TransactionException):  # a statement failed: what it said is on its way
                con.unregister(name)
            rows.take_back()


def as_handed_over(frame: pl.DataFrame) -> pa.Table:
    """Return a frame as DuckDB is best given it: a large one in batches of a row group each, which its threads share."""
    # Texts as Polars has them, which are copied into DuckDB only: otherwise a part's would stand three times in memory.
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    if len(table) <= ROW_GROUP:
        return table
    groups = (table.slice(first, ROW_GROUP) for first in range(0, len(table), ROW_GROUP))
    # Only what stands in two pieces is copied.
    return pa.Table.from_batches([batch for group in groups for batch in group.combine_chunks().to_batches()])


class _Handed:
    """A frame as DuckDB is given it: until a transaction ends DuckDB keeps what was registered in it, the rows need not stay."""

    def __init__(self, frame: pl.DataFrame | pa.Table) -> None:
        self._table = frame if isinstance(frame, pa.Table) else as_handed_over(frame)

    def take_back(self) -> None:
        del self._table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def query(
    con: duckdb.DuckDBPyConnection, sql: str, parameters: dict[str, Any] | None = None, **frames: pl.DataFrame
) -> pl.DataFrame:
    """Return what a query finds, with frames to read as tables."""
    with handed_over(con, **frames):
        found: pl.DataFrame = con.sql(sql, params=parameters or {}).pl()
        return found


def _lock_down(con: duckdb.DuckDBPyConnection, memory_limit: str | None, folders: Sequence[Path]) -> None:
    """Set what a connection may do. The order matters: DuckDB refuses each line after the one that follows it."""
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")  # it would write on standard output, which belongs to --json
    if memory_limit is not None:
        con.execute(f"SET memory_limit = {_literal(memory_limit)}")
        # A row group goes to the file when it is whole. By default five wait in memory, the last of them for the commit, which
        # writes them on one core.
        con.execute("SET write_buffer_row_group_count = 1")
        # A commit writes into the database file at once. By default it writes a log, and what is in it is made a second time.
        con.execute("SET checkpoint_threshold = '1KB'")
    if folders:
        allowed = ", ".join(_literal(f"{folder.resolve()}/") for folder in folders)
        con.execute(f"SET allowed_directories = [{allowed}]")
    con.execute("SET enable_external_access = false")
    if memory_limit is None:  # else `let_hold` may raise it
        con.execute("SET lock_configuration = true")


def _why_not_opened(path: Path, message: str) -> str:
    """Say what kept DuckDB from opening the file, and what to do about it."""
    said = message.strip().splitlines()[0]
    if "Could not set lock" in message:
        return (
            f"{path}: another process has the database open ({said}). Nothing was changed. Wait for it or end it, then run again."
        )
    if path.exists() and not path.is_file():
        return f"{path}: wanted a database file, found something else. Move it away, then run again."
    if not path.parent.is_dir():
        return f"{path}: its folder does not exist. Look whether --home is right; `nightdrop init` makes a new home."
    if "Permission denied" in message:
        return f"{path}: this user may not open the database ({said}). Change owner or mode of the file, then run again."
    return (
        f"{path}: DuckDB cannot open the database ({said}). Nothing was changed. Move the file and its .wal aside, then "
        "`nightdrop rebuild` makes the working warehouse again out of the archive, and every run publishes it anew."
    )


def _roll_back(con: duckdb.DuckDBPyConnection) -> None:
    # After a failed commit or a fatal error DuckDB has rolled back by itself and says so with an error.
    with suppress(duckdb.Error):
        con.execute("ROLLBACK")


def _file_of(con: duckdb.DuckDBPyConnection) -> str:
    with suppress(duckdb.Error):
        query = "SELECT path FROM duckdb_databases() WHERE database_name = current_database() AND path IS NOT NULL"
        for (path,) in con.execute(query).fetchall():
            return str(path)
    return "the database"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
