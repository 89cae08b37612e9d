"""Load a decision into the working warehouse: every table in step with every other. Runs in the caller's transaction."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa

from pipelines.causes import CAUSE, find_causes
from pipelines.corrections import log_path
from pipelines.database import handed_over, query
from pipelines.deciding import Decision, Living, Stage
from pipelines.schema import TABLES
from pipelines.settling import SPAN
from pipelines.sheets import MAX_RECORD

RawLines = Callable[[str, str, pl.DataFrame], list[bytes]]
"""Path and SHA-256 of a drop, or the log's name of a resubmitted file and its SHA-256; byte_offset, byte_length of records in it,
ascending -> their bytes."""
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
_RAW_AT_ONCE = 64 * 1024 * 1024
"""Bytes of rejected records that are handed over together, about."""
_BY_LINE = ("rejections", "warnings", "loan_changes", "rejected_lines")
"""Tables whose rows hang on an event."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Which run decides, and when."""

    run_id: str
    at: datetime
    """UTC."""
    began: float = field(default_factory=time.monotonic)

    @classmethod
    def now(cls) -> Moment:
        """Return the moment of a run that begins. Its id tells the time, and nothing is decided by it: clocks jump back."""
        at = datetime.now(UTC)
        return cls(f"{at:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}", at)

    @property
    def finished(self) -> datetime:
        """Return the time now, UTC, by a clock that nobody sets while a run goes on: never before `at`."""
        return self.at + timedelta(seconds=time.monotonic() - self.began)

    @property
    def naive(self) -> datetime:
        """Return `at` as the warehouse keeps it: UTC without zone."""
        return self.at.replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What changed in the warehouse: how many verdicts, and the drops (business_date, path) of which something else is told."""

    flipped: int
    drops: pl.DataFrame


def load(con: duckdb.DuckDBPyConnection, decision: Decision, living: Living, raw_lines: RawLines, moment: Moment) -> Loaded:
    """Write a decision: events and what hangs on them, records, histories, causes, flips, counts of drops."""
    verdicts_before = _verdicts_of(con, living)
    _take_out(con, living.gone)
    places = living.drops.select("rank", "business_date", "path", "sha256")
    events = _placed(decision.events, places).with_columns(
        verdict=pl.when("applied").then(pl.lit("applied")).otherwise(pl.lit("rejected")),
        decided_at=pl.lit(moment.naive, dtype=pl.Datetime("us")),
    )
    again = _differing(con, events.filter(~pl.col("added")), decision.stood)
    _write_events(con, events.filter("added"), again)
    retold = _write_findings(con, decision, events)
    _write_changes(con, decision, events)
    _write_raw(con, pl.concat([events.filter("added"), again.select(events.columns)]), raw_lines)
    for stage in decision.stages:
        _write_records(con, stage, decision)
    traced = find_causes(con, decision.since, places.select("business_date", "path", "rank"))
    redone = events.filter("added").join(verdicts_before, on=_POSITION, how="inner", maintain_order="left")
    flips = pl.concat([again, redone.select(again.columns)]).filter(pl.col("was") != pl.col("verdict"))
    _write_flips(con, flips, living, moment)
    changed = [living.drops.filter("added"), again, retold, traced, _that_tell_of(con, retold)]
    return Loaded(len(flips), pl.concat([part.select("business_date", "path") for part in changed]).unique())


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


def _placed(frame: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Give every event its drop's business_date, path and sha256."""
    return frame.join(places, on="rank", how="left", maintain_order="left")


def _verdicts_of(con: duckdb.DuckDBPyConnection, living: Living) -> pl.DataFrame:
    """Return the verdict (`was`) of every event whose drop goes and comes back with the same bytes."""
    back = living.gone.join(living.drops.filter("added"), on=["business_date", "path", "sha256"], how="semi")
    if back.is_empty():
        return pl.DataFrame(schema={"business_date": pl.Date(), "path": pl.String(), "line": pl.Int64(), "was": pl.String()})
    return query(
        con,
        "SELECT e.business_date, e.path, e.line, e.verdict AS was FROM events AS e "
        "SEMI JOIN back ON back.business_date = e.business_date AND back.path = e.path",
        back=back,
    )


