"""What the warehouse says of a business date the morning after: everything that its report tells, and nothing else.

Many dates are asked for together, one query a table, so that a night that touches a year of dates is no year of nights.
No clock and no run is in it but those in the tables: the same decisions give the same report.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

import duckdb
import polars as pl

from pipelines import threads
from pipelines.database import handed_over, query
from pipelines.discovery import path_key
from pipelines.lineblocks import block, count_lines
from pipelines.rejected import IN_A_DROP, InHand

Row = dict[str, Any]
SHOWN_AT_MOST = 100_000
"""Rejections of one date that its page holds; the bounces and `rejections` have all."""
ROOT_CAUSES_SHOWN = 100
FOLLOWERS_SHOWN = 12
FLIPS_SHOWN = 1000
CLOSED_SHOWN = 1000
WARNINGS_SHOWN = 5
"""Examples of each kind of warning."""
_DAYS = {"business_date": pl.Date()}
_RAW_BYTES = 65_536
"""Of a longer line only its beginning is looked at for the page."""
_TOGETHER = 200_000
"""Rejections that are asked for at once: they bound the memory."""

_DROPS = """
    SELECT business_date, path, sha256, bytes, records, applied, rejected, warned, status, reason, detail
    FROM drops SEMI JOIN days USING (business_date)
"""
_UNDATED = """
    SELECT path, sha256, bytes, records, applied, rejected, warned, status, reason, detail
    FROM drops WHERE business_date IS NULL AND status = 'held'
"""
# A record may have the same code under several fields, so reasons and records are counted apart.
_REASONS = f"""
    SELECT business_date, code, sum(reasons)::BIGINT AS reasons, sum(records)::BIGINT AS records,
           sum(roots)::BIGINT AS root_causes, sum(reasons - roots)::BIGINT AS followers, min(example) AS example
    FROM (
        SELECT business_date, path, code, {block()} AS lines, count(*) AS reasons, {count_lines()} AS records,
               count(*) FILTER (cause_line IS NULL) AS roots, min(message) AS example
        FROM rejections SEMI JOIN days USING (business_date) GROUP BY ALL
    )
    GROUP BY business_date, code ORDER BY root_causes DESC, reasons DESC, code
"""
_FIELDS = """
    SELECT business_date, field, code, count(*) AS reasons
    FROM rejections SEMI JOIN days USING (business_date) GROUP BY ALL ORDER BY field NULLS FIRST, reasons DESC, code
"""
_PATHS = """
    SELECT business_date, path, code, count(*) AS reasons
    FROM rejections SEMI JOIN days USING (business_date) GROUP BY ALL ORDER BY path, reasons DESC, code
"""
_FOLLOWED = f"""
    SELECT business_date, coalesce(sum(causes), 0)::BIGINT AS causes, sum(followers)::BIGINT AS followers,
           sum(roots)::BIGINT AS roots
    FROM (
        SELECT business_date, coalesce(cause_date, business_date) AS of_date, coalesce(cause_path, path) AS of_path,
               {block("root")} AS lines, {count_lines("root")} AS roots, {count_lines("cause_line")} AS causes,
               count(cause_line) AS followers
        FROM (SELECT *, coalesce(cause_line, line) AS root FROM rejections SEMI JOIN days USING (business_date)) GROUP BY ALL
    )
    GROUP BY business_date
"""
_TOP_CAUSES = f"""
    SELECT business_date AS day, cause_date, cause_path, cause_line, count(*) AS followers
    FROM rejections SEMI JOIN days USING (business_date) WHERE cause_line IS NOT NULL GROUP BY 1, 2, 3, 4
    QUALIFY row_number() OVER (PARTITION BY day ORDER BY followers DESC, cause_date, cause_path, cause_line)
        <= {ROOT_CAUSES_SHOWN}
"""
_ROOT_CAUSES = """
    SELECT day, business_date, path, line, any_value(r.category) AS category, any_value(r.entity_id) AS id,
           list(DISTINCT r.code ORDER BY r.code) AS codes, any_value(followers) AS followers,
           string_agg(DISTINCT r.message, chr(10) ORDER BY r.message) AS messages
    FROM (SELECT day, cause_date AS business_date, cause_path AS path, cause_line AS line, followers FROM top_causes)
    JOIN rejections AS r USING (business_date, path, line)
    GROUP BY day, business_date, path, line ORDER BY day, followers DESC, business_date, path, line
