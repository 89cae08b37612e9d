"""Load a decision into the working warehouse: every table in step with every other. Runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

import duckdb
import polars as pl
import pyarrow as pa

from pipelines import conservation, inserting
from pipelines.causes import CAUSE, find_causes
from pipelines.database import ROW_GROUP, as_handed_over, handed_over, query
from pipelines.decision import Decision, Living, Stage
from pipelines.flips import Verdicts, write_flips
from pipelines.moment import Moment
from pipelines.positions import Positions
from pipelines.refused import RawLines, add_raw
from pipelines.rewinding import BY_EVENT
from pipelines.settled import SPAN
from pipelines.tables import TABLES, past

_POSITION = ("business_date", "path", "line")
_FINDING = {
    "business_date": pl.Date(),
    "path": pl.String(),
    "line": pl.Int64(),
    "code": pl.String(),
    "field": pl.String(),
    "value": pl.String(),
    "message": pl.String(),
}
"""What is said of an event, a row a rejection or warning."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What changed in the warehouse.

    How many verdicts; the drops (business_date, path) of which something else is told; how many events were decided, how many
    of them are applied, and how often each reason was given.
    """

    flipped: int
    drops: pl.DataFrame
    events: int = 0
    applied: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)


def load(
    con: duckdb.DuckDBPyConnection, decision: Decision, living: Living, *, since: date, raw_lines: RawLines, moment: Moment
) -> Loaded:
    """Write a decision, `since` the first date that changes: events and what hangs on them, records, histories, causes, flips."""
    verdicts = Verdicts(con, living)
    _take_out(con, living.gone)
    places = living.drops.select("rank", "business_date", "path", "sha256")
    events = _placed(decision.events, places, moment)
    again = _differing(con, events.filter(~pl.col("added")), decision.stood)
    _write_events(con, events.filter("added"), again)
    retold = _write_findings(con, decision, events)
    for stage in decision.stages:
        if stage.entity.watched:
            inserting.insert(con, f"{stage.entity.category}_changes", _changes(stage, events))
    _delete_lines(con, ["rejected_lines"], again)
    decided_here = pl.concat([events.filter("added"), again.select(events.columns)])
    add_raw(con, decided_here.filter(pl.col("verdict") == "rejected"), raw_lines)
    for stage in decision.stages:
        _write_records(con, stage, since)
    traced = find_causes(con, since, places.select("business_date", "path", "rank"))
    redone = verdicts.changed(places)
    flips = pl.concat([again.filter(pl.col("was") != pl.col("verdict")).select(redone.columns), redone])
    flipped = write_flips(con, flips, living, moment)
    changed = [living.drops.filter("added"), again, retold, traced, _that_tell_of(con, retold)]
    told = pl.concat([part.select("business_date", "path") for part in changed]).unique()
    decided = decision.events.filter(pl.col("sound") | pl.col("added"))
    codes = dict(decision.reasons["code"].value_counts().iter_rows())
    return Loaded(flipped, told, len(decided), int(decided["applied"].sum()), codes)


class Ready(NamedTuple):
    """What is to be put into the tables of one decision: records to take out first, then rows by table."""

    again: Sequence[Stage]
    rows: Sequence[tuple[str, pa.Table]]


class Adding:
    """Writes decisions about records of which nothing stands from a date on: events and what hangs on them, records, histories.

    Causes and flips are left to find, refused lines to `add_raw`. Rows wait until they make whole row groups: one that is half
    full amid a table is written once more by the checkpoint. Between two tables another thread may have its `turn`.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        places: pl.DataFrame,
        *,
        since: date,
        moment: Moment,
        turn: AbstractContextManager[object],
    ) -> None:
        """`places`: rank, business_date, path, sha256 of the drops."""
        self._con, self._places, self._since, self._moment, self._turn = con, places, since, moment, turn
        self._waiting: dict[str, pl.DataFrame] = {}

    def make_ready(self, decision: Decision, *, last: bool) -> Ready:
        """Return what a decision says of its records as DuckDB is given it; no row waits for others when it is the `last`."""
        events = _placed(decision.events, self._places, self._moment).sort("pos")
        tables = {"events": events}
        who, placed = _who(events).drop("pos"), Positions(events["pos"])
        for table, found in (("rejections", decision.reasons), ("warnings", decision.warnings)):
            findings = found.sort("pos")
            _, rows = placed.rows_at(findings["pos"])
            conservation.same("loading", f"{table} to be written", len(findings), "of its events", len(rows))
            tables[table] = pl.concat([findings, who[pl.Series(rows)]], how="horizontal")
        for stage in decision.stages:
            if stage.entity.watched:
                tables[f"{stage.entity.category}_changes"] = _changes(stage, events)
            tables |= _versions(stage)
        for table in self._waiting if last else ():
            tables.setdefault(table, self._waiting[table].clear())
        whole = [(table, self._whole_groups(table, frame, last=last)) for table, frame in tables.items()]
        return Ready([stage for stage in decision.stages if not stage.before.is_empty()], whole)

    def _whole_groups(self, table: str, frame: pl.DataFrame, *, last: bool) -> pa.Table:
        rows = inserting.columns_of(table, frame)
        every = pl.concat([self._waiting.pop(table), rows]) if table in self._waiting else rows
        now = len(every) if last else len(every) - len(every) % ROW_GROUP
        if now < len(every):
            self._waiting[table] = _by_itself(every.slice(now))
        return as_handed_over(every.head(now))

    def write(self, ready: Ready) -> None:
        """Write what was made ready; whoever makes ready the next may be at it."""
        for stage in ready.again:
            with self._turn:
                _take_out_records(self._con, stage, self._since)
        for table, rows in ready.rows:
            with self._turn:
                inserting.insert(self._con, table, rows)