def _take_out(con: duckdb.DuckDBPyConnection, gone: pl.DataFrame) -> None:
    if gone.is_empty():
        return
    with handed_over(con, gone=gone.select("business_date", "path")):
        for table in ("events", *_BY_LINE):
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
    _insert(con, "events", added)
    _insert(con, "events", again)


def _delete_lines(con: duckdb.DuckDBPyConnection, tables: Iterable[str], events: pl.DataFrame) -> None:
    if events.is_empty():
        return
    with handed_over(con, those=events.select(_POSITION)):
        for table in tables:
            con.execute(
                f"DELETE FROM {table} AS t USING those "
                "WHERE t.business_date = those.business_date AND t.path = those.path AND t.line = those.line"
            )


def _insert(con: duckdb.DuckDBPyConnection, table: str, frame: pl.DataFrame) -> None:
    """Insert the table's columns out of a frame; columns it lacks are NULL."""
    if frame.is_empty():
        return
    columns = [name for name in TABLES[table].names if name in frame.columns]
    with handed_over(con, incoming=frame.select(columns)):
        con.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")


def _write_findings(con: duckdb.DuckDBPyConnection, decision: Decision, events: pl.DataFrame) -> pl.DataFrame:
    """Write rejections and warnings of everything decided; those of earlier runs are replaced.

    Returns where (business_date, path, line) the findings of earlier runs are others now.
    """
    again = events.filter(pl.col("sound") & ~pl.col("added"))
    who = events.select("pos", *_POSITION, "category", "step", "entity_id", "added")
    retold: set[tuple[object, ...]] = set()
    for table, findings in (("rejections", decision.reasons), ("warnings", decision.warnings)):
        now = findings.join(who, on="pos", how="left")
        was = _taken_out(con, table, again)
        retold |= set(was.select(*_FINDING).iter_rows()) ^ set(now.filter(~pl.col("added")).select(*_FINDING).iter_rows())
        # What is said again keeps its cause until `find_causes` finds another.
        _insert(con, table, now.join(was, on=list(_FINDING), how="left", nulls_equal=True) if len(was) else now)
    if not next(stage for stage in decision.stages if stage.entity.watched).touched.is_empty():
        _delete_lines(con, ["loan_changes"], again)
    return pl.DataFrame(list(retold), schema=_FINDING, orient="row").select(_POSITION).unique()


def _taken_out(con: duckdb.DuckDBPyConnection, table: str, events: pl.DataFrame) -> pl.DataFrame:
    """Delete the rows that hang on some events; return what they said: columns `_FINDING`, and the cause if they have one."""
    columns = [name for name in TABLES[table].names if name in _FINDING or name in CAUSE]
    if events.is_empty():
        return pl.DataFrame(schema=_FINDING)
    return query(
        con,
        f"DELETE FROM {table} AS t USING those WHERE t.business_date = those.business_date AND t.path = those.path "
        f"AND t.line = those.line RETURNING {', '.join('t.' + name for name in columns)}",
        those=events.select(_POSITION),
    )


def _write_changes(con: duckdb.DuckDBPyConnection, decision: Decision, events: pl.DataFrame) -> None:
    for stage in decision.stages:
        changes = stage.settled.changes
        if not changes.is_empty():
            where = changes.join(events.select("pos", *_POSITION), on="pos", how="left")
            _insert(con, f"{stage.entity.category}_changes", where.rename({"id": stage.entity.id}))


