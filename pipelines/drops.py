"""The book of drops: one row an edition, what became of it and how many of its records were applied.

Every function runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import polars as pl

from pipelines.database import handed_over, query
from pipelines.loading import Moment
from pipelines.pickup import Delivery
from pipelines.summary import DropResult

_EDITION = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "sha256": pl.String(),
    "bytes": pl.Int64(),
    "reason": pl.String(),
    "detail": pl.String(),
}


def _editions(deliveries: Sequence[Delivery]) -> pl.DataFrame:
    rows = [(d.business_date, d.path, d.sha256, d.bytes, *(d.hold or (None, None))) for d in deliveries]
    return pl.DataFrame(rows, schema=_EDITION, orient="row")


def living(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return business_date, path, sha256, bytes of every drop that is in the warehouse."""
    return query(con, "SELECT business_date, path, sha256, bytes FROM drops WHERE status = 'applied'")


def held(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Return path, sha256, bytes, reason of every held edition."""
    return query(con, "SELECT path, sha256, bytes, reason FROM drops WHERE status = 'held'")


def write_looked_at(con: duckdb.DuckDBPyConnection, deliveries: Sequence[Delivery], paths: Sequence[str], moment: Moment) -> None:
    """Note what a look at the drops of these paths found: which editions are held, and which held ones are so no longer.

    `deliveries`: the edition that each path has now, held or not.
    """
    now = _editions(deliveries)
    with handed_over(con, now=now, looked_at=pl.DataFrame({"path": paths}, schema={"path": pl.String()})):
        con.execute(
            "UPDATE drops AS d SET status = 'superseded', reason = 'superseded_by', detail = n.sha256 FROM now AS n "
            "WHERE d.path = n.path AND d.status = 'held' AND d.sha256 <> n.sha256"
        )
        con.execute(
            "CREATE OR REPLACE TEMP TABLE now_held AS SELECT n.*, coalesce(d.picked_at, $at) AS picked_at, "
            "coalesce(d.run_id, $run) AS run_id FROM now AS n LEFT JOIN drops AS d ON d.path = n.path "
            "AND d.sha256 IS NOT DISTINCT FROM n.sha256 AND d.status = 'held' WHERE n.reason IS NOT NULL",
            {"at": moment.naive, "run": moment.run_id},
        )
        con.execute("DELETE FROM drops AS d USING looked_at AS l WHERE d.path = l.path AND d.status = 'held'")
    con.execute("INSERT INTO drops BY NAME SELECT *, 'held' AS status FROM now_held")
    con.execute("DROP TABLE now_held")


def write_applied(con: duckdb.DuckDBPyConnection, deliveries: Sequence[Delivery], moment: Moment) -> None:
    """Note which editions are in the warehouse now, and that they take the place of the other editions of their paths."""
    with handed_over(con, now_applied=_editions(deliveries).drop("reason", "detail")):
        con.execute(
            "UPDATE drops AS d SET status = 'superseded', reason = 'superseded_by', detail = a.sha256, records = NULL, "
            "applied = NULL, rejected = NULL, warned = NULL FROM now_applied AS a "
            "WHERE d.path = a.path AND d.sha256 <> a.sha256 AND d.status = 'applied'"
        )
        con.execute("DELETE FROM drops AS d USING now_applied AS a WHERE d.path = a.path AND d.sha256 = a.sha256")
        con.execute(
            "INSERT INTO drops BY NAME SELECT *, 'applied' AS status, $at AS picked_at, $at AS decided_at, $run AS run_id "
            "FROM now_applied",
            {"at": moment.naive, "run": moment.run_id},
        )


def recount(con: duckdb.DuckDBPyConnection, drops: pl.DataFrame, moment: Moment) -> None:
    """Count the records of those drops (business_date, path) anew."""
    with handed_over(con, those=drops):
        con.execute(
            """
            UPDATE drops AS d
            SET records = c.records, applied = c.applied, rejected = c.records - c.applied, warned = c.warned, decided_at = $at
            FROM (
                SELECT t.business_date, t.path,
                    count(e.line) AS records,
                    count(e.line) FILTER (e.verdict = 'applied') AS applied,
                    count(w.line) AS warned
                FROM those AS t
                LEFT JOIN events AS e ON e.business_date = t.business_date AND e.path = t.path
                LEFT JOIN (SELECT DISTINCT business_date, path, line FROM warnings) AS w
                    ON w.business_date = e.business_date AND w.path = e.path AND w.line = e.line
                GROUP BY t.business_date, t.path
            ) AS c
            WHERE d.business_date = c.business_date AND d.path = c.path AND d.status = 'applied'
            """,
            {"at": moment.naive},
        )


def results(con: duckdb.DuckDBPyConnection, moment: Moment) -> tuple[DropResult, ...]:
    """Return what this run took in, and all that is held now."""
    found = con.execute(
        "SELECT path, business_date, sha256, bytes, records, applied, rejected, warned, status, reason, detail FROM drops "
        "WHERE status = 'held' OR (status = 'applied' AND run_id = $run) ORDER BY business_date, path",
        {"run": moment.run_id},
    ).fetchall()
    return tuple(DropResult(*row) for row in found)
