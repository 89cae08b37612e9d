"""What an answer of the warehouse looks like in a file: CSV, JSON and Parquet, every value exact, a batch of rows at a time.

DuckDB itself says every value as text: no other library's idea of a date, an interval or a long number comes between.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from flows.terminal import Answer, counted, line, write_bytes
from pipelines.bounce import defused
from pipelines.problems import NightdropError, UsageError

Format = Literal["csv", "json", "parquet"]
_ROWS_AT_ONCE = 50_000
_WHOLE = {"tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"}
_FLOATING = {"float", "double"}
_NESTED = {"list", "array", "struct", "map", "union"}
_NO_PARQUET = {"interval", "bit", "time with time zone", "variant"}
"""Types for which Parquet has no form, or Arrow none that it can write: they are told as text."""


def written(found: duckdb.DuckDBPyRelation, kind: Format, out: Path | None) -> Answer | None:
    """Write an answer to a file, whole or not at all, or to standard output; None when that has it.

    Raises UsageError when the format cannot hold it, NightdropError when the file cannot be written.
    """
    if kind != "csv":
        _refuse_doubled(found.columns, kind)
    if out is not None:
        rows = _to_file(found, kind, out)
        return Answer({"file": str(out), "format": kind, "rows": rows}, [line(f"{counted(rows, 'row')} in {out}")])
    if kind != "parquet":
        write_bytes(_texts(found, kind, lambda rows: None))
    elif sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal; say where to with --out FILE. Nothing was written.")
    else:
        sink = pa.BufferOutputStream()
        _write_parquet(found, sink)
        write_bytes([sink.getvalue().to_pybytes()])
    return None


def _refuse_doubled(columns: list[str], kind: Format) -> None:
    [(name, times)] = Counter(columns).most_common(1)
    if times > 1:
        raise UsageError(f"{times} columns are called {name!r}, and {kind} knows them by name: tell them apart with AS.")


def _to_file(found: duckdb.DuckDBPyRelation, kind: Format, out: Path) -> int:
    """Write a file at once; return how many rows it has. What is no file (a pipe, a device) is written to as it is."""
    in_place = out.exists() and not out.is_file()
    draft = out if in_place else out.with_name(f".{out.name}.tmp")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640), "wb") as file:
            rows = _write_parquet(found, file) if kind == "parquet" else _write_text(found, kind, file)
            if not in_place:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(out)
    except OSError as error:
        raise NightdropError(f"{out}: it could not be written ({error.strerror}). What was there before stands.") from error
    finally:
        if not in_place:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    return rows


def _write_text(found: duckdb.DuckDBPyRelation, kind: Format, file: IO[bytes]) -> int:
    rows: list[int] = []
    for piece in _texts(found, kind, rows.append):
        file.write(piece)
    return sum(rows)


def _write_parquet(found: duckdb.DuckDBPyRelation, sink: IO[bytes] | pa.BufferOutputStream) -> int:
    told = [f"#{number}{'::VARCHAR' * (type_.id in _NO_PARQUET)}" for number, type_ in enumerate(found.types, 1)]
    batches = found.project(", ".join(told)).to_arrow_reader(_ROWS_AT_ONCE)
    schema = pa.schema([field.with_name(name) for field, name in zip(batches.schema, found.columns, strict=True)])
    rows = 0
    with pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            rows += batch.num_rows
    return rows


def _texts(found: duckdb.DuckDBPyRelation, kind: Format, count: Callable[[int], object]) -> Iterator[bytes]:
    """Yield an answer as CSV or JSON; `count` gets the number of rows of each piece."""
    told = [
        f"to_json(#{number})::VARCHAR" if type_.id in _NESTED else f"#{number}::VARCHAR"
        for number, type_ in enumerate(found.types, 1)
    ]
    named = ", ".join(f"{value} AS c{number}" for number, value in enumerate(told))
    batches = found.project(named).to_arrow_reader(_ROWS_AT_ONCE)
    pieces = _csv if kind == "csv" else _json
    return pieces(found, batches, count)


def _csv(found: duckdb.DuckDBPyRelation, batches: pa.RecordBatchReader, count: Callable[[int], object]) -> Iterator[bytes]:
    """Yield CSV with a header; a cell that a spreadsheet would run gets a `'` in front."""
    header = io.StringIO()
    csv.writer(header, lineterminator="\n").writerow(defused(pl.DataFrame({"name": found.columns}))["name"])
    yield header.getvalue().encode()
    # A number below 0 begins with `-` and is none the worse for it.
    words = [f"c{place}" for place, type_ in enumerate(found.types) if type_.id not in _WHOLE | _FLOATING | {"decimal"}]
    for batch in batches:
        count(batch.num_rows)
        cells = pl.DataFrame(pl.from_arrow(batch))
        yield defused(cells, words).write_csv(include_header=False).encode()


def _json(found: duckdb.DuckDBPyRelation, batches: pa.RecordBatchReader, count: Callable[[int], object]) -> Iterator[bytes]:
    """Yield one JSON array, an object a line; decimals, dates and bytes as text."""
    told = [
        (json.dumps(name, ensure_ascii=False), _as_json(type_.id)) for name, type_ in zip(found.columns, found.types, strict=True)
    ]
    before = "[\n"
    for batch in batches:
        if not batch.num_rows:
            continue
        count(batch.num_rows)
        columns = [
            [f"{name}: {'null' if text is None else say(text)}" for text in column.to_pylist()]
            for (name, say), column in zip(told, batch.columns, strict=True)
        ]
        yield (before + ",\n".join(f"{{{', '.join(cells)}}}" for cells in zip(*columns, strict=True))).encode()
        before = ",\n"
    yield b"\n]\n" if before == ",\n" else b"[]\n"


def _as_json(type_id: str) -> Callable[[str], str]:
    """Return what makes JSON of a value's text."""
    if type_id in _WHOLE or type_id == "boolean":
        return str
    if type_id in _FLOATING:
        return lambda text: text if text.strip("-") not in ("nan", "inf") else f'"{text}"'
    return _nested if type_id in _NESTED else lambda text: json.dumps(text, ensure_ascii=False)


def _nested(text: str) -> str:
    """Return JSON text as it is, but for what JSON has no word for."""
    strange: list[str] = []

    def noted(word: str) -> str:
        strange.append(word)
        return word

    value = json.loads(text, parse_constant=noted)
    return json.dumps(value, ensure_ascii=False) if strange else text
