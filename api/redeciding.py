"""Decide pending lines the way the night will, where a publication has later events of the same clients.

Rare: a drop dated after the journal's day that names the client, or a journal that was replaced. The engine itself decides, on
the published tables and the event log, with the pending lines as one more drop right after their journal; it changes nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from api.pending import Pending, checked, only
from api.presenting import columns
from api.publication import Publication
from pipelines.corrections import log_path
from pipelines.database import query
from pipelines.deciding import decide
from pipelines.decision import Living, Stage
from pipelines.diary import last_rule_set
from pipelines.discovery import path_key
from pipelines.eventlog import EventLog, PartWriter
from pipelines.home import Home
from pipelines.logform import EDITIONS, FIXES
from pipelines.problems import NightdropError
from pipelines.sources import Sources
from validation.rulebook import RuleBook

_PART = "pending"
_AFTER = "+"
"""Behind a journal's path: the drop of its pending lines."""


@dataclass(frozen=True, slots=True)
class Redecided:
    """What the night would make of some clients: their records, and those of the loans and deposits that hang on them.

    `records`: category -> id -> record, None for one that would not be there.
    `reasons`: (day, line) -> (code, field, value, message) of every pending line that would be refused.
    """

    records: dict[str, dict[str, dict[str, Any] | None]]
    reasons: dict[tuple[Any, int], list[tuple[str, str | None, str | None, str]]]


class _WithPending(EventLog):
    """The home's log and, beside it, a part with the pending lines."""

    def __init__(self, folder: Path, beside: Path) -> None:
        super().__init__(folder)
        self._beside = beside

    def place(self, part: str) -> Path:
        return self._beside / part if part == _PART else super().place(part)


def redecide(
    home: Home, published: Publication, pending: Sequence[Pending], ids: set[str], rules: RuleBook, *, sources: Sources
) -> Redecided:
    """Decide the pending lines about those clients. Raises NightdropError when the event log lacks what is needed."""
    with tempfile.TemporaryDirectory(prefix="nightdrop-api-") as folder, published.con.cursor() as con:
        log = _WithPending(home.log, Path(folder))
        living = _living(con, log, pending, _write_part(Path(folder), pending, ids, rules, sources))
        since = living.since
        if since is None:
            return Redecided({}, {})
        decision = decide(con, log, living, since, rules, source_of=lambda path: sources.name_of(path.removesuffix(_AFTER)))
    of_pending = living.drops.filter(pl.col("part") == _PART).select("rank", day="business_date")
    placed = decision.events.join(of_pending, on="rank", how="inner").select("pos", "day", "line")
    reasons: dict[tuple[Any, int], list[tuple[str, str | None, str | None, str]]] = {}
    for row in decision.reasons.join(placed, on="pos", how="inner").iter_rows(named=True):
        reasons.setdefault((row["day"], row["line"]), []).append((row["code"], row["field"], row["value"], row["message"]))
    return Redecided({stage.entity.category: _records(stage) for stage in decision.stages}, reasons)


def _write_part(folder: Path, pending: Sequence[Pending], ids: set[str], rules: RuleBook, sources: Sources) -> list[int]:
    """Write the lines about those clients as a part of the log; return how many there are of each journal."""
    wanted = pl.Series(sorted(ids), dtype=pl.String).implode()
    part = PartWriter(folder, _PART)
    records = []
    for number, lines in enumerate(pending):
        source = sources.name_of(lines.path)
        every = checked(lines.lines, lines.first_line, number, rules, source)
        found = only(every, lambda entity_id: entity_id.is_in(wanted))
        part.write(found, number)
        records.append(len(found.index))
    part.close(pl.DataFrame(schema=EDITIONS))
    return records


def _living(con: duckdb.DuckDBPyConnection, log: EventLog, pending: Sequence[Pending], records: Sequence[int]) -> Living:
    """Return the drops of the publication with the pending lines among them."""
    logged = log.editions(last_rule_set(con)).unique(["path", "sha256"], keep="last")
    drops = query(con, "SELECT business_date, path, sha256, records FROM drops WHERE status = 'applied'")
    columns = ["business_date", "path", "sha256", "part", "drop", "records"]
    drops = drops.join(logged, on=["path", "sha256"], how="left").select(columns)
    since = min(lines.day for lines in pending)
    if not (lost := drops.filter((pl.col("business_date") >= since) & pl.col("part").is_null())).is_empty():
        raise NightdropError(f"the event log has not yet read {lost['path'][0]} under these rules; `nightdrop run` reads it")
    replaced = pl.Series([lines.path for lines in pending if lines.replaces], dtype=pl.String)
    gone = drops.filter(pl.col("path").is_in(replaced.implode())).select("business_date", "path", "sha256")
    stay = [(*row, False) for row in drops.join(gone, on="path", how="anti").iter_rows()]
    new = [(lines.day, lines.path + _AFTER, "", _PART, number, records[number], True) for number, lines in enumerate(pending)]
    ordered = sorted([*stay, *new], key=lambda row: (row[0], path_key(row[1].removesuffix(_AFTER)), row[-1]))
    schema = {"business_date": pl.Date(), "path": pl.String(), "sha256": pl.String(), "part": pl.String(), "drop": pl.UInt32()}
    schema |= {"records": pl.Int64()}
    living = pl.DataFrame(ordered, schema={**schema, "added": pl.Boolean()}, orient="row")
    ranked = living.with_row_index("rank").with_columns(pl.col("rank").cast(pl.Int64))
    return Living(ranked, gone, _fixes(con, logged, ranked))


def _fixes(con: duckdb.DuckDBPyConnection, logged: pl.DataFrame, living: pl.DataFrame) -> pl.DataFrame:
    """Return which lines of resubmitted files stand in for which lines of living drops."""
    stand = query(con, "SELECT path AS original, line, sha256, its_line FROM corrections")
    names = [log_path(path, sha256) for path, sha256 in stand.select("original", "sha256").iter_rows()]
    named = stand.with_columns(path=pl.Series(names, dtype=pl.String))
    ranks = living.select("rank", "business_date", original="path")
    joined = named.join(logged, on=["path", "sha256"], how="left").join(ranks, on="original", how="inner")
    return joined.rename({"sha256": "file"}).select(*FIXES).cast(pl.Schema(FIXES))


def _records(stage: Stage) -> dict[str, dict[str, Any] | None]:
    names, key = columns(stage.entity.category), stage.entity.id
    after = stage.settled.versions.filter(pl.col("valid_to").is_null())
    found: dict[str, dict[str, Any] | None] = dict.fromkeys(stage.touched["id"])
    for frame in (stage.before, after):
        found |= {row[key]: row for row in frame.select(names).iter_rows(named=True)}
    return found
