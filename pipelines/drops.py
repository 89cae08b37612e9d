"""The table of drops: one row an edition, what became of it and how many of its records were applied.

Every function that writes runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import duckdb
import polars as pl

from pipelines.book import Book, Edition
from pipelines.database import handed_over, query
from pipelines.discovery import path_key
from pipelines.living import Standing
from pipelines.moment import Moment
from pipelines.summary import DropResult

_ROW = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "sha256": pl.String(),
    "bytes": pl.Int64(),
    "status": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "picked_at": pl.Datetime("us"),
    "run_id": pl.String(),
}

_COUNTS = ("records", "applied", "rejected", "warned")
_TOLD = ("business_date", "path", "sha256", "status", "reason", "detail")


def living(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return business_date, path, sha256 of every drop that is in the warehouse."""
    return query(con, "SELECT business_date, path, sha256 FROM drops WHERE status = 'applied'")


def write(con: duckdb.DuckDBPyConnection, book: Book, standing: Mapping[tuple[str, str], Standing], moment: Moment) -> bool:
    """Bring the table in step with the book; return whether any status changed. Counts stay until `recount`."""
    rows = [_edition_row(edition, standing[edition.key]) for edition in book.editions]
    for path, unread in book.unread.items():
        hold = ("held", *unread.hold, moment.naive, moment.run_id)
        rows.append((unread.business_date, path, None, unread.bytes, *hold))
    now = pl.DataFrame(rows, schema=_ROW, orient="row")
    was = query(con, "SELECT * FROM drops")
    kept = was.select("path", "sha256", *_COUNTS, "decided_at", was_picked="picked_at", was_run="run_id")
    is_living = pl.col("status") == "applied"
    following = now.join(kept, on=["path", "sha256"], how="left", nulls_equal=True, maintain_order="left").with_columns(
        *(pl.when(is_living).then(pl.col(name)) for name in _COUNTS),
        picked_at=pl.coalesce("was_picked", "picked_at"),
        run_id=pl.when(pl.col("sha256").is_null()).then(pl.coalesce("was_run", "run_id")).otherwise("run_id"),
    )
    following = following.select(was.columns)
    if following.equals(was):
        return False
    with handed_over(con, following=following):
        con.execute("DELETE FROM drops")
        con.execute("INSERT INTO drops BY NAME SELECT * FROM following")
    # A reason that is another than before counts as a change: its report is stale.
    return set(following.select(_TOLD).iter_rows()) != set(was.select(_TOLD).iter_rows())


def _edition_row(edition: Edition, standing: Standing) -> tuple[object, ...]:
    told = (standing.status, standing.reason, standing.detail)
    picked = edition.picked_at.replace(tzinfo=None)
    return (edition.business_date, edition.path, edition.sha256, edition.bytes, *told, picked, edition.run_id)


def recount(con: duckdb.DuckDBPyConnection, drops: pl.DataFrame, moment: Moment) -> None:
    """Count the records of those drops (business_date, path) anew."""
    with handed_over(con, those=drops):
        con.execute(
            """
            UPDATE drops AS d
            SET records = c.records, applied = c.applied, rejected = c.records - c.applied, warned = c.warned, decided_at = $at
            FROM (
                SELECT t.business_date, t.path, coalesce(e.records, 0) AS records, coalesce(e.applied, 0) AS applied,
                    coalesce(w.warned, 0) AS warned
                FROM those AS t
                LEFT JOIN (
                    SELECT business_date, path, count(*) AS records, count(*) FILTER (verdict = 'applied') AS applied
                    FROM events WHERE path IN (SELECT path FROM those) GROUP BY ALL
                ) AS e ON e.business_date = t.business_date AND e.path = t.path
                LEFT JOIN (
                    SELECT business_date, path, count(DISTINCT line) AS warned
                    FROM warnings WHERE path IN (SELECT path FROM those) GROUP BY ALL
                ) AS w ON w.business_date = t.business_date AND w.path = t.path
            ) AS c
            WHERE d.business_date = c.business_date AND d.path = c.path AND d.status = 'applied'
            """,
            {"at": moment.naive},
        )


def results(con: duckdb.DuckDBPyConnection, moment: Moment) -> tuple[DropResult, ...]:
    """Return what this run took in, and all that is held now."""
    found = con.execute(
        "SELECT path, business_date, sha256, bytes, records, applied, rejected, warned, status, reason, detail FROM drops "
        "WHERE status = 'held' OR (status = 'applied' AND run_id = $run)",
        {"run": moment.run_id},
    ).fetchall()
    results = (DropResult(*row) for row in found)
    return tuple(sorted(results, key=lambda drop: (drop.business_date or date.max, path_key(drop.path), drop.status)))
