"""A home in a folder of a test: drops go in, tables come out, in the oracle's order of columns and rows."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import duckdb
from oracle import COLUMNS, Tables, business_date
from oracle_living import History

from pipelines.files import private_folder
from pipelines.home import Home, Settings
from pipelines.night import run_night
from pipelines.shift import working_warehouse
from pipelines.summary import Night

_NUMBERS = count()
"""Names of warehouses while they are asked."""


def home_in(folder: Path) -> Home:
    home = Home(folder)
    home.inbox.mkdir(parents=True)
    return home


def deliver(home: Home, drops: Mapping[str, bytes]) -> None:
    for path, data in drops.items():
        place = home.inbox / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


@cache
def _no_rows() -> bytes:
    """Return a working warehouse as the first run makes it: to make it anew for each home takes a quarter of a small night."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        private_folder(home.state)
        with working_warehouse(home):
            pass
        return home.working.read_bytes()


def with_tables(home: Home) -> None:
    """Lay down the working warehouse of a home that has none, without rows."""
    if not home.working.exists():
        private_folder(home.state)
        home.working.write_bytes(_no_rows())


def copy_of(home: Home, folder: Path) -> Home:
    """Return a home as another is: to do its nights again takes thirty times as long."""
    return Home(Path(shutil.copytree(home.root, folder, symlinks=True)))


def night(home: Home, drops: Mapping[str, bytes] | None = None, **settings: Any) -> Night:
    deliver(home, drops or {})
    with_tables(home)
    return run_night(home, Settings(**settings))


@cache
def _analyst() -> duckdb.DuckDBPyConnection:
    """Return a DuckDB that asks all warehouses: one of its own a question takes ten times as long to begin."""
    return duckdb.connect()


@contextmanager
def asked(home: Home) -> Iterator[duckdb.DuckDBPyConnection]:
    """Ask the published warehouse, attached as an analyst may."""
    with _analyst().cursor() as con:
        name, place = f"warehouse_{next(_NUMBERS)}", str(home.warehouse).replace("'", "''")
        con.execute(f"ATTACH '{place}' AS {name} (READ_ONLY)")
        con.execute(f"USE {name}")
        try:
            yield con
        finally:
            con.execute("USE memory")
            con.execute(f"DETACH {name}")


def rows(home: Home, query: str) -> list[tuple[Any, ...]]:
    with asked(home) as con:
        return con.execute(query).fetchall()


def tables(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table the law decides, as the published warehouse has it."""
    with asked(home) as con:
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


class JudgedHome:
    """A home and its judge: what is done to the one is told to the other, and after each night and act both must agree."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.home = home_in(folder)
        limits = {name: settings[name] for name in ("hold_above", "max_expanded") if name in settings}
        self.history = History(**limits)
        self.settings = Settings(**settings)
        self.waiting: dict[str, bytes] = {}
        """What lies in the inbox and no run has seen."""
        self.waiting_manifests: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        """Lay a file into the inbox."""
        deliver(self.home, {path: data})
        self.waiting[path] = data

    def put_manifest(self, path: str, data: bytes) -> None:
        """Lay a manifest beside the file of that path."""
        deliver(self.home, {f"{path}.manifest.json": data})
        self.waiting_manifests[path] = data

    def night(self, drops: Mapping[str, bytes] | None = None, *, only_date: date | None = None, **settings: Any) -> None:
        """Lay files into the inbox, run a night (over one date, if given), and compare."""
        for path, data in (drops or {}).items():
            self.put(path, data)
        with_tables(self.home)
        run_night(self.home, replace(self.settings, **settings), only_date=only_date)
        seen = {path for path in {*self.waiting, *self.waiting_manifests} if only_date in (None, business_date(path))}
        for path in seen & self.waiting.keys():
            self.history.deliver(path, self.waiting.pop(path))
        for path in seen & self.waiting_manifests.keys():
            self.history.manifest(path, self.waiting_manifests.pop(path))
        self.assert_lawful()

    def withdraw(self, target: str | date) -> None:
        """Take a drop or a date out, and compare."""
        from pipelines import acts

        acts.withdraw(self.home, self.settings, target)
        self.history.withdraw(target)
        self.assert_lawful()

    def rerun(self, target: str | date) -> None:
        """Decide a drop or a date again, and compare."""
        from pipelines import acts

        acts.rerun(self.home, self.settings, target)
        self.history.rerun(target)
        self.assert_lawful()

    def release(self, path: str, business_date: date | None = None) -> None:
        """Accept a held drop as it is, and compare."""
        from pipelines import acts

        acts.release(self.home, self.settings, path, business_date=business_date)
        self.history.release(path, business_date)
        self.assert_lawful()

    def assert_lawful(self) -> None:
        """Compare every table of the published warehouse with the judge's."""
        assert_same(tables(self.home), self.history.tables())
