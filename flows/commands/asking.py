"""`query` and `export`: what the published warehouse says, as a table to look at or a file to take away. They change nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO, Any, Literal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import RenderableType

from flows.terminal import Answer, jsonable, line, plain, table, terminal_width, write_bytes
from pipelines.bounce import defused
from pipelines.database import connect
from pipelines.home import Home
from pipelines.problems import NightdropError, UsageError

Format = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_ROWS_SHOWN = 1000
_ROWS_AT_ONCE = 50_000
_NARROWEST = 9
"""Columns of the terminal that one column of a table needs to be read."""


def query(home: Home, sql: str) -> Answer:
    """Ask the published warehouse; nothing can be changed by it and no other file is reached."""
    with _answered(home, sql) as found:
        columns = found.columns
        rows = found.fetchall()
    shown = [["NULL" if value is None else value for value in row] for row in rows[:_ROWS_SHOWN]]
    text = _fitting(columns, shown)
    if len(rows) > _ROWS_SHOWN:
        text.append(line(f"The first {_ROWS_SHOWN:,} of {len(rows):,} rows; --json or --format gives all.", "dim"))
    return Answer({"columns": columns, "rows": rows}, text)


def write_query(home: Home, sql: str, *, format: str | None, out: Path | None) -> Answer | None:
    """Ask the published warehouse and write the answer to a file, or to standard output; None when that has it."""
    kind = _format(format, out)
    if kind == "table":
        raise UsageError("--out wants --format csv, json or parquet: a table is to look at. Nothing was written.")
    with _answered(home, sql) as found:
        return _written(found, kind, out)


def export(home: Home, name: str, *, format: str | None, out: Path | None, as_of: date | None) -> Answer | None:
    """Write one table or view of the published warehouse, as it stands or as it stood at the end of a business date."""
    kind = _format(format, out)
    with connect(home.warehouse, read_only=True) as con:
        tables = [found for (found,) in con.execute("SELECT table_name FROM information_schema.tables ORDER BY 1").fetchall()]
        dated = [
            found.removesuffix("_as_of")
            for (found,) in con.execute(
                "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name LIKE '%\\_as\\_of' ESCAPE '\\'"
            ).fetchall()
        ]
    if name not in tables:
        raise UsageError(f"{name}: there is no such table; there are {', '.join(tables)}. Nothing was written.")
    if as_of is not None and name not in dated:
        raise UsageError(f"--as-of is for {', '.join(sorted(dated))} (got {name!r}). Nothing was written.")
    sql = f"SELECT * FROM {name}" if as_of is None else f"SELECT * FROM {name}_as_of('{as_of.isoformat()}')"
    with _answered(home, sql) as found:
        return _written(found, "csv" if kind == "table" else kind, out)


def _format(format: str | None, out: Path | None) -> Format:
    """Return the format that is asked for, or else what the file's name says."""
    if format is None:
        return _SUFFIXES.get(out.suffix, "csv") if out else "table"
    for known in FORMATS:
        if format == known:
            return known
    raise UsageError(f"--format must be one of {', '.join(FORMATS)} (got {format!r}). Nothing was written.")


@contextmanager
def _answered(home: Home, sql: str) -> Iterator[duckdb.DuckDBPyRelation]:
    if _is_empty(sql):
        raise UsageError('the question is empty; wanted SQL, such as "SELECT count(*) FROM clients".')
    with connect(home.warehouse, read_only=True) as con:
        try:
            found = con.sql(sql)
            # A statement that answers nothing gives no relation; an empty relation is false.
            yield con.sql("SELECT NULL AS nothing LIMIT 0") if found is None else found
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise UsageError(f"DuckDB does not understand the question: {error}") from None
        except duckdb.Error as error:
            raise NightdropError(f"DuckDB could not answer: {error}") from None