"""
_FOLLOWERS = f"""
    SELECT r.business_date AS day, r.cause_date, r.cause_path, r.cause_line, r.path, r.line, r.category, r.step,
           r.entity_id AS id, r.code, r.message
    FROM rejections AS r SEMI JOIN top_causes AS t ON t.day = r.business_date AND t.cause_date = r.cause_date
        AND t.cause_path = r.cause_path AND t.cause_line = r.cause_line
    QUALIFY row_number() OVER (PARTITION BY day, r.cause_date, r.cause_path, r.cause_line ORDER BY r.path, r.line, r.code)
        <= {FOLLOWERS_SHOWN} ORDER BY r.path, r.line, r.code
"""
# The last change of each verdict that is now another than it once was.
_FLIPS = f"""
    SELECT business_date, path, line, was, now, because_path, count(*) OVER (PARTITION BY business_date) AS of
    FROM (
        SELECT * FROM verdict_changes SEMI JOIN days USING (business_date)
        QUALIFY row_number() OVER (PARTITION BY business_date, path, line ORDER BY rowid DESC) = 1
    )
    QUALIFY row_number() OVER (PARTITION BY business_date ORDER BY path, line) <= {FLIPS_SHOWN} ORDER BY business_date, path, line
"""
_CLOSED = f"""
    SELECT c.business_date, c.path, c.line, c.sha256, c.its_line, c.submitted_at, e.category, e.entity_id AS id, e.verdict,
           count(*) OVER (PARTITION BY c.business_date) AS of,
           count(*) FILTER (e.verdict = 'applied') OVER (PARTITION BY c.business_date) AS closed
    FROM corrections AS c SEMI JOIN days USING (business_date)
    LEFT JOIN events AS e ON e.business_date = c.business_date AND e.path = c.path AND e.line = c.line
    QUALIFY row_number() OVER (PARTITION BY c.business_date ORDER BY c.path, c.line) <= {CLOSED_SHOWN}
    ORDER BY c.business_date, c.path, c.line
"""
_WARNINGS = """
    SELECT business_date, code, count(*) AS warnings, count(DISTINCT (path, line)) AS records
    FROM warnings SEMI JOIN days USING (business_date) GROUP BY ALL ORDER BY warnings DESC, code
"""
_WARNED = f"""
    SELECT business_date, code, path, line, entity_id AS id, field, value, message
    FROM warnings SEMI JOIN days USING (business_date)
    QUALIFY row_number() OVER (PARTITION BY business_date, code ORDER BY path, line, field, value) <= {WARNINGS_SHOWN}
    ORDER BY business_date, code, path, line, field, value
"""
_REJECTIONS = """
    SELECT business_date, path, line, category, step, entity_id AS id, code, field, value, message,
           cause_date, cause_path, cause_line
    FROM rejections
"""
_LINES = f"""
    SELECT business_date, path, line, raw[:{_RAW_BYTES}] AS raw, octet_length(raw) AS length, sha256, byte_offset
    FROM rejected_lines
"""
_OF_DAYS = "SEMI JOIN days USING (business_date)"
# Two questions: DuckDB looks at a bound before it reads only where it stands by itself.
_BEFORE = "WHERE business_date = $day AND path < $path"
_UP_TO = "WHERE business_date = $day AND path = $path AND line <= $line"
_LAST_LINE = """
    SELECT line FROM rejections WHERE business_date = $day AND path = $path ORDER BY line LIMIT 1 OFFSET $before
