"""`query` and `export`: what the published warehouse says, as a table to look at or a file to take away. They change nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Literal

import duckdb
from rich.console import RenderableType

from flows.commands import written
from flows.terminal import Answer, least_width, line, record, table, terminal_width
from pipelines.database import connect
from pipelines.home import Home
from pipelines.problems import NightdropError, UsageError

Format = Literal["table"] | written.Format
FORMATS: tuple[Format, ...] = ("table", "csv", "json", "parquet")
_SUFFIXES: dict[str, Format] = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
_ROWS_SHOWN = 1000


def query(home: Home, sql: str, *, whole: bool) -> Answer:
    """Ask the published warehouse; nothing can be changed by it and no other file is reached.

    Without `whole` no more rows are fetched than a person looks at.
    """
    with _answered(home, sql) as found:
        columns = found.columns
        rows = (found if whole else found.limit(_ROWS_SHOWN + 1)).fetchall()
        there_are = len(rows) if whole or len(rows) <= _ROWS_SHOWN else found.shape[0]
    text = _fitting(columns, rows[:_ROWS_SHOWN])
    if there_are > _ROWS_SHOWN:
        text.append(
            line(f"The first {_ROWS_SHOWN:,} of {there_are:,} rows; `--format csv` or `--out FILE.csv` gives all.", "dim")
        )
    return Answer({"columns": columns, "rows": rows}, text)


def write_query(home: Home, sql: str, *, format: str | None, out: Path | None) -> Answer | None:
    """Ask the published warehouse and write the answer to a file, or to standard output; None when that has it."""
    kind = _format(format, out)
    if kind == "table":
        raise UsageError("--out wants --format csv, json or parquet: a table is to look at. Nothing was written.")
    with _answered(home, sql) as found:
        return written.written(found, kind, out)


def export(home: Home, name: str, *, format: str | None, out: Path | None, as_of: date | None) -> Answer | None:
    """Write one table or view of the published warehouse, as it stands or as it stood at the end of a business date."""
    kind = _format(format, out)
    with connect(home.warehouse, read_only=True) as con:
        shown = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
        tables = [found for (found,) in con.execute(shown).fetchall()]
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
        return written.written(found, "csv" if kind == "table" else kind, out)


def _format(format: str | None, out: Path | None) -> Format:
    """Return the format that is asked for, or else what the file's name says."""
    if format is None:
        if out and out.suffix and out.suffix not in _SUFFIXES:
            raise UsageError(
                f"{out}: {out.suffix!r} is no format known here; say --format csv, json or parquet. Nothing was written."
            )
        return _SUFFIXES.get(out.suffix, "csv") if out else "table"
    for known in FORMATS:
        if format == known:
            return known
    raise UsageError(f"--format must be one of {', '.join(FORMATS)} (got {format!r}). Nothing was written.")


@contextmanager
def _answered(home: Home, sql: str) -> Iterator[duckdb.DuckDBPyRelation]:
    questions = _questions(sql)
    if questions == 0:
        raise UsageError('the question is empty; wanted SQL, such as "SELECT count(*) FROM clients".')
    if questions > 1:
        raise UsageError(f"these are {questions} questions, and only the last one would be answered: ask one at a time.")
    with connect(home.warehouse, read_only=True) as con:
        try:
            found = con.sql(sql)
            # A statement that answers nothing gives no relation; an empty relation is false.
            yield con.sql("SELECT NULL AS nothing LIMIT 0") if found is None else found
        except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
            raise UsageError(f"DuckDB does not understand the question: {error}") from None
        except duckdb.Error as error:
            raise NightdropError(f"DuckDB could not answer: {error}") from None


def _questions(sql: str) -> int:
    """Return how many questions there are: none in blanks, `;` and comments; what only prepares another one is none either."""
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error:
        return 1  # DuckDB says what is wrong when it is asked
    return sum(statement.type == duckdb.StatementType.SELECT for statement in statements[:-1]) + bool(statements)


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> list[RenderableType]:
    """Return a table, or where the terminal is too narrow for its columns each row as a list of its own."""
    width = terminal_width()
    if width is None or least_width(columns, rows) <= width:
        return [table(columns, rows, exact=True)]
    text: list[RenderableType] = []
    for number, row in enumerate(rows, 1):
        text += [line(f"row {number}", "bold"), record(columns, row)]
    return text or [line("No rows.")]
