"""Corrections: lines of resubmitted files that stand in for lines of drops, at their originals' positions.

They belong to the edition they correct, and carry over to one that begins with that edition's bytes; of several for one
line the latest stands. A resubmitted file is archived and read like a drop, but lives nowhere of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime

import duckdb
import polars as pl

from pipelines.archive import Archive
from pipelines.book import Book, Edition
from pipelines.database import handed_over
from pipelines.discovery import drop_format
from pipelines.logform import FIXES

_PLACE = ".resubmitted/"
"""In front of the path of what it corrects: a resubmitted file in the log. No drop's path begins with a dot."""
_PIECE = 1024 * 1024
_TABLE = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "line": pl.Int64(),
    "sha256": pl.String(),
    "its_line": pl.Int64(),
    "submitted_at": pl.Datetime("us"),
}


def log_path(path: str, sha256: str) -> str:
    """Return the name under which the log has a resubmitted file: it says the format, and whose drop it corrects."""
    shape = drop_format(path)
    return f"{_PLACE}{path}/{sha256}.{shape[0] if shape else ''}"


def corrected_path(path: str) -> str:
    """Return the path of the drop that a resubmitted file corrects, from its name in the log; any other path as it is."""
    return path.removeprefix(_PLACE).rpartition("/")[0] if path.startswith(_PLACE) else path


def files(book: Book) -> list[Edition]:
    """Return the resubmitted files of all corrections, as editions to be read as they are."""
    named = {log_path(c.path, c.file): c.file for c in book.corrections}
    epoch = datetime.fromtimestamp(0, UTC)
    return [Edition(path, sha256, 0, None, epoch, "", released=True) for path, sha256 in named.items()]


def fixes(book: Book, lives: Sequence[Edition], logged: pl.DataFrame) -> pl.DataFrame:
    """Return which lines of resubmitted files stand in for which lines of living drops (columns `FIXES`)."""
    paths = {correction.path for correction in book.corrections}
    rows = [
        (log_path(c.path, c.file), c.file, c.its_line, rank, line, edition.business_date)
        for rank, edition in enumerate(lives)
        if edition.path in paths
        for line, c in book.standing_corrections(edition).items()
    ]
    columns: dict[str, pl.DataType] = {"path": pl.String(), "sha256": pl.String()}
    columns |= {name: FIXES[name] for name in ("its_line", "rank", "line", "business_date")}
    stand = pl.DataFrame(rows, schema=columns, orient="row").join(logged, on=["path", "sha256"], how="left")
    return stand.rename({"sha256": "file"}).select(*FIXES)


def _table(book: Book, lives: Iterable[Edition]) -> pl.DataFrame:
    paths = {correction.path for correction in book.corrections}
    rows = [
        (edition.business_date, edition.path, line, c.file, c.its_line, c.submitted_at.replace(tzinfo=None))
        for edition in lives
        if edition.path in paths
        for line, c in book.standing_corrections(edition).items()
    ]
    return pl.DataFrame(rows, schema=_TABLE, orient="row")


def changed(con: duckdb.DuckDBPyConnection, book: Book, lives: Sequence[Edition]) -> set[tuple[str, str]]:
    """Return the living editions whose corrections are others than those in the warehouse."""
    before = set(con.execute("SELECT path, line, sha256, its_line FROM corrections").fetchall())
    now = set(_table(book, lives).select("path", "line", "sha256", "its_line").iter_rows())
    paths = {row[0] for row in before ^ now}
    return {edition.key for edition in lives if edition.path in paths}


def write(con: duckdb.DuckDBPyConnection, book: Book, lives: Iterable[Edition]) -> None:
    """Bring the table in step with the book. Runs in the caller's transaction."""
    con.execute("DELETE FROM corrections")
    if not book.corrections:
        return
    with handed_over(con, now=_table(book, lives)):
        con.execute("INSERT INTO corrections BY NAME SELECT * FROM now")


def carry_over(book: Book, edition: Edition, archive: Archive) -> None:
    """Note which corrected older editions of its path an edition begins with."""
    corrected = {c.sha256 for c in book.corrections if c.path == edition.path} - {edition.sha256}
    edition.begins_with = [sha256 for sha256 in sorted(corrected) if begins_with(edition, sha256, archive)]


def begins_with(edition: Edition, older: str, archive: Archive) -> bool:
    """Tell whether the uncompressed bytes of an edition begin with those of an older one of its path."""
    shape = drop_format(edition.path)
    compression = shape[1] if shape else None
    with closing(archive.open_bytes(edition.sha256, compression)) as new, closing(archive.open_bytes(older, compression)) as old:
        while piece := old.read(_PIECE):
            if new.read(len(piece)) != piece:
                return False
    return True