"""


class _End(NamedTuple):
    """The last position of a date of which there is more to tell than its page holds."""

    day: date
    path: str
    line: int


@dataclass(frozen=True, slots=True, eq=False)
class Morning:
    """One business date as the warehouse has it. Counts are of all, lists may be cut (`…_SHOWN`)."""

    day: date
    drops: list[Row]
    """Every edition, by position."""
    reasons: list[Row] = field(default_factory=list)
    fields: list[Row] = field(default_factory=list)
    paths: list[Row] = field(default_factory=list)
    """path, code, reasons."""
    followed: Row = field(default_factory=lambda: {"causes": 0, "followers": 0, "roots": 0})
    causes: list[Row] = field(default_factory=list)
    """The causes with most followers; `some` are the first of these."""
    flips: list[Row] = field(default_factory=list)
    corrections: list[Row] = field(default_factory=list)
    warnings: list[Row] = field(default_factory=list)
    """A kind a row; `some` are examples."""
    rejections: pl.DataFrame = field(default_factory=pl.DataFrame)
    """A row a reason, by position and in the order `IN_A_DROP`: the columns of `rejections`, of its line `raw` (its beginning),
    `length`, `sha256` and `byte_offset` (where it stands); `is_first` of its line."""

    @property
    def totals(self) -> dict[str, int]:
        """Return the counts over the drops that live."""
        living = [drop for drop in self.drops if drop["status"] == "applied"]
        names = ("records", "applied", "rejected", "warned")
        return {"drops": len(living)} | {name: sum(drop[name] or 0 for drop in living) for name in names}

    @property
    def held(self) -> list[Row]:
        """Return the drops that wait for a person."""
        return [drop for drop in self.drops if drop["status"] == "held"]

    def in_hand(self) -> dict[str, InHand]:
        """Return by path what is refused of the drops of which `rejections` has every reason and every byte."""
        if self.rejections.height != sum(row["reasons"] for row in self.paths):
            return {}
        by_path = self.rejections.partition_by("path", as_dict=True)
        whole = {str(path): rows for (path,), rows in by_path.items() if (rows["raw"].bin.size() == rows["length"]).all()}
        sha256 = {drop["path"]: drop["sha256"] for drop in self.drops if drop["status"] == "applied"}
        return {path: InHand(sha256[path], rows) for path, rows in whole.items()}


def mornings(con: duckdb.DuckDBPyConnection, days: Sequence[date]) -> Iterator[Morning]:
    """Yield what is to be told of each date, in their order; a date of which nothing is known has no drops."""
    for some in _batches(con, days):
        yield from _together(con, some)


def undated(con: duckdb.DuckDBPyConnection) -> list[Row]:
    """Return the drops that are held for want of a business date, or that have none."""
    return sorted(query(con, _UNDATED).to_dicts(), key=_edition)


def _batches(con: duckdb.DuckDBPyConnection, days: Sequence[date]) -> Iterator[list[date]]:
    counts = dict(
        con.execute("SELECT business_date, sum(rejected)::BIGINT FROM drops WHERE status = 'applied' GROUP BY ALL").fetchall()
    )
    batch: list[date] = []
    together = 0
    for day in sorted(set(days)):
        expected = min(counts.get(day) or 0, SHOWN_AT_MOST)
        if batch and together + expected > _TOGETHER:
            yield batch
            batch, together = [], 0
        batch.append(day)
        together += expected
    if batch:
        yield batch


def _together(con: duckdb.DuckDBPyConnection, days: list[date]) -> Iterator[Morning]:
    frame = pl.DataFrame({"business_date": days}, _DAYS)
    # What is counted is asked for beside the rejections themselves: DuckDB answers each question on one core.
    with con.cursor() as cursor, threads.pool(1) as beside:
        counting = beside.submit(_counted, cursor, frame)
        with handed_over(con, days=frame):
            drops, paths = (_by_day(query(con, sql)) for sql in (_DROPS, _PATHS))
        rejections = _rejections(con, {day: paths[day] for day in days})
        counted = counting.result()
    for day in days:
        yield Morning(
            day,
            sorted(drops[day], key=_edition),
            paths=sorted(paths[day], key=lambda row: path_key(row["path"])),
            rejections=rejections.get((day,), pl.DataFrame(schema=_rejection_schema(rejections))),
            **{name: rows[day] for name, rows in counted.items() if day in rows},
        )


def _counted(con: duckdb.DuckDBPyConnection, days: pl.DataFrame) -> dict[str, dict[date, Any]]:
    """Return the other fields of `Morning` by date; a date is missing where it has nothing to tell."""
    with handed_over(con, days=days):
        reasons, fields, followed, flips, closed = (
            _by_day(query(con, sql)) for sql in (_REASONS, _FIELDS, _FOLLOWED, _FLIPS, _CLOSED)
        )
        return {
            "reasons": reasons,
            "fields": fields,
            "followed": {day: row for day, (row,) in followed.items()},
            "causes": _causes(con),
            "flips": {day: _by_path(rows) for day, rows in flips.items()},
            "corrections": {day: _by_path(rows) for day, rows in closed.items()},
            "warnings": _with_examples(_by_day(query(con, _WARNINGS)), query(con, _WARNED)),
        }


def _rejections(con: duckdb.DuckDBPyConnection, paths: dict[date, list[Row]]) -> dict[tuple[object, ...], pl.DataFrame]:
    """Return the reasons with their lines, by date, in the order of positions; of each date the first `SHOWN_AT_MOST`."""
    ends = [_end(con, day, rows) for day, rows in paths.items()]
    days = pl.DataFrame({"business_date": [day for day, end in zip(paths, ends, strict=True) if end is None]}, _DAYS)
    cut = [end for end in ends if end is not None]
    found, lines = (_up_to(con, sql, days, cut) for sql in (_REJECTIONS, _LINES))
    if cut:
        # Only the last line of a date can have reasons too many.
        found = found.sort("business_date", "path", *IN_A_DROP, nulls_last=True)
        found = found.filter(pl.int_range(pl.len()).over("business_date") < SHOWN_AT_MOST)
    key = ["business_date", "path", "line"]
    paths_found = sorted(found["path"].unique(), key=path_key)
    order = pl.DataFrame({"path": paths_found, "rank": range(len(paths_found))}, schema={"path": pl.String(), "rank": pl.Int64()})
    told = found.join(lines, on=key, how="left").join(order, on="path", how="left")
    told = told.sort("business_date", "rank", *IN_A_DROP, nulls_last=True).drop("rank")
    # Once for all dates: what is asked for by date takes longer than what there is to do.
    told = told.with_columns(is_first=pl.struct(key).rle_id().diff().fill_null(1) > 0)
    return dict(told.partition_by("business_date", as_dict=True)) or {(None,): told}


def _end(con: duckdb.DuckDBPyConnection, day: date, paths: list[Row]) -> _End | None:
    """Return the position up to which the reasons of a date are shown; None when all are.

    It is found by counting, for to number the reasons of a large date would take more time and memory than all else of it.
    """
    counts: Counter[str] = Counter()
    for row in paths:
        counts[row["path"]] += row["reasons"]
    if counts.total() <= SHOWN_AT_MOST:
        return None
    before, path = 0, min(counts)
    for path in sorted(counts):
        if before + counts[path] >= SHOWN_AT_MOST:
            break
        before += counts[path]
    last = {"day": day, "path": path, "before": SHOWN_AT_MOST - before - 1}
    ((line,),) = con.execute(_LAST_LINE, last).fetchall()
    return _End(day, path, line)


def _up_to(con: duckdb.DuckDBPyConnection, sql: str, days: pl.DataFrame, cut: list[_End]) -> pl.DataFrame:
    """Return what is asked for of whole dates, and of those that are cut up to their end."""
    found = [query(con, f"{sql} {_OF_DAYS}", days=days)]
    for end in cut:
        found.append(query(con, f"{sql} {_BEFORE}", {"day": end.day, "path": end.path}))
        found.append(query(con, f"{sql} {_UP_TO}", end._asdict()))
    return pl.concat(found)


def _rejection_schema(rejections: dict[tuple[object, ...], pl.DataFrame]) -> pl.Schema:
    return next(iter(rejections.values())).schema


def _causes(con: duckdb.DuckDBPyConnection) -> dict[date, list[Row]]:
    top = query(con, _TOP_CAUSES)
    found: dict[date, list[Row]] = defaultdict(list)
    if top.is_empty():
        return found
    causes, followers = (query(con, sql, top_causes=top) for sql in (_ROOT_CAUSES, _FOLLOWERS))
    some: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in followers.iter_rows(named=True):
        some[row["day"], row["cause_date"], row["cause_path"], row["cause_line"]].append(row)
    for row in causes.iter_rows(named=True):
        day = row.pop("day")
        found[day].append(row | {"some": some[day, row["business_date"], row["path"], row["line"]]})
    return found


def _with_examples(warnings: dict[date, list[Row]], examples: pl.DataFrame) -> dict[date, list[Row]]:
    some: dict[tuple[Any, Any], list[Row]] = defaultdict(list)
    for row in examples.iter_rows(named=True):
        some[row["business_date"], row["code"]].append(row)
    for day, rows in warnings.items():
        for row in rows:
            row["some"] = some[day, row["code"]]
    return warnings


def _by_day(found: pl.DataFrame) -> dict[date, list[Row]]:
    rows: dict[date, list[Row]] = defaultdict(list)
    for row in found.iter_rows(named=True):
        rows[row.pop("business_date")].append(row)
    return rows


def _by_path(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (path_key(row["path"]), row["line"]))


def _edition(drop: Row) -> Any:
    return path_key(drop["path"]), drop["status"], drop["sha256"] or ""