def _is_empty(sql: str) -> bool:
    """Tell whether there is nothing to ask: no statement, only blanks, `;` and comments."""
    try:
        return not duckdb.extract_statements(sql)
    except duckdb.Error:
        return False  # DuckDB says what is wrong when it is asked


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[RenderableType]:
    """Return a table, or where the terminal is too narrow for its columns each row as a list of its own."""
    width = terminal_width()
    if width is None or len(columns) * _NARROWEST <= width:
        return [table(columns, rows)]
    name_width = max(map(len, columns))
    text: list[RenderableType] = []
    for number, row in enumerate(rows, 1):
        text.append(line(f"row {number}", "bold"))
        text += [line(f"  {name:<{name_width}}  {plain(value)}") for name, value in zip(columns, row, strict=True)]
    return text or [line("No rows.")]


def _written(found: duckdb.DuckDBPyRelation, kind: Format, out: Path | None) -> Answer | None:
    batches = found.to_arrow_reader(_ROWS_AT_ONCE)
    if out is None:
        if kind == "parquet" and sys.stdout.isatty():
            raise UsageError("Parquet is not for a terminal; say where to with --out FILE. Nothing was written.")
        if kind == "parquet":
            sink = pa.BufferOutputStream()
            _write(batches, kind, sink)
            write_bytes([sink.getvalue().to_pybytes()])
        else:
            write_bytes(_pieces(batches, kind))
        return None
    rows = _to_file(batches, kind, out)
    return Answer({"file": str(out), "format": kind, "rows": rows}, [line(f"{rows:,} rows in {out}")])


def _to_file(batches: pa.RecordBatchReader, kind: Format, out: Path) -> int:
    """Write a file at once; return how many rows it has."""
    draft = out.with_name(f".{out.name}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
            rows = _write(batches, kind, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(out)
    except OSError as error:
        raise NightdropError(f"{out}: it could not be written ({error.strerror}). What was there before stands.") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return rows


def _write(batches: pa.RecordBatchReader, kind: Format, sink: IO[bytes] | pa.BufferOutputStream) -> int:
    rows = 0
    if kind == "parquet":
        with pq.ParquetWriter(sink, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
                rows += batch.num_rows
        return rows
    counted = _Counted(batches)
    for piece in _pieces(counted, kind):
        sink.write(piece)
    return counted.rows


class _Counted:
    """Batches, and how many rows have gone by."""

    def __init__(self, batches: pa.RecordBatchReader) -> None:
        self.schema, self._batches, self.rows = batches.schema, batches, 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for batch in self._batches:
            self.rows += batch.num_rows
            yield batch


def _pieces(batches: pa.RecordBatchReader | _Counted, kind: Format) -> Iterator[bytes]:
    return _csv(batches) if kind == "csv" else _json(batches)


def _csv(batches: pa.RecordBatchReader | _Counted) -> Iterator[bytes]:
    """Yield CSV with a header; a cell that a spreadsheet would run gets a `'` in front."""
    yield pl.DataFrame(pl.from_arrow(batches.schema.empty_table())).clear().with_columns(_as_cells(batches)).write_csv().encode()
    for batch in batches:
        cells = pl.DataFrame(pl.from_arrow(batch)).with_columns(_as_cells(batches)).with_columns(defused(pl.col(pl.String)))
        yield cells.write_csv(include_header=False).encode()


def _as_cells(batches: pa.RecordBatchReader | _Counted) -> list[pl.Expr]:
    """Return, for what no CSV cell holds as it is, its text."""
    return [
        pl.col(field.name).map_elements(_cell, return_dtype=pl.String)
        for field in batches.schema
        if pa.types.is_nested(field.type) or pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    ]


def _cell(value: Any) -> str:
    told = jsonable(value.to_list() if isinstance(value, pl.Series) else value)
    return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)


def _json(batches: pa.RecordBatchReader | _Counted) -> Iterator[bytes]:
    """Yield one JSON array, an object a line; exact numbers, dates and bytes as text."""
    yield b"["
    before = b"\n"
    for batch in batches:
        for row in batch.to_pylist():
            text = json.dumps(jsonable(row), ensure_ascii=False, allow_nan=False)
            yield before + text.encode("utf-8", "backslashreplace")
            before = b",\n"
    yield b"\n]\n"