def _by_itself(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same rows without the texts of others: a slice keeps all that it was cut from."""
    return pl.DataFrame(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _who(events: pl.DataFrame) -> pl.DataFrame:
    """Return what rejections and warnings say of their event, by its `pos`."""
    return events.select("pos", *_POSITION, "category", "step", "entity_id", "added")


def _that_tell_of(con: duckdb.DuckDBPyConnection, retold: pl.DataFrame) -> pl.DataFrame:
    """Return the drops (business_date, path) with rejections whose root cause is one of those records."""
    if retold.is_empty():
        return retold.select("business_date", "path")
    return query(
        con,
        "SELECT DISTINCT r.business_date, r.path FROM rejections AS r SEMI JOIN retold AS c "
        "ON c.business_date = r.cause_date AND c.path = r.cause_path AND c.line = r.cause_line",
        retold=retold,
    )


def _placed(events: pl.DataFrame, places: pl.DataFrame, moment: Moment) -> pl.DataFrame:
    """Give every event its drop's business_date, path and sha256, its verdict and when it was decided."""
    return events.join(places, on="rank", how="left", maintain_order="left").with_columns(
        verdict=pl.when("applied").then(pl.lit("applied")).otherwise(pl.lit("rejected")),
        decided_at=pl.lit(moment.naive, dtype=pl.Datetime("us")),
    )


def _take_out(con: duckdb.DuckDBPyConnection, gone: pl.DataFrame) -> None:
    if gone.is_empty():
        return
    with handed_over(con, gone=gone.select("business_date", "path")):
        for table in BY_EVENT:
            con.execute(f"DELETE FROM {table} AS t USING gone WHERE t.business_date = gone.business_date AND t.path = gone.path")


def _differing(con: duckdb.DuckDBPyConnection, events: pl.DataFrame, stood: pl.DataFrame) -> pl.DataFrame:
    """Return those events of earlier runs that the warehouse has otherwise, with the verdict it `was`."""
    stood = stood.select(*_POSITION, "was", "was_client")
    # Payments that follow their loan to another client are touched through it alone.
    others = events.join(stood, on=_POSITION, how="anti")
    if not others.is_empty():
        followers = query(
            con,
            "SELECT e.business_date, e.path, e.line, e.verdict AS was, e.client_id AS was_client FROM events AS e "
            "SEMI JOIN those ON those.business_date = e.business_date AND those.path = e.path AND those.line = e.line",
            those=others.select(_POSITION),
        )
        stood = pl.concat([stood, followers])
    joined = events.join(stood, on=_POSITION, how="left", maintain_order="left")
    other = pl.col("was").ne_missing(pl.col("verdict")) | pl.col("was_client").ne_missing(pl.col("client_id"))
    return joined.filter(other).drop("was_client")


def _write_events(con: duckdb.DuckDBPyConnection, added: pl.DataFrame, again: pl.DataFrame) -> None:
    _delete_lines(con, ["events"], again)
    inserting.insert(con, "events", added)
    inserting.insert(con, "events", again)


def _delete_lines(con: duckdb.DuckDBPyConnection, tables: Iterable[str], events: pl.DataFrame) -> None:
    if events.is_empty():
        return
    with handed_over(con, those=events.select(_POSITION)):
        for table in tables:
            con.execute(
                f"DELETE FROM {table} AS t USING those "
                "WHERE t.business_date = those.business_date AND t.path = those.path AND t.line = those.line"
            )


def _write_findings(con: duckdb.DuckDBPyConnection, decision: Decision, events: pl.DataFrame) -> pl.DataFrame:
    """Write rejections and warnings of everything decided; those of earlier runs are replaced where they are others now.

    Returns where (business_date, path, line) that is.
    """
    again = events.filter(pl.col("sound") & ~pl.col("added"))
    who = _who(events)
    stood = _findings_of(con, again)
    differing = []
    for table, findings in (("rejections", decision.reasons), ("warnings", decision.warnings)):
        now, was = findings.join(who, on="pos", how="left"), stood[table]
        retold = _retold(was, now.filter(~pl.col("added")))
        differing.append(retold)
        _delete_lines(con, [table], retold)
        told = pl.concat([now.filter("added"), now.filter(~pl.col("added")).join(retold, on=_POSITION, how="semi")])
        # What is said again keeps its cause until `find_causes` finds another.
        inserting.insert(con, table, told.join(was, on=list(_FINDING), how="left", nulls_equal=True) if len(retold) else told)
    if not next(stage for stage in decision.stages if stage.entity.watched).touched.is_empty():
        _delete_lines(con, ["loan_changes"], again)
    return pl.concat(differing).unique()


def _findings_of(con: duckdb.DuckDBPyConnection, events: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return the rejections and warnings that hang on some events: columns `_FINDING`, and the causes of rejections."""
    causes = [name for name in TABLES["rejections"].names if name in CAUSE]
    if events.is_empty():
        return dict.fromkeys(("rejections", "warnings"), pl.DataFrame(schema=_FINDING))
    said, at = ", ".join(_FINDING), f"SEMI JOIN those USING ({', '.join(_POSITION)})"
    found = query(
        con,
        f"SELECT 'rejections' AS said_in, {said}, {', '.join(causes)} FROM rejections {at} "
        f"UNION ALL BY NAME SELECT 'warnings' AS said_in, {said} FROM warnings {at}",
        those=events.select(_POSITION),
    )
    of_table = {table: found.filter(pl.col("said_in") == table).drop("said_in") for table in ("rejections", "warnings")}
    return of_table | {"warnings": of_table["warnings"].drop(causes)}


def _retold(was: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Return where (business_date, path, line) not the same is said, or not as often."""
    said = pl.concat([was.select(*_FINDING, times=pl.lit(1)), now.select(*_FINDING, times=pl.lit(-1))])
    return said.group_by(*_FINDING).agg(pl.sum("times")).filter(pl.col("times") != 0).select(_POSITION).unique()


def _changes(stage: Stage, events: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of the entity's table of changes; none for one without."""
    where = stage.settled.changes.join(events.select("pos", *_POSITION), on="pos", how="left")
    return where.rename({"id": stage.entity.id})


def _write_records(con: duckdb.DuckDBPyConnection, stage: Stage, since: date) -> None:
    """Replace the touched records and what is younger than `since` of their histories."""
    _take_out_records(con, stage, since)
    for table, versions in _versions(stage).items():
        inserting.insert(con, table, versions)


def _take_out_records(con: duckdb.DuckDBPyConnection, stage: Stage, since: date) -> None:
    if stage.touched.is_empty():
        return
    entity = stage.entity
    with handed_over(con, touched=stage.touched):
        con.execute(
            f"DELETE FROM {past(entity)} AS v USING touched WHERE v.{entity.id} = touched.id AND v.valid_to >= $since",
            {"since": since},
        )
        con.execute(f"DELETE FROM {entity.table} AS t USING touched WHERE t.{entity.id} = touched.id")


def _versions(stage: Stage) -> dict[str, pl.DataFrame]:
    """Return by table the versions from the one before `since` on, each ending where the next begins; open ones are records."""
    entity, new = stage.entity, stage.settled.versions
    columns = [*entity.names, *SPAN, "valid_from", "valid_to"]
    if not stage.before.is_empty():
        first = new.group_by(entity.id).agg(valid_to=pl.col("valid_from").min())
        before = stage.before.join(first, on=entity.id, how="left")
        new = pl.concat([before.select(columns), new.select(columns)])
    if new["valid_to"].null_count() == len(new):
        return {entity.table: new}
    return {past(entity): new.drop_nulls("valid_to"), entity.table: new.filter(pl.col("valid_to").is_null())}
