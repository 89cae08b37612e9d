"""A home in a folder of a test: drops go in, tables come out, in the oracle's order of columns and rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from oracle import COLUMNS, Tables

from pipelines.home import Home, Settings
from pipelines.night import run_night
from pipelines.summary import Night


def home_in(folder: Path) -> Home:
    home = Home(folder)
    home.inbox.mkdir(parents=True)
    return home


def deliver(home: Home, drops: Mapping[str, bytes]) -> None:
    for path, data in drops.items():
        place = home.inbox / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def night(home: Home, drops: Mapping[str, bytes] | None = None, **settings: Any) -> Night:
    deliver(home, drops or {})
    return run_night(home, Settings(**settings))


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        return con.execute(query).fetchall()


def tables(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table the law decides, as the published warehouse has it."""
    with duckdb.connect(str(home.warehouse), read_only=True) as con:
        return {
            table: sorted(con.execute(f"SELECT {', '.join(columns)} FROM {table}").fetchall(), key=_nulls_first)
            for table, columns in COLUMNS.items()
        }


def _nulls_first(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple((value is not None, value) for value in row)


def assert_same(found: Mapping[str, list[Any]], wanted: Tables) -> None:
    """Compare table by table, and show the rows that only one side has."""
    for table, expected_rows in wanted.items():
        missing = [row for row in expected_rows if row not in found[table]]
        extra = [row for row in found[table] if row not in expected_rows]
        assert not missing, (table, "missing", missing, "extra", extra)
        assert found[table] == expected_rows, (table, "extra", extra)