def _write_raw(con: duckdb.DuckDBPyConnection, events: pl.DataFrame, raw_lines: RawLines) -> None:
    """Keep the exact bytes of rejected records, and of no others."""
    _delete_lines(con, ["rejected_lines"], events.filter(~pl.col("added")))
    rejected = events.filter(pl.col("verdict") == "rejected").sort("rank", "byte_offset")
    of_a_fix = pl.col("file").is_not_null()
    rejected = rejected.with_columns(of_a_fix.alias("of_a_fix"), sha256=pl.coalesce("file", "sha256"))
    too_long = pl.col("byte_length") > MAX_RECORD
    # So many at a time that their bytes are no burden.
    some = (pl.col("byte_length").cum_sum().over("path", "sha256") // _RAW_AT_ONCE).alias("some")
    for (of, path, sha256, _), lines in rejected.filter(~too_long).group_by(
        "of_a_fix", "path", "sha256", some, maintain_order=True
    ):
        raw = raw_lines(_named(of, path, sha256), str(sha256), lines.select("byte_offset", "byte_length"))
        _insert(con, "rejected_lines", lines.with_columns(pl.Series("raw", raw, dtype=pl.Binary)))
    for line in rejected.filter(too_long).iter_slices(1):
        of, path, sha256 = line.select("of_a_fix", "path", "sha256").row(0)
        [raw_line] = raw_lines(_named(of, path, sha256), sha256, line.select("byte_offset", "byte_length"))
        _insert_long(con, line, raw_line)


def _named(of_a_fix: object, path: object, sha256: object) -> str:
    """Return the name that tells how archived bytes are written: a resubmitted file is plain, whatever it corrects."""
    return log_path(str(path), str(sha256)) if of_a_fix else str(path)


def _insert_long(con: duckdb.DuckDBPyConnection, line: pl.DataFrame, raw: bytes) -> None:
    """Insert one rejected record whose bytes nobody copies on the way to DuckDB: there may be hundreds of MB."""
    ends = pa.py_buffer(np.array([0, len(raw)], dtype=np.int64))
    as_it_is = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(raw)])
    columns = [name for name in TABLES["rejected_lines"].names if name in line.columns]
    con.register("incoming", line.select(columns).to_arrow().append_column("raw", as_it_is))
    try:
        con.execute("INSERT INTO rejected_lines BY NAME SELECT * FROM incoming")
    finally:
        con.unregister("incoming")


def _write_records(con: duckdb.DuckDBPyConnection, stage: Stage, decision: Decision) -> None:
    """Replace the touched records and what is younger than `since` of their histories."""
    if stage.touched.is_empty():
        return
    entity = stage.entity
    versions = _with_ends(stage)
    latest = versions.filter(pl.col("valid_to").is_null())
    with handed_over(con, touched=stage.touched):
        con.execute(
            f"DELETE FROM {entity.history} AS v USING touched WHERE v.{entity.id} = touched.id "
            "AND (v.valid_to IS NULL OR v.valid_to >= $since)",
            {"since": decision.since},
        )
        con.execute(f"DELETE FROM {entity.table} AS t USING touched WHERE t.{entity.id} = touched.id")
    _insert(con, entity.history, versions)
    _insert(con, entity.table, latest)


def _with_ends(stage: Stage) -> pl.DataFrame:
    """Return the versions from the one before `since` on, each ending where the next begins."""
    entity, new = stage.entity, stage.settled.versions
    first = new.group_by(entity.id).agg(valid_to=pl.col("valid_from").min())
    before = stage.before.join(first, on=entity.id, how="left")
    columns = [*entity.names, *SPAN, "valid_from", "valid_to"]
    return pl.concat([before.select(columns), new.select(columns)])


def _write_flips(con: duckdb.DuckDBPyConnection, flips: pl.DataFrame, living: Living, moment: Moment) -> None:
    """Note which verdicts changed, and because of which drop: the last that came or went at or before the event."""
    if flips.is_empty():
        return
    came = living.drops.filter("added").select("business_date", "path", "rank")
    went = living.gone.select("business_date", "path").join(
        living.drops.select("business_date", "path", "rank"), on=["business_date", "path"], how="left"
    )
    moved = pl.concat([came, went]).with_columns(pl.col("rank").fill_null(-1)).sort("rank")
    because = flips.sort("rank").join_asof(moved.select("rank", because_path="path"), on="rank", strategy="backward")
    _insert(
        con, "verdict_changes", because.select(*_POSITION, "was", "because_path", now="verdict", run_id=pl.lit(moment.run_id))
    )
