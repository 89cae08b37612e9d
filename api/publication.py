"""One publication of the warehouse, opened read-only: clients by reference and in order, loans, deposits, its journals.

A process that holds an older publication gets that one again from DuckDB for the same path. So each is opened under a name of
its own, a hard link that is taken away as soon as DuckDB has the file: nothing is left behind, and nothing half is ever seen.
"""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import polars as pl

from api.presenting import columns
from pipelines import database, schema
from pipelines.home import Home
from pipelines.journals import is_journal
from validation.entities import ENTITIES

Ints = npt.NDArray[np.int64]
Identity = tuple[int, int, int]
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP)
_SEARCHED = ("client_id", "name", "email", "phone", "registration_number")


@dataclass(frozen=True, slots=True)
class Edition:
    """What a publication says of the last edition of a journal."""

    sha256: str
    bytes: int
    status: str


class Publication:
    """An open publication. Its connection closes when nobody holds it any more."""

    def __init__(self, con: duckdb.DuckDBPyConnection, identity: Identity | None) -> None:
        self.con, self.identity = con, identity
        found = database.query(con, "SELECT client_id, rowid, deleted_on IS NULL AS living FROM clients ORDER BY client_id")
        self._ids = found["client_id"].rechunk()
        self._rows: Ints = found["rowid"].to_numpy().astype(np.int64)
        self.living: Ints = np.flatnonzero(found["living"].to_numpy()).astype(np.int64)
        """Places, in the order of references, of the clients that are not deleted."""
        self.journals = _journals(con)
        self._place_of_row: Ints | None = None

    @classmethod
    def open(cls, home: Home) -> Publication:
        """Open the published warehouse as it is now; an empty one before the first publication."""
        if not home.warehouse.exists():
            con = database.connect(Path(":memory:"))
            schema.create(con)
            return cls(con, None)
        folder = home.state / "api"
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        name = folder / f"published-{uuid.uuid4().hex}.duckdb"
        try:
            identity = _link(home.warehouse, name)
            con = database.connect(name, read_only=True)
        finally:
            name.unlink(missing_ok=True)
        return cls(con, identity)

    def client(self, reference: str) -> dict[str, Any] | None:
        """Return a client's record, deleted or not."""
        place = self.place(reference)
        return self.clients([place])[0] if self.is_at(place, reference) else None

    def is_at(self, place: int, reference: str) -> bool:
        """Tell whether that reference stands at that place."""
        return place < len(self._ids) and bool(self._ids[place] == reference)

    def place(self, reference: str) -> int:
        """Return where a reference stands, or would stand, in their order."""
        return int(self._ids.search_sorted(reference, side="left")) if len(self._ids) else 0

    def clients(self, places: Sequence[int]) -> list[dict[str, Any]]:
        """Return the records at those places, in that order."""
        if not places:
            return []
        rows = self._rows[np.asarray(places, dtype=np.int64)].tolist()
        # Both ways read the wanted rows alone; a list of numbers after IN would read the whole table.
        wanted = "rowid = $rows[1]" if len(rows) == 1 else "rowid IN (SELECT unnest($rows))"
        found = self._all(f"SELECT {', '.join(columns('client'))} FROM clients WHERE {wanted}", {"rows": rows})
        by_id = {record["client_id"]: record for record in found}
        return [by_id[self._ids[place]] for place in places]

    def matching(self, term: str) -> Ints:
        """Return the places of living clients in one of whose searched fields the term stands, in any case."""
        anywhere = " OR ".join(f"contains(lower({name}), lower($term))" for name in _SEARCHED)
        sql = f"SELECT rowid FROM clients WHERE deleted_on IS NULL AND ({anywhere})"
        rows = database.query(self.con.cursor(), sql, {"term": term})["rowid"].to_numpy().astype(np.int64)
        if self._place_of_row is None:
            places = np.zeros(int(self._rows.max(initial=-1)) + 1, dtype=np.int64)
            places[self._rows] = np.arange(len(self._rows))
            self._place_of_row = places
        return np.sort(self._place_of_row[rows])

    def of_client(self, category: str, client_id: str, without: Sequence[str], window: tuple[int, int] | None) -> Any:
        """Return how many loans or deposits a client has, and those of the window (limit, offset) by their ids; None is all."""
        key = columns(category)[0]
        where = f"FROM {ENTITIES[category].table} WHERE client_id = $client_id AND NOT list_contains($without, {key})"
        said = {"client_id": client_id, "without": list(without)}
        total = self._all(f"SELECT count(*) AS n {where}", said)[0]["n"]
        limit = "LIMIT {} OFFSET {}".format(*window) if window else ""
        return total, self._all(f"SELECT {', '.join(columns(category))} {where} ORDER BY {key} {limit}", said)

    def later(self, floor: date) -> dict[str, date]:
        """Return the last business date of the events of each client that has any after `floor`."""
        sql = (
            "SELECT client_id, max(business_date) FROM events WHERE business_date > $floor AND client_id IS NOT NULL GROUP BY ALL"
        )
        return dict(self.con.cursor().execute(sql, {"floor": floor}).fetchall())

    def named_in(self, paths: Iterable[str]) -> set[str]:
        """Return the clients that the events of those drops are about."""
        sql = "SELECT DISTINCT client_id FROM events WHERE list_contains($paths, path) AND client_id IS NOT NULL"
        return {row[0] for row in self.con.cursor().execute(sql, {"paths": list(paths)}).fetchall()}

    def _all(self, sql: str, said: dict[str, Any]) -> list[dict[str, Any]]:
        with self.con.cursor() as cursor:
            cursor.execute(sql, said)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def identify(file: Path) -> Identity | None:
    """Return what tells one publication from the next; None when there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def frame_of(category: str, records: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Return records as settling takes them: as they stand before any event of a journal."""
    entity = ENTITIES[category]
    types: dict[str, pl.DataType] = {field.name: field.type.dtype for field in entity.fields}
    types |= {"created_on": pl.Date(), "updated_on": pl.Date(), "deleted_on": pl.Date()}
    earlier = pl.lit(-1, dtype=pl.Int64)
    return pl.DataFrame(list(records), schema=types).with_columns(
        created_pos=earlier, deleted_pos=pl.when(pl.col("deleted_on").is_not_null()).then(earlier)
    )


def _journals(con: duckdb.DuckDBPyConnection) -> dict[str, Edition]:
    """Return the last edition of each journal: the living one, if there is one."""
    sql = "SELECT path, sha256, bytes, status FROM drops WHERE path LIKE '%/api.jsonl' "
    sql += "ORDER BY status = 'applied', picked_at, bytes"
    rows = con.execute(sql).fetchall()
    return {path: Edition(sha256, size, status) for path, sha256, size, status in rows if is_journal(path)}


def _link(file: Path, name: Path) -> Identity:
    """Give a publication a name of its own; return the identity of what has that name now."""
    try:
        os.link(file.resolve(), name)
        status = name.stat()
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        # data/state lies on another file system. A published file never changes, so a copy of it is whole.
        with file.open("rb") as source, name.open("wb") as copy:
            status = os.fstat(source.fileno())
            shutil.copyfileobj(source, copy)
    return status.st_ino, status.st_mtime_ns, status.st_size
