"""Find the verdicts that a change turned, and note which drop turned each. Runs in the caller's transaction."""

from __future__ import annotations

import duckdb
import polars as pl

from pipelines import inserting
from pipelines.database import handed_over, query
from pipelines.decision import Living
from pipelines.moment import Moment

_VERDICT = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "line": pl.Int64(),
    "rank": pl.Int64(),
    "was": pl.String(),
    "verdict": pl.String(),
}
"""What a verdict was and is."""


class Verdicts:
    """The verdicts of all events whose drop goes and comes back with the same bytes, kept while they are decided again."""

    def __init__(self, con: duckdb.DuckDBPyConnection, living: Living) -> None:
        self.con = con
        back = living.gone.join(living.drops.filter("added"), on=["business_date", "path", "sha256"], how="semi")
        self.any = not back.is_empty()
        if not self.any:
            return
        with handed_over(con, back=back):
            con.execute(
                "CREATE TEMP TABLE stood AS SELECT e.business_date, e.path, e.line, e.verdict AS was FROM events AS e "
                "SEMI JOIN back ON back.business_date = e.business_date AND back.path = e.path"
            )

    def changed(self, places: pl.DataFrame) -> pl.DataFrame:
        """Return business_date, path, line, rank, was, verdict of those that are other now, and forget all."""
        if not self.any:
            return pl.DataFrame(schema=_VERDICT)
        found = query(
            self.con,
            "SELECT e.business_date, e.path, e.line, s.was, e.verdict FROM events AS e JOIN stood AS s "
            "ON s.business_date = e.business_date AND s.path = e.path AND s.line = e.line WHERE s.was <> e.verdict",
        )
        self.con.execute("DROP TABLE stood")
        ranks = places.select("business_date", "path", "rank")
        return found.join(ranks, on=["business_date", "path"], how="left", maintain_order="left").select(*_VERDICT)


def write_flips(con: duckdb.DuckDBPyConnection, flips: pl.DataFrame, living: Living, moment: Moment) -> int:
    """Note which verdicts changed, and because of which drop: the last that came or went at or before the event.

    `flips`: business_date, path, line, rank, was, verdict. Returns how many they are.
    """
    if flips.is_empty():
        return 0
    came = living.drops.filter("added").select("business_date", "path", "rank")
    went = living.gone.select("business_date", "path").join(
        living.drops.select("business_date", "path", "rank"), on=["business_date", "path"], how="left"
    )
    moved = pl.concat([came, went]).with_columns(pl.col("rank").fill_null(-1)).sort("rank")
    because = flips.sort("rank").join_asof(moved.select("rank", because_path="path"), on="rank", strategy="backward")
    inserting.insert(
        con,
        "verdict_changes",
        because.select("business_date", "path", "line", "was", "because_path", now="verdict", run_id=pl.lit(moment.run_id)),
    )
    return len(flips)
